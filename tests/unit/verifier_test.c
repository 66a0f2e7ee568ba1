/* SPDX-License-Identifier: Apache-2.0 */
/* verifier_test.c: a verifier whose key has a table says of every signature what OpenSSL says; when a key
 * gets one. */
#include "x509/p256_table.h"
#include "x509/verify_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TURNS   200
#define THREADS 4

CH_DEFINE_AUTO_POINTER(value, ECDSA_SIG, ECDSA_SIG_free)
CH_DEFINE_AUTO_POINTER(number, BIGNUM, BN_free)

struct signature {
	uint8_t digest[32], octets[80];
	size_t size;
};

struct fixture {
	EVP_PKEY *key;
	struct ch_p256_table *table;
	struct ch_p256_work *work;
};

static struct ch_view digest_of(const struct signature *signature)
{
	return ch_view(signature->digest, sizeof(signature->digest));
}

static void sign(EVP_PKEY *key, struct signature *signature)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);

	signature->size = sizeof(signature->octets);
	assert_int_equal(EVP_PKEY_sign_init(context), 1);
	assert_int_equal(EVP_PKEY_sign(context, signature->octets, &signature->size, signature->digest, 32),
			 1);
	EVP_PKEY_CTX_free(context);
}

static bool openssl_says(EVP_PKEY *key, struct ch_view digest, struct ch_view signature)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	bool right = EVP_PKEY_verify_init(context) == 1 &&
		     EVP_PKEY_verify(context, signature.data, signature.size, digest.data, digest.size) == 1;

	EVP_PKEY_CTX_free(context);
	ERR_clear_error();
	return right;
}

/* What the table says is what OpenSSL says. */
static bool both_say(struct fixture *fixture, struct ch_view digest, struct ch_view signature)
{
	bool says = ch_p256_verify(fixture->table, fixture->work, digest, signature);

	ERR_clear_error();
	assert_int_equal(says, openssl_says(fixture->key, digest, signature));
	return says;
}

static void take_key(struct fixture *fixture, EVP_PKEY *key)
{
	fixture->key = key;
	assert_true(ch_p256_table_new(key, &fixture->table, NULL));
	fixture->work = ch_p256_work_new(fixture->table);
	assert_non_null(fixture->work);
}

static void drop_key(struct fixture *fixture)
{
	ch_p256_work_free(fixture->work);
	ch_p256_table_free(fixture->table);
	EVP_PKEY_free(fixture->key);
}

static EVP_PKEY *key_of(const EC_GROUP *group, const EC_POINT *point)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM *parameters;
	uint8_t octets[65];
	EVP_PKEY *key = NULL;

	EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, octets, sizeof(octets), NULL);
	OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
	OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, octets, sizeof(octets));
	parameters = OSSL_PARAM_BLD_to_param(builder);
	assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
	assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters), 1);
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(builder);
	EVP_PKEY_CTX_free(context);
	return key;
}

/* The numbers of a signature that is made from the end: no private key signs such a one in a lifetime. */
struct numbers {
	BN_CTX *context;
	EC_GROUP *group;
	const BIGNUM *order;
	EC_POINT *point;
	BIGNUM *by_g, *by_q, *r, *s, *e;
};

static struct numbers numbers_new(void)
{
	struct numbers numbers = { .context = BN_CTX_new(),
				   .group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1) };
	BIGNUM **each[] = { &numbers.by_g, &numbers.by_q, &numbers.r, &numbers.s, &numbers.e };

	numbers.order = EC_GROUP_get0_order(numbers.group);
	numbers.point = EC_POINT_new(numbers.group);
	for (size_t i = 0; i < CH_COUNT(each); i++)
		*each[i] = BN_new();
	return numbers;
}

static void numbers_free(struct numbers *numbers)
{
	BIGNUM *each[] = { numbers->by_g, numbers->by_q, numbers->r, numbers->s, numbers->e };

	for (size_t i = 0; i < CH_COUNT(each); i++)
		BN_free(each[i]);
	EC_POINT_free(numbers->point);
	EC_GROUP_free(numbers->group);
	BN_CTX_free(numbers->context);
}
CH_DEFINE_AUTO_VALUE(numbers, struct numbers, numbers_free)

