/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upkeep.c: two threads. One follows the database into the board, one generates what is due. Each waits for
 * something else, so neither holds the other up. Started by main.c.
 */
#include "crl.h"

#include <stdlib.h>
#include <time.h>

#define IDLE_WAIT CH_SECOND

struct retry { /* a CA whose last attempts failed */
	int64_t ca_id;
	unsigned failures;
	int64_t not_before_us; /* monotonic */
};

struct crl_upkeep {
	struct crl *crl;
	pthread_t threads[2];
	size_t started;
	pthread_mutex_t lock; /* guards states */
	pthread_cond_t changed;
	struct crl_states states; /* newest, not looked at yet by the generating thread */
	/* the following thread's alone */
	struct ch_readiness *readiness;
	struct ch_metric *followed;
	bool loaded;
	/* the generating thread's alone */
	struct retry *retries;
	size_t retry_count;
};

/* --- following --- */

static void hand_over(struct crl_upkeep *upkeep, struct crl_states *states)
{
	pthread_mutex_lock(&upkeep->lock);
	crl_states_free(&upkeep->states);
	upkeep->states = CH_STEAL(*states);
	pthread_cond_broadcast(&upkeep->changed);
	pthread_mutex_unlock(&upkeep->lock);
}

/* Ready from the first look on, for good: when the database is away, a list from memory is better than none,
 * and a load balancer that asks /readyz would take all instances out at once. The metric is what to alarm on.
 */
static void note(struct crl_upkeep *upkeep, bool followed, const struct ch_error *err)
{
	if (followed) {
		upkeep->loaded = true;
		ch_metric_set(upkeep->followed, ch_clock_now_us(upkeep->crl->clock) / CH_SECOND);
	}
	ch_readiness_set(upkeep->readiness, upkeep->loaded ? CH_READY_OK : CH_READY_FAILED, err->message);
}

static void *follow(void *context)
{
	struct crl_upkeep *upkeep = context;
	struct crl *crl = upkeep->crl;
	bool well = true;

	do {
		struct crl_states states = CH_NONE;
		struct ch_error err = CH_NONE;
		bool followed = crl_follow(crl, &states, &err);

		if (followed)
			hand_over(upkeep, &states);
		else if (well)
			ch_log_error("cannot follow the database, serving what is there: %s", err.message);
		if (followed && !well)
			ch_log_info("following the database again");
		note(upkeep, followed, &err);
		well = followed;
		crl_states_free(&states);
	} while (!ch_daemon_sleep(crl->daemon, crl->config->follow_interval_us));
	return NULL;
}

/* --- generating --- */

static struct timespec soon(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_sec += IDLE_WAIT / CH_SECOND;
	return time;
}

static struct retry *retry_of(struct crl_upkeep *upkeep, int64_t ca_id)
{
	for (size_t i = 0; i < upkeep->retry_count; i++)
		if (upkeep->retries[i].ca_id == ca_id)
			return &upkeep->retries[i];
	upkeep->retries = ch_realloc(upkeep->retries, (upkeep->retry_count + 1) * sizeof(upkeep->retries[0]));
	upkeep->retries[upkeep->retry_count] = (struct retry){ .ca_id = ca_id };
	return &upkeep->retries[upkeep->retry_count++];
}

static void generate_due(struct crl_upkeep *upkeep, const struct crl_state *state)
{
	struct retry *retry = retry_of(upkeep, state->ca.ca_id);
	struct ch_error err;

	if (crl_due_at(&state->ca, &state->newest) > ch_clock_now_us(upkeep->crl->clock) ||
	    ch_monotonic_us() < retry->not_before_us)
		return;
	if (crl_generate(upkeep->crl, &state->ca, NULL, NULL, &err)) {
		retry->failures = 0;
		return;
	}
	retry->not_before_us = ch_monotonic_us() + crl_retry_delay(++retry->failures);
	ch_log_error("%s; the last one is valid for %lld s more", err.message,
		     (long long)((state->newest.next_update_us - ch_clock_now_us(upkeep->crl->clock)) /
				 CH_SECOND));
}

static struct crl_states wait_for_states(struct crl_upkeep *upkeep)
{
	struct timespec until = soon();
	struct crl_states states;

	pthread_mutex_lock(&upkeep->lock);
	if (!upkeep->states.count)
		pthread_cond_timedwait(&upkeep->changed, &upkeep->lock, &until);
	states = CH_STEAL(upkeep->states);
	pthread_mutex_unlock(&upkeep->lock);
	return states;
}

static void *generate(void *context)
{
	struct crl_upkeep *upkeep = context;

	while (!ch_daemon_stopping(upkeep->crl->daemon)) {
		CH_AUTO(crl_states) states = wait_for_states(upkeep);

		for (size_t i = 0; i < states.count && !ch_daemon_stopping(upkeep->crl->daemon); i++)
			generate_due(upkeep, &states.items[i]);
	}
	return NULL;
}

/* --- start and stop --- */

bool crl_upkeep_start(struct crl *crl, struct ch_error *err)
{
	static void *(*const loops[])(void *) = { follow, generate };
	struct crl_upkeep *upkeep = ch_alloc(sizeof(*upkeep));
	pthread_condattr_t monotonic;

	upkeep->crl = crl;
	upkeep->readiness = ch_daemon_readiness(crl->daemon, "lists");
	upkeep->followed = ch_metrics_gauge(crl->metrics, "chancery_crl_followed_timestamp_seconds",
					    "When the database was last asked for newer CRLs", "");
	pthread_mutex_init(&upkeep->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&upkeep->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	crl->upkeep = upkeep;
	for (; upkeep->started < CH_COUNT(loops); upkeep->started++) {
		int failed = pthread_create(&upkeep->threads[upkeep->started], NULL, loops[upkeep->started],
					    upkeep);

		if (failed)
			return ch_fail_errno(err, CH_INTERNAL, failed, "thread");
	}
	return true;
}

void crl_upkeep_stop(struct crl *crl)
{
	struct crl_upkeep *upkeep = CH_STEAL(crl->upkeep);

	if (!upkeep)
		return;
	pthread_mutex_lock(&upkeep->lock);
	pthread_cond_broadcast(&upkeep->changed);
	pthread_mutex_unlock(&upkeep->lock);
	for (size_t i = 0; i < upkeep->started; i++)
		pthread_join(upkeep->threads[i], NULL);
	crl_states_free(&upkeep->states);
	free(upkeep->retries);
	pthread_cond_destroy(&upkeep->changed);
	pthread_mutex_destroy(&upkeep->lock);
	free(upkeep);
}
