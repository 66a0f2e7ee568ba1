/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-crl. */
#include "crl.h"

#include "clockwatch/clockwatch.h"
#include "health/health.h"
#include "identities/identities.h"

#define OUTBOX_INTERVAL CH_SECOND /* it is woken when there is something in it */

struct parts { /* in the order in which they are opened */
	struct ch_identity *identity;
	struct ch_bus_peers *peers;
	struct ch_bus_client *vault_bus, *audit_bus; /* of peers */
	struct ch_health *health;
	struct ch_bus_server *bus;
	struct ch_http_server *http;
	struct ch_clockwatch *clockwatch;
	struct ch_identities *identities;
};

static bool open_peers(struct crl *crl, struct parts *parts, struct ch_error *err)
{
	const struct ch_bus_peers_options options = { .rows = crl_peers,
						      .count = crl_peer_count,
						      .config = &crl->config->common,
						      .identity = parts->identity,
						      .clock = crl->clock,
						      .metrics = crl->metrics };

	if (!ch_bus_peers_open(&options, &parts->peers, err))
		return false;
	parts->vault_bus = ch_bus_peers_client(parts->peers, "vault");
	parts->audit_bus = ch_bus_peers_client(parts->peers, "audit");
	return true;
}

static bool open_audit(struct crl *crl, struct parts *parts, struct ch_error *err)
{
	struct ch_audit_options options = { .identity = parts->identity,
					    .clock = crl->clock,
					    .state_directory = crl->config->common.state_directory,
					    .bus = parts->audit_bus,
					    .metrics = crl->metrics };

	return ch_audit_open(&options, &crl->audit, err);
}

static bool open_identities(struct crl *crl, struct parts *parts, struct ch_error *err)
{
	const struct ch_identities_options options = { .daemon = crl->daemon,
						       .config = &crl->config->common,
						       .identity = parts->identity,
						       .audit = crl->audit,
						       .clock = crl->clock,
						       .exchange = ch_refused_exchange_vault,
						       .exchange_state = parts->vault_bus };

	return ch_identities_start(&options, &parts->identities, err);
}

/* A list from memory is better than none. */
static bool watch_health(struct crl *crl, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &crl->config->common;
	const struct ch_health_options options = {
		.daemon = crl->daemon,
		.instance = common->instance,
		.database = &common->database,
		.without_database = { CH_READY_DEGRADED, "serving the newest read" },
		.peers = parts->peers,
		.audit = crl->audit,
		.without_spool = { CH_READY_DEGRADED, "the outbox records what is published" },
	};

	return ch_health_start(&options, &parts->health, err);
}

static bool watch_clock(struct crl *crl, struct parts *parts, struct ch_error *err)
{
	const struct ch_clockwatch_options options = { .daemon = crl->daemon,
						       .identity = parts->identity,
						       .clock = crl->clock,
						       .audit = crl->audit,
						       .db = crl->db,
						       .peers = parts->peers };

	return ch_clockwatch_start(&options, &parts->clockwatch, err);
}

static void open_outbox(struct crl *crl)
{
	const struct ch_outbox_options options = { .db = crl->db,
						   .audit = crl->audit,
						   .service = "crl",
						   .instance = crl->config->common.instance,
						   .metrics = crl->metrics,
						   .interval_us = OUTBOX_INTERVAL };

	crl->outbox = ch_outbox_new(&options);
}

static bool open_all(struct crl *crl, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &crl->config->common;

	if (!ch_identity_load(&common->identity, "crl", common->instance, &parts->identity, err) ||
	    !ch_db_open(&common->database, common->instance, crl->metrics, &crl->db, err) ||
	    !open_peers(crl, parts, err) || !open_audit(crl, parts, err))
		return false;
	crl->vault = ch_vault_client_new(parts->vault_bus);
	crl->board = crl_board_new(crl->metrics);
	ch_lease_end_all(crl->db, &crl_leases, common->instance);
	open_outbox(crl);
	return ch_outbox_start(crl->outbox, err) && crl_upkeep_start(crl, err) &&
	       crl_bus_start(crl, parts->identity, &parts->bus, err) &&
	       crl_http_start(crl, &parts->http, err) && open_identities(crl, parts, err) &&
	       watch_health(crl, parts, err) && watch_clock(crl, parts, err);
}

static void close_all(struct crl *crl, struct parts *parts)
{
	int64_t drain = crl->config->common.drain_us;

	ch_identities_stop(parts->identities);
	ch_clockwatch_stop(parts->clockwatch);
	ch_http_stop(parts->http, drain);
	ch_health_stop(parts->health);
	ch_bus_server_stop(parts->bus, drain);
	crl_upkeep_stop(crl);
	ch_outbox_close(crl->outbox);
	ch_audit_close(crl->audit, CH_SECOND);
	ch_vault_client_free(crl->vault);
	ch_bus_peers_close(parts->peers);
	if (crl->board)
		crl_board_free(crl->board);
	ch_db_close(crl->db);
	ch_identity_free(parts->identity);
}

int main(int argc, char **argv)
{
	static const struct ch_daemon_definition definition = {
		"crl", "makes and serves certificate revocation lists", &crl_config_schema, true
	};
	struct crl_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct parts parts = CH_NONE;
	struct crl crl = { .config = &config, .clock = ch_clock_system() };
	struct ch_error err = CH_NONE;
	int exit_code;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	crl.daemon = daemon;
	crl.metrics = ch_daemon_metrics(daemon);
	if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err))
		return ch_daemon_fail(daemon, &err);
	if (open_all(&crl, &parts, &err)) {
		ch_audit_lifecycle(crl.audit, "daemon.started");
		ch_daemon_ready(daemon);
		ch_daemon_wait(daemon, NULL, NULL);
		ch_audit_lifecycle(crl.audit, "daemon.stopped");
		exit_code = 0;
	} else {
		exit_code = ch_daemon_fail(daemon, &err);
	}
	close_all(&crl, &parts);
	return exit_code;
}
