/* SPDX-License-Identifier: Apache-2.0 */
/* replay_test.c: a nonce counts once, whatever the clock does, and nothing else is refused for it. Time here
 * is in whole seconds from T; the window is 30 s. */
#include "envelope/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T      (INT64_C(1795255200) * CH_SECOND)
#define AT(s)  (T + (s)*CH_SECOND + CH_SECOND / 2)
#define WINDOW (CH_ENVELOPE_WINDOW / CH_SECOND)

/* The monotonic clock goes on by itself; here it does what the test says. */
static int64_t monotonic_us = CH_HOUR;
int64_t __wrap_ch_monotonic_us(void);
int64_t __wrap_ch_monotonic_us(void)
{
	return monotonic_us;
}

struct fixture {
	int64_t now;
	struct ch_clock clock;
	struct ch_replay *replay;
	uint64_t made; /* nonces */
};

static int64_t now(void *context)
{
	const struct fixture *f = context;

	return f->now;
}

static void begin(struct fixture *f, size_t capacity)
{
	ch_replay_free(f->replay);
	f->replay = ch_replay_new(capacity, &f->clock);
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	f->clock = (struct ch_clock){ now, f };
	f->now = T - 200 * CH_SECOND;
	begin(f, 100000);
	f->now = AT(0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_replay_free(f->replay);
	free(f);
	return 0;
}

static enum ch_code check(struct fixture *f, uint64_t high, uint64_t low, int64_t sent_at_us)
{
	uint64_t nonce[2] = { high, low };
	struct ch_error err = CH_NONE;

	if (ch_replay_check(f->replay, (const uint8_t *)nonce, sent_at_us, &err))
		return CH_OK;
	if (err.code == CH_EXPIRED) /* the caller's next message can do better, a little later */
		assert_int_equal(err.retry_after_ms, 5);
	return err.code;
}

/* With a nonce that was never there. */
static enum ch_code fresh(struct fixture *f, int64_t sent_at_us)
{
	return check(f, ++f->made, UINT64_C(1) << 63, sent_at_us);
}

/* Both clocks. */
static void pass(struct fixture *f, int64_t seconds)
{
	f->now += seconds * CH_SECOND;
	monotonic_us += seconds * CH_SECOND;
}

static void a_nonce_counts_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(check(f, 1, 2, AT(0)), CH_OK);
	assert_int_equal(check(f, 1, 2, AT(0)), CH_REPLAYED);
	assert_int_equal(check(f, 2, 1, AT(0)), CH_OK);
	assert_int_equal(check(f, 1, 0, AT(0)), CH_OK);
	assert_int_equal(check(f, 0, 1, AT(0)), CH_OK);
	assert_int_equal(check(f, 1, 0, AT(0)), CH_REPLAYED);
	assert_int_equal(check(f, 0, 1, AT(0)), CH_REPLAYED);
	assert_int_equal(check(f, 1, 1, AT(0)), CH_OK);
	/* What sent_at says is signed with the nonce: in another second it is another message. */
	assert_int_equal(check(f, 1, 2, AT(1)), CH_OK);
	assert_int_equal(check(f, 1, 2, AT(0)), CH_REPLAYED);
}

static void what_is_no_nonce_or_no_time_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(check(f, 0, 0, AT(0)), CH_INVALID);
	assert_int_equal(check(f, 1, 2, -1), CH_INVALID);
	assert_int_equal(check(f, 1, 2, 0), CH_EXPIRED); /* a time, and long ago */
}

static void thousands_in_a_second_are_all_remembered(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 1; i <= 5000; i++)
		assert_int_equal(check(f, i, i * 3, AT(0)), CH_OK);
	for (uint64_t i = 1; i <= 5000; i++)
		assert_int_equal(check(f, i, i * 3, AT(0)), CH_REPLAYED);
}

static void what_was_sent_before_it_began_is_refused(void **state)
{
	struct fixture *f = *state;

	begin(f, 1000);
	assert_int_equal(fresh(f, AT(0)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(0) - 1), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(0) + 1), CH_OK);
}

/* A second whose nonces were let go stays shut for good; its neighbours, never used, do not. */
static void what_has_left_the_window_is_never_taken_again(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fresh(f, AT(0)), CH_OK);
	pass(f, WINDOW + 1);
	assert_int_equal(fresh(f, AT(WINDOW + 1)), CH_OK);
	assert_int_equal(fresh(f, AT(0)), CH_OK); /* just inside yet */
	pass(f, 1);
	assert_int_equal(fresh(f, AT(WINDOW + 2)), CH_OK);
	assert_int_equal(fresh(f, AT(0)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(-1)), CH_OK);
	assert_int_equal(fresh(f, AT(1)), CH_OK);
	f->now = AT(0); /* a clock that steps back */
	assert_int_equal(fresh(f, AT(0)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(2)), CH_OK);
}

