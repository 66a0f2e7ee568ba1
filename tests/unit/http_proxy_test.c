/* SPDX-License-Identifier: Apache-2.0 */
/* http_proxy_test.c: whose word is taken for who the client is: PROXY headers, X-Forwarded-For. */
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

static const char *const this_machine[] = { "127.0.0.1" };

static struct ch_conf_strings strings(const char *const *items, size_t count)
{
	return (struct ch_conf_strings){ (char **)(uintptr_t)items, count };
}

static void with_trusted_proxy(struct ch_http_config *config)
{
	config->trusted_proxies = strings(this_machine, 1);
}

/* HAProxy's "option forwardfor" leaves what the client sent above its own field. */
static void the_last_hop_is_the_client_and_only_a_trusted_proxy_names_it(void **state)
{
	static const struct {
		const char *fields;
		const char *client;
	} cases[] = {
		{ "X-Forwarded-For: 203.0.113.5\r\n", "203.0.113.5" },
		{ "X-Forwarded-For: 203.0.113.5, 198.51.100.9\r\n", "198.51.100.9" },
		{ "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: 198.51.100.9\r\n", "198.51.100.9" },
		{ "x-forwarded-for: 203.0.113.5,10.0.0.1\r\nX-Other: 1\r\nX-FORWARDED-FOR: 2001:db8::9\r\n",
		  "2001:db8::9" },
		{ "X-Forwarded-For: 203.0.113.5, somebody\r\n", "127.0.0.1" },
		{ "X-Forwarded-For: 203.0.113.5,\r\n", "127.0.0.1" },
		{ "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For:\r\n", "127.0.0.1" },
		{ "", "127.0.0.1" },
	};
	struct bench *trusting = bench_start(with_trusted_proxy);
	struct bench *open = bench_start(NULL);

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		char expected[80];
		char request[300];

		snprintf(expected, sizeof(expected), "X-Client: %s\r\n", cases[i].client);
		snprintf(request, sizeof(request), "GET /hello HTTP/1.1\r\n%s" CLOSING, cases[i].fields);
		CH_AUTO(ch_string) believed = ask(trusting, request);
		CH_AUTO(ch_string) unbelieved = ask(open, request);
		assert_answer(believed, "200", expected);
		assert_answer(unbelieved, "200", "X-Client: 127.0.0.1\r\n");
	}
	CH_AUTO(ch_fd) other = dial_from(trusting, INADDR_LOOPBACK + 1);
	put(other, "GET /hello HTTP/1.1\r\nX-Forwarded-For: 203.0.113.5\r\n" CLOSING,
	    strlen("GET /hello HTTP/1.1\r\nX-Forwarded-For: 203.0.113.5\r\n" CLOSING));
	CH_AUTO(ch_string) untrusted = get(other, NULL);
	assert_answer(untrusted, "200", "X-Client: 127.0.0.2\r\n");
	bench_stop(trusting);
	bench_stop(open);
}

static void with_proxy_protocol(struct ch_http_config *config)
{
	config->proxy_protocol = true;
	config->trusted_proxies = strings(this_machine, 1);
	config->connections_per_address = 2;
}

static void a_proxy_header_gives_the_client_address(void **state)
{
	static const uint8_t version_2[] = { '\r', '\n', '\r', '\n', 0,    '\r', '\n', 'Q', 'U', 'I',
					     'T',  '\n', 0x21, 0x11, 0,    12,   203,  0,   113, 9,
					     127,  0,    0,    1,    0x12, 0x34, 1,    187 };
	struct bench *bench = bench_start(with_proxy_protocol);
	CH_AUTO(ch_string)
	one = ask(bench, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET /hello HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_string) none = ask(bench, "GET /hello HTTP/1.1\r\n" CLOSING);
	CH_AUTO(ch_fd) fd = dial(bench);

	put(fd, version_2, sizeof(version_2));
	put(fd, "GET /hello HTTP/1.1\r\n" CLOSING, strlen("GET /hello HTTP/1.1\r\n" CLOSING));
	CH_AUTO(ch_string) two = get(fd, NULL);
	assert_answer(one, "200", "X-Client: 192.0.2.7\r\n");
	assert_answer(two, "200", "X-Client: 203.0.113.9\r\n");
	assert_string_equal(none, "");
	assert_int_equal(refused(bench, "proxy-header"), 1);
	bench_stop(bench);
}

