/* SPDX-License-Identifier: Apache-2.0 */
/* http_server_test.c: a listener on loopback, spoken to with plain sockets. */
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

static bool wait_for(atomic_int *value, int wanted)
{
	int64_t deadline = ch_monotonic_us() + 10 * CH_SECOND;

	while (atomic_load(value) < wanted && ch_monotonic_us() < deadline)
		poll(NULL, 0, 2);
	return atomic_load(value) >= wanted;
}

static void a_fast_handler_answers(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string) text = ask(bench, "GET /hello HTTP/1.1\r\n" CLOSING);

	assert_answer(text, "200", "\r\n\r\nhello");
	assert_non_null(strstr(text, "X-Client: 127.0.0.1\r\n"));
	bench_stop(bench);
}

static void head_is_answered_from_get_without_its_body(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string) text = ask(bench, "HEAD /hello HTTP/1.1\r\n" CLOSING);

	assert_answer(text, "200", "Content-Length: 5\r\n");
	assert_null(strstr(text, "hello"));
	bench_stop(bench);
}

static void two_requests_may_share_a_connection(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string)
	text = ask(bench, "GET /missing HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\n"
			  "Content-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\n" CLOSING);

	assert_answer(text, "404", "abcHTTP/1.1 200");
	assert_non_null(strstr(text, "\r\n\r\nhello"));
	bench_stop(bench);
}

static void parameters_and_queries_are_decoded(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string) text = ask(bench, "GET /names/a%2Fb%20c?q=1%2B+1 HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) bad = ask(bench, "GET /names/%zz HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) twice = ask(bench, "GET /names/a?q=1&q=2 HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) whole = ask(bench, "GET http://a/names/b HTTP/1.1\r\n" CLOSING);

	assert_answer(text, "200", "\r\n\r\na/b c");
	assert_non_null(strstr(text, "X-Query: 1+ 1\r\n"));
	assert_answer(bad, "400", "broken percent escape");
	assert_answer(twice, "400", "stands twice");
	assert_answer(whole, "200", "\r\n\r\nb");
	bench_stop(bench);
}

static void an_unknown_path_is_404_and_an_unknown_method_405_with_allow(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string) missing = ask(bench, "GET /hello/ HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) method = ask(bench, "DELETE /hello HTTP/1.1\r\n" CLOSING);

	assert_answer(missing, "404", "application/problem+json");
	assert_answer(method, "405", "Allow: GET, HEAD\r\n");
	assert_int_equal(refused(bench, "not-found"), 1);
	assert_int_equal(refused(bench, "method"), 1);
	bench_stop(bench);
}

static void the_trace_id_of_the_client_is_kept(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string)
	text = ask(bench, "GET /hello HTTP/1.1\r\ntraceparent: "
			  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n" CLOSING);

	assert_answer(text, "200", "X-Trace: 4bf92f3577b34da6a3ce929d0e0e4736\r\n");
	bench_stop(bench);
}

static void a_body_over_its_cap_is_413_however_it_is_framed(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_buffer) request = CH_NONE;
	char body[1001];

	memset(body, 'x', sizeof(body) - 1);
	body[1000] = 0;
	ch_buffer_printf(&request, "POST /echo HTTP/1.1\r\nContent-Length: 1001\r\n" CLOSING "%sx", body);
	CH_AUTO(ch_string) length = ch_buffer_steal_text(&request);
	ch_buffer_printf(&request,
			 "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" CLOSING
			 "3E8\r\n%s\r\n1\r\nx\r\n0\r\n\r\n",
			 body);
	CH_AUTO(ch_string) chunked = ch_buffer_steal_text(&request);
	ch_buffer_printf(&request, "POST /echo HTTP/1.1\r\nContent-Length: 1000\r\n" CLOSING "%s", body);
	CH_AUTO(ch_string) fits = ch_buffer_steal_text(&request);
	CH_AUTO(ch_string) a = ask(bench, length);
	CH_AUTO(ch_string) b = ask(bench, chunked);
	CH_AUTO(ch_string) c = ask(bench, fits);
	CH_AUTO(ch_string)
	d = ask(bench,
		"POST /echo HTTP/1.1\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n" CLOSING);
	CH_AUTO(ch_string) e =
		ask(bench, "POST /own HTTP/1.1\r\nContent-Length: 11\r\n" CLOSING "01234567890");

	assert_answer(a, "413", "the body is over 1000 octets");
	assert_answer(b, "413", "too-large");
	assert_answer(c, "200", "xxxx");
	assert_answer(d, "413", "too-large");
	assert_answer(e, "200", "application/ocsp-response");
	assert_int_equal(refused(bench, "too-large"), 4);
	bench_stop(bench);
}

