/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: wires chancery-gateway. */
#include "gateway.h"

#include "clockwatch/clockwatch.h"
#include "sandbox/sandbox.h"

static const struct ch_daemon_definition definition = {
	.service = "gateway",
	.summary = "the REST interface: authenticates clients, turns each request into one bus message",
	.schema = &gateway_schema,
	.balanced = true,
};

static bool start(struct gateway *gateway, const struct gateway_config *config, struct ch_daemon *daemon,
		  struct ch_error *err)
{
	const char *const files[] = { config->operators_ca, config->http.tls_client_ca,
				      config->http.tls_certificate, config->http.tls_key };
	struct ch_sandbox_path paths[CH_COUNT(files)];
	size_t count = 0;

	for (size_t i = 0; i < CH_COUNT(files); i++)
		if (files[i])
			paths[count++] = (struct ch_sandbox_path){ files[i], CH_SANDBOX_READ };
	return ch_daemon_enter_sandbox(daemon, paths, count, false, err) &&
	       gateway_open(gateway, config, daemon, err) && gateway_watch(gateway, daemon, err) &&
	       gateway_listen(gateway, err);
}

static bool watch_clock(const struct gateway *gateway, struct ch_daemon *daemon, struct ch_clockwatch **watch,
			struct ch_error *err)
{
	const struct ch_clockwatch_options options = { .daemon = daemon,
						       .identity = gateway->identity,
						       .clock = ch_clock_system(),
						       .audit = gateway->audit,
						       .peers = gateway->peers };

	return ch_clockwatch_start(&options, watch, err);
}

int main(int argc, char **argv)
{
	struct gateway_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct gateway gateway = CH_NONE;
	struct ch_clockwatch *watch = NULL;
	struct ch_error err;
	int exit_code;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	if (!start(&gateway, &config, daemon, &err) || !watch_clock(&gateway, daemon, &watch, &err)) {
		gateway_close(&gateway);
		return ch_daemon_fail(daemon, &err);
	}
	ch_log_info("serving https on %s", ch_http_address(gateway.http));
	ch_audit_lifecycle(gateway.audit, "daemon.started");
	ch_daemon_ready(daemon);
	ch_daemon_wait(daemon, NULL, NULL);
	ch_audit_lifecycle(gateway.audit, "daemon.stopped");
	ch_clockwatch_stop(watch);
	gateway_close(&gateway);
	return 0;
}
