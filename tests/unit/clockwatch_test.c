/* SPDX-License-Identifier: Apache-2.0 */
/* clockwatch_test.c: whose clock is wrong, and what is known of others' clocks. */
#include "clockwatch/clockwatch.h"

#include "envelope/peer_clocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S   CH_SECOND
#define NOW INT64_C(1700000000000000) /* what this clock says */

static void a_clock_is_wrong_where_most_say_so(void **state)
{
	static const struct {
		int64_t others[6];
		size_t count;
		int64_t verdict;
	} rows[] = {
		{ { 0 }, 0, 0 },                   /* alone */
		{ { 40 * S }, 1, 0 },              /* one against one: who is to know? */
		{ { 40 * S, 41 * S }, 2, 40 * S }, /* two against one */
		{ { -3600 * S, -3600 * S }, 2, -3600 * S },
		{ { 3600 * S, 0 }, 2, 0 },         /* another's is wrong */
		{ { 3600 * S, -3600 * S }, 2, 0 }, /* both others', each in its way */
		{ { 3600 * S, -3600 * S, 10 }, 3, 0 },
		{ { 40 * S, 40 * S, 0 }, 3, 0 }, /* two against two */
		{ { 40 * S, 40 * S, 41 * S, 0 }, 4, 40 * S },
		{ { 15 * S, 15 * S, 16 * S }, 3, 0 }, /* messages still pass */
		{ { 25 * S, 24 * S, -3600 * S, 25 * S, 26 * S }, 5, 24 * S },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		int64_t offsets[6], verdict;

		memcpy(offsets, rows[i].others, sizeof(offsets));
		verdict = ch_clockwatch_judge(offsets, rows[i].count);
		if (verdict != rows[i].verdict)
			fail_msg("row %zu: %lld s, not %lld s", i, (long long)(verdict / S),
				 (long long)(rows[i].verdict / S));
	}
}

static void the_quickest_message_tells_a_clock_best(void **state)
{
	const struct ch_peer vault = { .service = "vault", .instance = "vault-1" };
	const struct ch_peer other = { .service = "vault", .instance = "vault-2" };
	struct ch_peer_clocks *clocks = ch_peer_clocks_new();
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];

	(void)state;
	assert_int_equal(ch_peer_clocks_offset(clocks, &vault, NOW), 0);
	ch_peer_clocks_note(clocks, &vault, NOW - 7 * S, NOW); /* it waited in a queue */
	assert_int_equal(ch_peer_clocks_offset(clocks, &vault, NOW), -7 * S);
	ch_peer_clocks_note(clocks, &vault, NOW - S, NOW);
	ch_peer_clocks_note(clocks, &vault, NOW - 3 * S, NOW);
	assert_int_equal(ch_peer_clocks_offset(clocks, &vault, NOW), -1 * S);
	ch_peer_clocks_note(clocks, &other, NOW + 3600 * S, NOW);
	assert_int_equal(ch_peer_clocks_list(clocks, NOW, list), 2);
	assert_string_equal(list[1].peer.instance, "vault-2");
	assert_int_equal(list[1].offset_us, 3600 * S);
	ch_peer_clocks_free(clocks);
}

/* Others may be silent after it: they do not get through, or turn to another replica. */
static void a_step_of_ones_own_clock_shows_at_once(void **state)
{
	static const int64_t steps[] = { 40 * S, -40 * S, 3600 * S };
	const struct ch_peer vault = { .service = "vault", .instance = "vault-1" };
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];

	(void)state;
	for (size_t i = 0; i < CH_COUNT(steps); i++) {
		struct ch_peer_clocks *clocks = ch_peer_clocks_new();

		ch_peer_clocks_note(clocks, &vault, NOW, NOW);
		assert_int_equal(ch_peer_clocks_list(clocks, NOW + steps[i], list), 1);
		if (llabs(list[0].offset_us + steps[i]) > S)
			fail_msg("%lld s after a step of %lld s", (long long)(list[0].offset_us / S),
				 (long long)(steps[i] / S));
		if (llabs(ch_peer_clocks_offset(clocks, &vault, NOW)) > S) /* put right again */
			fail_msg("still off after a step of %lld s", (long long)(steps[i] / S));
		ch_peer_clocks_free(clocks);
	}
}

static void more_instances_than_there_is_room_for_do_no_harm(void **state)
{
	struct ch_peer_clocks *clocks = ch_peer_clocks_new();
	struct ch_peer_clock list[CH_PEER_CLOCKS_CAP];
	struct ch_peer peer = { .service = "ocsp" };

	(void)state;
	for (int i = 0; i < 3 * CH_PEER_CLOCKS_CAP; i++) {
		snprintf(peer.instance, sizeof(peer.instance), "ocsp-%d", i);
		ch_peer_clocks_note(clocks, &peer, NOW + i, NOW);
	}
	assert_int_equal(ch_peer_clocks_list(clocks, NOW, list), CH_PEER_CLOCKS_CAP);
	assert_int_equal(ch_peer_clocks_offset(clocks, &peer, NOW), 3 * CH_PEER_CLOCKS_CAP - 1);
	ch_peer_clocks_free(clocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_is_wrong_where_most_say_so),
		cmocka_unit_test(the_quickest_message_tells_a_clock_best),
		cmocka_unit_test(a_step_of_ones_own_clock_shows_at_once),
		cmocka_unit_test(more_instances_than_there_is_room_for_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
