/* SPDX-License-Identifier: Apache-2.0 */
/* template_test.c: what template.c writes, signed here and read by OpenSSL's parser, says what was ordered.
 */
#include "issuer_fixture.h"

#include "x509/serial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct made {
	struct fixture fixture;
	struct ch_profile profile;
	struct ch_bytes tbs;
	X509 *certificate;
	uint8_t serial[CH_SERIAL_SIZE];
};

static void sign_and_read(struct made *made)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t size = sizeof(signature);
	struct ch_bytes der;

	assert_true(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, made->fixture.ca_key));
	assert_true(EVP_DigestSign(context, signature, &size, made->tbs.data, made->tbs.size));
	EVP_MD_CTX_free(context);
	der = ch_signed_assemble(ch_view_of(&made->tbs), ch_algorithm_find("ecdsa-p256"),
				 ch_view(signature, size));
	assert_true(ch_certificate_read(ch_view_of(&der), &made->certificate, NULL));
	assert_int_equal(X509_verify(made->certificate, made->fixture.ca_key), 1);
	ch_bytes_free(&der);
}

static void make(struct made *made, const char *profile, const char *key_name, const char *subject,
		 const char *sans)
{
	EVP_PKEY *key = fixture_key(key_name);
	struct ch_bytes der = fixture_csr(key, subject, sans, false);
	CH_AUTO(ch_csr) csr = CH_NONE;
	struct ch_policy_request request = { .csr = &csr };
	struct ch_template_signer signer;
	struct ch_lint_context context = { .signer = &signer };
	struct ch_lint_token token;
	struct ch_error err = CH_NONE;
	struct ch_order order;

	memset(made, 0, sizeof(*made));
	fixture_begin(&made->fixture);
	fixture_profile(&made->profile, profile);
	signer = ch_template_signer_of(&made->fixture.ca);
	context.kind = made->profile.kind;
	if (!ch_csr_read(ch_view_of(&der), &csr, &err) ||
	    !ch_policy_check(&made->profile, &made->fixture.ca, &request, NOW, &order, &err)) {
		fail_msg("%s", err.message);
		return;
	}
	ch_serial_make(ch_view(made->fixture.ca.serial_tag_key, 32), order.not_after_us, made->serial);
	if (!ch_template_certificate(&made->profile, &signer, &order,
				     ch_view(made->serial, sizeof(made->serial)), &made->tbs, &err) ||
	    !ch_lint_tbs(ch_view_of(&made->tbs), &context, &token, &err))
		fail_msg("%s", err.message);
	sign_and_read(made);
	ch_bytes_free(&der);
	EVP_PKEY_free(key);
}

static void unmake(struct made *made)
{
	X509_free(made->certificate);
	ch_bytes_free(&made->tbs);
	ch_profile_free(&made->profile);
	fixture_end(&made->fixture);
}

static char *extension_text(const X509 *certificate, int nid, int *critical)
{
	int index = X509_get_ext_by_NID(certificate, nid, -1);
	X509_EXTENSION *extension = index >= 0 ? X509_get_ext(certificate, index) : NULL;
	BIO *out = BIO_new(BIO_s_mem());
	char *data, *text;
	long size;

	*critical = extension ? X509_EXTENSION_get_critical(extension) : -1;
	if (extension)
		assert_true(X509V3_EXT_print(out, extension, 0, 0));
	size = BIO_get_mem_data(out, &data);
	text = ch_strndup(data ? data : "", (size_t)size);
	BIO_free(out);
	return text;
}

static void assert_extension(const X509 *certificate, int nid, int critical, const char *text)
{
	int is_critical;
	CH_AUTO(ch_string) is = extension_text(certificate, nid, &is_critical);

	assert_int_equal(is_critical, critical);
	if (critical >= 0 && !strstr(is, text))
		fail_msg("extension %s is '%s', not '%s'", OBJ_nid2sn(nid), is, text);
}

#define ABSENT (-1)

