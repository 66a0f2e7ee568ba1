/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp_response_test.c: the responses that are written, read back by OpenSSL's decoder and verifier. */
#include "ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>

CH_DEFINE_AUTO_POINTER(OCSP_RESPONSE, OCSP_RESPONSE, OCSP_RESPONSE_free)
CH_DEFINE_AUTO_POINTER(OCSP_BASICRESP, OCSP_BASICRESP, OCSP_BASICRESP_free)
CH_DEFINE_AUTO_POINTER(OCSP_REQUEST, OCSP_REQUEST, OCSP_REQUEST_free)
CH_DEFINE_AUTO_POINTER(OCSP_CERTID, OCSP_CERTID, OCSP_CERTID_free)

/* 2026-11-21T10:00:00Z */
#define NOW (INT64_C(1795255200) * CH_SECOND)
#define AN_HOUR                                                        \
	{                                                              \
		.this_update_us = NOW, .next_update_us = NOW + CH_HOUR \
	}

/* A CA that is its own responder: the smallest thing that OpenSSL verifies a response against. */
struct fixture {
	EVP_PKEY *key;
	X509 *certificate;
	struct ch_bytes der;
	uint8_t key_hash[20];
	const struct ch_algorithm *algorithm;
};

static int make_ca(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	ASN1_BIT_STRING *bits;
	X509_NAME *name = X509_NAME_new();
	struct ch_error err;

	f->key = EVP_EC_gen("prime256v1");
	f->certificate = X509_new();
	X509_set_version(f->certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(f->certificate), 1);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)"Test CA", -1, -1, 0);
	X509_set_subject_name(f->certificate, name);
	X509_set_issuer_name(f->certificate, name);
	X509_NAME_free(name);
	X509_gmtime_adj(X509_getm_notBefore(f->certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(f->certificate), 3600);
	X509_set_pubkey(f->certificate, f->key);
	X509_sign(f->certificate, f->key, EVP_sha256());
	bits = X509_get0_pubkey_bitstr(f->certificate);
	SHA1(bits->data, (size_t)bits->length, f->key_hash);
	f->algorithm = ch_algorithm_find("ecdsa-p256");
	*state = f;
	return ch_certificate_der(f->certificate, &f->der, &err) ? 0 : -1;
}

static int free_ca(void **state)
{
	struct fixture *f = *state;

	EVP_PKEY_free(f->key);
	X509_free(f->certificate);
	ch_bytes_free(&f->der);
	free(f);
	return 0;
}

static struct ch_bytes cert_id_der(const struct fixture *f, const EVP_MD *digest, long serial)
{
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	CH_AUTO(OCSP_CERTID) id = NULL;
	struct ch_bytes der = CH_NONE;
	int size;

	ASN1_INTEGER_set(number, serial);
	id = OCSP_cert_id_new(digest, X509_get_subject_name(f->certificate),
			      X509_get0_pubkey_bitstr(f->certificate), number);
	ASN1_INTEGER_free(number);
	size = i2d_OCSP_CERTID(id, &der.data);
	assert_true(size > 0);
	der.size = (size_t)size;
	return der;
}

static struct ch_bytes signed_by(const struct fixture *f, struct ch_view data)
{
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	struct ch_bytes signature = { ch_alloc(128), 128 };

	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, f->key), 1);
	assert_int_equal(EVP_DigestSign(context, signature.data, &signature.size, data.data, data.size), 1);
	return signature;
}

/* Writes, signs and assembles, then decodes with OpenSSL. */
static OCSP_BASICRESP *made(const struct fixture *f, const struct ocsp_single_response *singles, size_t count,
			    struct ch_view nonce)
{
	CH_AUTO(ch_bytes) data = ocsp_response_data(f->key_hash, NOW + 999999, singles, count, nonce);
	CH_AUTO(ch_bytes) signature = signed_by(f, ch_view_of(&data));
	CH_AUTO(ch_bytes) response = CH_NONE;
	CH_AUTO(OCSP_RESPONSE) decoded = NULL;
	struct ch_error err = CH_NONE;
	const uint8_t *at;

