/* SPDX-License-Identifier: Apache-2.0 */
/* peer_clocks_test.c: what is known of others' clocks, from when their messages say that they were sent. */
#include "envelope/peer_clocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS CH_MILLISECOND

/* Both clocks go as the test says; this one's wall clock is AHEAD of the monotonic one. */
static int64_t monotonic_us;
#define AHEAD (INT64_C(1795255200) * CH_SECOND)
int64_t __wrap_ch_monotonic_us(void);
int64_t __wrap_ch_monotonic_us(void)
{
	return monotonic_us;
}

struct fixture {
	struct ch_peer_clocks *clocks;
	int64_t ahead_us;
};

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	monotonic_us = CH_HOUR;
	f->ahead_us = AHEAD;
	f->clocks = ch_peer_clocks_new();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_peer_clocks_free(f->clocks);
	free(f);
	return 0;
}

static struct ch_peer peer(const char *service, const char *instance)
{
	struct ch_peer made = CH_NONE;

	snprintf(made.service, sizeof(made.service), "%s", service);
	snprintf(made.instance, sizeof(made.instance), "%s", instance);
	return made;
}

static int64_t now(const struct fixture *f)
{
	return monotonic_us + f->ahead_us;
}

/* A message whose sender's clock is `offset_us` from this one, its way included. */
static void hear(struct fixture *f, const char *service, const char *instance, int64_t offset_us)
{
	struct ch_peer from = peer(service, instance);

	ch_peer_clocks_note(f->clocks, &from, now(f) + offset_us, now(f));
}

static int64_t offset(struct fixture *f, const char *service, const char *instance)
{
	struct ch_peer of = peer(service, instance);

	return ch_peer_clocks_offset(f->clocks, &of, now(f));
}

static size_t known(struct fixture *f, struct ch_peer_clock list[CH_PEER_CLOCKS_CAP])
{
	return ch_peer_clocks_list(f->clocks, now(f), list);
}

static void the_quickest_message_tells(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(offset(f, "tsa", "tsa-1"), 0);
	hear(f, "tsa", "tsa-1", -30 * MS);
	assert_int_equal(offset(f, "tsa", "tsa-1"), -30 * MS);
	hear(f, "tsa", "tsa-1", -10 * MS);
	hear(f, "tsa", "tsa-1", -20 * MS);
	assert_int_equal(offset(f, "tsa", "tsa-1"), -10 * MS);
	assert_int_equal(offset(f, "tsa", "tsa-2"), 0);
	assert_int_equal(offset(f, "ocsp", "tsa-1"), 0);
}

static void each_instance_has_a_clock_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];

	hear(f, "tsa", "a", 1 * CH_SECOND);
	hear(f, "tsa", "b", 2 * CH_SECOND);
	hear(f, "ocsp", "a", 3 * CH_SECOND);
	assert_int_equal(known(f, list), 3);
	assert_int_equal(list[0].offset_us, 1 * CH_SECOND);
	assert_string_equal(list[1].peer.instance, "b");
	assert_int_equal(list[1].offset_us, 2 * CH_SECOND);
	assert_string_equal(list[2].peer.service, "ocsp");
	assert_int_equal(list[2].offset_us, 3 * CH_SECOND);
	assert_int_equal(offset(f, "tsa", "b"), 2 * CH_SECOND);
}

/* A guess counts for two to four seconds: what was true before that is forgotten. */
static void a_guess_lasts_two_to_four_seconds(void **state)
{
	struct fixture *f = *state;

	hear(f, "tsa", "a", 50 * MS);
	monotonic_us += 2 * CH_SECOND;
	hear(f, "tsa", "a", 10 * MS);
	assert_int_equal(offset(f, "tsa", "a"), 50 * MS); /* of the same guess */
	monotonic_us += 1;
	hear(f, "tsa", "a", 10 * MS);
	assert_int_equal(offset(f, "tsa", "a"), 50 * MS); /* of the one before */
	monotonic_us += 2 * CH_SECOND + 1;
	hear(f, "tsa", "a", 5 * MS);
	assert_int_equal(offset(f, "tsa", "a"), 10 * MS);
	monotonic_us += 4 * CH_SECOND;
	hear(f, "tsa", "a", 1 * MS);
	assert_int_equal(offset(f, "tsa", "a"), 5 * MS); /* the guess before is not too old yet */
	monotonic_us += 4 * CH_SECOND + 1;
	hear(f, "tsa", "a", -1 * MS);
	assert_int_equal(offset(f, "tsa", "a"), -1 * MS);
}

