/* SPDX-License-Identifier: Apache-2.0 */
/* csr_test.c: which certification requests (RFC 2986) are read, which are refused and why; which keys are
 * weak. */
#include "x509/x509.h"

#include <openssl/bn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V(literal) ch_view("" literal, sizeof(literal) - 1)

CH_DEFINE_AUTO_POINTER(BIGNUM, BIGNUM, BN_free)
CH_DEFINE_AUTO_POINTER(BN_CTX, BN_CTX, BN_CTX_free)

/* What a request is made of; csr_of() signs it. Zero members take the usual value. */
struct recipe {
	EVP_PKEY *key;
	EVP_PKEY *signing_key;    /* another one than `key` */
	const char *digest;       /* "sha256" */
	struct ch_view algorithm; /* AlgorithmIdentifier; ecdsa-with-SHA256 */
	unsigned version;
	struct ch_view extensions; /* SEQUENCE OF Extension's content */
	struct ch_view more_attributes;
	bool no_attributes;
	struct ch_view subject; /* CN=Test */
	struct ch_view public_key_info;
};

static struct ch_bytes spki_of(EVP_PKEY *key)
{
	uint8_t *at = NULL;
	int size = i2d_PUBKEY(key, &at);
	struct ch_bytes info = ch_bytes_copy(ch_view(at, (size_t)size));
	OPENSSL_free(at);
	return info;
}

static void put_extension_request(struct ch_der_writer *writer, struct ch_view extensions)
{
	ch_der_begin(writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(writer, "1.2.840.113549.1.9.14", NULL));
	ch_der_begin(writer, CH_DER_SET);
	ch_der_put(writer, CH_DER_SEQUENCE, extensions);
	ch_der_finish(writer);
	ch_der_finish(writer);
}

static struct ch_bytes info_of(const struct recipe *recipe)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) spki = spki_of(recipe->key);
	CH_AUTO(ch_bytes) name = CH_NONE;
	assert_true(ch_name_parse("CN=Test", &name, NULL));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, recipe->version);
	ch_der_put_raw(&writer, recipe->subject.data ? recipe->subject : ch_view_of(&name));
	ch_der_put_raw(&writer, recipe->public_key_info.data ? recipe->public_key_info : ch_view_of(&spki));
	if (!recipe->no_attributes) {
		ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
		if (recipe->extensions.data)
			put_extension_request(&writer, recipe->extensions);
		ch_der_put_raw(&writer, recipe->more_attributes);
		ch_der_finish(&writer);
	}
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static struct ch_bytes csr_of(const struct recipe *recipe)
{
	CH_AUTO(ch_bytes) info = info_of(recipe);
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	EVP_PKEY *signing_key = recipe->signing_key ? recipe->signing_key : recipe->key;
	const char *digest = recipe->digest ? recipe->digest : "sha256";
	uint8_t signature[2048];
	size_t size = sizeof signature;
	assert_int_equal(EVP_DigestSignInit_ex(context, NULL, digest[0] ? digest : NULL, NULL, NULL,
					       signing_key, NULL),
			 1);
	assert_int_equal(EVP_DigestSign(context, signature, &size, info.data, info.size), 1);
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_raw(&writer, ch_view_of(&info));
	ch_der_put_raw(&writer, recipe->algorithm.data
					? recipe->algorithm
					: ch_algorithm_find("ecdsa-p256")->signature_identifier);
	ch_der_put_bit_string(&writer, ch_view(signature, size));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static EVP_PKEY *p256(void)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "prime256v1");
}

static struct ch_bytes san_extension(const char *name)
{
	CH_AUTO(ch_sans) sans = CH_NONE;
	CH_AUTO(ch_bytes) value = CH_NONE;
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	assert_true(ch_sans_add(&sans, "dns", name, NULL));
	assert_true(ch_sans_encode(&sans, &value, NULL));
	ch_extension_put(&writer, "2.5.29.17", false, ch_view_of(&value));
	return ch_der_done(&writer);
}