	assert_true(ocsp_response_assemble(ch_view_of(&data), f->algorithm, ch_view_of(&signature),
					   ch_view_of(&f->der), &response, &err));
	at = response.data;
	decoded = d2i_OCSP_RESPONSE(NULL, &at, (long)response.size);
	assert_non_null(decoded);
	assert_ptr_equal(at, response.data + response.size);
	assert_int_equal(OCSP_response_status(decoded), OCSP_RESPONSE_STATUS_SUCCESSFUL);
	return OCSP_response_get1_basic(decoded);
}

static void assert_time(const ASN1_GENERALIZEDTIME *time, const char *text)
{
	assert_non_null(time);
	assert_string_equal((const char *)ASN1_STRING_get0_data(time), text);
}

static void openssl_verifies_a_good_response(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(ch_bytes) id = cert_id_der(f, EVP_sha1(), 4711);
	const struct ocsp_single_response single = { ch_view_of(&id), { .status = OCSP_GOOD }, AN_HOUR };
	CH_AUTO(OCSP_BASICRESP) basic = made(f, &single, 1, ch_view(NULL, 0));
	X509_STORE *store = X509_STORE_new();
	ASN1_GENERALIZEDTIME *this_update = NULL;
	ASN1_GENERALIZEDTIME *next_update = NULL;
	const ASN1_OCTET_STRING *by_key = NULL;
	const X509_NAME *by_name = NULL;
	OCSP_SINGLERESP *one;
	struct ch_bytes echoed = CH_NONE;

	X509_STORE_add_cert(store, f->certificate);
	assert_int_equal(OCSP_basic_verify(basic, NULL, store, 0), 1);
	X509_STORE_free(store);
	assert_int_equal(OCSP_resp_count(basic), 1);
	one = OCSP_resp_get0(basic, 0);
	assert_int_equal(OCSP_single_get0_status(one, NULL, NULL, &this_update, &next_update),
			 V_OCSP_CERTSTATUS_GOOD);
	assert_time(this_update, "20261121100000Z");
	assert_time(next_update, "20261121110000Z");
	/* Whole seconds: RFC 6960 §4.2.2.1 leaves no fractions (RFC 5280 §4.1.2.5.2). */
	assert_time(OCSP_resp_get0_produced_at(basic), "20261121100000Z");
	assert_int_equal(OCSP_resp_get0_id(basic, &by_key, &by_name), 1);
	assert_null(by_name);
	assert_memory_equal(ASN1_STRING_get0_data(by_key), f->key_hash, 20);
	echoed.size = (size_t)i2d_OCSP_CERTID(OCSP_SINGLERESP_get0_id(one), &echoed.data);
	assert_true(ch_view_equal(ch_view_of(&echoed), ch_view_of(&id)));
	OPENSSL_free(echoed.data);
	OPENSSL_free(id.data);
	id = (struct ch_bytes)CH_NONE;
}

static void a_changed_response_does_not_verify(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(ch_bytes) id = cert_id_der(f, EVP_sha1(), 4711);
	const struct ocsp_single_response single = { ch_view_of(&id), { .status = OCSP_GOOD }, AN_HOUR };
	CH_AUTO(ch_bytes) data = ocsp_response_data(f->key_hash, NOW, &single, 1, ch_view(NULL, 0));
	CH_AUTO(ch_bytes) signature = signed_by(f, ch_view_of(&data));
	struct ch_error err = CH_NONE;
	uint8_t *info = NULL;
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(f->certificate), &info);

	assert_true(ch_verify_signature(f->algorithm, ch_view(info, (size_t)size), ch_view_of(&data),
					ch_view_of(&signature), &err));
	data.data[data.size - 1] ^= 1;
	assert_false(ch_verify_signature(f->algorithm, ch_view(info, (size_t)size), ch_view_of(&data),
					 ch_view_of(&signature), &err));
	OPENSSL_free(info);
	OPENSSL_free(id.data);
	id = (struct ch_bytes)CH_NONE;
}