static void requests_that_two_parsers_could_read_differently_are_refused(void **state)
{
	static const struct {
		const char *request;
		const char *status;
	} rows[] = {
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "0\r\n\r\n",
		  "400" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
		  "400" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", "400" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", "400" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc", "400" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		  "501" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", "501" },
		{ "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400" },
		{ "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400" },
		{ "GET /hello HTTP/1.1\r\n\r\n", "400" },
		{ "GET /hello HTTP/3.7\r\nHost: a\r\n\r\n", "505" },
		{ "GET /hello world HTTP/1.1\r\nHost: a\r\n\r\n", "" }, /* closed without a word */
		{ "GET /hello\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400" },
		{ "GET hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400" },
		{ "GET /hello HTTP/1.1\r\nHost: a\r\nX\x01y: 1\r\n\r\n", "400" },
	};
	struct bench *bench = bench_start(NULL);

	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		CH_AUTO(ch_fd) fd = dial(bench);
		put(fd, rows[i].request, strlen(rows[i].request));
		CH_AUTO(ch_string) text = get(fd, "\r\n\r\n");

		if (*rows[i].status ? strlen(text) < 12 || strncmp(text + 9, rows[i].status, 3) != 0
				    : *text != 0)
			fail_msg("%s\nwanted %s, got: %s", rows[i].request, rows[i].status, text);
	}
	bench_stop(bench);
}

static void a_slow_handler_does_not_hold_up_fast_ones(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_fd) waiting = dial(bench);

	pthread_mutex_lock(&bench->gate);
	put(waiting, "GET /slow HTTP/1.1\r\n" CLOSING, strlen("GET /slow HTTP/1.1\r\n" CLOSING));
	assert_true(wait_for(&bench->slow_started, 1));
	for (int i = 0; i < 8; i++) {
		CH_AUTO(ch_string) fast = ask(bench, "GET /hello HTTP/1.1\r\n" CLOSING);
		assert_answer(fast, "200", "hello");
	}
	pthread_mutex_unlock(&bench->gate);
	CH_AUTO(ch_string) text = get(waiting, NULL);
	assert_answer(text, "200", "at last");
	bench_stop(bench);
}

static void more_slow_requests_than_the_queue_holds_are_503(void **state)
{
	struct bench *bench = bench_start(NULL);
	static const char request[] = "GET /slow HTTP/1.1\r\n" CLOSING;
	int fds[4];

	pthread_mutex_lock(&bench->gate);
	for (size_t i = 0; i < CH_COUNT(fds); i++) { /* two run, two wait */
		fds[i] = dial(bench);
		put(fds[i], request, sizeof(request) - 1);
		if (i < 2)
			assert_true(wait_for(&bench->slow_started, (int)i + 1));
	}
	/* the two that wait may not be queued yet: the answer is 503 once they are */
	for (int tries = 0; tries < 200 && !refused(bench, "queue-full"); tries++) {
		CH_AUTO(ch_fd) fd = dial(bench);
		struct pollfd poll_fd = { fd, POLLIN, 0 };

		put(fd, request, sizeof(request) - 1);
		if (poll(&poll_fd, 1, 50) == 1) {
			CH_AUTO(ch_string) text = get(fd, NULL);
			assert_answer(text, "503", "Retry-After: 1\r\n");
		}
	}
	assert_true(refused(bench, "queue-full") >= 1);
	pthread_mutex_unlock(&bench->gate);
	for (size_t i = 0; i < CH_COUNT(fds); i++)
		close(fds[i]);
	bench_stop(bench);
}

static void errors_are_problem_documents(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string) error = ask(bench, "GET /fail HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) nothing = ask(bench, "GET /nothing HTTP/1.1\r\n" CLOSING);

	assert_answer(
		error, "503",
		"{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
		"\"detail\":\"no \\\"answer\\\" from ? the vault\",\"code\":\"unavailable\",\"trace_id\":\"");
	assert_non_null(strstr(error, "Retry-After: 2\r\n"));
	assert_non_null(strstr(error, "Content-Type: application/problem+json\r\n"));
	assert_answer(nothing, "500", "the request was not answered");
	bench_stop(bench);
}

static void a_shared_body_is_released_once_it_was_sent(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string) text = ask(bench, "GET /shared HTTP/1.1\r\n" CLOSING);

	assert_answer(text, "200", "\r\n\r\nshared");
	assert_true(wait_for(&bench->released, 1));
	bench_stop(bench);
}

static void short_request_time(struct ch_http_config *config)
{
	config->request_us = CH_SECOND;
}

