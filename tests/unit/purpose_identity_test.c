/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_identity_test.c: the purposes service-identity and ca-csr: what each rule refuses, and who may ask.
 * A daemon renews its own identity and nobody else's; a certification request leaves only for the name and
 * the key that the vault has, with approvals.
 */
#include "purposes.h"

#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795235400) * CH_SECOND)

struct fixture {
	struct vault_key key;
	struct vault_policy policy;
	struct vault_check check;
	struct ch_error err;
	EVP_PKEY *subject_key;
};

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	unsigned char *info = NULL;
	EVP_PKEY *own = EVP_EC_gen("P-256");
	int size = i2d_PUBKEY(own, &info);

	memset(f->key.key_id, 'a', 32);
	strcpy(f->key.tenant, "default");
	f->key.algorithm = ch_algorithm_find("ecdsa-p256");
	assert_true(ch_name_parse("CN=System CA", &f->key.subject_der, &f->err));
	f->key.public_key_info = ch_bytes_copy(ch_view(info, (size_t)size));
	f->key.ca_not_before_us = NOW - 10 * CH_DAY;
	f->key.ca_not_after_us = NOW + 1000 * CH_DAY;
	f->key.ca_path_length = -1;
	f->policy = (struct vault_policy){ .clock_tolerance_us = 5 * CH_MINUTE,
					   .operators_ca = X509_STORE_new() };
	f->subject_key = EVP_EC_gen("P-256");
	OPENSSL_free(info);
	EVP_PKEY_free(own);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	vault_check_free(&f->check);
	vault_key_free(&f->key);
	X509_STORE_free(f->policy.operators_ca);
	EVP_PKEY_free(f->subject_key);
	free(f);
	return 0;
}

/* --- an identity's TBSCertificate, as OpenSSL makes it --- */

struct wish {
	const char *names, *key_usage, *extended_key_usage, *constraints;
	int days;
	EVP_PKEY *key; /* NULL: a P-256 key */
};
static const struct wish right = { "URI:chancery:service/ocsp/ocsp-1,DNS:localhost,IP:127.0.0.1",
				   "critical,digitalSignature",
				   "serverAuth,clientAuth",
				   NULL,
				   90,
				   NULL };

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = value ? X509V3_EXT_conf_nid(NULL, NULL, nid, value) : NULL;

	assert_true(!value || (extension && X509_add_ext(certificate, extension, -1)));
	X509_EXTENSION_free(extension);
}

static struct ch_bytes make_tbs(struct fixture *f, const struct wish *wish)
{
	const unsigned char *at = f->key.subject_der.data;
	X509_NAME *issuer = d2i_X509_NAME(NULL, &at, (long)f->key.subject_der.size);
	EVP_PKEY *signer = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	unsigned char *der = NULL;
	struct ch_bytes tbs;
	int size;

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 77);
	X509_set_issuer_name(certificate, issuer);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)"ocsp-1", -1, -1, 0);
	ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(NOW / CH_SECOND));
	ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)(NOW / CH_SECOND) + wish->days * 86400);
	X509_set_pubkey(certificate, wish->key ? wish->key : f->subject_key);
	add_extension(certificate, NID_subject_alt_name, wish->names);
	add_extension(certificate, NID_key_usage, wish->key_usage);
	add_extension(certificate, NID_ext_key_usage, wish->extended_key_usage);
	add_extension(certificate, NID_basic_constraints, wish->constraints);
	assert_true(X509_sign(certificate, signer, EVP_sha256()) > 0);
	size = i2d_re_X509_tbs(certificate, &der);
	tbs = ch_bytes_copy(ch_view(der, (size_t)size));
	OPENSSL_free(der);
	X509_free(certificate);
	X509_NAME_free(issuer);
	EVP_PKEY_free(signer);
	return tbs;
}

static bool ask(struct fixture *f, bool (*purpose)(struct vault_check *, struct ch_error *),
		struct ch_view tbs, const char *service, const char *instance)
{
	vault_check_free(&f->check);
	f->err = (struct ch_error)CH_NONE;
	f->check = (struct vault_check){ .key = &f->key,
					 .policy = &f->policy,
					 .now_us = NOW,
					 .tenant = "default",
					 .sender_service = service,
					 .sender_instance = instance,
					 .to_be_signed = tbs,
					 .reason = "malformed",
					 .ca_path_length = -1 };
	return purpose(&f->check, &f->err);
}

static bool ask_identity(struct fixture *f, const struct wish *wish, const char *service,
			 const char *instance)
{
	CH_AUTO(ch_bytes) tbs = make_tbs(f, wish);

	return ask(f, purpose_service_identity, ch_view_of(&tbs), service, instance);
}

