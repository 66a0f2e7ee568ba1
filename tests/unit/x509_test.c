/* SPDX-License-Identifier: Apache-2.0 */
/* x509_test.c: algorithms, certificates, PEM, assembled structures, extensions, reasons. Names, SANs, CSRs,
 * serials and operators have their own files. */
#include "x509/verifier.h"

#include <openssl/core_names.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V(literal) ch_view("" literal, sizeof(literal) - 1)

static void assert_bytes(struct ch_view actual, struct ch_view expected)
{
	CH_AUTO(ch_string) a = ch_hex(actual);
	CH_AUTO(ch_string) b = ch_hex(expected);
	assert_string_equal(a, b);
}

static struct ch_bytes public_key_info(EVP_PKEY *key)
{
	uint8_t *at = NULL;
	int size = i2d_PUBKEY(key, &at);
	assert_true(size > 0);
	struct ch_bytes info = ch_bytes_copy(ch_view(at, (size_t)size));
	OPENSSL_free(at);
	return info;
}

static EVP_PKEY *new_key(const struct ch_algorithm *algorithm)
{
	EVP_PKEY *key = algorithm->key_type == EVP_PKEY_RSA
				? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)algorithm->bits)
			: algorithm->key_type == EVP_PKEY_EC
				? EVP_PKEY_Q_keygen(NULL, NULL, "EC", algorithm->curve)
				: EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	assert_non_null(key);
	return key;
}

static struct ch_bytes sign(EVP_PKEY *key, const struct ch_algorithm *algorithm, struct ch_view data)
{
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	const char *digest = algorithm->digest[0] ? algorithm->digest : NULL;
	struct ch_bytes signature = { ch_alloc(1024), 1024 };
	assert_int_equal(EVP_DigestSignInit_ex(context, NULL, digest, NULL, NULL, key, NULL), 1);
	assert_int_equal(EVP_DigestSign(context, signature.data, &signature.size, data.data, data.size), 1);
	return signature;
}

/* --- algorithms --- */

static void every_algorithm_is_found_from_its_key_and_verifies(void **state)
{
	const struct ch_algorithm *algorithm;
	size_t count = 0;
	for (; (algorithm = ch_algorithm_at(count)); count++) {
		if (algorithm->bits > 2048) /* seconds to generate; rsa-2048 is the same code */
			continue;
		CH_AUTO(EVP_PKEY) key = new_key(algorithm);
		CH_AUTO(ch_bytes) info = public_key_info(key);
		CH_AUTO(ch_bytes) signature = sign(key, algorithm, V("data"));
		struct ch_error err = CH_NONE;
		assert_ptr_equal(ch_algorithm_of_key(key), algorithm);
		assert_ptr_equal(ch_algorithm_find(algorithm->name), algorithm);
		assert_true(ch_verify_signature(algorithm, ch_view_of(&info), V("data"),
						ch_view_of(&signature), &err));
		assert_false(ch_verify_signature(algorithm, ch_view_of(&info), V("date"),
						 ch_view_of(&signature), &err));
		assert_int_equal(err.code, CH_UNAUTHENTICATED);
		signature.size--;
		assert_false(ch_verify_signature(algorithm, ch_view_of(&info), V("data"),
						 ch_view_of(&signature), &err));
		assert_int_equal(err.code, CH_UNAUTHENTICATED);
	}
	assert_int_equal(count, 7);
	assert_null(ch_algorithm_find("rsa-1024"));
	assert_null(ch_algorithm_find(NULL));
}

