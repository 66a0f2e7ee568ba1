/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c: the listening end: a rep socket and worker threads, each with its own context, so that a slow
 * handler holds up nobody but itself.
 */
#include "bus/internal.h"

#include <arpa/inet.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/tls/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GOODBYE                                                                                    \
	(100 * CH_MILLISECOND) /* for callers to be told to go elsewhere, before the socket closes \
				*/
#define REPLY_PATIENCE_MS 5000 /* for a caller to take its reply */
#define IDLE              (2 * CH_MINUTE)       /* daemons ping each other every two seconds */
#define LAST_REPLIES      (50 * CH_MILLISECOND) /* for replies that nng took but the network has not */

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
	struct ch_bus_callers *callers;
	struct ch_identity *identity;
	struct ch_metric *not_taken; /* NULL: not counted */
	nng_socket socket;
	nng_listener listener;
	struct ch_bus_tls tls; /* of the thread that starts it, then of the one that reloads identities */
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

static void tell_not_taken(const struct ch_bus_server *server, const char *address)
{
	if (server->not_taken)
		ch_metric_add(server->not_taken, 1);
	ch_log_warn("bus: a caller at %s took no reply for %d s: its connection is closed", address,
		    REPLY_PATIENCE_MS / 1000);
}

/* A caller that does not take its reply loses its connection: it would keep a worker for as long as it likes.
 */
static void send_reply(struct worker *worker, nng_pipe caller, const char *address, struct ch_view reply)
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
	if (nng_aio_result(worker->send) == NNG_ETIMEDOUT && nng_pipe_close(caller) == 0)
		tell_not_taken(worker->server, address);
}

/* Of the other end of the connection that it came by; "" where it is gone already. */
static void address_of(nng_msg *request, char text[INET6_ADDRSTRLEN])
{
	nng_sockaddr at;

	text[0] = 0;
	if (nng_pipe_get_addr(nng_msg_get_pipe(request), NNG_OPT_REMADDR, &at) != 0)
		return;
	if (at.s_family == NNG_AF_INET)
		inet_ntop(AF_INET, &at.s_in.sa_addr, text, INET6_ADDRSTRLEN);
	else if (at.s_family == NNG_AF_INET6)
		inet_ntop(AF_INET6, &at.s_in6.sa_addr, text, INET6_ADDRSTRLEN);
}

