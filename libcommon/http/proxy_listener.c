/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_listener.c: one thread that accepts from trusted proxies alone, reads the PROXY header of each
 * connection and hands the socket on to libmicrohttpd with the client's address. The sockets are polled
 * together, so a slow one delays nobody; each has a deadline, and there is a cap on how many may be waiting.
 * Started by ch_http_start.
 */
#include "http/internal.h"

#include "http/proxy_header.h"
#include "log/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HEADER_WITHIN (5 * CH_SECOND)
#define ACCEPT_PAUSE  50 /* ms, when the process has no descriptors left */

/* A connection whose header is not complete. All have the same time, so the oldest is the first to expire. */
struct pending {
	struct pending *next;
	struct pending *previous;
	int fd;
	int64_t deadline_us;
	struct sockaddr_storage peer;
	socklen_t peer_size;
};

struct http_proxy_listener { /* all but stop_fd: its thread alone */
	struct ch_http_server *server;
	pthread_t thread;
	int epoll_fd;
	int stop_fd;
	struct pending *first;
	struct pending *last;
	size_t count;
	size_t cap;
	bool accepting;          /* the listening socket is in the epoll set */
	int64_t paused_until_us; /* out of descriptors: do not try before */
};

static void unlink_pending(struct http_proxy_listener *listener, struct pending *pending)
{
	if (pending->previous)
		pending->previous->next = pending->next;
	else
		listener->first = pending->next;
	if (pending->next)
		pending->next->previous = pending->previous;
	else
		listener->last = pending->previous;
	listener->count--;
	free(pending);
}

static void refuse(struct http_proxy_listener *listener, struct pending *pending, const char *reason,
		   const struct ch_error *why)
{
	ch_log_warn("connection refused before its first request: %s", why->message);
	http_stats_refused(listener->server, reason);
	close(pending->fd); /* also leaves the epoll set */
	unlink_pending(listener, pending);
}

/* Takes the header's octets out of the socket, and no more. */
static bool consume(int fd, size_t size)
{
	uint8_t header[HTTP_PROXY_HEADER_CAP];

	return recv(fd, header, size, 0) == (ssize_t)size;
}

/* The library does not survive its own limit where connections are handed to it (0.9.75: its threads wait for
 * each other for ever when some end at that moment), so that is never reached. */
static bool is_full(const struct ch_http_server *server)
{
	return atomic_load(&server->connections) >= server->connection_limit;
}

static void hand_over(struct http_proxy_listener *listener, struct pending *pending,
		      const struct http_proxy_header *header)
{
	/* Copied, for `pending` ends here. LOCAL and UNKNOWN: the proxy speaks for itself (§2.1, §2.2). */
	struct sockaddr_storage address = header->has_client ? header->client : pending->peer;
	socklen_t size = header->has_client ? header->client_size : pending->peer_size;
	int fd = pending->fd;

	epoll_ctl(listener->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	unlink_pending(listener, pending);
	if (!consume(fd, header->size)) {
		close(fd);
		return;
	}
	if (is_full(listener->server)) {
		http_stats_refused(listener->server, "connection-limit");
		close(fd);
		return;
	}
	if (MHD_add_connection(listener->server->daemon, fd, (const struct sockaddr *)&address, size) !=
	    MHD_YES)
		http_stats_refused(listener->server, "connection-limit"); /* the socket is closed */
}

/* Edge-triggered: called when octets came, looks at all there are without taking them. */
static void look(struct http_proxy_listener *listener, struct pending *pending)
{
	uint8_t input[HTTP_PROXY_HEADER_CAP];
	struct http_proxy_header header;
	struct ch_error err;
	ssize_t got = recv(pending->fd, input, sizeof(input), MSG_PEEK | MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) { /* gone without a word: a port check */
		close(pending->fd);
		unlink_pending(listener, pending);
		return;
	}
	switch (http_proxy_header_read(ch_view(input, (size_t)got), &header, &err)) {
	case HTTP_PROXY_MORE:
		return;
	case HTTP_PROXY_DONE:
		hand_over(listener, pending, &header);
		return;
	case HTTP_PROXY_BAD:
		refuse(listener, pending, "proxy-header", &err);
		return;
	}
}

static void add_pending(struct http_proxy_listener *listener, int fd, const struct sockaddr_storage *peer,
			socklen_t peer_size)
{
	struct pending *pending = ch_alloc(sizeof(*pending));
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = pending };

	*pending = (struct pending){ .previous = listener->last,
				     .fd = fd,
				     .deadline_us = ch_monotonic_us() + HEADER_WITHIN,
				     .peer = *peer,
				     .peer_size = peer_size };
	if (listener->last)
		listener->last->next = pending;
	else
		listener->first = pending;
	listener->last = pending;
	listener->count++;
	if (epoll_ctl(listener->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		close(fd);
		unlink_pending(listener, pending);
	}
}

/* Who is no proxy and reaches the port could claim any client's address (proxy-protocol.txt §2: only trusted
 * proxies are to be allowed to use it). */
static void admit(struct http_proxy_listener *listener, int fd, const struct sockaddr_storage *peer,
		  socklen_t size)
{
	char text[64];

	if (http_networks_contain(&listener->server->trusted_proxies, (const struct sockaddr *)peer)) {
		add_pending(listener, fd, peer, size);
		return;
	}
	http_address_text((const struct sockaddr *)peer, text);
	ch_log_warn("connection refused before its first request: %s is not among trusted_proxies", text);
	http_stats_refused(listener->server, "proxy-peer");
	close(fd);
}

/* Watches the listening socket only while there is room for what it brings. */
static void set_accepting(struct http_proxy_listener *listener, bool accepting)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &listener->server->listen_fd };

	if (listener->accepting == accepting)
		return;
	epoll_ctl(listener->epoll_fd, accepting ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener->server->listen_fd,
		  &event);
	listener->accepting = accepting;
}