static void assert_refused(struct ch_view input, enum ch_code code, const char *says)
{
	struct ch_csr csr = CH_NONE;
	struct ch_error err = CH_NONE;
	if (ch_csr_read(input, &csr, &err))
		fail_msg("taken, where '%s' was expected", says);
	assert_int_equal(err.code, code);
	if (!strstr(err.message, says))
		fail_msg("'%s' does not say '%s'", err.message, says);
	assert_null(csr.subject);
}

static void assert_recipe_refused(const struct recipe *recipe, const char *says)
{
	CH_AUTO(ch_bytes) der = csr_of(recipe);
	assert_refused(ch_view_of(&der), CH_INVALID, says);
}

/* --- what is read --- */

static void a_request_says_who_wants_what_for_which_key(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(ch_bytes) san = san_extension("www.example.com");
	CH_AUTO(ch_bytes) spki = spki_of(key);
	struct recipe recipe = { .key = key, .extensions = ch_view_of(&san) };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	CH_AUTO(ch_csr) csr = CH_NONE;
	struct ch_error err = CH_NONE;
	if (!ch_csr_read(ch_view_of(&der), &csr, &err))
		fail_msg("%s", err.message);
	assert_string_equal(csr.subject, "CN=Test");
	assert_string_equal(csr.algorithm->name, "ecdsa-p256");
	assert_string_equal(csr.key_description, "EC prime256v1");
	assert_true(ch_view_equal(ch_view_of(&csr.public_key_info), ch_view_of(&spki)));
	assert_int_equal(csr.sans.count, 1);
	assert_string_equal(csr.sans.items[0].value, "www.example.com");
	assert_false(csr.requests_ca);
	uint8_t digest[64];
	size_t size;
	assert_true(ch_digest("sha256", ch_view_of(&spki), digest, &size, NULL));
	assert_memory_equal(csr.public_key_sha256, digest, 32);
}

/* RFC 7468 §7: both labels, text before the block is skipped. */
static void pem_is_as_good_as_der(void **state)
{
	static const char *const labels[] = { "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST" };
	CH_AUTO(EVP_PKEY) key = p256();
	struct recipe recipe = { .key = key };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	for (size_t i = 0; i < CH_COUNT(labels); i++) {
		CH_AUTO(ch_buffer) text = CH_NONE;
		CH_AUTO(ch_csr) csr = CH_NONE;
		ch_buffer_printf(&text, "Subject: CN=Test\n");
		ch_pem_add(&text, labels[i], ch_view_of(&der));
		assert_true(ch_csr_read(ch_buffer_view(&text), &csr, NULL));
		assert_string_equal(csr.subject, "CN=Test");
	}
	CH_AUTO(ch_buffer) certificate = CH_NONE;
	ch_pem_add(&certificate, "CERTIFICATE", ch_view_of(&der));
	assert_refused(ch_buffer_view(&certificate), CH_INVALID, "neither DER nor PEM");
}

static void attributes_and_subject_may_be_empty(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	struct recipe recipe = { .key = key, .no_attributes = true, .subject = V("\x30\x00") };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	CH_AUTO(ch_csr) csr = CH_NONE;
	assert_true(ch_csr_read(ch_view_of(&der), &csr, NULL));
	assert_string_equal(csr.subject, "");
	assert_int_equal(csr.sans.count, 0);
}

static void a_wish_to_be_a_ca_is_noted(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_extension_basic_constraints(&writer, true, 0);
	ch_extension_key_usage(&writer, 1); /* what comes after it takes nothing back */
	CH_AUTO(ch_bytes) extension = ch_der_done(&writer);
	struct recipe recipe = { .key = key, .extensions = ch_view_of(&extension) };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	CH_AUTO(ch_csr) csr = CH_NONE;
	assert_true(ch_csr_read(ch_view_of(&der), &csr, NULL));
	assert_true(csr.requests_ca);
}

