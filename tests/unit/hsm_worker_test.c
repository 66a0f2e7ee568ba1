/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_worker_test.c: HSM workers over a PKCS#11 module that answers errors, crashes or hangs when told
 * (tests/tools/faulty_pkcs11.c): HSM a has it, HSM b is plain SoftHSM2. What must hold: a bad session, login
 * or device is replaced by a fresh process, and no token is ever locked by trying.
 */
#include "hsm_fixture.h"
#include "worker.h"
#include "worker_login.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up_faulty_tokens(void **state)
{
	struct fixture *fixture;

	set_up_tokens(state);
	fixture = *state;
	fixture->configs[0].module = (char *)FAULTY_MODULE;
	return 0;
}

static int set_up_faulty(void **state)
{
	set_up_faulty_tokens(state);
	start_pool(*state);
	assert_true(hsm_pool_wait_up(((struct fixture *)*state)->pool, BOTH, UP_LIMIT));
	return 0;
}

static uint32_t restarts_of(struct fixture *fixture, size_t i)
{
	struct hsm_status status;

	hsm_pool_status(fixture->pool, i, &status);
	return status.restarts;
}

/* An event is told a moment after the state that it is about. */
static void wait_told(struct fixture *fixture, size_t event)
{
	int64_t until = ch_monotonic_us() + UP_LIMIT;

	while (!atomic_load(&fixture->events.of[event]) && ch_monotonic_us() < until)
		usleep(1000);
}

static void wait_restarts(struct fixture *fixture, uint32_t more_than)
{
	for (int i = 0; i < 10000 && restarts_of(fixture, 0) <= more_than; i++)
		usleep(1000);
	assert_true(restarts_of(fixture, 0) > more_than);
}

/* --- sessions, logins and devices that go bad --- */

/* PKCS#11 2.40 §5.1: only a fresh C_Initialize and C_Login helps. */
static void each_sick_code_ends_the_worker_and_costs_no_caller_an_error(void **state)
{
	static const char *const codes[] = {
		"0xb3",  /* CKR_SESSION_HANDLE_INVALID */
		"0x101", /* CKR_USER_NOT_LOGGED_IN */
		"0x30",  /* CKR_DEVICE_ERROR */
		"0x32",  /* CKR_DEVICE_REMOVED */
		"0xe0",  /* CKR_TOKEN_NOT_PRESENT */
		"0x5",   /* CKR_GENERAL_ERROR */
		"0x90",  /* CKR_OPERATION_ACTIVE */
		"crash",
	};
	struct fixture *fixture = *state;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	for (size_t i = 0; i < CH_COUNT(codes); i++) {
		int64_t logins = calls_of(fixture, "C_Login");
		uint32_t restarts = restarts_of(fixture, 0);
		struct load load;

		usleep(i ? 2100 * 1000 : 0); /* settled: the next loss is a first one again */
		set_fault(fixture, "C_SignInit", codes[i]);
		start_load(&load, fixture, &key);
		wait_restarts(fixture, restarts);
		clear_fault(fixture, "C_SignInit");
		assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
		wait_signatures(&load, 50);
		stop_load(&load);
		assert_true(calls_of(fixture, "C_Login") > logins);
	}
	ch_bytes_free(&key.public_key_info);
}

/* The library answers from memory that all is well, or that not; either way no caller is needed to find out.
 */
static void a_session_that_goes_bad_while_idle_is_found_by_the_worker(void **state)
{
	struct fixture *fixture = *state;
	uint32_t before = restarts_of(fixture, 0);

	assert_true(calls_of(fixture, "C_SignInit") == 0);
	set_fault(fixture, "C_GetSessionInfo", "0xb3");
	wait_restarts(fixture, before);
	clear_fault(fixture, "C_GetSessionInfo");
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	assert_true(calls_of(fixture, "C_SignInit") == 0);
}

static void every_idle_session_is_kept_alive(void **state)
{
	struct fixture *fixture = *state;
	int64_t before = calls_of(fixture, "C_GetSessionInfo");
	int64_t until = ch_monotonic_us() + UP_LIMIT;

	while (calls_of(fixture, "C_GetSessionInfo") < before + 2 * 4 && ch_monotonic_us() < until)
		usleep(1000);
	assert_true(calls_of(fixture, "C_GetSessionInfo") >= before + 2 * 4);
	assert_int_equal(restarts_of(fixture, 0), 0);
}

static void a_token_taken_away_while_idle_is_found_by_the_worker(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_string) tokens = ch_format("%s/tokens", fixture->paths[0]);
	CH_AUTO(ch_string) away = ch_format("%s/away", fixture->paths[0]);

	assert_int_equal(rename(tokens, away), 0);
	wait_state(fixture, 0, HSM_DOWN);
	assert_int_equal(rename(away, tokens), 0);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
}

