/* SPDX-License-Identifier: Apache-2.0 */
/* vault.c: opens and closes the vault; main.c calls it; peers.c says what it answers on the bus. */
#include "vault.h"

#include "hsm_user.h"
#include "identities/identities.h"
#include "log/log.h"
#include "marks.h"
#include "policy.h"
#include "refused_identities.h"
#include "secrets/secrets.h"
#include "sign.h"
#include "worker.h"

#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

int64_t vault_deadline_us(const struct vault *vault, const struct ch_bus_request *request)
{
	int64_t left = request->body->deadline_us - ch_clock_now_us(vault->clock);

	return ch_monotonic_us() + (left > 0 ? left : 0);
}

static bool open_policy(struct vault *vault, struct ch_error *err)
{
	const struct vault_config *config = vault->config;
	CH_AUTO(X509) certificate = NULL;

	vault->policy = (struct vault_policy){ .clock_tolerance_us = config->clock_tolerance_us,
					       .timestamp_tolerance_us = config->timestamp_tolerance_us,
					       .crl_max_validity_us = config->crl_max_validity_us,
					       .ocsp_max_validity_us = config->ocsp_max_validity_us,
					       .operators.ca = X509_STORE_new() };
	if (!ch_certificate_read_pem_file(config->operators_ca, &certificate, err))
		return ch_fail_in(err, "operators_ca");
	X509_check_purpose(certificate, -1,
			   -1); /* its extensions are read while one thread is alone with it */
	if (!vault->policy.operators.ca || X509_STORE_add_cert(vault->policy.operators.ca, certificate) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "operators_ca");
	return true;
}

/* An HSM's user that is the vault's own would keep its PIN from nobody. */
static bool check_hsm_users(const struct vault_config *config, struct ch_error *err)
{
	const struct hsm_config *hsms = config->hsms.items;
	struct hsm_user user;

	for (size_t i = 0; i < config->hsms.count; i++) {
		if (!hsms[i].listener)
			continue;
		if (!hsm_user_find(hsms[i].user, &user, err))
			return ch_fail_in(err, "HSM '%s'", hsms[i].name);
		if (user.uid == geteuid())
			ch_log_warn("HSM '%s': its user '%s' is the vault's own", hsms[i].name, hsms[i].user);
	}
	return true;
}

static bool open_identity(struct vault *vault, struct ch_error *err)
{
	const struct ch_daemon_config *common = &vault->config->common;

	if (!ch_identity_load(&common->identity, "vault", common->instance, &vault->identity, err))
		return false;
	vault->policy.operators.lists = ch_identity_trust(vault->identity);
	return ch_trust_add_other_cas(vault->policy.operators.lists, vault->config->operators_ca, err) ||
	       ch_fail_in(err, "operators_ca");
}

static bool open_hsms(struct vault *vault, struct ch_error *err)
{
	const struct hsm_pool_options options = {
		.hsms = vault->config->hsms.items,
		.count = vault->config->hsms.count,
		.program = "/proc/self/exe",
		.sandbox = vault->config->common.sandbox,
		.hang_us = vault->config->hsm_hang_us,
		.late_us = vault->config->hsm_late_us,
		.keep_alive_us = vault->config->hsm_keep_alive_us,
		.weights = { [HSM_LANE_CA] = (uint32_t)vault->config->lanes.ca,
			     [HSM_LANE_RELYING] = (uint32_t)vault->config->lanes.relying_parties },
		.event = vault_note_hsm,
		.event_state = vault,
		.metrics = vault->metrics
	};

	return hsm_pool_start(&options, &vault->hsms, err);
}

static bool open_audit(struct vault *vault, struct ch_error *err)
{
	const struct ch_daemon_config *common = &vault->config->common;
	const struct ch_bus_peers_options peers = { .rows = vault_peers,
						    .count = vault_peer_count,
						    .config = common,
						    .identity = vault->identity,
						    .clock = vault->clock,
						    .metrics = vault->metrics };

	if (!ch_bus_peers_open(&peers, &vault->peers, err))
		return false;
	vault->audit_bus = ch_bus_peers_client(vault->peers, "audit");
	const struct ch_audit_options options = { .identity = vault->identity,
						  .clock = vault->clock,
						  .state_directory = common->state_directory,
						  .bus = vault->audit_bus,
						  .metrics = vault->metrics };
	return ch_audit_open(&options, &vault->audit, err);
}

