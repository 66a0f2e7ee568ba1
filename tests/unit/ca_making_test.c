/* SPDX-License-Identifier: Apache-2.0 */
/* ca_making_test.c: what a CA's document may ask for below its parent (RFC 5280 §4.2.1.9). */
#include "issuance/ca_making.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define T0        (INT64_C(1795219200) * CH_SECOND) /* 2026-11-21T00:00:00Z */
#define NO_LENGTH (-1)

/* "": it may be made. */
static void assert_below(int64_t parents_length, int64_t length, int64_t validity_us, const char *refusal)
{
	struct ch_ca parent = { .id = 7, .not_after_us = T0 + CH_DAY };
	struct ch_ca ca = CH_NONE;
	struct ch_error err = CH_NONE;
	bool made;

	parent.document.name = ch_strdup("root");
	parent.document.path_length = parents_length;
	ca.document.name = ch_strdup("below");
	ca.document.subject = ch_strdup("CN=Below");
	ca.document.key = ch_strdup("ecdsa-p256");
	ca.document.path_length = length;
	ca.document.validity_us = validity_us;
	made = ch_ca_plan(&ca, &parent, T0, &err);
	assert_int_equal(made, refusal[0] == '\0');
	if (!made && !strstr(err.message, refusal))
		fail_msg("'%s' and not '%s'", err.message, refusal);
	if (made)
		assert_int_equal(ca.parent_id, 7);
	ch_ca_free(&ca);
	ch_ca_free(&parent);
}

static void a_path_is_shorter_below_each_ca(void **state)
{
	assert_below(NO_LENGTH, NO_LENGTH, CH_HOUR, "");
	assert_below(NO_LENGTH, 3, CH_HOUR, "");
	assert_below(2, 1, CH_HOUR, "");
	assert_below(2, 0, CH_HOUR, "");
	assert_below(2, 2, CH_HOUR, "path_length 2 is not below the parent's 2");
	assert_below(2, NO_LENGTH, CH_HOUR, "is not below the parent's 2");
	assert_below(0, 0, CH_HOUR, "parent 'root' has path_length 0: no CA may stand below it");
}

static void a_ca_ends_no_later_than_its_parent(void **state)
{
	assert_below(NO_LENGTH, 0, CH_DAY, "");
	assert_below(NO_LENGTH, 0, 2 * CH_DAY, "validity goes beyond the parent's end 2026-11-22T00:00:00Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_is_shorter_below_each_ca),
		cmocka_unit_test(a_ca_ends_no_later_than_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
