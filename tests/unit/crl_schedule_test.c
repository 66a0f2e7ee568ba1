/* SPDX-License-Identifier: Apache-2.0 */
/* crl_schedule_test.c: when a CRL is due (services/crl/schedule.c). */
#include "crl.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define T0 (INT64_C(1795219200) * CH_SECOND) /* 2026-11-21T00:00:00Z */

static struct crl_ca hourly(void)
{
	return (struct crl_ca){ .not_before_us = T0 - CH_DAY,
				.not_after_us = T0 + 365 * CH_DAY,
				.interval_us = CH_HOUR,
				.validity_us = CH_DAY };
}

static void a_ca_without_a_crl_is_due_since_it_exists(void **state)
{
	struct crl_ca ca = hourly();
	struct crl_record none = CH_NONE;

	assert_int_equal(crl_due_at(&ca, &none), ca.not_before_us);
}

static void the_next_is_due_an_interval_after_the_last(void **state)
{
	struct crl_ca ca = hourly();
	struct crl_record last = { .number = 7, .this_update_us = T0, .next_update_us = T0 + CH_DAY };

	assert_int_equal(crl_due_at(&ca, &last), T0 + CH_HOUR);
}

static void a_new_one_is_out_before_the_last_one_ends(void **state)
{
	struct crl_ca ca = hourly();
	struct crl_record last = { .number = 7, .this_update_us = T0 };

	ca.interval_us = 30 * CH_DAY; /* longer than the validity */
	assert_int_equal(crl_due_at(&ca, &last), T0 + 18 * CH_HOUR);
	ca.interval_us = CH_DAY; /* as long */
	assert_int_equal(crl_due_at(&ca, &last), T0 + 18 * CH_HOUR);
}

static void an_expired_ca_makes_no_more(void **state)
{
	struct crl_ca ca = hourly();
	struct crl_record last = { .number = 7, .this_update_us = T0 }, none = CH_NONE;

	ca.not_after_us = T0 + CH_HOUR;
	assert_int_equal(crl_due_at(&ca, &last), INT64_MAX);
	ca.not_after_us = ca.not_before_us;
	assert_int_equal(crl_due_at(&ca, &none), INT64_MAX);
}

static void failures_are_retried_after_a_second_then_ever_later_up_to_a_minute(void **state)
{
	assert_int_equal(crl_retry_delay(1), CH_SECOND);
	assert_int_equal(crl_retry_delay(2), 2 * CH_SECOND);
	assert_int_equal(crl_retry_delay(4), 8 * CH_SECOND);
	assert_int_equal(crl_retry_delay(7), CH_MINUTE);
	assert_int_equal(crl_retry_delay(4000000), CH_MINUTE);
}

static void this_update_is_in_whole_seconds(void **state)
{
	struct crl_record none = CH_NONE;

	assert_int_equal(crl_this_update(T0 + 999999, &none), T0);
}

static void this_update_never_goes_back_when_a_clock_does(void **state)
{
	struct crl_record last = { .number = 7, .this_update_us = T0 };

	assert_int_equal(crl_this_update(T0 - 5 * CH_SECOND, &last), T0);
	assert_int_equal(crl_this_update(T0 + 5 * CH_SECOND, &last), T0 + 5 * CH_SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ca_without_a_crl_is_due_since_it_exists),
		cmocka_unit_test(the_next_is_due_an_interval_after_the_last),
		cmocka_unit_test(a_new_one_is_out_before_the_last_one_ends),
		cmocka_unit_test(an_expired_ca_makes_no_more),
		cmocka_unit_test(failures_are_retried_after_a_second_then_ever_later_up_to_a_minute),
		cmocka_unit_test(this_update_is_in_whole_seconds),
		cmocka_unit_test(this_update_never_goes_back_when_a_clock_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