/* The issuer says no with a good message; so the request itself must be readable. */
static void keys_that_chancery_does_not_certify_are_described(void **state)
{
	static const struct {
		const char *type, *argument, *description, *digest;
		size_t bits;
		struct ch_view algorithm;
	} keys[] = {
		{ "EC", "secp256k1", "EC secp256k1", "sha256", 0, { NULL, 0 } },
		{ "RSA",
		  NULL,
		  "RSA 1024 bits",
		  "sha256",
		  1024,
		  { (const uint8_t *)"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00", 15 } },
		{ "ED448", NULL, "ED448", "", 0, { (const uint8_t *)"\x30\x05\x06\x03\x2b\x65\x71", 7 } },
	};
	for (size_t i = 0; i < CH_COUNT(keys); i++) {
		CH_AUTO(EVP_PKEY) key =
			keys[i].bits ? EVP_PKEY_Q_keygen(NULL, NULL, keys[i].type, keys[i].bits)
				     : EVP_PKEY_Q_keygen(NULL, NULL, keys[i].type, keys[i].argument);
		struct recipe recipe = { .key = key,
					 .digest = keys[i].digest,
					 .algorithm = keys[i].algorithm };
		CH_AUTO(ch_bytes) der = csr_of(&recipe);
		CH_AUTO(ch_csr) csr = CH_NONE;
		struct ch_error err = CH_NONE;
		if (!ch_csr_read(ch_view_of(&der), &csr, &err))
			fail_msg("%s", err.message);
		assert_null(csr.algorithm);
		assert_string_equal(csr.key_description, keys[i].description);
		assert_false(ch_check_weak_key(ch_view_of(&csr.public_key_info), &err));
		assert_int_equal(err.code, CH_INVALID);
	}
}

/* --- what is refused --- */

/* RFC 2986 §3: the signature proves possession of the private key. */
static void a_signature_by_another_key_is_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(EVP_PKEY) other = p256();
	assert_recipe_refused(&(struct recipe){ .key = key, .signing_key = other }, "no proof of possession");
}

static void every_changed_octet_is_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(ch_bytes) san = san_extension("www.example.com");
	struct recipe recipe = { .key = key, .extensions = ch_view_of(&san) };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	for (size_t i = 0; i < der.size; i++) {
		CH_AUTO(ch_csr) csr = CH_NONE;
		der.data[i] ^= 0x01;
		if (ch_csr_read(ch_view_of(&der), &csr, NULL))
			fail_msg("octet %zu changed and taken", i);
		der.data[i] ^= 0x01;
	}
}

static void every_truncation_is_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	struct recipe recipe = { .key = key };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	for (size_t size = 0; size < der.size; size++) {
		CH_AUTO(ch_bytes) part = ch_bytes_copy(ch_view(der.data, size));
		struct ch_csr csr = CH_NONE;
		assert_false(ch_csr_read(ch_view_of(&part), &csr, NULL));
	}
}

static void trailing_octets_are_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	struct recipe recipe = { .key = key };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	CH_AUTO(ch_buffer) longer = CH_NONE;
	ch_buffer_add_view(&longer, ch_view_of(&der));
	ch_buffer_add(&longer, "", 1);
	assert_refused(ch_buffer_view(&longer), CH_INVALID, "1 octets follow");
}

static void sizes_over_the_cap_are_refused(void **state)
{
	CH_AUTO(ch_bytes) large = { ch_alloc(CH_CSR_CAP + 1), CH_CSR_CAP + 1 };
	assert_refused(ch_view_of(&large), CH_TOO_LARGE, "at most 65536");
}

/* RFC 2986 §4.1: v1(0) is the only version. */
static void other_versions_are_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	assert_recipe_refused(&(struct recipe){ .key = key, .version = 2 }, "version 3");
}