/* What both say of r and s over e. */
static bool both_say_of(struct fixture *fixture, const struct numbers *numbers)
{
	CH_AUTO(value) value = ECDSA_SIG_new();
	struct signature made;
	uint8_t *end = made.octets;

	assert_int_equal(BN_bn2binpad(numbers->e, made.digest, 32), 32);
	ECDSA_SIG_set0(value, BN_dup(numbers->r), BN_dup(numbers->s));
	made.size = (size_t)i2d_ECDSA_SIG(value, &end);
	return both_say(fixture, digest_of(&made), ch_view(made.octets, made.size));
}

/* s = r / by_q and e = by_g · s: then verifying comes to by_g·G + by_q·Q. */
static void solve(struct numbers *numbers)
{
	BN_mod_inverse(numbers->s, numbers->by_q, numbers->order, numbers->context);
	BN_mod_mul(numbers->s, numbers->s, numbers->r, numbers->order, numbers->context);
	BN_mod_mul(numbers->e, numbers->by_g, numbers->s, numbers->order, numbers->context);
}

/* --- what it says --- */

static void right_and_changed_signatures_are_told_apart_as_openssl_does(void **state)
{
	struct fixture fixture;

	(void)state;
	take_key(&fixture, EVP_EC_gen("P-256"));
	for (int turn = 0; turn < TURNS; turn++) {
		struct signature right, changed;

		assert_int_equal(RAND_bytes(right.digest, 32), 1);
		sign(fixture.key, &right);
		assert_true(both_say(&fixture, digest_of(&right), ch_view(right.octets, right.size)));
		changed = right;
		changed.octets[(size_t)turn % right.size] ^= (uint8_t)(1 << turn % 8);
		both_say(&fixture, digest_of(&right), ch_view(changed.octets, changed.size));
		changed = right;
		changed.digest[turn % 32] ^= (uint8_t)(1 << turn % 8);
		assert_false(both_say(&fixture, digest_of(&changed), ch_view(right.octets, right.size)));
		both_say(&fixture, digest_of(&right), ch_view(right.octets, (size_t)turn % right.size));
	}
	drop_key(&fixture);
}

/* by_g·G and by_q·Q are one point, or the one is the other's negative, or there is only one. */
static void where_the_addition_has_no_general_case_both_agree(void **state)
{
	(void)state;
	for (unsigned private_number = 1; private_number <= 4; private_number++) {
		CH_AUTO(numbers) numbers = numbers_new();
		struct fixture fixture;

		BN_set_word(numbers.by_q, private_number);
		EC_POINT_mul(numbers.group, numbers.point, numbers.by_q, NULL, NULL, numbers.context);
		take_key(&fixture, key_of(numbers.group, numbers.point));
		for (unsigned times = 1; times <= 5; times++) {
			BN_set_word(numbers.by_q, times);
			BN_set_word(numbers.by_g, times * private_number);
			BN_set_word(numbers.e, 2 * times * private_number);
			EC_POINT_mul(numbers.group, numbers.point, numbers.e, NULL, NULL, numbers.context);
			EC_POINT_get_affine_coordinates(numbers.group, numbers.point, numbers.r, NULL,
							numbers.context);
			BN_nnmod(numbers.r, numbers.r, numbers.order, numbers.context);
			solve(&numbers);
			assert_true(both_say_of(&fixture, &numbers)); /* one point, doubled */
			BN_sub(numbers.by_g, numbers.order, numbers.by_g);
			solve(&numbers);
			assert_false(both_say_of(&fixture, &numbers)); /* nothing is left */

			BN_zero(numbers.by_g);
			BN_set_word(numbers.e, times * private_number);
			EC_POINT_mul(numbers.group, numbers.point, numbers.e, NULL, NULL, numbers.context);
			EC_POINT_get_affine_coordinates(numbers.group, numbers.point, numbers.r, NULL,
							numbers.context);
			solve(&numbers);
			assert_true(both_say_of(&fixture, &numbers)); /* of a digest of zeros */
		}
		drop_key(&fixture);
	}
}

