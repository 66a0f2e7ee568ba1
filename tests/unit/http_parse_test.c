/* SPDX-License-Identifier: Apache-2.0 */
/* http_parse_test.c: the pure parts of libcommon/http: PROXY headers, routes, escapes, queries, Accept. */
#include "http/http.h"
#include "http/networks.h"
#include "http/parse.h"
#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static enum http_proxy_result proxy(const void *data, size_t size, struct http_proxy_header *header)
{
	struct ch_error err;

	return http_proxy_header_read(ch_view(data, size), header, &err);
}

static const char *client_of(const struct http_proxy_header *header, char text[64])
{
	const void *address =
		header->client.ss_family == AF_INET
			? (const void *)&((const struct sockaddr_in *)&header->client)->sin_addr
			: (const void *)&((const struct sockaddr_in6 *)&header->client)->sin6_addr;

	return inet_ntop(header->client.ss_family, address, text, 64);
}

static void a_version_1_line_names_the_client(void **state)
{
	static const char line[] = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n";
	struct http_proxy_header header;
	char text[64];

	assert_int_equal(proxy(line, sizeof(line) - 1, &header), HTTP_PROXY_DONE);
	assert_true(header.has_client);
	assert_string_equal(client_of(&header, text), "192.0.2.7");
	assert_int_equal(ntohs(((struct sockaddr_in *)&header.client)->sin_port), 56324);
	assert_memory_equal(line + header.size, "GET", 3);
}

static void a_version_1_line_may_carry_ipv6_or_unknown(void **state)
{
	static const char six[] = "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n";
	static const char unknown[] = "PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n";
	struct http_proxy_header header;
	char text[64];

	assert_int_equal(proxy(six, sizeof(six) - 1, &header), HTTP_PROXY_DONE);
	assert_string_equal(client_of(&header, text), "2001:db8::7");
	assert_int_equal(proxy(unknown, sizeof(unknown) - 1, &header), HTTP_PROXY_DONE);
	assert_false(header.has_client);
	assert_int_equal(header.size, sizeof(unknown) - 1);
}

static void malformed_version_1_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"GET / HTTP/1.1\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 9\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
		"PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n",
		"PROXY TCP4 2001:db8::7 198.51.100.1 1 443\r\n",
		"PROXY TCP5 192.0.2.7 198.51.100.1 1 443\r\n",
		"PROXY  TCP4 192.0.2.7 198.51.100.1 1 443\r\n",
		"PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
		"PROXY UNKNOWNX\r\n",
		"proxy TCP4 192.0.2.7 198.51.100.1 1 443\r\n",
	};
	struct http_proxy_header header;

	for (size_t i = 0; i < CH_COUNT(lines); i++)
		assert_int_equal(proxy(lines[i], strlen(lines[i]), &header), HTTP_PROXY_BAD);
}

static void a_version_1_line_over_107_octets_is_refused(void **state)
{
	char line[120] = "PROXY UNKNOWN ";
	struct http_proxy_header header;

	memset(line + 14, 'f', sizeof(line) - 14);
	assert_int_equal(proxy(line, 106, &header), HTTP_PROXY_MORE);
	assert_int_equal(proxy(line, 107, &header), HTTP_PROXY_BAD);
}

static size_t version_2(uint8_t *out, uint8_t command, uint8_t family, const void *addresses, uint16_t size)
{
	static const uint8_t signature[12] = {
		'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'
	};

	memcpy(out, signature, sizeof(signature));
	out[12] = (uint8_t)(0x20 | command);
	out[13] = family;
	out[14] = (uint8_t)(size >> 8);
	out[15] = (uint8_t)size;
	if (size <= 64)
		memcpy(out + 16, addresses, size);
	return 16u + size;
}

static void a_version_2_header_names_the_client(void **state)
{
	static const uint8_t four[12] = { 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 1, 187 };
	static const uint8_t six[36] = { 0x20, 1, 0xd, 0xb8, [15] = 7, [32] = 0, 80, 0, 81 };
	uint8_t input[128];
	struct http_proxy_header header;
	char text[64];
	size_t size = version_2(input, 1, 0x11, four, sizeof(four));

	assert_int_equal(proxy(input, size, &header), HTTP_PROXY_DONE);
	assert_int_equal(header.size, size);
	assert_string_equal(client_of(&header, text), "192.0.2.7");
	assert_int_equal(ntohs(((struct sockaddr_in *)&header.client)->sin_port), 0x1234);
	size = version_2(input, 1, 0x21, six, sizeof(six));
	assert_int_equal(proxy(input, size, &header), HTTP_PROXY_DONE);
	assert_string_equal(client_of(&header, text), "2001:db8::7");
}

