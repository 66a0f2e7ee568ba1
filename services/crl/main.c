/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-crl. */
#include "crl.h"

struct parts { /* in the order in which they are opened */
	struct ch_identity *identity;
	struct ch_bus_client *vault_bus, *audit_bus;
	struct ch_bus_server *bus;
	struct ch_http_server *http;
};

static bool open_client(struct crl *crl, struct parts *parts, const char *service,
			const struct ch_conf_strings *peers, struct ch_bus_client **client,
			struct ch_error *err)
{
	return ch_bus_client_open(service, peers, parts->identity, &crl->config->common.identity, crl->clock,
				  crl->metrics, client, err);
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

static bool open_all(struct crl *crl, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &crl->config->common;
	struct ch_error lease;

	if (!ch_identity_load(&common->identity, "crl", common->instance, &parts->identity, err) ||
	    !ch_db_open(&common->database, common->instance, crl->metrics, &crl->db, err) ||
	    !open_client(crl, parts, "vault", &common->peers.vault, &parts->vault_bus, err) ||
	    !open_client(crl, parts, "audit", &common->peers.audit, &parts->audit_bus, err) ||
	    !open_audit(crl, parts, err))
		return false;
	crl->vault = ch_vault_client_new(parts->vault_bus);
	crl->board = crl_board_new(crl->metrics);
	if (!crl_store_end_leases_of(crl->db, common->instance, &lease))
		ch_log_warn("leases of an earlier run end by themselves: %s", lease.message);
	return crl_upkeep_start(crl, err) && crl_bus_start(crl, parts->identity, &parts->bus, err) &&
	       crl_http_start(crl, &parts->http, err);
}

static void close_all(struct crl *crl, struct parts *parts)
{
	int64_t drain = crl->config->common.drain_us;

	ch_http_stop(parts->http, drain);
	ch_bus_server_stop(parts->bus, drain);
	crl_upkeep_stop(crl);
	ch_audit_close(crl->audit, CH_SECOND);
	ch_vault_client_free(crl->vault);
	ch_bus_client_close(parts->audit_bus);
	ch_bus_client_close(parts->vault_bus);
	if (crl->board)
		crl_board_free(crl->board);
	ch_db_close(crl->db);
	ch_identity_free(parts->identity);
}

int main(int argc, char **argv)
{
	static const struct ch_daemon_definition definition = {
		"crl", "makes and serves certificate revocation lists", &crl_config_schema
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
