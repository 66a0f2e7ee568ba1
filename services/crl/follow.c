/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow.c: whatever instance made a CRL, all serve it: the newest number of each CA is read from the
 * database, and its DER where the board has an older one. Called by upkeep.c.
 */
#include "crl.h"

static bool follow_one(struct crl *crl, struct crl_state *state, struct ch_error *err)
{
	CH_AUTO(crl_record) record = CH_NONE;

	if (crl_board_is_current(crl->board, &state->ca, state->newest.number))
		return true;
	if (state->newest.number &&
	    !crl_store_read(crl->db, state->ca.ca_id, state->newest.number, &record, err))
		return false;
	crl_board_put(crl->board, &state->ca, &record);
	return true;
}

bool crl_follow(struct crl *crl, struct crl_states *states, struct ch_error *err)
{
	if (!crl_store_states(crl->db, states, err))
		return false;
	for (size_t i = 0; i < states->count; i++)
		if (!follow_one(crl, &states->items[i], err))
			return ch_fail_in(err, "CA '%s'", states->items[i].ca.name);
	crl_board_keep(crl->board, states);
	crl_board_measure(crl->board, ch_clock_now_us(crl->clock));
	return true;
}