static void a_version_2_local_header_leaves_the_peer(void **state)
{
	uint8_t input[64];
	struct http_proxy_header header;
	size_t size = version_2(input, 0, 0, "", 0);

	assert_int_equal(proxy(input, size, &header), HTTP_PROXY_DONE);
	assert_false(header.has_client);
}

static void malformed_version_2_headers_are_refused(void **state)
{
	static const uint8_t addresses[64] = { 0 };
	uint8_t input[128];
	struct http_proxy_header header;

	version_2(input, 2, 0x11, addresses, 12); /* no such command */
	assert_int_equal(proxy(input, 28, &header), HTTP_PROXY_BAD);
	version_2(input, 1, 0x11, addresses, 12);
	input[12] = 0x31; /* version 3 */
	assert_int_equal(proxy(input, 28, &header), HTTP_PROXY_BAD);
	version_2(input, 1, 0x11, addresses, 11); /* cut short */
	assert_int_equal(proxy(input, 27, &header), HTTP_PROXY_BAD);
	version_2(input, 1, 0x12, addresses, 12); /* datagrams */
	assert_int_equal(proxy(input, 28, &header), HTTP_PROXY_BAD);
	version_2(input, 1, 0x11, addresses, 2049); /* over the cap: known from its length alone */
	assert_int_equal(proxy(input, 16, &header), HTTP_PROXY_BAD);
}

static void every_beginning_of_a_header_asks_for_more(void **state)
{
	static const char line[] = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
	static const uint8_t four[12] = { 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 1, 187 };
	uint8_t input[64];
	struct http_proxy_header header;

	for (size_t i = 0; i < sizeof(line) - 1; i++)
		assert_int_equal(proxy(line, i, &header), HTTP_PROXY_MORE);
	version_2(input, 1, 0x11, four, sizeof(four));
	for (size_t i = 0; i < 28; i++)
		assert_int_equal(proxy(input, i, &header), HTTP_PROXY_MORE);
}

static bool network_has(const char *network, const char *address)
{
	const struct ch_conf_strings texts = { (char *[]){ (char *)(uintptr_t)network }, 1 };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct http_networks networks = CH_NONE;
	struct ch_error err;
	bool has;

	if (!http_networks_read(&texts, &networks, &err))
		fail_msg("%s", err.message);
	if (inet_pton(AF_INET, address, &four.sin_addr) == 1) {
		has = http_networks_contain(&networks, (struct sockaddr *)&four);
	} else {
		assert_int_equal(inet_pton(AF_INET6, address, &six.sin6_addr), 1);
		has = http_networks_contain(&networks, (struct sockaddr *)&six);
	}
	http_networks_free(&networks);
	return has;
}

static void a_network_has_the_addresses_below_its_prefix(void **state)
{
	assert_true(network_has("192.0.2.7", "192.0.2.7"));
	assert_true(network_has("192.0.2.7", "::ffff:192.0.2.7")); /* a listener of both families */
	assert_false(network_has("192.0.2.7", "192.0.2.6"));
	assert_true(network_has("10.0.0.0/8", "10.255.255.255"));
	assert_false(network_has("10.0.0.0/8", "11.0.0.0"));
	assert_true(network_has("192.0.2.128/25", "192.0.2.128"));
	assert_false(network_has("192.0.2.128/25", "192.0.2.127"));
	assert_true(network_has("0.0.0.0/0", "203.0.113.1"));
	assert_false(network_has("0.0.0.0/0", "2001:db8::1"));
	assert_true(network_has("2001:DB8:0:0::/64", "2001:db8::ffff"));
	assert_false(network_has("2001:db8::/64", "2001:db8:0:1::"));
	assert_true(network_has("::1", "::1"));
	assert_false(network_has("::1", "127.0.0.1"));
}

