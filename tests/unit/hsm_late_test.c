/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_late_test.c: an HSM that is late, one that does not have a key, and one that is shut out: what callers
 * may notice of it is a delay of about the pool's late_us, and never an error.
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

/* Far above LATE_US, so that a machine under load passes too, and far below the hang limit. */
#define LONG_HANG_US    (10 * CH_SECOND)
#define SHOULD_TAKE_US  (2 * CH_SECOND)
#define BREAKER_WAIT_US (20 * CH_SECOND)

static int set_up_faulty(void **state)
{
	struct fixture *fixture;

	set_up_tokens(state);
	fixture = *state;
	fixture->configs[0].module = (char *)FAULTY_MODULE;
	fixture->hang_us = LONG_HANG_US;
	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	return 0;
}

static struct hsm_status status_of(struct fixture *fixture, size_t i)
{
	struct hsm_status status;

	hsm_pool_status(fixture->pool, i, &status);
	return status;
}

static void wait_breaker(struct fixture *fixture, size_t i, enum hsm_breaker_state wanted)
{
	int64_t until = ch_monotonic_us() + BREAKER_WAIT_US;

	while (status_of(fixture, i).breaker != wanted) {
		if (ch_monotonic_us() > until)
			fail_msg("the breaker is %s, not %s", hsm_breaker_name(status_of(fixture, i).breaker),
				 hsm_breaker_name(wanted));
		usleep(1000);
	}
}

/* --- late --- */

/* A busy machine makes an HSM late: then its breaker is open, or its status is asked for. */
static void wait_both_well(struct fixture *fixture)
{
	bool busy = true;

	while (busy) {
		wait_breaker(fixture, 0, HSM_BREAKER_CLOSED);
		wait_breaker(fixture, 1, HSM_BREAKER_CLOSED);
		busy = status_of(fixture, 0).in_flight || status_of(fixture, 1).in_flight;
	}
}

static void a_stopped_hsm_delays_callers_by_little_and_serves_again_when_it_goes_on(void **state)
{
	struct fixture *fixture = *state;
	int64_t stopped_at_us;
	uint64_t signatures;
	struct test_key key;
	struct load load;
	pid_t pid;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 50);
	pid = worker_pid(fixture, 0);
	stop_worker(pid);
	stopped_at_us = ch_monotonic_us();
	wait_breaker(fixture, 0, HSM_BREAKER_OPEN);
	signatures = status_of(fixture, 0).signatures;
	while (ch_monotonic_us() - stopped_at_us <
	       SHOULD_TAKE_US + CH_SECOND / 2) /* who waited for it would show */
		wait_signatures(&load, 100);
	assert_int_equal(status_of(fixture, 0).signatures, signatures);
	assert_int_equal(kill(pid, SIGCONT), 0);
	wait_breaker(fixture, 0, HSM_BREAKER_CLOSED);
	wait_signatures(&load, 500);
	assert_true(status_of(fixture, 0).signatures > signatures);
	stop_load(&load);
	assert_int_equal(worker_pid(fixture, 0), pid); /* it was late, not hung */
	print_message("longest: %lld ms\n", atomic_load(&load.longest_us) / 1000);
	assert_true(atomic_load(&load.longest_us) < SHOULD_TAKE_US);
	ch_bytes_free(&key.public_key_info);
}

/* What it still has to answer counts as its load: otherwise it would look like the idlest of all. */
static void an_open_breaker_gets_no_new_items(void **state)
{
	struct fixture *fixture = *state;
	uint32_t in_flight;
	struct test_key key;
	struct load load;
	pid_t pid;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 50);
	pid = worker_pid(fixture, 0);
	stop_worker(pid);
	wait_breaker(fixture, 0, HSM_BREAKER_OPEN);
	in_flight = status_of(fixture, 0).in_flight;
	wait_signatures(&load, 500);
	assert_true(status_of(fixture, 0).in_flight <= in_flight + 1); /* the probe */
	assert_int_equal(kill(pid, SIGCONT), 0);
	stop_load(&load);
	ch_bytes_free(&key.public_key_info);
}

