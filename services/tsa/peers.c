/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: whom the timestamp authority calls. It takes nothing on the bus. */
#include "tsa.h"

#include "bus/bus.h"

const struct ch_bus_peer tsa_peers[] = {
	/* service   while none is reached   which means   what it is asked */
	{ "vault", CH_READY_FAILED, "cannot stamp", NULL },
	{ "audit", CH_READY_DEGRADED, "events wait in the spool", NULL },
};
const size_t tsa_peer_count = CH_COUNT(tsa_peers);
