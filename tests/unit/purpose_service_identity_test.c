/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_service_identity_test.c: which identities of daemons are signed, and which refused: a daemon renews
 * its own and nobody else's. OpenSSL makes the certificates.
 */
#include "purpose_fixture.h"

#include <openssl/x509v3.h>

/* --- an identity's TBSCertificate, as OpenSSL makes it --- */

struct wish {
	const char *names, *key_usage, *extended_key_usage, *constraints;
	int days;
	EVP_PKEY *key;           /* NULL: a P-256 key */
	const char *common_name; /* NULL: ocsp-1 */
};
static const struct wish right = { "URI:chancery:service/ocsp/ocsp-1,DNS:localhost,IP:127.0.0.1",
				   "critical,digitalSignature",
				   "serverAuth,clientAuth",
				   NULL,
				   90,
				   NULL,
				   NULL };

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = value ? X509V3_EXT_conf_nid(NULL, NULL, nid, value) : NULL;

	assert_true(!value || (extension && X509_add_ext(certificate, extension, -1)));
	X509_EXTENSION_free(extension);
}

static struct ch_bytes make_tbs(struct fixture *fixture, const struct wish *wish)
{
	const unsigned char *at = fixture->key.subject_der.data;
	X509_NAME *issuer = d2i_X509_NAME(NULL, &at, (long)fixture->key.subject_der.size);
	EVP_PKEY *signer = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	unsigned char *der = NULL;
	struct ch_bytes tbs;
	int size;

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 77);
	X509_set_issuer_name(certificate, issuer);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)(wish->common_name ? wish->common_name : "ocsp-1"),
				   -1, -1, 0);
	ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(NOW / CH_SECOND));
	ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)(NOW / CH_SECOND) + wish->days * 86400);
	X509_set_pubkey(certificate, wish->key ? wish->key : signer);
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

/* The identity that asks has these names. */
static void hold_names(struct fixture *fixture, const char *names)
{
	X509_EXTENSION *extension =
		names ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names) : NULL;
	const ASN1_OCTET_STRING *value = extension ? X509_EXTENSION_get_data(extension) : NULL;
	uint8_t digest[64] = CH_NONE;
	size_t size;

	if (value)
		assert_true(ch_digest(
			"sha256", ch_view(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value)),
			digest, &size, NULL));
	memcpy(fixture->names_sha256, digest, sizeof(fixture->names_sha256));
	X509_EXTENSION_free(extension);
}

static bool ask_identity(struct fixture *fixture, const struct wish *wish, const char *service,
			 const char *instance)
{
	CH_AUTO(ch_bytes) tbs = make_tbs(fixture, wish);

	fixture->service = service;
	fixture->instance = instance;
	hold_names(fixture, wish->names);
	return ask(fixture, purpose_service_identity, ch_view_of(&tbs), (struct ch_view)CH_NONE);
}

static void a_daemon_renews_its_own_identity(void **state)
{
	struct fixture *fixture = *state;

	if (!ask_identity(fixture, &right, "ocsp", "ocsp-1"))
		fail_msg("%s", fixture->err.message);
	assert_false(fixture->check.uses_action);
}

static void nobody_gets_the_identity_of_another(void **state)
{
	static const char *const others[][2] = {
		{ "ocsp", "ocsp-2" },  { "vault", "ocsp-1" }, { "ocs", "p/ocsp-1" },
		{ "ocsp", "ocsp-10" }, { "ocsp", "" },
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < CH_COUNT(others); i++) {
		assert_false(ask_identity(fixture, &right, others[i][0], others[i][1]));
		assert_refused(fixture, "identity", "a daemon renews its own alone");
	}
}

/* The names that the system CA's owner gave it: not one more, above all no name of the public HTTPS. */
static void a_renewal_keeps_its_names_to_the_octet(void **state)
{
	static const char *const others[] = {
		"URI:chancery:service/ocsp/ocsp-1",
		"URI:chancery:service/ocsp/ocsp-1,DNS:localhost,IP:127.0.0.1,DNS:ca.example.com",
		"URI:chancery:service/ocsp/ocsp-1,DNS:ca.example.com,IP:127.0.0.1",
		"URI:chancery:service/ocsp/ocsp-1,DNS:vault.chancery.internal,IP:127.0.0.1",
		"URI:chancery:service/ocsp/ocsp-1,DNS:localhost,IP:127.0.0.2",
	};
	struct fixture *fixture = *state;

	fixture->service = "ocsp";
	fixture->instance = "ocsp-1";
	hold_names(fixture, right.names);
	for (size_t i = 0; i < CH_COUNT(others); i++) {
		struct wish wish = right;
		CH_AUTO(ch_bytes) tbs = CH_NONE;

		wish.names = others[i];
		tbs = make_tbs(fixture, &wish);
		assert_false(
			ask(fixture, purpose_service_identity, ch_view_of(&tbs), (struct ch_view)CH_NONE));
		assert_refused(fixture, "identity-names", "a renewal keeps its names");
	}
}

