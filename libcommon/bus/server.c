/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c: the listening end: a rep socket and worker threads, each with its own context, so that a slow
 * handler holds up nobody but itself.
 */
#include "bus/internal.h"

#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/tls/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LAST_REPLIES (50 * CH_MILLISECOND) /* for replies that nng took but the network has not */

struct worker {
	struct ch_bus_server *server;
	pthread_t thread;
	bool running;
	nng_ctx context;
	nng_aio *receive, *send; /* apart, so that stopping cuts no reply */
	pthread_mutex_t lock;    /* orders "start to receive" against "stop" */
	bool stopping;
};

struct ch_bus_server {
	struct ch_bus_dispatcher *dispatcher;
	nng_socket socket;
	bool open;
	struct worker *workers;
	size_t worker_count;
};

/* --- a worker ----------------------------------------------------------------------------------------------
 */

static bool receive(struct worker *worker, nng_msg **request)
{
	pthread_mutex_lock(&worker->lock);
	if (worker->stopping) {
		pthread_mutex_unlock(&worker->lock);
		return false;
	}
	nng_ctx_recv(worker->context, worker->receive);
	pthread_mutex_unlock(&worker->lock);
	nng_aio_wait(worker->receive);
	if (nng_aio_result(worker->receive) != 0)
		return false;
	*request = nng_aio_get_msg(worker->receive);
	return true;
}

static void send_reply(struct worker *worker, struct ch_view reply)
{
	nng_msg *message = NULL;

	if (nng_msg_alloc(&message, 0) != 0 || nng_msg_append(message, reply.data, reply.size) != 0) {
		nng_msg_free(message);
		ch_log_error("bus: no memory for a reply of %zu octets", reply.size);
		return;
	}
	nng_aio_set_msg(worker->send, message);
	nng_ctx_send(worker->context, worker->send);
	nng_aio_wait(worker->send);
	if (nng_aio_result(worker->send) != 0) { /* its caller has gone */
		nng_msg_free(nng_aio_get_msg(worker->send));
		nng_aio_set_msg(worker->send, NULL);
	}
}

static void *work(void *context)
{
	struct worker *worker = context;
	nng_msg *request = NULL;

	while (receive(worker, &request)) {
		CH_AUTO(ch_bytes) reply = CH_NONE;
		struct ch_error err = CH_NONE;
		bool sealed =
			ch_bus_dispatch(worker->server->dispatcher,
					ch_view(nng_msg_body(request), nng_msg_len(request)), &reply, &err);

		nng_msg_free(request);
		if (sealed)
			send_reply(worker, ch_view_of(&reply));
		else
			ch_log_error("bus: no reply could be made: %s", err.message);
	}
	return NULL;
}

static bool start_worker(struct ch_bus_server *server, struct worker *worker, struct ch_error *err)
{
	int result = nng_ctx_open(&worker->context, server->socket);

	worker->server = server;
	pthread_mutex_init(&worker->lock, NULL);
	if (result == 0)
		result = nng_aio_alloc(&worker->receive, NULL, NULL);
	if (result == 0)
		result = nng_aio_alloc(&worker->send, NULL, NULL);
	if (result != 0)
		return ch_bus_fail_nng(err, result, "bus worker");
	result = pthread_create(&worker->thread, NULL, work, worker);
	if (result != 0)
		return ch_fail_errno(err, CH_INTERNAL, result, "bus worker thread");
	worker->running = true;
	return true;
}

/* --- start and stop ----------------------------------------------------------------------------------------
 */

static bool listen_on(struct ch_bus_server *server, const struct ch_bus_server_options *options,
		      nng_tls_config *tls, struct ch_error *err)
{
	CH_AUTO(ch_string) url = ch_format("tls+tcp://%s", options->listen->listen);
	nng_listener listener;
	int result = nng_listener_create(&listener, server->socket, url);

	if (result == 0)
		result = nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, tls);
	if (result == 0)
		result = nng_listener_start(listener, 0);
	if (result != 0)
		return ch_bus_fail_nng(err, result, "bus cannot listen on '%s'", options->listen->listen);
	return true;
}

