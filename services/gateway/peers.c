/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: whom the gateway calls. It takes nothing on the bus. */
#include "gateway.h"

/* The least that an issuer needs its database for. */
static bool ask_issuer(struct ch_bus_client *client, struct ch_error *err)
{
	const Chancery__ListCasRequest request = CHANCERY__LIST_CAS_REQUEST__INIT;
	const struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CAS,
					  .request = &request.base,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CAS_REPLY,
					  .reply_descriptor = &chancery__list_cas_reply__descriptor,
					  .tenant = "default",
					  .timeout_us = 2 * CH_SECOND };
	CH_AUTO(ch_proto) reply = NULL;

	return ch_bus_call(client, &call, &reply, err);
}

/* Degraded without an issuer, not failed: clients get a problem document that says so, with Retry-After; were
 * every gateway taken out, HAProxy would close their connections without a word. */
const struct ch_bus_peer gateway_peers[] = {
	/* service   while none is reached   which means   what it is asked */
	{ "issuer", CH_READY_DEGRADED, "nothing is issued or revoked", ask_issuer },
	{ "crl", CH_READY_DEGRADED, "no CRLs on request", NULL },
	{ "vault", CH_READY_DEGRADED, "no actions of officers", NULL },
	{ "audit", CH_READY_DEGRADED, "events wait in the spool", NULL },
};
const size_t gateway_peer_count = CH_COUNT(gateway_peers);
