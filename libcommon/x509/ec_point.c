/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ec_point.c: is it a point of its curve? A few multiplications modulo the curve's prime, on public numbers:
 * no group is made, which is what takes OpenSSL long. public_key.c calls it.
 */
#include "x509/public_key.h"

#include <openssl/bn.h>
#include <string.h>

CH_DEFINE_AUTO_POINTER(BIGNUM, BIGNUM, BN_free)
CH_DEFINE_AUTO_POINTER(BN_CTX, BN_CTX, BN_CTX_free)

/* --- y^2 = x^3 - 3x + b (NIST SP 800-186 §3.2.1) --- */

/* Big endian. */
static const uint8_t p256_b[] = { 0x5a, 0xc6, 0x35, 0xd8, 0xaa, 0x3a, 0x93, 0xe7, 0xb3, 0xeb, 0xbd,
				  0x55, 0x76, 0x98, 0x86, 0xbc, 0x65, 0x1d, 0x06, 0xb0, 0xcc, 0x53,
				  0xb0, 0xf6, 0x3b, 0xce, 0x3c, 0x3e, 0x27, 0xd2, 0x60, 0x4b };
static const uint8_t p384_b[] = { 0xb3, 0x31, 0x2f, 0xa7, 0xe2, 0x3e, 0xe7, 0xe4, 0x98, 0x8e, 0x05, 0x6b,
				  0xe3, 0xf8, 0x2d, 0x19, 0x18, 0x1d, 0x9c, 0x6e, 0xfe, 0x81, 0x41, 0x12,
				  0x03, 0x14, 0x08, 0x8f, 0x50, 0x13, 0x87, 0x5a, 0xc6, 0x56, 0x39, 0x8d,
				  0x8a, 0x2e, 0xd1, 0x9d, 0x2a, 0x85, 0xc8, 0xed, 0xd3, 0xec, 0x2a, 0xef };
static const uint8_t p521_b[] = { 0x51, 0x95, 0x3e, 0xb9, 0x61, 0x8e, 0x1c, 0x9a, 0x1f, 0x92, 0x9a,
				  0x21, 0xa0, 0xb6, 0x85, 0x40, 0xee, 0xa2, 0xda, 0x72, 0x5b, 0x99,
				  0xb3, 0x15, 0xf3, 0xb8, 0xb4, 0x89, 0x91, 0x8e, 0xf1, 0x09, 0xe1,
				  0x56, 0x19, 0x39, 0x51, 0xec, 0x7e, 0x93, 0x7b, 0x16, 0x52, 0xc0,
				  0xbd, 0x3b, 0xb1, 0xbf, 0x07, 0x35, 0x73, 0xdf, 0x88, 0x3d, 0x2c,
				  0x34, 0xf1, 0xef, 0x45, 0x1f, 0xd4, 0x6b, 0x50, 0x3f, 0x00 };

static const struct field {
	const char *algorithm;
	const BIGNUM *(*prime)(void);
	int (*reduce)(BIGNUM *result, const BIGNUM *number, const BIGNUM *prime, BN_CTX *context);
	const uint8_t *b;
	int b_octets;
} fields[] = {
	{ "ecdsa-p256", BN_get0_nist_prime_256, BN_nist_mod_256, p256_b, sizeof(p256_b) },
	{ "ecdsa-p384", BN_get0_nist_prime_384, BN_nist_mod_384, p384_b, sizeof(p384_b) },
	{ "ecdsa-p521", BN_get0_nist_prime_521, BN_nist_mod_521, p521_b, sizeof(p521_b) },
};

static const struct field *find_field(const struct ch_algorithm *curve)
{
	for (size_t i = 0; i < CH_COUNT(fields); i++)
		if (curve && strcmp(fields[i].algorithm, curve->name) == 0)
			return &fields[i];
	return NULL;
}

/* (x^2 - 3) x + b */
static bool right_side(const struct field *field, const BIGNUM *x, BIGNUM *result, BN_CTX *context)
{
	const BIGNUM *p = field->prime();
	CH_AUTO(BIGNUM) b = BN_bin2bn(field->b, field->b_octets, NULL);
	CH_AUTO(BIGNUM) square = BN_new();

	return b && square && BN_sqr(square, x, context) && field->reduce(square, square, p, context) &&
	       BN_add(square, square, p) && BN_sub_word(square, 3) && BN_mul(result, square, x, context) &&
	       BN_add(result, result, b) && BN_nnmod(result, result, p, context);
}