static void a_renewal_keeps_its_subject(void **state)
{
	struct fixture *fixture = *state;
	struct wish wish = right;

	wish.common_name = "ca.example.com";
	assert_false(ask_identity(fixture, &wish, "ocsp", "ocsp-1"));
	assert_refused(fixture, "identity-subject", "a renewal has 'CN=ocsp-1'");
}

static void an_operator_needs_approvals_for_any(void **state)
{
	struct fixture *fixture = *state;

	assert_false(ask_identity(fixture, &right, "operator", "operator-1"));
	assert_refused(fixture, "approval-missing", "no action is named");
}

#define SIXTY_THREE "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

static void names_have_1_to_63_characters(void **state)
{
	struct fixture *fixture = *state;
	struct wish wish = right;

	wish.names = "URI:chancery:service/a/1";
	wish.common_name = "1";
	assert_true(ask_identity(fixture, &wish, "a", "1"));
	wish.names = "URI:chancery:service/" SIXTY_THREE "/" SIXTY_THREE;
	wish.common_name = SIXTY_THREE;
	assert_true(ask_identity(fixture, &wish, SIXTY_THREE, SIXTY_THREE));
}

static void each_rule_of_an_identity_is_held(void **state)
{
	struct fixture *fixture = *state;
	EVP_PKEY *p384 = EVP_EC_gen("P-384");
	const struct {
		struct wish wish;
		const char *reason, *words;
	} cases[] = {
		{ { NULL, right.key_usage, right.extended_key_usage, NULL, 90, NULL, NULL },
		  "identity",
		  "no subjectAltName" },
		{ { "DNS:localhost", right.key_usage, right.extended_key_usage, NULL, 90, NULL, NULL },
		  "identity",
		  "names no service" },
		{ { "URI:chancery:service/ocsp/ocsp-1,URI:chancery:service/vault/vault-1", right.key_usage,
		    right.extended_key_usage, NULL, 90, NULL, NULL },
		  "identity",
		  "two URIs" },
		{ { "URI:https://example.com/", right.key_usage, right.extended_key_usage, NULL, 90, NULL,
		    NULL },
		  "identity",
		  "a URI that is not" },
		{ { "URI:chancery:service/ocsp", right.key_usage, right.extended_key_usage, NULL, 90, NULL,
		    NULL },
		  "identity",
		  "a URI that is not" },
		{ { "URI:chancery:service/OCSP/ocsp-1", right.key_usage, right.extended_key_usage, NULL, 90,
		    NULL, NULL },
		  "identity",
		  "a URI that is not" },
		{ { "URI:chancery:service/ocsp/ocsp-1,email:a@example.com", right.key_usage,
		    right.extended_key_usage, NULL, 90, NULL, NULL },
		  "identity",
		  "no URI, DNS name or address" },
		{ { right.names, "critical,digitalSignature,keyCertSign", right.extended_key_usage, NULL, 90,
		    NULL, NULL },
		  "key-usage",
		  "not digitalSignature alone" },
		{ { right.names, NULL, right.extended_key_usage, NULL, 90, NULL, NULL },
		  "key-usage",
		  "not digitalSignature alone" },
		{ { right.names, right.key_usage, "serverAuth", NULL, 90, NULL, NULL },
		  "extended-key-usage",
		  "is not id-kp-serverAuth" },
		{ { right.names, right.key_usage, "serverAuth,clientAuth,OCSPSigning", NULL, 90, NULL, NULL },
		  "extended-key-usage",
		  "is not id-kp-serverAuth" },
		{ { right.names, right.key_usage, NULL, NULL, 90, NULL, NULL },
		  "extended-key-usage",
		  "is not id-kp-serverAuth" },
		{ { right.names, right.key_usage, right.extended_key_usage, "critical,CA:TRUE", 90, NULL,
		    NULL },
		  "ca-true",
		  "a service is no CA" },
		{ { right.names, right.key_usage, right.extended_key_usage, "CA:FALSE,pathlen:0", 90, NULL,
		    NULL },
		  "ca-true",
		  "a service is no CA" },
		{ { "URI:chancery:service//ocsp-1", right.key_usage, right.extended_key_usage, NULL, 90, NULL,
		    NULL },
		  "identity",
		  "a URI that is not" },
		{ { "URI:chancery:service/" SIXTY_THREE "a/ocsp-1", right.key_usage, right.extended_key_usage,
		    NULL, 90, NULL, NULL },
		  "identity",
		  "a URI that is not" },
		{ { right.names, right.key_usage, right.extended_key_usage, NULL, 91, NULL, NULL },
		  "validity",
		  "over 90 days" },
		{ { right.names, right.key_usage, right.extended_key_usage, NULL, 90, p384, NULL },
		  "subject-key",
		  "P-256" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_identity(fixture, &cases[i].wish, "ocsp", "ocsp-1"))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
	EVP_PKEY_free(p384);
}

static void a_keys_policy_may_allow_less_time(void **state)
{
	struct fixture *fixture = *state;

	fixture->key.max_certificate_validity_us = 30 * CH_DAY;
	assert_false(ask_identity(fixture, &right, "ocsp", "ocsp-1"));
	assert_refused(fixture, "validity", "days");
}

static void an_operator_makes_any_that_officers_approved(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) tbs = make_tbs(fixture, &right);
	char not_after[CH_TIME_TEXT_SIZE];
	struct ch_action_field more[] = {
		{ (char *)"identity", (char *)"ocsp/ocsp-1" },
		{ (char *)"not-after", (char *)(uintptr_t)ch_time_text(NOW + 90 * CH_DAY, not_after) },
	};

	fixture->service = "operator";
	fixture->instance = "operator-1";
	have_approved(fixture, CHANCERY__ACTION_KIND__ACTION_SERVICE_IDENTITY, ch_view_of(&tbs), more,
		      CH_COUNT(more));
	if (!ask(fixture, purpose_service_identity, ch_view_of(&tbs), (struct ch_view)CH_NONE))
		fail_msg("%s", fixture->err.message);
	assert_true(fixture->check.uses_action);
	assert_string_equal(fixture->check.approvers, "alice bob");

	more[0].value = (char *)"ocsp/ocsp-2"; /* what officers saw, and what the certificate says */
	have_approved(fixture, CHANCERY__ACTION_KIND__ACTION_SERVICE_IDENTITY, ch_view_of(&tbs), more,
		      CH_COUNT(more));
	assert_false(ask(fixture, purpose_service_identity, ch_view_of(&tbs), (struct ch_view)CH_NONE));
	assert_refused(fixture, "approval-content", "identity");
}

