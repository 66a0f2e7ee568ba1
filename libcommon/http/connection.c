/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.c: what is remembered of each connection, and the thread that ends those past their deadline.
 * libmicrohttpd's own time-out restarts with every octet; this one does not, so dripping a request ends too.
 */
#include "http/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WATCH_INTERVAL (500 * CH_MILLISECOND)

void http_connection_expect(struct http_connection *connection, int64_t within_us)
{
	atomic_store_explicit(&connection->deadline_us, within_us ? ch_monotonic_us() + within_us : 0,
			      memory_order_relaxed);
}

static void opened(struct ch_http_server *server, struct MHD_Connection *mhd, void **context)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http_connection *connection = ch_alloc(sizeof(*connection));

	connection->fd = info ? info->connect_fd : -1;
	http_connection_expect(connection, server->request_us);
	pthread_mutex_lock(&server->watch.lock);
	connection->next = server->watch.first;
	if (connection->next)
		connection->next->previous = connection;
	server->watch.first = connection;
	pthread_mutex_unlock(&server->watch.lock);
	ch_metric_change(server->stats.connections, 1);
	atomic_fetch_add(&server->connections, 1);
	*context = connection;
}

/* libmicrohttpd calls it before it closes the socket, so the watch never shuts down another's descriptor. */
static void closed(struct ch_http_server *server, struct http_connection *connection)
{
	pthread_mutex_lock(&server->watch.lock);
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		server->watch.first = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	pthread_mutex_unlock(&server->watch.lock);
	ch_metric_change(server->stats.connections, -1);
	if (atomic_fetch_sub(&server->connections, 1) == 1)
		http_drained(server);
	if (server->tls_on && !connection->seen_request)
		http_stats_refused(server, "no-request"); /* mostly a handshake that failed */
	free(connection);
}

void http_on_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
			enum MHD_ConnectionNotificationCode code)
{
	struct ch_http_server *server = context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		opened(server, mhd, socket_context);
	else if (*socket_context)
		closed(server, *socket_context);
}

static void end_overdue(struct ch_http_server *server)
{
	int64_t now = ch_monotonic_us();

	for (struct http_connection *c = server->watch.first; c; c = c->next) {
		int64_t deadline = atomic_load_explicit(&c->deadline_us, memory_order_relaxed);

		if (!deadline || deadline > now)
			continue;
		atomic_store_explicit(&c->deadline_us, 0, memory_order_relaxed);
		shutdown(c->fd, SHUT_RDWR); /* its event thread sees the end and cleans up */
		http_stats_refused(server, "timeout");
	}
}

static void *watch(void *context)
{
	struct ch_http_server *server = context;
	struct http_watch *self = &server->watch;

	pthread_mutex_lock(&self->lock);
	while (!self->stopping) {
		struct timespec until;
		int64_t at = ch_monotonic_us() + WATCH_INTERVAL;

		until.tv_sec = at / CH_SECOND;
		until.tv_nsec = at % CH_SECOND * 1000;
		pthread_cond_timedwait(&self->wake, &self->lock, &until);
		end_overdue(server);
	}
	pthread_mutex_unlock(&self->lock);
	return NULL;
}

bool http_watch_start(struct http_watch *self, struct ch_http_server *server, struct ch_error *err)
{
	int number = pthread_create(&self->thread, NULL, watch, server);

	if (number)
		return ch_fail_errno(err, CH_INTERNAL, number, "cannot start the connection watch");
	self->started = true;
	return true;
}

void http_watch_stop(struct http_watch *self)
{
	if (!self->started)
		return;
	pthread_mutex_lock(&self->lock);
	self->stopping = true;
	pthread_cond_signal(&self->wake);
	pthread_mutex_unlock(&self->lock);
	pthread_join(self->thread, NULL);
	self->started = false;
}
