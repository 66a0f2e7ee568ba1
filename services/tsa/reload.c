/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reload.c: a thread that reads the timestamp certificates again, so that a renewed one is used within
 * seconds, and keeps an eye on the clock. Started by main.c.
 */
#include "tsa.h"

#include "log/log.h"

#include <string.h>

#define PAUSE (200 * CH_MILLISECOND) /* between two readings that requests ask for */

struct tsa_authorities *tsa_authorities_now(struct tsa *tsa)
{
	pthread_mutex_lock(&tsa->lock);
	struct tsa_authorities *authorities = tsa->authorities;
	if (authorities)
		atomic_fetch_add(&authorities->users, 1);
	pthread_mutex_unlock(&tsa->lock);
	return authorities;
}

/* The one that stamps for who names no policy, or whatever stamps; NULL: nothing may. */
static const struct tsa_authority *first_fit(const struct tsa_authorities *authorities, int64_t now_us)
{
	for (size_t i = 0; authorities && i < authorities->count; i++)
		if (!authorities->items[i].obstacle[0] && authorities->items[i].not_after_us >= now_us)
			return &authorities->items[i];
	return NULL;
}

static bool is_same(const struct tsa_authority *a, const struct tsa_authority *b)
{
	return a && b &&
	       memcmp(a->certificate_sha256, b->certificate_sha256, sizeof a->certificate_sha256) == 0;
}

/* Says once what changed: who stamps, or how many certificates cannot be used. */
static void tell_change(const struct tsa_authorities *before, const struct tsa_authorities *now,
			int64_t now_us)
{
	const struct tsa_authority *first = first_fit(now, now_us), *previous = first_fit(before, now_us);
	char text[CH_TIME_TEXT_SIZE];
	if (first && !is_same(first, previous))
		ch_log_info("stamping with key %s of tenant %s, certificate valid until %s", first->key_id,
			    first->tenant, ch_time_text(first->not_after_us, text));
	if (!first && (!before || previous))
		ch_log_warn("no timestamp certificate may sign: requests are answered systemFailure");
	if (now->unusable && (!before || before->unusable != now->unusable))
		ch_log_error("%zu timestamp certificates cannot be used (not for timestamps, or of an "
			     "unknown algorithm)",
			     now->unusable);
}

/* Each that signed and may sign no more, before its end. */
static void tell_lost(struct tsa *tsa, const struct tsa_authorities *before,
		      const struct tsa_authorities *now, int64_t now_us)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct tsa_authority *stopped = &now->items[i];
		for (size_t j = 0;
		     before && stopped->obstacle[0] && stopped->not_after_us > now_us && j < before->count;
		     j++) {
			if (before->items[j].obstacle[0] || !is_same(stopped, &before->items[j]))
				continue;
			ch_log_error("timestamp key %s may sign no more: %s", stopped->key_id,
				     stopped->obstacle);
			ch_metric_add(tsa->signers_lost, 1);
		}
	}
}

static void tell_state(struct tsa *tsa, const struct tsa_authorities *now, int64_t now_us)
{
	static const enum ch_ready readiness[] = { [TSA_READY] = CH_READY_OK,
						   [TSA_NO_DEFAULT] = CH_READY_DEGRADED,
						   [TSA_WAITS_FOR_FIRST] = CH_READY_DEGRADED,
						   [TSA_STOPPED] = CH_READY_FAILED };
	char why[512];
	enum tsa_state state = tsa_authorities_state(now, now_us, why, sizeof why);
	const struct tsa_authority *first = first_fit(now, now_us);
	ch_metric_set(tsa->not_after, first ? first->not_after_us / CH_SECOND : 0);
	ch_readiness_set(tsa->signer_ready, readiness[state], why);
}

/* Reads them and puts them in place. */
static bool read_again(struct tsa *tsa, struct ch_error *err)
{
	struct tsa_authorities *fresh = NULL;
	if (!tsa_store_authorities(tsa->db, tsa->config, &fresh, err))
		return false;
	int64_t now_us = ch_clock_now_us(tsa->time.clock);
	tell_state(tsa, fresh, now_us);
	pthread_mutex_lock(&tsa->lock);
	struct tsa_authorities *before = tsa->authorities;
	tsa->authorities = fresh;
	pthread_mutex_unlock(&tsa->lock);
	tell_change(before, fresh, now_us);
	tell_lost(tsa, before, fresh, now_us);
	tsa_authorities_release(before);
	ch_readiness_set(tsa->authorities_known, CH_READY_OK, NULL);
	return true;
}

/* May this caller read now? Notes the time where it may. */
static bool is_turn(struct tsa *tsa, int64_t pause_us)
{
	int64_t now_us = ch_monotonic_us();
	pthread_mutex_lock(&tsa->lock);
	bool turn = tsa->read_at_us == 0 || now_us - tsa->read_at_us >= pause_us;
	if (turn)
		tsa->read_at_us = now_us;
	pthread_mutex_unlock(&tsa->lock);
	return turn;
}

/* Unless somebody read less than pause_us ago. Who waited for another's reading takes what came of it: else a
 * database that answers late would be waited for by one after the other. */
static bool read_in_turn(struct tsa *tsa, int64_t pause_us, struct ch_error *err)
{
	unsigned before = atomic_load(&tsa->readings);
	bool read = true;
	pthread_mutex_lock(&tsa->reading);
	if (atomic_load(&tsa->readings) == before && is_turn(tsa, pause_us)) {
		read = read_again(tsa, err);
		atomic_fetch_add(&tsa->readings, 1);
	}
	pthread_mutex_unlock(&tsa->reading);
	return read;
}

struct tsa_authorities *tsa_authorities_fresh(struct tsa *tsa)
{
	struct ch_error err = CH_NONE;
	if (!read_in_turn(tsa, PAUSE, &err))
		ch_log_error("timestamp certificates cannot be read: %s", err.message);
	return tsa_authorities_now(tsa);
}

static void *follow(void *argument)
{
	struct tsa *tsa = argument;
	bool failed = false;
	do {
		struct ch_error err = CH_NONE;
		bool read = read_in_turn(tsa, 0, &err);
		if (!read && !failed) /* what was read before goes on serving */
			ch_log_error("timestamp certificates cannot be read: %s", err.message);
		failed = !read;
		tsa_time_observe(&tsa->time);
	} while (!ch_daemon_sleep(tsa->daemon, tsa->config->reload_interval_us));
	return NULL;
}

bool tsa_reload_start(struct tsa *tsa, pthread_t *thread, struct ch_error *err)
{
	int failed = pthread_create(thread, NULL, follow, tsa);
	return !failed || ch_fail_errno(err, CH_INTERNAL, failed, "reload thread");
}
