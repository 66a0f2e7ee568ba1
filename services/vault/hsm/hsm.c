/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm.c: items of work and the HSM that does each: least in flight, another one when a worker refuses or is
 * lost, an error only when none can or the deadline passed. sign.c and keys are its callers; workers are
 * hsm_process.c's, the pool itself is hsm_pool.c's.
 */
#include "hsm.h"

#include "hsm_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define LOST_WORKERS_CAP 5 /* an item that was on this many lost workers may be what kills them */

/* --- running items --- */

void hsm_run(struct hsm_pool *pool, struct hsm_item *items, size_t count)
{
	struct hsm_batch batch = { .changed = PTHREAD_COND_INITIALIZER, .left = count };

	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < count; i++) {
		items[i].batch = &batch;
		items[i].refused_by = 0;
		items[i].hsm_code = CH_OK;
		items[i].lost = 0;
		items[i].queued_at = NULL;
		items[i].check_of = NULL;
		memset(items[i].trips, 0, sizeof(items[i].trips));
		hsm_assign(pool, &items[i]);
	}
	hsm_flush_all(pool);
	while (batch.left) {
		if (batch.answered) {
			hsm_verify_answered(pool, &batch);
			continue;
		}
		batch.sleeping = true;
		pthread_cond_wait(&batch.changed, &pool->lock);
		batch.sleeping = false;
	}
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&batch.changed);
}

size_t hsm_trips_under_way(const struct hsm_item *item)
{
	return (item->trips[0].hsm ? 1u : 0u) + (item->trips[1].hsm ? 1u : 0u);
}

/* The item is done with, its HSM is not: what it still works on counts as its load, and as a sign of hanging.
 */
static void leave_behind(struct hsm_trip *trip)
{
	struct hsm_trip *left = ch_alloc(sizeof(*left));

	*left = *trip;
	left->item = NULL;
	DL_REPLACE_ELEM(trip->hsm->in_flight, trip, left);
	trip->hsm = NULL;
}

static void leave_all_behind(struct hsm_item *item)
{
	for (size_t i = 0; i < CH_COUNT(item->trips); i++)
		if (item->trips[i].hsm)
			leave_behind(&item->trips[i]);
}

/* A thread that is awake looks for itself. */
static void wake_batch(struct hsm_batch *batch)
{
	if (batch->sleeping)
		pthread_cond_signal(&batch->changed);
}

void hsm_finish(struct hsm_item *item)
{
	leave_all_behind(item);
	if (item->check_of)
		hsm_check_done(item);
	else if (--item->batch->left == 0)
		wake_batch(item->batch);
}

/* With whom to begin among equally busy HSMs. Not by turns: a caller that does two things each time (a mark
 * is read, then a signature is made) would do each of them at the same HSM for ever. Knuth's MMIX generator.
 */
static size_t any_hsm(struct hsm_pool *pool)
{
	pool->dice = pool->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (size_t)(pool->dice >> 33) % pool->count;
}

struct hsm *hsm_choose(struct hsm_pool *pool, unsigned allowed, bool only_closed)
{
	size_t first = any_hsm(pool);
	struct hsm *best = NULL;

	for (size_t i = 0; i < pool->count; i++) {
		struct hsm *hsm = &pool->hsms[(i + first) % pool->count];
		bool closed = hsm->breaker.state == HSM_BREAKER_CLOSED, best_closed;

		if (!(allowed & 1u << hsm->index) || hsm->state != HSM_UP || hsm->disabled ||
		    (only_closed && !closed))
			continue;
		best_closed = best && best->breaker.state == HSM_BREAKER_CLOSED;
		if (!best || closed > best_closed ||
		    (closed == best_closed && hsm_load(hsm) < hsm_load(best)))
			best = hsm;
	}
	return best;
}

static void set_in_flight(struct hsm *hsm, uint32_t count)
{
	hsm->in_flight_count = count;
	if (hsm->in_flight_metric)
		ch_metric_set(hsm->in_flight_metric, count);
}

void hsm_send(struct hsm *hsm, struct hsm_item *item)
{
	struct hsm_trip *trip = item->trips[0].hsm ? &item->trips[1] : &item->trips[0];

	*trip = (struct hsm_trip){ .hsm = hsm,
				   .item = item,
				   .id = ++hsm->pool->last_id,
				   .sent_us = ch_monotonic_us(),
				   .limit_us = item->limit_us,
				   .replies_at_send = hsm->replies,
				   .ahead_at_send = hsm->in_flight_count };
	item->request->id = trip->id;
	hsm_frame_append(&hsm->out, &item->request->base);
	DL_APPEND(hsm->in_flight, trip);
	set_in_flight(hsm, hsm->in_flight_count + 1);
}

bool hsm_may_come_up(const struct hsm_pool *pool, unsigned allowed)
{
	for (size_t i = 0; i < pool->count; i++)
		if ((allowed & 1u << i) && !pool->hsms[i].halted && !pool->hsms[i].disabled)
			return true;
	return false;
}