static void what_is_no_network_is_refused(void **state)
{
	static const char *const bad[] = { "",
					   "haproxy",
					   "192.0.2",
					   "192.0.2.7/",
					   "192.0.2.7/33",
					   "10.0.0.0/-8",
					   "10.0.0.0/8x",
					   "2001:db8::/129",
					   "10.0.0.1/8",
					   "2001:db8::1/64",
					   "10.0.0.0/8/8" };
	struct sockaddr local = { .sa_family = AF_UNIX };
	struct http_networks all = CH_NONE;
	struct ch_error err;
	char text[64];

	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		const struct ch_conf_strings texts = { (char *[]){ (char *)(uintptr_t)bad[i] }, 1 };
		struct http_networks networks = CH_NONE;

		assert_false(http_networks_read(&texts, &networks, &err));
		assert_int_equal(err.code, CH_INVALID);
		http_networks_free(&networks);
	}
	assert_false(http_networks_contain(&all, NULL));
	assert_false(http_networks_contain(&all, &local));
	http_address_text(&local, text);
	assert_string_equal(text, "unknown");
}

static void dates_are_imf_fixdate(void **state)
{
	char text[CH_HTTP_DATE_SIZE];

	ch_http_date(INT64_C(784111777) * 1000000, text); /* RFC 9110's example */
	assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
}

static void a_list_of_entity_tags_is_compared_weakly(void **state)
{
	static const char *const same[] = { "\"a1\"", "W/\"a1\"", "\"x\", \"a1\"", "*", "\"a,b\" ,W/\"a1\"" };
	static const char *const other[] = { "\"a2\"",     "",           "a1", "\"x\",\"a12\"",
					     "\"\\\"a1\"", "\"unclosed", "W/", "x\"a1\"" };

	for (size_t i = 0; i < CH_COUNT(same); i++) {
		assert_true(ch_http_names_tag(same[i], "\"a1\""));
		assert_true(ch_http_names_tag(same[i], "W/\"a1\""));
	}
	for (size_t i = 0; i < CH_COUNT(other); i++) {
		assert_false(ch_http_names_tag(other[i], "\"a1\""));
		assert_false(ch_http_names_tag(other[i], "W/\"a1\""));
	}
}

static void a_route_takes_segments_rests_and_suffixes(void **state)
{
	struct http_capture captures[4];
	size_t count;

	assert_true(http_route_match("/v1/cas", "/v1/cas", captures, 4, &count));
	assert_int_equal(count, 0);
	assert_true(
		http_route_match("/v1/cas/{name}/approval", "/v1/cas/a%2Fb/approval", captures, 4, &count));
	assert_int_equal(captures[0].value_size, 5);
	assert_true(http_route_match("/crl/{ca}.crl", "/crl/example.issuing.crl", captures, 4, &count));
	assert_int_equal(captures[0].value_size, strlen("example.issuing"));
	assert_true(http_route_match("/ocsp/{request...}", "/ocsp/MF/8+//w==", captures, 4, &count));
	assert_int_equal(captures[0].value_size, strlen("MF/8+//w=="));
	assert_int_equal(captures[0].name_size, strlen("request"));
}

static void a_route_does_not_take_what_only_resembles_it(void **state)
{
	struct http_capture captures[4];
	size_t count;

	assert_false(http_route_match("/v1/cas/{name}", "/v1/cas/", captures, 4, &count));
	assert_false(http_route_match("/v1/cas/{name}", "/v1/cas/a/b", captures, 4, &count));
	assert_false(http_route_match("/v1/cas", "/v1/cas/", captures, 4, &count));
	assert_false(http_route_match("/v1/cas", "/v1/ca", captures, 4, &count));
	assert_false(http_route_match("/crl/{ca}.crl", "/crl/.crl", captures, 4, &count));
	assert_false(http_route_match("/crl/{ca}.crl", "/crl/a/b.crl", captures, 4, &count));
	assert_false(http_route_match("/a/{b}/{c}", "/a/b/c", captures, 1, &count));
}

static char *decode(const char *text, bool plus)
{
	char *out = NULL;
	struct ch_error err;

	return http_percent_decode(text, strlen(text), plus, &out, &err) ? out : NULL;
}

static void percent_escapes_are_decoded_once(void **state)
{
	CH_AUTO(ch_string) a = decode("a%2Fb%252F+%C3%A9", false);
	CH_AUTO(ch_string) b = decode("a+b%2B", true);

	assert_string_equal(a, "a/b%2F+é");
	assert_string_equal(b, "a b+");
}

static void broken_escapes_control_characters_and_bad_utf8_are_refused(void **state)
{
	static const char *const texts[] = { "%",   "%4",     "a%zz",      "%00",          "%0a",    "\x01",
					     "%ff", "%C0%AF", "%ED%A0%80", "%F4%90%80%80", "%E2%82", "%7f" };

	for (size_t i = 0; i < CH_COUNT(texts); i++)
		assert_null(decode(texts[i], false));
}

