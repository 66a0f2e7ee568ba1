/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_rogue_test.c: a worker that was taken over by its vendor's module and says what it pleases: callers get
 * their signatures from the other HSM, and what it says of itself is believed within bounds. The rogue
 * (rogue_worker.c) stands in the place of HSM a's worker.
 */
#include "hsm_fixture.h"
#include "rogue_worker.h"
#include "worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up_refusing(void **state)
{
	return set_up_rogue(state, "refuse");
}

static int set_up_code(void **state)
{
	return set_up_rogue(state, "code");
}

static int set_up_sessions(void **state)
{
	return set_up_rogue(state, "sessions");
}

static int set_up_again(void **state)
{
	return set_up_rogue(state, "up-again");
}

static struct hsm_status status_of_a(struct fixture *fixture)
{
	struct hsm_status status;

	hsm_pool_status(fixture->pool, 0, &status);
	return status;
}

/* It says that nobody may do it (retryable is false), and no caller hears that: the other HSM does it. */
static void what_one_hsm_refuses_for_good_the_other_does(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;

	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	generate(fixture->pool, ONLY_B, "ecdsa-p256", &key);
	for (int i = 0; i < 40; i++)
		if (!sign(fixture->pool, BOTH, &key, &err))
			fail_msg("%d: %s", i, err.message);
	assert_int_not_equal(status_of_a(fixture).breaker,
			     HSM_BREAKER_CLOSED); /* nor does it count as well */
	ch_bytes_free(&key.public_key_info);
}

/* Where there is no other, what the caller hears is that it could not be done, never the rogue's verdict. */
static void its_codes_are_not_the_vaults(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key = { "00112233445566778899aabbccddeeff", "ecdsa-p256", CH_NONE };
	struct ch_error err = CH_NONE;

	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	assert_false(sign(fixture->pool, ONLY_A, &key, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(err.retryable);
	assert_string_equal(err.message, "HSM 'a': no");
}

static void it_has_no_more_sessions_than_are_configured(void **state)
{
	struct fixture *fixture = *state;

	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	assert_int_equal(status_of_a(fixture).sessions, fixture->configs[0].sessions);
}

/* Each coming up is an event in the audit log: a worker that says so again and again is ended. */
static void a_worker_that_tells_again_that_it_is_up_is_ended(void **state)
{
	int64_t until = ch_monotonic_us() + UP_LIMIT;
	struct fixture *fixture = *state;

	while (status_of_a(fixture).restarts < HSM_FLAPS) {
		assert_true(ch_monotonic_us() < until);
		usleep(1000);
	}
	assert_non_null(strstr(status_of_a(fixture).last_error, "it told again that it is up"));
	assert_true(atomic_load(&fixture->events.of[HSM_WENT_DOWN]) > 0);
}

int main(int argc, char **argv)
{
	const char *rogue = getenv(ROGUE);

	if (hsm_worker_asked(argc, argv))
		return rogue ? rogue_worker_main(rogue) : hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_one_hsm_refuses_for_good_the_other_does, set_up_refusing,
						tear_down),
		cmocka_unit_test_setup_teardown(its_codes_are_not_the_vaults, set_up_refusing, tear_down),
		cmocka_unit_test_setup_teardown(its_codes_are_not_the_vaults, set_up_code, tear_down),
		cmocka_unit_test_setup_teardown(it_has_no_more_sessions_than_are_configured, set_up_sessions,
						tear_down),
		cmocka_unit_test_setup_teardown(a_worker_that_tells_again_that_it_is_up_is_ended,
						set_up_again, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
