/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_test.c: what many threads ask for at once goes in few messages; each gets its own answer; who leaves
 * at their deadline spoils nothing for the others.
 */
#include "vaultclient/batch.h"

#include "clock/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define THREADS 64

/* A peer that answers each request with "<group>/<request>", when the gate is open. */
struct peer {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;                /* guarded by lock */
	size_t passes;            /* guarded by lock: so many messages are answered before it opens */
	size_t waiting, messages; /* guarded by lock: inside send; ever sent */
	size_t largest, most;     /* items of a message; messages at a time */
	bool fails, mixed;
	struct ch_batcher *batcher;
};

struct sent {
	char group[16];
	size_t count;
	int numbers[CH_BATCH_CAP];
};

static void *copy(void *state, const char *group, const void *const *requests, size_t count)
{
	struct sent *sent = ch_alloc(sizeof(*sent));

	(void)state;
	snprintf(sent->group, sizeof(sent->group), "%s", group);
	sent->count = count;
	for (size_t i = 0; i < count; i++)
		sent->numbers[i] = *(const int *)requests[i];
	return sent;
}

static void answer(struct peer *peer, const struct sent *sent, struct ch_batch_item *results)
{
	for (size_t i = 0; i < sent->count; i++) {
		CH_AUTO(ch_string) text = ch_format("%s/%d", sent->group, sent->numbers[i]);

		results[i].done = !peer->fails;
		if (peer->fails)
			ch_fail(&results[i].err, CH_DENIED, "no %d", sent->numbers[i]);
		else
			results[i].result = ch_bytes_copy(ch_view_text(text));
	}
}

static void fail_late(struct ch_batch_item *results, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ch_fail(&results[i].err, CH_UNAVAILABLE, "no answer");
		results[i].err.retryable = true;
	}
}

static void send_to(void *state, void *message, int64_t deadline_us, struct ch_batch_item *results,
		    size_t count)
{
	struct peer *peer = state;
	struct sent *sent = message;

	struct timespec deadline = { deadline_us / CH_SECOND, deadline_us % CH_SECOND * 1000 };

	pthread_mutex_lock(&peer->lock);
	peer->messages++;
	peer->waiting++;
	if (peer->waiting > peer->most)
		peer->most = peer->waiting;
	if (count > peer->largest)
		peer->largest = count;
	pthread_cond_broadcast(&peer->changed);
	while (!peer->open && !peer->passes && ch_monotonic_us() < deadline_us)
		pthread_cond_timedwait(&peer->changed, &peer->lock, &deadline);
	peer->waiting--;
	if (peer->open || peer->passes)
		answer(peer, sent, results);
	else
		fail_late(results, count);
	if (!peer->open && peer->passes)
		peer->passes--;
	pthread_mutex_unlock(&peer->lock);
	free(sent);
}

static struct peer *new_peer(size_t under_way, bool open)
{
	struct peer *peer = ch_alloc(sizeof(*peer));
	const struct ch_batch_options options = {
		.under_way = under_way, .copy = copy, .send = send_to, .state = peer
	};

	pthread_condattr_t monotonic;

