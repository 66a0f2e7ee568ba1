/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_breaker_test.c: when an HSM's circuit breaker opens, probes and closes. */
#include "hsm_breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define START (1000 * CH_SECOND)

static void fail_times(struct hsm_breaker *breaker, int times, int64_t now)
{
	for (int i = 0; i < times; i++)
		hsm_breaker_failure(breaker, now);
}

/* From open to closed by the first probe; the time at which it closed. */
static int64_t close_by_probe(struct hsm_breaker *breaker)
{
	int64_t now = breaker->probe_at_us;

	assert_true(hsm_breaker_probe(breaker, now));
	assert_true(hsm_breaker_success(breaker, now));
	return now;
}

static void a_new_breaker_is_closed_and_needs_no_probe(void **state)
{
	struct hsm_breaker breaker = { 0 };

	assert_int_equal(breaker.state, HSM_BREAKER_CLOSED);
	assert_false(hsm_breaker_probe(&breaker, START));
	assert_false(hsm_breaker_success(&breaker, START));
}

static void failures_in_a_row_open_it(void **state)
{
	struct hsm_breaker breaker = { 0 };

	fail_times(&breaker, HSM_BREAKER_FAILURES - 1, START);
	assert_int_equal(breaker.state, HSM_BREAKER_CLOSED);
	assert_true(hsm_breaker_failure(&breaker, START));
	assert_int_equal(breaker.state, HSM_BREAKER_OPEN);
	assert_int_equal(breaker.openings, 1);
}

static void one_success_between_failures_keeps_it_closed(void **state)
{
	struct hsm_breaker breaker = { 0 };

	for (int i = 0; i < 10; i++) {
		fail_times(&breaker, HSM_BREAKER_FAILURES - 1, START);
		hsm_breaker_success(&breaker, START);
	}
	assert_int_equal(breaker.state, HSM_BREAKER_CLOSED);
	assert_int_equal(breaker.openings, 0);
}

static void lateness_opens_it_at_once(void **state)
{
	struct hsm_breaker breaker = { 0 };

	assert_true(hsm_breaker_late(&breaker, START));
	assert_int_equal(breaker.state, HSM_BREAKER_OPEN);
	assert_false(hsm_breaker_late(&breaker, START + 1)); /* told once */
	assert_int_equal(breaker.openings, 1);
}

static void one_probe_is_let_through_when_the_interval_is_over(void **state)
{
	struct hsm_breaker breaker = { 0 };

	hsm_breaker_late(&breaker, START);
	assert_false(hsm_breaker_probe(&breaker, START + HSM_BREAKER_INTERVAL_US - 1));
	assert_true(hsm_breaker_probe(&breaker, START + HSM_BREAKER_INTERVAL_US));
	assert_int_equal(breaker.state, HSM_BREAKER_HALF_OPEN);
	assert_false(hsm_breaker_probe(&breaker, START + HSM_BREAKER_INTERVAL_US)); /* no second one */
	assert_true(hsm_breaker_success(&breaker, START + HSM_BREAKER_INTERVAL_US));
	assert_int_equal(breaker.state, HSM_BREAKER_CLOSED);
}

static void each_failed_probe_doubles_the_interval_up_to_its_cap(void **state)
{
	struct hsm_breaker breaker = { 0 };
	int64_t now = START, expected = HSM_BREAKER_INTERVAL_US;

	hsm_breaker_late(&breaker, now);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(breaker.probe_at_us - now, expected);
		now = breaker.probe_at_us;
		assert_true(hsm_breaker_probe(&breaker, now));
		assert_true(hsm_breaker_failure(&breaker, now)); /* one is enough while half-open */
		assert_int_equal(breaker.state, HSM_BREAKER_OPEN);
		expected = expected * 2 < HSM_BREAKER_LONGEST_US ? expected * 2 : HSM_BREAKER_LONGEST_US;
	}
	assert_int_equal(breaker.interval_us, HSM_BREAKER_LONGEST_US);
	assert_int_equal(breaker.openings, 1); /* it was never closed in between */
}

static void a_probe_that_is_late_counts_as_failed(void **state)
{
	struct hsm_breaker breaker = { 0 };

	hsm_breaker_late(&breaker, START);
	assert_true(hsm_breaker_probe(&breaker, breaker.probe_at_us));
	assert_true(hsm_breaker_late(&breaker, breaker.probe_at_us + 1));
	assert_int_equal(breaker.state, HSM_BREAKER_OPEN);
	assert_int_equal(breaker.interval_us, 2 * HSM_BREAKER_INTERVAL_US);
}

static void an_hsm_that_flaps_is_probed_ever_less_often(void **state)
{
	struct hsm_breaker breaker = { 0 };
	int64_t now = START;

	for (int64_t expected = HSM_BREAKER_INTERVAL_US; expected < HSM_BREAKER_LONGEST_US; expected *= 2) {
		hsm_breaker_late(&breaker, now);
		assert_int_equal(breaker.interval_us, expected);
		now = close_by_probe(&breaker) + CH_SECOND;
	}
}

static void an_hsm_that_was_well_for_long_is_probed_soon_again(void **state)
{
	struct hsm_breaker breaker = { 0 };
	int64_t now = START;

	for (int i = 0; i < 5; i++) {
		hsm_breaker_late(&breaker, now);
		now = close_by_probe(&breaker);
	}
	assert_true(breaker.interval_us > HSM_BREAKER_INTERVAL_US);
	hsm_breaker_late(&breaker, now + HSM_BREAKER_SETTLED_US);
	assert_int_equal(breaker.interval_us, HSM_BREAKER_INTERVAL_US);
}