/* As many as make it certain that some are on the HSM that is stopped. What a signature waits for before it
 * is made (its key's mark, its seal) is as much in a caller's way as the signature. */
#define ASKED 32

static void ask_late(struct fixture *fixture, const Chancery__HsmRequest *ask)
{
	Chancery__HsmRequest requests[ASKED];
	struct hsm_item items[ASKED];
	int64_t began;
	pid_t pid;

	wait_both_well(fixture); /* so that each gets some */
	pid = worker_pid(fixture, 0);
	stop_worker(pid);
	began = ch_monotonic_us();
	for (size_t i = 0; i < ASKED; i++) {
		requests[i] = *ask;
		items[i] = (struct hsm_item){ .request = &requests[i],
					      .allowed = BOTH,
					      .deadline_us = began + 2 * LONG_HANG_US };
	}
	hsm_run(fixture->pool, items, ASKED);
	assert_true(ch_monotonic_us() - began < SHOULD_TAKE_US);
	for (size_t i = 0; i < ASKED; i++) {
		assert_non_null(items[i].reply);
		assert_int_equal(items[i].served_by, 1);
		chancery__hsm_reply__free_unpacked(items[i].reply, NULL);
	}
	assert_int_equal(kill(pid, SIGCONT), 0);
	wait_breaker(fixture, 0, HSM_BREAKER_CLOSED);
}

static void what_only_reads_is_asked_of_another_hsm_too(void **state)
{
	Chancery__HsmRequest read = CHANCERY__HSM_REQUEST__INIT, list = CHANCERY__HSM_REQUEST__INIT,
			     random = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmMarks read_mark = CHANCERY__HSM_MARKS__INIT, list_marks = CHANCERY__HSM_MARKS__INIT;
	Chancery__HsmRandom octets = CHANCERY__HSM_RANDOM__INIT;

	read_mark.read = (char *)"key/0123456789abcdef0123456789abcdef";
	read.marks = &read_mark;
	ask_late(*state, &read);
	list_marks.list = true;
	list.marks = &list_marks;
	ask_late(*state, &list);
	octets.size = 16;
	random.random = &octets;
	ask_late(*state, &random);
}

static void errors_in_a_row_open_the_breaker_and_a_probe_closes_it(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	set_fault(fixture, "C_SignInit", "0x7"); /* CKR_ARGUMENTS_BAD: no sign of a lost session */
	start_load(&load, fixture, &key);
	wait_breaker(fixture, 0, HSM_BREAKER_OPEN);
	clear_fault(fixture, "C_SignInit");
	wait_breaker(fixture, 0, HSM_BREAKER_CLOSED);
	wait_signatures(&load, 100);
	stop_load(&load);
	assert_int_equal(status_of(fixture, 0).restarts, 0);
	ch_bytes_free(&key.public_key_info);
}

