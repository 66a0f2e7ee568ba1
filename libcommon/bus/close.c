/* SPDX-License-Identifier: Apache-2.0 */
/*
 * close.c: the end of a socket. nng 1.5 does not always reach it: where a receive begins on a TLS connection
 * at the moment in which that is closed, nothing ends the receive any more, and nng's reaper waits for it,
 * and nng_close for the reaper (docs/decisions/0013). server.c and replica.c call this.
 */
#include "bus/internal.h"

#include "clock/clock.h"
#include "log/log.h"
#include "mem/mem.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define PATIENCE_US     (3 * CH_SECOND)        /* a close that ends takes milliseconds */
#define NO_MORE_HOPE_US (100 * CH_MILLISECOND) /* once one did not: there is one reaper for all */

/* Of the thread that closes and the one that waits: who comes last frees it. */
struct closing {
	nng_socket socket;
	sem_t closed;
	atomic_bool done; /* says what `closed` does: ThreadSanitizer does not know sem_clockwait */
	atomic_int holders;
};

static void release(struct closing *closing)
{
	if (atomic_fetch_sub(&closing->holders, 1) > 1)
		return;
	sem_destroy(&closing->closed);
	free(closing);
}

static void *close_it(void *context)
{
	struct closing *closing = context;

	nng_close(closing->socket);
	atomic_store(&closing->done, true);
	sem_post(&closing->closed);
	release(closing);
	return NULL;
}

static bool await(struct closing *closing)
{
	static atomic_bool stuck; /* of the process, as nng's reaper is */
	int64_t until_us = ch_monotonic_us() + (atomic_load(&stuck) ? NO_MORE_HOPE_US : PATIENCE_US);
	struct timespec until = { until_us / CH_SECOND, until_us % CH_SECOND * 1000 };

	if (sem_clockwait(&closing->closed, CLOCK_MONOTONIC, &until) == 0)
		return atomic_load(&closing->done);
	if (!atomic_exchange(&stuck, true))
		ch_log_warn("bus: nng does not end a connection; it is left to the end of the process");
	return false;
}

bool ch_bus_close_socket(nng_socket socket)
{
	struct closing *closing = ch_alloc(sizeof(*closing));
	pthread_t thread;
	bool closed;

	closing->socket = socket;
	sem_init(&closing->closed, 0, 0);
	atomic_init(&closing->done, false);
	atomic_init(&closing->holders, 2);
	if (pthread_create(&thread, NULL, close_it, closing) != 0) {
		close_it(closing);
		release(closing);
		return true;
	}
	pthread_detach(thread);
	closed = await(closing);
	release(closing);
	return closed;
}
