/* SPDX-License-Identifier: Apache-2.0 */
/* gateway.c: opens what the gateway needs and closes it in reverse. Called by main. */
#include "gateway.h"

#include "health/health.h"
#include "identities/identities.h"

#include <stdlib.h>

static const struct ch_conf_field fields[] = {
	CH_DAEMON_COMMON_FIELDS(struct gateway_config, "vault|issuer|crl|audit"),
	CH_CONF_SUB(struct gateway_config, http, &ch_http_schema),
	CH_CONF_FIELD(struct gateway_config, operators_ca, CH_CONF_PATH, .required = true,
		      .help = "the operators' CA certificate, PEM: clients are verified against it (unless "
			      "http.tls_client_ca names another)"),
};
const struct ch_conf_schema gateway_schema = { "gateway", fields, CH_COUNT(fields) };

static bool open_peers(struct gateway *gateway, struct ch_error *err)
{
	const struct ch_bus_peers_options options = { .rows = gateway_peers,
						      .count = gateway_peer_count,
						      .config = &gateway->config->common,
						      .identity = gateway->identity,
						      .clock = ch_clock_system(),
						      .metrics = gateway->metrics };

	if (!ch_bus_peers_open(&options, &gateway->peers, err))
		return false;
	gateway->issuer = ch_bus_peers_client(gateway->peers, "issuer");
	gateway->crl = ch_bus_peers_client(gateway->peers, "crl");
	gateway->vault = ch_bus_peers_client(gateway->peers, "vault");
	gateway->audit_bus = ch_bus_peers_client(gateway->peers, "audit");
	return true;
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

static bool open_identities(struct gateway *gateway, struct ch_daemon *daemon, struct ch_error *err)
{
	const struct ch_identities_options options = { .daemon = daemon,
						       .config = &gateway->config->common,
						       .identity = gateway->identity,
						       .audit = gateway->audit,
						       .clock = ch_clock_system(),
						       .exchange = ch_refused_exchange_vault,
						       .exchange_state = gateway->vault };

	return ch_identities_start(&options, &gateway->identities, err);
}

static bool open_identity(struct gateway *gateway, struct ch_error *err)
{
	const struct gateway_config *config = gateway->config;
	const char *clients_ca =
		config->http.tls_client_ca ? config->http.tls_client_ca : config->operators_ca;

	return ch_identity_load(&config->common.identity, "gateway", config->common.instance,
				&gateway->identity, err) &&
	       (ch_trust_add_other_cas(ch_identity_trust(gateway->identity), clients_ca, err) ||
		ch_fail_in(err, "operators_ca"));
}

bool gateway_open(struct gateway *gateway, const struct gateway_config *config, struct ch_daemon *daemon,
		  struct ch_error *err)
{
	gateway->config = config;
	gateway->metrics = ch_daemon_metrics(daemon);
	pthread_mutex_init(&gateway->refusals.lock, NULL);
	pthread_mutex_init(&gateway->proofs.lock, NULL);
	return open_identity(gateway, err) && open_peers(gateway, err) && open_audit(gateway, err) &&
	       open_identities(gateway, daemon, err);
}

bool gateway_watch(struct gateway *gateway, struct ch_daemon *daemon, struct ch_error *err)
{
	const struct ch_health_options options = {
		.daemon = daemon,
		.peers = gateway->peers,
		.audit = gateway->audit,
		.without_spool = { CH_READY_DEGRADED, "refusals are only counted" },
	};

	return ch_health_start(&options, &gateway->health, err);
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

	ch_identities_stop(gateway->identities);
	ch_http_stop(gateway->http, drain);
	ch_health_stop(gateway->health);
	ch_audit_close(gateway->audit, CH_SECOND);
	ch_bus_peers_close(gateway->peers);
	ch_identity_free(gateway->identity);
	free(gateway->routes);
	pthread_mutex_destroy(&gateway->proofs.lock);
	pthread_mutex_destroy(&gateway->refusals.lock);
}
