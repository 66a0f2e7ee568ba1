/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_absent_test.c: what the pool remembers of keys that an HSM said it does not have. */
#include "hsm_absent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define START (1000 * CH_SECOND)
#define KEY   "00112233445566778899aabbccddeeff"
#define OTHER "ffeeddccbbaa99887766554433221100"

static void nothing_is_absent_at_first(void **state)
{
	struct hsm_absent *absent = NULL;

	assert_int_equal(hsm_absent_bits(&absent, KEY, START), 0);
}

static void each_hsm_is_remembered_by_key(void **state)
{
	struct hsm_absent *absent = NULL;

	hsm_absent_note(&absent, KEY, 0, START);
	hsm_absent_note(&absent, KEY, 2, START);
	hsm_absent_note(&absent, OTHER, 1, START);
	assert_int_equal(hsm_absent_bits(&absent, KEY, START), 5);
	assert_int_equal(hsm_absent_bits(&absent, OTHER, START), 2);
	hsm_absent_free(&absent);
	assert_null(absent);
}

static void it_passes_by_itself(void **state)
{
	struct hsm_absent *absent = NULL;

	hsm_absent_note(&absent, KEY, 0, START);
	assert_int_equal(hsm_absent_bits(&absent, KEY, START + HSM_ABSENT_US - 1), 1);
	assert_int_equal(hsm_absent_bits(&absent, KEY, START + HSM_ABSENT_US), 0);
	assert_null(absent);
}

static void a_key_that_was_copied_is_there(void **state)
{
	struct hsm_absent *absent = NULL;

	hsm_absent_note(&absent, KEY, 0, START);
	hsm_absent_note(&absent, KEY, 1, START);
	hsm_absent_forget_key(&absent, KEY, 0);
	assert_int_equal(hsm_absent_bits(&absent, KEY, START), 2);
	hsm_absent_forget_key(&absent, KEY, 1);
	hsm_absent_forget_key(&absent, KEY, 1);
	assert_null(absent);
}

static void an_hsm_that_came_up_may_have_any_key(void **state)
{
	struct hsm_absent *absent = NULL;

	hsm_absent_note(&absent, KEY, 0, START);
	hsm_absent_note(&absent, OTHER, 0, START);
	hsm_absent_note(&absent, OTHER, 1, START);
	hsm_absent_forget_hsm(&absent, 0);
	assert_int_equal(hsm_absent_bits(&absent, KEY, START), 0);
	assert_int_equal(hsm_absent_bits(&absent, OTHER, START), 2);
	hsm_absent_free(&absent);
}

/* Key ids come from callers: whatever they ask for, memory stays bounded. */
static void it_remembers_no_more_than_its_cap(void **state)
{
	struct hsm_absent *absent = NULL;
	char key[40];

	for (int i = 0; i < HSM_ABSENT_CAP; i++) {
		snprintf(key, sizeof(key), "%032d", i);
		hsm_absent_note(&absent, key, 0, START);
	}
	hsm_absent_note(&absent, KEY, 0, START);
	assert_int_equal(hsm_absent_bits(&absent, KEY, START), 0);
	hsm_absent_note(&absent, KEY, 0, START + HSM_ABSENT_US); /* those before have passed */
	assert_int_equal(hsm_absent_bits(&absent, KEY, START + HSM_ABSENT_US), 1);
	hsm_absent_free(&absent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_absent_at_first),
		cmocka_unit_test(each_hsm_is_remembered_by_key),
		cmocka_unit_test(it_passes_by_itself),
		cmocka_unit_test(a_key_that_was_copied_is_there),
		cmocka_unit_test(an_hsm_that_came_up_may_have_any_key),
		cmocka_unit_test(it_remembers_no_more_than_its_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