/* §2.1, §2.2: the proxy speaks for itself (a health check); its own address is the client's. */
static void a_header_that_names_nobody_gives_the_proxys_own_address(void **state)
{
	static const uint8_t local[] = { '\r', '\n', '\r', '\n', 0,    '\r', '\n', 'Q',
					 'U',  'I',  'T',  '\n', 0x20, 0,    0,    0 };
	static const uint8_t unspecified[] = { '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I',
					       'T',  '\n', 0x21, 0x00, 0, 3,    1,    2,   3 };
	static const char request[] = "GET /hello HTTP/1.1\r\n" CLOSING;
	static const char unknown[] = "PROXY UNKNOWN\r\n";
	const struct ch_view headers[] = { { (const uint8_t *)unknown, sizeof(unknown) - 1 },
					   { local, sizeof(local) },
					   { unspecified, sizeof(unspecified) } };
	struct bench *bench = bench_start(with_proxy_protocol);

	for (size_t i = 0; i < CH_COUNT(headers); i++) {
		CH_AUTO(ch_fd) fd = dial(bench);

		put(fd, headers[i].data, headers[i].size);
		put(fd, request, sizeof(request) - 1);
		CH_AUTO(ch_string) text = get(fd, NULL);
		assert_answer(text, "200", "X-Client: 127.0.0.1\r\n");
	}
	bench_stop(bench);
}

static void a_proxy_header_is_taken_from_trusted_proxies_alone(void **state)
{
	static const char forged[] =
		"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET /hello HTTP/1.1\r\n" CLOSING;
	struct bench *bench = bench_start(with_proxy_protocol);
	CH_AUTO(ch_fd) fd = dial_from(bench, INADDR_LOOPBACK + 1);

	put(fd, forged, sizeof(forged) - 1);
	CH_AUTO(ch_string) text = get(fd, NULL);
	assert_string_equal(text, "");
	assert_int_equal(refused(bench, "proxy-peer"), 1);
	/* Who stands behind a trusted proxy is believed nothing about others, whatever its address. */
	CH_AUTO(ch_string)
	inner = ask(bench, "PROXY TCP4 127.0.0.1 198.51.100.1 56324 443\r\nGET /hello HTTP/1.1\r\n"
			   "X-Forwarded-For: 203.0.113.5\r\n" CLOSING);
	assert_answer(inner, "200", "X-Client: 127.0.0.1\r\n");
	bench_stop(bench);
}

