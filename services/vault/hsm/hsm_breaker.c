/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_breaker.c: the circuit breaker's transitions. Called by the HSM pool with its lock held. */
#include "hsm_breaker.h"

const char *hsm_breaker_name(enum hsm_breaker_state state)
{
	static const char *const names[] = { "closed", "open", "half-open" };

	return names[state];
}

/* Opening again soon after closing, or after a failed probe, waits twice as long as before. */
static bool open_it(struct hsm_breaker *breaker, int64_t now_us)
{
	bool settled = breaker->state == HSM_BREAKER_CLOSED &&
		       now_us - breaker->closed_at_us >= HSM_BREAKER_SETTLED_US;

	if (settled || breaker->interval_us == 0)
		breaker->interval_us = HSM_BREAKER_INTERVAL_US;
	else if (breaker->interval_us < HSM_BREAKER_LONGEST_US / 2)
		breaker->interval_us *= 2;
	else
		breaker->interval_us = HSM_BREAKER_LONGEST_US;
	if (breaker->state == HSM_BREAKER_CLOSED)
		breaker->openings++;
	breaker->state = HSM_BREAKER_OPEN;
	breaker->probe_at_us = now_us + breaker->interval_us;
	return true;
}

bool hsm_breaker_success(struct hsm_breaker *breaker, int64_t now_us)
{
	breaker->failures = 0;
	if (breaker->state == HSM_BREAKER_OPEN && !breaker->is_wrong)
		breaker->probe_at_us = now_us;
	if (breaker->state != HSM_BREAKER_HALF_OPEN)
		return false;
	breaker->state = HSM_BREAKER_CLOSED;
	breaker->closed_at_us = now_us;
	return true;
}

bool hsm_breaker_failure(struct hsm_breaker *breaker, int64_t now_us)
{
	if (breaker->state == HSM_BREAKER_OPEN)
		return false;
	if (breaker->state == HSM_BREAKER_CLOSED && ++breaker->failures < HSM_BREAKER_FAILURES)
		return false;
	return open_it(breaker, now_us);
}

bool hsm_breaker_late(struct hsm_breaker *breaker, int64_t now_us)
{
	return breaker->state != HSM_BREAKER_OPEN && open_it(breaker, now_us);
}

bool hsm_breaker_wrong(struct hsm_breaker *breaker, int64_t now_us)
{
	bool was_open = breaker->state == HSM_BREAKER_OPEN;

	if (breaker->is_wrong && was_open)
		return false; /* what was sent before */
	if (breaker->wrong_us == 0 ||
	    now_us - breaker->wrong_at_us >= breaker->wrong_us + HSM_BREAKER_FORGIVEN_US)
		breaker->wrong_us = HSM_BREAKER_WRONG_US;
	else if (breaker->wrong_us <= HSM_BREAKER_WRONGEST_US / 2)
		breaker->wrong_us *= 2;
	else
		breaker->wrong_us = HSM_BREAKER_WRONGEST_US;
	breaker->openings += !was_open;
	breaker->state = HSM_BREAKER_OPEN;
	breaker->is_wrong = true;
	breaker->wrong_at_us = now_us;
	breaker->probe_at_us = now_us + breaker->wrong_us;
	return true;
}

void hsm_breaker_right(struct hsm_breaker *breaker)
{
	if (breaker->state != HSM_BREAKER_OPEN)
		breaker->is_wrong = false;
}

void hsm_breaker_fresh(struct hsm_breaker *breaker, int64_t now_us)
{
	if (breaker->state == HSM_BREAKER_CLOSED || (breaker->is_wrong && breaker->state == HSM_BREAKER_OPEN))
		return;
	breaker->state = HSM_BREAKER_OPEN;
	breaker->probe_at_us = now_us;
}

bool hsm_breaker_probe(struct hsm_breaker *breaker, int64_t now_us)
{
	if (breaker->state != HSM_BREAKER_OPEN || now_us < breaker->probe_at_us)
		return false;
	breaker->state = HSM_BREAKER_HALF_OPEN;
	return true;
}
