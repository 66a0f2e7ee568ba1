/* SPDX-License-Identifier: Apache-2.0 */
/* gateway.c: opens what the gateway needs and closes it in reverse. Called by main. */
#include "gateway.h"

#include <stdlib.h>

static const struct ch_conf_field fields[] = {
	CH_DAEMON_COMMON_FIELDS(struct gateway_config),
	CH_CONF_SUB(struct gateway_config, http, &ch_http_schema),
	CH_CONF_FIELD(struct gateway_config, operators_ca, CH_CONF_PATH, .required = true,
		      .help = "the operators' CA certificate, PEM: clients are verified against it (unless "
			      "http.tls_client_ca names another)"),
};
const struct ch_conf_schema gateway_schema = { "gateway", fields, CH_COUNT(fields) };

static bool open_peer(struct gateway *gateway, const char *service, const struct ch_conf_strings *addresses,
		      struct ch_bus_client **client, struct ch_error *err)
{
	if (!addresses->count)
		return ch_fail(err, CH_INVALID, "peers.%s is empty: the gateway needs it", service);
	return ch_bus_client_open(service, addresses, gateway->identity, &gateway->config->common.identity,
				  ch_clock_system(), gateway->metrics, client, err);
}

static bool open_audit(struct gateway *gateway, struct ch_error *err)
{
	struct ch_audit_options options = {
		.identity = gateway->identity,
		.clock = ch_clock_system(),
		.state_directory = gateway->config->common.state_directory,
		.bus = gateway->audit_bus,
		.metrics = gateway->metrics,
	};

	return ch_audit_open(&options, &gateway->audit, err);
}

bool gateway_open(struct gateway *gateway, const struct gateway_config *config, struct ch_metrics *metrics,
		  struct ch_error *err)
{
	const struct ch_peers_config *peers = &config->common.peers;

	gateway->config = config;
	gateway->metrics = metrics;
	pthread_mutex_init(&gateway->refusals.lock, NULL);
	return ch_identity_load(&config->common.identity, "gateway", config->common.instance,
				&gateway->identity, err) &&
	       open_peer(gateway, "issuer", &peers->issuer, &gateway->issuer, err) &&
	       open_peer(gateway, "crl", &peers->crl, &gateway->crl, err) &&
	       open_peer(gateway, "vault", &peers->vault, &gateway->vault, err) &&
	       open_peer(gateway, "audit", &peers->audit, &gateway->audit_bus, err) &&
	       open_audit(gateway, err);
}

bool gateway_listen(struct gateway *gateway, struct ch_error *err)
{
	struct ch_http_config http = gateway->config->http;
	struct ch_http_options options = { .config = &http,
					   .route_count = rest_route_count,
					   .state = gateway,
					   .metrics = gateway->metrics,
					   .name = "outside",
					   .handlers_refuse_certificates = true };

	if (!http.tls_certificate)
		return ch_fail(err, CH_INVALID,
			       "http.tls_certificate is missing: the gateway speaks HTTPS only");
	if (!http.tls_client_ca)
		http.tls_client_ca = gateway->config->operators_ca;
	gateway->routes = ch_alloc(rest_route_count * sizeof(*gateway->routes));
	for (size_t i = 0; i < rest_route_count; i++)
		gateway->routes[i] = (struct ch_http_route){ .method = rest_routes[i].method,
							     .path = rest_routes[i].path,
							     .body_cap = rest_routes[i].body_cap,
							     .slow = rest_dispatch };
	options.routes = gateway->routes;
	return ch_http_start(&options, &gateway->http, err);
}

void gateway_close(struct gateway *gateway)
{
	int64_t drain = gateway->config ? gateway->config->common.drain_us : 0;

	ch_http_stop(gateway->http, drain);
	ch_audit_close(gateway->audit, CH_SECOND);
	ch_bus_client_close(gateway->audit_bus);
	ch_bus_client_close(gateway->vault);
	ch_bus_client_close(gateway->crl);
	ch_bus_client_close(gateway->issuer);
	ch_identity_free(gateway->identity);
	free(gateway->routes);
	pthread_mutex_destroy(&gateway->refusals.lock);
}
