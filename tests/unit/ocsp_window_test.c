/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp_window_test.c: responders that never speak to each other say the same times (services/ocsp/window.c).
 */
#include "ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795255200) * CH_SECOND)

static const int64_t validities[] = { CH_MINUTE, 61 * CH_SECOND, CH_HOUR, CH_HOUR + 1, 7 * CH_DAY };

static struct ch_view serial_of(int number, uint8_t octets[16])
{
	memset(octets, 0x11, 16);
	/* the tag, spread over all that it can be */
	for (int i = 0; i < 4; i++)
		octets[12 + i] = (uint8_t)((uint32_t)number * 2654435761u >> (24 - 8 * i));
	return ch_view(octets, 16);
}

static void an_answer_is_valid_now_and_long_enough(void **state)
{
	uint8_t octets[16];

	for (size_t v = 0; v < CH_COUNT(validities); v++)
		for (int i = 0; i < 2000; i++) {
			int64_t now_us = NOW + INT64_C(7919000) * i;
			struct ocsp_window w =
				ocsp_window_in_force(serial_of(i, octets), validities[v], now_us);

			assert_int_equal(w.this_update_us % CH_SECOND, 0);
			assert_true(w.this_update_us <= now_us);
			assert_true(w.from_us <= now_us && now_us < w.stale_at_us);
			assert_true(w.renew_at_us <= w.stale_at_us);
			assert_true(w.stale_at_us <= w.next_update_us);
			assert_true(w.next_update_us - w.this_update_us <= validities[v]);
			assert_true(w.next_update_us - now_us >= validities[v] / 2 - 31 * CH_SECOND);
			assert_true(w.next_update_us - now_us > validities[v] / 4);
		}
}

/* Whenever two responders are asked, the later answer has the same thisUpdate or a later one. */
static void this_update_never_goes_backwards(void **state)
{
	uint8_t octets[16];

	for (size_t v = 0; v < CH_COUNT(validities); v++)
		for (int number = 0; number < 20; number++) {
			struct ch_view serial = serial_of(number, octets);
			int64_t last_us = 0, changes = 0;

			for (int i = 0; i <= 1000; i++) {
				int64_t now_us = NOW + validities[v] * i / 100;
				struct ocsp_window w = ocsp_window_in_force(serial, validities[v], now_us);

				assert_true(w.this_update_us >= last_us);
				changes += w.this_update_us != last_us;
				last_us = w.this_update_us;
			}
			assert_in_range(changes, 20, 22); /* ten validities: one each half, and the first */
		}
}

/* What is made ahead is what all give out from its from_us on. */
static void the_next_window_is_known_before_it_is_given_out(void **state)
{
	uint8_t octets[16];
	struct ch_view serial = serial_of(7, octets);
	struct ocsp_window first = ocsp_window_in_force(serial, CH_HOUR, NOW);
	struct ocsp_window next = ocsp_window_of(serial, CH_HOUR, first.renew_at_us);

	assert_int_equal(next.this_update_us, first.renew_at_us);
	assert_int_equal(next.from_us, first.stale_at_us);
	assert_int_equal(next.from_us - next.this_update_us, 30 * CH_SECOND);
	assert_int_equal(ocsp_window_of(serial, CH_HOUR, first.renew_at_us - 1).this_update_us,
			 first.this_update_us);
	assert_int_equal(ocsp_window_in_force(serial, CH_HOUR, next.from_us - 1).this_update_us,
			 first.this_update_us);
	assert_int_equal(ocsp_window_in_force(serial, CH_HOUR, next.from_us).this_update_us,
			 next.this_update_us);
}

static void certificates_change_at_different_times(void **state)
{
	uint8_t octets[16];
	int parts[10] = { 0 };

	for (int i = 0; i < 1000; i++) {
		struct ocsp_window w = ocsp_window_in_force(serial_of(i, octets), CH_HOUR, NOW);

		parts[(w.stale_at_us - NOW - 1) / (3 * CH_MINUTE)]++;
	}
	for (size_t i = 0; i < CH_COUNT(parts); i++)
		assert_in_range(parts[i], 60, 140);
}

static void short_serials_have_a_grid_too(void **state)
{
	struct ocsp_window none = ocsp_window_in_force(ch_view("", 0), CH_HOUR, NOW);
	struct ocsp_window one = ocsp_window_in_force(ch_view("\x05", 1), CH_HOUR, NOW);

	assert_true(none.this_update_us <= NOW && one.this_update_us <= NOW);
}

/* RFC 6960 §4.2.2.1: thisUpdate is when the status is known to be correct; before the change it was another.
 */
static void a_status_is_not_dated_before_it_was_so(void **state)
{
	uint8_t octets[16];
	const struct ocsp_window grid = ocsp_window_in_force(serial_of(3, octets), CH_HOUR, NOW);
	struct ocsp_window w = grid;

	ocsp_window_since(&w, 0, NOW);
	assert_memory_equal(&w, &grid, sizeof(w));
	ocsp_window_since(&w, grid.this_update_us - CH_SECOND, NOW);
	assert_memory_equal(&w, &grid, sizeof(w));
	ocsp_window_since(&w, NOW - 1, NOW);
	assert_int_equal(w.this_update_us, NOW - CH_SECOND);
	assert_int_equal(w.next_update_us, grid.next_update_us);
	/* The database's clock is ahead of ours: no thisUpdate of the future. */
	w = grid;
	ocsp_window_since(&w, NOW + CH_SECOND, NOW);
	assert_memory_equal(&w, &grid, sizeof(w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_valid_now_and_long_enough),
		cmocka_unit_test(this_update_never_goes_backwards),
		cmocka_unit_test(the_next_window_is_known_before_it_is_given_out),
		cmocka_unit_test(certificates_change_at_different_times),
		cmocka_unit_test(short_serials_have_a_grid_too),
		cmocka_unit_test(a_status_is_not_dated_before_it_was_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
