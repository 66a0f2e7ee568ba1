/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires the OCSP responder. */
#include "ocsp.h"

#include "clockwatch/clockwatch.h"
#include "health/health.h"
#include "identities/identities.h"

static const struct ch_daemon_definition definition = {
	.service = "ocsp",
	.summary = "answers for the status of certificates (RFC 6960)",
	.schema = &ocsp_config_schema,
	.balanced = true,
};

/* What main opens, in the order in which it is opened; closed in the reverse order. */
struct parts {
	struct ch_identity *identity;
	struct ch_db *db;
	struct ch_bus_peers *peers;
	struct ch_bus_client *vault_bus, *audit_bus; /* of peers */
	struct ch_vault_client *vault;
	struct ch_audit_client *audit;
	struct ocsp *ocsp;
	struct ch_health *health;
	struct ch_http_server *http;
	struct ch_clockwatch *clockwatch;
	struct ch_identities *identities;
};

static bool record(const struct parts *parts, const char *type, struct ch_error *err)
{
	const struct ch_peer *self = ch_identity_self(parts->identity);
	const struct ch_audit_event event = {
		.type = type, .outcome = "success", .actor = self->instance, .subject = self->instance
	};

	return ch_audit_record(parts->audit, &event, err);
}

static bool open_identities(const struct ocsp_config *config, struct ch_daemon *daemon, struct parts *parts,
			    struct ch_error *err)
{
	const struct ch_identities_options options = { .daemon = daemon,
						       .config = &config->common,
						       .identity = parts->identity,
						       .audit = parts->audit,
						       .clock = ch_clock_system(),
						       .exchange = ch_refused_exchange_vault,
						       .exchange_state = parts->vault_bus };

	return ch_identities_start(&options, &parts->identities, err);
}

static bool open_peers(const struct ocsp_config *config, struct ch_daemon *daemon, struct parts *parts,
		       struct ch_error *err)
{
	const struct ch_bus_peers_options options = { .rows = ocsp_peers,
						      .count = ocsp_peer_count,
						      .config = &config->common,
						      .identity = parts->identity,
						      .clock = ch_clock_system(),
						      .metrics = ch_daemon_metrics(daemon) };

	if (!ch_bus_peers_open(&options, &parts->peers, err))
		return false;
	parts->vault_bus = ch_bus_peers_client(parts->peers, "vault");
	parts->audit_bus = ch_bus_peers_client(parts->peers, "audit");
	return true;
}

/* follow.c watches the database. What is signed is recorded by the vault: the spool here has the starts
 * alone. */
static bool watch_health(struct ch_daemon *daemon, struct parts *parts, struct ch_error *err)
{
	const struct ch_health_options options = {
		.daemon = daemon,
		.peers = parts->peers,
		.audit = parts->audit,
		.without_spool = { CH_READY_DEGRADED, "the vault records what is signed" },
	};

	return ch_health_start(&options, &parts->health, err);
}

static bool watch_clock(struct ch_daemon *daemon, struct parts *parts, struct ch_error *err)
{
	const struct ch_clockwatch_options options = { .daemon = daemon,
						       .identity = parts->identity,
						       .clock = ch_clock_system(),
						       .audit = parts->audit,
						       .db = parts->db,
						       .peers = parts->peers };

	return ch_clockwatch_start(&options, &parts->clockwatch, err);
}

static bool open_parts(const struct ocsp_config *config, struct ch_daemon *daemon, struct parts *parts,
		       struct ch_error *err)
{
	const struct ch_daemon_config *common = &config->common;
	const struct ch_clock *clock = ch_clock_system();
	struct ch_metrics *metrics = ch_daemon_metrics(daemon);
	struct ch_audit_options audit = { .clock = clock,
					  .state_directory = common->state_directory,
					  .metrics = metrics };
	struct ch_http_options http = { .config = &config->http,
					.routes = ocsp_routes,
					.route_count = ocsp_route_count,
					.metrics = metrics,
					.name = "outside" };

	if (!ch_identity_load(&common->identity, definition.service, common->instance, &parts->identity,
			      err) ||
	    !ch_db_open(&common->database, common->instance, metrics, &parts->db, err) ||
	    !open_peers(config, daemon, parts, err))
		return false;
	parts->vault = ch_vault_client_new(parts->vault_bus);
	audit.identity = parts->identity;
	audit.bus = parts->audit_bus;
	if (!ch_audit_open(&audit, &parts->audit, err) || !record(parts, "daemon.started", err))
		return false;
	parts->ocsp = ocsp_new(config, clock, daemon, parts->db, parts->vault);
	http.state = parts->ocsp;
	return ocsp_follow_start(parts->ocsp, err) && ch_http_start(&http, &parts->http, err) &&
	       open_identities(config, daemon, parts, err) && watch_health(daemon, parts, err) &&
	       watch_clock(daemon, parts, err);
}

static void close_parts(struct parts *parts, int64_t drain_us)
{
	struct ch_error err = CH_NONE;

	ch_identities_stop(parts->identities);
	ch_clockwatch_stop(parts->clockwatch);
	ch_http_stop(parts->http, drain_us);
	ch_health_stop(parts->health);
	ocsp_free(parts->ocsp);
	if (parts->audit && !record(parts, "daemon.stopped", &err))
		ch_log_error("%s", err.message);
	ch_audit_close(parts->audit, CH_SECOND);
	ch_vault_client_free(parts->vault);
	ch_bus_peers_close(parts->peers);
	ch_db_close(parts->db);
	ch_identity_free(parts->identity);
}

int main(int argc, char **argv)
{
	struct ocsp_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct parts parts = CH_NONE;
	struct ch_error err = CH_NONE;
	int exit_code = 0;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err) ||
	    !open_parts(&config, daemon, &parts, &err)) {
		exit_code = ch_daemon_fail(daemon, &err);
	} else {
		ch_daemon_ready(daemon);
		ch_daemon_wait(daemon, NULL, NULL);
	}
	close_parts(&parts, config.common.drain_us);
	return exit_code;
}
