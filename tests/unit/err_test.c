/* SPDX-License-Identifier: Apache-2.0 */
/* err_test.c: the one error convention. */
#include "err/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>

static void a_failure_says_what_and_whether_a_retry_helps(void **state)
{
	struct ch_error err = { .retry_after_ms = 7 };

	assert_false(ch_fail(&err, CH_UNAVAILABLE, "no answer from %s within %d ms", "vault", 5000));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(err.retryable);
	assert_int_equal(err.retry_after_ms, 0);
	assert_string_equal(err.message, "no answer from vault within 5000 ms");
	assert_false(ch_fail(&err, CH_INVALID, "x"));
	assert_false(err.retryable);
}

static void context_is_put_in_front_and_the_code_stays(void **state)
{
	struct ch_error err = { 0 };

	ch_fail(&err, CH_DENIED, "validity 900d exceeds the CA's");
	assert_false(ch_fail_in(&err, "profile '%s'", "tls-server"));
	assert_int_equal(err.code, CH_DENIED);
	assert_string_equal(err.message, "profile 'tls-server': validity 900d exceeds the CA's");
}

/* Text from a peer may be of any length. */
static void long_messages_are_cut_not_overrun(void **state)
{
	struct ch_error err = { 0 };
	char longer[2 * sizeof(err.message)];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	ch_fail(&err, CH_INVALID, "%s", longer);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	ch_fail_in(&err, "%s", longer);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void nobody_need_want_the_error(void **state)
{
	assert_false(ch_fail(NULL, CH_INVALID, "x"));
	assert_false(ch_fail_in(NULL, "x"));
	assert_false(ch_fail_errno(NULL, CH_INVALID, ENOENT, "x"));
	assert_false(ch_fail_openssl(NULL, CH_INVALID, "x"));
}

static void errno_and_openssl_give_their_reason(void **state)
{
	struct ch_error err = { 0 };
	const unsigned char *at = (const unsigned char *)"\x30\x01";

	assert_false(ch_fail_errno(&err, CH_NOT_FOUND, ENOENT, "file '%s'", "/x"));
	assert_string_equal(err.message, "file '/x': No such file or directory");
	assert_null(d2i_AutoPrivateKey(NULL, &at, 2));
	assert_false(ch_fail_openssl(&err, CH_INVALID, "key"));
	assert_ptr_equal(strstr(err.message, "key: "), err.message);
	assert_int_equal(ERR_peek_error(), 0);
}

/* The numbers cross the bus: a change here breaks a rolling upgrade. */
static void codes_keep_their_numbers_names_and_http_statuses(void **state)
{
	static const struct {
		int number;
		const char *name;
		int status;
	} rows[] = {
		{ 0, "ok", 200 },           { 1, "invalid", 400 },
		{ 2, "denied", 403 },       { 3, "unauthenticated", 401 },
		{ 4, "not-found", 404 },    { 5, "conflict", 409 },
		{ 6, "too-large", 413 },    { 7, "exhausted", 429 },
		{ 8, "expired", 504 },      { 9, "replayed", 409 },
		{ 10, "unavailable", 503 }, { 11, "internal", 500 },
		{ 12, "unsupported", 501 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_string_equal(ch_code_name((enum ch_code)rows[i].number), rows[i].name);
		assert_int_equal(ch_code_http_status((enum ch_code)rows[i].number), rows[i].status);
	}
	assert_string_equal(ch_code_name((enum ch_code)99), "unknown");
	assert_int_equal(ch_code_http_status((enum ch_code)99), 500);
}

static void what_the_transport_refused_is_no_fault_of_the_caller_further_out(void **state)
{
	static const struct {
		enum ch_origin origin;
		enum ch_code code, told;
	} rows[] = {
		{ CH_ORIGIN_TRANSPORT, CH_UNAUTHENTICATED, CH_UNAVAILABLE },
		{ CH_ORIGIN_TRANSPORT, CH_DENIED, CH_UNAVAILABLE },
		{ CH_ORIGIN_TRANSPORT, CH_EXPIRED, CH_UNAVAILABLE },
		{ CH_ORIGIN_TRANSPORT, CH_REPLAYED, CH_UNAVAILABLE },
		{ CH_ORIGIN_TRANSPORT, CH_TOO_LARGE, CH_TOO_LARGE },
		{ CH_ORIGIN_HANDLER, CH_UNAUTHENTICATED, CH_UNAUTHENTICATED },
		{ CH_ORIGIN_HANDLER, CH_DENIED, CH_DENIED },
		{ CH_ORIGIN_LOCAL, CH_UNAUTHENTICATED, CH_UNAUTHENTICATED },
		{ CH_ORIGIN_ITEM, CH_DENIED, CH_DENIED },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ch_error err = { 0 }, told;

		assert_false(ch_fail(&err, rows[i].code, "why"));
		assert_int_equal(err.origin, CH_ORIGIN_LOCAL);
		err.origin = rows[i].origin;
		assert_false(ch_fail_in(&err, "context")); /* context keeps who refused */
		told = ch_error_outward(&err);
		assert_int_equal(told.code, rows[i].told);
		assert_string_equal(told.message, "context: why");
		assert_int_equal(told.retryable, told.code == CH_UNAVAILABLE ? true : err.retryable);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_says_what_and_whether_a_retry_helps),
		cmocka_unit_test(context_is_put_in_front_and_the_code_stays),
		cmocka_unit_test(long_messages_are_cut_not_overrun),
		cmocka_unit_test(nobody_need_want_the_error),
		cmocka_unit_test(errno_and_openssl_give_their_reason),
		cmocka_unit_test(what_the_transport_refused_is_no_fault_of_the_caller_further_out),
		cmocka_unit_test(codes_keep_their_numbers_names_and_http_statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
