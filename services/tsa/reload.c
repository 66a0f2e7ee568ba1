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

/* Says once what changed: the newest certificate, or how many cannot be used. */
static void tell_change(const struct tsa_authorities *before, const struct tsa_authorities *now)
{
	const struct tsa_authority *newest = now->count ? &now->items[0] : NULL;
	const struct tsa_authority *previous = before && before->count ? &before->items[0] : NULL;
	char text[CH_TIME_TEXT_SIZE];
	if (newest &&
	    (!previous || memcmp(newest->certificate_sha256, previous->certificate_sha256, 32) != 0))
		ch_log_info("stamping with key %s of tenant %s, certificate valid until %s", newest->key_id,
			    newest->tenant, ch_time_text(newest->not_after_us, text));
	if (!newest && (!before || previous))
		ch_log_warn("there is no timestamp certificate: requests are answered systemFailure");
	if (now->unusable && (!before || before->unusable != now->unusable))
		ch_log_error("%zu timestamp certificates cannot be used (not for timestamps, or of an "
			     "unknown algorithm)",
			     now->unusable);
}

/* Puts `fresh` in place of the present ones. */
static void replace(struct tsa *tsa, struct tsa_authorities *fresh)
{
	ch_metric_set(tsa->not_after, fresh->count ? fresh->items[0].not_after_us / CH_SECOND : 0);
	pthread_mutex_lock(&tsa->lock);
	struct tsa_authorities *before = tsa->authorities;
	tsa->authorities = fresh;
	pthread_mutex_unlock(&tsa->lock);
	tell_change(before, fresh);
	tsa_authorities_release(before);
}

/* Reads them and puts them in place. */
static bool read_again(struct tsa *tsa, struct ch_error *err)
{
	struct tsa_authorities *fresh = NULL;
	if (!tsa_store_authorities(tsa->db, tsa->config, &fresh, err))
		return false;
	replace(tsa, fresh);
	ch_readiness_set(tsa->authorities_known, true, "");
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

struct tsa_authorities *tsa_authorities_fresh(struct tsa *tsa)
{
	struct ch_error err = CH_NONE;
	if (is_turn(tsa, PAUSE) && !read_again(tsa, &err))
		ch_log_error("timestamp certificates cannot be read: %s", err.message);
	return tsa_authorities_now(tsa);
}

static void *follow(void *argument)
{
	struct tsa *tsa = argument;
	bool failed = false;
	do {
		struct ch_error err = CH_NONE;
		bool read = !is_turn(tsa, 0) || read_again(tsa, &err);
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
