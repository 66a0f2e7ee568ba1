/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: whom the responder calls. It takes nothing on the bus. */
#include "ocsp.h"

#include "bus/bus.h"

const struct ch_bus_peer ocsp_peers[] = {
	/* service   while none is reached   which means   what it is asked */
	{ "vault", CH_READY_DEGRADED, "serving cached", NULL },
	{ "audit", CH_READY_DEGRADED, "events wait in the spool", NULL },
};
const size_t ocsp_peer_count = CH_COUNT(ocsp_peers);