	pthread_mutex_init(&peer->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&peer->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	peer->open = open;
	peer->batcher = ch_batcher_new(&options);
	return peer;
}

static void free_peer(struct peer *peer)
{
	ch_batcher_free(peer->batcher);
	pthread_cond_destroy(&peer->changed);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

static void open_gate(struct peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	peer->open = true;
	pthread_cond_broadcast(&peer->changed);
	pthread_mutex_unlock(&peer->lock);
}

static void let_one_pass(struct peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	peer->passes++;
	pthread_cond_broadcast(&peer->changed);
	pthread_mutex_unlock(&peer->lock);
}

static void wait_messages(struct peer *peer, size_t count)
{
	pthread_mutex_lock(&peer->lock);
	while (peer->messages < count)
		pthread_cond_wait(&peer->changed, &peer->lock);
	pthread_mutex_unlock(&peer->lock);
}

static void wait_waiting(struct peer *peer, size_t count)
{
	pthread_mutex_lock(&peer->lock);
	while (peer->waiting < count)
		pthread_cond_wait(&peer->changed, &peer->lock);
	pthread_mutex_unlock(&peer->lock);
}

struct asker {
	struct peer *peer;
	pthread_t thread;
	const char *group;
	int number, times;
	int64_t timeout_us;
	atomic_int right, late, other;
};

static void ask_once(struct asker *asker)
{
	struct ch_batch_item item = { .group = asker->group,
				      .request = &asker->number,
				      .deadline_us = ch_monotonic_us() + asker->timeout_us };
	CH_AUTO(ch_string) expected = ch_format("%s/%d", asker->group, asker->number);
	struct ch_error err = CH_NONE;

	if (ch_batcher_run(asker->peer->batcher, &item, &err)) {
		bool right = ch_view_equal(ch_view_of(&item.result), ch_view_text(expected));

		atomic_fetch_add(right ? &asker->right : &asker->other, 1);
		ch_bytes_free(&item.result);
	} else {
		atomic_fetch_add(err.code == CH_UNAVAILABLE && err.retryable ? &asker->late : &asker->other,
				 1);
	}
}

static void *ask(void *state)
{
	struct asker *asker = state;

	for (int i = 0; i < asker->times; i++)
		ask_once(asker);
	return NULL;
}

static void start(struct asker *asker, struct peer *peer, const char *group, int number, int times,
		  int64_t timeout_us)
{
	*asker = (struct asker){
		.peer = peer, .group = group, .number = number, .times = times, .timeout_us = timeout_us
	};
	assert_int_equal(pthread_create(&asker->thread, NULL, ask, asker), 0);
}

static void a_lone_caller_waits_for_nobody(void **state)
{
	struct peer *peer = new_peer(2, true);
	struct asker asker;

	(void)state;
	start(&asker, peer, "a", 7, 100, CH_MINUTE);
	pthread_join(asker.thread, NULL);
	assert_int_equal(asker.right, 100);
	assert_int_equal(peer->messages, 100);
	assert_int_equal(peer->largest, 1);
	free_peer(peer);
}

static void who_comes_while_a_message_is_under_way_goes_with_the_next(void **state)
{
	struct peer *peer = new_peer(1, false);
	struct asker askers[THREADS];

	(void)state;
	start(&askers[0], peer, "a", 0, 1, CH_MINUTE);
	wait_waiting(peer, 1);
	for (int i = 1; i < THREADS; i++)
		start(&askers[i], peer, "a", i, 1, CH_MINUTE);
	nanosleep(&(struct timespec){ 0, 200 * 1000 * 1000 },
		  NULL); /* only to let them queue: fewer give more messages */
	open_gate(peer);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].right, 1);
	}
	assert_true(peer->messages < THREADS / 2);
	assert_int_equal(peer->most, 1);
	free_peer(peer);
}

static void many_threads_and_groups_each_get_their_own_answer(void **state)
{
	static const char *const groups[] = { "a", "b", "c" };
	struct peer *peer = new_peer(3, true);
	struct asker askers[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		start(&askers[i], peer, groups[i % 3], i, 200, CH_MINUTE);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].right, 200);
	}
	assert_true(peer->most <= 3);
	free_peer(peer);
}

