/* SPDX-License-Identifier: Apache-2.0 */
/* public_key_test.c: a SubjectPublicKeyInfo holds a key's numbers and not one octet that is chosen otherwise.
 */
#include "x509/public_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V(text) ch_view((const uint8_t *)(text), sizeof(text) - 1)

static EVP_PKEY *make_key(const struct ch_algorithm *algorithm)
{
	EVP_PKEY *key = algorithm->curve                      ? EVP_EC_gen(algorithm->curve)
			: algorithm->key_type == EVP_PKEY_RSA ? EVP_RSA_gen((unsigned)algorithm->bits)
							      : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	assert_non_null(key);
	return key;
}

static struct ch_bytes info_of(EVP_PKEY *key)
{
	struct ch_bytes info = CH_NONE;
	int size = i2d_PUBKEY(key, &info.data);

	assert_true(size > 0);
	info.size = (size_t)size;
	return info;
}

static struct ch_bytes made(const char *algorithm)
{
	CH_AUTO(EVP_PKEY) key = make_key(ch_algorithm_find(algorithm));

	return info_of(key);
}

/* SubjectPublicKeyInfo of an AlgorithmIdentifier's content and key bits. */
static struct ch_bytes put_info(struct ch_view identifier, struct ch_view bits)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put(&writer, CH_DER_SEQUENCE, identifier);
	ch_der_put_bit_string(&writer, bits);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void assert_refused(struct ch_view identifier, struct ch_view bits, const char *says)
{
	CH_AUTO(ch_bytes) info = put_info(identifier, bits);
	struct ch_bytes rebuilt = CH_NONE;
	struct ch_error err = CH_NONE;
	struct ch_spki spki;

	if (ch_spki_check(ch_view_of(&info), &spki, &err))
		fail_msg("taken, where '%s' was expected", says);
	assert_int_equal(err.code, CH_INVALID);
	if (!strstr(err.message, says))
		fail_msg("'%s' does not say '%s'", err.message, says);
	if (spki.algorithm)
		assert_false(ch_spki_rebuild(ch_view_of(&info), &rebuilt, &err));
	ch_bytes_free(&rebuilt);
}

static void every_algorithms_key_is_read_and_written_as_it_is(void **state)
{
	const struct ch_algorithm *algorithm;

	for (size_t i = 0; (algorithm = ch_algorithm_at(i)); i++) {
		CH_AUTO(ch_bytes) info = made(algorithm->name);
		CH_AUTO(ch_bytes) rebuilt = CH_NONE;
		struct ch_error err = CH_NONE;
		struct ch_spki spki;

		if (!ch_spki_check(ch_view_of(&info), &spki, &err) ||
		    !ch_spki_rebuild(ch_view_of(&info), &rebuilt, &err))
			fail_msg("%s: %s", algorithm->name, err.message);
		assert_ptr_equal(spki.algorithm, algorithm);
		assert_false(spki.compressed);
		assert_true(ch_view_equal(ch_view_of(&info), ch_view_of(&rebuilt)));
	}
}

