/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_test.c: the HSM pool with real SoftHSM2 tokens in scratch directories and real worker processes (this
 * very program, re-executed). What must hold: whatever happens to one HSM, callers see no error.
 */
#include "hsm_fixture.h"
#include "worker.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void keys_of_every_algorithm_are_copied_and_both_copies_sign(void **state)
{
	static const char *const algorithms[] = { "rsa-2048", "rsa-3072", "ecdsa-p256", "ecdsa-p384",
						  "ecdsa-p521" };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < CH_COUNT(algorithms); i++) {
		struct ch_error err = CH_NONE;
		struct test_key key;

		make_on_both(fixture->pool, algorithms[i], &key);
		if (!sign(fixture->pool, ONLY_A, &key, &err) || !sign(fixture->pool, ONLY_B, &key, &err))
			fail_msg("%s: %s", algorithms[i], err.message);
		ch_bytes_free(&key.public_key_info);
	}
}

/* What SoftHSM 2.6.1 cannot is told as such, so that the vault can ask the operator for a decision. */
static void an_ed25519_key_signs_but_softhsm_cannot_wrap_it(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;
	struct test_key key;

	generate(fixture->pool, ONLY_A, "ed25519", &key);
	assert_true(sign(fixture->pool, ONLY_A, &key, &err));
	assert_false(wrap(fixture->pool, ONLY_A, &key, &wrapped, &err));
	assert_int_equal(err.code, CH_UNSUPPORTED);
	assert_non_null(strstr(err.message, "CKR_KEY_NOT_WRAPPABLE"));
	ch_bytes_free(&key.public_key_info);
}

static void neither_copy_can_be_taken_out_again(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	assert_false(wrap(fixture->pool, ONLY_A, &key, &wrapped, &err));
	assert_non_null(strstr(err.message, "CKR_KEY_UNEXTRACTABLE"));
	assert_false(wrap(fixture->pool, ONLY_B, &key, &wrapped, &err));
	assert_non_null(strstr(err.message, "CKR_KEY_UNEXTRACTABLE"));
	ch_bytes_free(&key.public_key_info);
}

static void an_altered_wrapped_key_is_not_taken(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;
	struct test_key key;

	generate(fixture->pool, ONLY_A, "ecdsa-p256", &key);
	assert_true(wrap(fixture->pool, ONLY_A, &key, &wrapped, &err));
	wrapped.data[20] ^= 1;
	assert_false(unwrap(fixture->pool, ONLY_B, &key, &wrapped, &err));
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	ch_bytes_free(&key.public_key_info);
}

static void a_key_that_only_one_hsm_has_is_found_there(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;

	generate(fixture->pool, ONLY_B, "ecdsa-p256", &key);
	for (int i = 0; i < 10; i++)
		if (!sign(fixture->pool, BOTH, &key, &err))
			fail_msg("%s", err.message);
	assert_int_equal(hsm_pool_up(fixture->pool), BOTH);
	ch_bytes_free(&key.public_key_info);
}

static void a_key_that_nobody_has_is_not_found(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key = { "00000000000000000000000000000000", "ecdsa-p256", CH_NONE };

	assert_false(sign(fixture->pool, BOTH, &key, &err));
	assert_int_equal(err.code, CH_NOT_FOUND);
}

static void both_hsms_are_used(void **state)
{
	struct fixture *fixture = *state;
	struct hsm_status status[2];
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 200);
	stop_load(&load);
	for (size_t i = 0; i < 2; i++) {
		hsm_pool_status(fixture->pool, i, &status[i]);
		assert_true(status[i].signatures > 50);
		assert_false(status[i].flapping);
	}
	ch_bytes_free(&key.public_key_info);
}

/* A caller that does two things each time, one after the other, would keep each HSM to one of them for ever,
 * if equally busy HSMs were taken by turns. */
static void two_kinds_of_work_by_turns_each_go_to_both_hsms(void **state)
{
	struct fixture *fixture = *state;
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmRandom random = CHANCERY__HSM_RANDOM__INIT;
	struct ch_error err = CH_NONE;
	struct hsm_status status;
	struct test_key key;

	random.size = 8;
	request.random = &random;
	make_on_both(fixture->pool, "ecdsa-p256", &key);
	for (int i = 0; i < 40; i++) {
		assert_true(run(fixture->pool, BOTH, &request, NULL, &err));
		assert_true(sign(fixture->pool, BOTH, &key, &err));
	}
	for (size_t i = 0; i < 2; i++) {
		hsm_pool_status(fixture->pool, i, &status);
		assert_true(status.signatures > 5);
	}
	ch_bytes_free(&key.public_key_info);
}

