/* SPDX-License-Identifier: Apache-2.0 */
/* http_bench.c: the listener, its handlers and the sockets of http_bench.h. */
#include "http_bench.h"

#include "clock/clock.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static enum ch_http_result say_hello(void *state, struct ch_http_request *request,
				     struct ch_http_response *response)
{
	ch_http_respond_text(response, 200, "text/plain", "hello");
	ch_http_add_header(response, "X-Client", ch_http_client_address(request));
	ch_http_add_header(response, "X-Trace", ch_http_trace_id(request));
	return CH_HTTP_DONE;
}

static enum ch_http_result say_name(void *state, struct ch_http_request *request,
				    struct ch_http_response *response)
{
	const char *query = ch_http_query(request, "q");

	ch_http_respond_text(response, 200, "text/plain", ch_http_parameter(request, "name"));
	ch_http_add_header(response, "X-Query", query ? query : "none");
	return CH_HTTP_DONE;
}

static enum ch_http_result echo(void *state, struct ch_http_request *request,
				struct ch_http_response *response)
{
	ch_http_respond(response, 200, "application/octet-stream", ch_bytes_copy(ch_http_body(request)));
	return CH_HTTP_DONE;
}

static void count_release(void *context)
{
	atomic_fetch_add((atomic_int *)context, 1);
}

static enum ch_http_result give_shared(void *state, struct ch_http_request *request,
				       struct ch_http_response *response)
{
	struct bench *bench = state;

	ch_http_respond_shared(response, 200, "text/plain", ch_view_text("shared"), count_release,
			       &bench->released);
	return CH_HTTP_DONE;
}

static enum ch_http_result later(void *state, struct ch_http_request *request,
				 struct ch_http_response *response)
{
	return CH_HTTP_LATER;
}

static void answer_slowly(void *state, struct ch_http_request *request, struct ch_http_response *response)
{
	struct bench *bench = state;

	atomic_fetch_add(&bench->slow_started, 1);
	pthread_mutex_lock(&bench->gate);
	pthread_mutex_unlock(&bench->gate);
	ch_http_respond_text(response, 200, "text/plain", "at last");
}

static void answer_nothing(void *state, struct ch_http_request *request, struct ch_http_response *response)
{
}

static void answer_error(void *state, struct ch_http_request *request, struct ch_http_response *response)
{
	struct ch_error err;

	ch_fail(&err, CH_UNAVAILABLE, "no \"answer\" from \xff the vault");
	err.retry_after_ms = 1500;
	ch_http_respond_error(response, request, &err);
}

static enum ch_http_result own_error(void *state, struct ch_http_request *request,
				     struct ch_http_response *response)
{
	ch_http_respond_text(response, 200, "application/ocsp-response", "too big");
	return CH_HTTP_DONE;
}

const struct ch_http_route bench_routes[BENCH_ROUTES] = {
	{ "GET", "/hello", 0, say_hello, NULL, NULL },
	{ "GET", "/names/{name}", 0, say_name, NULL, NULL },
	{ "POST", "/echo", 1000, echo, NULL, NULL },
	{ "POST", "/own", 10, echo, NULL, own_error },
	{ "GET", "/shared", 0, give_shared, NULL, NULL },
	{ "GET", "/slow", 0, later, answer_slowly, NULL },
	{ "GET", "/nothing", 0, NULL, answer_nothing, NULL },
	{ "GET", "/fail", 0, NULL, answer_error, NULL },
};

struct bench *bench_start(void (*adjust)(struct ch_http_config *config))
{
	struct bench *bench = ch_alloc(sizeof(*bench));
	struct ch_http_config config = { .listen = "127.0.0.1:0",
					 .threads = 2,
					 .workers = 2,
					 .queue = 2,
					 .connection_limit = 64,
					 .idle_us = 20 * CH_SECOND,
					 .request_us = 20 * CH_SECOND };
	struct ch_http_options options = { .config = &config,
					   .routes = bench_routes,
					   .route_count = BENCH_ROUTES,
					   .state = bench,
					   .name = "test" };
	struct ch_error err;

	if (adjust)
		adjust(&config);
	pthread_mutex_init(&bench->gate, NULL);
	bench->metrics = ch_metrics_new();
	options.metrics = bench->metrics;
	if (!ch_http_start(&options, &bench->server, &err))
		fail_msg("%s", err.message);
	return bench;
}

void bench_stop(struct bench *bench)
{
	ch_http_stop(bench->server, 5 * CH_SECOND);
	ch_metrics_free(bench->metrics);
	pthread_mutex_destroy(&bench->gate);
	free(bench);
}

int dial_from(const struct bench *bench, in_addr_t from)
{
	struct sockaddr_in source = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(from) };
	const char *colon = strrchr(ch_http_address(bench->server), ':');
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) != 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int dial(const struct bench *bench)
{
	return dial_from(bench, INADDR_LOOPBACK);
}

void put(int fd, const void *data, size_t size)
{
	while (size) {
		ssize_t done = send(fd, data, size, MSG_NOSIGNAL);

		if (done <= 0)
			return; /* the server may have hung up: what it said is read next */
		data = (const char *)data + done;
		size -= (size_t)done;
	}
}

/* Reads until the peer closes, or `until` is found; at most 10 s. The caller frees it. */
char *get(int fd, const char *until)
{
	struct ch_buffer text = CH_NONE;
	int64_t deadline = ch_monotonic_us() + 10 * CH_SECOND;

	while (ch_monotonic_us() < deadline) {
		struct pollfd poll_fd = { fd, POLLIN, 0 };
		char *room = (char *)ch_buffer_reserve(&text, 4097);
		ssize_t got;

		poll(&poll_fd, 1, 100);
		got = recv(fd, room, 4096, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && poll_fd.revents & (POLLERR | POLLHUP)))
			break;
		if (got < 0)
			continue;
		text.used += (size_t)got;
		text.data[text.used] = 0;
		if (until && strstr((char *)text.data, until))
			break;
	}
	return ch_buffer_steal_text(&text);
}

/* One request on a connection of its own. */
char *ask(const struct bench *bench, const char *request)
{
	CH_AUTO(ch_fd) fd = dial(bench);

	put(fd, request, strlen(request));
	return get(fd, NULL);
}

uint64_t refused(const struct bench *bench, const char *reason)
{
	CH_AUTO(ch_string) labels = ch_format("listener=\"test\",reason=\"%s\"", reason);

	return ch_metric_value(ch_metrics_counter(bench->metrics, "chancery_http_refused_total", "", labels));
}