static bool is_on_curve(const struct field *field, struct ch_view x_octets, struct ch_view y_octets, bool *is)
{
	const BIGNUM *p = field->prime();
	CH_AUTO(BN_CTX) context = BN_CTX_new();
	CH_AUTO(BIGNUM) x = BN_bin2bn(x_octets.data, (int)x_octets.size, NULL);
	CH_AUTO(BIGNUM) y = BN_bin2bn(y_octets.data, (int)y_octets.size, NULL);
	CH_AUTO(BIGNUM) right = BN_new();
	CH_AUTO(BIGNUM) left = BN_new();

	*is = false;
	if (!context || !x || !y || !right || !left)
		return false;
	if (BN_cmp(x, p) >= 0 || BN_cmp(y, p) >= 0)
		return true;
	if (!right_side(field, x, right, context))
		return false;
	if (y_octets.size == 0) { /* is it a square? */
		*is = BN_is_zero(right) || BN_kronecker(right, p, context) == 1;
		return true;
	}
	if (!BN_sqr(left, y, context) || !field->reduce(left, left, p, context))
		return false;
	*is = BN_cmp(left, right) == 0;
	return true;
}

bool ch_ec_point_check(const struct ch_algorithm *curve, struct ch_view x, struct ch_view y,
		       struct ch_error *err)
{
	const struct field *field = find_field(curve);
	bool is;

	if (!field || x.size > CH_PUBLIC_KEY_CAP || y.size > CH_PUBLIC_KEY_CAP)
		return ch_fail(err, CH_INVALID, "EC key: its curve is not known");
	if (!is_on_curve(field, x, y, &is))
		return ch_fail_openssl(err, CH_INTERNAL, "EC key: it cannot be checked");
	return is || ch_fail(err, CH_INVALID, "EC key: not a point of its curve");
}

/* --- -x^2 + y^2 = 1 + d x^2 y^2 modulo 2^255 - 19 (RFC 8032 §5.1) --- */

#define ED25519_OCTETS 32

static const char ed25519_p[] = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
static const char ed25519_d[] = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";

/* The y of the points whose order divides eight: (0, 1), (0, -1), those with y = 0, and the four of order
 * eight. */
static const char *const small_orders[] = {
	"00",
	"01",
	"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
	"7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
	"05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
};

static bool is_small(const BIGNUM *y, bool *is)
{
	*is = false;
	for (size_t i = 0; i < CH_COUNT(small_orders) && !*is; i++) {
		CH_AUTO(BIGNUM) small = NULL;

		if (!BN_hex2bn(&small, small_orders[i]))
			return false;
		*is = BN_cmp(small, y) == 0;
	}
	return true;
}

/* x^2 = (y^2 - 1) / (d y^2 + 1): a square where (y^2 - 1)(d y^2 + 1) is one. */
static bool has_x(const BIGNUM *y, const BIGNUM *p, bool *has)
{
	CH_AUTO(BN_CTX) context = BN_CTX_new();
	CH_AUTO(BIGNUM) d = NULL;
	CH_AUTO(BIGNUM) square = BN_new();
	CH_AUTO(BIGNUM) product = BN_new();

	if (!context || !square || !product || !BN_hex2bn(&d, ed25519_d) ||
	    !BN_mod_sqr(square, y, p, context) || !BN_mod_mul(product, square, d, p, context) ||
	    !BN_add_word(product, 1) || !BN_sub(square, square, BN_value_one()) ||
	    !BN_mod_mul(product, product, square, p, context))
		return false;
	*has = BN_kronecker(product, p, context) == 1; /* 0: y is 1 or -1, of a small order */
	return true;
}

bool ch_ed25519_point_check(struct ch_view octets, struct ch_error *err)
{
	uint8_t little_endian[ED25519_OCTETS];
	CH_AUTO(BIGNUM) y = NULL;
	CH_AUTO(BIGNUM) p = NULL;
	bool small, on_curve;

	if (octets.size != sizeof(little_endian))
		return ch_fail(err, CH_INVALID, "Ed25519 key of %zu octets, not %d", octets.size,
			       ED25519_OCTETS);
	memcpy(little_endian, octets.data, sizeof(little_endian));
	little_endian[ED25519_OCTETS - 1] &= 0x7f; /* the sign of x */
	y = BN_lebin2bn(little_endian, sizeof(little_endian), NULL);
	if (!y || !BN_hex2bn(&p, ed25519_p) || !is_small(y, &small))
		return ch_fail_openssl(err, CH_INTERNAL, "Ed25519 key: it cannot be checked");
	if (small)
		return ch_fail(err, CH_INVALID,
			       "Ed25519 key: a point of small order, for which anybody signs");
	if (BN_cmp(y, p) >= 0)
		return ch_fail(err, CH_INVALID, "Ed25519 key: not a point (RFC 8032 §5.1.3)");
	if (!has_x(y, p, &on_curve))
		return ch_fail_openssl(err, CH_INTERNAL, "Ed25519 key: it cannot be checked");
	return on_curve || ch_fail(err, CH_INVALID, "Ed25519 key: not a point (RFC 8032 §5.1.3)");
}
