/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-issuer: configuration, sandbox, database, bus clients, audit, upkeep, bus server. */
#include "issuer.h"

#include "clockwatch/clockwatch.h"
#include "health/health.h"
#include "identities/identities.h"
#include "log/log.h"

static const struct ch_daemon_definition definition = {
	.service = "issuer",
	.summary = "the certificate authority: policy, profiles, serials, issuing, revoking",
	.schema = &issuer_config_schema,
};

static bool open_peers(struct issuer *issuer, const struct ch_daemon_config *config, struct ch_error *err)
{
	const struct ch_bus_peers_options options = { .rows = issuer_peers,
						      .count = issuer_peer_count,
						      .config = config,
						      .identity = issuer->identity,
						      .clock = issuer->clock,
						      .metrics = issuer->metrics };

	if (!ch_bus_peers_open(&options, &issuer->peers, err))
		return false;
	issuer->vault_bus = ch_bus_peers_client(issuer->peers, "vault");
	issuer->audit_bus = ch_bus_peers_client(issuer->peers, "audit");
	return true;
}

static void open_outbox(struct issuer *issuer, const struct ch_daemon_config *config)
{
	const struct ch_outbox_options options = { .db = issuer->db,
						   .audit = issuer->audit,
						   .service = definition.service,
						   .instance = config->instance,
						   .metrics = issuer->metrics,
						   .interval_us = issuer->config->outbox_interval_us };

	issuer->outbox = ch_outbox_new(&options);
}

static bool open_clients(struct issuer *issuer, const struct ch_daemon_config *config, struct ch_error *err)
{
	struct ch_audit_options audit = {
		.clock = issuer->clock,
		.state_directory = config->state_directory,
		.metrics = issuer->metrics,
	};

	if (!ch_identity_load(&config->identity, definition.service, config->instance, &issuer->identity,
			      err) ||
	    !ch_db_open(&config->database, config->instance, issuer->metrics, &issuer->db, err) ||
	    !open_peers(issuer, config, err))
		return false;
	ch_lease_end_all(issuer->db, &issuer_leases, config->instance);
	issuer->vault = ch_vault_client_new(issuer->vault_bus);
	audit.identity = issuer->identity;
	audit.bus = issuer->audit_bus;
	if (!ch_audit_open(&audit, &issuer->audit, err))
		return false;
	open_outbox(issuer, config);
	return true;
}

/* Without either nothing is issued. Its events go with the transaction of what they tell of: the spool has
 * its starts and the bus's refusals alone. */
static bool watch_health(struct issuer *issuer, const struct ch_daemon_config *config, struct ch_error *err)
{
	const struct ch_health_options options = {
		.daemon = issuer->daemon,
		.instance = config->instance,
		.database = &config->database,
		.without_database = { CH_READY_FAILED, "cannot issue" },
		.peers = issuer->peers,
		.audit = issuer->audit,
		.without_spool = { CH_READY_DEGRADED, "refusals are only counted" },
	};

	return ch_health_start(&options, &issuer->health, err);
}

static bool serve(struct issuer *issuer, const struct ch_daemon_config *config, struct ch_error *err)
{
	const struct ch_bus_server_options options = {
		.listen = &config->bus,
		.identity = issuer->identity,
		.clock = issuer->clock,
		.routes = issuer_routes,
		.route_count = issuer_route_count,
		.state = issuer,
		.refusal = ch_audit_bus_refusal,
		.refusal_state = issuer->audit,
		.metrics = issuer->metrics,
	};

	return ch_bus_server_start(&options, &issuer->server, err) && upkeep_start(issuer, err) &&
	       watch_health(issuer, config, err);
}

static bool watch_clock(struct issuer *issuer, struct ch_clockwatch **watch, struct ch_error *err)
{
	const struct ch_clockwatch_options options = { .daemon = issuer->daemon,
						       .identity = issuer->identity,
						       .clock = issuer->clock,
						       .audit = issuer->audit,
						       .db = issuer->db,
						       .peers = issuer->peers };

	return ch_clockwatch_start(&options, watch, err);
}

static bool open_identities(struct issuer *issuer, const struct ch_daemon_config *config,
			    struct ch_error *err)
{
	const struct ch_identities_options options = { .daemon = issuer->daemon,
						       .config = config,
						       .identity = issuer->identity,
						       .audit = issuer->audit,
						       .clock = issuer->clock,
						       .exchange = ch_refused_exchange_vault,
						       .exchange_state = issuer->vault_bus };

	return ch_identities_start(&options, &issuer->identities, err);
}

static void tell(struct issuer *issuer, const char *type)
{
	struct ch_audit_event event = { .type = type,
					.outcome = "success",
					.actor = issuer->config->common.instance };
	struct ch_error err;

	if (!ch_audit_record(issuer->audit, &event, &err))
		ch_log_error("audit event %s: %s", type, err.message);
}

static void close_all(struct issuer *issuer, int64_t drain_us)
{
	ch_identities_stop(issuer->identities);
	ch_bus_server_stop(issuer->server, drain_us);
	upkeep_stop(issuer);
	ch_health_stop(issuer->health);
	if (issuer->audit)
		tell(issuer, "daemon.stopped");
	ch_audit_close(issuer->audit, CH_SECOND);
	ch_vault_client_free(issuer->vault);
	ch_bus_peers_close(issuer->peers);
	ch_db_close(issuer->db);
	cache_free(issuer->cache);
	ch_identity_free(issuer->identity);
}

int main(int argc, char **argv)
{
	struct issuer_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct issuer issuer = { .config = &config, .clock = ch_clock_system() };
	struct ch_clockwatch *watch = NULL;
	struct ch_error err = CH_NONE;
	int exit_code;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err))
		return ch_daemon_fail(daemon, &err);
	issuer.daemon = daemon;
	issuer.cache = cache_new();
	issuer.metrics = ch_daemon_metrics(daemon);
	issuer.partitions_ready = ch_daemon_readiness(daemon, "partitions");
	issuer.signers_ready = ch_daemon_readiness(daemon, "signers");
	issuer.started_at_us = ch_clock_now_us(issuer.clock);
	if (!open_clients(&issuer, &config.common, &err) || !serve(&issuer, &config.common, &err) ||
	    !open_identities(&issuer, &config.common, &err) || !watch_clock(&issuer, &watch, &err)) {
		close_all(&issuer, 0);
		return ch_daemon_fail(daemon, &err);
	}
	tell(&issuer, "daemon.started");
	ch_daemon_ready(daemon);
	ch_daemon_wait(daemon, NULL, NULL);
	ch_clockwatch_stop(watch);
	close_all(&issuer, config.common.drain_us);
	return 0;
}