static bool open_server(struct vault *vault, struct ch_error *err)
{
	const struct ch_daemon_config *common = &vault->config->common;
	const struct ch_bus_server_options options = { .listen = &vault->listen,
						       .identity = vault->identity,
						       .clock = vault->clock,
						       .routes = vault_routes,
						       .route_count = vault_route_count,
						       .state = vault,
						       .refusal = ch_audit_bus_refusal,
						       .refusal_state = vault->audit,
						       .metrics = vault->metrics };

	vault->listen = common->bus;
	if (vault->listen.workers < VAULT_WORKERS)
		vault->listen.workers = VAULT_WORKERS;
	vault->sign_workers = (unsigned)vault->listen.workers;
	vault->listen.workers += vault_other_limit(vault->sign_workers);
	return ch_bus_server_start(&options, &vault->server, err);
}

static bool open_identities(struct vault *vault, struct ch_daemon *daemon, struct ch_error *err)
{
	const struct ch_identities_options options = { .daemon = daemon,
						       .config = &vault->config->common,
						       .identity = vault->identity,
						       .audit = vault->audit,
						       .clock = vault->clock,
						       .exchange = vault_refused_exchange,
						       .exchange_state = vault };

	return ch_identities_start(&options, &vault->identities, err);
}

/* Nothing is signed that the database does not say may be, or that cannot be recorded. */
static bool watch_health(struct vault *vault, struct ch_daemon *daemon, struct ch_error *err)
{
	const struct ch_daemon_config *common = &vault->config->common;
	const struct ch_health_options options = {
		.daemon = daemon,
		.instance = common->instance,
		.database = &common->database,
		.without_database = { CH_READY_FAILED, "cannot sign" },
		.peers = vault->peers,
		.audit = vault->audit,
		.without_spool = { CH_READY_FAILED, "cannot sign" },
	};

	return ch_health_start(&options, &vault->health, err);
}

bool vault_open(struct vault *vault, const struct vault_config *config, struct ch_daemon *daemon,
		struct ch_error *err)
{
	const struct ch_daemon_config *common = &config->common;

	vault->config = config;
	vault->clock = ch_clock_system();
	vault->metrics = ch_daemon_metrics(daemon);
	vault->hsm_readiness = ch_daemon_readiness(daemon, "hsm");
	ch_readiness_set(vault->hsm_readiness, CH_READY_FAILED, "no HSM is up yet");
	vault_turn_init(&vault->generating);
	if (!vault_caller_quotas_check(config->caller_quotas.items, config->caller_quotas.count, err) ||
	    !hsm_config_check(config->hsms.items, config->hsms.count, common->identity.key, err) ||
	    !check_hsm_users(config, err) || !open_policy(vault, err) || !open_identity(vault, err) ||
	    !ch_db_open(&common->database, "chancery-vault", vault->metrics, &vault->db, err) ||
	    !open_audit(vault, err))
		return false;
	vault->keys = vault_keys_new(vault);
	vault->ca_names = vault_ca_names_new(vault);
	vault->seals = vault_seals_new();
	vault->quotas = vault_quotas_new();
	vault->refusals = vault_refusals_new(vault);
	vault->secrets = vault_secrets_new(vault);
	vault->used = vault_used_new();
	vault->marks = vault_marks_new(vault);
	return vault_summary_start(vault, &vault->summary, err) && open_hsms(vault, err) &&
	       vault_marks_start(vault->marks, err) && vault_copies_start(vault, &vault->copies, err) &&
	       open_identities(vault, daemon, err) && open_server(vault, err) &&
	       watch_health(vault, daemon, err);
}

void vault_close(struct vault *vault)
{
	int64_t drain_us = vault->config ? vault->config->common.drain_us : 0;

	ch_health_stop(vault->health);
	ch_bus_server_stop(vault->server, drain_us);
	ch_identities_stop(vault->identities);
	vault_copies_stop(vault->copies);
	vault_marks_stop(vault->marks);
	hsm_pool_stop(vault->hsms);
	vault_summary_stop(vault->summary);
	vault_refusals_free(vault->refusals);
	ch_audit_close(vault->audit, CH_SECOND); /* the rest waits in the spool */
	ch_bus_peers_close(vault->peers);
	vault_marks_free(vault->marks);
	vault_used_free(vault->used);
	vault_secrets_free(vault->secrets);
	vault_keys_free(vault->keys);
	vault_ca_names_free(vault->ca_names);
	vault_seals_free(vault->seals);
	vault_quotas_free(vault->quotas);
	ch_db_close(vault->db);
	ch_identity_free(vault->identity);
	X509_STORE_free(vault->policy.operators.ca);
}