static void a_server_certificate_says_what_was_ordered(void **state)
{
	struct made made;
	char serial[2 * CH_SERIAL_SIZE + 1] = "";
	BIGNUM *number;
	char *hex;

	make(&made,
	     "key_usage: [digitalSignature, keyEncipherment]\nextended_key_usage: [serverAuth]\npolicies: "
	     "[2.23.140.1.2.1]\n"
	     "subject: { allowed: [CN] }\nsubject_alt_names: { allowed: [dns, ip], minimum: 1 }\n",
	     "rsa-2048", "CN=www.example.com", "DNS:www.example.com,IP:2001:db8::1");
	assert_int_equal(X509_get_version(made.certificate), X509_VERSION_3);
	assert_extension(made.certificate, NID_basic_constraints, 1, "CA:FALSE");
	assert_extension(made.certificate, NID_key_usage, 1, "Digital Signature, Key Encipherment");
	assert_extension(made.certificate, NID_ext_key_usage, 0, "TLS Web Server Authentication");
	assert_extension(made.certificate, NID_subject_alt_name, 0,
			 "DNS:www.example.com, IP Address:2001:DB8:0:0:0:0:0:1");
	assert_extension(made.certificate, NID_certificate_policies, 0, "2.23.140.1.2.1");
	assert_extension(made.certificate, NID_info_access, 0, "OCSP - URI:http://pki.example/ocsp");
	assert_extension(made.certificate, NID_info_access, 0,
			 "CA Issuers - URI:http://pki.example/ca/i.cer");
	assert_extension(made.certificate, NID_crl_distribution_points, 0, "http://pki.example/crl/i.crl");
	assert_extension(made.certificate, NID_id_pkix_OCSP_noCheck, ABSENT, "");
	number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(made.certificate), NULL);
	hex = BN_bn2hex(number);
	for (size_t i = 0; i < CH_SERIAL_SIZE; i++)
		snprintf(serial + 2 * i, 3, "%02X", made.serial[i]);
	assert_string_equal(hex, serial);
	OPENSSL_free(hex);
	BN_free(number);
	unmake(&made);
}

static void times_are_those_of_the_order(void **state)
{
	struct made made;
	struct tm tm;

	make(&made, "subject: { allowed: [CN] }\n", "ecdsa-p256", "CN=x", NULL);
	assert_true(ASN1_TIME_to_tm(X509_get0_notBefore(made.certificate), &tm));
	assert_true((int64_t)timegm(&tm) * CH_SECOND == NOW - CH_MINUTE);
	assert_true(ASN1_TIME_to_tm(X509_get0_notAfter(made.certificate), &tm));
	assert_true((int64_t)timegm(&tm) * CH_SECOND == NOW + 90 * CH_DAY - CH_SECOND);
	unmake(&made);
}

/* RFC 5480 §3: an EC key enciphers nothing. RFC 8410 §5: an Ed25519 key signs, and no more. */
static void key_usages_that_a_key_cannot_have_are_left_out(void **state)
{
	static const char all[] =
		"key_usage: [digitalSignature, keyEncipherment, dataEncipherment, keyAgreement]\n"
		"subject: { allowed: [CN] }\n";
	static const struct {
		const char *key;
		unsigned usages;
	} rows[] = {
		{ "rsa-2048", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT },
		{ "ecdsa-p256", KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT },
		{ "ed25519", KU_DIGITAL_SIGNATURE },
	};

	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		struct made made;

		make(&made, all, rows[i].key, "CN=x", NULL);
		assert_int_equal(X509_get_key_usage(made.certificate), rows[i].usages);
		unmake(&made);
	}
}

/* RFC 5280 §4.2.1.6 */
static void alternative_names_are_critical_where_the_subject_is_empty(void **state)
{
	struct made made;

	make(&made, "subject_alt_names: { allowed: [dns] }\n", "ecdsa-p256", "", "DNS:only.example");
	assert_extension(made.certificate, NID_subject_alt_name, 1, "DNS:only.example");
	unmake(&made);
}

