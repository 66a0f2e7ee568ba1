/* SPDX-License-Identifier: Apache-2.0 */
/* revoke_unknown_test.c: a serial in hexadecimal becomes the octets of a DER INTEGER, whoever wrote it
 * (services/issuer/revoke_unknown.c). */
#include "stopping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define TWENTY       "7fffffffffffffffffffffffffffffffffffffff"
#define ZEROS_TWENTY "00007fffffffffffffffffffffffffffffffffffffff"
#define TOP_BIT      "8000000000000000000000000000000000000000" /* needs a 21st octet for its sign */
#define TWENTY_ONE   "017fffffffffffffffffffffffffffffffffffffff"

static void a_number_has_one_form(void **state)
{
	static const char *const forms[][2] = {
		{ "5", "05" },        { "05", "05" },     { "000005", "05" },
		{ "80", "0080" },     { "0080", "0080" }, { "f01", "0f01" },
		{ "ABcd", "00abcd" }, { TWENTY, TWENTY }, { ZEROS_TWENTY, TWENTY },
	};

	for (size_t i = 0; i < CH_COUNT(forms); i++) {
		CH_AUTO(ch_bytes) serial = CH_NONE;
		CH_AUTO(ch_string) hex = NULL;
		struct ch_error err;

		if (!named_serial(forms[i][0], &serial, &err))
			fail_msg("%s: %s", forms[i][0], err.message);
		hex = ch_hex(ch_view_of(&serial));
		assert_string_equal(hex, forms[i][1]);
	}
}

/* RFC 5280 §4.1.2.2: positive, at most 20 octets. */
static void what_is_no_serial_is_refused_by_name(void **state)
{
	static const char *const texts[] = { "",    "0",    "0000", "g5",    "0x05",
					     "05 ", "0:05", "-5",   TOP_BIT, TWENTY_ONE };

	for (size_t i = 0; i < CH_COUNT(texts); i++) {
		CH_AUTO(ch_bytes) serial = CH_NONE;
		struct ch_error err = CH_NONE;

		if (named_serial(texts[i], &serial, &err))
			fail_msg("'%s' was taken", texts[i]);
		assert_int_equal(err.code, CH_INVALID);
		assert_non_null(strstr(err.message, texts[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_has_one_form),
		cmocka_unit_test(what_is_no_serial_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