static void every_status_of_a_request_with_three_certificates(void **state)
{
	const struct fixture *f = *state;
	struct ch_bytes ids[] = { cert_id_der(f, EVP_sha1(), 1), cert_id_der(f, EVP_sha256(), 2),
				  cert_id_der(f, EVP_sha256(), 3) };
	const struct ocsp_single_response singles[] = {
		{ ch_view_of(&ids[0]),
		  { .status = OCSP_REVOKED, .revoked_at_us = NOW - CH_DAY, .reason = 1 },
		  AN_HOUR },
		{ ch_view_of(&ids[1]), { .status = OCSP_UNKNOWN }, AN_HOUR },
		{ ch_view_of(&ids[2]),
		  { .status = OCSP_REVOKED, .revoked_at_us = NOW - CH_DAY + 5, .reason = 0 },
		  AN_HOUR },
	};
	CH_AUTO(OCSP_BASICRESP) basic = made(f, singles, 3, ch_view(NULL, 0));
	ASN1_GENERALIZEDTIME *at = NULL;
	int reason = -1;

	assert_int_equal(OCSP_resp_count(basic), 3);
	assert_int_equal(OCSP_single_get0_status(OCSP_resp_get0(basic, 0), &reason, &at, NULL, NULL),
			 V_OCSP_CERTSTATUS_REVOKED);
	assert_int_equal(reason, OCSP_REVOKED_STATUS_KEYCOMPROMISE);
	assert_time(at, "20261120100000Z");
	assert_int_equal(OCSP_single_get0_status(OCSP_resp_get0(basic, 1), NULL, NULL, NULL, NULL),
			 V_OCSP_CERTSTATUS_UNKNOWN);
	/* unspecified is said by leaving the reason out */
	assert_int_equal(OCSP_single_get0_status(OCSP_resp_get0(basic, 2), &reason, &at, NULL, NULL),
			 V_OCSP_CERTSTATUS_REVOKED);
	assert_int_equal(reason, OCSP_REVOKED_STATUS_NOSTATUS);
	for (size_t i = 0; i < 3; i++)
		OPENSSL_free(ids[i].data);
}

static void the_nonce_comes_back(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(ch_bytes) id = cert_id_der(f, EVP_sha1(), 4711);
	const struct ocsp_single_response single = { ch_view_of(&id), { .status = OCSP_GOOD }, AN_HOUR };
	CH_AUTO(OCSP_REQUEST) request = OCSP_REQUEST_new();
	CH_AUTO(OCSP_BASICRESP) with = NULL;
	CH_AUTO(OCSP_BASICRESP) without = NULL;
	uint8_t nonce[32];

	memset(nonce, 0x5a, sizeof(nonce));
	assert_int_equal(OCSP_request_add1_nonce(request, nonce, sizeof(nonce)), 1);
	with = made(f, &single, 1, ch_view(nonce, sizeof(nonce)));
	assert_int_equal(OCSP_check_nonce(request, with), 1);
	without = made(f, &single, 1, ch_view(NULL, 0));
	assert_int_equal(OCSP_check_nonce(request, without), -1);
	OPENSSL_free(id.data);
	id = (struct ch_bytes)CH_NONE;
}

static void errors_are_responses_without_a_body(void **state)
{
	static const enum ocsp_response_status all[] = { OCSP_MALFORMED_REQUEST, OCSP_INTERNAL_ERROR,
							 OCSP_TRY_LATER, OCSP_UNAUTHORIZED };

	for (size_t i = 0; i < CH_COUNT(all); i++) {
		struct ch_view view = ocsp_response_error(all[i]);
		const uint8_t *at = view.data;
		CH_AUTO(OCSP_RESPONSE) decoded = d2i_OCSP_RESPONSE(NULL, &at, (long)view.size);

		assert_non_null(decoded);
		assert_int_equal(OCSP_response_status(decoded), (int)all[i]);
		assert_null(OCSP_response_get1_basic(decoded));
	}
}

/* --- authority.c: who is meant by a CertID, and who answers ----------------------------------------------
 */

