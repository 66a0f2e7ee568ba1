/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsa_test.c: which timestamp requests are read and how others are answered, what a token holds (OpenSSL
 * judges it), when there is no time. Numbers in comments are RFC 3161 sections.
 */
#include "tsa.h"

#include <openssl/err.h>
#include <openssl/ts.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V(literal) ch_view("" literal, sizeof(literal) - 1)
#define POLICY     "1.3.6.1.4.1.99999.1.1"

static const int64_t now_us = INT64_C(1795255200) * CH_SECOND + 123456; /* 2026-11-21T10:00:00.123456Z */

CH_DEFINE_AUTO_POINTER(TS_REQ, TS_REQ, TS_REQ_free)
CH_DEFINE_AUTO_POINTER(TS_RESP, TS_RESP, TS_RESP_free)
CH_DEFINE_AUTO_POINTER(TS_VERIFY_CTX, TS_VERIFY_CTX, TS_VERIFY_CTX_free)
CH_DEFINE_AUTO_VALUE(tsa_authority, struct tsa_authority, tsa_authority_free)

/* --- requests
 * ------------------------------------------------------------------------------------------------------- */

/* What a request is made of; zero members take the usual value. */
struct recipe {
	unsigned version;          /* 1 */
	const char *digest_oid;    /* SHA-256 */
	struct ch_view parameters; /* after the OID; encoded */
	size_t digest_size;        /* 32 */
	const char *policy;
	struct ch_view nonce; /* unsigned octets */
	bool certificate_requested, explicit_false;
	struct ch_view extensions; /* content of [0] */
	struct ch_view more;       /* after everything */
};

static struct ch_bytes request_of(const struct recipe *recipe)
{
	static const uint8_t digest[128];
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, recipe->version ? recipe->version : 1);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(&writer,
				   recipe->digest_oid ? recipe->digest_oid : "2.16.840.1.101.3.4.2.1", NULL));
	ch_der_put_raw(&writer, recipe->parameters);
	ch_der_finish(&writer);
	ch_der_put_octet_string(&writer, ch_view(digest, recipe->digest_size ? recipe->digest_size : 32));
	ch_der_finish(&writer);
	if (recipe->policy)
		assert_true(ch_der_put_oid(&writer, recipe->policy, NULL));
	if (recipe->nonce.data)
		ch_der_put_integer(&writer, recipe->nonce);
	if (recipe->certificate_requested || recipe->explicit_false)
		ch_der_put_boolean(&writer, recipe->certificate_requested);
	if (recipe->extensions.data)
		ch_der_put(&writer, CH_DER_CONTEXT_CONSTRUCTED(0), recipe->extensions);
	ch_der_put_raw(&writer, recipe->more);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void assert_der_refused(struct ch_view der, enum tsa_failure expected, const char *says)
{
	struct tsa_request request;
	struct ch_error err = CH_NONE;
	enum tsa_failure failure;
	if (tsa_request_read(der, &request, &failure, &err))
		fail_msg("taken, where %s was expected", tsa_failure_name(expected));
	assert_string_equal(tsa_failure_name(failure), tsa_failure_name(expected));
	if (!strstr(err.message, says))
		fail_msg("'%s' does not say '%s'", err.message, says);
}

static void assert_refused(const struct recipe *recipe, enum tsa_failure expected, const char *says)
{
	CH_AUTO(ch_bytes) der = request_of(recipe);
	assert_der_refused(ch_view_of(&der), expected, says);
}

static void a_request_is_read(void **state)
{
	struct recipe recipe = { .policy = POLICY, .nonce = V("\x80\x01"), .certificate_requested = true };
	CH_AUTO(ch_bytes) der = request_of(&recipe);
	struct tsa_request request;
	struct ch_error err = CH_NONE;
	enum tsa_failure failure;
	if (!tsa_request_read(ch_view_of(&der), &request, &failure, &err))
		fail_msg("%s", err.message);
	CH_AUTO(ch_string) policy = ch_der_oid_text(request.policy);
	assert_string_equal(policy, POLICY);
	assert_true(ch_view_equal(request.nonce, V("\x00\x80\x01")));
	assert_true(request.certificate_requested);
	assert_int_equal(request.message_imprint.data[0], CH_DER_SEQUENCE);
}

/* §2.4.1: policy, nonce, certReq and extensions are optional. */
static void the_shortest_request_is_read(void **state)
{
	static const struct recipe recipes[] = { { .version = 1 }, { .explicit_false = true } };
	for (size_t i = 0; i < CH_COUNT(recipes); i++) {
		CH_AUTO(ch_bytes) der = request_of(&recipes[i]);
		struct tsa_request request;
		enum tsa_failure failure;
		assert_true(tsa_request_read(ch_view_of(&der), &request, &failure, NULL));
		assert_null(request.policy.data);
		assert_null(request.nonce.data);
		assert_false(request.certificate_requested);
	}
}