static void md5_and_sha1_signatures_are_refused(void **state)
{
	CH_AUTO(EVP_PKEY) rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	CH_AUTO(EVP_PKEY) ec = p256();
	struct ch_view md5 = V("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04\x05\x00");
	struct ch_view sha1 = V("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00");
	struct ch_view ecdsa_sha1 = V("\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01");
	assert_recipe_refused(&(struct recipe){ .key = rsa, .digest = "md5", .algorithm = md5 },
			      "not accepted");
	assert_recipe_refused(&(struct recipe){ .key = rsa, .digest = "sha1", .algorithm = sha1 },
			      "not accepted");
	assert_recipe_refused(&(struct recipe){ .key = ec, .digest = "sha1", .algorithm = ecdsa_sha1 },
			      "not accepted");
	assert_recipe_refused(&(struct recipe){ .key = rsa }, "does not fit the key");
}

/* RFC 5280 §4.2: an extension stands at most once. */
static void an_extension_twice_is_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(ch_bytes) one = san_extension("a.example");
	CH_AUTO(ch_bytes) two = san_extension("b.example");
	CH_AUTO(ch_buffer) both = CH_NONE;
	ch_buffer_add_view(&both, ch_view_of(&one));
	ch_buffer_add_view(&both, ch_view_of(&two));
	assert_recipe_refused(&(struct recipe){ .key = key, .extensions = ch_buffer_view(&both) },
			      "stands twice");

	CH_AUTO(ch_der_writer) second = CH_NONE;
	put_extension_request(&second, ch_view_of(&two));
	CH_AUTO(ch_bytes) attribute = ch_der_done(&second);
	assert_recipe_refused(&(struct recipe){ .key = key,
						.extensions = ch_view_of(&one),
						.more_attributes = ch_view_of(&attribute) },
			      "two extensionRequest");
}

static void malformed_extensions_are_refused(void **state)
{
	static const struct {
		struct ch_view extensions;
		const char *says;
	} bad[] = {
		{ { (const uint8_t *)"\x05\x00", 2 }, "Extension: tag 0x05" },
		{ { (const uint8_t *)"\x30\x05\x06\x03\x55\x1d\x11", 7 }, "extnValue: missing" },
		{ { (const uint8_t *)"\x30\x09\x06\x03\x55\x1d\x11\x04\x02\x30\x00", 11 }, "without a name" },
		{ { (const uint8_t *)"\x30\x0c\x06\x03\x55\x1d\x11\x01\x01\xff\x04\x02\x30\x00", 14 },
		  "without a name" },
		{ { (const uint8_t *)"\x30\x0c\x06\x03\x55\x1d\x11\x01\x01\x02\x04\x02\x30\x00", 14 },
		  "BOOLEAN" },
		{ { (const uint8_t *)"\x30\x0c\x06\x03\x55\x1d\x13\x04\x05\x30\x03\x01\x01\x01", 14 },
		  "BOOLEAN" },
		{ { (const uint8_t *)"\x30\x0b\x06\x03\x55\x1d\x13\x04\x04\x30\x00\x05\x00", 13 }, "follow" },
	};
	CH_AUTO(EVP_PKEY) key = p256();
	for (size_t i = 0; i < CH_COUNT(bad); i++)
		assert_recipe_refused(&(struct recipe){ .key = key, .extensions = bad[i].extensions },
				      bad[i].says);
}

/* RFC 5480 §2.1.1: explicit curve parameters never reach OpenSSL's arithmetic. */
static void explicit_curve_parameters_are_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(EVP_PKEY) other = p256();
	assert_int_equal(EVP_PKEY_set_utf8_string_param(other, "encoding", "explicit"), 1);
	CH_AUTO(ch_bytes) spki = spki_of(other);
	assert_recipe_refused(&(struct recipe){ .key = key, .public_key_info = ch_view_of(&spki) },
			      "named curve");
	struct ch_error err = CH_NONE;
	assert_false(ch_check_weak_key(ch_view_of(&spki), &err));
	assert_non_null(strstr(err.message, "named curve"));
}

