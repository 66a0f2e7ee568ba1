/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads.c: how many threads nng runs its callbacks on. nng 1.5 starts two for each processor and wakes one
 * for each step of a message, of which a TLS connection takes one at a time anyway: most of what a small
 * message costs is threads that wake each other (docs/performance.md). nng 1.5 has no call to set the number,
 * so callbacks that do not return keep the surplus asleep. client.c and server.c call this at start.
 */
#include "bus/internal.h"

#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_CAP   16              /* NNG_MAX_TASKQ_THREADS of nng 1.5 */
#define ANSWER_WITHIN (1 * CH_SECOND) /* a thread that is left answers in microseconds */

/* nng's threads that sleep; as long as the process, as nng's threads are. */
struct surplus {
	nng_aio *aios[THREADS_CAP];
	size_t count;
	sem_t release; /* posted only where too many sleep */
};

static void stay(void *context)
{
	struct surplus *surplus = context;

	while (sem_wait(&surplus->release) != 0)
		;
}

static void answer(void *context)
{
	sem_post(context);
}

/* Has one of nng's threads run `callback`. */
static bool run(void (*callback)(void *), void *context, nng_aio **aio)
{
	if (nng_aio_alloc(aio, callback, context) != 0)
		return false;
	if (nng_aio_begin(*aio))
		nng_aio_finish(*aio, 0);
	return true;
}

/* nng's threads take callbacks in order: this one after all that stay. Where none is left for it (another
 * version may have started fewer), all go on. */
static void keep_one_awake(struct surplus *surplus)
{
	int64_t until_us = ch_monotonic_us() + ANSWER_WITHIN;
	struct timespec until = { until_us / CH_SECOND, until_us % CH_SECOND * 1000 };
	sem_t answered;
	nng_aio *aio;
	bool awake = false;

	sem_init(&answered, 0, 0);
	if (run(answer, &answered, &aio)) {
		awake = sem_clockwait(&answered, CLOCK_MONOTONIC, &until) == 0;
		for (size_t i = 0; !awake && i < surplus->count; i++)
			sem_post(&surplus->release);
		nng_aio_free(aio); /* when its callback has run */
	}
	sem_destroy(&answered);
}

/* What nng 1.5 starts is min(2 n, 16) for n processors; n / 2 stay awake, and one at least. */
static size_t surplus_of(long processors)
{
	size_t count = processors > 1 ? (size_t)processors : 1;
	size_t awake = count > 3 ? count / 2 : 1;
	size_t started = 2 * count < THREADS_CAP ? 2 * count : THREADS_CAP;

	return started > awake ? started - awake : 0;
}

static void limit(void)
{
	size_t count = surplus_of(sysconf(_SC_NPROCESSORS_ONLN));
	struct surplus *surplus;

	if (strncmp(nng_version(), "1.5.", 4) != 0)
		return; /* nothing is known of how it starts threads */
	surplus = ch_alloc(sizeof(*surplus));
	sem_init(&surplus->release, 0, 0);
	while (surplus->count < count && run(stay, surplus, &surplus->aios[surplus->count]))
		surplus->count++;
	keep_one_awake(surplus);
}

void ch_bus_limit_threads(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, limit);
}
