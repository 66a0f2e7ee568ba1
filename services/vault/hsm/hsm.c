/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm.c: items of work and the HSM that does each: least in flight, another one when a worker refuses or is
 * lost, an error only when none can or the deadline passed. sign.c and keys are its callers; workers are
 * hsm_process.c's.
 */
#include "hsm.h"

#include "hsm_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define LOST_WORKERS_CAP 5 /* an item that was on this many lost workers may be what kills them */
#define HANG_US          (2 * CH_SECOND)
#define LATE_US          (150 * CH_MILLISECOND)

/* --- running items --- */

void hsm_run(struct hsm_pool *pool, struct hsm_item *items, size_t count)
{
	struct hsm_batch batch = { .done = PTHREAD_COND_INITIALIZER, .left = count };

	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < count; i++) {
		items[i].batch = &batch;
		items[i].refused_by = 0;
		items[i].lost = 0;
		items[i].check_of = NULL;
		memset(items[i].trips, 0, sizeof(items[i].trips));
		hsm_assign(pool, &items[i]);
	}
	hsm_flush_all(pool);
	while (batch.left)
		pthread_cond_wait(&batch.done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&batch.done);
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

static void finish(struct hsm_item *item)
{
	for (size_t i = 0; i < CH_COUNT(item->trips); i++)
		if (item->trips[i].hsm)
			leave_behind(&item->trips[i]);
	if (item->check_of)
		hsm_check_done(item);
	else if (--item->batch->left == 0)
		pthread_cond_signal(&item->batch->done);
}

struct hsm *hsm_choose(struct hsm_pool *pool, unsigned allowed, bool only_closed)
{
	struct hsm *best = NULL;