/* It is up, and was lost so often of late that nobody should trust it. */
static void assert_flapping(struct hsm_pool *pool, size_t index, uint32_t restarts)
{
	struct hsm_status status;

	hsm_pool_status(pool, index, &status);
	assert_int_equal(status.state, HSM_UP);
	assert_true(status.restarts >= restarts);
	assert_true(status.flapping);
	assert_string_not_equal(status.last_error, "");
}

static void a_killed_worker_costs_no_caller_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	for (int i = 0; i < 6; i++) {
		size_t victim = (size_t)i % 2;

		wait_signatures(&load, 50);
		assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
		assert_int_equal(kill(worker_pid(fixture, victim), SIGKILL), 0);
		wait_signatures(&load, 50);
	}
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	stop_load(&load);
	assert_true(atomic_load(&fixture->events.of[HSM_WENT_DOWN]) >= 6);
	assert_flapping(fixture->pool, 0, 3);
	assert_flapping(fixture->pool, 1, 3);
	ch_bytes_free(&key.public_key_info);
}

static void a_worker_that_hangs_is_killed_and_costs_no_caller_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;
	struct load load;
	pid_t hung;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 50);
	hung = worker_pid(fixture, 0);
	stop_worker(hung);
	wait_signatures(&load, 1000);
	for (int i = 0; i < 10000 && worker_pid(fixture, 0) == hung; i++)
		usleep(1000);
	assert_int_not_equal(worker_pid(fixture, 0), hung);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	stop_load(&load);
	ch_bytes_free(&key.public_key_info);
}

static void a_token_that_vanishes_and_returns_costs_no_caller_an_error(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_string) tokens = ch_format("%s/tokens", fixture->paths[0]);
	CH_AUTO(ch_string) away = ch_format("%s/away", fixture->paths[0]);
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 50);
	assert_int_equal(rename(tokens, away), 0);
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0); /* so that it must open the token again */
	wait_state(fixture, 0, HSM_DOWN);
	wait_signatures(&load, 100);
	assert_int_equal(rename(away, tokens), 0);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	wait_signatures(&load, 100);
	stop_load(&load);
	ch_bytes_free(&key.public_key_info);
}

static void without_any_hsm_the_deadline_is_kept_and_work_goes_on_when_one_returns(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0);
	assert_int_equal(kill(worker_pid(fixture, 1), SIGKILL), 0);
	if (!sign(fixture->pool, BOTH, &key, &err)) /* waits for a worker to be up again */
		fail_msg("%s", err.message);
	ch_bytes_free(&key.public_key_info);
}

/* Each try counts towards locking the token. */
static void a_wrong_pin_is_tried_once_and_the_other_hsm_serves(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct hsm_status status;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	unlink(fixture->configs[0].pin_file);
	write_text(fixture->configs[0].pin_file, "9999");
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0);
	wait_state(fixture, 0, HSM_DOWN);
	for (int i = 0; i < 50; i++)
		assert_true(sign(fixture->pool, BOTH, &key, &err));
	usleep(700 * 1000); /* longer than two back-offs: it would have been tried again */
	hsm_pool_status(fixture->pool, 0, &status);
	assert_int_equal(status.restarts, 2); /* the kill, and the one try with the wrong PIN */
	assert_non_null(strstr(status.last_error, "CKR_PIN_INCORRECT"));
	assert_false(sign(fixture->pool, ONLY_A, &key, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "HSM 'a' is down"));
	ch_bytes_free(&key.public_key_info);
}

#define WITH_TOKENS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		WITH_TOKENS(keys_of_every_algorithm_are_copied_and_both_copies_sign),
		WITH_TOKENS(an_ed25519_key_signs_but_softhsm_cannot_wrap_it),
		WITH_TOKENS(neither_copy_can_be_taken_out_again),
		WITH_TOKENS(an_altered_wrapped_key_is_not_taken),
		WITH_TOKENS(a_key_that_only_one_hsm_has_is_found_there),
		WITH_TOKENS(a_key_that_nobody_has_is_not_found),
		WITH_TOKENS(both_hsms_are_used),
		WITH_TOKENS(two_kinds_of_work_by_turns_each_go_to_both_hsms),
		WITH_TOKENS(a_killed_worker_costs_no_caller_an_error),
		WITH_TOKENS(a_worker_that_hangs_is_killed_and_costs_no_caller_an_error),
		WITH_TOKENS(a_token_that_vanishes_and_returns_costs_no_caller_an_error),
		WITH_TOKENS(without_any_hsm_the_deadline_is_kept_and_work_goes_on_when_one_returns),
		WITH_TOKENS(a_wrong_pin_is_tried_once_and_the_other_hsm_serves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
