/* SPDX-License-Identifier: Apache-2.0 */
/*
 * p256_table.c: OpenSSL has fast multiplication of the curve's generator, and makes the same table for a
 * group that has another one: here the public key. A verification is then two such multiplications instead
 * of a general one. All of it is public: nothing here needs constant time.
 */

/* EC_GROUP_precompute_mult has no successor: providers keep no tables (docs/decisions/0030). */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "p256_table.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <stdlib.h>
#include <string.h>

#define POINT_ROOM  65 /* uncompressed */
#define VALUE_ROOM  72 /* an Ecdsa-Sig-Value: two INTEGERs of at most 33 octets */
#define DIGEST_SIZE 32 /* SHA-256; another length would have to be cut to the order's */

CH_DEFINE_AUTO_POINTER(point, EC_POINT, EC_POINT_free)
CH_DEFINE_AUTO_POINTER(value, ECDSA_SIG, ECDSA_SIG_free)

struct ch_p256_table {
	EC_GROUP *curve;  /* with the curve's own generator G */
	EC_GROUP *of_key; /* the same curve with the public key Q in its place, and a table of that */
};

struct ch_p256_work {
	BN_CTX *context;
	EC_POINT *by_g, *by_q;
};

/* --- making -----------------------------------------------------------------------------------------------
 */

/* OpenSSL's general method has tables too, and takes the way without one for a single multiplication: that
 * is for secret numbers, and twice as slow as EVP_PKEY_verify. */
static bool uses_tables(const EC_GROUP *group)
{
	return EC_GROUP_method_of(group) != EC_GFp_mont_method();
}

static bool put_key(EVP_PKEY *key, EC_GROUP *group)
{
	CH_AUTO(point) q = EC_POINT_new(group);
	uint8_t octets[POINT_ROOM];
	size_t size;

	return q &&
	       EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, octets, sizeof(octets), &size) ==
		       1 &&
	       EC_POINT_oct2point(group, q, octets, size, NULL) == 1 && /* refuses one off the curve */
	       EC_GROUP_set_generator(group, q, EC_GROUP_get0_order(group), BN_value_one()) == 1 &&
	       EC_GROUP_precompute_mult(group, NULL) == 1 && EC_GROUP_have_precompute_mult(group) == 1;
}

bool ch_p256_table_new(EVP_PKEY *key, struct ch_p256_table **table, struct ch_error *err)
{
	struct ch_p256_table *made = ch_alloc(sizeof(*made));

	made->curve = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	made->of_key = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	if (made->curve && made->of_key && uses_tables(made->of_key) && put_key(key, made->of_key)) {
		*table = made;
		return true;
	}
	ch_p256_table_free(made);
	return ch_fail_openssl(err, CH_UNSUPPORTED, "no table of a P-256 key's multiples");
}

void ch_p256_table_free(struct ch_p256_table *table)
{
	if (!table)
		return;
	EC_GROUP_free(table->of_key);
	EC_GROUP_free(table->curve);
	free(table);
}

struct ch_p256_work *ch_p256_work_new(const struct ch_p256_table *table)
{
	struct ch_p256_work *work = ch_alloc(sizeof(*work));

	work->context = BN_CTX_new();
	work->by_g = EC_POINT_new(table->curve);
	work->by_q = EC_POINT_new(table->of_key);
	if (work->context && work->by_g && work->by_q)
		return work;
	ch_p256_work_free(work);
	return NULL;
}

void ch_p256_work_free(struct ch_p256_work *work)
{
	if (!work)
		return;
	EC_POINT_free(work->by_g);
	EC_POINT_free(work->by_q);
	BN_CTX_free(work->context);
	free(work);
}

/* --- verifying --------------------------------------------------------------------------------------------
 */

/* Only what DER writes, as OpenSSL's own verification: r and s have one form. */
static ECDSA_SIG *read_signature(struct ch_view signature)
{
	const unsigned char *at = signature.data;
	uint8_t again[VALUE_ROOM], *end = again;
	CH_AUTO(value) value = NULL;

	if (!signature.size || signature.size > sizeof(again))
		return NULL;
	value = d2i_ECDSA_SIG(NULL, &at, (long)signature.size);
	if (!value || i2d_ECDSA_SIG(value, NULL) != (int)signature.size ||
	    i2d_ECDSA_SIG(value, &end) != (int)signature.size ||
	    memcmp(again, signature.data, signature.size) != 0)
		return NULL;
	return CH_STEAL(value);
}

static bool in_range(const BIGNUM *number, const BIGNUM *order)
{
	return !BN_is_zero(number) && !BN_is_negative(number) && BN_cmp(number, order) < 0;
}

/* *x: the first coordinate of by_g·G + by_q·Q, modulo the order. */
static bool add_up(const struct ch_p256_table *table, struct ch_p256_work *work, const BIGNUM *by_g,
		   const BIGNUM *by_q, BIGNUM *x)
{
	BN_CTX *context = work->context;
	const EC_GROUP *curve = table->curve;

	return EC_POINT_mul(curve, work->by_g, by_g, NULL, NULL, context) == 1 &&
	       EC_POINT_mul(table->of_key, work->by_q, by_q, NULL, NULL, context) == 1 &&
	       EC_POINT_add(curve, work->by_g, work->by_g, work->by_q, context) == 1 &&
	       !EC_POINT_is_at_infinity(curve, work->by_g) &&
	       EC_POINT_get_affine_coordinates(curve, work->by_g, x, NULL, context) == 1 &&
	       BN_nnmod(x, x, EC_GROUP_get0_order(curve), context) == 1;
}

/* FIPS 186-5 §6.4.2, steps 3 to 8. */
static bool computes_to_r(const struct ch_p256_table *table, struct ch_p256_work *work, struct ch_view digest,
			  const BIGNUM *r, const BIGNUM *s)
{
	const BIGNUM *order = EC_GROUP_get0_order(table->curve);
	BN_CTX *context = work->context;
	BIGNUM *inverse = BN_CTX_get(context), *e = BN_CTX_get(context), *by_g = BN_CTX_get(context);
	BIGNUM *by_q = BN_CTX_get(context), *x = BN_CTX_get(context);

	return x && BN_bin2bn(digest.data, (int)digest.size, e) &&
	       BN_mod_inverse(inverse, s, order, context) &&
	       BN_mod_mul(by_g, e, inverse, order, context) == 1 &&
	       BN_mod_mul(by_q, r, inverse, order, context) == 1 && add_up(table, work, by_g, by_q, x) &&
	       BN_cmp(x, r) == 0;
}

bool ch_p256_verify(const struct ch_p256_table *table, struct ch_p256_work *work, struct ch_view digest,
		    struct ch_view signature)
{
	CH_AUTO(value) value = digest.size == DIGEST_SIZE ? read_signature(signature) : NULL;
	const BIGNUM *order = EC_GROUP_get0_order(table->curve);
	bool right;

	if (!value || !in_range(ECDSA_SIG_get0_r(value), order) || !in_range(ECDSA_SIG_get0_s(value), order))
		return false;
	BN_CTX_start(work->context);
	right = computes_to_r(table, work, digest, ECDSA_SIG_get0_r(value), ECDSA_SIG_get0_s(value));
	BN_CTX_end(work->context);
	return right;
}
