/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clockwatch.c: once a second: hears those that are silent, asks the database for its time, judges, and tells
 * what changed on /readyz, in the metrics, the log and the audit trail.
 */
#include "clockwatch/clockwatch.h"

#include "envelope/peer_clocks.h"
#include "log/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK          CH_SECOND
#define DATABASE_TICK (3 * CH_SECOND)
#define NAME_SIZE     104 /* "<service>/<instance>" */

/* Who was told to differ, until it agrees. */
struct told {
	char name[NAME_SIZE];
};

struct ch_clockwatch {
	struct ch_clockwatch_options options;
	struct ch_readiness *readiness;
	pthread_t thread;
	atomic_bool ending;
	/* of the thread alone: */
	struct ch_peer_clock clocks[CH_PEER_CLOCKS_CAP + 1]; /* the database is one of them */
	size_t count;
	int64_t database_at_us;    /* monotonic: when it was asked */
	int64_t database_ahead_us; /* of the monotonic clock */
	bool database_known;
	struct told told[CH_PEER_CLOCKS_CAP + 2];
	size_t told_count;
};

/* --- listening ---------------------------------------------------------------------------------------------
 */

static void ask_database(struct ch_clockwatch *watch)
{
	int64_t began_us = ch_monotonic_us(), their_us = 0;
	struct ch_error err;

	if (!watch->options.db || began_us - watch->database_at_us < DATABASE_TICK)
		return;
	watch->database_known = ch_db_time(watch->options.db, &their_us, &err);
	watch->database_at_us = ch_monotonic_us();
	watch->database_ahead_us = their_us - began_us - (watch->database_at_us - began_us) / 2;
}

static void name_of(const struct ch_peer *peer, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%s%s%s", peer->service, peer->instance[0] ? "/" : "", peer->instance);
}

static void show_offset(const struct ch_clockwatch *watch, const struct ch_peer_clock *clock)
{
	char labels[NAME_SIZE + 8], name[NAME_SIZE];

	name_of(&clock->peer, name);
	snprintf(labels, sizeof(labels), "peer=\"%s\"", name);
	ch_metric_set(ch_metrics_gauge(
			      ch_daemon_metrics(watch->options.daemon), "chancery_clock_offset_milliseconds",
			      "Clocks of other instances and of the database less this one's.", labels),
		      clock->offset_us / CH_MILLISECOND);
}

static void listen_to_all(struct ch_clockwatch *watch)
{
	struct ch_bus_client *client;
	int64_t now_us;

	for (size_t i = 0; ch_bus_peers_row(watch->options.peers, i, &client); i++)
		ch_bus_client_listen(client);
	ask_database(watch);
	now_us = ch_clock_now_us(watch->options.clock);
	watch->count =
		ch_peer_clocks_list(ch_identity_peer_clocks(watch->options.identity), now_us, watch->clocks);
	if (watch->database_known)
		watch->clocks[watch->count++] =
			(struct ch_peer_clock){ { .service = "database" },
						watch->database_ahead_us + ch_monotonic_us() - now_us };
	for (size_t i = 0; i < watch->count; i++)
		show_offset(watch, &watch->clocks[i]);
}

/* --- telling -----------------------------------------------------------------------------------------------
 */

static void record(struct ch_clockwatch *watch, const char *subject, bool differs, int64_t offset_us)
{
	char offset[32];
	const char *self = ch_identity_self(watch->options.identity)->instance;
	const struct ch_audit_detail details[] = { { "offset_ms", offset } };
	const struct ch_audit_event event = { .type = differs ? "clock.differs" : "clock.agrees",
					      .outcome = differs ? "failure" : "success",
					      .actor = self,
					      .subject = subject,
					      .details = details,
					      .detail_count = CH_COUNT(details) };
	struct ch_error err;

	snprintf(offset, sizeof(offset), "%lld", (long long)(offset_us / CH_MILLISECOND));
	if (differs)
		ch_log_warn("clock: %s is %s ms from %s", subject, offset,
			    strcmp(subject, self) == 0 ? "most others" : "this instance");
	else
		ch_log_info("clock: %s agrees again", subject);
	if (!ch_audit_record(watch->options.audit, &event, &err))
		ch_log_error("audit event %s: %s", event.type, err.message);
}

