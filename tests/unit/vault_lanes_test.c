/* SPDX-License-Identifier: Apache-2.0 */
/* vault_lanes_test.c: what makes keys or keeps secrets takes none of the bus's workers from Sign, and nobody
 * waits long for the key that is being made. */
#include "generate.h"
#include "sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void others_have_a_quarter_of_signs_workers_at_a_time(void **state)
{
	struct vault vault = { .sign_workers = 32 };
	struct ch_error err = CH_NONE;

	for (int i = 0; i < 8; i++)
		assert_true(vault_other_enter(&vault, &err));
	for (int i = 0; i < 3; i++) {
		assert_false(vault_other_enter(&vault, &err));
		assert_int_equal(err.code, CH_UNAVAILABLE);
		assert_true(err.retryable);
	}
	vault_other_leave(&vault);
	assert_true(vault_other_enter(&vault, &err));
	assert_int_equal(vault_other_limit(2), 1); /* never none */
}

/* By the table itself: the route refuses before it does anything, and takes no turn. */
static void the_routes_that_take_long_are_among_them(void **state)
{
	static const Chancery__PayloadType types[] = {
		CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY, CHANCERY__PAYLOAD_TYPE__PAYLOAD_SEAL,
		CHANCERY__PAYLOAD_TYPE__PAYLOAD_OPEN,         CHANCERY__PAYLOAD_TYPE__PAYLOAD_RESEAL,
		CHANCERY__PAYLOAD_TYPE__PAYLOAD_RANDOM,
	};
	struct vault vault = { .sign_workers = 32, .others = 8 };
	size_t found = 0;

	for (size_t i = 0; i < vault_route_count; i++)
		for (size_t j = 0; j < CH_COUNT(types); j++) {
			struct ch_error err = CH_NONE;
			ProtobufCMessage *reply = NULL;

			if (vault_routes[i].request_type != types[j])
				continue;
			found++;
			assert_false(vault_routes[i].handler(&vault, NULL, &reply, &err));
			assert_int_equal(err.code, CH_UNAVAILABLE);
		}
	assert_int_equal(found, CH_COUNT(types));
}

static void who_waits_for_a_turn_is_told_in_time(void **state)
{
	struct vault_turn turn = CH_NONE;
	struct ch_error err = CH_NONE;
	int64_t began;

	vault_turn_init(&turn);
	assert_true(vault_turn_take(&turn, ch_monotonic_us() + CH_MINUTE, &err));
	began = ch_monotonic_us();
	assert_false(vault_turn_take(&turn, began + 50 * CH_MILLISECOND, &err)); /* the caller's deadline */
	assert_true(ch_monotonic_us() - began < VAULT_TURN_US);
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(err.retryable);
	began = ch_monotonic_us();
	assert_false(vault_turn_take(&turn, began + CH_MINUTE, &err)); /* and the longest */
	assert_true(ch_monotonic_us() - began < CH_MINUTE);
	vault_turn_give(&turn);
	assert_true(vault_turn_take(&turn, ch_monotonic_us() + CH_MINUTE, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_have_a_quarter_of_signs_workers_at_a_time),
		cmocka_unit_test(the_routes_that_take_long_are_among_them),
		cmocka_unit_test(who_waits_for_a_turn_is_told_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