/* A late reply of an HSM that was stopped and goes on. */
static void a_sign_of_life_while_open_makes_the_probe_due(void **state)
{
	struct hsm_breaker breaker = { 0 };

	hsm_breaker_late(&breaker, START);
	assert_false(hsm_breaker_success(&breaker, START + 10));
	assert_int_equal(breaker.state, HSM_BREAKER_OPEN);
	assert_true(hsm_breaker_probe(&breaker, START + 10));
}

static void a_fresh_worker_is_probed_at_once(void **state)
{
	struct hsm_breaker breaker = { 0 };

	hsm_breaker_late(&breaker, START);
	hsm_breaker_probe(&breaker, breaker.probe_at_us); /* the worker died with the probe */
	hsm_breaker_fresh(&breaker, START + 20);
	assert_int_equal(breaker.state, HSM_BREAKER_OPEN);
	assert_true(hsm_breaker_probe(&breaker, START + 20));
}

static void a_fresh_worker_leaves_a_closed_breaker_closed(void **state)
{
	struct hsm_breaker breaker = { 0 };

	hsm_breaker_fresh(&breaker, START);
	assert_int_equal(breaker.state, HSM_BREAKER_CLOSED);
}

/* A wrong signature is no sign of being late or away: that the HSM answers says nothing. */
static void a_wrong_signature_opens_it_and_only_time_helps(void **state)
{
	struct hsm_breaker breaker = { 0 };

	assert_true(hsm_breaker_wrong(&breaker, START));
	assert_int_equal(breaker.state, HSM_BREAKER_OPEN);
	assert_int_equal(breaker.openings, 1);
	assert_false(hsm_breaker_wrong(&breaker, START)); /* what was in flight: no news */
	assert_false(hsm_breaker_success(&breaker, START));
	hsm_breaker_fresh(&breaker, START);
	assert_false(hsm_breaker_failure(&breaker, START));
	assert_false(hsm_breaker_probe(&breaker, START + HSM_BREAKER_WRONG_US - 1));
	assert_true(breaker.is_wrong);
	assert_true(hsm_breaker_probe(&breaker, START + HSM_BREAKER_WRONG_US));
	assert_true(hsm_breaker_success(&breaker, START + HSM_BREAKER_WRONG_US));
	assert_true(breaker.is_wrong); /* that it lives says nothing of its signatures */
	hsm_breaker_right(&breaker);
	assert_false(breaker.is_wrong);
	assert_int_equal(breaker.state, HSM_BREAKER_CLOSED);
}

static void an_hsm_that_goes_on_signing_wrong_is_tried_ever_less_often(void **state)
{
	struct hsm_breaker breaker = { 0 };
	int64_t expected = HSM_BREAKER_WRONG_US, now = START;

	for (int i = 0; i < 10; i++) {
		assert_true(hsm_breaker_wrong(&breaker, now));
		assert_int_equal(breaker.probe_at_us - now, expected);
		now = close_by_probe(&breaker);
		expected = expected * 2 < HSM_BREAKER_WRONGEST_US ? expected * 2 : HSM_BREAKER_WRONGEST_US;
	}
}

/* One right signature between two wrong ones is what a module that errs at times makes, or one that is
 * clever. */
static void right_signatures_in_between_do_not_make_its_tries_more_frequent(void **state)
{
	struct hsm_breaker breaker = { 0 };
	int64_t now = START;

	for (int64_t expected = HSM_BREAKER_WRONG_US; expected < HSM_BREAKER_WRONGEST_US; expected *= 2) {
		assert_true(hsm_breaker_wrong(&breaker, now));
		assert_int_equal(breaker.probe_at_us - now, expected);
		hsm_breaker_right(&breaker); /* sent before */
		assert_true(breaker.is_wrong);
		now = close_by_probe(&breaker);
		hsm_breaker_right(&breaker);
		assert_false(breaker.is_wrong);
	}
	now += HSM_BREAKER_FORGIVEN_US;
	assert_true(hsm_breaker_wrong(&breaker, now));
	assert_int_equal(breaker.probe_at_us - now, HSM_BREAKER_WRONG_US);
}

static void its_states_have_names(void **state)
{
	assert_string_equal(hsm_breaker_name(HSM_BREAKER_CLOSED), "closed");
	assert_string_equal(hsm_breaker_name(HSM_BREAKER_OPEN), "open");
	assert_string_equal(hsm_breaker_name(HSM_BREAKER_HALF_OPEN), "half-open");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_breaker_is_closed_and_needs_no_probe),
		cmocka_unit_test(failures_in_a_row_open_it),
		cmocka_unit_test(one_success_between_failures_keeps_it_closed),
		cmocka_unit_test(lateness_opens_it_at_once),
		cmocka_unit_test(one_probe_is_let_through_when_the_interval_is_over),
		cmocka_unit_test(each_failed_probe_doubles_the_interval_up_to_its_cap),
		cmocka_unit_test(a_probe_that_is_late_counts_as_failed),
		cmocka_unit_test(an_hsm_that_flaps_is_probed_ever_less_often),
		cmocka_unit_test(an_hsm_that_was_well_for_long_is_probed_soon_again),
		cmocka_unit_test(a_sign_of_life_while_open_makes_the_probe_due),
		cmocka_unit_test(a_fresh_worker_is_probed_at_once),
		cmocka_unit_test(a_fresh_worker_leaves_a_closed_breaker_closed),
		cmocka_unit_test(a_wrong_signature_opens_it_and_only_time_helps),
		cmocka_unit_test(an_hsm_that_goes_on_signing_wrong_is_tried_ever_less_often),
		cmocka_unit_test(right_signatures_in_between_do_not_make_its_tries_more_frequent),
		cmocka_unit_test(its_states_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
