/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm.c: items of work and the HSM that does each: least in flight, another one when a worker refuses or is
 * lost, an error only when none can or the deadline passed. ops.c and keys are its callers; workers are
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

/* --- running items --- */

void hsm_run(struct hsm_pool *pool, struct hsm_item *items, size_t count)
{
	struct hsm_batch batch = { .done = PTHREAD_COND_INITIALIZER, .left = count };

	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < count; i++) {
		items[i].batch = &batch;
		items[i].refused_by = 0;
		items[i].lost = 0;
		hsm_assign(pool, &items[i]);
	}
	for (size_t i = 0; i < pool->count; i++)
		hsm_flush(&pool->hsms[i]);
	while (batch.left)
		pthread_cond_wait(&batch.done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&batch.done);
}

static void finish(struct hsm_item *item)
{
	if (--item->batch->left == 0)
		pthread_cond_signal(&item->batch->done);
}

static struct hsm *least_busy(struct hsm_pool *pool, unsigned allowed)
{
	struct hsm *best = NULL;

	pool->turn++;
	for (size_t i = 0; i < pool->count; i++) {
		struct hsm *hsm = &pool->hsms[(i + pool->turn) % pool->count];

		if (!(allowed & 1u << hsm->index) || hsm->state != HSM_UP)
			continue;
		if (!best || hsm->in_flight_count < best->in_flight_count)
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

static void send_item(struct hsm *hsm, struct hsm_item *item)
{
	item->id = ++hsm->pool->last_id;
	item->request->id = item->id;
	item->sent_us = ch_monotonic_us();
	item->replies_at_send = hsm->replies;
	item->ahead_at_send = hsm->in_flight_count;
	hsm_frame_append(&hsm->out, &item->request->base);
	DL_APPEND(hsm->in_flight, item);
	set_in_flight(hsm, hsm->in_flight_count + 1);
}

static bool may_come_up(const struct hsm_pool *pool, unsigned allowed)
{
	for (size_t i = 0; i < pool->count; i++)
		if ((allowed & 1u << i) && !pool->hsms[i].halted)
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

void hsm_assign(struct hsm_pool *pool, struct hsm_item *item)
{
	unsigned allowed = item->allowed & ~item->refused_by;
	struct hsm *hsm = least_busy(pool, allowed);

	if (hsm)
		send_item(hsm, item);
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
	for (size_t i = 0; i < pool->count; i++)
		hsm_flush(&pool->hsms[i]);
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

void hsm_wake(struct hsm *hsm)
{
	uint64_t one = 1;
	ssize_t ignored = write(hsm->wake_fd, &one, sizeof(one));

	(void)ignored; /* full only when it is awake anyway */
}

/* --- replies --- */

static void take_out(struct hsm *hsm, struct hsm_item *item)
{
	DL_DELETE(hsm->in_flight, item);
	set_in_flight(hsm, hsm->in_flight_count - 1);
}

static void error_of_reply(const struct hsm *hsm, const Chancery__HsmReply *reply, struct ch_error *err)
{
	ch_fail(err, (enum ch_code)reply->code, "HSM '%s': %s", hsm->config->name, reply->message);
	err->retryable = reply->retryable;
}

void hsm_reply(struct hsm *hsm, struct hsm_item *item, Chancery__HsmReply *reply)
{
	take_out(hsm, item);
	if (reply->code == CH_OK) {
		if (item->request->sign) {
			hsm->signatures++;
			if (hsm->signatures_metric)
				ch_metric_add(hsm->signatures_metric, 1);
		}
		item->reply = reply;
		item->served_by = hsm->index;
		finish(item);
		return;
	}
	error_of_reply(hsm, reply, &item->err);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	item->refused_by |= 1u << hsm->index;
	if (!item->err.retryable || item->once || !(item->allowed & ~item->refused_by)) {
		finish(item);
		return;
	}
	hsm_assign(hsm->pool, item);
	for (size_t i = 0; i < hsm->pool->count; i++)
		hsm_flush(&hsm->pool->hsms[i]);
}

void hsm_reassign(struct hsm *hsm)
{
	struct hsm_item *lost = hsm->in_flight, *item, *next;

	hsm->in_flight = NULL;
	set_in_flight(hsm, 0);
	DL_FOREACH_SAFE(lost, item, next)
	{
		if (item->once || ++item->lost >= LOST_WORKERS_CAP) {
			ch_fail(&item->err, CH_UNAVAILABLE, "HSM '%s' was lost: %s", hsm->config->name,
				hsm->last_error);
			item->err.retryable = true;
			finish(item);
			continue;
		}
		hsm_assign(hsm->pool, item);
	}
	for (size_t i = 0; i < hsm->pool->count; i++)
		hsm_flush(&hsm->pool->hsms[i]);
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

	DL_FOREACH_SAFE(pool->waiting, item, next)
	{
		if (item->deadline_us > now_us)
			continue;
		DL_DELETE(pool->waiting, item);
		expire(item, "no HSM that holds the key came up in time");
	}
	for (size_t i = 0; i < pool->count; i++)
		DL_FOREACH_SAFE(pool->hsms[i].in_flight, item, next)
		{
			if (item->deadline_us > now_us)
				continue;
			take_out(&pool->hsms[i], item);
			expire(item, "the HSM did not answer in time");
		}
}

/*
 * An item that waits behind others says nothing about the worker. It is hung when nothing came for as long as
 * an item may take, or when all that was sent before an item was answered that long ago.
 */
const char *hsm_hung(const struct hsm *hsm, int64_t now_us)
{
	const struct hsm_item *item;

	DL_FOREACH(hsm->in_flight, item)
	{
		int64_t limit = item->limit_us ? item->limit_us : hsm->pool->options.hang_us;

		if (now_us - item->sent_us < limit)
			continue;
		if (now_us - hsm->last_reply_us >= limit)
			return "it answered nothing in time";
		if (hsm->replies - item->replies_at_send > item->ahead_at_send + 2 * (uint64_t)hsm->sessions)
			return "one of its sessions hangs";
	}
	return NULL;
}

/* --- the pool --- */

static bool open_hsm(struct hsm_pool *pool, size_t index, struct ch_error *err)
{
	struct hsm *hsm = &pool->hsms[index];
	CH_AUTO(ch_string) labels = ch_format("hsm=\"%s\"", pool->options.hsms[index].name);
	struct ch_metrics *metrics = pool->options.metrics;

	*hsm = (struct hsm){ .pool = pool, .index = index, .config = &pool->options.hsms[index], .fd = -1 };
	if (metrics) {
		hsm->up_metric = ch_metrics_gauge(metrics, "chancery_vault_hsm_up",
						  "HSM serves (1) or not (0)", labels);
		hsm->restarts_metric =
			ch_metrics_counter(metrics, "chancery_vault_hsm_restarts_total",
					   "Times that the HSM's worker was started again", labels);
		hsm->in_flight_metric =
			ch_metrics_gauge(metrics, "chancery_vault_hsm_in_flight",
					 "Requests that the HSM has not answered yet", labels);
		hsm->signatures_metric = ch_metrics_counter(metrics, "chancery_vault_hsm_signatures_total",
							    "Signatures that the HSM made", labels);
		hsm->pin_refused_metric =
			ch_metrics_gauge(metrics, "chancery_vault_hsm_pin_refused",
					 "The HSM refused its PIN and is not tried again (1)", labels);
		hsm->sessions_metric = ch_metrics_gauge(metrics, "chancery_vault_hsm_sessions",
							"Sessions that the HSM's worker has", labels);
	}
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

void hsm_pool_stop(struct hsm_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->started; i++)
		hsm_wake(&pool->hsms[i]);
	for (size_t i = 0; i < pool->started; i++) {
		pthread_join(pool->hsms[i].thread, NULL);
		close(pool->hsms[i].wake_fd);
		ch_buffer_free(&pool->hsms[i].out);
		hsm_reader_free(&pool->hsms[i].reader);
	}
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
		if (pool->hsms[i].state == HSM_UP)
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
	static const char *const names[] = { "starting", "up", "restarting", "down" };

	return names[state];
}

void hsm_pool_status(struct hsm_pool *pool, size_t index, struct hsm_status *status)
{
	struct hsm *hsm = &pool->hsms[index];

	pthread_mutex_lock(&pool->lock);
	*status = (struct hsm_status){ .name = hsm->config->name,
				       .state = hsm->state,
				       .signatures = hsm->signatures,
				       .in_flight = hsm->in_flight_count,
				       .restarts = hsm->restarts,
				       .sessions = hsm->sessions,
				       .pid = hsm->pid };
	memcpy(status->last_error, hsm->last_error, sizeof(status->last_error));
	pthread_mutex_unlock(&pool->lock);
}
