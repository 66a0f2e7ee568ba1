/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_queue.c: what an HSM has not been sent yet waits here, in its lanes: a worker has at most a window of
 * items in hand, which keeps all its sessions busy, and what comes next is decided when there is room. Called
 * by hsm.c and the HSMs' threads with the pool's lock held.
 */
#include "hsm_pool.h"

#include "worker_queue.h"

#include <utlist.h>

static uint32_t window(const struct hsm *hsm)
{
	return (hsm->sessions > 1 ? hsm->sessions : 2) * WORKER_AT_ONCE;
}

uint32_t hsm_load(const struct hsm *hsm)
{
	return hsm->in_flight_count + hsm->lanes.depth;
}

static void note_depth(struct hsm *hsm, enum hsm_lane lane)
{
	if (hsm->lane_depth_metrics[lane])
		ch_metric_set(hsm->lane_depth_metrics[lane], hsm->lanes.lane[lane].depth);
}

static void note_sent(struct hsm *hsm, const struct hsm_item *item, int64_t waited_us)
{
	if (!hsm->lane_items_metrics[item->lane])
		return;
	ch_metric_add(hsm->lane_items_metrics[item->lane], 1);
	if (waited_us > 0)
		ch_metric_add(hsm->lane_wait_metrics[item->lane], (uint64_t)waited_us);
}

void hsm_enqueue(struct hsm *hsm, struct hsm_item *item)
{
	if (!hsm->lanes.depth && hsm->in_flight_count < window(hsm)) {
		note_sent(hsm, item, 0);
		hsm_send(hsm, item);
		return;
	}
	item->queued_at = hsm;
	item->queued_us = ch_monotonic_us();
	hsm_lanes_put(&hsm->lanes, item);
	note_depth(hsm, item->lane);
}

void hsm_dequeue(struct hsm_item *item)
{
	struct hsm *hsm = item->queued_at;

	item->queued_at = NULL;
	hsm_lanes_remove(&hsm->lanes, item);
	note_depth(hsm, item->lane);
}

/* Many at a time, so that they go in one write and wake the worker once. */
void hsm_send_queued(struct hsm *hsm)
{
	int64_t now_us;

	if (!hsm->lanes.depth || hsm->state != HSM_UP || hsm->in_flight_count > window(hsm) / 2)
		return;
	now_us = ch_monotonic_us();
	while (hsm->in_flight_count < window(hsm)) {
		struct hsm_item *item = hsm_lanes_take(&hsm->lanes);

		if (!item)
			break;
		item->queued_at = NULL;
		note_depth(hsm, item->lane);
		note_sent(hsm, item, now_us - item->queued_us);
		hsm_send(hsm, item);
	}
	hsm_flush(hsm);
}

/* Those that came first go first; they may come back here, where there is nobody else for them. */
void hsm_requeue(struct hsm *hsm)
{
	struct hsm_item *items = NULL, *item, *next;

	while ((item = hsm_lanes_take(&hsm->lanes))) {
		item->queued_at = NULL;
		DL_APPEND(items, item);
	}
	for (int lane = 0; lane < HSM_LANES; lane++)
		note_depth(hsm, (enum hsm_lane)lane);
	DL_FOREACH_SAFE(items, item, next)
	hsm_assign(hsm->pool, item);
}

void hsm_expire_queued(struct hsm *hsm, int64_t now_us)
{
	for (int lane = 0; lane < HSM_LANES; lane++) {
		struct hsm_item *item, *next;

		DL_FOREACH_SAFE(hsm->lanes.lane[lane].items, item, next)
		if (item->deadline_us <= now_us) {
			hsm_dequeue(item);
			hsm_expire_item(item, "the HSM had too much to do before it");
		}
	}
}

void hsm_make_lane_metrics(struct hsm *hsm, struct ch_metrics *metrics)
{
	for (int lane = 0; lane < HSM_LANES; lane++) {
		CH_AUTO(ch_string)
		labels = ch_format("hsm=\"%s\",lane=\"%s\"", hsm->config->name,
				   hsm_lane_name((enum hsm_lane)lane));

		hsm->lane_depth_metrics[lane] =
			ch_metrics_gauge(metrics, "chancery_vault_lane_depth",
					 "Items of a lane that wait for their turn at the HSM", labels);
		hsm->lane_items_metrics[lane] = ch_metrics_counter(metrics, "chancery_vault_lane_items_total",
								   "Items of a lane sent to the HSM", labels);
		hsm->lane_wait_metrics[lane] =
			ch_metrics_counter(metrics, "chancery_vault_lane_wait_microseconds_total",
					   "Microseconds that items of a lane waited for their turn", labels);
	}
}
