/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_pool.c: the pool of a vault's HSMs: starts it with a thread for each, stops it, and tells what is known
 * of them: which are up, which are believed, their status. vault.c and the set-up commands start it; hsm.c
 * gives the HSMs their items.
 */
#include "hsm.h"

#include "clock/wait.h"
#include "hsm_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#define HANG_US (2 * CH_SECOND)
#define LATE_US (150 * CH_MILLISECOND)

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
	hsm->wrong_metric =
		ch_metrics_counter(metrics, "chancery_vault_hsm_wrong_signatures_total",
				   "Signatures of the HSM that the public key did not verify", labels);
	hsm->enabled_metric =
		ch_metrics_gauge(metrics, "chancery_vault_hsm_enabled",
				 "The HSM is in use (1) or shut out for maintenance (0)", labels);
	hsm_make_lane_metrics(hsm, metrics);
	ch_metric_set(hsm->enabled_metric, 1);
}

static bool open_hsm(struct hsm_pool *pool, size_t index, struct ch_error *err)
{
	struct hsm *hsm = &pool->hsms[index];
	CH_AUTO(ch_string) labels = ch_format("hsm=\"%s\"", pool->options.hsms[index].name);
	struct ch_metrics *metrics = pool->options.metrics;

	*hsm = (struct hsm){
		.pool = pool, .index = index, .config = &pool->options.hsms[index], .fd = -1, .ending_fd = -1
	};
	for (int lane = 0; lane < HSM_LANES; lane++)
		hsm->lanes.lane[lane].weight = pool->options.weights[lane];
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
	ch_condition_init(&new->changed);
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

unsigned hsm_pool_believed(struct hsm_pool *pool)
{
	unsigned bits, closed = 0;

	pthread_mutex_lock(&pool->lock);
	bits = up_bits(pool);
	for (size_t i = 0; i < pool->count; i++) {
		if (pool->hsms[i].breaker.is_wrong)
			bits &= ~(1u << i);
		else if (pool->hsms[i].breaker.state == HSM_BREAKER_CLOSED)
			closed |= 1u << i;
	}
	pthread_mutex_unlock(&pool->lock);
	return bits & closed ? bits & closed : bits;
}

bool hsm_pool_wait_up(struct hsm_pool *pool, unsigned mask, int64_t timeout_us)
{
	int64_t until_us = ch_monotonic_us() + timeout_us;
	bool all;

	pthread_mutex_lock(&pool->lock);
	while (!(all = (up_bits(pool) & mask) == mask) && hsm_may_come_up(pool, mask & ~up_bits(pool)))
		if (!ch_condition_wait(&pool->changed, &pool->lock, until_us))
			break;
	pthread_mutex_unlock(&pool->lock);
	return all;
}

const char *hsm_state_name(enum hsm_state state)
{
	static const char *const names[] = { "starting", "up", "restarting", "down", "disabled" };

	return names[state];
}

bool hsm_is_flapping(const struct hsm *hsm)
{
	return hsm->restarts >= HSM_FLAPS && ch_monotonic_us() - hsm->lost_at_us[HSM_FLAPS - 1] < HSM_FLAP_US;
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
				       .flapping = hsm_is_flapping(hsm),
				       .sessions = hsm->sessions,
				       .pid = hsm->pid };
	for (int lane = 0; lane < HSM_LANES; lane++)
		status->waiting[lane] = hsm->lanes.lane[lane].depth;
	memcpy(status->last_error, hsm->last_error, sizeof(status->last_error));
	pthread_mutex_unlock(&pool->lock);
}