static void a_query_is_read_into_pairs(void **state)
{
	struct http_pair *pairs;
	size_t count;
	struct ch_error err;

	assert_true(http_query_parse("status=issued&san=%2A.example.com&empty=&flag", &pairs, &count, &err));
	assert_int_equal(count, 4);
	assert_string_equal(pairs[1].value, "*.example.com");
	assert_string_equal(pairs[2].value, "");
	assert_string_equal(pairs[3].name, "flag");
	http_pairs_free(pairs, count);
	free(pairs);
}

static void malformed_queries_are_refused(void **state)
{
	static const char *const queries[] = {
		"a=1&a=2", "a=1&%61=2", "=1", "a=1&", "&a=1", "a=%", "a=1&&b=2"
	};
	CH_AUTO(ch_buffer) many = CH_NONE;
	struct http_pair *pairs;
	struct ch_error err;
	size_t count;

	for (size_t i = 0; i < CH_COUNT(queries); i++)
		assert_false(http_query_parse(queries[i], &pairs, &count, &err));
	for (int i = 0; i <= HTTP_QUERY_MAX; i++)
		ch_buffer_printf(&many, "%sa%d=1", i ? "&" : "", i);
	CH_AUTO(ch_string) text = ch_buffer_steal_text(&many);
	assert_false(http_query_parse(text, &pairs, &count, &err));
	assert_string_equal(err.message, "more than 32 query members");
}

static void the_trace_id_is_taken_from_a_well_formed_traceparent(void **state)
{
	static const char *const bad[] = {
		"",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
	};
	char id[33];

	assert_true(http_traceparent_read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", id));
	assert_string_equal(id, "4bf92f3577b34da6a3ce929d0e0e4736");
	for (size_t i = 0; i < CH_COUNT(bad); i++)
		assert_false(http_traceparent_read(bad[i], id));
}

static void accept_chooses_by_quality_then_specificity(void **state)
{
	static const char json[] = "application/json";
	static const char pem[] = "application/pem-certificate-chain";
	static const struct {
		const char *accept;
		const char *chosen;
	} rows[] = {
		{ NULL, json },
		{ "", json },
		{ "*/*", json },
		{ "application/*", json },
		{ "application/pem-certificate-chain", pem },
		{ "APPLICATION/PEM-certificate-chain", pem },
		{ "application/pem-certificate-chain, */*", pem },
		{ "application/json;q=0.5, application/pem-certificate-chain;q=0.8", pem },
		{ "application/json ; q=0.9 , application/pem-certificate-chain;q=0.8", json },
		{ "application/json;q=0, */*", pem },
		{ "text/html", "" },
		{ "text/html, application/xhtml+xml, */*;q=0.1", json },
		{ "application/json;q=0", "" },
		{ "application/jso", "" },
		{ "application/jsonx", "" },
		{ ",,;", "" },
		{ "*/*;q=2", "" },
	};

	for (size_t i = 0; i < CH_COUNT(rows); i++)
		assert_string_equal(ch_http_choose(rows[i].accept, json, pem), rows[i].chosen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_version_1_line_names_the_client),
		cmocka_unit_test(a_version_1_line_may_carry_ipv6_or_unknown),
		cmocka_unit_test(malformed_version_1_lines_are_refused),
		cmocka_unit_test(a_version_1_line_over_107_octets_is_refused),
		cmocka_unit_test(a_version_2_header_names_the_client),
		cmocka_unit_test(a_version_2_local_header_leaves_the_peer),
		cmocka_unit_test(malformed_version_2_headers_are_refused),
		cmocka_unit_test(every_beginning_of_a_header_asks_for_more),
		cmocka_unit_test(dates_are_imf_fixdate),
		cmocka_unit_test(a_list_of_entity_tags_is_compared_weakly),
		cmocka_unit_test(a_network_has_the_addresses_below_its_prefix),
		cmocka_unit_test(what_is_no_network_is_refused),
		cmocka_unit_test(a_route_takes_segments_rests_and_suffixes),
		cmocka_unit_test(a_route_does_not_take_what_only_resembles_it),
		cmocka_unit_test(percent_escapes_are_decoded_once),
		cmocka_unit_test(broken_escapes_control_characters_and_bad_utf8_are_refused),
		cmocka_unit_test(a_query_is_read_into_pairs),
		cmocka_unit_test(malformed_queries_are_refused),
		cmocka_unit_test(the_trace_id_is_taken_from_a_well_formed_traceparent),
		cmocka_unit_test(accept_chooses_by_quality_then_specificity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
