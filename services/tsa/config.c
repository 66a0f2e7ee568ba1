/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: the keys of chancery-tsa's configuration file. */
#include "tsa.h"

static const struct ch_conf_field fields[] = {
	/* Of the peers, those in peers.c are called; the other names may stand there as ever. */
	CH_DAEMON_COMMON_FIELDS(struct tsa_config, "vault|issuer|crl|audit"),
	CH_CONF_SUB(struct tsa_config, http, &ch_http_schema),
	CH_CONF_FIELD(
		struct tsa_config, ca, CH_CONF_STRING,
		.help = "the CA whose timestamp authority this is; absent: the one whose document states "
			"timestamp_authority.default"),
	CH_CONF_FIELD(struct tsa_config, policies, CH_CONF_STRING_LIST, .max = 32,
		      .help = "policy OIDs to stamp under, the first for requests that name none; absent: "
			      "all that the "
			      "CA document gives the key"),
	CH_CONF_NAMED("accuracy", struct tsa_config, accuracy_us, CH_CONF_DURATION, .default_text = "1s",
		      .min = 0, .max = CH_HOUR, .help = "stated in every token; 0s: not stated"),
	CH_CONF_FIELD(
		struct tsa_config, ordering, CH_CONF_BOOLEAN, .default_text = "false",
		.help = "state that tokens can be ordered by genTime alone (RFC 3161 2.4.2); only with one "
			"instance"),
	CH_CONF_FIELD(struct tsa_config, require_synchronised_clock, CH_CONF_BOOLEAN, .default_text = "false",
		      .help = "answer timeNotAvailable while the kernel does not say that its clock is "
			      "synchronised"),
	CH_CONF_NAMED("maximum_clock_error", struct tsa_config, maximum_clock_error_us, CH_CONF_DURATION,
		      .default_text = "1s", .min = 1, .max = CH_HOUR,
		      .help = "the kernel's maxerror above which the clock does not count as synchronised"),
	CH_CONF_NAMED("reload_interval", struct tsa_config, reload_interval_us, CH_CONF_DURATION,
		      .default_text = "1s", .min = 100 * CH_MILLISECOND, .max = CH_HOUR,
		      .help = "how often the timestamp certificates are read"),
	CH_CONF_NAMED("vault_timeout", struct tsa_config, vault_timeout_us, CH_CONF_DURATION,
		      .default_text = "5s", .min = 10 * CH_MILLISECOND, .max = CH_MINUTE,
		      .help = "how long a signature may take"),
};

const struct ch_conf_schema tsa_config_schema = { "tsa", fields, CH_COUNT(fields) };