static void other_key_types_are_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(EVP_PKEY) exchange = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	CH_AUTO(ch_bytes) spki = spki_of(exchange);
	assert_recipe_refused(&(struct recipe){ .key = key, .public_key_info = ch_view_of(&spki) },
			      "key type");
}

static void a_subject_that_is_no_name_is_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	assert_recipe_refused(&(struct recipe){ .key = key, .subject = V("\x04\x00") }, "not a Name");
	assert_recipe_refused(&(struct recipe){ .key = key, .subject = V("\x30\x02\x05\x00") },
			      "RelativeDistinguishedName");
}

/* What a certificate gets is written from what was read: the requester's octets end here. */
static void subject_and_key_are_written_anew(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(EVP_PKEY) short_form = EVP_PKEY_dup(key);
	CH_AUTO(ch_bytes) spki = spki_of(key);
	CH_AUTO(ch_bytes) compressed = CH_NONE;
	CH_AUTO(ch_bytes) name = CH_NONE;
	CH_AUTO(ch_csr) csr = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_int_equal(EVP_PKEY_set_utf8_string_param(short_form, "point-format", "compressed"), 1);
	compressed = spki_of(short_form);
	assert_true(ch_name_parse("CN=a", &name, NULL));
	/* a PrintableString where CN is an UTF8String */
	struct recipe recipe = { .key = key,
				 .subject = V("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x13\x01\x61"),
				 .public_key_info = ch_view_of(&compressed) };
	CH_AUTO(ch_bytes) der = csr_of(&recipe);
	if (!ch_csr_read(ch_view_of(&der), &csr, &err))
		fail_msg("%s", err.message);
	assert_true(ch_view_equal(ch_view_of(&csr.subject_der), ch_view_of(&name)));
	assert_true(ch_view_equal(ch_view_of(&csr.public_key_info), ch_view_of(&spki)));
}

static void chosen_octets_in_subject_and_key_are_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	CH_AUTO(EVP_PKEY) ec = p256();
	CH_AUTO(ch_bytes) spki = spki_of(key);
	CH_AUTO(ch_buffer) chosen = CH_NONE;

	assert_recipe_refused(
		&(struct recipe){ .key = ec,
				  .subject = V("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x2d\x03\x01\x00") },
		"2.5.4.45"); /* x500UniqueIdentifier, a BIT STRING */
	ch_buffer_add_view(&chosen, ch_view_of(&spki));
	chosen.data[17] = CH_DER_OCTET_STRING; /* AlgorithmIdentifier.parameters */
	assert_recipe_refused(&(struct recipe){ .key = key, .public_key_info = ch_buffer_view(&chosen) },
			      "parameters");
}

/* --- weak keys --- */

static struct ch_bytes rsa_spki(const BIGNUM *modulus, struct ch_view exponent)
{
	uint8_t octets[1024];
	int size = BN_bn2bin(modulus, octets);
	CH_AUTO(ch_der_writer) key = CH_NONE;
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&key, CH_DER_SEQUENCE);
	ch_der_put_integer(&key, ch_view(octets, (size_t)size));
	ch_der_put_integer(&key, exponent);
	ch_der_finish(&key);
	CH_AUTO(ch_bytes) inner = ch_der_done(&key);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_raw(&writer, V("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"));
	ch_der_put_bit_string(&writer, ch_view_of(&inner));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void assert_weak(const BIGNUM *modulus, struct ch_view exponent, const char *says)
{
	CH_AUTO(ch_bytes) spki = rsa_spki(modulus, exponent);
	struct ch_error err = CH_NONE;
	if (ch_check_weak_key(ch_view_of(&spki), &err))
		fail_msg("taken, where '%s' was expected", says);
	assert_int_equal(err.code, CH_INVALID);
	if (!strstr(err.message, says))
		fail_msg("'%s' does not say '%s'", err.message, says);
}

static BIGNUM *modulus_of(EVP_PKEY *key)
{
	BIGNUM *modulus = NULL;
	assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &modulus), 1);
	return modulus;
}