/* One context for many signatures says the same as one for each. */
static void a_verifier_verifies_signature_after_signature(void **state)
{
	const struct ch_algorithm *algorithm;

	(void)state;
	for (size_t i = 0; (algorithm = ch_algorithm_at(i)); i++) {
		if (algorithm->bits > 2048)
			continue;
		CH_AUTO(EVP_PKEY) key = new_key(algorithm);
		CH_AUTO(ch_bytes) signature = sign(key, algorithm, V("data"));
		CH_AUTO(ch_verify_key) verify_key = ch_verify_key_new(key, NULL);
		CH_AUTO(ch_verifier) verifier = NULL;
		struct ch_view data = V("data"), other = V("date");
		uint8_t digest[64], other_digest[64];
		struct ch_error err = CH_NONE;
		size_t size;

		if (algorithm->digest[0]) {
			assert_true(ch_digest(algorithm->digest, data, digest, &size, &err));
			data = ch_view(digest, size);
			assert_true(ch_digest(algorithm->digest, other, other_digest, &size, &err));
			other = ch_view(other_digest, size);
		}
		assert_true(ch_verifier_new(algorithm, verify_key, &verifier, &err));
		for (int turn = 0; turn < 3; turn++) {
			assert_true(ch_verifier_verify(verifier, data, ch_view_of(&signature), &err));
			assert_false(ch_verifier_verify(verifier, other, ch_view_of(&signature), &err));
			assert_int_equal(err.code, CH_UNAUTHENTICATED);
			signature.data[signature.size - 1] ^= 1;
			assert_false(ch_verifier_verify(verifier, data, ch_view_of(&signature), &err));
			signature.data[signature.size - 1] ^= 1;
		}
		ch_verifier_free(CH_STEAL(verifier));
		assert_false(ch_verifier_new(ch_algorithm_find("ecdsa-p384"), verify_key, &verifier, &err) &&
			     algorithm->bits != 384);
	}
}

/* RFC 5754 §3.2: RSA parameters are NULL; RFC 5758 §3.2 and RFC 8410 §3: none for ECDSA and Ed25519. */
static void signature_identifiers_are_those_of_openssl(void **state)
{
	const struct ch_algorithm *algorithm;
	for (size_t i = 0; (algorithm = ch_algorithm_at(i)); i++) {
		const uint8_t *at = algorithm->signature_identifier.data;
		X509_ALGOR *identifier =
			d2i_X509_ALGOR(NULL, &at, (long)algorithm->signature_identifier.size);
		const ASN1_OBJECT *object;
		int parameter_type;
		assert_non_null(identifier);
		X509_ALGOR_get0(&object, &parameter_type, NULL, identifier);
		const char *name = OBJ_nid2ln(OBJ_obj2nid(object));
		if (algorithm->key_type == EVP_PKEY_ED25519)
			assert_string_equal(name, "ED25519");
		else
			assert_string_equal(name, algorithm->signature_name);
		assert_int_equal(parameter_type,
				 algorithm->key_type == EVP_PKEY_RSA ? V_ASN1_NULL : V_ASN1_UNDEF);
		X509_ALGOR_free(identifier);
	}
}

static void keys_outside_the_table_have_no_algorithm(void **state)
{
	CH_AUTO(EVP_PKEY) small = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	CH_AUTO(EVP_PKEY) bitcoin = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1");
	CH_AUTO(EVP_PKEY) ed448 = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
	assert_null(ch_algorithm_of_key(small));
	assert_null(ch_algorithm_of_key(bitcoin));
	assert_null(ch_algorithm_of_key(ed448));
}

/* A signature is only good under the algorithm that the key is for. */
static void another_algorithm_than_the_keys_is_refused(void **state)
{
	const struct ch_algorithm *p256 = ch_algorithm_find("ecdsa-p256");
	CH_AUTO(EVP_PKEY) key = new_key(p256);
	CH_AUTO(ch_bytes) info = public_key_info(key);
	CH_AUTO(ch_bytes) signature = sign(key, p256, V("data"));
	struct ch_error err = CH_NONE;
	assert_false(ch_verify_signature(ch_algorithm_find("ecdsa-p384"), ch_view_of(&info), V("data"),
					 ch_view_of(&signature), &err));
	assert_int_equal(err.code, CH_UNAUTHENTICATED);
	assert_non_null(strstr(err.message, "ecdsa-p256"));
}

static void digests_are_those_of_the_standards(void **state)
{
	uint8_t out[64];
	size_t size = 0;
	struct ch_error err = CH_NONE;
	assert_true(ch_digest("sha1", V("abc"), out, &size, &err)); /* FIPS 180-4 examples */
	assert_bytes(ch_view(out, size),
		     V("\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c"
		       "\xd0\xd8\x9d"));
	assert_true(ch_digest("sha256", V(""), out, &size, &err));
	assert_bytes(ch_view(out, 4), V("\xe3\xb0\xc4\x42"));
	assert_true(ch_digest("sha384", V(""), out, &size, &err));
	assert_int_equal(size, 48);
	assert_true(ch_digest("sha512", V(""), out, &size, &err));
	assert_int_equal(size, 64);
	assert_false(ch_digest("md5", V(""), out, &size, &err));
	assert_int_equal(err.code, CH_UNSUPPORTED);
}

