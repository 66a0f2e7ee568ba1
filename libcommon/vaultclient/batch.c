/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c: threads that ask lead in turn: who may send takes along what waits, its own first; when it is
 * answered, it hands results out and its slot to one of those who wait meanwhile. So there is no thread of
 * its own to wake, and a lone caller is its own sender.
 */
#include "vaultclient/batch.h"

#include "clock/clock.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define FEW      8                     /* so many items under way keep nobody from sending */
#define PATIENCE (20 * CH_MILLISECOND) /* longer than this nobody waits while a slot is free */
#define SLACK    (10 * CH_MILLISECOND) /* so much before its deadline a waiter may be given up */
#define WORDS    4                     /* of 32 bells each: callers who share one are woken together */

enum waiting {
	QUEUED,   /* in the queue */
	LEADS,    /* in the queue, and has been given a slot */
	TAKEN,    /* in a message that is under way */
	ANSWERED, /* its item says how */
};

/* A thread inside ch_batcher_run; on its stack, so it leaves every list before it returns. */
struct waiter {
	struct ch_batch_item *item;
	_Atomic enum waiting state; /* changed with the lock held */
	unsigned bell;              /* its number; others may have the same */
	int64_t since_us;
	struct waiter **seat; /* TAKEN: where the message's leader finds it */
	struct waiter *prev, *next;
};

/* Whom to wake: a bit for each bell. */
struct bells {
	uint32_t of[WORDS];
};

struct ch_batcher {
	struct ch_batch_options options;
	_Atomic uint32_t rung[WORDS]; /* what waiters sleep on: counts wakings */
	pthread_mutex_t lock;         /* guards the rest */
	struct waiter *queue;         /* who waits longest is first */
	struct waiter *appointed;     /* LEADS */
	size_t queued;                /* waiters that are QUEUED */
	size_t under_way;             /* slots taken */
	size_t in_flight;             /* items of messages under way */
	unsigned next_bell;
};

struct ch_batcher *ch_batcher_new(const struct ch_batch_options *options)
{
	struct ch_batcher *batcher = ch_alloc(sizeof(*batcher));

	batcher->options = *options;
	pthread_mutex_init(&batcher->lock, NULL);
	return batcher;
}

void ch_batcher_free(struct ch_batcher *batcher)
{
	if (!batcher)
		return;
	pthread_mutex_destroy(&batcher->lock);
	free(batcher);
}

/* --- sleeping and waking --- */

static void set_state(struct waiter *waiter, enum waiting state)
{
	atomic_store_explicit(&waiter->state, state, memory_order_release);
}

static enum waiting state_of(struct waiter *waiter)
{
	return atomic_load_explicit(&waiter->state, memory_order_acquire);
}

static void add_bell(struct bells *bells, const struct waiter *waiter)
{
	bells->of[waiter->bell / 32] |= UINT32_C(1) << waiter->bell % 32;
}

/*
 * Wakes all who have one of these bells, with a call or two, since who asks together has neighbouring ones:
 * with a semaphore for each waiter it takes one for each, and the first who is woken often takes the
 * processor from who wakes. Without the lock, which they need next.
 */
static void ring(struct ch_batcher *batcher, const struct bells *bells)
{
	for (size_t i = 0; i < WORDS; i++) {
		if (!bells->of[i])
			continue;
		atomic_fetch_add(&batcher->rung[i], 1);
		syscall(SYS_futex, &batcher->rung[i], FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL,
			bells->of[i]);
	}
}

/* Until the waiter leads or is answered, or until_us. */
static void sleep_until(struct ch_batcher *batcher, struct waiter *waiter, int64_t until_us)
{
	struct timespec until = { until_us / CH_SECOND, until_us % CH_SECOND * 1000 };
	_Atomic uint32_t *word = &batcher->rung[waiter->bell / 32];

	for (;;) {
		uint32_t rung = atomic_load(word);
		enum waiting state = state_of(waiter);

		if (state == LEADS || state == ANSWERED || ch_monotonic_us() >= until_us)
			return;
		syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, rung, &until, NULL,
			UINT32_C(1) << waiter->bell % 32);
	}
}

