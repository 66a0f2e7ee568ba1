/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_verify_test.c: what becomes of signatures that the public key does not verify. HSM a is SoftHSM2 behind
 * a module that makes them wrong when it is told to (tests/tools/faulty_pkcs11.c), HSM b is plain SoftHSM2.
 */
#include "hsm_fixture.h"
#include "worker.h"
#include "x509/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ITEMS 16

static int set_up_faulty(void **state)
{
	struct fixture *fixture;

	set_up_tokens(state);
	fixture = *state;
	fixture->configs[0].module = (char *)FAULTY_MODULE;
	fixture->hang_us = fixture->late_us = 20 * CH_SECOND; /* a busy machine is no fault of an HSM's */
	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	return 0;
}

/* One message to sign, whose signature is verified in the pool. */
struct asked {
	const struct test_key *key;
	uint8_t message[32], digest[64];
	Chancery__HsmRequest request;
	Chancery__HsmSign sign;
	int checks;
};

static bool verify(void *state, const Chancery__HsmReply *reply, struct ch_error *err)
{
	struct asked *asked = state;

	asked->checks++;
	return ch_verify_signature(ch_algorithm_find(asked->key->algorithm),
				   ch_view_of(&asked->key->public_key_info), ch_view(asked->message, 32),
				   ch_view(reply->signature.data, reply->signature.len), err);
}

static void prepare(const struct test_key *key, unsigned allowed, struct asked *asked, struct hsm_item *item)
{
	const struct ch_algorithm *algorithm = ch_algorithm_find(key->algorithm);
	struct ch_error err;
	size_t size;

	*asked = (struct asked){ .key = key };
	ch_random(asked->message, sizeof(asked->message));
	assert_true(ch_digest(algorithm->digest, ch_view(asked->message, 32), asked->digest, &size, &err));
	chancery__hsm_request__init(&asked->request);
	chancery__hsm_sign__init(&asked->sign);
	asked->sign.key_id = (char *)key->id;
	asked->sign.algorithm = (char *)key->algorithm;
	asked->sign.digest = (char *)algorithm->digest;
	asked->sign.data = (ProtobufCBinaryData){ .len = size, .data = asked->digest };
	asked->request.sign = &asked->sign;
	*item = (struct hsm_item){ .request = &asked->request,
				   .allowed = allowed,
				   .deadline_us = ch_monotonic_us() + 20 * CH_SECOND,
				   .verify = verify,
				   .verify_state = asked };
}

static void free_replies(struct hsm_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].reply)
			chancery__hsm_reply__free_unpacked(items[i].reply, NULL);
}

static struct hsm_status status_of_a(struct fixture *fixture)
{
	struct hsm_status status;

	hsm_pool_status(fixture->pool, 0, &status);
	return status;
}

/* Of each algorithm: the caller sees good signatures alone, however they are wrong. */
static void a_wrong_signature_is_made_again_by_the_other_hsm(const char *algorithm, const char *how,
							     struct fixture *fixture)
{
	struct hsm_item items[ITEMS];
	struct asked asked[ITEMS];
	struct test_key key;
	int checks = 0;

	make_on_both(fixture->pool, algorithm, &key);
	set_fault(fixture, "wrong-signature", how);
	for (size_t i = 0; i < ITEMS; i++)
		prepare(&key, BOTH, &asked[i], &items[i]);
	hsm_run(fixture->pool, items, ITEMS);
	for (size_t i = 0; i < ITEMS; i++) {
		struct ch_error err;

		if (!items[i].reply)
			fail_msg("%s: %s", algorithm, items[i].err.message);
		assert_int_equal(items[i].served_by, 1);
		assert_true(verify(&asked[i], items[i].reply, &err));
		checks += asked[i].checks;
	}
	assert_true(checks > 2 * ITEMS); /* a wrong one was seen too */
	free_replies(items, ITEMS);
	clear_fault(fixture, "wrong-signature");
	ch_bytes_free(&key.public_key_info);
}

static void wrong_signatures_reach_nobody_and_shut_that_hsm(void **state)
{
	struct fixture *fixture = *state;

	a_wrong_signature_is_made_again_by_the_other_hsm("ecdsa-p256", "last", fixture);
	assert_int_equal(status_of_a(fixture).breaker, HSM_BREAKER_OPEN);
	assert_non_null(strstr(status_of_a(fixture).last_error, "HSM 'a' signed wrong: signature:"));
	assert_int_equal(atomic_load(&fixture->events.of[HSM_SIGNED_WRONG]), 1); /* told once, not for each */
	assert_int_equal(status_of_a(fixture).restarts, 0);
}

static void a_wrong_rsa_signature_reaches_nobody(void **state)
{
	a_wrong_signature_is_made_again_by_the_other_hsm("rsa-2048", "first", *state);
}

/* Without another HSM there is an error that says so, and which HSM; never the signature. */
static void where_no_other_hsm_has_the_key_the_caller_gets_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct hsm_item item;
	struct asked asked;
	struct test_key key;

	generate(fixture->pool, ONLY_A, "ecdsa-p256", &key);
	set_fault(fixture, "wrong-signature", "last");
	prepare(&key, ONLY_A, &asked, &item);
	hsm_run(fixture->pool, &item, 1);
	assert_null(item.reply);
	assert_int_equal(item.err.code, CH_UNAVAILABLE);
	assert_true(item.err.retryable);
	assert_non_null(strstr(item.err.message, "HSM 'a' signed wrong"));
	clear_fault(fixture, "wrong-signature");

	/* What is verified may still be tried there; what would not be is not given to it. */
	prepare(&key, ONLY_A, &asked, &item);
	hsm_run(fixture->pool, &item, 1);
	assert_non_null(item.reply);
	free_replies(&item, 1);
	prepare(&key, ONLY_A, &asked, &item);
	item.verify = NULL;
	item.deadline_us = ch_monotonic_us() + 200 * CH_MILLISECOND;
	hsm_run(fixture->pool, &item, 1);
	assert_null(item.reply);
	ch_bytes_free(&key.public_key_info);
}

/* Some right, some wrong, in one batch: each item is done once. */
static void a_batch_of_right_and_wrong_ones_ends(void **state)
{
	struct fixture *fixture = *state;
	struct load load;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key); /* others that do not verify in the pool, before it errs */
	wait_signatures(&load, 20);
	stop_load(&load);
	for (int turn = 0; turn < 20; turn++) {
		struct hsm_item items[ITEMS];
		struct asked asked[ITEMS];

		if (turn == 10)
			set_fault(fixture, "wrong-signature", "last");
		for (size_t i = 0; i < ITEMS; i++)
			prepare(&key, BOTH, &asked[i], &items[i]);
		hsm_run(fixture->pool, items, ITEMS);
		for (size_t i = 0; i < ITEMS; i++)
			assert_non_null(items[i].reply);
		free_replies(items, ITEMS);
	}
	assert_int_equal(status_of_a(fixture).breaker, HSM_BREAKER_OPEN);
	ch_bytes_free(&key.public_key_info);
}

#define RUNNING(test) cmocka_unit_test_setup_teardown(test, set_up_faulty, tear_down)

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		RUNNING(wrong_signatures_reach_nobody_and_shut_that_hsm),
		RUNNING(a_wrong_rsa_signature_reaches_nobody),
		RUNNING(where_no_other_hsm_has_the_key_the_caller_gets_an_error),
		RUNNING(a_batch_of_right_and_wrong_ones_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