/* --- sessions within the token's limits --- */

static void the_worker_keeps_within_the_sessions_that_the_token_announces(void **state)
{
	struct fixture *fixture = *state;
	struct hsm_status status;
	struct ch_error err = CH_NONE;
	struct test_key key;

	set_fault(fixture, "sessions", "2");
	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	hsm_pool_status(fixture->pool, 0, &status);
	assert_int_equal(status.sessions, 2);
	assert_int_equal(calls_of(fixture, "C_OpenSession"), 2); /* the one of the log-in is among them */
	hsm_pool_status(fixture->pool, 1, &status);
	assert_int_equal(status.sessions, 4);
	make_on_both(fixture->pool, "ecdsa-p256", &key);
	if (!sign(fixture->pool, ONLY_A, &key, &err))
		fail_msg("%s", err.message);
	ch_bytes_free(&key.public_key_info);
}

static void either_maximum_limits_and_infinite_or_unknown_do_not(void **state)
{
	static const struct {
		CK_ULONG sessions, rw_sessions;
		uint32_t allowed;
	} rows[] = {
		{ CK_EFFECTIVELY_INFINITE, CK_EFFECTIVELY_INFINITE, 8 },
		{ CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, 8 },
		{ 16, 16, 8 },
		{ 3, 16, 3 },
		{ 16, 5, 5 },
		{ 3, CK_EFFECTIVELY_INFINITE, 3 },
		{ CK_UNAVAILABLE_INFORMATION, 1, 1 },
	};

	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		const CK_TOKEN_INFO info = { .ulMaxSessionCount = rows[i].sessions,
					     .ulMaxRwSessionCount = rows[i].rw_sessions };

		assert_int_equal(token_sessions_within(&info, 8), rows[i].allowed);
	}
}

/* --- log-ins --- */

static void a_worker_logs_in_exactly_once(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	for (int i = 0; i < 100; i++)
		assert_true(sign(fixture->pool, ONLY_A, &key, &err));
	assert_int_equal(calls_of(fixture, "C_Login"), 1);
	ch_bytes_free(&key.public_key_info);
}

static void a_wrong_pin_is_tried_once_and_told_loudly(void **state)
{
	struct fixture *fixture = *state;
	struct hsm_status status;

	unlink(fixture->configs[0].pin_file);
	write_text(fixture->configs[0].pin_file, "9999");
	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, ONLY_B, UP_LIMIT));
	wait_state(fixture, 0, HSM_DOWN);
	usleep(1000 * 1000); /* longer than several back-offs */
	assert_int_equal(calls_of(fixture, "C_Login"), 1);
	assert_int_equal(atomic_load(&fixture->events.of[HSM_PIN_REFUSED]), 1);
	hsm_pool_status(fixture->pool, 0, &status);
	assert_non_null(strstr(status.last_error, "was refused and is not tried again"));
	assert_non_null(strstr(status.last_error, "CKR_PIN_INCORRECT"));
}

/* Starting the vault over and over must not lock the token either. */
static void the_last_try_before_the_lock_is_left_to_a_person(void **state)
{
	struct fixture *fixture = *state;
	struct hsm_status status;

	set_fault(fixture, "flags", "0x20000"); /* CKF_USER_PIN_FINAL_TRY */
	start_pool(fixture);
	wait_state(fixture, 0, HSM_DOWN);
	assert_int_equal(calls_of(fixture, "C_Login"), 0);
	hsm_pool_status(fixture->pool, 0, &status);
	assert_non_null(strstr(status.last_error, "CKF_USER_PIN_FINAL_TRY"));
	wait_told(fixture, HSM_PIN_REFUSED);
	assert_int_equal(atomic_load(&fixture->events.of[HSM_PIN_REFUSED]), 1);
}

static void a_locked_pin_is_not_tried(void **state)
{
	struct fixture *fixture = *state;

	set_fault(fixture, "flags", "0x40000"); /* CKF_USER_PIN_LOCKED */
	start_pool(fixture);
	wait_state(fixture, 0, HSM_DOWN);
	assert_int_equal(calls_of(fixture, "C_Login"), 0);
}

