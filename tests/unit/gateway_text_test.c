/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_text_test.c: base64, wrapped CSRs, times, durations, keys and serials as REST clients write them.
 */
#include "text.h"

#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool base64(const char *text, const char *wanted)
{
	CH_AUTO(ch_bytes) out = CH_NONE;
	struct ch_error err;

	return text_base64(ch_view_text(text), &out, &err) &&
	       ch_view_equal(ch_view_of(&out), ch_view_text(wanted));
}

static void base64_of_rfc_4648_is_decoded(void **state)
{
	assert_true(base64("", ""));
	assert_true(base64("Zg==", "f"));
	assert_true(base64("Zm8=", "fo"));
	assert_true(base64("Zm9v", "foo"));
	assert_true(base64("Zm9v\r\nYmFy\n", "foobar"));
	assert_true(base64(" Z g = = \n", "f"));
}

static void other_base64_is_refused(void **state)
{
	static const char *const texts[] = { "Z",    "Zg",   "Zg=",   "Zg===", "Zg==Zg==", "Zh==", "Zm9=",
					     "====", "=Zg=", "Zm9v!", "Zm-_",  "Zg=g",     "Zm9v=" };

	for (size_t i = 0; i < CH_COUNT(texts); i++) {
		CH_AUTO(ch_bytes) out = CH_NONE;
		struct ch_error err;

		if (text_base64(ch_view_text(texts[i]), &out, &err))
			fail_msg("taken: %s", texts[i]);
	}
}

/* SEQUENCE { INTEGER 5 }: what counts here is that it begins like DER. */
#define DER "\x30\x03\x02\x01\x05"

static bool unwrap(const char *text, size_t size)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_error err;

	return text_csr_unwrap(ch_view(text, size), &der, &err) &&
	       ch_view_equal(ch_view_of(&der), ch_view(DER, 5));
}
#define unwrap_text(text) unwrap((text), strlen(text))

static void a_request_is_unwrapped_from_der_base64_and_pem(void **state)
{
	assert_true(unwrap(DER, 5));
	assert_true(unwrap_text("MAMCAQU="));
	assert_true(unwrap_text("MAMC\r\nAQU=\r\n"));
	assert_true(unwrap_text(
		"-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQU=\n-----END CERTIFICATE REQUEST-----\n"));
	assert_true(unwrap_text("-----BEGIN NEW CERTIFICATE REQUEST-----\r\nMAMCAQU=\r\n"
				"-----END NEW CERTIFICATE REQUEST-----"));
	assert_true(unwrap_text(
		"Certificate Request:\n    Data: (what `openssl req -text` prints)\n"
		"-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQU=\n-----END CERTIFICATE REQUEST-----\n"));
}

static void other_wrappings_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"hello",
		"Zm9v",
		"-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQU=\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQU=\n-----END NEW CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQU=\n-----END CERTIFICATE REQUEST-----\nmore",
		"-----BEGIN CERTIFICATE REQUEST-----\nMA*CAQU=\n-----END CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
		"-----BEGIN ",
		"-----BEGIN PRIVATE KEY-----\nMAMCAQU=\n-----END PRIVATE KEY-----\n",
	};

	for (size_t i = 0; i < CH_COUNT(texts); i++)
		if (unwrap_text(texts[i]))
			fail_msg("taken: %s", texts[i]);
}

static int64_t at(const char *text)
{
	int64_t time_us = -1;
	struct ch_error err;

	return text_time(text, &time_us, &err) ? time_us : -1;
}

static void times_of_rfc_3339_are_read(void **state)
{
	assert_int_equal(at("1970-01-01T00:00:00Z"), 0);
	assert_int_equal(at("2026-11-21T10:00:00Z"), INT64_C(1795255200) * CH_SECOND);
	assert_int_equal(at("2026-11-21T11:30:00+01:30"), INT64_C(1795255200) * CH_SECOND);
	assert_int_equal(at("2026-11-21t08:30:00-01:30"), INT64_C(1795255200) * CH_SECOND);
	assert_int_equal(at("2026-11-21T10:00:00.25z"), INT64_C(1795255200) * CH_SECOND + 250000);
	assert_int_equal(at("2026-11-21T10:00:00.123456789Z"), INT64_C(1795255200) * CH_SECOND + 123456);
	assert_int_equal(at("2024-02-29T00:00:00Z"), INT64_C(1709164800) * CH_SECOND);
	assert_int_equal(at("2000-03-01T00:00:00Z"), INT64_C(951868800) * CH_SECOND);
}