static void assert_refused(struct fixture *f, const char *reason, const char *words)
{
	if (!strstr(f->err.message, words))
		fail_msg("'%s' does not say '%s'", f->err.message, words);
	assert_string_equal(f->check.reason, reason);
}

/* --- service-identity --- */

static void a_daemon_renews_its_own_identity(void **state)
{
	struct fixture *f = *state;

	if (!ask_identity(f, &right, "ocsp", "ocsp-1"))
		fail_msg("%s", f->err.message);
	assert_false(f->check.uses_action);
}

static void nobody_gets_the_identity_of_another(void **state)
{
	static const char *const others[][2] = {
		{ "ocsp", "ocsp-2" },  { "vault", "ocsp-1" }, { "ocs", "p/ocsp-1" },
		{ "ocsp", "ocsp-10" }, { "ocsp", "" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < CH_COUNT(others); i++) {
		assert_false(ask_identity(f, &right, others[i][0], others[i][1]));
		assert_refused(f, "identity", "a daemon renews its own alone");
	}
}

static void an_operator_needs_approvals_for_any(void **state)
{
	struct fixture *f = *state;

	assert_false(ask_identity(f, &right, "operator", "operator-1"));
	assert_refused(f, "approval-missing", "no action is named");
}

static void each_rule_of_an_identity_is_held(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *p384 = EVP_EC_gen("P-384");
	const struct {
		struct wish wish;
		const char *reason, *words;
	} cases[] = {
		{ { NULL, right.key_usage, right.extended_key_usage, NULL, 90, NULL },
		  "identity",
		  "no subjectAltName" },
		{ { "DNS:localhost", right.key_usage, right.extended_key_usage, NULL, 90, NULL },
		  "identity",
		  "names no service" },
		{ { "URI:chancery:service/ocsp/ocsp-1,URI:chancery:service/vault/vault-1", right.key_usage,
		    right.extended_key_usage, NULL, 90, NULL },
		  "identity",
		  "two URIs" },
		{ { "URI:https://example.com/", right.key_usage, right.extended_key_usage, NULL, 90, NULL },
		  "identity",
		  "a URI that is not" },
		{ { "URI:chancery:service/ocsp", right.key_usage, right.extended_key_usage, NULL, 90, NULL },
		  "identity",
		  "a URI that is not" },
		{ { "URI:chancery:service/OCSP/ocsp-1", right.key_usage, right.extended_key_usage, NULL, 90,
		    NULL },
		  "identity",
		  "a URI that is not" },
		{ { "URI:chancery:service/ocsp/ocsp-1,email:a@example.com", right.key_usage,
		    right.extended_key_usage, NULL, 90, NULL },
		  "identity",
		  "no URI, DNS name or address" },
		{ { right.names, "critical,digitalSignature,keyCertSign", right.extended_key_usage, NULL, 90,
		    NULL },
		  "key-usage",
		  "not digitalSignature alone" },
		{ { right.names, NULL, right.extended_key_usage, NULL, 90, NULL },
		  "key-usage",
		  "not digitalSignature alone" },
		{ { right.names, right.key_usage, "serverAuth", NULL, 90, NULL },
		  "extended-key-usage",
		  "is not id-kp-serverAuth" },
		{ { right.names, right.key_usage, "serverAuth,clientAuth,OCSPSigning", NULL, 90, NULL },
		  "extended-key-usage",
		  "is not id-kp-serverAuth" },
		{ { right.names, right.key_usage, NULL, NULL, 90, NULL },
		  "extended-key-usage",
		  "is not id-kp-serverAuth" },
		{ { right.names, right.key_usage, right.extended_key_usage, "critical,CA:TRUE", 90, NULL },
		  "ca-true",
		  "a service is no CA" },
		{ { right.names, right.key_usage, right.extended_key_usage, NULL, 91, NULL },
		  "validity",
		  "over 90 days" },
		{ { right.names, right.key_usage, right.extended_key_usage, NULL, 90, p384 },
		  "subject-key",
		  "P-256" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_identity(f, &cases[i].wish, "ocsp", "ocsp-1"))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(f, cases[i].reason, cases[i].words);
	}
	EVP_PKEY_free(p384);
}

static void a_keys_policy_may_allow_less_time(void **state)
{
	struct fixture *f = *state;

	f->key.max_certificate_validity_us = 30 * CH_DAY;
	assert_false(ask_identity(f, &right, "ocsp", "ocsp-1"));
	assert_refused(f, "validity", "days");
}

/* --- ca-csr --- */

/* version 0; subject and key of the fixture's key, where they are not given. */
static struct ch_bytes make_request_info(struct fixture *f, uint64_t version, const char *subject,
					 bool own_key, const char *attribute)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) name = CH_NONE;
	unsigned char *info = NULL;
	struct ch_error err;
	int size = i2d_PUBKEY(f->subject_key, &info);

	assert_true(ch_name_parse(subject, &name, &err));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, version);
	ch_der_put_raw(&writer, ch_view_of(&name));
	ch_der_put_raw(&writer, own_key ? ch_view_of(&f->key.public_key_info) : ch_view(info, (size_t)size));
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	if (attribute) {
		ch_der_begin(&writer, CH_DER_SEQUENCE);
		assert_true(ch_der_put_oid(&writer, attribute, &err));
		ch_der_begin(&writer, CH_DER_SET);
		ch_der_put_null(&writer);
		ch_der_finish(&writer);
		ch_der_finish(&writer);
	}
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	OPENSSL_free(info);
	return ch_der_done(&writer);
}