#define F4 V("\x01\x00\x01")

static void good_keys_pass(void **state)
{
	const struct ch_algorithm *algorithm;
	for (size_t i = 0; (algorithm = ch_algorithm_at(i)); i++) {
		if (algorithm->bits > 2048)
			continue;
		CH_AUTO(EVP_PKEY) key = algorithm->curve
						? EVP_PKEY_Q_keygen(NULL, NULL, "EC", algorithm->curve)
					: algorithm->key_type == EVP_PKEY_RSA
						? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
						: EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		CH_AUTO(ch_bytes) spki = spki_of(key);
		struct ch_error err = CH_NONE;
		if (!ch_check_weak_key(ch_view_of(&spki), &err))
			fail_msg("%s: %s", algorithm->name, err.message);
	}
}

/* FIPS 186-5 §5.4: 2^16 < e < 2^256, odd. */
static void rsa_exponents_have_bounds(void **state)
{
	CH_AUTO(EVP_PKEY) key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	CH_AUTO(BIGNUM) modulus = modulus_of(key);
	uint8_t large[33] = { 1, [32] = 1 }, largest[32];
	memset(largest, 0xff, sizeof largest);
	assert_weak(modulus, V("\x01"), "exponent");
	assert_weak(modulus, V("\x03"), "exponent");
	assert_weak(modulus, V("\xff\xff"), "exponent");
	assert_weak(modulus, V("\x01\x00\x00"), "exponent");
	assert_weak(modulus, V("\x01\x00\x02"), "exponent");
	assert_weak(modulus, ch_view(large, sizeof large), "exponent");
	CH_AUTO(ch_bytes) spki = rsa_spki(modulus, ch_view(largest, sizeof largest));
	assert_true(ch_check_weak_key(ch_view_of(&spki), NULL));
}

static void rsa_sizes_are_three(void **state)
{
	static const int sizes[] = { 1024, 2047, 2049, 3071, 4095, 8192 };
	for (size_t i = 0; i < CH_COUNT(sizes); i++) {
		CH_AUTO(BIGNUM) modulus = BN_new();
		assert_int_equal(BN_rand(modulus, sizes[i], BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD), 1);
		assert_weak(modulus, F4, "2048, 3072 or 4096");
	}
}

static bool divisible_below_752(const BIGNUM *number)
{
	for (BN_ULONG i = 2; i < 752; i++)
		if (BN_mod_word(number, i) == 0)
			return true;
	return false;
}

/* NIST SP 800-89 §5.3.3 */
static void small_factors_are_found(void **state)
{
	static const BN_ULONG factors[] = { 2, 3, 743, 751 };
	for (size_t i = 0; i < CH_COUNT(factors); i++) {
		CH_AUTO(BIGNUM) modulus = BN_new();
		assert_int_equal(BN_rand(modulus, 2048, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD), 1);
		assert_int_equal(BN_sub_word(modulus, BN_mod_word(modulus, factors[i])), 1);
		assert_weak(modulus, F4, "factor below 752");
	}
}

/* CVE-2022-26320: p and q differ by little. They need not be primes for the attack, nor for the check. */
static void close_primes_are_found(void **state)
{
	CH_AUTO(BN_CTX) context = BN_CTX_new();
	CH_AUTO(BIGNUM) p = BN_new();
	CH_AUTO(BIGNUM) q = BN_new();
	CH_AUTO(BIGNUM) modulus = BN_new();
	for (int distance = 2; distance < 100000; distance = distance * 8 + 2) {
		do { /* one in twelve odd numbers has no small factor */
			assert_int_equal(BN_rand(p, 1024, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD), 1);
		} while (divisible_below_752(p));
		assert_non_null(BN_copy(q, p));
		assert_int_equal(BN_add_word(q, (BN_ULONG)distance), 1);
		while (divisible_below_752(q))
			assert_int_equal(BN_add_word(q, 2), 1);
		assert_int_equal(BN_mul(modulus, p, q, context), 1);
		assert_weak(modulus, F4, "too close");
	}
}

