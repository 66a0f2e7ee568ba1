/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_late.c: what is done about an HSM that does not answer as fast as it should, long before it must be
 * taken for hung: its circuit breaker opens, what it has in flight is also sent to another HSM, and it is
 * asked for its status until it answers again. Called by each HSM's thread with the pool's lock held.
 */
#include "hsm_pool.h"

#include <utlist.h>

/*
 * An item that waits behind others says nothing about the worker. It has waited too long when nothing came
 * for as long as an item may take, or when all that was sent before it was answered.
 */
enum hsm_wait hsm_wait_of(const struct hsm *hsm, const struct hsm_trip *trip, int64_t limit_us,
			  int64_t now_us)
{
	if (now_us - trip->sent_us < limit_us)
		return HSM_WAIT_FINE;
	if (now_us - hsm->last_reply_us >= limit_us)
		return HSM_WAIT_SILENT;
	if (hsm->replies - trip->replies_at_send > trip->ahead_at_send + 2 * (uint64_t)hsm->sessions)
		return HSM_WAIT_OVERTAKEN;
	return HSM_WAIT_FINE;
}

void hsm_breaker_changed(struct hsm *hsm)
{
	static const int64_t values[] = {
		[HSM_BREAKER_CLOSED] = 0, [HSM_BREAKER_HALF_OPEN] = 1, [HSM_BREAKER_OPEN] = 2
	};

	if (hsm->breaker_metric)
		ch_metric_set(hsm->breaker_metric, values[hsm->breaker.state]);
	if (hsm->breaker.state == HSM_BREAKER_OPEN)
		hsm_requeue(hsm); /* what it has not been sent goes to another, where there is one */
}

/* --- the same item on another HSM --- */

static bool only_reads(const Chancery__HsmMarks *marks)
{
	return !marks->n_raise && !marks->n_remove;
}

/* What has the same effect however often it is done. */
static bool may_repeat(const struct hsm_item *item)
{
	const Chancery__HsmRequest *request = item->request;

	return !item->once && (request->sign || request->mac || request->encrypt || request->decrypt ||
			       request->random || (request->marks && only_reads(request->marks)));
}

static void hedge(struct hsm *hsm, const struct hsm_trip *trip)
{
	struct hsm_item *item = trip->item;
	unsigned allowed;
	struct hsm *other;

	if (!item || !may_repeat(item) || hsm_trips_under_way(item) > 1)
		return;
	allowed = item->allowed & ~item->refused_by & ~(1u << hsm->index);
	other = hsm_choose(hsm->pool, allowed, true);
	if (!other)
		return;
	hsm_send(other, item);
	if (hsm->hedged_metric)
		ch_metric_add(hsm->hedged_metric, 1);
}

static void hedge_all(struct hsm *hsm)
{
	struct hsm_trip *trip;

	DL_FOREACH(hsm->in_flight, trip)
	hedge(hsm, trip);
}

/* --- the status request that tells whether it is well again, or still --- */

static bool check_due(struct hsm *hsm, int64_t now_us)
{
	int64_t keep_alive_us = hsm->pool->options.keep_alive_us;

	if (hsm->state != HSM_UP || hsm->checking || hsm->disabled)
		return false;
	if (hsm_breaker_probe(&hsm->breaker, now_us)) {
		hsm_breaker_changed(hsm);
		return true;
	}
	return keep_alive_us && !hsm->in_flight && now_us - hsm->last_reply_us >= keep_alive_us;
}

static void send_check(struct hsm *hsm, int64_t now_us)
{
	chancery__hsm_request__init(&hsm->check_request);
	chancery__hsm_status_query__init(&hsm->check_query);
	hsm->check_request.status = &hsm->check_query;
	hsm->check = (struct hsm_item){ .request = &hsm->check_request,
					.allowed = 1u << hsm->index,
					.once = true,
					.check_of = hsm,
					.deadline_us = INT64_MAX };
	hsm->checking = true;
	hsm->checked_at_us = now_us;
	hsm_send(hsm, &hsm->check);
	hsm_flush(hsm);
}

void hsm_check_done(struct hsm_item *item)
{
	item->check_of->checking = false;
	if (item->reply)
		chancery__hsm_reply__free_unpacked(item->reply, NULL);
	item->reply = NULL;
}

/* --- each few milliseconds --- */

/* While half-open, what was sent before the probe says nothing. */
static void note_silence(struct hsm *hsm, int64_t now_us)
{
	bool probing = hsm->breaker.state == HSM_BREAKER_HALF_OPEN &&
		       now_us - hsm->checked_at_us < hsm->pool->options.late_us;

	if (!probing && hsm_breaker_late(&hsm->breaker, now_us))
		hsm_breaker_changed(hsm);
}

void hsm_watch(struct hsm *hsm, int64_t now_us)
{
	int64_t late_us = hsm->pool->options.late_us;
	struct hsm_trip *trip;

	if (hsm->state != HSM_UP)
		return;
	DL_FOREACH(hsm->in_flight, trip)
	{
		enum hsm_wait wait;

		if (now_us - trip->sent_us < late_us)
			break; /* they are in the order of sending */
		if (trip->limit_us)
			continue; /* takes long by its nature */
		wait = hsm_wait_of(hsm, trip, late_us, now_us);
		if (wait == HSM_WAIT_SILENT) {
			note_silence(hsm, now_us);
			hedge_all(hsm);
			break;
		}
		if (wait == HSM_WAIT_OVERTAKEN)
			hedge(hsm, trip);
	}
	if (check_due(hsm, now_us))
		send_check(hsm, now_us);
	hsm_flush_all(hsm->pool);
}