static void a_certification_request_comes_as_far_as_its_approvals(void **state)
{
	static const char *const attributes[] = { NULL, "1.2.840.113549.1.9.14" };
	struct fixture *f = *state;

	for (size_t i = 0; i < CH_COUNT(attributes); i++) {
		CH_AUTO(ch_bytes) info = make_request_info(f, 0, "CN=System CA", true, attributes[i]);

		assert_false(ask(f, purpose_csr, ch_view_of(&info), "issuer", "issuer-1"));
		assert_refused(f, "approval-missing", "no action is named");
		assert_string_equal(f->check.subject, "CN=System CA");
	}
}

static void each_rule_of_a_certification_request_is_held(void **state)
{
	struct fixture *f = *state;
	const struct {
		uint64_t version;
		const char *subject;
		bool own_key;
		const char *attribute, *reason, *words;
	} cases[] = {
		{ 1, "CN=System CA", true, NULL, "malformed", "only v1 (0) is signed" },
		{ 0, "CN=Another CA", true, NULL, "subject", "subject is 'CN=Another CA'" },
		{ 0, "CN=System CA", false, NULL, "subject-key", "the public key is not key" },
		{ 0, "CN=System CA", true, "1.2.840.113549.1.9.7", "malformed",
		  "an attribute other than extensionRequest" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		CH_AUTO(ch_bytes)
		info = make_request_info(f, cases[i].version, cases[i].subject, cases[i].own_key,
					 cases[i].attribute);

		assert_false(ask(f, purpose_csr, ch_view_of(&info), "issuer", "issuer-1"));
		assert_refused(f, cases[i].reason, cases[i].words);
	}
}

static void a_truncated_certification_request_is_refused_at_every_length(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) info = make_request_info(f, 0, "CN=System CA", true, NULL);

	for (size_t size = 0; size < info.size; size++) {
		assert_false(ask(f, purpose_csr, ch_view(info.data, size), "issuer", "issuer-1"));
		assert_string_equal(f->check.reason, "malformed");
	}
}

/* --- who may ask at all --- */

static void each_purpose_has_its_callers(void **state)
{
	static const struct {
		Chancery__Purpose purpose;
		const char *service;
		bool allowed;
	} cases[] = {
		{ CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE, "issuer", true },
		{ CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE, "operator", false },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE, "operator", true },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE, "gateway", false },
		{ CHANCERY__PURPOSE__PURPOSE_CRL, "operator", false },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CSR, "issuer", true },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CSR, "ocsp", false },
		{ CHANCERY__PURPOSE__PURPOSE_SERVICE_IDENTITY, "tsa", true },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(cases); i++)
		assert_int_equal(vault_purpose_allows(vault_purpose_find(cases[i].purpose), cases[i].service),
				 cases[i].allowed);
}

#define WITH_KEY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_daemon_renews_its_own_identity),
		WITH_KEY(nobody_gets_the_identity_of_another),
		WITH_KEY(an_operator_needs_approvals_for_any),
		WITH_KEY(each_rule_of_an_identity_is_held),
		WITH_KEY(a_keys_policy_may_allow_less_time),
		WITH_KEY(a_certification_request_comes_as_far_as_its_approvals),
		WITH_KEY(each_rule_of_a_certification_request_is_held),
		WITH_KEY(a_truncated_certification_request_is_refused_at_every_length),
		cmocka_unit_test(each_purpose_has_its_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
