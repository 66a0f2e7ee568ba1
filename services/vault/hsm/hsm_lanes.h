/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_lanes.h: what waits for one HSM, in lanes with weights, so that a flood in one delays another by no
 * more than its share (start-time fair queueing, Goyal, Vin and Cheng 1996; each item counts as one). Pure:
 * the pool guards it with its lock.
 */
#ifndef VAULT_HSM_LANES_H
#define VAULT_HSM_LANES_H

#include <stdint.h>

enum hsm_lane {
	HSM_LANE_CA,      /* certificates, CRLs, checkpoints, and the vault's own work */
	HSM_LANE_RELYING, /* OCSP answers and timestamps: anybody may ask for them */
	HSM_LANES
};
const char *hsm_lane_name(enum hsm_lane lane);

#define HSM_LANE_WEIGHT_CAP 1000

struct hsm_item;

/* Zero-initialised is empty, with equal weights. */
struct hsm_lanes {
	struct {
		struct hsm_item *items; /* the first that came */
		uint32_t depth;
		uint32_t weight; /* 0 counts as 1 */
		uint64_t start;  /* of its first item, in virtual time */
	} lane[HSM_LANES];
	uint64_t now; /* the start of what was taken last */
	uint32_t depth;
};

void hsm_lanes_put(struct hsm_lanes *lanes, struct hsm_item *item); /* into item->lane */
/* The one whose turn it is; NULL: none waits. */
struct hsm_item *hsm_lanes_take(struct hsm_lanes *lanes);
/* It waits here. */
void hsm_lanes_remove(struct hsm_lanes *lanes, struct hsm_item *item);

#endif