static void proxies_that_are_no_addresses_are_refused_at_start(void **state)
{
	static const struct {
		const char *proxy;
		const char *says;
	} cases[] = {
		{ NULL, "proxy_protocol takes trusted_proxies" },
		{ "haproxy", "'haproxy' is neither an IP address nor a network" },
		{ "10.0.0.1/8", "network '10.0.0.1/8' has bits set beyond its prefix" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		struct ch_http_config config = { .listen = "127.0.0.1:0",
						 .proxy_protocol = true,
						 .trusted_proxies =
							 strings(&cases[i].proxy, cases[i].proxy ? 1 : 0) };
		struct ch_metrics *metrics = ch_metrics_new();
		struct ch_http_options options = { .config = &config,
						   .routes = bench_routes,
						   .route_count = BENCH_ROUTES,
						   .metrics = metrics };
		struct ch_http_server *server = NULL;
		struct ch_error err;

		assert_false(ch_http_start(&options, &server, &err));
		assert_int_equal(err.code, CH_INVALID);
		assert_non_null(strstr(err.message, cases[i].says));
		ch_metrics_free(metrics);
	}
}

static void clients_that_do_not_finish_their_proxy_header_hold_nobody_up(void **state)
{
	struct bench *bench = bench_start(with_proxy_protocol);
	int idle[20];

	for (size_t i = 0; i < CH_COUNT(idle); i++) {
		idle[i] = dial(bench);
		put(idle[i], "PROXY TCP4 192.0.2.7", i);
	}
	CH_AUTO(ch_string)
	text = ask(bench, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET /hello HTTP/1.1\r\n" CLOSING);
	assert_answer(text, "200", "hello");
	/* and one that comes octet by octet is served too */
	CH_AUTO(ch_fd) fd = dial(bench);
	static const char drip[] =
		"PROXY TCP4 192.0.2.8 198.51.100.1 56324 443\r\nGET /hello HTTP/1.1\r\n" CLOSING;
	for (size_t i = 0; i < sizeof(drip) - 1; i++)
		put(fd, drip + i, 1);
	CH_AUTO(ch_string) slow = get(fd, NULL);
	assert_answer(slow, "200", "X-Client: 192.0.2.8\r\n");
	for (size_t i = 0; i < CH_COUNT(idle); i++)
		close(idle[i]);
	bench_stop(bench);
}

static void connections_of_one_address_are_limited(void **state)
{
	static const char hello[] =
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
	struct bench *bench = bench_start(with_proxy_protocol);
	int held[2];

	for (size_t i = 0; i < 2; i++) {
		held[i] = dial(bench);
		put(held[i], hello, sizeof(hello) - 1);
		CH_AUTO(ch_string) text = get(held[i], "hello");
		assert_answer(text, "200", "hello");
	}
	CH_AUTO(ch_string) third = ask(bench, hello);
	CH_AUTO(ch_string)
	other = ask(bench, "PROXY TCP4 192.0.2.8 198.51.100.1 1 443\r\nGET /hello HTTP/1.1\r\n" CLOSING);
	assert_string_equal(third, "");
	assert_answer(other, "200", "hello");
	for (size_t i = 0; i < 2; i++)
		close(held[i]);
	bench_stop(bench);
}

static void crowded(struct ch_http_config *config)
{
	config->proxy_protocol = true;
	config->trusted_proxies = strings(this_machine, 1);
	config->connection_limit = 8;
	config->request_us = CH_SECOND;
}

/* libmicrohttpd 0.9.75 itself stops for good where its limit is reached while connections end. */
static void more_connections_than_allowed_are_closed_and_it_goes_on(void **state)
{
	static const char begun[] = "PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\nGET /he";
	struct bench *bench = bench_start(crowded);
	int64_t until = ch_monotonic_us() + 3 * CH_SECOND;
	int held[400];
	size_t count = 0;
	CH_AUTO(ch_string) text = NULL;

	while (count < CH_COUNT(held) && (count < 100 || ch_monotonic_us() < until)) {
		held[count] = dial(bench);
		send(held[count], begun, sizeof(begun) - 1, MSG_NOSIGNAL);
		count++;
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	}
	assert_true(refused(bench, "connection-limit") > 0);
	for (size_t i = 0; i < count; i++)
		close(held[i]);
	until = ch_monotonic_us() + 20 * CH_SECOND;
	do {
		free(text);
		text = ask(bench,
			   "PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\nGET /hello HTTP/1.1\r\n" CLOSING);
	} while (!text[0] && ch_monotonic_us() < until);
	assert_answer(text, "200", "hello");
	bench_stop(bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_hop_is_the_client_and_only_a_trusted_proxy_names_it),
		cmocka_unit_test(a_proxy_header_gives_the_client_address),
		cmocka_unit_test(a_header_that_names_nobody_gives_the_proxys_own_address),
		cmocka_unit_test(a_proxy_header_is_taken_from_trusted_proxies_alone),
		cmocka_unit_test(proxies_that_are_no_addresses_are_refused_at_start),
		cmocka_unit_test(clients_that_do_not_finish_their_proxy_header_hold_nobody_up),
		cmocka_unit_test(connections_of_one_address_are_limited),
		cmocka_unit_test(more_connections_than_allowed_are_closed_and_it_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