static void three_digests_are_stamped(void **state)
{
	static const struct recipe good[] = {
		{ .digest_oid = "2.16.840.1.101.3.4.2.1", .digest_size = 32 },
		{ .digest_oid = "2.16.840.1.101.3.4.2.2", .digest_size = 48 },
		{ .digest_oid = "2.16.840.1.101.3.4.2.3", .digest_size = 64 },
		{ .parameters = { (const uint8_t *)"\x05\x00", 2 } }, /* NULL: RFC 5754 §2 wants both taken */
	};
	for (size_t i = 0; i < CH_COUNT(good); i++) {
		CH_AUTO(ch_bytes) der = request_of(&good[i]);
		struct tsa_request request;
		enum tsa_failure failure;
		assert_true(tsa_request_read(ch_view_of(&der), &request, &failure, NULL));
	}
}

static void other_digests_are_bad_alg(void **state)
{
	static const char *const bad[] = { "1.3.14.3.2.26",          /* SHA-1 */
					   "1.2.840.113549.2.5",     /* MD5 */
					   "2.16.840.1.101.3.4.2.4", /* SHA-224 */
					   "1.2.3.4" };
	for (size_t i = 0; i < CH_COUNT(bad); i++)
		assert_refused(&(struct recipe){ .digest_oid = bad[i], .digest_size = 20 }, TSA_BAD_ALG,
			       bad[i]);
	assert_refused(&(struct recipe){ .parameters = V("\x30\x00") }, TSA_BAD_ALG, "parameters");
	assert_refused(&(struct recipe){ .parameters = V("\x05\x00\x05\x00") }, TSA_BAD_ALG, "parameters");
	assert_refused(&(struct recipe){ .parameters = V("\x05\x01\x00") }, TSA_BAD_ALG, "parameters");
}

/* §2.4.1: a hash of another length than its algorithm's is badDataFormat. */
static void an_imprint_of_another_length_is_bad_data_format(void **state)
{
	static const size_t sizes[] = { 1, 20, 31, 33, 64 };
	for (size_t i = 0; i < CH_COUNT(sizes); i++)
		assert_refused(&(struct recipe){ .digest_size = sizes[i] }, TSA_BAD_DATA_FORMAT,
			       "its digest 32");
}

static void another_version_is_bad_request(void **state)
{
	assert_refused(&(struct recipe){ .version = 2 }, TSA_BAD_REQUEST, "version is 2");
}

/* §2.4.1: an extension that is not known, critical or not, is unacceptedExtension. */
static void every_extension_is_unaccepted(void **state)
{
	struct ch_view plain = V("\x30\x07\x06\x02\x2a\x03\x04\x01\x00");
	struct ch_view critical = V("\x30\x0a\x06\x02\x2a\x03\x01\x01\xff\x04\x01\x00");
	assert_refused(&(struct recipe){ .extensions = plain }, TSA_UNACCEPTED_EXTENSION, "1.2.3");
	assert_refused(&(struct recipe){ .extensions = critical }, TSA_UNACCEPTED_EXTENSION, "1.2.3");
	assert_refused(&(struct recipe){ .extensions = V("") }, TSA_BAD_DATA_FORMAT, "missing");
	assert_refused(&(struct recipe){ .extensions = V("\x05\x00") }, TSA_BAD_DATA_FORMAT, "Extension");
}

static void nonces_have_a_cap(void **state)
{
	uint8_t nonce[TSA_NONCE_MAX + 1] = { 1 };
	struct recipe longest = { .nonce = ch_view(nonce, TSA_NONCE_MAX) };
	CH_AUTO(ch_bytes) der = request_of(&longest);
	struct tsa_request request;
	enum tsa_failure failure;
	assert_true(tsa_request_read(ch_view_of(&der), &request, &failure, NULL));
	assert_refused(&(struct recipe){ .nonce = ch_view(nonce, sizeof nonce) }, TSA_BAD_DATA_FORMAT,
		       "at most 64");
}

static void what_is_no_request_is_bad_data_format(void **state)
{
	struct recipe recipe = { .policy = POLICY, .nonce = V("\x01"), .certificate_requested = true };
	CH_AUTO(ch_bytes) der = request_of(&recipe);
	for (size_t size = 0; size < der.size; size++) { /* every truncation */
		CH_AUTO(ch_bytes) part = ch_bytes_copy(ch_view(der.data, size));
		assert_der_refused(ch_view_of(&part), TSA_BAD_DATA_FORMAT, "");
	}
	assert_der_refused(V("GET / HTTP/1.1"), TSA_BAD_DATA_FORMAT, "TimeStampReq");
	assert_refused(&(struct recipe){ .more = V("\x05\x00") }, TSA_BAD_DATA_FORMAT, "follow");
	CH_AUTO(ch_buffer) longer = CH_NONE;
	ch_buffer_add_view(&longer, ch_view_of(&der));
	ch_buffer_add(&longer, "", 1);
	assert_der_refused(ch_buffer_view(&longer), TSA_BAD_DATA_FORMAT, "follow");
	CH_AUTO(ch_bytes) large = { ch_alloc(TSA_REQUEST_CAP + 1), TSA_REQUEST_CAP + 1 };
	assert_der_refused(ch_view_of(&large), TSA_BAD_DATA_FORMAT, "at most 16384");
}