static void with_every_breaker_open_work_goes_on(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	set_fault(fixture, "C_SignInit", "0x7");
	for (int i = 0; i < 20; i++)
		assert_false(sign(fixture->pool, ONLY_A, &key, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	clear_fault(fixture, "C_SignInit");
	if (!sign(fixture->pool, ONLY_A, &key, &err)) /* whatever its breaker says: there is no other */
		fail_msg("%s", err.message);
	ch_bytes_free(&key.public_key_info);
}

/* Two of one kind, each on an HSM of its own: the one on the stopped HSM fails and is not done elsewhere. */
static void what_must_happen_once_is_not_sent_to_a_second_hsm(void **state)
{
	struct fixture *fixture = *state;
	Chancery__HsmRequest requests[2] = { CHANCERY__HSM_REQUEST__INIT, CHANCERY__HSM_REQUEST__INIT };
	Chancery__HsmSign ask = CHANCERY__HSM_SIGN__INIT;
	struct hsm_item items[2];
	struct test_key key;
	uint8_t digest[32] = { 1 };
	int done = 0, lost = 0;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	ask.key_id = key.id;
	ask.algorithm = (char *)"ecdsa-p256";
	ask.digest = (char *)"sha256";
	ask.data = (ProtobufCBinaryData){ .len = sizeof(digest), .data = digest };
	wait_both_well(fixture); /* so that each gets one */
	stop_worker(worker_pid(fixture, 0));
	for (size_t i = 0; i < 2; i++) {
		requests[i].sign = &ask;
		items[i] = (struct hsm_item){ .request = &requests[i],
					      .allowed = BOTH,
					      .once = true,
					      .deadline_us = ch_monotonic_us() + CH_SECOND };
	}
	hsm_run(fixture->pool, items, 2);
	for (size_t i = 0; i < 2; i++) {
		done += items[i].reply != NULL;
		lost += !items[i].reply && items[i].err.code == CH_UNAVAILABLE;
		if (items[i].reply)
			chancery__hsm_reply__free_unpacked(items[i].reply, NULL);
	}
	assert_int_equal(done, 1);
	assert_int_equal(lost, 1);
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0);
	ch_bytes_free(&key.public_key_info);
}

/* --- an HSM that does not have a key --- */

static void a_key_that_an_hsm_does_not_have_is_not_asked_for_there_each_time(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	int64_t before, after, began, checks;
	struct test_key key;

	generate(fixture->pool, ONLY_B, "ecdsa-p256", &key);
	before = calls_of(fixture, "C_FindObjectsInit");
	for (int i = 0; i < 20; i++)
		assert_true(sign(fixture->pool, BOTH, &key, &err));
	after = calls_of(fixture, "C_FindObjectsInit");
	assert_true(after > before);
	began = ch_monotonic_us();
	for (int i = 0; i < 300; i++)
		assert_true(sign(fixture->pool, BOTH, &key, &err));
	checks = 5 *
		 (1 + (ch_monotonic_us() - began) / KEEP_ALIVE_US); /* by each idle session, and the pool */
	assert_true(calls_of(fixture, "C_FindObjectsInit") <= after + checks);
	assert_false(sign(fixture->pool, ONLY_A, &key, &err)); /* but where no other may serve, it is */
	assert_int_equal(err.code, CH_NOT_FOUND);
	ch_bytes_free(&key.public_key_info);
}

static void a_key_that_was_copied_is_used_at_once(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;
	uint64_t signatures;
	struct test_key key;

	generate(fixture->pool, ONLY_B, "ecdsa-p256", &key);
	for (int i = 0; i < 10; i++)
		assert_true(sign(fixture->pool, BOTH, &key, &err));
	assert_true(wrap(fixture->pool, ONLY_B, &key, &wrapped, &err));
	assert_true(unwrap(fixture->pool, ONLY_A, &key, &wrapped, &err));
	signatures = status_of(fixture, 0).signatures;
	hsm_pool_key_present(fixture->pool, 0, key.id);
	wait_both_well(fixture);
	for (int i = 0; i < 10; i++)
		assert_true(sign(fixture->pool, BOTH, &key, &err));
	assert_true(status_of(fixture, 0).signatures > signatures);
	ch_bytes_free(&key.public_key_info);
}

/* --- shut out for maintenance --- */

static void an_hsm_is_shut_out_and_let_in_again_without_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct hsm_status status;
	struct test_key key;
	struct load load;
	pid_t pid;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	for (int i = 0; i < 3; i++) {
		wait_signatures(&load, 50);
		pid = worker_pid(fixture, 0);
		if (!hsm_pool_set_enabled(fixture->pool, 0, false, &err))
			fail_msg("%s", err.message);
		status = status_of(fixture, 0);
		assert_int_equal(status.state, HSM_DISABLED);
		assert_string_equal(hsm_state_name(status.state), "disabled");
		assert_false(status.enabled);
		assert_int_equal(status.pid, 0);
		assert_int_equal(kill(pid, 0), -1); /* it is gone: the token may be taken out */
		wait_signatures(&load, 100);
		assert_true(hsm_pool_set_enabled(fixture->pool, 0, false, &err)); /* it is already */
		assert_true(hsm_pool_set_enabled(fixture->pool, 0, true, &err));
		assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	}
	stop_load(&load);
	assert_int_equal(atomic_load(&fixture->events.of[HSM_WAS_DISABLED]), 3);
	assert_int_equal(atomic_load(&fixture->events.of[HSM_WAS_ENABLED]), 3);
	ch_bytes_free(&key.public_key_info);
}