static struct ch_cert_id decoded_id(struct ch_view der)
{
	/* Wrapped as a request by OpenSSL, read by us. */
	static struct ocsp_request request;
	static uint8_t octets[512];
	uint8_t *at = octets;
	const uint8_t *in = der.data;
	CH_AUTO(OCSP_REQUEST) wrapped = OCSP_REQUEST_new();
	struct ch_error err = CH_NONE;
	const char *reason;
	int size;

	assert_non_null(OCSP_request_add0_id(wrapped, d2i_OCSP_CERTID(NULL, &in, (long)der.size)));
	size = i2d_OCSP_REQUEST(wrapped, &at);
	assert_true(size > 0 && size < (int)sizeof(octets));
	assert_true(ocsp_request_read(ch_view(octets, (size_t)size), 1, &request, &reason, &err));
	return request.cert_ids[0];
}

static struct ocsp_authorities *authorities_of(const struct fixture *f)
{
	struct ocsp_authorities *authorities = ocsp_authorities_new(1);
	X509_NAME *name = X509_get_subject_name(f->certificate);
	struct ch_bytes subject = CH_NONE;
	struct ch_bytes info = CH_NONE;
	struct ch_error err = CH_NONE;

	subject.size = (size_t)i2d_X509_NAME(name, &subject.data);
	info.size = (size_t)i2d_X509_PUBKEY(X509_get_X509_PUBKEY(f->certificate), &info.data);
	assert_true(ocsp_authority_identify(&authorities->items[0], ch_view_of(&subject), ch_view_of(&info),
					    &err));
	OPENSSL_free(subject.data);
	OPENSSL_free(info.data);
	return authorities;
}

static void openssl_and_we_mean_the_same_ca(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(ocsp_authorities) authorities = authorities_of(f);
	const EVP_MD *const digests[] = { EVP_sha1(), EVP_sha256(), EVP_sha384() };

	for (size_t i = 0; i < CH_COUNT(digests); i++) {
		struct ch_bytes der = cert_id_der(f, digests[i], 77);
		struct ch_cert_id id = decoded_id(ch_view_of(&der));

		if (i < 2)
			assert_ptr_equal(ocsp_authorities_find(authorities, &id), &authorities->items[0]);
		else
			assert_null(ocsp_authorities_find(authorities, &id));
		((uint8_t *)id.issuer_key_hash.data)[0] ^= 1;
		assert_null(ocsp_authorities_find(authorities, &id));
		OPENSSL_free(der.data);
	}
}

static void the_newest_valid_responder_answers(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(ocsp_authorities) authorities = authorities_of(f);
	struct ocsp_authority *authority = &authorities->items[0];
	struct ch_error err = CH_NONE;

	assert_true(ocsp_authority_add_responder(authority, "newer", ch_view_of(&f->der), NOW + CH_HOUR,
						 NOW + CH_DAY, &err));
	assert_true(ocsp_authority_add_responder(authority, "older", ch_view_of(&f->der), NOW - CH_DAY,
						 NOW + 2 * CH_HOUR, &err));
	assert_string_equal(ocsp_authority_responder(authority, NOW)->key_id, "older");
	assert_string_equal(ocsp_authority_responder(authority, NOW + CH_HOUR)->key_id, "newer");
	assert_null(ocsp_authority_responder(authority, NOW + CH_DAY));
	assert_memory_equal(authority->responders[0].key_hash, f->key_hash, 20);
	assert_false(ocsp_authority_add_responder(authority, "bad", ch_view("\x30\x00", 2), 0, 1, &err));
	assert_int_equal(authority->responder_count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssl_verifies_a_good_response),
		cmocka_unit_test(a_changed_response_does_not_verify),
		cmocka_unit_test(every_status_of_a_request_with_three_certificates),
		cmocka_unit_test(the_nonce_comes_back),
		cmocka_unit_test(errors_are_responses_without_a_body),
		cmocka_unit_test(openssl_and_we_mean_the_same_ca),
		cmocka_unit_test(the_newest_valid_responder_answers),
	};

	return cmocka_run_group_tests(tests, make_ca, free_ca);
}
