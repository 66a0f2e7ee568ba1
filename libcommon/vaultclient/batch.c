/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c: threads that ask lead in turn: who finds a free slot sends what waits, with its own; when it is
 * answered, it hands results out and the slot to one of those who wait meanwhile. So there is no thread of
 * its own to wake, and a lone caller is its own sender.
 */
#include "vaultclient/batch.h"

#include "clock/clock.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

/* gcc's ThreadSanitizer knows that sem_post happens before sem_wait, but not before sem_clockwait. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define WOKEN_BY_POST(semaphore) __tsan_acquire(semaphore)
#else
#define WOKEN_BY_POST(semaphore) ((void)0)
#endif

enum waiting {
	QUEUED,   /* in the queue */
	LEADS,    /* in the queue, and has been given a slot */
	TAKEN,    /* in a message that is under way */
	ANSWERED, /* its item says how */
};

/* A thread inside ch_batcher_run; on its stack, so it leaves every list before it returns. */
struct waiter {
	struct ch_batch_item *item;
	sem_t wake;           /* posted once for LEADS, once for ANSWERED */
	enum waiting state;   /* guarded by lock, but for who was woken */
	struct waiter **seat; /* TAKEN: where the message's leader finds it */
	struct waiter *prev, *next;
};

struct ch_batcher {
	struct ch_batch_options options;
	pthread_mutex_t lock;
	struct waiter *queue; /* guarded by lock */
	size_t under_way;     /* guarded by lock: slots taken */
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

/* --- leading --- */

/* What one leader takes along. */
struct batch {
	struct waiter *seats[CH_BATCH_CAP]; /* guarded by lock; NULL: it left at its deadline */
	const void *requests[CH_BATCH_CAP];
	struct ch_batch_item *results; /* one for each seat */
	size_t count;
	int64_t deadline_us;
};

static void take(struct ch_batcher *batcher, struct batch *batch, struct waiter *waiter)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a waiter is in the queue, which has a head */
	DL_DELETE(batcher->queue, waiter);
	batch->requests[batch->count] = waiter->item->request;
	batch->seats[batch->count] = waiter;
	waiter->seat = &batch->seats[batch->count];
	waiter->state = TAKEN;
	if (waiter->item->deadline_us > batch->deadline_us)
		batch->deadline_us = waiter->item->deadline_us;
	batch->count++;
}

/* The leader's own first, then the others of its group. With the lock held. */
static void fill(struct ch_batcher *batcher, struct batch *batch, struct waiter *leader)
{
	struct waiter *waiter, *next;

	batch->count = 0;
	batch->deadline_us = 0;
	take(batcher, batch, leader);
	DL_FOREACH_SAFE(batcher->queue, waiter, next)
	{
		if (batch->count == CH_BATCH_CAP)
			break;
		/* Who was given a slot takes along what is left. */
		if (waiter->state == QUEUED && strcmp(waiter->item->group, leader->item->group) == 0)
			take(batcher, batch, waiter);
	}
}

/* The slot goes to who waits longest, or is free again. With the lock held. */
static void hand_over(struct ch_batcher *batcher)
{
	struct waiter *waiter;

	DL_FOREACH(batcher->queue, waiter)
	if (waiter->state == QUEUED) {
		waiter->state = LEADS;
		sem_post(&waiter->wake);
		return;
	}
	batcher->under_way--;
}

/* With the lock held: from now on nobody of them leaves without its post. */
static void hand_out(struct batch *batch)
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
		waiter->state = ANSWERED;
	}
}

/* Without the lock, which who is woken needs next. The leader is awake. */
static void wake_all(const struct batch *batch, const struct waiter *leader)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->seats[i] && batch->seats[i] != leader)
			sem_post(&batch->seats[i]->wake);
}

/* With the lock held, which is given up at the end; a slot is this waiter's. */
static void lead(struct ch_batcher *batcher, struct waiter *leader)
{
	struct batch *batch = ch_alloc(sizeof(*batch));
	void *message;

	fill(batcher, batch, leader);
	batch->results = ch_alloc(batch->count * sizeof(*batch->results));
	/* Copied under the lock: afterwards whoever waits may leave, and its request with it. */
	message = batcher->options.copy(batcher->options.state, leader->item->group, batch->requests,
					batch->count);
	pthread_mutex_unlock(&batcher->lock);
	batcher->options.send(batcher->options.state, message, batch->deadline_us, batch->results,
			      batch->count);
	pthread_mutex_lock(&batcher->lock);
	hand_over(batcher);
	hand_out(batch);
	pthread_mutex_unlock(&batcher->lock);
	wake_all(batch, leader);
	free(batch->results);
	free(batch);
}

/* --- waiting --- */

/* With the lock held: what is under way or queued goes on without this waiter. */
static void leave(struct ch_batcher *batcher, struct waiter *waiter)
{
	if (waiter->state == TAKEN) {
		*waiter->seat = NULL;
	} else {
		DL_DELETE(batcher->queue, waiter);
		if (waiter->state == LEADS)
			hand_over(batcher);
	}
	ch_fail(&waiter->item->err, CH_UNAVAILABLE, "no answer in time");
	waiter->item->err.retryable = true;
}

/* True where it was woken, false where its deadline passed first. */
static bool wait_wake(struct waiter *waiter)
{
	int64_t deadline_us = waiter->item->deadline_us;
	struct timespec until = { deadline_us / CH_SECOND, deadline_us % CH_SECOND * 1000 };

	while (sem_clockwait(&waiter->wake, CLOCK_MONOTONIC, &until) != 0)
		if (errno != EINTR)
			return false;
	WOKEN_BY_POST(&waiter->wake);
	return true;
}

/* The deadline passed. An answer that was handed out at the same moment counts, and its post must be taken.
 */
static void give_up(struct ch_batcher *batcher, struct waiter *waiter)
{
	bool answered;

	pthread_mutex_lock(&batcher->lock);
	answered = waiter->state == ANSWERED;
	if (!answered)
		leave(batcher, waiter);
	pthread_mutex_unlock(&batcher->lock);
	while (answered && sem_wait(&waiter->wake) != 0)
		;
}

static bool enter(struct ch_batcher *batcher, struct waiter *waiter)
{
	DL_APPEND(batcher->queue, waiter);
	if (batcher->under_way == batcher->options.under_way)
		return false;
	batcher->under_way++;
	waiter->state = LEADS;
	return true;
}

static void serve(struct ch_batcher *batcher, struct waiter *waiter)
{
	bool leads;

	pthread_mutex_lock(&batcher->lock);
	leads = enter(batcher, waiter);
	if (!leads) {
		pthread_mutex_unlock(&batcher->lock);
		if (!wait_wake(waiter)) {
			give_up(batcher, waiter);
			return;
		}
		if (waiter->state == ANSWERED)
			return;
		pthread_mutex_lock(&batcher->lock);
	}
	lead(batcher, waiter);
}

bool ch_batcher_run(struct ch_batcher *batcher, struct ch_batch_item *item, struct ch_error *err)
{
	struct waiter waiter = { .item = item, .state = QUEUED };

	item->done = false;
	sem_init(&waiter.wake, 0, 0);
	serve(batcher, &waiter);
	sem_destroy(&waiter.wake);
	if (!item->done && err)
		*err = item->err;
	return item->done;
}