static void an_error_is_each_ones_own(void **state)
{
	struct peer *peer = new_peer(1, true);
	struct ch_error err = CH_NONE;
	int number = 5;
	struct ch_batch_item item = { .group = "a",
				      .request = &number,
				      .deadline_us = ch_monotonic_us() + CH_MINUTE };

	(void)state;
	peer->fails = true;
	assert_false(ch_batcher_run(peer->batcher, &item, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_string_equal(err.message, "no 5");
	free_peer(peer);
}

/* In the queue, and in a message that is under way. */
static void who_leaves_at_the_deadline_spoils_nothing(void **state)
{
	struct peer *peer = new_peer(1, false);
	struct asker first, queued[8], patient;

	(void)state;
	start(&first, peer, "a", 0, 1, CH_MINUTE);
	wait_waiting(peer, 1);
	for (int i = 0; i < 8; i++)
		start(&queued[i], peer, "a", i, 1, 50 * CH_MILLISECOND);
	for (int i = 0; i < 8; i++) {
		pthread_join(queued[i].thread, NULL);
		assert_int_equal(queued[i].late, 1);
	}
	start(&patient, peer, "a", 9, 1, CH_MINUTE);
	open_gate(peer);
	pthread_join(first.thread, NULL);
	pthread_join(patient.thread, NULL);
	assert_int_equal(first.right, 1);
	assert_int_equal(patient.right, 1);
	free_peer(peer);
}

/* The message goes on, for the sake of another item that may wait longer. */
static void a_leader_leaves_at_its_own_deadline(void **state)
{
	struct peer *peer = new_peer(1, false);
	struct asker first, hasty, patient;
	int64_t began = ch_monotonic_us();

	(void)state;
	start(&first, peer, "a", 0, 1, 300 * CH_MILLISECOND);
	wait_waiting(peer, 1);
	start(&hasty, peer, "a", 1, 1, 600 * CH_MILLISECOND); /* waits longest when the slot is free */
	nanosleep(&(struct timespec){ 0, 50 * 1000 * 1000 }, NULL);
	start(&patient, peer, "a", 2, 1, CH_MINUTE);
	pthread_join(first.thread, NULL);
	pthread_join(hasty.thread, NULL);
	assert_int_equal(hasty.late, 1);
	assert_true(ch_monotonic_us() - began < 30 * CH_SECOND);
	open_gate(peer);
	pthread_join(patient.thread, NULL);
	assert_int_equal(patient.right, 1);
	free_peer(peer);
}

/* With much under way a small message waits for company, but not for ever. */
static void nobody_waits_for_long_while_a_slot_is_free(void **state)
{
	struct peer *peer = new_peer(2, false);
	struct asker askers[23];

	(void)state;
	for (int i = 0; i < 2; i++) {
		start(&askers[i], peer, "a", i, 1, CH_MINUTE);
		wait_waiting(peer, (size_t)i + 1);
	}
	for (int i = 2; i < 22; i++)
		start(&askers[i], peer, "a", i, 1, CH_MINUTE);
	nanosleep(&(struct timespec){ 0, 200 * 1000 * 1000 }, NULL); /* until they queue */
	let_one_pass(peer);
	wait_messages(peer, 3); /* with the twenty */
	let_one_pass(peer);     /* one of those before: its slot is free */
	start(&askers[22], peer, "a", 22, 1, CH_MINUTE);
	wait_messages(peer, 4);
	open_gate(peer);
	for (int i = 0; i < 23; i++) {
		pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].right, 1);
	}
	free_peer(peer);
}

/* Threads that give up all the time, among others that do not. */
static void impatient_callers_among_patient_ones(void **state)
{
	struct peer *peer = new_peer(2, true);
	struct asker askers[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		start(&askers[i], peer, "a", i, 200, i % 4 ? CH_MINUTE : i % 200);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].other, 0);
		assert_int_equal(askers[i].right + askers[i].late, 200);
		if (i % 4)
			assert_int_equal(askers[i].right, 200);
	}
	free_peer(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lone_caller_waits_for_nobody),
		cmocka_unit_test(who_comes_while_a_message_is_under_way_goes_with_the_next),
		cmocka_unit_test(many_threads_and_groups_each_get_their_own_answer),
		cmocka_unit_test(an_error_is_each_ones_own),
		cmocka_unit_test(who_leaves_at_the_deadline_spoils_nothing),
		cmocka_unit_test(a_leader_leaves_at_its_own_deadline),
		cmocka_unit_test(nobody_waits_for_long_while_a_slot_is_free),
		cmocka_unit_test(impatient_callers_among_patient_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