/* None can do it. The error is the last one an HSM gave, else what is wrong with one that holds the key. */
static void fail_unservable(struct hsm_pool *pool, struct hsm_item *item)
{
	const struct hsm *hsm = NULL;

	for (size_t i = 0; i < pool->count; i++)
		if (item->allowed & 1u << i)
			hsm = &pool->hsms[i];
	if (!item->refused_by && hsm)
		ch_fail(&item->err, CH_UNAVAILABLE, "HSM '%s' is down: %s", hsm->config->name,
			hsm->last_error);
	else if (!item->refused_by)
		ch_fail(&item->err, CH_UNAVAILABLE, "no configured HSM holds the key");
	hsm_finish(item);
}

/* Without those that said that they do not have its key, where another may. */
static unsigned without_absent(struct hsm_pool *pool, const struct hsm_item *item, unsigned allowed)
{
	const Chancery__HsmSign *sign = item->request->sign;

	if (!pool->absent || !sign)
		return allowed;
	return allowed & ~hsm_absent_bits(&pool->absent, sign->key_id, ch_monotonic_us());
}

/* An HSM that signed wrong gets nothing that would leave unverified, and judges no seal. */
static unsigned without_wrong(const struct hsm_pool *pool, const struct hsm_item *item, unsigned allowed)
{
	bool matters = item->request->mac || (item->request->sign && !item->verify);

	for (size_t i = 0; i < pool->count && matters; i++)
		if (pool->hsms[i].breaker.is_wrong)
			allowed &= ~(1u << i);
	return allowed;
}

void hsm_assign(struct hsm_pool *pool, struct hsm_item *item)
{
	unsigned allowed = without_wrong(pool, item, item->allowed & ~item->refused_by);
	struct hsm *hsm = hsm_choose(pool, without_absent(pool, item, allowed), false);

	if (!hsm)
		hsm = hsm_choose(pool, allowed, false);
	if (hsm)
		hsm_enqueue(hsm, item);
	else if (hsm_may_come_up(pool, allowed))
		DL_APPEND(pool->waiting, item);
	else
		fail_unservable(pool, item);
}

void hsm_assign_waiting(struct hsm_pool *pool)
{
	struct hsm_item *waiting = pool->waiting, *item, *next;

	pool->waiting = NULL;
	DL_FOREACH_SAFE(waiting, item, next)
	hsm_assign(pool, item);
	hsm_flush_all(pool);
}

/* Sends at once what the socket takes; the HSM's thread sends the rest. */
void hsm_flush(struct hsm *hsm)
{
	while (hsm->fd >= 0 && hsm->out_sent < hsm->out.used) {
		ssize_t sent = send(hsm->fd, hsm->out.data + hsm->out_sent, hsm->out.used - hsm->out_sent,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			hsm_wake(hsm); /* full: it polls for room; broken: it reads the end of file */
			return;
		}
		hsm->out_sent += (size_t)sent;
	}
	hsm->out.used = 0;
	hsm->out_sent = 0;
}

void hsm_flush_all(struct hsm_pool *pool)
{
	for (size_t i = 0; i < pool->count; i++)
		hsm_flush(&pool->hsms[i]);
}

void hsm_wake(struct hsm *hsm)
{
	uint64_t one = 1;
	ssize_t ignored = write(hsm->wake_fd, &one, sizeof(one));

	(void)ignored; /* full only when it is awake anyway */
}

/* --- replies --- */

static void take_out(struct hsm *hsm, struct hsm_trip *trip)
{
	DL_DELETE(hsm->in_flight, trip);
	set_in_flight(hsm, hsm->in_flight_count - 1);
	trip->hsm = NULL;
	if (!trip->item)
		free(trip);
}

/* What an HSM that is well answers of itself: another may have the key, or the mechanism. */
static bool is_honest(uint32_t code)
{
	return code == CH_OK || code == CH_NOT_FOUND || code == CH_UNSUPPORTED;
}

/* A worker says what it pleases: none of its errors is a verdict of the vault's on what was asked. */
static void error_of_reply(const struct hsm *hsm, const Chancery__HsmReply *reply, struct ch_error *err)
{
	bool honest = is_honest(reply->code);

	ch_fail(err, honest ? (enum ch_code)reply->code : CH_UNAVAILABLE, "HSM '%s': %s", hsm->config->name,
		reply->message);
	err->retryable = !honest || reply->retryable;
}

static void note_signature(struct hsm *hsm, const struct hsm_item *item)
{
	if (!item->request->sign)
		return;
	hsm->signatures++;
	if (hsm->signatures_metric)
		ch_metric_add(hsm->signatures_metric, 1);
}

