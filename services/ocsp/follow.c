/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow.c: the thread that keeps this responder in step with the database: entries of the revocation log
 * drop cached answers within the poll interval, CAs and responder certificates are read again each second.
 */
#include "ocsp.h"

#include "log/log.h"

#include <stdatomic.h>
#include <stdlib.h>

#define AUTHORITIES_INTERVAL CH_SECOND

struct ocsp_follower {
	struct ocsp *ocsp;
	struct ch_db *db; /* its own connection */
	struct ch_readiness *ready;
	pthread_t thread;
	bool started;
	atomic_bool stop; /* where the daemon's start failed: else ch_daemon_sleep says it */
	int64_t sequence; /* of the last log entry that was seen */
};

static void drop(void *context, int64_t sequence, int64_t ca_id, struct ch_view serial)
{
	ocsp_cache_drop(((struct ocsp *)context)->cache, sequence, ca_id, serial);
}

/* The log is read from wherever the server is at the first poll: the cache was empty before. INT64_MAX, which
 * no server has reached, makes that first poll look like a server with less of the log. */
#define NOT_YET INT64_MAX

static bool poll_log(struct ocsp_follower *follower, struct ch_error *err)
{
	struct ocsp *ocsp = follower->ocsp;
	bool first = follower->sequence == NOT_YET;
	bool restarted;

	if (!ocsp_store_follow(follower->db, &follower->sequence, &restarted, drop, ocsp, err))
		return false;
	if (restarted) {
		ocsp_cache_drop_all(ocsp->cache, follower->sequence);
		if (!first)
			ch_log_warn(
				"the revocation log went back to %lld: another server took over; all cached "
				"answers are dropped",
				(long long)follower->sequence);
	}
	ch_metric_set(ocsp->metrics.log_sequence, follower->sequence);
	return true;
}

bool ocsp_authorities_read(struct ocsp *ocsp, struct ch_db *db, int64_t interval_us, struct ch_error *err)
{
	struct ocsp_authorities *fresh = NULL;
	struct ocsp_authorities *old;
	int64_t now_us = ch_monotonic_us();
	bool due;

	pthread_mutex_lock(&ocsp->lock);
	due = !ocsp->authorities_at_us || now_us - ocsp->authorities_at_us >= interval_us;
	if (due)
		ocsp->authorities_at_us = now_us;
	pthread_mutex_unlock(&ocsp->lock);
	if (!due)
		return true;
	if (!ocsp_store_authorities(db, &fresh, err)) {
		pthread_mutex_lock(&ocsp->lock);
		ocsp->authorities_at_us = 0;
		pthread_mutex_unlock(&ocsp->lock);
		return false;
	}
	ch_metric_set(ocsp->metrics.authorities, (int64_t)fresh->count);
	pthread_mutex_lock(&ocsp->lock);
	old = ocsp->authorities;
	ocsp->authorities = fresh;
	pthread_mutex_unlock(&ocsp->lock);
	ocsp_authorities_release(old);
	return true;
}

static void poll_once(struct ocsp_follower *follower)
{
	struct ch_error err = CH_NONE;
	bool up = poll_log(follower, &err) &&
		  ocsp_authorities_read(follower->ocsp, follower->db, AUTHORITIES_INTERVAL, &err);

	follower->ocsp->database_up = up;
	ch_readiness_set(follower->ready, up, err.message);
}

static void *follow(void *context)
{
	struct ocsp_follower *follower = context;

	do
		poll_once(follower);
	while (!ch_daemon_sleep(follower->ocsp->daemon, follower->ocsp->config->poll_interval_us) &&
	       !atomic_load(&follower->stop));
	return NULL;
}

bool ocsp_follow_start(struct ocsp *ocsp, struct ch_error *err)
{
	const struct ch_daemon_config *common = &ocsp->config->common;
	const struct ch_database_config one = { common->database.url, 1 };
	CH_AUTO(ch_string) name = ch_format("%s follower", common->instance);
	struct ocsp_follower *follower = ch_alloc(sizeof(*follower));

	ocsp->follower = follower;
	follower->ocsp = ocsp;
	follower->sequence = NOT_YET;
	follower->ready = ch_daemon_readiness(ocsp->daemon, "database");
	if (!ch_db_open(&one, name, ocsp->registry, &follower->db, err))
		return false;
	if (pthread_create(&follower->thread, NULL, follow, follower) != 0)
		return ch_fail(err, CH_INTERNAL, "the follower thread cannot be started");
	follower->started = true;
	return true;
}

void ocsp_follow_stop(struct ocsp *ocsp)
{
	struct ocsp_follower *follower = ocsp->follower;

	if (!follower)
		return;
	atomic_store(&follower->stop, true);
	if (follower->started)
		pthread_join(follower->thread, NULL);
	ch_db_close(follower->db);
	free(follower);
	ocsp->follower = NULL;
}