static void accept_some(struct http_proxy_listener *listener)
{
	for (int i = 0; i < 64 && listener->count < listener->cap; i++) {
		struct sockaddr_storage peer = CH_NONE;
		socklen_t size = sizeof(peer);
		int fd = accept4(listener->server->listen_fd, (struct sockaddr *)&peer, &size,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			admit(listener, fd, &peer, size);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			http_stats_refused(listener->server, "descriptors");
			listener->paused_until_us = ch_monotonic_us() + ACCEPT_PAUSE * CH_MILLISECOND;
		}
		return;
	}
}

static void expire(struct http_proxy_listener *listener)
{
	int64_t now = ch_monotonic_us();
	struct ch_error err;

	while (listener->first && listener->first->deadline_us <= now) {
		ch_fail(&err, CH_EXPIRED, "PROXY header: not complete within %d s",
			(int)(HEADER_WITHIN / CH_SECOND));
		refuse(listener, listener->first, "proxy-header", &err);
	}
}

static int wait_ms(const struct http_proxy_listener *listener)
{
	int64_t left;

	if (listener->paused_until_us > ch_monotonic_us())
		return ACCEPT_PAUSE;
	if (!listener->first)
		return -1;
	left = (listener->first->deadline_us - ch_monotonic_us()) / CH_MILLISECOND + 1;
	return left > 0 ? (int)left : 0;
}

static void *run(void *context)
{
	struct http_proxy_listener *listener = context;
	struct epoll_event events[64];

	for (;;) {
		int count = epoll_wait(listener->epoll_fd, events, (int)CH_COUNT(events), wait_ms(listener));

		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == &listener->stop_fd)
				return NULL;
			if (events[i].data.ptr == &listener->server->listen_fd)
				accept_some(listener);
			else
				look(listener, events[i].data.ptr);
		}
		expire(listener);
		set_accepting(listener, listener->count < listener->cap &&
						listener->paused_until_us <= ch_monotonic_us());
	}
}

static void listener_free(struct http_proxy_listener *listener)
{
	while (listener->first) {
		close(listener->first->fd);
		unlink_pending(listener, listener->first);
	}
	if (listener->epoll_fd >= 0)
		close(listener->epoll_fd);
	if (listener->stop_fd >= 0)
		close(listener->stop_fd);
	free(listener);
}

bool http_proxy_start(struct ch_http_server *server, size_t pending_cap, struct http_proxy_listener **out,
		      struct ch_error *err)
{
	struct http_proxy_listener *listener = ch_alloc(sizeof(*listener));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &listener->stop_fd };
	int number;

	listener->server = server;
	listener->cap = pending_cap;
	listener->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	listener->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (listener->epoll_fd < 0 || listener->stop_fd < 0 ||
	    epoll_ctl(listener->epoll_fd, EPOLL_CTL_ADD, listener->stop_fd, &event) != 0) {
		number = errno;
		listener_free(listener);
		return ch_fail_errno(err, CH_INTERNAL, number, "cannot poll for PROXY connections");
	}
	set_accepting(listener, true);
	number = pthread_create(&listener->thread, NULL, run, listener);
	if (number) {
		listener_free(listener);
		return ch_fail_errno(err, CH_INTERNAL, number, "cannot start the accepting thread");
	}
	*out = listener;
	return true;
}

void http_proxy_stop(struct http_proxy_listener *listener)
{
	uint64_t one = 1;
	ssize_t ignored;

	if (!listener)
		return;
	ignored = write(listener->stop_fd, &one, sizeof(one));
	(void)ignored;
	pthread_join(listener->thread, NULL);
	listener_free(listener);
}