/* RFC 5480 appendix A: r and s are INTEGERs, minimal and positive. */
static void raw_ecdsa_becomes_der(void **state)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_error err = CH_NONE;
	assert_true(ch_ecdsa_signature_from_raw(V("\x00\x01\xff\x02"), &der, &err));
	assert_bytes(ch_view_of(&der), V("\x30\x08\x02\x01\x01\x02\x03\x00\xff\x02"));
	struct ch_bytes none = CH_NONE;
	assert_false(ch_ecdsa_signature_from_raw(V("\x01\x02\x03"), &none, &err));
	assert_false(ch_ecdsa_signature_from_raw(V(""), &none, &err));
	assert_int_equal(err.code, CH_INVALID);
}

static void public_keys_are_read_whole(void **state)
{
	CH_AUTO(EVP_PKEY) key = new_key(ch_algorithm_find("ed25519"));
	CH_AUTO(EVP_PKEY) read = NULL;
	CH_AUTO(ch_bytes) info = public_key_info(key);
	CH_AUTO(ch_buffer) longer = CH_NONE;
	struct ch_error err = CH_NONE;
	assert_true(ch_public_key_read(ch_view_of(&info), &read, &err));
	assert_int_equal(EVP_PKEY_eq(key, read), 1);
	ch_buffer_add_view(&longer, ch_view_of(&info));
	ch_buffer_add(&longer, "", 1);
	EVP_PKEY *none = NULL;
	assert_false(ch_public_key_read(ch_buffer_view(&longer), &none, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_false(ch_public_key_read(ch_view(info.data, info.size - 1), &none, &err));
	assert_null(none);
}

/* --- certificates, PEM --- */

/* A certificate written with our writer and signed, as the issuer does it; OpenSSL judges it. */
static struct ch_bytes self_signed(EVP_PKEY *key, const struct ch_algorithm *algorithm,
				   struct ch_view extensions)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) name = CH_NONE;
	CH_AUTO(ch_bytes) info = public_key_info(key);
	assert_true(ch_name_parse("CN=Test,O=Example,C=CH", &name, NULL));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_uint64(&writer, CH_DER_INTEGER, 2);
	ch_der_finish(&writer);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, 77);
	ch_der_put_raw(&writer, algorithm->signature_identifier);
	ch_der_put_raw(&writer, ch_view_of(&name));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_time(&writer, INT64_C(1795000000) * CH_SECOND);
	ch_der_put_time(&writer, INT64_C(2795000000) * CH_SECOND);
	ch_der_finish(&writer);
	ch_der_put_raw(&writer, ch_view_of(&name));
	ch_der_put_raw(&writer, ch_view_of(&info));
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(3));
	ch_der_put(&writer, CH_DER_SEQUENCE, extensions);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	CH_AUTO(ch_bytes) tbs = ch_der_done(&writer);
	CH_AUTO(ch_bytes) signature = sign(key, algorithm, ch_view_of(&tbs));
	return ch_signed_assemble(ch_view_of(&tbs), algorithm, ch_view_of(&signature));
}

