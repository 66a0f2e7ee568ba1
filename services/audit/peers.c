/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: who may send the audit daemon what, and whom it calls. audit_routes_test.c says the first again.
 */
#include "audit.h"

#define DAEMONS    "gateway issuer ocsp tsa crl audit vault"
#define EVENTS_CAP (1024 * 1024)
#define LIST_CAP   4096

/* Who may send what: only those whose code does. */
/* clang-format off */
const struct ch_bus_route audit_routes[] = {
	/*           payload          message                  senders    octets      reply                  handler                       most repeated */
	CH_BUS_ROUTE(APPEND_EVENTS,   append_events_request,   DAEMONS,   EVENTS_CAP, APPEND_EVENTS_REPLY,   audit_handle_append,          EVENTS_PER_REQUEST),
	CH_BUS_ROUTE(LIST_EVENTS,     list_events_request,     "gateway", LIST_CAP,   LIST_EVENTS_REPLY,     audit_handle_list,            0),
	CH_BUS_ROUTE(LIST_QUARANTINE, list_quarantine_request, "gateway", LIST_CAP,   LIST_QUARANTINE_REPLY, audit_handle_list_quarantine, 0),
};
/* clang-format on */
const size_t audit_route_count = CH_COUNT(audit_routes);

const struct ch_bus_peer audit_peers[] = {
	/* service   while none is reached   which means   what it is asked */
	{ "vault", CH_READY_DEGRADED, "no checkpoints are signed", NULL },
};
const size_t audit_peer_count = CH_COUNT(audit_peers);
