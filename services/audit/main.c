/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-audit. */
#include "audit.h"

#include "clockwatch/clockwatch.h"
#include "health/health.h"
#include "identities/identities.h"

struct parts { /* in the order in which they are opened */
	struct ch_bus_peers *peers;
	struct ch_bus_client *vault_bus; /* of peers */
	struct ch_health *health;
	struct ch_bus_server *bus;
	struct checkpointer *checkpointer;
	struct ch_clockwatch *clockwatch;
	struct ch_identities *identities;
};

static void make_metrics(struct audit *audit)
{
	struct ch_metrics *m = audit->metrics;

	audit->appended =
		ch_metrics_counter(m, "chancery_audit_appended_total", "Events appended to the log.", "");
	audit->repeated = ch_metrics_counter(m, "chancery_audit_repeated_total",
					     "Events received that were in the log already.", "");
	audit->refused = ch_metrics_counter(m, "chancery_audit_refused_total",
					    "Requests of which no event was answered.", "");
	audit->quarantined = ch_metrics_counter(m, "chancery_audit_quarantined_total",
						"Events that are not genuine, kept in quarantine.", "");
	audit->no_room =
		ch_metrics_counter(m, "chancery_audit_quarantine_refused_total",
				   "Times that an event found no room in its sender's quarantine.", "");
	audit->later = ch_metrics_counter(m, "chancery_audit_later_total",
					  "Times that an event was to be sent again later.", "");
	audit->gaps = ch_metrics_counter(m, "chancery_audit_sequence_gaps_total",
					 "Jumps in the numbering of a sender's events.", "");
	audit->size = ch_metrics_gauge(m, "chancery_audit_log_size", "Events in the log.", "");
	audit->covered = ch_metrics_gauge(m, "chancery_audit_checkpoint_size",
					  "Events that the newest checkpoint covers.", "");
}

static bool open_client(struct audit *audit, struct ch_error *err)
{
	struct ch_audit_options options = { .identity = audit->identity,
					    .clock = audit->clock,
					    .state_directory = audit->config->common.state_directory,
					    .deliver = audit_deliver_own,
					    .deliver_state = audit,
					    .metrics = audit->metrics };

	return ch_audit_open(&options, &audit->client, err);
}

static bool open_identities(struct audit *audit, struct parts *parts, struct ch_error *err)
{
	const struct ch_identities_options options = { .daemon = audit->daemon,
						       .config = &audit->config->common,
						       .identity = audit->identity,
						       .audit = audit->client,
						       .clock = audit->clock,
						       .exchange = ch_refused_exchange_vault,
						       .exchange_state = parts->vault_bus };

	return ch_identities_start(&options, &parts->identities, err);
}

static bool open_peers(struct audit *audit, struct parts *parts, struct ch_error *err)
{
	const struct ch_bus_peers_options options = { .rows = audit_peers,
						      .count = audit_peer_count,
						      .config = &audit->config->common,
						      .identity = audit->identity,
						      .clock = audit->clock,
						      .metrics = audit->metrics };

	if (!ch_bus_peers_open(&options, &parts->peers, err))
		return false;
	parts->vault_bus = ch_bus_peers_client(parts->peers, "vault");
	return true;
}

static bool watch_health(struct audit *audit, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &audit->config->common;
	const struct ch_health_options options = {
		.daemon = audit->daemon,
		.instance = common->instance,
		.database = &common->database,
		.without_database = { CH_READY_FAILED, "takes no events" },
		.peers = parts->peers,
		.audit = audit->client,
		.without_spool = { CH_READY_DEGRADED, "its own alerts are in its log alone" },
	};

	return ch_health_start(&options, &parts->health, err);
}

static bool watch_clock(struct audit *audit, struct parts *parts, struct ch_error *err)
{
	const struct ch_clockwatch_options options = { .daemon = audit->daemon,
						       .identity = audit->identity,
						       .clock = audit->clock,
						       .audit = audit->client,
						       .db = audit->db,
						       .peers = parts->peers };

	return ch_clockwatch_start(&options, &parts->clockwatch, err);
}

static bool open_all(struct audit *audit, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &audit->config->common;

	if (!ch_identity_load(&common->identity, "audit", common->instance, &audit->identity, err))
		return false;
	audit->signers = signers_new(ch_identity_trust(audit->identity), common->identity.system_ca);
	audit->waiting = waiting_new();
	if (!ch_db_open(&common->database, common->instance, audit->metrics, &audit->db, err) ||
	    !head_open(common->state_directory, &audit->head, err) || !open_peers(audit, parts, err) ||
	    !open_client(audit, err))
		return false;
	audit->vault = ch_vault_client_new(parts->vault_bus);
	return audit_bus_start(audit, &parts->bus, err) &&
	       checkpoint_start(audit, &parts->checkpointer, err) && open_identities(audit, parts, err) &&
	       watch_health(audit, parts, err) && watch_clock(audit, parts, err);
}

static void close_all(struct audit *audit, struct parts *parts)
{
	int64_t drain = audit->config->common.drain_us;

	ch_identities_stop(parts->identities);
	ch_health_stop(parts->health);
	ch_clockwatch_stop(parts->clockwatch);
	ch_bus_server_stop(parts->bus, drain);
	ch_audit_close(audit->client, drain);
	checkpoint_stop(parts->checkpointer);
	ch_vault_client_free(audit->vault);
	ch_bus_peers_close(parts->peers);
	head_close(audit->head);
	ch_db_close(audit->db);
	waiting_free(audit->waiting);
	signers_free(audit->signers);
	ch_identity_free(audit->identity);
}

int main(int argc, char **argv)
{
	static const struct ch_daemon_definition definition = {
		"audit", "verifies, chains and keeps the events of all daemons", &audit_config_schema, false
	};
	struct audit_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct parts parts = CH_NONE;
	struct audit audit = { .config = &config, .clock = ch_clock_system() };
	struct ch_error err = CH_NONE;
	int exit_code;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	audit.daemon = daemon;
	audit.metrics = ch_daemon_metrics(daemon);
	make_metrics(&audit);
	if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err))
		return ch_daemon_fail(daemon, &err);
	if (open_all(&audit, &parts, &err)) {
		ch_audit_lifecycle(audit.client, "daemon.started");
		ch_daemon_ready(daemon);
		ch_daemon_wait(daemon, NULL, NULL);
		ch_audit_lifecycle(audit.client, "daemon.stopped");
		exit_code = 0;
	} else {
		exit_code = ch_daemon_fail(daemon, &err);
	}
	close_all(&audit, &parts);
	return exit_code;
}