/* r is the coordinate modulo the order, which is a little less than the field: one that lies between. */
static void a_coordinate_above_the_order_is_reduced(void **state)
{
	CH_AUTO(numbers) numbers = numbers_new();
	CH_AUTO(number) x = BN_dup(numbers.order);
	EC_POINT *q = EC_POINT_new(numbers.group);
	struct fixture fixture;
	unsigned above = 0;

	(void)state;
	do
		BN_add_word(x, 1), above++;
	while (!EC_POINT_set_compressed_coordinates(numbers.group, numbers.point, x, 0, numbers.context));
	ERR_clear_error();
	BN_set_word(numbers.r, above);
	BN_set_word(numbers.s, 7);
	BN_set_word(numbers.e, 5);
	/* Q = (s·R - e·G) / r */
	BN_sub(numbers.by_g, numbers.order, numbers.e);
	EC_POINT_mul(numbers.group, q, numbers.by_g, numbers.point, numbers.s, numbers.context);
	BN_mod_inverse(numbers.by_q, numbers.r, numbers.order, numbers.context);
	EC_POINT_mul(numbers.group, q, NULL, q, numbers.by_q, numbers.context);
	take_key(&fixture, key_of(numbers.group, q));
	assert_true(both_say_of(&fixture, &numbers));
	BN_copy(numbers.r, x);
	assert_false(both_say_of(&fixture, &numbers));
	drop_key(&fixture);
	EC_POINT_free(q);
}

/* r and s as they must not be, in DER that is right. */
static void numbers_out_of_range_and_other_encodings_are_refused(void **state)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	const BIGNUM *order = EC_GROUP_get0_order(group);
	struct signature right = { .digest = { 1, 2, 3 } };
	const unsigned char *at = right.octets;
	CH_AUTO(value) value = NULL;
	struct fixture fixture;
	uint8_t octets[80];

	(void)state;
	take_key(&fixture, EVP_EC_gen("P-256"));
	sign(fixture.key, &right);
	value = d2i_ECDSA_SIG(NULL, &at, (long)right.size);
	for (int which = 0; which < 6; which++) {
		const BIGNUM *good[] = { ECDSA_SIG_get0_r(value), ECDSA_SIG_get0_s(value) };
		BIGNUM *bad[] = { BN_dup(good[0]), BN_dup(good[1]) };
		CH_AUTO(value) made = ECDSA_SIG_new();
		uint8_t *end = octets;
		int size;

		switch (which / 2) {
		case 0:
			BN_zero(bad[which % 2]);
			break;
		case 1:
			BN_copy(bad[which % 2], order);
			break;
		default:
			BN_add(bad[which % 2], bad[which % 2], order);
		}
		ECDSA_SIG_set0(made, bad[0], bad[1]);
		size = i2d_ECDSA_SIG(made, &end);
		assert_in_range(size, 1, sizeof(octets));
		assert_false(both_say(&fixture, digest_of(&right), ch_view(octets, (size_t)size)));
	}
	/* Negative; a length in two octets; something after it; a digest of another length. */
	memcpy(octets, (uint8_t[]){ 0x30, 6, 2, 1, 0x80, 2, 1, 1 }, 8);
	assert_false(both_say(&fixture, digest_of(&right), ch_view(octets, 8)));
	memcpy(octets, (uint8_t[]){ 0x30, 0x81, right.octets[1] }, 3);
	memcpy(octets + 3, right.octets + 2, right.size - 2);
	assert_false(both_say(&fixture, digest_of(&right), ch_view(octets, right.size + 1)));
	assert_false(both_say(&fixture, digest_of(&right), ch_view(right.octets, right.size + 1)));
	assert_false(ch_p256_verify(fixture.table, fixture.work, ch_view(right.digest, 31),
				    ch_view(right.octets, right.size)));
	assert_false(ch_p256_verify(fixture.table, fixture.work, digest_of(&right), ch_view(NULL, 0)));
	drop_key(&fixture);
	EC_GROUP_free(group);
}