	pool->turn++;
	for (size_t i = 0; i < pool->count; i++) {
		struct hsm *hsm = &pool->hsms[(i + pool->turn) % pool->count];
		bool closed = hsm->breaker.state == HSM_BREAKER_CLOSED, best_closed;

		if (!(allowed & 1u << hsm->index) || hsm->state != HSM_UP || hsm->disabled ||
		    (only_closed && !closed))
			continue;
		best_closed = best && best->breaker.state == HSM_BREAKER_CLOSED;
		if (!best || closed > best_closed ||
		    (closed == best_closed && hsm->in_flight_count < best->in_flight_count))
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

static bool may_come_up(const struct hsm_pool *pool, unsigned allowed)
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
	finish(item);
}

/* Without those that said that they do not have its key, where another may. */
static unsigned without_absent(struct hsm_pool *pool, const struct hsm_item *item, unsigned allowed)
{
	const Chancery__HsmSign *sign = item->request->sign;

	if (!pool->absent || !sign)
		return allowed;
	return allowed & ~hsm_absent_bits(&pool->absent, sign->key_id, ch_monotonic_us());
}

void hsm_assign(struct hsm_pool *pool, struct hsm_item *item)
{
	unsigned allowed = item->allowed & ~item->refused_by;
	struct hsm *hsm = hsm_choose(pool, without_absent(pool, item, allowed), false);

	if (!hsm)
		hsm = hsm_choose(pool, allowed, false);
	if (hsm)
		hsm_send(hsm, item);
	else if (may_come_up(pool, allowed))
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

static void error_of_reply(const struct hsm *hsm, const Chancery__HsmReply *reply, struct ch_error *err)
{
	ch_fail(err, (enum ch_code)reply->code, "HSM '%s': %s", hsm->config->name, reply->message);
	err->retryable = reply->retryable;
}

static void note_signature(struct hsm *hsm, const struct hsm_item *item)
{
	if (!item->request->sign)
		return;
	hsm->signatures++;
	if (hsm->signatures_metric)
		ch_metric_add(hsm->signatures_metric, 1);
}

/* An answer like "no such key" comes from an HSM that is well. */
static void tell_breaker(struct hsm *hsm, const Chancery__HsmReply *reply)
{
	bool failed = reply->code == CH_UNAVAILABLE || reply->code == CH_INTERNAL;
	int64_t now = ch_monotonic_us();

	if (failed ? hsm_breaker_failure(&hsm->breaker, now) : hsm_breaker_success(&hsm->breaker, now))
		hsm_breaker_changed(hsm);
}

static void note_error(struct hsm *hsm, struct hsm_item *item, const Chancery__HsmReply *reply)
{
	error_of_reply(hsm, reply, &item->err);
	item->refused_by |= 1u << hsm->index;
	if (item->request->sign && reply->code == CH_NOT_FOUND)
		hsm_absent_note(&hsm->pool->absent, item->request->sign->key_id, (unsigned)hsm->index,
				ch_monotonic_us());
}

void hsm_reply(struct hsm *hsm, struct hsm_trip *trip, Chancery__HsmReply *reply)
{
	struct hsm_item *item = trip->item;

	tell_breaker(hsm, reply);
	take_out(hsm, trip);
	if (item && reply->code == CH_OK) {
		note_signature(hsm, item);
		item->reply = reply;
		item->served_by = hsm->index;
		finish(item);
		return;
	}
	if (item)
		note_error(hsm, item, reply);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	if (!item)
		return; /* another HSM was faster, or its deadline has passed */
	if (!item->err.retryable || item->once || !(item->allowed & ~item->refused_by)) {
		finish(item);
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
		finish(item);
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
	hsm_flush_all(hsm->pool);
}

static void expire(struct hsm_item *item, const char *where)
{
	ch_fail(&item->err, CH_UNAVAILABLE, "deadline passed: %s", where);
	item->err.retryable = true;
	finish(item);
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
		expire(item, "no HSM that holds the key came up in time");
	}
	for (size_t i = 0; i < pool->count; i++)
		DL_FOREACH_SAFE(pool->hsms[i].in_flight, trip, next_trip)
	if (trip->item && trip->item->deadline_us <= now_us)
		expire(trip->item, "the HSM did not answer in time");
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

/* --- the pool --- */

static void make_metrics(struct hsm *hsm, struct ch_metrics *metrics, const char *labels)
{
	hsm->up_metric =
		ch_metrics_gauge(metrics, "chancery_vault_hsm_up", "HSM serves (1) or not (0)", labels);
	hsm->restarts_metric = ch_metrics_counter(metrics, "chancery_vault_hsm_restarts_total",
						  "Times that the HSM's worker was started again", labels);
	hsm->in_flight_metric = ch_metrics_gauge(metrics, "chancery_vault_hsm_in_flight",
						 "Requests that the HSM has not answered yet", labels);
	hsm->signatures_metric = ch_metrics_counter(metrics, "chancery_vault_hsm_signatures_total",
						    "Signatures that the HSM made", labels);
	hsm->pin_refused_metric =
		ch_metrics_gauge(metrics, "chancery_vault_hsm_pin_refused",
				 "The HSM refused its PIN and is not tried again (1)", labels);
	hsm->sessions_metric = ch_metrics_gauge(metrics, "chancery_vault_hsm_sessions",
						"Sessions that the HSM's worker has", labels);
	hsm->breaker_metric =
		ch_metrics_gauge(metrics, "chancery_vault_hsm_breaker",
				 "The HSM's circuit breaker: closed (0), half-open (1), open (2)", labels);
	hsm->hedged_metric = ch_metrics_counter(
		metrics, "chancery_vault_hsm_hedged_total",
		"Items that were also sent to another HSM because this one was late", labels);
	hsm->enabled_metric =
		ch_metrics_gauge(metrics, "chancery_vault_hsm_enabled",
				 "The HSM is in use (1) or shut out for maintenance (0)", labels);
	ch_metric_set(hsm->enabled_metric, 1);
}

static bool open_hsm(struct hsm_pool *pool, size_t index, struct ch_error *err)
{
	struct hsm *hsm = &pool->hsms[index];
	CH_AUTO(ch_string) labels = ch_format("hsm=\"%s\"", pool->options.hsms[index].name);
	struct ch_metrics *metrics = pool->options.metrics;

	*hsm = (struct hsm){ .pool = pool, .index = index, .config = &pool->options.hsms[index], .fd = -1 };
	if (metrics)
		make_metrics(hsm, metrics, labels);
	hsm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hsm->wake_fd < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "eventfd");
	if (pthread_create(&hsm->thread, NULL, hsm_serve, hsm) != 0)
		return ch_fail(err, CH_INTERNAL, "cannot start the thread of HSM '%s'", hsm->config->name);
	return true;
}

bool hsm_pool_start(const struct hsm_pool_options *options, struct hsm_pool **pool, struct ch_error *err)
{
	struct hsm_pool *new;
	bool opened = true;

	if (options->count < 1 || options->count > HSM_MAX)
		return ch_fail(err, CH_INVALID, "%zu HSMs configured, 1 to %d allowed", options->count,
			       HSM_MAX);
	new = ch_alloc(sizeof(*new));
	new->options = *options;
	new->options.hang_us = options->hang_us ? options->hang_us : HANG_US;
	new->options.late_us = options->late_us ? options->late_us : LATE_US;
	pthread_mutex_init(&new->lock, NULL);
	pthread_cond_init(&new->changed, NULL);
	pthread_mutex_lock(&new->lock); /* threads see a pool with all its HSMs */
	new->count = options->count;
	for (size_t i = 0; i < options->count && opened; i++) {
		opened = open_hsm(new, i, err);
		new->started += opened;
	}
	new->count = new->started;
	pthread_mutex_unlock(&new->lock);
	if (!opened) {
		hsm_pool_stop(new);
		return false;
	}
	*pool = new;
	return true;
}

static void free_left_behind(struct hsm *hsm)
{
	struct hsm_trip *trip, *next;

	DL_FOREACH_SAFE(hsm->in_flight, trip, next)
	if (!trip->item)
		free(trip);
}

void hsm_pool_stop(struct hsm_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->started; i++)
		hsm_wake(&pool->hsms[i]);
	for (size_t i = 0; i < pool->started; i++)
		pthread_join(pool->hsms[i].thread, NULL);
	for (size_t i = 0; i < pool->started; i++) { /* each thread may touch each HSM */
		free_left_behind(&pool->hsms[i]);
		close(pool->hsms[i].wake_fd);
		ch_buffer_free(&pool->hsms[i].out);
		hsm_reader_free(&pool->hsms[i].reader);
	}
	hsm_absent_free(&pool->absent);
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

size_t hsm_pool_count(const struct hsm_pool *pool)
{
	return pool->options.count;
}

const char *hsm_pool_name(const struct hsm_pool *pool, size_t index)
{
	return pool->options.hsms[index].name;
}

static unsigned up_bits(const struct hsm_pool *pool)
{
	unsigned bits = 0;

	for (size_t i = 0; i < pool->count; i++)
		if (pool->hsms[i].state == HSM_UP && !pool->hsms[i].disabled)
			bits |= 1u << i;
	return bits;
}

unsigned hsm_pool_up(struct hsm_pool *pool)
{
	unsigned bits;

	pthread_mutex_lock(&pool->lock);
	bits = up_bits(pool);
	pthread_mutex_unlock(&pool->lock);
	return bits;
}

bool hsm_pool_wait_up(struct hsm_pool *pool, unsigned mask, int64_t timeout_us)
{
	struct timespec until;
	bool all;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(timeout_us / CH_SECOND);
	until.tv_nsec += (long)(timeout_us % CH_SECOND) * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&pool->lock);
	while (!(all = (up_bits(pool) & mask) == mask) && may_come_up(pool, mask & ~up_bits(pool)))
		if (pthread_cond_timedwait(&pool->changed, &pool->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&pool->lock);
	return all;
}

const char *hsm_state_name(enum hsm_state state)
{
	static const char *const names[] = { "starting", "up", "restarting", "down", "disabled" };

	return names[state];
}

void hsm_pool_status(struct hsm_pool *pool, size_t index, struct hsm_status *status)
{
	struct hsm *hsm = &pool->hsms[index];

	pthread_mutex_lock(&pool->lock);
	*status = (struct hsm_status){ .name = hsm->config->name,
				       .state = hsm->state,
				       .enabled = !hsm->disabled,
				       .breaker = hsm->breaker.state,
				       .signatures = hsm->signatures,
				       .in_flight = hsm->in_flight_count,
				       .restarts = hsm->restarts,
				       .sessions = hsm->sessions,
				       .pid = hsm->pid };
	memcpy(status->last_error, hsm->last_error, sizeof(status->last_error));
	pthread_mutex_unlock(&pool->lock);
}