static void a_request_that_drips_in_is_ended_on_time(void **state)
{
	struct bench *bench = bench_start(short_request_time);
	CH_AUTO(ch_fd) fd = dial(bench);
	int64_t began = ch_monotonic_us();
	bool ended = false;

	put(fd, "GET /hello HTTP/1.1\r\nX: ", 24);
	while (!ended && ch_monotonic_us() - began < 10 * CH_SECOND) {
		struct pollfd poll_fd = { fd, POLLIN, 0 };

		put(fd, "a", 1); /* never idle */
		poll(&poll_fd, 1, 50);
		ended = poll_fd.revents != 0;
	}
	assert_true(ended);
	assert_in_range(ch_monotonic_us() - began, 900 * CH_MILLISECOND, 5 * CH_SECOND);
	while (!refused(bench, "timeout") && ch_monotonic_us() - began < 10 * CH_SECOND)
		poll(NULL, 0, 5);
	assert_int_equal(refused(bench, "timeout"), 1);
	bench_stop(bench);
}

static void *stop_thread(void *context)
{
	ch_http_stop(((struct bench *)context)->server, 10 * CH_SECOND);
	return NULL;
}

/* Until nobody listens any more where this connection leads to. */
static void wait_until_it_refuses(int connection)
{
	int64_t deadline = ch_monotonic_us() + 10 * CH_SECOND;
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int knock;

	getpeername(connection, (struct sockaddr *)&address, &size);
	do {
		knock = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(knock, (struct sockaddr *)&address, size) != 0)
			break;
		close(knock);
		knock = -1;
		poll(NULL, 0, 5);
	} while (ch_monotonic_us() < deadline);
	assert_int_not_equal(knock, -1);
	close(knock);
}

static void stopping_lets_requests_in_flight_end_and_takes_no_more(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_fd) waiting = dial(bench);
	pthread_t thread;

	pthread_mutex_lock(&bench->gate);
	put(waiting, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", 31);
	assert_true(wait_for(&bench->slow_started, 1));
	pthread_create(&thread, NULL, stop_thread, bench);
	wait_until_it_refuses(waiting);
	pthread_mutex_unlock(&bench->gate);
	CH_AUTO(ch_string) text = get(waiting, NULL);
	assert_answer(text, "200", "at last");
	assert_non_null(strstr(text, "Connection: close\r\n"));
	pthread_join(thread, NULL);
	ch_metrics_free(bench->metrics);
	free(bench);
}

/* A client that keeps its connection asks again at any moment: it must be told, not cut off. */
static void a_connection_that_is_kept_hears_that_it_closes(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_fd) kept = dial(bench);
	pthread_t thread;

	put(kept, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 32);
	CH_AUTO(ch_string) first = get(kept, "hello");
	assert_answer(first, "200", "hello");
	assert_null(strstr(first, "Connection: close"));
	pthread_create(&thread, NULL, stop_thread, bench);
	wait_until_it_refuses(kept);
	put(kept, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 32);
	CH_AUTO(ch_string) last = get(kept, NULL);
	assert_answer(last, "200", "hello");
	assert_non_null(strstr(last, "Connection: close\r\n"));
	pthread_join(thread, NULL);
	ch_metrics_free(bench->metrics);
	free(bench);
}

static void answers_are_counted_by_route_and_status(void **state)
{
	struct bench *bench = bench_start(NULL);
	CH_AUTO(ch_string) a = ask(bench, "GET /names/x HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) b = ask(bench, "GET /names/y HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) c = ask(bench, "GET /no-such-path-in-a-label HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) text = ch_metrics_text(bench->metrics);

	assert_answer(a, "200", "\r\n\r\nx");
	assert_answer(b, "200", "\r\n\r\ny");
	assert_answer(c, "404", "not-found");

	assert_non_null(strstr(text, "chancery_http_requests_total{listener=\"test\",method=\"GET\","
				     "route=\"/names/{name}\",status=\"200\"} 2\n"));
	assert_non_null(strstr(text, "route=\"none\",status=\"404\"} 1\n"));
	assert_null(strstr(text, "no-such-path"));
	bench_stop(bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fast_handler_answers),
		cmocka_unit_test(head_is_answered_from_get_without_its_body),
		cmocka_unit_test(two_requests_may_share_a_connection),
		cmocka_unit_test(parameters_and_queries_are_decoded),
		cmocka_unit_test(an_unknown_path_is_404_and_an_unknown_method_405_with_allow),
		cmocka_unit_test(the_trace_id_of_the_client_is_kept),
		cmocka_unit_test(a_body_over_its_cap_is_413_however_it_is_framed),
		cmocka_unit_test(requests_that_two_parsers_could_read_differently_are_refused),
		cmocka_unit_test(a_slow_handler_does_not_hold_up_fast_ones),
		cmocka_unit_test(more_slow_requests_than_the_queue_holds_are_503),
		cmocka_unit_test(errors_are_problem_documents),
		cmocka_unit_test(a_shared_body_is_released_once_it_was_sent),
		cmocka_unit_test(a_request_that_drips_in_is_ended_on_time),
		cmocka_unit_test(stopping_lets_requests_in_flight_end_and_takes_no_more),
		cmocka_unit_test(a_connection_that_is_kept_hears_that_it_closes),
		cmocka_unit_test(answers_are_counted_by_route_and_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