static struct ch_bytes all_extensions(struct ch_view key_identifier)
{
	static const char *const usages[] = { "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2" };
	static const char *const policies[] = { "1.3.6.1.4.1.99999.1.1" };
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_extension_basic_constraints(&writer, true, 1);
	ch_extension_key_usage(&writer, KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_true(ch_extension_extended_key_usage(&writer, false, usages, 2, NULL));
	ch_extension_subject_key_identifier(&writer, key_identifier);
	ch_extension_authority_key_identifier(&writer, key_identifier);
	ch_extension_authority_information_access(&writer, "http://a.example/ocsp",
						  "http://a.example/ca.cer");
	ch_extension_crl_distribution_points(&writer, "http://a.example/ca.crl");
	assert_true(ch_extension_certificate_policies(&writer, policies, 1, NULL));
	return ch_der_done(&writer);
}

static void what_we_assemble_openssl_reads_and_verifies(void **state)
{
	static const char *const names[] = { "rsa-2048", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521",
					     "ed25519" };
	for (size_t i = 0; i < CH_COUNT(names); i++) {
		const struct ch_algorithm *algorithm = ch_algorithm_find(names[i]);
		CH_AUTO(EVP_PKEY) key = new_key(algorithm);
		CH_AUTO(ch_bytes) extensions = all_extensions(V("12345678901234567890"));
		CH_AUTO(ch_bytes) der = self_signed(key, algorithm, ch_view_of(&extensions));
		CH_AUTO(X509) certificate = NULL;
		CH_AUTO(ch_bytes) again = CH_NONE;
		struct ch_error err = CH_NONE;
		assert_true(ch_certificate_read(ch_view_of(&der), &certificate, &err));
		assert_int_equal(X509_verify(certificate, key), 1);
		assert_true(ch_certificate_der(certificate, &again, &err));
		assert_bytes(ch_view_of(&again), ch_view_of(&der));
	}
}

/* RFC 5280 §4.2.1: what OpenSSL understands of each extension that we write. */
static void extensions_say_what_was_asked(void **state)
{
	const struct ch_algorithm *algorithm = ch_algorithm_find("ecdsa-p256");
	CH_AUTO(EVP_PKEY) key = new_key(algorithm);
	CH_AUTO(ch_bytes) extensions = all_extensions(V("12345678901234567890"));
	CH_AUTO(ch_bytes) der = self_signed(key, algorithm, ch_view_of(&extensions));
	CH_AUTO(X509) certificate = NULL;
	assert_true(ch_certificate_read(ch_view_of(&der), &certificate, NULL));

	uint32_t flags = X509_get_extension_flags(certificate);
	assert_true(flags & EXFLAG_CA);
	assert_false(flags & EXFLAG_INVALID);
	assert_int_equal(X509_get_pathlen(certificate), 1);
	assert_int_equal(X509_get_key_usage(certificate), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_int_equal(X509_get_extended_key_usage(certificate), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	const ASN1_OCTET_STRING *subject_id = X509_get0_subject_key_id(certificate);
	const ASN1_OCTET_STRING *authority_id = X509_get0_authority_key_id(certificate);
	assert_int_equal(ASN1_STRING_length(subject_id), 20);
	assert_int_equal(ASN1_OCTET_STRING_cmp(subject_id, authority_id), 0);

	STACK_OF(OPENSSL_STRING) *ocsp = X509_get1_ocsp(certificate);
	assert_int_equal(sk_OPENSSL_STRING_num(ocsp), 1);
	assert_string_equal(sk_OPENSSL_STRING_value(ocsp, 0), "http://a.example/ocsp");
	X509_email_free(ocsp);

	static const struct {
		int nid;
		bool critical;
	} expected[] = { { NID_basic_constraints, true },        { NID_key_usage, true },
			 { NID_ext_key_usage, false },           { NID_info_access, false },
			 { NID_crl_distribution_points, false }, { NID_certificate_policies, false } };
	for (size_t i = 0; i < CH_COUNT(expected); i++) {
		int at = X509_get_ext_by_NID(certificate, expected[i].nid, -1);
		assert_true(at >= 0);
		X509_EXTENSION *extension = X509_get_ext(certificate, at);
		assert_int_equal(X509_EXTENSION_get_critical(extension) != 0, expected[i].critical);
		void *decoded = X509V3_EXT_d2i(extension);
		assert_non_null(decoded);
		const X509V3_EXT_METHOD *method = X509V3_EXT_get(extension);
		ASN1_item_free(decoded, ASN1_ITEM_ptr(method->it));
	}
}

/* X.690 §11.2.2: a named bit list loses its trailing zero bits. */
static void key_usage_is_the_shortest_bit_string(void **state)
{
	static const struct {
		unsigned bits;
		struct ch_view value;
	} usages[] = {
		{ KU_DIGITAL_SIGNATURE, { (const uint8_t *)"\x03\x02\x07\x80", 4 } },
		{ KU_KEY_CERT_SIGN | KU_CRL_SIGN, { (const uint8_t *)"\x03\x02\x01\x06", 4 } },
		{ KU_ENCIPHER_ONLY, { (const uint8_t *)"\x03\x02\x00\x01", 4 } },
		{ KU_DECIPHER_ONLY | KU_KEY_AGREEMENT, { (const uint8_t *)"\x03\x03\x07\x08\x80", 5 } },
		{ 0, { (const uint8_t *)"\x03\x01\x00", 3 } },
	};
	for (size_t i = 0; i < CH_COUNT(usages); i++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		ch_extension_key_usage(&writer, usages[i].bits);
		CH_AUTO(ch_bytes) der = ch_der_done(&writer);
		size_t size = usages[i].value.size;
		assert_bytes(ch_view(der.data + der.size - size, size), usages[i].value);
	}
}

static void no_ca_means_an_empty_basic_constraints(void **state)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_extension_basic_constraints(&writer, false, 3);
	CH_AUTO(ch_bytes) der = ch_der_done(&writer);
	assert_bytes(ch_view_of(&der), V("\x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00"));
}

static void an_absent_url_leaves_no_access_description(void **state)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_extension_authority_information_access(&writer, NULL, NULL);
	assert_int_equal(writer.buffer.used, 0);
}

static void a_bad_object_identifier_is_named(void **state)
{
	static const char *const bad[] = { "1.2.840", "one" };
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	struct ch_error err = CH_NONE;
	assert_false(ch_extension_extended_key_usage(&writer, true, bad, 2, &err));
	assert_non_null(strstr(err.message, "'one'"));
	assert_false(ch_extension_certificate_policies(&writer, bad, 2, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_int_equal(writer.buffer.used, 0);
}

static void certificates_end_where_their_der_ends(void **state)
{
	const struct ch_algorithm *algorithm = ch_algorithm_find("ed25519");
	CH_AUTO(EVP_PKEY) key = new_key(algorithm);
	CH_AUTO(ch_bytes) extensions = all_extensions(V("x"));
	CH_AUTO(ch_bytes) der = self_signed(key, algorithm, ch_view_of(&extensions));
	CH_AUTO(ch_buffer) longer = CH_NONE;
	struct ch_error err = CH_NONE;
	X509 *none = NULL;
	ch_buffer_add_view(&longer, ch_view_of(&der));
	ch_buffer_add(&longer, "", 1);
	assert_false(ch_certificate_read(ch_buffer_view(&longer), &none, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_false(ch_certificate_read(ch_view(der.data, der.size - 1), &none, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_false(ch_certificate_read(ch_view(der.data, CH_CERTIFICATE_CAP + 1), &none, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_null(none);
}

/* RFC 7468 §2: lines of 64 characters. */
static void pem_is_written_and_read_back(void **state)
{
	uint8_t octets[200];
	for (size_t size = 0; size <= sizeof octets; size++) {
		CH_AUTO(ch_buffer) text = CH_NONE;
		CH_AUTO(ch_bytes) der = CH_NONE;
		struct ch_error err = CH_NONE;
		if (size > 0)
			octets[size - 1] = (uint8_t)(size * 37);
		ch_buffer_printf(&text, "text before\n");
		ch_pem_add(&text, "X509 CRL", V("other"));
		ch_pem_add(&text, "CERTIFICATE", ch_view(octets, size));
		if (size == 0) /* OpenSSL knows no empty block */
			continue;
		assert_true(ch_pem_read(ch_buffer_view(&text), "CERTIFICATE", &der, &err));
		assert_bytes(ch_view_of(&der), ch_view(octets, size));
	}
	CH_AUTO(ch_buffer) text = CH_NONE;
	ch_pem_add(&text, "CERTIFICATE", ch_view(octets, 49));
	char *first = strchr((char *)text.data, '\n') + 1;
	assert_int_equal(strcspn(first, "\n"), 64);
}

static void other_pem_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"no block",
		"-----BEGIN CERTIFICATE-----\nAAAA\n",
		"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END X509 CRL-----\n",
		"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
		"-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END CERTIFICATE-----\n",
	};
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		struct ch_bytes der = CH_NONE;
		struct ch_error err = CH_NONE;
		assert_false(ch_pem_read(ch_view_text(bad[i]), "CERTIFICATE", &der, &err));
		assert_int_equal(err.code, CH_INVALID);
		assert_null(der.data);
	}
}

/* RFC 5480 §2.2: a point may be compressed, and is the same point. */
static void a_key_has_one_fingerprint_however_it_is_written(void **state)
{
	CH_AUTO(EVP_PKEY) key = new_key(ch_algorithm_find("ecdsa-p256"));
	CH_AUTO(ch_bytes) plain = public_key_info(key);
	CH_AUTO(ch_bytes) compressed = CH_NONE;
	uint8_t one[CH_FINGERPRINT_SIZE], other[CH_FINGERPRINT_SIZE], digest[64];
	size_t size = 0;

	(void)state;
	assert_int_equal(
		EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"),
		1);
	compressed = public_key_info(key);
	assert_int_equal(compressed.size, plain.size - 32);
	assert_true(ch_public_key_fingerprint(ch_view_of(&plain), one, NULL));
	assert_true(ch_public_key_fingerprint(ch_view_of(&compressed), other, NULL));
	assert_bytes(ch_view(one, sizeof(one)), ch_view(other, sizeof(other)));
	assert_true(ch_digest("sha256", ch_view_of(&plain), digest, &size, NULL));
	assert_bytes(ch_view(one, sizeof(one)), ch_view(digest, size));
	assert_false(ch_public_key_fingerprint(ch_view(plain.data, plain.size - 1), one, NULL));
}

/* RFC 5280 §4.2.1.2 (1): SHA-1 of the BIT STRING without tag, length and unused bits. */
static void a_key_identifier_is_the_digest_of_the_key_bits(void **state)
{
	CH_AUTO(EVP_PKEY) key = new_key(ch_algorithm_find("ed25519"));
	CH_AUTO(ch_bytes) info = public_key_info(key);
	uint8_t out[64], expected[64], raw[32];
	size_t size = 0, raw_size = sizeof raw, expected_size = 0;
	assert_true(ch_key_identifier(ch_view_of(&info), "sha1", out, &size, NULL));
	assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &raw_size), 1);
	assert_true(ch_digest("sha1", ch_view(raw, raw_size), expected, &expected_size, NULL));
	assert_bytes(ch_view(out, size), ch_view(expected, expected_size));
	assert_false(ch_key_identifier(ch_view(info.data, info.size - 1), "sha1", out, &size, NULL));
}

/* RFC 5280 §5.3.1 */
static void reasons_have_names_and_numbers(void **state)
{
	for (int reason = 0; reason <= 10; reason++) {
		if (reason == 7)
			continue;
		assert_non_null(ch_reason_name(reason));
		assert_int_equal(ch_reason_number(ch_reason_name(reason)), reason);
	}
	assert_string_equal(ch_reason_name(1), "keyCompromise");
	assert_string_equal(ch_reason_name(6), "certificateHold");
	assert_null(ch_reason_name(7));
	assert_null(ch_reason_name(11));
	assert_null(ch_reason_name(-1));
	assert_int_equal(ch_reason_number("stolen"), -1);
	assert_int_equal(ch_reason_number(NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_algorithm_is_found_from_its_key_and_verifies),
		cmocka_unit_test(a_verifier_verifies_signature_after_signature),
		cmocka_unit_test(signature_identifiers_are_those_of_openssl),
		cmocka_unit_test(keys_outside_the_table_have_no_algorithm),
		cmocka_unit_test(another_algorithm_than_the_keys_is_refused),
		cmocka_unit_test(digests_are_those_of_the_standards),
		cmocka_unit_test(raw_ecdsa_becomes_der),
		cmocka_unit_test(public_keys_are_read_whole),
		cmocka_unit_test(what_we_assemble_openssl_reads_and_verifies),
		cmocka_unit_test(extensions_say_what_was_asked),
		cmocka_unit_test(key_usage_is_the_shortest_bit_string),
		cmocka_unit_test(no_ca_means_an_empty_basic_constraints),
		cmocka_unit_test(an_absent_url_leaves_no_access_description),
		cmocka_unit_test(a_bad_object_identifier_is_named),
		cmocka_unit_test(certificates_end_where_their_der_ends),
		cmocka_unit_test(pem_is_written_and_read_back),
		cmocka_unit_test(other_pem_is_refused),
		cmocka_unit_test(a_key_has_one_fingerprint_however_it_is_written),
		cmocka_unit_test(a_key_identifier_is_the_digest_of_the_key_bits),
		cmocka_unit_test(reasons_have_names_and_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
