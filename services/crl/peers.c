/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: who may ask the crl daemon for what, and whom it calls. */
#include "crl.h"

#define REQUEST_CAP 4096

/* clang-format off */
const struct ch_bus_route crl_routes[] = {
	/*           payload       message               senders    octets       reply      handler              most repeated */
	CH_BUS_ROUTE(GENERATE_CRL, generate_crl_request, "gateway", REQUEST_CAP, CRL_REPLY, crl_handle_generate, 0),
	CH_BUS_ROUTE(GET_CRL,      get_crl_request,      "gateway", REQUEST_CAP, CRL_REPLY, crl_handle_get,      0),
};
/* clang-format on */
const size_t crl_route_count = CH_COUNT(crl_routes);

const struct ch_bus_peer crl_peers[] = {
	/* service   while none is reached   which means   what it is asked */
	{ "vault", CH_READY_DEGRADED, "serving, making none", NULL },
	{ "audit", CH_READY_DEGRADED, "events wait in the outbox", NULL },
};
const size_t crl_peer_count = CH_COUNT(crl_peers);