/* Approvals do not make up for who asks: what officers approved for an operator is no daemon's. */
static void a_daemon_gets_no_other_identity_with_approvals_either(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) tbs = make_tbs(fixture, &right);
	char not_after[CH_TIME_TEXT_SIZE];
	const struct ch_action_field more[] = {
		{ (char *)"identity", (char *)"ocsp/ocsp-1" },
		{ (char *)"not-after", (char *)(uintptr_t)ch_time_text(NOW + 90 * CH_DAY, not_after) },
	};

	fixture->service = "ocsp";
	fixture->instance = "ocsp-2";
	have_approved(fixture, CHANCERY__ACTION_KIND__ACTION_SERVICE_IDENTITY, ch_view_of(&tbs), more,
		      CH_COUNT(more));
	assert_false(ask(fixture, purpose_service_identity, ch_view_of(&tbs), (struct ch_view)CH_NONE));
	assert_refused(fixture, "identity", "a daemon renews its own alone");
}

static void an_identity_is_within_the_system_cas_validity(void **state)
{
	struct fixture *fixture = *state;

	fixture->key.ca_not_after_us = NOW + 90 * CH_DAY;
	assert_true(ask_identity(fixture, &right, "ocsp", "ocsp-1"));
	fixture->key.ca_not_after_us = NOW + 90 * CH_DAY - CH_SECOND;
	assert_false(ask_identity(fixture, &right, "ocsp", "ocsp-1"));
	assert_refused(fixture, "validity", "is beyond the CA's");
	fixture->key.ca_not_after_us = 0;
	assert_false(ask_identity(fixture, &right, "ocsp", "ocsp-1"));
	assert_refused(fixture, "no-ca-certificate", "has no CA certificate yet");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_daemon_renews_its_own_identity),
		WITH_KEY(nobody_gets_the_identity_of_another),
		WITH_KEY(a_renewal_keeps_its_names_to_the_octet),
		WITH_KEY(a_renewal_keeps_its_subject),
		WITH_KEY(an_operator_needs_approvals_for_any),
		WITH_KEY(names_have_1_to_63_characters),
		WITH_KEY(each_rule_of_an_identity_is_held),
		WITH_KEY(a_keys_policy_may_allow_less_time),
		WITH_KEY(an_operator_makes_any_that_officers_approved),
		WITH_KEY(a_daemon_gets_no_other_identity_with_approvals_either),
		WITH_KEY(an_identity_is_within_the_system_cas_validity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
