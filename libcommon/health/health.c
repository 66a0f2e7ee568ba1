/* SPDX-License-Identifier: Apache-2.0 */
/* health.c: see health.h. */
#include "health/health.h"

#include "db/db.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define INTERVAL       (500 * CH_MILLISECOND)
#define PING_INTERVAL  CH_SECOND
#define ASK_INTERVAL   (2 * CH_SECOND)
#define PING_ANSWER    (2 * CH_SECOND)
#define LOGIN_INTERVAL (10 * CH_SECOND) /* a kept connection does not show that the role may still log in */

struct ch_health {
	struct ch_health_options options;
	struct ch_readiness *database_ready, *spool_ready;
	struct ch_readiness **peer_ready; /* of each row of options.peers; owned */
	pthread_t thread;
	atomic_bool stop;
	/* the thread's alone */
	struct ch_db *db;
	int64_t logged_in_us, next_ping_us, next_ask_us; /* monotonic */
};

static void set(struct ch_readiness *readiness, bool well, const struct ch_health_without *without,
		const char *state, const char *why)
{
	char text[300];

	snprintf(text, sizeof(text), "%s%s%s%s%s", state, without->meaning ? ", " : "",
		 without->meaning ? without->meaning : "", why ? ": " : "", why ? why : "");
	ch_readiness_set(readiness, well ? CH_READY_OK : without->state, well ? NULL : text);
}

/* A connection of its own: the pool's may all be in use, which is no reason to be taken out of service. */
static bool ping(struct ch_health *health, struct ch_error *err)
{
	const struct ch_database_config one = { health->options.database->url, 1 };
	CH_AUTO(ch_string) name = ch_format("%s health", health->options.instance);

	if (health->db && ch_monotonic_us() - health->logged_in_us >= LOGIN_INTERVAL)
		ch_db_close(CH_STEAL(health->db));
	if (!health->db) {
		if (!ch_db_open(&one, name, NULL, &health->db, err))
			return false;
		ch_db_limit_answer(health->db, PING_ANSWER);
		health->logged_in_us = ch_monotonic_us();
	}
	if (ch_db_ping(health->db, err))
		return true;
	ch_db_close(CH_STEAL(health->db));
	return false;
}

static void look_at_database(struct ch_health *health)
{
	struct ch_error err = CH_NONE;
	bool well;

	if (!health->options.database || ch_monotonic_us() < health->next_ping_us)
		return;
	well = ping(health, &err);
	set(health->database_ready, well, &health->options.without_database, "away", err.message);
	health->next_ping_us = ch_monotonic_us() + PING_INTERVAL;
}

static void ask(const struct ch_bus_peer *peer, struct ch_bus_client *client, struct ch_readiness *readiness)
{
	const struct ch_health_without unable = { CH_READY_DEGRADED, peer->meaning };
	struct ch_error err = CH_NONE;
	bool well = peer->ask(client, &err) || err.code != CH_UNAVAILABLE;

	set(readiness, well, &unable, "answers that it cannot", err.message);
}

static void look_at_peers(struct ch_health *health)
{
	bool due = ch_monotonic_us() >= health->next_ask_us;
	const struct ch_bus_peer *peer;
	struct ch_bus_client *client;

	for (size_t i = 0; (peer = ch_bus_peers_row(health->options.peers, i, &client)); i++) {
		const struct ch_health_without without = { peer->without, peer->meaning };

		if (!ch_bus_client_reachable(client))
			set(health->peer_ready[i], false, &without, "away", NULL);
		else if (!peer->ask)
			set(health->peer_ready[i], true, &without, "", NULL);
		else if (due)
			ask(peer, client, health->peer_ready[i]);
	}
	if (due)
		health->next_ask_us = ch_monotonic_us() + ASK_INTERVAL;
}

static void look_at_spool(struct ch_health *health)
{
	struct ch_error err = CH_NONE;
	bool well;

	if (!health->options.audit)
		return;
	well = ch_audit_able(health->options.audit, &err);
	set(health->spool_ready, well, &health->options.without_spool, "takes no events", err.message);
}

static void *watch(void *state)
{
	struct ch_health *health = state;

	do {
		look_at_peers(health);
		look_at_spool(health);
		look_at_database(health);
	} while (!ch_daemon_sleep(health->options.daemon, INTERVAL) && !atomic_load(&health->stop));
	return NULL;
}

bool ch_health_start(const struct ch_health_options *options, struct ch_health **health, struct ch_error *err)
{
	struct ch_health *made = ch_alloc(sizeof(*made));
	const struct ch_bus_peer *peer;
	struct ch_bus_client *client;
	size_t count = 0;
	int failed;

	made->options = *options;
	if (options->database)
		made->database_ready = ch_daemon_readiness(options->daemon, "database");
	while (ch_bus_peers_row(options->peers, count, &client))
		count++;
	made->peer_ready = ch_alloc_pointers(count);
	for (size_t i = 0; (peer = ch_bus_peers_row(options->peers, i, &client)); i++)
		made->peer_ready[i] = ch_daemon_readiness(options->daemon, peer->service);
	if (options->audit)
		made->spool_ready = ch_daemon_readiness(options->daemon, "spool");
	failed = pthread_create(&made->thread, NULL, watch, made);
	if (failed) {
		free(made->peer_ready);
		free(made);
		return ch_fail_errno(err, CH_INTERNAL, failed, "health thread");
	}
	*health = made;
	return true;
}

void ch_health_stop(struct ch_health *health)
{
	if (!health)
		return;
	atomic_store(&health->stop, true);
	pthread_join(health->thread, NULL);
	ch_db_close(health->db);
	free(health->peer_ready);
	free(health);
}