/* --- tokens
 * ---------------------------------------------------------------------------------------------------------------
 */

static EVP_PKEY *new_key(const struct ch_algorithm *algorithm)
{
	return algorithm->key_type == EVP_PKEY_RSA
		       ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)algorithm->bits)
	       : algorithm->curve ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", algorithm->curve)
				  : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
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

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* Self-signed, made with OpenSSL's own calls. */
static X509 *new_certificate(EVP_PKEY *key, const struct ch_algorithm *algorithm, const char *key_usage)
{
	X509 *certificate = X509_new();
	CH_AUTO(ch_bytes) name = CH_NONE;
	assert_true(ch_name_parse("CN=Test TSA,O=Example", &name, NULL));
	const uint8_t *at = name.data;
	CH_AUTO(X509_NAME) subject = d2i_X509_NAME(NULL, &at, (long)name.size);
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 0x8081);
	X509_set_subject_name(certificate, subject);
	X509_set_issuer_name(certificate, subject);
	ASN1_TIME_set(X509_getm_notBefore(certificate), 1700000000);
	ASN1_TIME_set(X509_getm_notAfter(certificate), 4000000000);
	X509_set_pubkey(certificate, key);
	if (key_usage)
		add_extension(certificate, NID_ext_key_usage, key_usage);
	add_extension(certificate, NID_key_usage, "critical,digitalSignature");
	const EVP_MD *digest = algorithm->digest[0] ? EVP_get_digestbyname(algorithm->digest) : NULL;
	assert_true(X509_sign(certificate, key, digest) > 0);
	return certificate;
}

static void make_authority(struct tsa_authority *authority, X509 *certificate)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_error err = CH_NONE;
	assert_true(ch_certificate_der(certificate, &der, &err));
	if (!tsa_authority_set_certificate(authority, ch_view_of(&der), &err))
		fail_msg("%s", err.message);
	assert_true(tsa_authority_add_policy(authority, POLICY, &err));
	authority->not_before_us = INT64_C(1700000000) * CH_SECOND;
	authority->not_after_us = INT64_C(4000000000) * CH_SECOND;
}

/* A TimeStampResp as stamp.c makes it, with a key of our own in place of the vault's. */
static struct ch_bytes stamp_with(EVP_PKEY *key, const struct tsa_stamp_facts *facts, bool with_certificates)
{
	struct ch_error err = CH_NONE;
	CH_AUTO(ch_bytes) tst_info = tsa_tst_info(facts);
	CH_AUTO(ch_bytes) attributes = CH_NONE;
	assert_true(tsa_signed_attributes(facts->authority, ch_view_of(&tst_info), &attributes, &err));
	CH_AUTO(ch_bytes) signature = sign(key, facts->authority->algorithm, ch_view_of(&attributes));
	CH_AUTO(ch_bytes) token = tsa_token(facts->authority, ch_view_of(&tst_info), ch_view_of(&attributes),
					    ch_view_of(&signature), with_certificates);
	return tsa_response_granted(ch_view_of(&token));
}

static TS_RESP *parse_response(struct ch_view der)
{
	const uint8_t *at = der.data;
	TS_RESP *response = d2i_TS_RESP(NULL, &at, (long)der.size);
	assert_non_null(response);
	assert_ptr_equal(at, der.data + der.size);
	return response;
}

/* Does OpenSSL take the response as the answer to the request, from a signer it trusts? */
static bool openssl_verifies(struct ch_view request_der, struct ch_view response_der, X509 *trusted,
			     bool embedded)
{
	const uint8_t *at = request_der.data;
	CH_AUTO(TS_REQ) request = d2i_TS_REQ(NULL, &at, (long)request_der.size);
	CH_AUTO(TS_RESP) response = parse_response(response_der);
	CH_AUTO(TS_VERIFY_CTX) context = TS_REQ_to_TS_VERIFY_CTX(request, NULL);
	assert_non_null(context);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_add_cert(store, trusted);
	TS_VERIFY_CTX_add_flags(context, TS_VFY_SIGNATURE);
	TS_VERIFY_CTX_set_store(context, store);
	if (!embedded) {
		STACK_OF(X509) *known = sk_X509_new_null();
		X509_up_ref(trusted);
		sk_X509_push(known, trusted);
		TS_VERIFY_CTX_set_certs(context, known);
	}
	return TS_RESP_verify_response(context, response) == 1;
}