bool ch_bus_server_start(const struct ch_bus_server_options *options, struct ch_bus_server **server,
			 struct ch_error *err)
{
	struct ch_bus_server *made = ch_alloc(sizeof(*made));
	CH_AUTO(tls_config) tls = NULL;
	size_t workers = options->listen->workers > 0 ? (size_t)options->listen->workers : 1;
	int result = nng_tls_register();
	bool started;

	ch_bus_limit_threads();
	made->dispatcher = ch_bus_dispatcher_new(options);
	made->workers = ch_alloc(workers * sizeof(*made->workers));
	if (result == 0)
		result = nng_rep0_open(&made->socket);
	made->open = result == 0;
	/* An envelope a little over the largest cap still gets an answer; what is larger loses its
	 * connection. */
	if (result == 0)
		result = nng_socket_set_size(made->socket, NNG_OPT_RECVMAXSZ,
					     ch_bus_dispatcher_cap(made->dispatcher) + 1024 * 1024);
	started = result == 0 ? ch_bus_tls_config(options->identity_files, NULL, &tls, err)
			      : ch_bus_fail_nng(err, result, "bus socket");
	for (size_t i = 0; started && i < workers; i++) {
		made->worker_count++;
		started = start_worker(made, &made->workers[i], err);
	}
	if (!started || !listen_on(made, options, tls, err)) {
		ch_bus_server_stop(made, 0);
		return false;
	}
	ch_log_info("bus listens on %s with %zu workers", options->listen->listen, workers);
	*server = made;
	return true;
}

static void stop_taking(struct ch_bus_server *server)
{
	for (size_t i = 0; i < server->worker_count; i++) {
		struct worker *worker = &server->workers[i];

		pthread_mutex_lock(&worker->lock);
		worker->stopping = true;
		pthread_mutex_unlock(&worker->lock);
	}
}

/* Ends the receiving of idle workers. One that is in a handler goes on and sees `stopping` afterwards. */
static void wake_idle(struct ch_bus_server *server)
{
	for (size_t i = 0; i < server->worker_count; i++)
		if (server->workers[i].running)
			nng_aio_abort(server->workers[i].receive, NNG_ECANCELED);
}

static void join_workers(struct ch_bus_server *server, int64_t drain_us)
{
	int64_t deadline_us = ch_clock_now_us(ch_clock_system()) + drain_us;
	struct timespec deadline = { deadline_us / CH_SECOND, deadline_us % CH_SECOND * 1000 };
	size_t late = 0;

	for (size_t i = 0; i < server->worker_count; i++)
		if (server->workers[i].running &&
		    pthread_timedjoin_np(server->workers[i].thread, NULL, &deadline) == 0)
			server->workers[i].running = false;
		else
			late += server->workers[i].running;
	if (late)
		ch_log_warn("bus: %zu requests are still being handled after the drain time", late);
	for (size_t i = 0; i < server->worker_count; i++)
		if (server->workers[i].running) /* its calls have deadlines of their own */
			pthread_join(server->workers[i].thread, NULL);
}

void ch_bus_server_stop(struct ch_bus_server *server, int64_t drain_us)
{
	if (!server)
		return;
	stop_taking(server);
	wake_idle(server);
	join_workers(server, drain_us);
	if (server->worker_count)
		nanosleep(&(struct timespec){ 0, LAST_REPLIES * 1000 }, NULL);
	for (size_t i = 0; i < server->worker_count; i++) {
		nng_aio_free(server->workers[i].receive);
		nng_aio_free(server->workers[i].send);
		nng_ctx_close(server->workers[i].context);
		pthread_mutex_destroy(&server->workers[i].lock);
	}
	if (server->open && !ch_bus_close_socket(server->socket))
		ch_log_debug("bus: the listening socket stays open; it calls nothing of ours");
	ch_bus_dispatcher_free(server->dispatcher);
	free(server->workers);
	free(server);
}