static void *work(void *context)
{
	struct worker *worker = context;
	nng_msg *request = NULL;

	while (receive(worker, &request)) {
		CH_AUTO(ch_bytes) reply = CH_NONE;
		char address[INET6_ADDRSTRLEN];
		nng_pipe caller = nng_msg_get_pipe(request);
		struct ch_error err = CH_NONE;
		bool sealed;

		ch_bus_callers_heard(worker->server->callers, caller);
		address_of(request, address);
		sealed = ch_bus_dispatch(worker->server->dispatcher,
					 ch_view(nng_msg_body(request), nng_msg_len(request)), address,
					 &reply, &err);
		nng_msg_free(request);
		if (sealed)
			send_reply(worker, caller, address, ch_view_of(&reply));
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
	if (result == 0)
		nng_aio_set_timeout(worker->send, REPLY_PATIENCE_MS);
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
		      struct ch_error *err)
{
	CH_AUTO(ch_string) url = ch_format("tls+tcp://%s", options->listen->listen);
	int result = nng_listener_create(&server->listener, server->socket, url);

	if (result == 0)
		result = nng_listener_set_ptr(server->listener, NNG_OPT_TLS_CONFIG, server->tls.current);
	if (result == 0)
		result = nng_listener_start(server->listener, 0);
	if (result != 0)
		return ch_bus_fail_nng(err, result, "bus cannot listen on '%s'", options->listen->listen);
	return true;
}

bool ch_bus_server_start(const struct ch_bus_server_options *options, struct ch_bus_server **server,
			 struct ch_error *err)
{
	struct ch_bus_server *made = ch_alloc(sizeof(*made));
	size_t workers = options->listen->workers > 0 ? (size_t)options->listen->workers : 1;
	int result = nng_tls_register();
	bool started;

	ch_bus_limit_threads();
	made->dispatcher = ch_bus_dispatcher_new(options);
	made->callers = ch_bus_callers_new(options->idle_us ? options->idle_us : IDLE, options->metrics);
	made->identity = options->identity;
	if (options->metrics)
		made->not_taken = ch_metrics_counter(
			options->metrics, "chancery_bus_replies_not_taken_total",
			"Connections closed because their callers took no reply in time.", "");
	made->workers = ch_alloc(workers * sizeof(*made->workers));
	if (result == 0)
		result = nng_rep0_open(&made->socket);
	made->open = result == 0;
	if (result == 0)
		result = nng_pipe_notify(made->socket, NNG_PIPE_EV_ADD_POST, ch_bus_callers_event,
					 made->callers);
	if (result == 0)
		result = nng_pipe_notify(made->socket, NNG_PIPE_EV_REM_POST, ch_bus_callers_event,
					 made->callers);
	/* An envelope a little over the largest cap still gets an answer; what is larger loses its
	 * connection. */
	if (result == 0)
		result = nng_socket_set_size(made->socket, NNG_OPT_RECVMAXSZ,
					     ch_bus_dispatcher_cap(made->dispatcher) + 1024 * 1024);
	started = result == 0 ? ch_bus_tls_config(options->identity, NULL, &made->tls.current, err)
			      : ch_bus_fail_nng(err, result, "bus socket");
	for (size_t i = 0; started && i < workers; i++) {
		made->worker_count++;
		started = start_worker(made, &made->workers[i], err);
	}
	if (!started || !listen_on(made, options, err)) {
		ch_bus_server_stop(made, 0);
		return false;
	}
	ch_identity_observe(options->identity, ch_bus_server_renew, made);
	ch_log_info("bus listens on %s with %zu workers", options->listen->listen, workers);
	*server = made;
	return true;
}

/* nng has set up the next connection to come with the TLS of before; those after it have the new. */
void ch_bus_server_renew(void *context)
{
	struct ch_bus_server *server = context;
	struct ch_error err = CH_NONE;
	nng_tls_config *fresh = NULL;
	int result;

	if (!ch_bus_tls_config(server->identity, NULL, &fresh, &err)) {
		ch_log_error("bus: the listening socket keeps the identity of before: %s", err.message);
		return;
	}
	result = nng_listener_set_ptr(server->listener, NNG_OPT_TLS_CONFIG, fresh);
	if (result != 0)
		ch_log_error("bus: the listening socket keeps the identity of before: %s",
			     nng_strerror(result));
	if (server->tls.before)
		nng_tls_config_free(server->tls.before);
	server->tls.before = server->tls.current;
	server->tls.current = fresh;
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

static void join_workers(struct ch_bus_server *server)
{
	for (size_t i = 0; i < server->worker_count; i++)
		if (server->workers[i].running) /* its calls have deadlines of their own */
			pthread_join(server->workers[i].thread, NULL);
}

static void pause_for(int64_t time_us)
{
	nanosleep(&(struct timespec){ 0, time_us * 1000 }, NULL);
}

void ch_bus_server_stop(struct ch_bus_server *server, int64_t drain_us)
{
	size_t late;

	if (!server)
		return;
	ch_identity_ignore(server->identity, server);
	/* 1. What is being handled ends; who asks meanwhile is told at once to ask another replica. */
	late = ch_bus_dispatcher_drain(server->dispatcher, drain_us);
	if (late)
		ch_log_warn("bus: %zu requests are still being handled after the drain time", late);
	pause_for(drain_us < GOODBYE ? drain_us : GOODBYE);
	/* 2. Nothing is taken any more; the last replies leave, then the connections close. */
	stop_taking(server);
	wake_idle(server);
	join_workers(server);
	if (server->worker_count)
		pause_for(LAST_REPLIES);
	for (size_t i = 0; i < server->worker_count; i++) {
		nng_aio_free(server->workers[i].receive);
		nng_aio_free(server->workers[i].send);
		nng_ctx_close(server->workers[i].context);
		pthread_mutex_destroy(&server->workers[i].lock);
	}
	if (!server->open || ch_bus_close_socket(server->socket))
		ch_bus_callers_free(server->callers);
	else
		ch_bus_callers_leave(server->callers);
	ch_bus_tls_free(&server->tls);
	ch_bus_dispatcher_free(server->dispatcher);
	free(server->workers);
	free(server);
}