static void openssl_takes_tokens_of_each_algorithm(void **state)
{
	static const char *const names[] = { "rsa-2048", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521" };
	for (size_t i = 0; i < 2 * CH_COUNT(names); i++) {
		const struct ch_algorithm *algorithm = ch_algorithm_find(names[i / 2]);
		bool with_certificates = i % 2;
		CH_AUTO(EVP_PKEY) key = new_key(algorithm);
		CH_AUTO(X509) certificate = new_certificate(key, algorithm, "critical,timeStamping");
		CH_AUTO(tsa_authority) authority = CH_NONE;
		make_authority(&authority, certificate);
		struct recipe recipe = { .policy = POLICY,
					 .nonce = V("\xfe\xdc"),
					 .certificate_requested = with_certificates };
		CH_AUTO(ch_bytes) der = request_of(&recipe);
		struct tsa_request request;
		enum tsa_failure failure;
		assert_true(tsa_request_read(ch_view_of(&der), &request, &failure, NULL));
		struct tsa_stamp_facts facts = { .authority = &authority,
						 .request = &request,
						 .policy = ch_view_of(&authority.policies[0]),
						 .serial = { 1, 2, 3 },
						 .gen_time_us = now_us,
						 .accuracy_us = 1500250,
						 .ordering = with_certificates };
		CH_AUTO(ch_bytes) response = stamp_with(key, &facts, with_certificates);
		if (!openssl_verifies(ch_view_of(&der), ch_view_of(&response), certificate,
				      with_certificates))
			fail_msg("%s: %s", algorithm->name, ERR_reason_error_string(ERR_peek_last_error()));

		struct recipe other = { .policy = POLICY, .nonce = V("\xfe\xdd") }; /* another nonce */
		CH_AUTO(ch_bytes) other_der = request_of(&other);
		assert_false(openssl_verifies(ch_view_of(&other_der), ch_view_of(&response), certificate,
					      with_certificates));
	}
}

/* RFC 8419 §2.3: with Ed25519 the content's digest is SHA-512; OpenSSL 3.0 verifies no such CMS, so its parts
 * are checked. */
static void ed25519_signs_the_attributes_themselves(void **state)
{
	const struct ch_algorithm *algorithm = ch_algorithm_find("ed25519");
	CH_AUTO(EVP_PKEY) key = new_key(algorithm);
	CH_AUTO(X509) certificate = new_certificate(key, algorithm, "critical,timeStamping");
	CH_AUTO(tsa_authority) authority = CH_NONE;
	CH_AUTO(ch_bytes) attributes = CH_NONE;
	make_authority(&authority, certificate);
	assert_true(tsa_signed_attributes(&authority, V("content"), &attributes, NULL));
	uint8_t digest[64];
	size_t size = 0;
	assert_true(ch_digest("sha512", V("content"), digest, &size, NULL));
	assert_non_null(memmem(attributes.data, attributes.size, digest, size));
}

/* §2.4.2, member by member, as OpenSSL reads them. */
static void a_tst_info_says_what_was_asked_and_when(void **state)
{
	const struct ch_algorithm *algorithm = ch_algorithm_find("ecdsa-p256");
	CH_AUTO(EVP_PKEY) key = new_key(algorithm);
	CH_AUTO(X509) certificate = new_certificate(key, algorithm, "critical,timeStamping");
	CH_AUTO(tsa_authority) authority = CH_NONE;
	make_authority(&authority, certificate);
	struct recipe recipe = { .nonce = V("\x07") };
	CH_AUTO(ch_bytes) der = request_of(&recipe);
	struct tsa_request request;
	enum tsa_failure failure;
	assert_true(tsa_request_read(ch_view_of(&der), &request, &failure, NULL));
	struct tsa_stamp_facts facts = { .authority = &authority,
					 .request = &request,
					 .policy = ch_view_of(&authority.policies[0]),
					 .serial = { 0, 6, 7 },
					 .gen_time_us = now_us - now_us % CH_MILLISECOND,
					 .accuracy_us = 2 * CH_SECOND + 3 * CH_MILLISECOND + 4 };
	CH_AUTO(ch_bytes) octets = tsa_tst_info(&facts);
	const uint8_t *at = octets.data;
	TS_TST_INFO *info = d2i_TS_TST_INFO(NULL, &at, (long)octets.size);
	assert_non_null(info);
	assert_int_equal(TS_TST_INFO_get_version(info), 1);
	char policy[80];
	OBJ_obj2txt(policy, sizeof policy, TS_TST_INFO_get_policy_id(info), 1);
	assert_string_equal(policy, POLICY);
	assert_int_equal(ASN1_STRING_length(TS_TST_INFO_get_serial(info)),
			 15); /* its leading zero octet is not written */
	const ASN1_GENERALIZEDTIME *time = TS_TST_INFO_get_time(info);
	assert_string_equal((const char *)ASN1_STRING_get0_data(time), "20261121100000.123Z");
	TS_ACCURACY *accuracy = TS_TST_INFO_get_accuracy(info);
	assert_int_equal(ASN1_INTEGER_get(TS_ACCURACY_get_seconds(accuracy)), 2);
	assert_int_equal(ASN1_INTEGER_get(TS_ACCURACY_get_millis(accuracy)), 3);
	assert_int_equal(ASN1_INTEGER_get(TS_ACCURACY_get_micros(accuracy)), 4);
	assert_int_equal(TS_TST_INFO_get_ordering(info), 0);
	assert_int_equal(ASN1_INTEGER_get(TS_TST_INFO_get_nonce(info)), 7);
	GENERAL_NAME *tsa = TS_TST_INFO_get_tsa(info);
	assert_int_equal(tsa->type, GEN_DIRNAME);
	assert_int_equal(X509_NAME_cmp(tsa->d.directoryName, X509_get_subject_name(certificate)), 0);
	TS_TST_INFO_free(info);
}

/* X.690 §11.6 and RFC 5652 §5.3: signed attributes are a SET OF in DER, none of them twice. */
static void signed_attributes_are_sorted(void **state)
{
	static const char *const algorithms[] = { "ecdsa-p256", "ecdsa-p521" }; /* digests of two lengths */
	for (size_t i = 0; i < CH_COUNT(algorithms); i++) {
		const struct ch_algorithm *algorithm = ch_algorithm_find(algorithms[i]);
		CH_AUTO(EVP_PKEY) key = new_key(algorithm);
		CH_AUTO(X509) certificate = new_certificate(key, algorithm, "critical,timeStamping");
		CH_AUTO(tsa_authority) authority = CH_NONE;
		CH_AUTO(ch_bytes) der = CH_NONE;
		make_authority(&authority, certificate);
		assert_true(tsa_signed_attributes(&authority, V("content"), &der, NULL));
		struct ch_view in = ch_view_of(&der), set, previous = CH_NONE, whole;
		int count = 0;
		assert_true(ch_der_read(&in, CH_DER_SET, "SignedAttributes", &set, NULL));
		for (; set.size > 0; count++, previous = whole) {
			assert_true(ch_der_read_any(&set, "Attribute", NULL, NULL, &whole, NULL));
			size_t common = previous.size < whole.size ? previous.size : whole.size;
			assert_true(!previous.data || memcmp(previous.data, whole.data, common) < 0);
		}
		assert_int_equal(count, 3);
	}
}

/* §2.3: extendedKeyUsage critical, and timeStamping alone. */
static void other_certificates_do_not_stamp(void **state)
{
	static const char *const usages[] = { "critical,serverAuth", "critical,timeStamping,serverAuth",
					      "timeStamping", NULL };
	const struct ch_algorithm *algorithm = ch_algorithm_find("ecdsa-p256");
	for (size_t i = 0; i < CH_COUNT(usages); i++) {
		CH_AUTO(EVP_PKEY) key = new_key(algorithm);
		CH_AUTO(X509) certificate = new_certificate(key, algorithm, usages[i]);
		CH_AUTO(tsa_authority) authority = CH_NONE;
		CH_AUTO(ch_bytes) der = CH_NONE;
		struct ch_error err = CH_NONE;
		assert_true(ch_certificate_der(certificate, &der, &err));
		assert_false(tsa_authority_set_certificate(&authority, ch_view_of(&der), &err));
		assert_int_equal(err.code, CH_INVALID);
	}
}

/* --- rejections
 * -----------------------------------------------------------------------------------------------------------------
 */

/* §2.4.2: status rejection, one bit of failInfo, no token. */
static void a_rejection_names_one_failure(void **state)
{
	static const enum tsa_failure failures[] = { TSA_BAD_ALG,           TSA_BAD_REQUEST,
						     TSA_BAD_DATA_FORMAT,   TSA_TIME_NOT_AVAILABLE,
						     TSA_UNACCEPTED_POLICY, TSA_UNACCEPTED_EXTENSION,
						     TSA_SYSTEM_FAILURE };
	for (size_t i = 0; i < CH_COUNT(failures); i++) {
		CH_AUTO(ch_bytes) der = tsa_response_rejected(failures[i], i % 2 ? "why" : NULL);
		CH_AUTO(TS_RESP) response = parse_response(ch_view_of(&der));
		TS_STATUS_INFO *status = TS_RESP_get_status_info(response);
		assert_int_equal(ASN1_INTEGER_get(TS_STATUS_INFO_get0_status(status)), TS_STATUS_REJECTION);
		assert_null(TS_RESP_get_token(response));
		const ASN1_BIT_STRING *bits = TS_STATUS_INFO_get0_failure_info(status);
		for (int bit = 0; bit < 32; bit++)
			assert_int_equal(ASN1_BIT_STRING_get_bit(bits, bit), bit == (int)failures[i]);
		const STACK_OF(ASN1_UTF8STRING) *text = TS_STATUS_INFO_get0_text(status);
		assert_int_equal(text ? sk_ASN1_UTF8STRING_num(text) : 0, i % 2);
	}
}

/* --- which certificate
 * ----------------------------------------------------------------------------------------------------------
 */

static void the_newest_valid_certificate_of_the_policy_stamps(void **state)
{
	static const struct {
		int64_t not_before, not_after;
		const char *policies[2];
	} made[] = {
		{ 300, 400, { "1.2.3", NULL } }, /* newest first; not valid yet at 200 */
		{ 150, 400, { "1.2.3", "1.2.4" } },
		{ 100, 300, { "1.2.5", "1.2.4" } },
	};
	CH_AUTO(tsa_authorities) authorities = tsa_authorities_new(CH_COUNT(made));
	for (size_t i = 0; i < CH_COUNT(made); i++) {
		struct tsa_authority *authority = &authorities->items[authorities->count++];
		authority->ca_id = 1;
		authority->is_default = true;
		authority->not_before_us = made[i].not_before;
		authority->not_after_us = made[i].not_after;
		for (size_t j = 0; j < 2 && made[i].policies[j]; j++)
			assert_true(tsa_authority_add_policy(authority, made[i].policies[j], NULL));
	}
	memcpy(authorities->default_ca, "one", 4);
	static const struct {
		const char *policy; /* content octets; NULL: any */
		int64_t at;
		int expected; /* index, or -1 */
		enum tsa_failure failure;
		const char *chosen;
	} cases[] = {
		{ NULL, 200, 1, 0, "1.2.3" },
		{ "\x2a\x03", 200, 1, 0, "1.2.3" },
		{ "\x2a\x04", 200, 1, 0, "1.2.4" },
		{ "\x2a\x05", 200, 2, 0, "1.2.5" },
		{ NULL, 350, 0, 0, "1.2.3" },
		{ "\x2a\x04", 350, 1, 0, "1.2.4" },
		{ "\x2a\x05", 350, -1, TSA_UNACCEPTED_POLICY, NULL },
		{ "\x2a\x06", 200, -1, TSA_UNACCEPTED_POLICY, NULL },
		{ NULL, 99, -1, TSA_SYSTEM_FAILURE, NULL },
		{ "\x2a\x03", 401, -1, TSA_SYSTEM_FAILURE, NULL },
	};
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		struct ch_view policy = cases[i].policy ? ch_view(cases[i].policy, 2) : ch_view(NULL, 0),
			       chosen;
		const struct tsa_authority *authority = NULL;
		enum tsa_failure failure = 0;
		struct ch_error err = CH_NONE;
		bool found = tsa_authorities_choose(authorities, policy, cases[i].at, &authority, &chosen,
						    &failure, &err);
		assert_int_equal(found, cases[i].expected >= 0);
		if (!found) {
			assert_int_equal(failure, cases[i].failure);
			continue;
		}
		assert_ptr_equal(authority, &authorities->items[cases[i].expected]);
		CH_AUTO(ch_string) text = ch_der_oid_text(chosen);
		assert_string_equal(text, cases[i].chosen);
	}
}