/* Second after second, up or down, they are one span; each end of it grows. */
static void seconds_that_were_let_go_are_shut_to_the_last(void **state)
{
	static const int orders[][5] = {
		{ 1, 2, 3, 4, 5 }, { 5, 4, 3, 2, 1 }, { 3, 1, 5, 2, 4 }, { 1, 5, 3, 4, 2 }
	};

	for (size_t i = 0; i < CH_COUNT(orders); i++) {
		struct fixture *f = *state;

		f->now = T - 200 * CH_SECOND;
		begin(f, 1); /* each pushes the one before out */
		f->now = AT(0);
		for (size_t k = 0; k < 5; k++)
			assert_int_equal(fresh(f, AT(10 + orders[i][k])), CH_OK);
		assert_int_equal(fresh(f, AT(20)), CH_OK);
		for (int s = 11; s <= 15; s++)
			assert_int_equal(fresh(f, AT(s)), CH_EXPIRED);
		assert_int_equal(fresh(f, AT(10)), CH_OK);
		assert_int_equal(fresh(f, AT(16)), CH_OK);
	}
}

/* More spans than are kept: the two that are closest become one. All that was let go stays shut, and so does
 * what lies between those two; behind the other gaps all is open. */
static void many_gaps_close_from_the_smallest(void **state)
{
	static const int closest[] = { 0, 5, 14 };

	for (size_t c = 0; c < CH_COUNT(closest); c++)
		for (int open = 0; open < 15; open++) {
			struct fixture *f = *state;
			int seconds[16], at = 0;

			f->now = T - 200 * CH_SECOND;
			begin(f, 1); /* each pushes the one before out */
			f->now = AT(0);
			for (int i = 0; i < 16; i++) {
				seconds[i] = at;
				assert_int_equal(fresh(f, AT(at)), CH_OK);
				at += i == closest[c] ? 2 : 3 + i % 3;
			}
			for (int i = 0; i < 16; i++)
				assert_int_equal(fresh(f, AT(seconds[i])), CH_EXPIRED);
			assert_int_equal(fresh(f, AT(seconds[open] + 1)),
					 open == closest[c] ? CH_EXPIRED : CH_OK);
		}
}

/* The ring has 128 places: a second takes the place of one 128 s before, which is let go first. */
static void seconds_that_share_a_place_are_not_confused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(check(f, 7, 7, AT(0)), CH_OK);
	assert_int_equal(check(f, 7, 7, AT(128)), CH_OK);
	assert_int_equal(check(f, 7, 7, AT(128)), CH_REPLAYED);
	assert_int_equal(fresh(f, AT(0)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(127)), CH_OK);
}

static void a_full_one_forgets_its_oldest_second_and_shuts_it(void **state)
{
	struct fixture *f = *state;

	f->now = T - 200 * CH_SECOND;
	begin(f, 4);
	f->now = AT(0);
	assert_int_equal(fresh(f, AT(2)), CH_OK);
	assert_int_equal(fresh(f, AT(1)), CH_OK);
	assert_int_equal(fresh(f, AT(3)), CH_OK);
	assert_int_equal(check(f, 9, 9, AT(3)), CH_OK); /* full now */
	assert_int_equal(fresh(f, AT(3)), CH_OK);
	assert_int_equal(fresh(f, AT(1)), CH_EXPIRED);
	assert_int_equal(check(f, 9, 9, AT(3)), CH_REPLAYED); /* for which AT(2) was let go */
	assert_int_equal(fresh(f, AT(2)), CH_EXPIRED);
}

/* It began by a clock that was an hour ahead: once that is put right it takes messages, but none that an
 * earlier run may have taken. */
static void a_clock_that_is_put_back_is_followed(void **state)
{
	struct fixture *f = *state;
	int64_t floor = AT(3600);

	f->now = floor;
	begin(f, 1000);
	assert_int_equal(fresh(f, AT(0)), CH_EXPIRED);
	pass(f, 10);
	assert_int_equal(fresh(f, f->now), CH_OK);
	pass(f, 5);
	f->now -= 3600 * CH_SECOND; /* 15 s after it began */
	assert_int_equal(fresh(f, AT(0)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(0) + 1), CH_OK);
	assert_int_equal(fresh(f, AT(15)), CH_OK);
	/* What the wrong clock's last seconds were, should it come to them. */
	assert_int_equal(fresh(f, AT(3600)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(3600 - 2 * WINDOW)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(3600 - 2 * WINDOW - 1)), CH_OK);
	assert_int_equal(fresh(f, AT(3601)), CH_OK);
}

/* Less than a second is no step. */
static void a_clock_that_is_slewed_changes_nothing(void **state)
{
	struct fixture *f = *state;

	begin(f, 1000);
	pass(f, 5);
	f->now -= CH_SECOND - 1000;
	assert_int_equal(fresh(f, AT(0)), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(0) + 1), CH_OK);
	f->now -= 2000;
	pass(f, 1);
	assert_int_equal(fresh(f, AT(0) - CH_SECOND - 1000), CH_EXPIRED);
	assert_int_equal(fresh(f, AT(4)), CH_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_nonce_counts_once),
		TEST(what_is_no_nonce_or_no_time_is_refused),
		TEST(thousands_in_a_second_are_all_remembered),
		TEST(what_was_sent_before_it_began_is_refused),
		TEST(what_has_left_the_window_is_never_taken_again),
		TEST(seconds_that_were_let_go_are_shut_to_the_last),
		TEST(many_gaps_close_from_the_smallest),
		TEST(seconds_that_share_a_place_are_not_confused),
		TEST(a_full_one_forgets_its_oldest_second_and_shuts_it),
		TEST(a_clock_that_is_put_back_is_followed),
		TEST(a_clock_that_is_slewed_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