/* RFC 5480 §2.2: one point, two forms; what is written is the long one. */
static void a_compressed_point_is_written_out(void **state)
{
	static const char *const curves[] = { "ecdsa-p256", "ecdsa-p384", "ecdsa-p521" };

	for (size_t i = 0; i < CH_COUNT(curves); i++) {
		CH_AUTO(EVP_PKEY) key = make_key(ch_algorithm_find(curves[i]));
		CH_AUTO(ch_bytes) plain = info_of(key);
		CH_AUTO(ch_bytes) compressed = CH_NONE;
		CH_AUTO(ch_bytes) rebuilt = CH_NONE;
		struct ch_spki one, other;

		assert_int_equal(EVP_PKEY_set_utf8_string_param(
					 key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"),
				 1);
		compressed = info_of(key);
		assert_true(ch_spki_check(ch_view_of(&plain), &one, NULL));
		assert_true(ch_spki_check(ch_view_of(&compressed), &other, NULL));
		assert_true(other.compressed && ch_spki_equal(&one, &other));
		assert_true(ch_spki_rebuild(ch_view_of(&compressed), &rebuilt, NULL));
		assert_true(ch_view_equal(ch_view_of(&plain), ch_view_of(&rebuilt)));
	}
}

#define RSA     "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define EC      "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
#define P256    "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define ED25519 "\x06\x03\x2b\x65\x70"

/* The key bits of a good key, to stand under a bad identifier. */
static struct ch_bytes bits_of(const char *algorithm)
{
	CH_AUTO(ch_bytes) info = made(algorithm);
	struct ch_view whole = ch_view_of(&info), content, identifier, bits = CH_NONE;

	assert_true(ch_der_read(&whole, CH_DER_SEQUENCE, "", &content, NULL));
	assert_true(ch_der_read(&content, CH_DER_SEQUENCE, "", &identifier, NULL));
	assert_true(ch_der_read_bit_string(&content, "", &bits, NULL));
	return ch_bytes_copy(bits);
}

/* RFC 3279 §2.3.1, RFC 5480 §2.1.1, RFC 8410 §3: what stands in parameters is anybody's text. */
static void parameters_are_the_algorithms_own(void **state)
{
	CH_AUTO(ch_bytes) rsa = bits_of("rsa-2048");
	CH_AUTO(ch_bytes) point = bits_of("ecdsa-p256");
	CH_AUTO(ch_bytes) edwards = bits_of("ed25519");
	CH_AUTO(ch_der_writer) chosen = CH_NONE;
	CH_AUTO(ch_bytes) identifier = CH_NONE;
	uint8_t octets[440];

	memset(octets, 'x', sizeof(octets));
	ch_der_put_raw(&chosen, V(RSA));
	ch_der_put_octet_string(&chosen, ch_view(octets, sizeof(octets)));
	identifier = ch_der_done(&chosen);
	assert_refused(ch_view_of(&identifier), ch_view_of(&rsa), "parameters");
	assert_refused(V(RSA), ch_view_of(&rsa), "parameters");
	assert_refused(V(RSA "\x05\x01x"), ch_view_of(&rsa), "parameters is not NULL");
	assert_refused(V(RSA "\x05\x00\x05\x00"), ch_view_of(&rsa), "follow");
	assert_refused(V(EC P256 "\x05\x00"), ch_view_of(&point), "follow");
	assert_refused(V(EC), ch_view_of(&point), "named curve");
	assert_refused(V(EC "\x30\x00"), ch_view_of(&point), "named curve");
	assert_refused(V(EC "\x05\x00"), ch_view_of(&point), "named curve");
	assert_refused(V(ED25519 "\x05\x00"), ch_view_of(&edwards), "no parameters");
	assert_refused(V("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"), ch_view_of(&rsa), "id-RSASSA-PSS");
	assert_refused(V("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07"), ch_view_of(&rsa), "id-RSAES-OAEP");
	assert_refused(V("\x06\x05\x2b\x81\x04\x01\x0c" P256), ch_view_of(&point), "id-ecDH");
	assert_refused(V("\x06\x05\x2b\x81\x04\x01\x0d" P256), ch_view_of(&point), "id-ecMQV");
	assert_refused(V("\x06\x03\x2a\x03\x04\x05\x00"), ch_view_of(&rsa), "key type 1.2.3.4");
	assert_refused(V(EC "\x06\x05\x2b\x81\x04\x00\x0a"), ch_view_of(&point), "none of the supported");
	assert_refused(V(RSA "\x05\x00"), V(""), "empty");
}

static struct ch_bytes rsa_bits(struct ch_view modulus, struct ch_view exponent, struct ch_view after)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put(&writer, CH_DER_INTEGER, modulus);
	ch_der_put(&writer, CH_DER_INTEGER, exponent);
	ch_der_put_raw(&writer, after);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void assert_rsa(struct ch_view modulus, struct ch_view exponent, struct ch_view after,
		       const char *says)
{
	CH_AUTO(ch_bytes) bits = rsa_bits(modulus, exponent, after);
	CH_AUTO(ch_bytes) info = CH_NONE;
	struct ch_spki spki;

	if (says) {
		assert_refused(V(RSA "\x05\x00"), ch_view_of(&bits), says);
		return;
	}
	info = put_info(V(RSA "\x05\x00"), ch_view_of(&bits));
	assert_true(ch_spki_check(ch_view_of(&info), &spki, NULL));
}

#define F4 V("\x01\x00\x01")

static void an_rsa_key_is_two_numbers(void **state)
{
	uint8_t modulus[1026] = { 0x00, 0x81 }, exponent[34] = { 1 };
	struct ch_view good = ch_view(modulus, 257), none = CH_NONE;

	modulus[256] = 1;
	exponent[32] = 1;
	assert_rsa(good, F4, none, NULL);
	assert_rsa(good, F4, V("\x05\x00"), "follow");
	assert_rsa(ch_view(modulus + 1, 256), F4, none, "negative");
	assert_rsa(good, V("\xff\x00\x01"), none, "negative");
	assert_rsa(ch_view(modulus, 256), F4, none, "factor"); /* even */
	assert_rsa(good, V("\x00\x01\x00\x01"), none, "RSAPublicKey.publicExponent");
	assert_rsa(good, V("\x03"), none, "exponent");
	assert_rsa(good, V("\x00\xff\xff"), none, "exponent");
	assert_rsa(good, V("\x01\x00\x00"), none, "exponent");
	assert_rsa(good, V("\x00"), none, "exponent");
	assert_rsa(V("\x00"), F4, none, "factor");
	assert_rsa(good, ch_view(exponent, 33), none, "exponent"); /* 2^256 + 1 */
	modulus[255] = 1;
	assert_rsa(ch_view(modulus, 256), F4, none, "none of the supported"); /* 2040 bits */
	modulus[1025] = 1;
	assert_rsa(ch_view(modulus, 1026), F4, none, "at most 1024");
}

/* SP 800-56A §5.6.2.3.3 */
static void a_point_is_one_of_its_curve(void **state)
{
	static const char *const curves[] = { "ecdsa-p256", "ecdsa-p384", "ecdsa-p521" };

	for (size_t i = 0; i < CH_COUNT(curves); i++) {
		struct ch_spki spki;
		unsigned taken = 0;

		for (unsigned k = 0; k < 64; k++) {
			CH_AUTO(ch_bytes) info = made(curves[i]);
			CH_AUTO(EVP_PKEY) key = NULL;
			struct ch_view whole = ch_view_of(&info);
			bool openssl;

			/* a coordinate of a good key with one bit changed: of `x`, in its short form, half
			 * are good */
			info.data[info.size - 1 - k % 32] ^= (uint8_t)(1u << k % 8);
			assert_false(ch_spki_read(whole, &spki, NULL));
			openssl = ch_public_key_read(whole, &key, NULL);
			assert_false(openssl);
			taken += openssl;
		}
		assert_int_equal(taken, 0);
	}
}

/* Half of all numbers are no first coordinate of a point: what OpenSSL says of each, we say. */
static void a_compressed_point_is_one_of_its_curve(void **state)
{
	static const struct {
		const char *identifier;
		size_t identifier_size, octets;
	} curves[] = {
		{ EC P256, sizeof(EC P256) - 1, 32 },
		{ EC "\x06\x05\x2b\x81\x04\x00\x22", sizeof(EC) - 1 + 7, 48 },
		{ EC "\x06\x05\x2b\x81\x04\x00\x23", sizeof(EC) - 1 + 7, 66 },
	};
	unsigned good = 0, bad = 0;

	for (size_t i = 0; i < CH_COUNT(curves); i++)
		for (uint8_t x = 0; x < 60; x++) {
			CH_AUTO(EVP_PKEY) key = NULL;
			CH_AUTO(ch_bytes) info = CH_NONE;
			uint8_t point[67] = { 2 };
			struct ch_spki spki;
			bool taken;

			point[curves[i].octets] = x;
			info = put_info(
				ch_view((const uint8_t *)curves[i].identifier, curves[i].identifier_size),
				ch_view(point, curves[i].octets + 1));
			taken = ch_spki_read(ch_view_of(&info), &spki, NULL);
			assert_int_equal(taken, ch_public_key_read(ch_view_of(&info), &key, NULL));
			good += taken;
			bad += !taken;
		}
	assert_true(good > 50 && bad > 50);
}

static void points_have_two_forms_and_one_length(void **state)
{
	CH_AUTO(ch_bytes) point = bits_of("ecdsa-p256");
	CH_AUTO(ch_bytes) other = bits_of("ecdsa-p384");
	uint8_t beyond[65];

	point.data[0] = 6;
	assert_refused(V(EC P256), ch_view_of(&point), "no point of an elliptic curve");
	point.data[0] = 4;
	assert_refused(V(EC P256), ch_view(point.data, 64), "no point of an elliptic curve");
	assert_refused(V(EC P256), ch_view(point.data, 63), "31 octets");
	assert_refused(V(EC P256), ch_view_of(&other), "48 octets");
	assert_refused(V(EC P256), V("\x00"), "no point");
	assert_refused(V(EC P256), V("\x02"), "no point");
	memset(beyond, 0xff, sizeof(beyond)); /* x and y over the prime */
	beyond[0] = 4;
	assert_refused(V(EC P256), ch_view(beyond, sizeof(beyond)), "not a point");
}

/* A number has one form: of P-521, whose octets have room for more, y + p would be the same point. */
static void a_coordinate_is_below_the_prime(void **state)
{
	CH_AUTO(ch_bytes) point = bits_of("ecdsa-p521");
	BIGNUM *y = BN_bin2bn(point.data + 67, 66, NULL);

	assert_int_equal(point.size, 133);
	assert_true(BN_add(y, y, BN_get0_nist_prime_521()));
	assert_int_equal(BN_bn2binpad(y, point.data + 67, 66), 66);
	BN_free(y);
	assert_refused(V(EC "\x06\x05\x2b\x81\x04\x00\x23"), ch_view_of(&point), "not a point");
}

/* RFC 8032 §5.1.3 and §8.9 (cofactor): octets that decode to no point, and points for which anybody signs. */
static void an_ed25519_key_is_a_point_of_large_order(void **state)
{
	static const uint8_t order_8[] = { 0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
					   0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
					   0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a };
	uint8_t y[32] = { 1 };

	assert_refused(V(ED25519), ch_view(y, sizeof(y)), "small order");
	y[31] = 0x80;
	assert_refused(V(ED25519), ch_view(y, sizeof(y)), "small order");
	assert_refused(V(ED25519), ch_view(order_8, sizeof(order_8)), "small order");
	y[0] = 2; /* (4 - 1) / (4 d + 1) is no square */
	assert_refused(V(ED25519), ch_view(y, sizeof(y)), "not a point");
	memset(y, 0xff, sizeof(y));
	assert_refused(V(ED25519), ch_view(y, sizeof(y)), "not a point");
	assert_refused(V(ED25519), ch_view(y, 31), "31 octets");
	assert_refused(V("\x06\x03\x2b\x65\x71"), ch_view(y, 32), "32 octets"); /* Ed448 */
}

static void nothing_follows(void **state)
{
	CH_AUTO(ch_bytes) info = made("ecdsa-p256");
	CH_AUTO(ch_buffer) longer = CH_NONE;
	struct ch_spki spki;

	ch_buffer_add(&longer, info.data, info.size);
	ch_buffer_add(&longer, "\x05\x00", 2);
	assert_false(ch_spki_read(ch_buffer_view(&longer), &spki, NULL));
	for (size_t size = 0; size < info.size; size++)
		assert_false(ch_spki_read(ch_view(info.data, size), &spki, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_algorithms_key_is_read_and_written_as_it_is),
		cmocka_unit_test(a_compressed_point_is_written_out),
		cmocka_unit_test(parameters_are_the_algorithms_own),
		cmocka_unit_test(an_rsa_key_is_two_numbers),
		cmocka_unit_test(a_point_is_one_of_its_curve),
		cmocka_unit_test(a_compressed_point_is_one_of_its_curve),
		cmocka_unit_test(points_have_two_forms_and_one_length),
		cmocka_unit_test(a_coordinate_is_below_the_prime),
		cmocka_unit_test(an_ed25519_key_is_a_point_of_large_order),
		cmocka_unit_test(nothing_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
