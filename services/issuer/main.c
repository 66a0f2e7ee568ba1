/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-issuer: configuration, sandbox, database, bus clients, audit, upkeep, bus server. */
#include "issuer.h"

#include "log/log.h"

static const struct ch_daemon_definition definition = {
	.service = "issuer",
	.summary = "the certificate authority: policy, profiles, serials, issuing, revoking",
	.schema = &issuer_config_schema,
};

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
	    !ch_bus_client_open("vault", &config->peers.vault, issuer->identity, &config->identity,
				issuer->clock, issuer->metrics, &issuer->vault_bus, err) ||
	    !ch_bus_client_open("audit", &config->peers.audit, issuer->identity, &config->identity,
				issuer->clock, issuer->metrics, &issuer->audit_bus, err))
		return false;
	issuer->vault = ch_vault_client_new(issuer->vault_bus);
	audit.identity = issuer->identity;
	audit.bus = issuer->audit_bus;
	return ch_audit_open(&audit, &issuer->audit, err);
}

static bool serve(struct issuer *issuer, const struct ch_daemon_config *config, struct ch_error *err)
{
	const struct ch_bus_server_options options = {
		.listen = &config->bus,
		.identity = issuer->identity,
		.identity_files = &config->identity,
		.clock = issuer->clock,
		.routes = issuer_routes,
		.route_count = issuer_route_count,
		.state = issuer,
		.refusal = ch_audit_bus_refusal,
		.refusal_state = issuer->audit,
		.metrics = issuer->metrics,
	};

	return ch_bus_server_start(&options, &issuer->server, err) && upkeep_start(issuer, err);
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
	ch_bus_server_stop(issuer->server, drain_us);
	upkeep_stop(issuer);
	if (issuer->audit)
		tell(issuer, "daemon.stopped");
	ch_audit_close(issuer->audit, CH_SECOND);
	ch_vault_client_free(issuer->vault);
	ch_bus_client_close(issuer->vault_bus);
	ch_bus_client_close(issuer->audit_bus);
	ch_db_close(issuer->db);
	cache_free(issuer->cache);
	ch_identity_free(issuer->identity);
}

int main(int argc, char **argv)
{
	struct issuer_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct issuer issuer = { .config = &config, .clock = ch_clock_system() };
	struct ch_error err = CH_NONE;
	int exit_code;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err))
		return ch_daemon_fail(daemon, &err);
	issuer.daemon = daemon;
	issuer.cache = cache_new();
	issuer.metrics = ch_daemon_metrics(daemon);
	issuer.database_ready = ch_daemon_readiness(daemon, "database");
	issuer.started_at_us = ch_clock_now_us(issuer.clock);
	if (!open_clients(&issuer, &config.common, &err) || !serve(&issuer, &config.common, &err)) {
		close_all(&issuer, 0);
		return ch_daemon_fail(daemon, &err);
	}
	tell(&issuer, "daemon.started");
	ch_daemon_ready(daemon);
	ch_daemon_wait(daemon, NULL, NULL);
	close_all(&issuer, config.common.drain_us);
	return 0;
}
