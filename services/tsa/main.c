/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-tsa. */
#include "tsa.h"

#include "auditclient/auditclient.h"
#include "log/log.h"

struct parts { /* in the order in which they are opened */
	struct ch_identity *identity;
	struct ch_bus_client *vault_bus, *audit_bus;
	struct ch_audit_client *audit;
	pthread_t reload;
	bool reloading;
	struct ch_http_server *http;
};

static bool open_client(struct tsa *tsa, struct parts *parts, const char *service,
			const struct ch_conf_strings *peers, struct ch_bus_client **client,
			struct ch_error *err)
{
	return ch_bus_client_open(service, peers, parts->identity, &tsa->config->common.identity,
				  tsa->time.clock, tsa->metrics, client, err);
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

static bool open_all(struct tsa *tsa, struct parts *parts, struct ch_error *err)
{
	const struct ch_daemon_config *common = &tsa->config->common;
	if (!ch_identity_load(&common->identity, "tsa", common->instance, &parts->identity, err) ||
	    !ch_db_open(&common->database, common->instance, tsa->metrics, &tsa->db, err) ||
	    !open_client(tsa, parts, "vault", &common->peers.vault, &parts->vault_bus, err) ||
	    !open_client(tsa, parts, "audit", &common->peers.audit, &parts->audit_bus, err) ||
	    !open_audit(tsa, parts, err) || !record(tsa, parts, "daemon.started", err))
		return false;
	tsa->vault = ch_vault_client_new(parts->vault_bus);
	parts->reloading = tsa_reload_start(tsa, &parts->reload, err);
	return parts->reloading && listen_http(tsa, parts, err);
}

static void close_all(struct tsa *tsa, struct parts *parts)
{
	int64_t drain_us = tsa->config->common.drain_us;
	struct ch_error err = CH_NONE;
	ch_http_stop(parts->http, drain_us);
	if (parts->reloading)
		pthread_join(parts->reload, NULL);
	if (parts->audit && !record(tsa, parts, "daemon.stopped", &err))
		ch_log_warn("daemon.stopped is not in the audit log: %s", err.message);
	ch_audit_close(parts->audit, CH_SECOND);
	ch_vault_client_free(tsa->vault);
	ch_bus_client_close(parts->audit_bus);
	ch_bus_client_close(parts->vault_bus);
	tsa_authorities_release(tsa->authorities);
	ch_db_close(tsa->db);
	if (parts->identity)
		ch_identity_free(parts->identity);
}

int main(int argc, char **argv)
{
	static const struct ch_daemon_definition definition = { "tsa",
								"stamps time on digests (RFC 3161, RFC 5816)",
								&tsa_config_schema };
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
