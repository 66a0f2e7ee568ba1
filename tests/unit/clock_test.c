/* SPDX-License-Identifier: Apache-2.0 */
/* clock_test.c: time that tests can move, and as text. */
#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static int64_t fixed_now(void *context)
{
	return *(int64_t *)context;
}

static void a_clock_can_be_moved(void **state)
{
	int64_t now = 5 * CH_DAY;
	const struct ch_clock clock = { fixed_now, &now };

	assert_int_equal(ch_clock_now_us(&clock), 5 * CH_DAY);
	now += CH_SECOND;
	assert_int_equal(ch_clock_now_us(&clock), 5 * CH_DAY + CH_SECOND);
}

static void the_system_clock_is_the_operating_systems(void **state)
{
	int64_t now = ch_clock_now_us(ch_clock_system());

	assert_in_range(now / CH_SECOND, (uintmax_t)time(NULL) - 2, (uintmax_t)time(NULL) + 2);
	assert_true(ch_monotonic_us() <= ch_monotonic_us());
}

static void time_is_written_as_rfc_3339(void **state)
{
	char text[CH_TIME_TEXT_SIZE];

	assert_string_equal(ch_time_text(0, text), "1970-01-01T00:00:00Z");
	assert_string_equal(ch_time_text(INT64_C(1795255200) * CH_SECOND, text), "2026-11-21T10:00:00Z");
	assert_string_equal(ch_time_text(INT64_C(1795255200) * CH_SECOND + 42, text),
			    "2026-11-21T10:00:00.000042Z");
	assert_string_equal(ch_time_text(-1, text), "1969-12-31T23:59:59.999999Z");
}

static void a_time_is_read_as_it_is_written(void **state)
{
	const char *no_times[] = { "",
				   "2026-11-21",
				   "2026-11-21T10:00:00",
				   "2026-11-21T10:00:00Z ",
				   "2026-02-30T10:00:00Z",
				   "2026-11-21 10:00:00Z",
				   "2026-11-21T10:00:60Z",
				   "26-11-21T10:00:00Z" };
	int64_t time_us;

	(void)state;
	assert_true(ch_time_read("2026-11-21T10:00:00Z", &time_us));
	assert_int_equal(time_us, INT64_C(1795255200) * CH_SECOND);
	for (size_t i = 0; i < sizeof(no_times) / sizeof(no_times[0]); i++) {
		if (ch_time_read(no_times[i], &time_us))
			fail_msg("'%s' was read", no_times[i]);
		assert_int_equal(time_us, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_is_read_as_it_is_written),
		cmocka_unit_test(a_clock_can_be_moved),
		cmocka_unit_test(the_system_clock_is_the_operating_systems),
		cmocka_unit_test(time_is_written_as_rfc_3339),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