static void other_times_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"2026-11-21",
		"2026-11-21T10:00:00",
		"2026-11-21 10:00:00Z",
		"2026-11-21T10:00Z",
		"2026-13-01T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-11-21T24:00:00Z",
		"2026-11-21T10:60:00Z",
		"2026-11-21T10:00:60Z",
		"2026-11-21T10:00:00.Z",
		"2026-11-21T10:00:00+0100",
		"2026-11-21T10:00:00+24:00",
		"2026-11-21T10:00:00Zx",
		"1795255200",
		"0000-01-01T00:00:00Z",
		"2026-11-21T10:00:00Z ",
		"-026-11-21T10:00:00Z",
		"now",
	};

	for (size_t i = 0; i < CH_COUNT(texts); i++)
		if (at(texts[i]) != -1)
			fail_msg("taken: %s", texts[i]);
}

static void durations_are_a_number_and_a_unit(void **state)
{
	static const char *const bad[] = { "",     "90",   "d",  "0d",           "-1d",  "1.5d",
					   "90 d", "90dd", "1w", "99999999999s", "101y1" };
	int64_t seconds = 0;
	struct ch_error err;

	assert_true(text_duration("90d", &seconds, &err));
	assert_int_equal(seconds, 90 * 86400);
	assert_true(text_duration("2y", &seconds, &err));
	assert_int_equal(seconds, 730 * 86400);
	assert_true(text_duration("45m", &seconds, &err));
	assert_int_equal(seconds, 2700);
	for (size_t i = 0; i < CH_COUNT(bad); i++)
		if (text_duration(bad[i], &seconds, &err))
			fail_msg("taken: %s", bad[i]);
}

static void numbers_are_digits_within_a_limit(void **state)
{
	static const char *const bad[] = { "", "-1", "+1", "1001", "1a", " 1", "18446744073709551616" };
	uint64_t number = 0;
	struct ch_error err;

	assert_true(text_number("1000", 1000, &number, &err));
	assert_int_equal(number, 1000);
	for (size_t i = 0; i < CH_COUNT(bad); i++)
		assert_false(text_number(bad[i], 1000, &number, &err));
}

static void an_idempotency_key_is_1_to_128_printable_characters(void **state)
{
	char longest[130];
	struct ch_error err;

	memset(longest, 'k', sizeof(longest));
	longest[128] = 0;
	assert_true(text_idempotency_key("a b~!", &err));
	assert_true(text_idempotency_key(longest, &err));
	longest[128] = 'k';
	longest[129] = 0;
	assert_false(text_idempotency_key(longest, &err));
	assert_false(text_idempotency_key("", &err));
	assert_false(text_idempotency_key("é", &err));
	assert_false(text_idempotency_key("a\tb", &err));
}

static void a_serial_is_hex_in_either_case(void **state)
{
	char serial[41];
	struct ch_error err;

	assert_true(text_serial("02AbCd", serial, &err));
	assert_string_equal(serial, "02abcd");
	assert_false(text_serial("", serial, &err));
	assert_false(text_serial("02:ab", serial, &err));
	assert_false(text_serial("0x02", serial, &err));
	assert_false(text_serial("00112233445566778899aabbccddeeff0011223344", serial, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_of_rfc_4648_is_decoded),
		cmocka_unit_test(other_base64_is_refused),
		cmocka_unit_test(a_request_is_unwrapped_from_der_base64_and_pem),
		cmocka_unit_test(other_wrappings_are_refused),
		cmocka_unit_test(times_of_rfc_3339_are_read),
		cmocka_unit_test(other_times_are_refused),
		cmocka_unit_test(durations_are_a_number_and_a_unit),
		cmocka_unit_test(numbers_are_digits_within_a_limit),
		cmocka_unit_test(an_idempotency_key_is_1_to_128_printable_characters),
		cmocka_unit_test(a_serial_is_hex_in_either_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
