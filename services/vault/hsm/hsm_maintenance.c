/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_maintenance.c: an HSM is shut out, so that a person may take its token away, and let in again. Called
 * by the vault's operations and, for the last step, by the HSM's own thread.
 */
#include "hsm_pool.h"

#include "log/log.h"

#include <stdio.h>
#include <utlist.h>

#define DRAIN_US (5 * CH_SECOND) /* what is in flight then goes to another HSM */

static bool others(const struct hsm *hsm, bool must_be_up)
{
	for (size_t i = 0; i < hsm->pool->count; i++) {
		const struct hsm *other = &hsm->pool->hsms[i];

		if (other != hsm && !other->disabled && (!must_be_up || other->state == HSM_UP))
			return true;
	}
	return false;
}

static bool may_disable(const struct hsm *hsm, struct ch_error *err)
{
	if (!others(hsm, false))
		return ch_fail(err, CH_CONFLICT, "HSM '%s' is the last one that is enabled",
			       hsm->config->name);
	if (hsm->state == HSM_UP && !others(hsm, true))
		return ch_fail(err, CH_CONFLICT, "HSM '%s' is the only one that is up", hsm->config->name);
	return true;
}

/* With the lock held: waits until the HSM's thread has ended the worker. */
static void wait_retired(struct hsm *hsm)
{
	while (hsm->disabled && hsm->state != HSM_DISABLED && !hsm->pool->stopping)
		pthread_cond_wait(&hsm->pool->changed, &hsm->pool->lock);
}

static bool disable(struct hsm *hsm, struct ch_error *err)
{
	if (!hsm->disabled) {
		if (!may_disable(hsm, err))
			return false;
		hsm->disabled = true;
		hsm->drain_until_us = ch_monotonic_us() + DRAIN_US;
		hsm_wake(hsm);
		hsm_requeue(hsm);
		/* Those that only this HSM could have served are told so. */
		hsm_assign_waiting(hsm->pool);
	}
	wait_retired(hsm);
	return true;
}

static void enable(struct hsm *hsm)
{
	hsm->disabled = false;
	hsm->halted = false;
	hsm->failures = 0;
	hsm->breaker = (struct hsm_breaker){ 0 };
	hsm->restart_at_us = 0;
	hsm->state = HSM_STARTING;
	hsm_wake(hsm);
}

bool hsm_pool_set_enabled(struct hsm_pool *pool, size_t index, bool enabled, struct ch_error *err)
{
	struct hsm *hsm = &pool->hsms[index];
	bool done = true, changes;

	pthread_mutex_lock(&pool->lock);
	changes = enabled ? hsm->disabled || hsm->halted : !hsm->disabled;
	if (!enabled)
		done = disable(hsm, err);
	else if (changes)
		enable(hsm);
	pthread_mutex_unlock(&pool->lock);
	if (!done || !changes)
		return done;
	ch_log_info("HSM '%s' is %s", hsm->config->name, enabled ? "enabled" : "shut out for maintenance");
	if (hsm->enabled_metric)
		ch_metric_set(hsm->enabled_metric, enabled);
	hsm_tell(hsm, enabled ? HSM_WAS_ENABLED : HSM_WAS_DISABLED, "");
	return true;
}

static bool is_drained(const struct hsm *hsm)
{
	const struct hsm_trip *trip;

	DL_FOREACH(hsm->in_flight, trip)
	if (trip->item)
		return false;
	return true;
}

/* Its token may be taken away when this was told: not before the worker has ended. */
static void note_retired(struct hsm *hsm)
{
	pthread_mutex_lock(&hsm->pool->lock);
	if (hsm->disabled) { /* not enabled again meanwhile */
		hsm->state = HSM_DISABLED;
		snprintf(hsm->last_error, sizeof(hsm->last_error), "shut out for maintenance");
	}
	pthread_cond_broadcast(&hsm->pool->changed);
	pthread_mutex_unlock(&hsm->pool->lock);
}

void hsm_retire_if_drained(struct hsm *hsm, int64_t now_us)
{
	char how[64];
	bool retires;

	pthread_mutex_lock(&hsm->pool->lock);
	retires = hsm->disabled && hsm->state != HSM_DISABLED &&
		  (is_drained(hsm) || now_us >= hsm->drain_until_us);
	if (retires) {
		hsm_end_process(hsm, how);
		hsm_reassign(hsm);
	}
	pthread_mutex_unlock(&hsm->pool->lock);
	if (!retires)
		return;
	hsm_await_end(hsm);
	note_retired(hsm);
}

void hsm_pool_key_present(struct hsm_pool *pool, size_t index, const char *key_id)
{
	pthread_mutex_lock(&pool->lock);
	hsm_absent_forget_key(&pool->absent, key_id, (unsigned)index);
	pthread_mutex_unlock(&pool->lock);
}
