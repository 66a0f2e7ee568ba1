/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: the vault's keys of its configuration file. docs/configuration.md is made from these tables. */
#include "key_states.h"
#include "policy.h"
#include "vault.h"

static const struct ch_conf_field hsm_fields[] = {
	CH_CONF_FIELD(struct hsm_config, name, CH_CONF_STRING, .required = true,
		      .help = "what keys' residency, metrics and events call it"),
	CH_CONF_FIELD(struct hsm_config, module, CH_CONF_PATH, .required = true,
		      .help = "the vendor's PKCS#11 library"),
	CH_CONF_FIELD(struct hsm_config, environment, CH_CONF_STRING_LIST, .min = 0, .max = 64,
		      .help = "NAME=value: the whole environment of this HSM's worker process"),
	CH_CONF_FIELD(struct hsm_config, token_label, CH_CONF_STRING, .required = true,
		      .help = "CKA_LABEL of the token"),
	CH_CONF_FIELD(struct hsm_config, pin_file, CH_CONF_PATH, .required = true,
		      .help = "the user PIN, in a file that others may not read"),
	CH_CONF_FIELD(
		struct hsm_config, so_pin_file, CH_CONF_PATH,
		.help = "the security officer's PIN, for --init-hsms alone; absent: so-pin beside pin_file"),
	CH_CONF_FIELD(struct hsm_config, sessions, CH_CONF_INTEGER, .default_text = "4", .min = 2, .max = 64,
		      .help = "sessions of the worker, each with a thread"),
	CH_CONF_FIELD(struct hsm_config, paths, CH_CONF_STRING_LIST, .min = 0, .max = 32,
		      .help = "files and directories that the library reads and writes: all else is closed "
			      "to the worker"),
	CH_CONF_FIELD(struct hsm_config, network, CH_CONF_BOOLEAN, .default_text = "false",
		      .help = "the library reaches its HSM over IP: without it no IP socket can be made in "
			      "the worker"),
	CH_CONF_FIELD(struct hsm_config, network_ports, CH_CONF_STRING_LIST, .min = 0, .max = HSM_PORTS_MAX,
		      .help = "TCP ports that the library may connect to, where the kernel's Landlock can "
			      "limit them (ABI 4, Linux 6.7); absent: all"),
	CH_CONF_FIELD(struct hsm_config, unix_sockets, CH_CONF_BOOLEAN, .default_text = "false",
		      .help = "the library reaches its HSM through a daemon of this machine (pcscd, a "
			      "p11-kit server): without it no Unix socket can be made in the worker"),
	CH_CONF_FIELD(struct hsm_config, listener, CH_CONF_PATH,
		      .help = "Unix socket of `chancery-vault --hsm-listener`, which starts the workers as "
			      "`user`; absent: the vault starts them, as its own user"),
	CH_CONF_FIELD(struct hsm_config, user, CH_CONF_STRING,
		      .help = "with `listener`: the user (name or number) that it runs as, and that alone "
			      "reads PIN and token"),
};
static const struct ch_conf_schema hsm_schema = { "hsms", hsm_fields, CH_COUNT(hsm_fields) };

static const struct ch_conf_field caller_quota_fields[] = {
	CH_CONF_FIELD(struct vault_caller_quota, caller, CH_CONF_STRING, .required = true,
		      .help = "service (\"issuer\": all its instances together) or one instance "
			      "(\"issuer/issuer-1\")"),
	CH_CONF_FIELD(struct vault_caller_quota, purpose, CH_CONF_STRING, .required = true,
		      .help = "what it asks to be signed, such as end-entity-certificate; or generate-key"),
	CH_CONF_FIELD(struct vault_caller_quota, burst, CH_CONF_INTEGER, .required = true, .min = 1,
		      .max = VAULT_QUOTA_CAP, .help = "signatures at once"),
	CH_CONF_FIELD(struct vault_caller_quota, per_hour, CH_CONF_INTEGER, .required = true, .min = 1,
		      .max = VAULT_QUOTA_CAP, .help = "signatures an hour after that"),
};
static const struct ch_conf_schema caller_quota_schema = { "caller_quotas", caller_quota_fields,
							   CH_COUNT(caller_quota_fields) };

static const struct ch_conf_field lanes_fields[] = {
	CH_CONF_FIELD(
		struct vault_lanes_config, ca, CH_CONF_INTEGER, .default_text = "1", .min = 1,
		.max = HSM_LANE_WEIGHT_CAP,
		.help = "certificates, CRLs, checkpoints and what else the CA and the vault itself need"),
	CH_CONF_FIELD(struct vault_lanes_config, relying_parties, CH_CONF_INTEGER, .default_text = "2",
		      .min = 1, .max = HSM_LANE_WEIGHT_CAP, .help = "OCSP answers and timestamps"),
};
static const struct ch_conf_schema lanes_schema = { "lanes", lanes_fields, CH_COUNT(lanes_fields) };

