/* SPDX-License-Identifier: Apache-2.0 */
/* vaultprobe_load.h: many callers sign the same bytes for a while, through libcommon/vaultclient as the
 * daemons do. */
#ifndef VAULTPROBE_LOAD_H
#define VAULTPROBE_LOAD_H

#include "vaultclient/vaultclient.h"

#define LOAD_CALLERS_CAP 64

struct load_options {
	const char *tenant;
	struct ch_vault_item item;
	int64_t seconds, callers;
	int64_t rate;       /* signatures a second of all callers together; 0: as fast as they go */
	int64_t timeout_us; /* of each call */
};

/* Prints one line of JSON: signatures, errors with the first of them, latencies in microseconds. */
int load_run(struct ch_bus_client *bus, const struct load_options *options);

#endif