/* CVE-2017-15361: the modulus is a power of 65537 modulo the product of the small primes. */
static void roca_is_found(void **state)
{
	CH_AUTO(BN_CTX) context = BN_CTX_new();
	CH_AUTO(BIGNUM) product = BN_new();
	CH_AUTO(BIGNUM) base = BN_new();
	CH_AUTO(BIGNUM) exponent = BN_new();
	CH_AUTO(BIGNUM) residue = BN_new();
	CH_AUTO(BIGNUM) modulus = BN_new();
	assert_int_equal(BN_one(product), 1);
	for (unsigned i = 2; i <= 167; i++) {
		bool prime = true;
		for (unsigned j = 2; j * j <= i; j++)
			prime &= i % j != 0;
		if (prime)
			assert_int_equal(BN_mul_word(product, i), 1);
	}
	assert_int_equal(BN_set_word(base, 65537), 1);
	assert_int_equal(BN_set_word(exponent, 123457), 1);
	assert_int_equal(BN_mod_exp(residue, base, exponent, product, context), 1);
	do { /* residue + k * product, of 2048 bits and without a small factor */
		assert_int_equal(BN_rand(modulus, 2048, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY), 1);
		assert_int_equal(BN_div(exponent, NULL, modulus, product, context), 1);
		assert_int_equal(BN_mul(modulus, exponent, product, context), 1);
		assert_int_equal(BN_add(modulus, modulus, residue), 1);
	} while (divisible_below_752(modulus) || BN_num_bits(modulus) != 2048);
	assert_weak(modulus, F4, "CVE-2017-15361");
}

static void points_off_the_curve_are_refused(void **state)
{
	CH_AUTO(EVP_PKEY) key = p256();
	CH_AUTO(ch_bytes) spki = spki_of(key);
	struct ch_error err = CH_NONE;
	spki.data[spki.size - 1] ^= 1;
	assert_false(ch_check_weak_key(ch_view_of(&spki), &err));
	assert_int_equal(err.code, CH_INVALID);
	/* the point at infinity: one zero octet */
	assert_false(ch_check_weak_key(
		V("\x30\x19\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce"
		  "\x3d\x03\x01\x07\x03\x02\x00\x00"),
		&err));
	assert_int_equal(err.code, CH_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_says_who_wants_what_for_which_key),
		cmocka_unit_test(pem_is_as_good_as_der),
		cmocka_unit_test(attributes_and_subject_may_be_empty),
		cmocka_unit_test(a_wish_to_be_a_ca_is_noted),
		cmocka_unit_test(keys_that_chancery_does_not_certify_are_described),
		cmocka_unit_test(a_signature_by_another_key_is_refused),
		cmocka_unit_test(every_changed_octet_is_refused),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(trailing_octets_are_refused),
		cmocka_unit_test(sizes_over_the_cap_are_refused),
		cmocka_unit_test(other_versions_are_refused),
		cmocka_unit_test(md5_and_sha1_signatures_are_refused),
		cmocka_unit_test(an_extension_twice_is_refused),
		cmocka_unit_test(malformed_extensions_are_refused),
		cmocka_unit_test(explicit_curve_parameters_are_refused),
		cmocka_unit_test(other_key_types_are_refused),
		cmocka_unit_test(a_subject_that_is_no_name_is_refused),
		cmocka_unit_test(subject_and_key_are_written_anew),
		cmocka_unit_test(chosen_octets_in_subject_and_key_are_refused),
		cmocka_unit_test(good_keys_pass),
		cmocka_unit_test(rsa_exponents_have_bounds),
		cmocka_unit_test(rsa_sizes_are_three),
		cmocka_unit_test(small_factors_are_found),
		cmocka_unit_test(close_primes_are_found),
		cmocka_unit_test(roca_is_found),
		cmocka_unit_test(points_off_the_curve_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