static const struct ch_conf_field fields[] = {
	/* Of the peers, those in peers.c are called; the other names may stand there as ever. */
	CH_DAEMON_COMMON_FIELDS(struct vault_config, "vault|issuer|crl|audit"),
	CH_CONF_FIELD(struct vault_config, operators_ca, CH_CONF_PATH, .required = true,
		      .help = "PEM: the CA whose officers may approve"),
	CH_CONF_FIELD(struct vault_config, user, CH_CONF_STRING, .default_text = "chancery-vault",
		      .help = "the user (name or number) that this vault runs as: HSMs' listeners serve it "
			      "alone"),
	CH_CONF_FIELD(struct vault_config, single_copy_accepted, CH_CONF_BOOLEAN, .default_text = "false",
		      .help = "make keys that only one HSM could take; what that HSM loses is lost"),
	CH_CONF_NAMED("hsms", struct vault_config, hsms, CH_CONF_SECTION_LIST, .required = true, .min = 1,
		      .max = HSM_MAX, .schema = &hsm_schema, .element_size = sizeof(struct hsm_config),
		      .help = "one item for each HSM"),
	CH_CONF_NAMED(
		"caller_quotas", struct vault_config, caller_quotas, CH_CONF_SECTION_LIST, .min = 0,
		.max = 64, .schema = &caller_quota_schema, .element_size = sizeof(struct vault_caller_quota),
		.help = "how many signatures, or keys (generate-key), a caller gets from all vaults "
			"together; "
			"where none says otherwise issuer gets 200,000 end-entity-certificates at once and "
			"500,000 an hour, issuer and operator 1,000 keys an hour, audit 20"),
	CH_CONF_NAMED(
		"lanes", struct vault_config, lanes, CH_CONF_SECTION, .schema = &lanes_schema,
		.help = "weights at each HSM while both wait: one lane's flood delays the other by its share "
			"alone"),
	CH_CONF_NAMED("clock_tolerance", struct vault_config, clock_tolerance_us, CH_CONF_DURATION,
		      .default_text = "5m", .min = CH_SECOND, .max = CH_HOUR,
		      .help = "how far thisUpdate and producedAt may be from the vault's clock"),
	CH_CONF_NAMED("timestamp_tolerance", struct vault_config, timestamp_tolerance_us, CH_CONF_DURATION,
		      .default_text = "1s", .min = CH_MILLISECOND, .max = CH_MINUTE,
		      .help = "how far genTime may be from the vault's clock"),
	CH_CONF_NAMED("crl_max_validity", struct vault_config, crl_max_validity_us, CH_CONF_DURATION,
		      .default_text = "400d", .min = CH_MINUTE, .max = 3650 * CH_DAY,
		      .help = "nextUpdate - thisUpdate of a CRL at the most, where the key says nothing"),
	CH_CONF_NAMED("ocsp_max_validity", struct vault_config, ocsp_max_validity_us, CH_CONF_DURATION,
		      .default_text = "10d", .min = CH_MINUTE, .max = 400 * CH_DAY,
		      .help = "nextUpdate - thisUpdate of an OCSP response at the most, where the key says "
			      "nothing"),
	CH_CONF_NAMED("hsm_hang", struct vault_config, hsm_hang_us, CH_CONF_DURATION, .default_text = "2s",
		      .min = 100 * CH_MILLISECOND, .max = CH_MINUTE,
		      .help = "a worker that answers nothing for so long is killed and started again"),
	CH_CONF_NAMED(
		"hsm_late", struct vault_config, hsm_late_us, CH_CONF_DURATION, .default_text = "150ms",
		.min = 10 * CH_MILLISECOND, .max = CH_MINUTE,
		.help = "what an HSM does not sign within this time, though nothing ahead explains it, is "
			"also given to another HSM, and the late one gets no more until it answers"),
	CH_CONF_NAMED("hsm_keep_alive", struct vault_config, hsm_keep_alive_us, CH_CONF_DURATION,
		      .default_text = "30s", .min = 100 * CH_MILLISECOND, .max = CH_HOUR,
		      .help = "an HSM session that was idle for so long is checked; one that went bad is "
			      "replaced before a caller needs it"),
};
const struct ch_conf_schema vault_schema = { "vault", fields, CH_COUNT(fields) };