static void tell_breaker(struct hsm *hsm, const Chancery__HsmReply *reply)
{
	bool failed = !is_honest(reply->code);
	int64_t now = ch_monotonic_us();

	if (failed ? hsm_breaker_failure(&hsm->breaker, now) : hsm_breaker_success(&hsm->breaker, now))
		hsm_breaker_changed(hsm);
}

static void note_error(struct hsm *hsm, struct hsm_item *item, const Chancery__HsmReply *reply)
{
	item->hsm_code = !item->refused_by || item->hsm_code == reply->code ? reply->code : CH_UNAVAILABLE;
	error_of_reply(hsm, reply, &item->err);
	item->refused_by |= 1u << hsm->index;
	if (item->request->sign && reply->code == CH_NOT_FOUND)
		hsm_absent_note(&hsm->pool->absent, item->request->sign->key_id, (unsigned)hsm->index,
				ch_monotonic_us());
}

/* One HSM alone does not end what others may do. For one that is not up it waits only where the error says
 * that another may do it. */
static bool goes_on(struct hsm_pool *pool, const struct hsm_item *item, bool retryable)
{
	unsigned left = item->allowed & ~item->refused_by;

	return !item->once && left &&
	       (retryable || hsm_trips_under_way(item) || hsm_choose(pool, left, false));
}

void hsm_reply(struct hsm *hsm, struct hsm_trip *trip, Chancery__HsmReply *reply)
{
	struct hsm_item *item = trip->item;
	bool retryable = reply->retryable;

	take_out(hsm, trip);
	tell_breaker(hsm, reply);
	hsm_send_queued(hsm);
	if (item && reply->code == CH_OK) {
		note_signature(hsm, item);
		item->reply = reply;
		item->served_by = hsm->index;
		if (item->verify) {
			leave_all_behind(item);
			DL_APPEND(item->batch->answered, item);
			wake_batch(item->batch);
		} else {
			hsm_finish(item);
		}
		return;
	}
	if (item)
		note_error(hsm, item, reply);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	if (!item)
		return; /* another HSM was faster, or its deadline has passed */
	if (!goes_on(hsm->pool, item, retryable)) {
		hsm_finish(item);
	} else if (!hsm_trips_under_way(item)) {
		hsm_assign(hsm->pool, item);
		hsm_flush_all(hsm->pool);
	}
}

static void reassign_item(struct hsm *hsm, struct hsm_item *item)
{
	if (item->once || ++item->lost >= LOST_WORKERS_CAP) {
		ch_fail(&item->err, CH_UNAVAILABLE, "HSM '%s' was lost: %s", hsm->config->name,
			hsm->last_error);
		item->err.retryable = true;
		hsm_finish(item);
	} else if (!hsm_trips_under_way(item)) {
		hsm_assign(hsm->pool, item);
	}
}

void hsm_reassign(struct hsm *hsm)
{
	struct hsm_trip *lost = hsm->in_flight, *trip, *next;

	hsm->in_flight = NULL;
	set_in_flight(hsm, 0);
	DL_FOREACH_SAFE(lost, trip, next)
	{
		trip->hsm = NULL;
		if (trip->item)
			reassign_item(hsm, trip->item);
		else
			free(trip);
	}
	hsm_requeue(hsm);
	hsm_flush_all(hsm->pool);
}

void hsm_expire_item(struct hsm_item *item, const char *where)
{
	ch_fail(&item->err, CH_UNAVAILABLE, "deadline passed: %s", where);
	item->err.retryable = true;
	hsm_finish(item);
}

void hsm_expire(struct hsm_pool *pool, int64_t now_us)
{
	struct hsm_item *item, *next;
	struct hsm_trip *trip, *next_trip;

	DL_FOREACH_SAFE(pool->waiting, item, next)
	{
		if (item->deadline_us > now_us)
			continue;
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what waits is a list with a head */
		DL_DELETE(pool->waiting, item);
		hsm_expire_item(item, "no HSM that holds the key came up in time");
	}
	for (size_t i = 0; i < pool->count; i++)
		hsm_expire_queued(&pool->hsms[i], now_us);
	for (size_t i = 0; i < pool->count; i++)
		DL_FOREACH_SAFE(pool->hsms[i].in_flight, trip, next_trip)
	if (trip->item && trip->item->deadline_us <= now_us)
		hsm_expire_item(trip->item, "the HSM did not answer in time");
}

const char *hsm_hung(const struct hsm *hsm, int64_t now_us)
{
	const struct hsm_trip *trip;

	DL_FOREACH(hsm->in_flight, trip)
	{
		int64_t limit = trip->limit_us ? trip->limit_us : hsm->pool->options.hang_us;
		enum hsm_wait wait = hsm_wait_of(hsm, trip, limit, now_us);

		if (wait == HSM_WAIT_SILENT)
			return "it answered nothing in time";
		if (wait == HSM_WAIT_OVERTAKEN)
			return "one of its sessions hangs";
	}
	return NULL;
}