static void the_last_one_cannot_be_shut_out(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;

	assert_true(hsm_pool_set_enabled(fixture->pool, 0, false, &err));
	assert_false(hsm_pool_set_enabled(fixture->pool, 1, false, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_string_equal(err.message, "HSM 'b' is the last one that is enabled");
	assert_int_equal(status_of(fixture, 1).state, HSM_UP);
}

static void the_only_one_that_is_up_cannot_be_shut_out(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;

	set_fault(fixture, "C_Login", "0x30");
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0);
	wait_state(fixture, 0, HSM_DOWN);
	assert_false(hsm_pool_set_enabled(fixture->pool, 1, false, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_string_equal(err.message, "HSM 'b' is the only one that is up");
	assert_true(hsm_pool_set_enabled(fixture->pool, 0, false, &err)); /* the one that is down can */
	assert_int_equal(status_of(fixture, 0).state, HSM_DISABLED);
}

static void a_key_of_a_shut_out_hsm_alone_is_answered_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;
	int64_t began;

	generate(fixture->pool, ONLY_A, "ecdsa-p256", &key);
	assert_true(hsm_pool_set_enabled(fixture->pool, 0, false, &err));
	began = ch_monotonic_us();
	assert_false(sign(fixture->pool, ONLY_A, &key, &err));
	assert_true(ch_monotonic_us() - began < 5 * CH_SECOND);
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_string_equal(err.message, "HSM 'a' is down: shut out for maintenance");
	ch_bytes_free(&key.public_key_info);
}

/* A person put the right PIN there: one try, when told. */
static void enabling_tries_a_refused_pin_once_more(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	int64_t logins;

	unlink(fixture->configs[0].pin_file);
	write_text(fixture->configs[0].pin_file, "9999");
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0);
	wait_state(fixture, 0, HSM_DOWN);
	unlink(fixture->configs[0].pin_file);
	write_text(fixture->configs[0].pin_file, "5678");
	logins = calls_of(fixture, "C_Login");
	assert_true(hsm_pool_set_enabled(fixture->pool, 0, true, &err));
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	assert_int_equal(calls_of(fixture, "C_Login"), logins + 1);
}

#define RUNNING(test) cmocka_unit_test_setup_teardown(test, set_up_faulty, tear_down)

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		RUNNING(a_stopped_hsm_delays_callers_by_little_and_serves_again_when_it_goes_on),
		RUNNING(an_open_breaker_gets_no_new_items),
		RUNNING(what_only_reads_is_asked_of_another_hsm_too),
		RUNNING(errors_in_a_row_open_the_breaker_and_a_probe_closes_it),
		RUNNING(with_every_breaker_open_work_goes_on),
		RUNNING(what_must_happen_once_is_not_sent_to_a_second_hsm),
		RUNNING(a_key_that_an_hsm_does_not_have_is_not_asked_for_there_each_time),
		RUNNING(a_key_that_was_copied_is_used_at_once),
		RUNNING(an_hsm_is_shut_out_and_let_in_again_without_an_error),
		RUNNING(the_last_one_cannot_be_shut_out),
		RUNNING(the_only_one_that_is_up_cannot_be_shut_out),
		RUNNING(a_key_of_a_shut_out_hsm_alone_is_answered_at_once),
		RUNNING(enabling_tries_a_refused_pin_once_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
