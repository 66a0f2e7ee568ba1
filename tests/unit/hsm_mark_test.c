/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_mark_test.c: high-water marks are numbers, whatever their length, and only the highest of a name stays.
 */
#include "hsm_mark.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct hsm_mark mark_of(const char *octets, size_t size)
{
	struct hsm_mark mark;

	hsm_mark_set(&mark, ch_view(octets, size));
	return mark;
}

static void numbers_are_compared_by_value(void **state)
{
	struct hsm_mark none = CH_NONE, zero = mark_of("", 0), padded = mark_of("\0\0\x09", 3);
	struct hsm_mark nine, ten, large = mark_of("\x01\0\0\0\0\0\0\0\0\0", 10);

	hsm_mark_of_number(&nine, 9);
	hsm_mark_of_number(&ten, 10);
	assert_int_equal(hsm_mark_compare(&padded, &nine), 0); /* leading zeros say nothing */
	assert_true(hsm_mark_compare(&nine, &ten) < 0);
	assert_true(hsm_mark_compare(&large, &ten) > 0); /* over 64 bits, as CRL numbers may be */
	assert_true(hsm_mark_compare(&none, &zero) < 0);
	assert_true(hsm_mark_compare(&zero, &nine) < 0);
}

static void what_is_over_the_cap_is_above_all_others(void **state)
{
	char octets[HSM_MARK_VALUE_CAP + 1];
	struct hsm_mark over, most;

	memset(octets, 0x01, sizeof(octets));
	over = mark_of(octets, sizeof(octets));
	memset(octets, 0xff, sizeof(octets));
	most = mark_of(octets, HSM_MARK_VALUE_CAP);
	assert_int_equal(hsm_mark_compare(&over, &most), 0);
}

static void a_list_keeps_the_highest_of_each_name(void **state)
{
	CH_AUTO(hsm_mark_list) list = CH_NONE;
	struct hsm_mark low, high;

	hsm_mark_of_number(&low, 3);
	hsm_mark_of_number(&high, 300);
	hsm_mark_list_add(&list, "key/a", &high);
	hsm_mark_list_add(&list, "key/b", &low);
	hsm_mark_list_add(&list, "key/a", &low);  /* the first does not just stay, */
	hsm_mark_list_add(&list, "key/b", &high); /* nor the last */
	assert_int_equal(list.count, 2);
	assert_int_equal(hsm_mark_compare(&list.items[0].mark, &high), 0);
	assert_int_equal(hsm_mark_compare(&list.items[1].mark, &high), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_compared_by_value),
		cmocka_unit_test(what_is_over_the_cap_is_above_all_others),
		cmocka_unit_test(a_list_keeps_the_highest_of_each_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