/* Some libraries answer CKR_FUNCTION_FAILED for a wrong PIN; the token's own count tells. */
static void a_try_that_the_token_counted_is_a_refusal_whatever_the_answer(void **state)
{
	assert_true(token_pin_was_refused(CKR_PIN_INCORRECT, 0, 0));
	assert_true(token_pin_was_refused(CKR_PIN_LOCKED, 0, 0));
	assert_true(token_pin_was_refused(CKR_FUNCTION_FAILED, 0, CKF_USER_PIN_COUNT_LOW));
	assert_true(token_pin_was_refused(CKR_DEVICE_ERROR, CKF_USER_PIN_COUNT_LOW,
					  CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY));
	assert_false(token_pin_was_refused(CKR_DEVICE_ERROR, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_COUNT_LOW));
	assert_false(token_pin_was_refused(CKR_DEVICE_ERROR, 0, CKF_RNG | CKF_LOGIN_REQUIRED));
	assert_false(token_pin_was_refused(CKR_USER_PIN_NOT_INITIALIZED, 0, CKF_USER_PIN_COUNT_LOW));
	assert_true(token_pin_was_refused(CKR_USER_PIN_NOT_INITIALIZED, 0, CKF_USER_PIN_FINAL_TRY));
	assert_true(token_pin_was_refused(CKR_USER_PIN_NOT_INITIALIZED, 0, CKF_USER_PIN_LOCKED));
	assert_false(token_pin_was_refused(CKR_OK, 0, CKF_USER_PIN_COUNT_LOW));
}

/* A device that fails at the log-in has refused nothing: it is tried again, ever less often. */
static void a_device_error_at_the_login_is_tried_again_with_growing_pauses(void **state)
{
	struct fixture *fixture = *state;

	set_fault(fixture, "C_Login", "0x30");
	start_pool(fixture);
	wait_state(fixture, 0, HSM_DOWN);
	usleep(1500 * 1000);
	assert_true(calls_of(fixture, "C_Login") >= 3);
	assert_true(calls_of(fixture, "C_Login") <= 7); /* 0, 0.1, 0.2, 0.4, 0.8 … s */
	assert_int_equal(atomic_load(&fixture->events.of[HSM_PIN_REFUSED]), 0);
	clear_fault(fixture, "C_Login");
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
}

/* Logs in, serves something, crashes, and so on: each log-in is good, and still they must not follow each
 * other at once for ever. */
static void a_crash_loop_is_slowed_down(void **state)
{
	struct fixture *fixture = *state;
	int64_t before;
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	before = calls_of(fixture, "C_Login");
	set_fault(fixture, "C_SignInit", "crash");
	start_load(&load, fixture, &key);
	usleep(2500 * 1000);
	clear_fault(fixture, "C_SignInit");
	assert_true(calls_of(fixture, "C_Login") - before <= 8);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	wait_signatures(&load, 50);
	stop_load(&load);
	ch_bytes_free(&key.public_key_info);
}

/* What lies behind the room is this process's memory: it must not leave as part of a public key. */
static void an_attribute_longer_than_its_room_is_refused(void **state)
{
	static const char *const sizes[] = { "257", "0xffffffffffffffff" /* CK_UNAVAILABLE_INFORMATION */ };
	struct fixture *fixture = *state;
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmGenerate ask = CHANCERY__HSM_GENERATE__INIT;

	ask.key_id = (char *)"00112233445566778899aabbccddeeff";
	ask.algorithm = (char *)"ecdsa-p256";
	ask.label = (char *)"test";
	request.generate = &ask;
	for (size_t i = 0; i < CH_COUNT(sizes); i++) {
		struct ch_error err = CH_NONE;

		set_fault(fixture, "attribute-size", sizes[i]);
		assert_false(run(fixture->pool, ONLY_A, &request, NULL, &err));
		assert_non_null(strstr(err.message, "for room of 256"));
		clear_fault(fixture, "attribute-size");
	}
}

#define RUNNING(test) cmocka_unit_test_setup_teardown(test, set_up_faulty, tear_down)
#define TOKENS(test)  cmocka_unit_test_setup_teardown(test, set_up_faulty_tokens, tear_down)

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		RUNNING(each_sick_code_ends_the_worker_and_costs_no_caller_an_error),
		RUNNING(a_session_that_goes_bad_while_idle_is_found_by_the_worker),
		RUNNING(every_idle_session_is_kept_alive),
		RUNNING(a_token_taken_away_while_idle_is_found_by_the_worker),
		TOKENS(the_worker_keeps_within_the_sessions_that_the_token_announces),
		cmocka_unit_test(either_maximum_limits_and_infinite_or_unknown_do_not),
		RUNNING(a_worker_logs_in_exactly_once),
		TOKENS(a_wrong_pin_is_tried_once_and_told_loudly),
		TOKENS(the_last_try_before_the_lock_is_left_to_a_person),
		TOKENS(a_locked_pin_is_not_tried),
		cmocka_unit_test(a_try_that_the_token_counted_is_a_refusal_whatever_the_answer),
		TOKENS(a_device_error_at_the_login_is_tried_again_with_growing_pauses),
		RUNNING(a_crash_loop_is_slowed_down),
		RUNNING(an_attribute_longer_than_its_room_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