/* CAs 1 (the default where `stated`), 2 and 3, each with one certificate. */
static struct tsa_authorities *three_cas(bool stated)
{
	static const char *const policies[] = { "1.2.3", "1.2.4", "1.2.5" };
	struct tsa_authorities *authorities = tsa_authorities_new(3);
	for (size_t i = 0; i < 3; i++) {
		struct tsa_authority *authority = &authorities->items[authorities->count++];
		authority->ca_id = (int64_t)i + 1;
		authority->is_default = stated && i == 0;
		authority->not_before_us = 100;
		authority->not_after_us = 400;
		assert_true(tsa_authority_add_policy(authority, policies[i], NULL));
		assert_true(tsa_authority_add_policy(authority, "1.2.9", NULL)); /* all have this one */
	}
	if (stated)
		memcpy(authorities->default_ca, "one", 4);
	return authorities;
}

static void stop(struct tsa_authority *authority)
{
	memcpy(authority->obstacle, "its key is compromised", 23);
}

/* What is asked for, of whom the answer is (0: nobody), and why nobody. */
static void assert_choice(const struct tsa_authorities *authorities, const char *policy, int64_t ca_id,
			  enum tsa_failure expected)
{
	struct ch_view wanted = policy ? ch_view(policy, 2) : ch_view(NULL, 0), chosen;
	const struct tsa_authority *authority = NULL;
	enum tsa_failure failure = 0;
	struct ch_error err = CH_NONE;
	bool found = tsa_authorities_choose(authorities, wanted, 200, &authority, &chosen, &failure, &err);
	assert_int_equal(found ? authority->ca_id : 0, ca_id);
	if (!found)
		assert_int_equal(failure, expected);
}

