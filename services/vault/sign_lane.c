/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sign_lane.c: a Sign message keeps one of the bus's workers until its items are signed. No lane may have
 * them all: a quarter is left for the other, so that a flood cannot keep it from its turn at the HSMs. sign.c
 * asks here first.
 */
#include "sign.h"

#include <stdatomic.h>

/* Of relying parties where any item is. */
static enum hsm_lane lane_of(const Chancery__SignRequest *ask)
{
	for (size_t i = 0; i < ask->n_items; i++) {
		const struct vault_purpose *purpose = vault_purpose_find(ask->items[i]->purpose);

		if (purpose && purpose->for_relying_parties)
			return HSM_LANE_RELYING;
	}
	return HSM_LANE_CA;
}

unsigned vault_lane_limit(unsigned workers)
{
	unsigned left = workers / 4 ? workers / 4 : 1;

	return workers > left ? workers - left : 1;
}

bool vault_lane_enter(struct vault *vault, const Chancery__SignRequest *ask, enum hsm_lane *lane,
		      struct ch_error *err)
{
	unsigned limit = vault_lane_limit(vault->sign_workers);

	*lane = lane_of(ask);
	if (atomic_fetch_add(&vault->messages[*lane], 1) < limit)
		return true;
	vault_lane_leave(vault, *lane);
	ch_fail(err, CH_UNAVAILABLE, "lane '%s' has %u messages in hand, which is its share: ask again",
		hsm_lane_name(*lane), limit);
	err->retryable = true;
	return false;
}

void vault_lane_leave(struct vault *vault, enum hsm_lane lane)
{
	atomic_fetch_sub(&vault->messages[lane], 1);
}

/* --- what is not Sign --- */

unsigned vault_other_limit(unsigned sign_workers)
{
	return sign_workers / 4 ? sign_workers / 4 : 1;
}

bool vault_other_enter(struct vault *vault, struct ch_error *err)
{
	unsigned limit = vault_other_limit(vault->sign_workers);

	if (atomic_fetch_add(&vault->others, 1) < limit)
		return true;
	vault_other_leave(vault);
	ch_fail(err, CH_UNAVAILABLE, "%u messages that make keys or keep secrets are in hand: ask again",
		limit);
	err->retryable = true;
	return false;
}

void vault_other_leave(struct vault *vault)
{
	atomic_fetch_sub(&vault->others, 1);
}