/* --- who leads --- */

/*
 * A message costs both ends two signatures and some wake-ups. So another one goes only if it carries a third
 * of what is under way (the vault verifies the items of a message one after the other: with fewer messages a
 * processor of its idles), or if that is so little that an HSM may be idle, or if somebody has waited for
 * long.
 */
static bool may_send(const struct ch_batcher *batcher)
{
	if (batcher->appointed || !batcher->queue || batcher->under_way == batcher->options.under_way)
		return false;
	return batcher->in_flight < FEW || batcher->queued * 3 >= batcher->in_flight ||
	       ch_monotonic_us() - batcher->queue->since_us >= PATIENCE;
}

static bool together(const struct waiter *a, const struct waiter *b)
{
	return strcmp(a->item->group, b->item->group) == 0;
}

/* Of the group of who waits longest, who may wait longest: a leader stays until its own deadline, so that a
 * message that waits longer must have another. */
static struct waiter *best_leader(const struct ch_batcher *batcher)
{
	struct waiter *best = batcher->queue, *waiter;

	DL_FOREACH(batcher->queue, waiter)
	if (waiter->item->deadline_us > best->item->deadline_us && together(waiter, best))
		best = waiter;
	return best;
}

/* Where a message may go, one of the queue leads it, who is to be woken. With the lock held. */
static void appoint(struct ch_batcher *batcher, struct bells *bells)
{
	if (!may_send(batcher))
		return;
	batcher->appointed = best_leader(batcher);
	batcher->queued--;
	batcher->under_way++;
	set_state(batcher->appointed, LEADS);
	add_bell(bells, batcher->appointed);
}

/* --- leading --- */

/* What one leader takes along. */
struct batch {
	struct waiter *seats[CH_BATCH_CAP]; /* guarded by lock; NULL: it left at its deadline */
	const void *requests[CH_BATCH_CAP];
	struct ch_batch_item *results; /* one for each seat */
	size_t count;
};

static void take(struct ch_batcher *batcher, struct batch *batch, struct waiter *waiter)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a waiter is in the queue, which has a head */
	DL_DELETE(batcher->queue, waiter);
	batch->requests[batch->count] = waiter->item->request;
	batch->seats[batch->count] = waiter;
	waiter->seat = &batch->seats[batch->count];
	set_state(waiter, TAKEN);
	batch->count++;
}

/* The appointed leader's own first, then the others of its group. With the lock held. */
static void fill(struct ch_batcher *batcher, struct batch *batch, struct waiter *leader)
{
	struct waiter *waiter, *next;

	batcher->appointed = NULL;
	take(batcher, batch, leader);
	DL_FOREACH_SAFE(batcher->queue, waiter, next)
	{
		if (batch->count == CH_BATCH_CAP)
			break;
		if (!together(waiter, leader) ||
		    waiter->item->deadline_us > leader->item->deadline_us + SLACK)
			continue;
		take(batcher, batch, waiter);
		batcher->queued--;
	}
	batcher->in_flight += batch->count;
}

/* Adds the bells of who sleeps; each may be gone as soon as its state is set. With the lock held. */
static void hand_out(struct batch *batch, struct bells *bells)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct waiter *waiter = batch->seats[i];

		if (!waiter) {
			ch_bytes_free(&batch->results[i].result);
			continue;
		}
		waiter->item->result = batch->results[i].result;
		waiter->item->done = batch->results[i].done;
		if (!waiter->item->done)
			waiter->item->err = batch->results[i].err;
		if (i > 0) /* the leader is awake */
			add_bell(bells, waiter);
		set_state(waiter, ANSWERED);
	}
}

