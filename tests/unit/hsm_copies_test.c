/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_copies_test.c: the copies of a key that sessions sign with (worker_sign.c) are never taken for the
 * token's own: what is listed, locked and destroyed is what the token holds, and no copy outlives its key.
 */
#include "hsm_fixture.h"
#include "worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENOUGH 400 /* signatures of CALLERS threads: every session of both workers has made its copy */

static void sign_in_every_session(struct fixture *fixture, const struct test_key *key)
{
	struct load load;

	start_load(&load, fixture, key);
	wait_signatures(&load, ENOUGH);
	stop_load(&load);
}

static void destroy(struct fixture *fixture, unsigned on, struct test_key *key)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmDestroy ask = CHANCERY__HSM_DESTROY__INIT;
	struct ch_error err = CH_NONE;

	ask.key_id = key->id;
	request.destroy = &ask;
	if (!run(fixture->pool, on, &request, NULL, &err))
		fail_msg("%s", err.message);
}

/* How often an HSM lists the key. */
static size_t times_listed(struct fixture *fixture, unsigned on, const struct test_key *key)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmListKeys ask = CHANCERY__HSM_LIST_KEYS__INIT;
	struct ch_error err = CH_NONE;
	Chancery__HsmReply *reply;
	size_t times = 0;

	request.list_keys = &ask;
	if (!run(fixture->pool, on, &request, &reply, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < reply->n_key_ids; i++)
		times += strcmp(reply->key_ids[i], key->id) == 0;
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return times;
}

static void a_key_that_sessions_sign_with_is_listed_once(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	assert_int_equal(times_listed(fixture, ONLY_A, &key), 1);
	sign_in_every_session(fixture, &key);
	assert_int_equal(times_listed(fixture, ONLY_A, &key), 1);
	assert_int_equal(times_listed(fixture, ONLY_B, &key), 1);
	ch_bytes_free(&key.public_key_info);
}

/* `vault hsm replace` copies what is not listed: a copy that counted would hide that the key is gone. */
static void a_destroyed_key_is_not_listed(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	sign_in_every_session(fixture, &key);
	destroy(fixture, ONLY_A, &key);
	assert_int_equal(times_listed(fixture, ONLY_A, &key), 0);
	assert_int_equal(times_listed(fixture, ONLY_B, &key), 1);
	ch_bytes_free(&key.public_key_info);
}

static void a_destroyed_key_signs_in_no_session(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	sign_in_every_session(fixture, &key);
	destroy(fixture, ONLY_A, &key);
	for (int i = 0; i < 50; i++) {
		struct ch_error err = CH_NONE;

		assert_false(sign(fixture->pool, ONLY_A, &key, &err));
		assert_int_equal(err.code, CH_NOT_FOUND);
	}
	sign_in_every_session(fixture, &key); /* by the other HSM, and no worker was lost */
	assert_int_equal(atomic_load(&fixture->events.of[HSM_WENT_DOWN]), 0);
	ch_bytes_free(&key.public_key_info);
}

/* Their handles go stale in the middle of it. */
static void a_key_destroyed_in_one_hsm_under_load_costs_no_caller_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, ENOUGH);
	destroy(fixture, ONLY_A, &key);
	wait_signatures(&load, ENOUGH);
	stop_load(&load);
	assert_int_equal(times_listed(fixture, ONLY_A, &key), 0);
	assert_int_equal(atomic_load(&fixture->events.of[HSM_WENT_DOWN]), 0);
	ch_bytes_free(&key.public_key_info);
}

static void drop_copies(struct hsm_pool *pool, unsigned on, struct test_key *key)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmDropCopies ask = CHANCERY__HSM_DROP_COPIES__INIT;
	struct ch_error err = CH_NONE;

	ask.key_id = key->id;
	request.drop_copies = &ask;
	if (!run(pool, on, &request, NULL, &err))
		fail_msg("%s", err.message);
}

/* Two vaults, each with workers of its own on the same tokens. */
static void copies_of_a_key_that_another_vault_destroyed_are_dropped_when_told(void **state)
{
	struct fixture *fixture = *state, other = CH_NONE;
	struct ch_error err = CH_NONE;
	struct test_key key;
	int signatures = 0;

	memcpy(other.configs, fixture->configs, sizeof(other.configs)); /* borrowed */
	start_pool(&other);
	assert_true(hsm_pool_wait_up(other.pool, BOTH, UP_LIMIT));
	make_on_both(fixture->pool, "ecdsa-p256", &key);
	sign_in_every_session(&other, &key);
	destroy(fixture, ONLY_A, &key);
	for (int i = 0; i < 50; i++)
		signatures += sign(other.pool, ONLY_A, &key, &err);
	assert_true(signatures > 0); /* by copies, of which the other vault's workers know nothing */
	drop_copies(other.pool, ONLY_A, &key);
	for (int i = 0; i < 50; i++) {
		assert_false(sign(other.pool, ONLY_A, &key, &err));
		assert_int_equal(err.code, CH_NOT_FOUND);
	}
	assert_true(sign(other.pool, ONLY_B, &key, &err));
	hsm_pool_stop(other.pool);
	ch_bytes_free(&key.public_key_info);
}

/* It costs a key that is there nothing but copies that are made again. */
static void a_key_whose_copies_are_dropped_signs_on(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	sign_in_every_session(fixture, &key);
	drop_copies(fixture->pool, ONLY_A, &key);
	drop_copies(fixture->pool, ONLY_B, &key);
	drop_copies(fixture->pool, ONLY_B, &key); /* none are left */
	assert_int_equal(times_listed(fixture, ONLY_A, &key), 1);
	sign_in_every_session(fixture, &key);
	assert_int_equal(atomic_load(&fixture->events.of[HSM_WENT_DOWN]), 0);
	ch_bytes_free(&key.public_key_info);
}

#define RUNNING(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		RUNNING(a_key_that_sessions_sign_with_is_listed_once),
		RUNNING(a_destroyed_key_is_not_listed),
		RUNNING(a_destroyed_key_signs_in_no_session),
		RUNNING(a_key_destroyed_in_one_hsm_under_load_costs_no_caller_an_error),
		RUNNING(copies_of_a_key_that_another_vault_destroyed_are_dropped_when_told),
		RUNNING(a_key_whose_copies_are_dropped_signs_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