/* RFC 6960 §4.2.2.2 */
static void a_responder_has_ocsp_nocheck_and_is_not_itself_asked_about(void **state)
{
	struct made made;

	make(&made, "kind: ocsp-responder\nextended_key_usage: [OCSPSigning]\nsubject: { allowed: [CN] }\n",
	     "ecdsa-p256", "CN=responder", NULL);
	assert_extension(made.certificate, NID_id_pkix_OCSP_noCheck, 0, "");
	assert_extension(made.certificate, NID_ext_key_usage, 0, "OCSP Signing");
	assert_extension(made.certificate, NID_info_access, 0, "CA Issuers");
	assert_extension(made.certificate, NID_crl_distribution_points, ABSENT, "");
	assert_int_equal(X509_check_purpose(made.certificate, X509_PURPOSE_OCSP_HELPER, 0), 1);
	unmake(&made);
}

/* RFC 3161 §2.3 */
static void a_tsas_extended_key_usage_is_critical(void **state)
{
	struct made made;

	make(&made,
	     "kind: tsa\nkey_usage: [digitalSignature, nonRepudiation]\nextended_key_usage: [timeStamping]\n"
	     "subject: { allowed: [CN] }\n",
	     "ecdsa-p256", "CN=tsa", NULL);
	assert_extension(made.certificate, NID_ext_key_usage, 1, "Time Stamping");
	assert_int_equal(X509_check_purpose(made.certificate, X509_PURPOSE_TIMESTAMP_SIGN, 0), 1);
	unmake(&made);
}

static void a_root_is_self_issued_and_names_no_urls(void **state)
{
	struct made made = CH_NONE;
	struct ch_template_signer signer;
	struct ch_lint_context context = { .signer = &signer, .ca = true };
	struct ch_lint_token token;
	struct ch_error err = CH_NONE;
	struct ch_order order = CH_NONE;
	const uint8_t serial[] = { 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

	fixture_begin(&made.fixture);
	made.fixture.ca.document.path_length = 1;
	signer = ch_template_signer_of(&made.fixture.ca);
	signer.urls = NULL;
	order.subject_der = ch_view_of(&made.fixture.ca.subject_der);
	order.public_key_info = ch_view_of(&made.fixture.ca.public_key_info);
	order.key_algorithm = made.fixture.ca.algorithm;
	order.not_before_us = NOW;
	order.not_after_us = NOW + INT64_C(30) * 365 * CH_DAY; /* after 2050: GeneralizedTime */
	if (!ch_template_ca(&made.fixture.ca.document, &signer, &order, ch_view(serial, sizeof(serial)),
			    &made.tbs, &err) ||
	    !ch_lint_tbs(ch_view_of(&made.tbs), &context, &token, &err))
		fail_msg("%s", err.message);
	sign_and_read(&made);
	assert_int_equal(X509_check_ca(made.certificate), 1);
	assert_int_equal(X509_check_issued(made.certificate, made.certificate), X509_V_OK);
	assert_int_equal(X509_get_pathlen(made.certificate), 1);
	assert_int_equal(X509_get_key_usage(made.certificate), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_extension(made.certificate, NID_info_access, ABSENT, "");
	assert_extension(made.certificate, NID_crl_distribution_points, ABSENT, "");
	assert_int_equal(ASN1_STRING_type(X509_get0_notBefore(made.certificate)), V_ASN1_UTCTIME);
	assert_int_equal(ASN1_STRING_type(X509_get0_notAfter(made.certificate)), V_ASN1_GENERALIZEDTIME);
	unmake(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_certificate_says_what_was_ordered),
		cmocka_unit_test(times_are_those_of_the_order),
		cmocka_unit_test(key_usages_that_a_key_cannot_have_are_left_out),
		cmocka_unit_test(alternative_names_are_critical_where_the_subject_is_empty),
		cmocka_unit_test(a_responder_has_ocsp_nocheck_and_is_not_itself_asked_about),
		cmocka_unit_test(a_tsas_extended_key_usage_is_critical),
		cmocka_unit_test(a_root_is_self_issued_and_names_no_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