static void the_default_is_stated_and_nobody_stands_in_for_it(void **state)
{
	CH_AUTO(tsa_authorities) authorities = three_cas(true);
	assert_choice(authorities, NULL, 1, 0);
	assert_choice(authorities, "\x2a\x03", 1, 0);
	assert_choice(authorities, "\x2a\x09", 1, 0);
	assert_choice(authorities, "\x2a\x04", 2, 0); /* the requester names it, and one CA has it */
	stop(&authorities->items[0]);
	assert_choice(authorities, NULL, 0, TSA_SYSTEM_FAILURE);
	assert_choice(authorities, "\x2a\x03", 0, TSA_SYSTEM_FAILURE);
	assert_choice(authorities, "\x2a\x09", 0, TSA_SYSTEM_FAILURE);
	assert_choice(authorities, "\x2a\x04", 2, 0);
	stop(&authorities->items[1]);
	assert_choice(authorities, "\x2a\x04", 0, TSA_SYSTEM_FAILURE);
}

static void without_a_stated_default_nothing_is_derived(void **state)
{
	CH_AUTO(tsa_authorities) authorities = three_cas(false);
	assert_choice(authorities, NULL, 0, TSA_UNACCEPTED_POLICY);
	assert_choice(authorities, "\x2a\x09", 0, TSA_UNACCEPTED_POLICY); /* of several */
	assert_choice(authorities, "\x2a\x04", 2, 0);
	authorities->count = 1; /* not even of one alone: the next would change what it does */
	assert_choice(authorities, NULL, 0, TSA_UNACCEPTED_POLICY);
	assert_choice(authorities, "\x2a\x03", 1, 0);
	authorities->count = 0;
	assert_choice(authorities, NULL, 0, TSA_SYSTEM_FAILURE);
	assert_choice(authorities, "\x2a\x03", 0, TSA_SYSTEM_FAILURE);
	authorities->count = 3; /* for freeing */
}

