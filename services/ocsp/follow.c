/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow.c: the thread that keeps this responder in step with the database: entries of the revocation log
 * drop cached answers within the poll interval, CAs and responder certificates (signers.c) are read again
 * each second.
 */
#include "ocsp.h"

#include "log/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct ocsp_follower {
	struct ocsp *ocsp;
	struct ch_db *db; /* its own connection */
	struct ch_readiness *ready;
	pthread_t thread;
	bool started;
	atomic_bool stop; /* where the daemon's start failed: else ch_daemon_sleep says it */
	int64_t sequence; /* of the last log entry that was seen */
	bool loaded;      /* it was up once */
};

static void drop(void *context, int64_t sequence, int64_t ca_id, struct ch_view serial)
{
	ocsp_cache_drop(((struct ocsp *)context)->cache, sequence, ca_id, serial);
}

bool ocsp_follow_log(struct ocsp *ocsp, struct ch_db *db, int64_t *sequence, struct ch_error *err)
{
	bool first = *sequence == OCSP_FOLLOW_NOT_YET;
	bool restarted;

	if (!ocsp_store_follow(db, sequence, &restarted, drop, ocsp, err))
		return false;
	if (restarted) {
		ocsp_cache_drop_all(ocsp->cache, *sequence);
		if (!first)
			ch_log_warn(
				"the revocation log went back to %lld: another server took over; all cached "
				"answers are dropped",
				(long long)*sequence);
	}
	ch_metric_set(ocsp->metrics.log_sequence, *sequence);
	return true;
}

/* What is cached goes on being served, and HAProxy goes on asking for it: without a CA there is nothing to
 * serve yet. */
static void tell_readiness(struct ocsp_follower *follower, bool up, const char *why)
{
	char text[300];

	follower->loaded = follower->loaded || up;
	snprintf(text, sizeof(text), "away, %s: %.250s",
		 follower->loaded ? "serving cached" : "nothing was read yet", why);
	ch_readiness_set(follower->ready,
			 up                 ? CH_READY_OK
			 : follower->loaded ? CH_READY_DEGRADED
					    : CH_READY_FAILED,
			 text);
}

static void poll_once(struct ocsp_follower *follower)
{
	struct ch_error err = CH_NONE;
	bool up = ocsp_follow_log(follower->ocsp, follower->db, &follower->sequence, &err) &&
		  ocsp_authorities_read(follower->ocsp, follower->db, OCSP_AUTHORITIES_INTERVAL, &err);

	follower->ocsp->database_up = up;
	tell_readiness(follower, up, err.message);
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
	follower->sequence = OCSP_FOLLOW_NOT_YET;
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
