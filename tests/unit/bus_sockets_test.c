/* SPDX-License-Identifier: Apache-2.0 */
/* bus_sockets_test.c: what the bus makes of nng itself: how many of its threads are awake, and a socket that
 * it does not close in time. */
#include "bus/internal.h"

#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/transport/tls/tls.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLBACKS 64
#define NOTED_MS  2 /* so that any other thread that is awake takes the next callback */

/* Which threads ran callbacks; nng has no other way to tell. */
struct seen {
	pthread_mutex_t lock;
	pthread_t threads[CALLBACKS];
	size_t count;
};

static void note_thread(void *context)
{
	struct seen *seen = context;
	size_t i = 0;

	pthread_mutex_lock(&seen->lock);
	while (i < seen->count && !pthread_equal(seen->threads[i], pthread_self()))
		i++;
	if (i == seen->count)
		seen->threads[seen->count++] = pthread_self();
	pthread_mutex_unlock(&seen->lock);
	nanosleep(&(struct timespec){ 0, NOTED_MS * 1000000 }, NULL);
}

static void most_of_nngs_threads_sleep(void **state)
{
	struct seen seen = { .lock = PTHREAD_MUTEX_INITIALIZER };
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	nng_aio *aios[CALLBACKS];

	(void)state;
	assert_int_equal(nng_tls_register(), 0);
	ch_bus_limit_threads();
	for (size_t i = 0; i < CALLBACKS; i++) {
		assert_int_equal(nng_aio_alloc(&aios[i], note_thread, &seen), 0);
		assert_true(nng_aio_begin(aios[i]));
		nng_aio_finish(aios[i], 0);
	}
	for (size_t i = 0; i < CALLBACKS; i++)
		nng_aio_free(aios[i]);
	assert_in_range(seen.count, 1, processors > 3 ? processors / 2 : 1);
}

/* --- a connection whose end nng's reaper waits for --- */

struct held {
	sem_t connected, reaping, release;
};

static void note_connected(nng_pipe pipe, nng_pipe_ev event, void *context)
{
	struct held *held = context;

	(void)pipe;
	(void)event;
	sem_post(&held->connected);
}

static void hold_reaper(nng_pipe pipe, nng_pipe_ev event, void *context)
{
	struct held *held = context;

	(void)pipe;
	(void)event;
	sem_post(&held->reaping);
	while (sem_wait(&held->release) != 0)
		;
}

static void connect_pair(const char *url, struct held *held, nng_socket *server, nng_socket *client)
{
	assert_int_equal(nng_rep0_open(server), 0);
	assert_int_equal(nng_req0_open(client), 0);
	if (held) {
		assert_int_equal(nng_pipe_notify(*server, NNG_PIPE_EV_ADD_POST, note_connected, held), 0);
		assert_int_equal(nng_pipe_notify(*server, NNG_PIPE_EV_REM_POST, hold_reaper, held), 0);
	}
	assert_int_equal(nng_listen(*server, url, NULL, 0), 0);
	assert_int_equal(nng_dial(*client, url, NULL, 0), 0);
}

static void a_socket_that_ends_is_closed_at_once(void **state)
{
	nng_socket server, client;

	(void)state;
	connect_pair("inproc://ends", NULL, &server, &client);
	assert_true(ch_bus_close_socket(client));
	assert_true(ch_bus_close_socket(server));
}

/* Last: there is one reaper for the process. */
static void a_socket_that_does_not_end_is_left_in_time(void **state)
{
	static struct held held; /* nng may come back to it after the test */
	nng_socket server, client;

	(void)state;
	sem_init(&held.connected, 0, 0);
	sem_init(&held.reaping, 0, 0);
	sem_init(&held.release, 0, 0);
	connect_pair("inproc://stays", &held, &server, &client);
	sem_wait(&held.connected);
	assert_false(ch_bus_close_socket(server));
	sem_wait(&held.reaping);
	assert_false(ch_bus_close_socket(
		client)); /* the reaper is held for all of them, and by now that is known */
	sem_post(&held.release);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(most_of_nngs_threads_sleep),
		cmocka_unit_test(a_socket_that_ends_is_closed_at_once),
		cmocka_unit_test(a_socket_that_does_not_end_is_left_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