/* Once when it begins and once when it ends. */
static void tell(struct ch_clockwatch *watch, const char *subject, bool differs, int64_t offset_us)
{
	size_t at = 0;

	while (at < watch->told_count && strcmp(watch->told[at].name, subject) != 0)
		at++;
	if (differs == (at < watch->told_count) || (differs && at == CH_COUNT(watch->told)))
		return;
	if (differs)
		snprintf(watch->told[watch->told_count++].name, NAME_SIZE, "%s", subject);
	else
		watch->told[at] = watch->told[--watch->told_count];
	record(watch, subject, differs, offset_us);
}

/* Another's clock differs: where that is one against one, it may be this one that is wrong. */
static bool tell_others(struct ch_clockwatch *watch, int64_t wrong_us)
{
	bool differs = false;
	char name[NAME_SIZE];

	for (size_t i = 0; i < watch->count; i++) {
		/* Beside a wrong clock all right ones look wrong. */
		int64_t apart_us = watch->clocks[i].offset_us - wrong_us;

		name_of(&watch->clocks[i].peer, name);
		tell(watch, name, llabs(apart_us) > CH_CLOCK_LIMIT, apart_us);
		differs = differs || llabs(apart_us) > CH_CLOCK_LIMIT;
	}
	return differs;
}

static void judge(struct ch_clockwatch *watch)
{
	int64_t offsets[CH_PEER_CLOCKS_CAP + 1], wrong_us;
	char why[128];

	for (size_t i = 0; i < watch->count; i++)
		offsets[i] = watch->clocks[i].offset_us;
	wrong_us = ch_clockwatch_judge(offsets, watch->count);
	tell(watch, ch_identity_self(watch->options.identity)->instance, wrong_us != 0, -wrong_us);
	if (tell_others(watch, wrong_us) && wrong_us == 0)
		ch_readiness_set(watch->readiness, watch->count > 1 ? CH_READY_OK : CH_READY_DEGRADED,
				 watch->count > 1 ? NULL : "the only other clock differs from this one");
	else if (wrong_us == 0)
		ch_readiness_set(watch->readiness, CH_READY_OK, NULL);
	else {
		snprintf(why, sizeof(why), "%lld s %s most others", (long long)(llabs(wrong_us) / CH_SECOND),
			 wrong_us > 0 ? "behind" : "ahead of");
		ch_readiness_set(watch->readiness, CH_READY_FAILED, why);
	}
}

/* --- start and stop ----------------------------------------------------------------------------------------
 */

static void *run(void *state)
{
	struct ch_clockwatch *watch = state;

	do {
		listen_to_all(watch);
		judge(watch);
	} while (!ch_daemon_sleep(watch->options.daemon, TICK) && !atomic_load(&watch->ending));
	return NULL;
}

bool ch_clockwatch_start(const struct ch_clockwatch_options *options, struct ch_clockwatch **watch,
			 struct ch_error *err)
{
	struct ch_clockwatch *made = ch_alloc(sizeof(*made));
	int result;

	made->options = *options;
	made->readiness = ch_daemon_readiness(options->daemon, "clock");
	ch_readiness_set(made->readiness, CH_READY_OK, NULL);
	made->database_at_us = -DATABASE_TICK;
	result = pthread_create(&made->thread, NULL, run, made);
	if (result != 0) {
		free(made);
		return ch_fail_errno(err, CH_INTERNAL, result, "clock watch thread");
	}
	*watch = made;
	return true;
}

void ch_clockwatch_stop(struct ch_clockwatch *watch)
{
	if (!watch)
		return;
	atomic_store(&watch->ending, true); /* where the daemon gives up before it was asked to stop */
	pthread_join(watch->thread, NULL);
	free(watch);
}
