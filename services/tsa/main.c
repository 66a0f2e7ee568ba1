/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-tsa. */
#include "tsa.h"

#include "auditclient/auditclient.h"
#include "clockwatch/clockwatch.h"
#include "health/health.h"
#include "identities/identities.h"
#include "log/log.h"

struct parts { /* in the order in which they are opened */
	struct ch_identity *identity;
	struct ch_bus_peers *peers;
	struct ch_bus_client *vault_bus, *audit_bus; /* of peers */
	struct ch_audit_client *audit;
	pthread_t reload;
	bool reloading;
	struct ch_health *health;
	struct ch_http_server *http;
	struct ch_clockwatch *clockwatch;
	struct ch_identities *identities;
};

static bool open_peers(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_bus_peers_options options = { .rows = tsa_peers,
						      .count = tsa_peer_count,
						      .config = &tsa->config->common,
						      .identity = parts->identity,
						      .clock = tsa->time.clock,
						      .metrics = tsa->metrics };

	if (!ch_bus_peers_open(&options, &parts->peers, err))
		return false;
	parts->vault_bus = ch_bus_peers_client(parts->peers, "vault");
	parts->audit_bus = ch_bus_peers_client(parts->peers, "audit");
	return true;
}

static bool open_audit(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_audit_options options = { .identity = parts->identity,
						  .clock = tsa->time.clock,
						  .state_directory = tsa->config->common.state_directory,
						  .bus = parts->audit_bus,
						  .metrics = tsa->metrics };
	return ch_audit_open(&options, &parts->audit, err);
}

static bool record(struct tsa *tsa, struct parts *parts, const char *type, struct ch_error *err)
{
	const char *instance = tsa->config->common.instance;
	const struct ch_audit_event event = {
		.type = type, .outcome = "success", .actor = instance, .subject = instance
	};
	return ch_audit_record(parts->audit, &event, err);
}

static bool listen_http(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_http_options options = { .config = &tsa->config->http,
						 .routes = tsa_routes,
						 .route_count = tsa_route_count,
						 .state = tsa,
						 .metrics = tsa->metrics,
						 .name = "outside" };
	return ch_http_start(&options, &parts->http, err);
}

static bool open_identities(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_identities_options options = { .daemon = tsa->daemon,
						       .config = &tsa->config->common,
						       .identity = parts->identity,
						       .audit = parts->audit,
						       .clock = tsa->time.clock,
						       .exchange = ch_refused_exchange_vault,
						       .exchange_state = parts->vault_bus };

	return ch_identities_start(&options, &parts->identities, err);
}

/* It stamps with the certificates it has read; without the vault there is nothing to stamp with. What it
 * signs is recorded by the vault: its own spool has its starts alone. */
static bool watch_health(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &tsa->config->common;
	const struct ch_health_options options = {
		.daemon = tsa->daemon,
		.instance = common->instance,
		.database = &common->database,
		.without_database = { CH_READY_DEGRADED, "stamping with what was read" },
		.peers = parts->peers,
		.audit = parts->audit,
		.without_spool = { CH_READY_DEGRADED, "the vault records what is stamped" },
	};
	return ch_health_start(&options, &parts->health, err);
}

static bool watch_clock(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_clockwatch_options options = { .daemon = tsa->daemon,
						       .identity = parts->identity,
						       .clock = tsa->time.clock,
						       .audit = parts->audit,
						       .db = tsa->db,
						       .peers = parts->peers };

	return ch_clockwatch_start(&options, &parts->clockwatch, err);
}

static bool open_all(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &tsa->config->common;
	if (!ch_identity_load(&common->identity, "tsa", common->instance, &parts->identity, err) ||
	    !ch_db_open(&common->database, common->instance, tsa->metrics, &tsa->db, err) ||
	    !open_peers(tsa, parts, err) || !open_audit(tsa, parts, err) ||
	    !record(tsa, parts, "daemon.started", err))
		return false;
	tsa->vault = ch_vault_client_new(parts->vault_bus);
	parts->reloading = tsa_reload_start(tsa, &parts->reload, err);
	return parts->reloading && listen_http(tsa, parts, err) && open_identities(tsa, parts, err) &&
	       watch_health(tsa, parts, err) && watch_clock(tsa, parts, err);
}

static void close_all(struct tsa *tsa, struct parts *parts)
{
	int64_t drain_us = tsa->config->common.drain_us;
	struct ch_error err = CH_NONE;
	ch_identities_stop(parts->identities);
	ch_clockwatch_stop(parts->clockwatch);
	ch_http_stop(parts->http, drain_us);
	ch_health_stop(parts->health);
	if (parts->reloading)
		pthread_join(parts->reload, NULL);
	if (parts->audit && !record(tsa, parts, "daemon.stopped", &err))
		ch_log_warn("daemon.stopped is not in the audit log: %s", err.message);
	ch_audit_close(parts->audit, CH_SECOND);
	ch_vault_client_free(tsa->vault);
	ch_bus_peers_close(parts->peers);
	tsa_authorities_release(tsa->authorities);
	ch_db_close(tsa->db);
	if (parts->identity)
		ch_identity_free(parts->identity);
}

int main(int argc, char **argv)
{
	static const struct ch_daemon_definition definition = { "tsa",
								"stamps time on digests (RFC 3161, RFC 5816)",
								&tsa_config_schema, true };
	struct tsa_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct parts parts = CH_NONE;
	struct ch_error err = CH_NONE;
	int exit_code;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	struct tsa tsa;
	tsa_init(&tsa, &config, daemon);
	if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err))
		return ch_daemon_fail(daemon, &err);
	if (open_all(&tsa, &parts, &err)) {
		ch_log_info("serving http on %s", ch_http_address(parts.http));
		ch_daemon_ready(daemon);
		ch_daemon_wait(daemon, NULL, NULL);
		exit_code = 0;
	} else {
		exit_code = ch_daemon_fail(daemon, &err);
	}
	close_all(&tsa, &parts);
	return exit_code;
}