static void a_certificate_that_may_not_sign_is_passed_over(void **state)
{
	CH_AUTO(tsa_authorities) authorities = three_cas(true);
	authorities->items[1].ca_id = 1; /* an older one of the same CA, that has another policy beside */
	authorities->items[1].is_default = true;
	stop(&authorities->items[0]);
	assert_choice(authorities, NULL, 1, 0);
	assert_choice(authorities, "\x2a\x09", 1, 0);
	assert_choice(authorities, "\x2a\x03", 0, TSA_UNACCEPTED_POLICY);
}

static void the_state_says_what_is_wrong(void **state)
{
	CH_AUTO(tsa_authorities) authorities = three_cas(true);
	char why[512];
	assert_int_equal(tsa_authorities_state(authorities, 200, why, sizeof why), TSA_READY);
	assert_string_equal(why, "");
	assert_int_equal(tsa_authorities_state(authorities, 401, why, sizeof why), TSA_STOPPED);
	assert_non_null(strstr(why, "has ended"));
	stop(&authorities->items[0]);
	memcpy(authorities->obstacle, "CA 'root' is retired", 21);
	assert_int_equal(tsa_authorities_state(authorities, 200, why, sizeof why), TSA_STOPPED);
	assert_string_equal(why,
			    "the timestamp authority of CA 'one' may not sign: its key is compromised; CA "
			    "'root' is retired");
	authorities->items[0].is_default = false;
	assert_int_equal(tsa_authorities_state(authorities, 200, why, sizeof why), TSA_WAITS_FOR_FIRST);
	authorities->default_ca[0] = '\0';
	assert_int_equal(tsa_authorities_state(authorities, 200, why, sizeof why), TSA_NO_DEFAULT);
	assert_non_null(strstr(why, "timestamp_authority.default"));
	authorities->count = 0;
	assert_int_equal(tsa_authorities_state(authorities, 200, why, sizeof why), TSA_READY);
	authorities->count = 3; /* for freeing */
}

/* --- the time
 * --------------------------------------------------------------------------------------------------------------------
 */

static int64_t fake_now_us(void *context)
{
	return *(int64_t *)context;
}

static bool synchronised_within_1ms(struct tsa_clock_status *status)
{
	*status = (struct tsa_clock_status){ .synchronised = true, .maximum_error_us = 1000 };
	return true;
}

static bool unsynchronised(struct tsa_clock_status *status)
{
	*status = (struct tsa_clock_status){ .synchronised = false, .maximum_error_us = 16000000 };
	return true;
}

static bool unknown(struct tsa_clock_status *status)
{
	return false;
}

static void the_time_is_the_clocks_in_milliseconds(void **state)
{
	int64_t fake_us = now_us, gen_time_us = 0;
	struct ch_clock clock = { fake_now_us, &fake_us };
	struct tsa_timesource source = { .lock = PTHREAD_MUTEX_INITIALIZER,
					 .clock = &clock,
					 .status = unknown };
	assert_true(tsa_time_now(&source, &gen_time_us, NULL));
	assert_int_equal(gen_time_us, now_us - 456);
	assert_true(tsa_time_now(&source, &gen_time_us, NULL)); /* the same time again is no step back */
}

