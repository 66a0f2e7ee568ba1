/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_lanes.c: whose turn it is among the lanes of one HSM. hsm_queue.c is the caller. */
#include "hsm_lanes.h"

#include "hsm.h"

#include <utlist.h>

/* Virtual time that one item of a lane of weight 1 takes: divisible by many weights. */
#define ITEM_TIME (UINT64_C(5040) * 1000)

const char *hsm_lane_name(enum hsm_lane lane)
{
	static const char *const names[] = { [HSM_LANE_CA] = "ca", [HSM_LANE_RELYING] = "relying-parties" };

	return names[lane];
}

/* A lane that was idle begins now: it saves nothing up. */
void hsm_lanes_put(struct hsm_lanes *lanes, struct hsm_item *item)
{
	enum hsm_lane lane = item->lane;

	if (!lanes->lane[lane].items && lanes->lane[lane].start < lanes->now)
		lanes->lane[lane].start = lanes->now;
	DL_APPEND(lanes->lane[lane].items, item);
	lanes->lane[lane].depth++;
	lanes->depth++;
}

void hsm_lanes_remove(struct hsm_lanes *lanes, struct hsm_item *item)
{
	DL_DELETE(lanes->lane[item->lane].items, item);
	lanes->lane[item->lane].depth--;
	lanes->depth--;
}

struct hsm_item *hsm_lanes_take(struct hsm_lanes *lanes)
{
	struct hsm_item *item;
	int next = -1;

	for (int lane = 0; lane < HSM_LANES; lane++)
		if (lanes->lane[lane].items &&
		    (next < 0 || lanes->lane[lane].start < lanes->lane[next].start))
			next = lane;
	if (next < 0)
		return NULL;
	item = lanes->lane[next].items;
	hsm_lanes_remove(lanes, item);
	lanes->now = lanes->lane[next].start;
	lanes->lane[next].start += ITEM_TIME / (lanes->lane[next].weight ? lanes->lane[next].weight : 1);
	return item;
}