/* The slot is given on when all are awake: most of them ask again at once, and go along. */
static void finish(struct ch_batcher *batcher, struct batch *batch)
{
	struct bells answered = CH_NONE, leader = CH_NONE;

	pthread_mutex_lock(&batcher->lock);
	hand_out(batch, &answered);
	pthread_mutex_unlock(&batcher->lock);
	ring(batcher, &answered);
	pthread_mutex_lock(&batcher->lock);
	batcher->in_flight -= batch->count;
	batcher->under_way--;
	appoint(batcher, &leader);
	pthread_mutex_unlock(&batcher->lock);
	ring(batcher, &leader);
}

/* With the lock held, which is given up. */
static void lead(struct ch_batcher *batcher, struct waiter *leader)
{
	int64_t deadline_us = leader->item->deadline_us;
	struct batch *batch = ch_alloc(sizeof(*batch));
	struct bells bells = CH_NONE;
	void *message;

	fill(batcher, batch, leader);
	appoint(batcher, &bells);
	batch->results = ch_alloc(batch->count * sizeof(*batch->results));
	/* Copied under the lock: afterwards whoever waits may leave, and its request with it. */
	message = batcher->options.copy(batcher->options.state, leader->item->group, batch->requests,
					batch->count);
	pthread_mutex_unlock(&batcher->lock);
	ring(batcher, &bells);
	batcher->options.send(batcher->options.state, message, deadline_us, batch->results, batch->count);
	finish(batcher, batch);
	free(batch->results);
	free(batch);
}

/* --- waiting --- */

/* At its deadline: what is under way or queued goes on without this waiter. With the lock held. */
static void leave(struct ch_batcher *batcher, struct waiter *waiter, struct bells *bells)
{
	ch_fail(&waiter->item->err, CH_UNAVAILABLE, "no answer in time");
	waiter->item->err.retryable = true;
	if (state_of(waiter) == TAKEN) {
		*waiter->seat = NULL;
		return;
	}
	DL_DELETE(batcher->queue, waiter);
	if (state_of(waiter) == QUEUED) {
		batcher->queued--;
		return;
	}
	batcher->appointed = NULL;
	batcher->under_way--;
	appoint(batcher, bells);
}

/* What a waiter finds when it looks, with the lock held, which is given up. True: it has its end. */
static bool look(struct ch_batcher *batcher, struct waiter *waiter)
{
	bool late = ch_monotonic_us() >= waiter->item->deadline_us;
	bool answered = state_of(waiter) == ANSWERED;
	struct bells bells = CH_NONE;

	if (late && !answered)
		leave(batcher, waiter, &bells);
	else if (state_of(waiter) == QUEUED)
		appoint(batcher, &bells);
	if (!late && batcher->appointed == waiter) {
		lead(batcher, waiter);
		return true;
	}
	pthread_mutex_unlock(&batcher->lock);
	ring(batcher, &bells);
	return late || answered;
}

static void serve(struct ch_batcher *batcher, struct waiter *waiter)
{
	int64_t deadline_us = waiter->item->deadline_us;

	pthread_mutex_lock(&batcher->lock);
	waiter->bell = batcher->next_bell++ % (WORDS * 32);
	DL_APPEND(batcher->queue, waiter);
	batcher->queued++;
	while (!look(batcher, waiter)) {
		int64_t now_us = ch_monotonic_us(), waited_us = now_us - waiter->since_us;
		int64_t soon_us = now_us + (waited_us > PATIENCE ? waited_us : PATIENCE);
		bool taken = state_of(waiter) == TAKEN;

		sleep_until(batcher, waiter, taken || deadline_us < soon_us ? deadline_us : soon_us);
		if (state_of(waiter) == ANSWERED)
			return; /* without the lock */
		pthread_mutex_lock(&batcher->lock);
	}
}

bool ch_batcher_run(struct ch_batcher *batcher, struct ch_batch_item *item, struct ch_error *err)
{
	struct waiter waiter = { .item = item, .state = QUEUED, .since_us = ch_monotonic_us() };

	item->done = false;
	serve(batcher, &waiter);
	if (!item->done && err)
		*err = item->err;
	return item->done;
}