static void a_clock_that_went_back_gives_no_time_until_it_caught_up(void **state)
{
	int64_t fake_us = now_us, gen_time_us = 0;
	struct ch_clock clock = { fake_now_us, &fake_us };
	struct tsa_timesource source = { .lock = PTHREAD_MUTEX_INITIALIZER,
					 .clock = &clock,
					 .status = unknown };
	struct ch_error err = CH_NONE;
	tsa_time_given(&source, now_us);
	tsa_time_given(&source, now_us - 1); /* of a request beside */
	fake_us -= 5 * CH_SECOND;
	assert_false(tsa_time_now(&source, &gen_time_us, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(err.retryable);
	assert_non_null(strstr(err.message, "5000 ms"));
	fake_us = now_us - 1;
	assert_false(tsa_time_now(&source, &gen_time_us, &err));
	fake_us = now_us;
	assert_true(tsa_time_now(&source, &gen_time_us, &err));
}

/* No vault signs what is an hour ahead: nobody was given that time. */
static void what_the_clock_showed_and_nobody_was_given_does_not_count(void **state)
{
	int64_t fake_us = now_us + CH_HOUR, gen_time_us = 0;
	struct ch_clock clock = { fake_now_us, &fake_us };
	struct tsa_timesource source = { .lock = PTHREAD_MUTEX_INITIALIZER,
					 .clock = &clock,
					 .status = unknown };
	assert_true(tsa_time_now(&source, &gen_time_us, NULL));
	tsa_time_observe(&source);
	fake_us = now_us;
	assert_true(tsa_time_now(&source, &gen_time_us, NULL));
}

static void an_unsynchronised_clock_gives_no_time_where_that_is_required(void **state)
{
	static const struct {
		bool (*status)(struct tsa_clock_status *status);
		bool required;
		int64_t bound_us;
		bool time;
	} cases[] = {
		{ synchronised_within_1ms, true, 1000, true },
		{ synchronised_within_1ms, true, 999, false }, /* the bound is broken */
		{ unsynchronised, true, INT64_MAX, false },
		{ unknown, true, INT64_MAX, false },
		{ unsynchronised, false, 0, true },
		{ unknown, false, 0, true },
	};
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		int64_t fake_us = now_us, gen_time_us = 0;
		struct ch_clock clock = { fake_now_us, &fake_us };
		struct tsa_timesource source = { .lock = PTHREAD_MUTEX_INITIALIZER,
						 .clock = &clock,
						 .status = cases[i].status,
						 .require_synchronised = cases[i].required,
						 .maximum_error_us = cases[i].bound_us };
		struct ch_error err = CH_NONE;
		assert_int_equal(tsa_time_now(&source, &gen_time_us, &err), cases[i].time);
		if (!cases[i].time)
			assert_non_null(strstr(err.message, "not synchronised"));
	}
}

static void the_clocks_state_is_published(void **state)
{
	int64_t fake_us = now_us;
	struct ch_clock clock = { fake_now_us, &fake_us };
	struct ch_metrics *metrics = ch_metrics_new();
	struct tsa_timesource source = { .lock = PTHREAD_MUTEX_INITIALIZER, .clock = &clock };
	source.synchronised = ch_metrics_gauge(metrics, "chancery_tsa_a", "", "");
	source.maximum_error = ch_metrics_gauge(metrics, "chancery_tsa_b", "", "");
	source.status = synchronised_within_1ms;
	tsa_time_observe(&source);
	assert_int_equal(ch_metric_value(source.synchronised), 1);
	assert_int_equal(ch_metric_value(source.maximum_error), 1000);
	source.status = unknown;
	tsa_time_observe(&source);
	assert_int_equal(ch_metric_value(source.synchronised), 0);
	assert_true((int64_t)ch_metric_value(source.maximum_error) == -1);
	ch_metrics_free(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_read),
		cmocka_unit_test(the_shortest_request_is_read),
		cmocka_unit_test(three_digests_are_stamped),
		cmocka_unit_test(other_digests_are_bad_alg),
		cmocka_unit_test(an_imprint_of_another_length_is_bad_data_format),
		cmocka_unit_test(another_version_is_bad_request),
		cmocka_unit_test(every_extension_is_unaccepted),
		cmocka_unit_test(nonces_have_a_cap),
		cmocka_unit_test(what_is_no_request_is_bad_data_format),
		cmocka_unit_test(openssl_takes_tokens_of_each_algorithm),
		cmocka_unit_test(ed25519_signs_the_attributes_themselves),
		cmocka_unit_test(a_tst_info_says_what_was_asked_and_when),
		cmocka_unit_test(signed_attributes_are_sorted),
		cmocka_unit_test(other_certificates_do_not_stamp),
		cmocka_unit_test(a_rejection_names_one_failure),
		cmocka_unit_test(the_newest_valid_certificate_of_the_policy_stamps),
		cmocka_unit_test(the_default_is_stated_and_nobody_stands_in_for_it),
		cmocka_unit_test(without_a_stated_default_nothing_is_derived),
		cmocka_unit_test(a_certificate_that_may_not_sign_is_passed_over),
		cmocka_unit_test(the_state_says_what_is_wrong),
		cmocka_unit_test(the_time_is_the_clocks_in_milliseconds),
		cmocka_unit_test(a_clock_that_went_back_gives_no_time_until_it_caught_up),
		cmocka_unit_test(what_the_clock_showed_and_nobody_was_given_does_not_count),
		cmocka_unit_test(an_unsynchronised_clock_gives_no_time_where_that_is_required),
		cmocka_unit_test(the_clocks_state_is_published),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