/* --- when there is one --- */

static void verify_often(struct ch_verify_key *key, const struct signature *signature, int times)
{
	CH_AUTO(ch_verifier) verifier = NULL;
	struct signature wrong = *signature;

	wrong.digest[0] ^= 1;
	assert_true(ch_verifier_new(ch_algorithm_find("ecdsa-p256"), key, &verifier, NULL));
	for (int i = 0; i < times; i++) {
		const struct signature *asked = i % 8 ? signature : &wrong;

		assert_int_equal(ch_verifier_verify(verifier, digest_of(asked),
						    ch_view(signature->octets, signature->size), NULL),
				 asked == signature);
	}
}

static void a_key_gets_a_table_once_it_is_worth_it_and_gives_its_place_back(void **state)
{
	CH_AUTO(EVP_PKEY) key = EVP_EC_gen("P-256");
	struct signature signature = { .digest = { 7 } };
	atomic_int tables_left = 1;
	struct ch_verify_key *first, *second;

	(void)state;
	sign(key, &signature);
	first = ch_verify_key_new(key, &tables_left);
	verify_often(first, &signature, CH_TABLE_WORTH - 1);
	assert_int_equal(tables_left, 1);
	verify_often(first, &signature, 20);
	assert_int_equal(tables_left, 0);
	assert_non_null(ch_verify_key_table(first));

	/* There is room for one: another key does without, until that is given up. */
	second = ch_verify_key_new(key, &tables_left);
	verify_often(second, &signature, CH_TABLE_WORTH + 20);
	assert_null(ch_verify_key_table(second));
	assert_int_equal(tables_left, 0);
	ch_verify_key_free(first);
	assert_int_equal(tables_left, 1);
	verify_often(second, &signature, CH_TABLE_WORTH);
	assert_non_null(ch_verify_key_table(second));
	ch_verify_key_free(second);
	assert_int_equal(tables_left, 1);
}

static void other_kinds_of_keys_get_none(void **state)
{
	static const char *const curves[] = { "P-384", "P-521" };
	atomic_int tables_left = 1;

	(void)state;
	for (size_t i = 0; i < CH_COUNT(curves); i++) {
		CH_AUTO(EVP_PKEY) key = EVP_EC_gen(curves[i]);
		CH_AUTO(ch_verify_key) verify_key = ch_verify_key_new(key, &tables_left);

		for (int turn = 0; turn <= CH_TABLE_WORTH; turn++)
			assert_null(ch_verify_key_table(verify_key));
		assert_false(ch_p256_table_new(key, &(struct ch_p256_table *){ NULL }, NULL));
	}
	ERR_clear_error();
}

struct turn {
	struct ch_verify_key *key;
	const struct signature *signature;
};

static void *verify_in_a_thread(void *state)
{
	const struct turn *turn = state;

	verify_often(turn->key, turn->signature, CH_TABLE_WORTH);
	return NULL;
}

static void threads_share_one_table(void **state)
{
	CH_AUTO(EVP_PKEY) key = EVP_EC_gen("P-256");
	struct signature signature = { .digest = { 9 } };
	atomic_int tables_left = 8;
	struct turn turn = { ch_verify_key_new(key, &tables_left), &signature };
	pthread_t threads[THREADS];

	(void)state;
	sign(key, &signature);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, verify_in_a_thread, &turn), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(tables_left, 7);
	ch_verify_key_free(turn.key);
	assert_int_equal(tables_left, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_and_changed_signatures_are_told_apart_as_openssl_does),
		cmocka_unit_test(where_the_addition_has_no_general_case_both_agree),
		cmocka_unit_test(a_coordinate_above_the_order_is_reduced),
		cmocka_unit_test(numbers_out_of_range_and_other_encodings_are_refused),
		cmocka_unit_test(a_key_gets_a_table_once_it_is_worth_it_and_gives_its_place_back),
		cmocka_unit_test(other_kinds_of_keys_get_none),
		cmocka_unit_test(threads_share_one_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