static void after_ten_seconds_of_silence_nothing_is_known(void **state)
{
	struct fixture *f = *state;
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];

	hear(f, "tsa", "a", 50 * MS);
	monotonic_us += 10 * CH_SECOND;
	assert_int_equal(offset(f, "tsa", "a"), 50 * MS);
	assert_int_equal(known(f, list), 1);
	monotonic_us += 1;
	assert_int_equal(offset(f, "tsa", "a"), 0);
	assert_int_equal(known(f, list), 0);
	hear(f, "tsa", "a", 20 * MS); /* of before nothing is left */
	assert_int_equal(offset(f, "tsa", "a"), 20 * MS);
	monotonic_us += 2 * CH_SECOND + 1;
	hear(f, "tsa", "a", -40 * MS);
	assert_int_equal(offset(f, "tsa", "a"), 20 * MS); /* the silence began a guess of its own */
}

/* A step of this clock is known at once, in all that was heard before, whoever asks first. */
static void a_step_of_ones_own_clock_moves_all_others(void **state)
{
	struct fixture *f = *state;
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];

	hear(f, "tsa", "a", 10 * MS);
	hear(f, "tsa", "b", -10 * MS);
	monotonic_us += 2 * CH_SECOND + 1;
	hear(f, "tsa", "a", -90 * MS); /* 10 ms is the guess before */
	f->ahead_us += 3 * CH_SECOND;
	assert_int_equal(known(f, list), 2);
	assert_int_equal(list[0].offset_us, 10 * MS - 3 * CH_SECOND);
	assert_int_equal(list[1].offset_us, -10 * MS - 3 * CH_SECOND);
	f->ahead_us -= 5 * CH_SECOND;
	assert_int_equal(offset(f, "tsa", "a"), 10 * MS + 2 * CH_SECOND);
	f->ahead_us += 2 * CH_SECOND;
	hear(f, "tsa", "c", 0);
	assert_int_equal(offset(f, "tsa", "b"), -10 * MS);
	f->ahead_us += 100 * MS; /* slewed */
	assert_int_equal(offset(f, "tsa", "b"), -10 * MS);
	f->ahead_us -= 100 * MS;
	assert_int_equal(offset(f, "tsa", "b"), -10 * MS);
	f->ahead_us += 100 * MS + 1;
	assert_int_equal(offset(f, "tsa", "b"), -110 * MS - 1);
}

static void of_too_many_the_one_not_heard_for_longest_goes(void **state)
{
	struct fixture *f = *state;
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];
	char name[16];

	for (int i = 0; i < CH_PEER_CLOCKS_CAP; i++) {
		monotonic_us += MS;
		snprintf(name, sizeof(name), "n-%d", i);
		hear(f, "tsa", name, (i + 1) * MS);
	}
	hear(f, "tsa", "n-0", MS); /* so that it is n-1 */
	monotonic_us += MS;
	hear(f, "tsa", "late", 500 * MS);
	assert_int_equal(known(f, list), CH_PEER_CLOCKS_CAP);
	assert_int_equal(offset(f, "tsa", "late"), 500 * MS);
	assert_int_equal(offset(f, "tsa", "n-1"), 0);
	assert_int_equal(offset(f, "tsa", "n-0"), MS);
	assert_int_equal(offset(f, "tsa", "n-2"), 3 * MS);
	assert_int_equal(offset(f, "tsa", "n-63"), 64 * MS);
}

static void what_says_nothing_is_not_noted(void **state)
{
	struct fixture *f = *state;
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];
	struct ch_peer from = peer("tsa", "a");

	hear(f, "", "a", MS);
	ch_peer_clocks_note(f->clocks, &from, INT64_MIN, now(f));
	assert_int_equal(known(f, list), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_quickest_message_tells),
		TEST(each_instance_has_a_clock_of_its_own),
		TEST(a_guess_lasts_two_to_four_seconds),
		TEST(after_ten_seconds_of_silence_nothing_is_known),
		TEST(a_step_of_ones_own_clock_moves_all_others),
		TEST(of_too_many_the_one_not_heard_for_longest_goes),
		TEST(what_says_nothing_is_not_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
