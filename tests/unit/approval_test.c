/* SPDX-License-Identifier: Apache-2.0 */
/* What an officer's command refuses to approve: a TBSCertificate that is not what the CA document asks for.
 */
#include "approval.h"
#include "x509/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const char document_text[] =
	"name: example\nsubject: \"CN=Example CA,O=Example,C=CH\"\nkey: ecdsa-p256\n"
	"validity: 1y\npath_length: 0\nurls: {ocsp: \"http://x/\"}\n";

struct wish {
	const char *subject;
	const char *issuer;
	const char *curve;
	const char *basic_constraints;
	const char *key_usage;
	int days;
};
static const struct wish right = { "CN=Example CA,O=Example,C=CH", "CN=Example CA,O=Example,C=CH", "P-256",
				   "critical,CA:TRUE,pathlen:0",   "critical,keyCertSign,cRLSign", 365 };

static void set_name(X509 *certificate, const char *text, int (*set)(X509 *, const X509_NAME *))
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_error err;
	const uint8_t *at;
	CH_AUTO(X509_NAME) name = NULL;

	assert_true(ch_name_parse(text, &der, &err));
	at = der.data;
	name = d2i_X509_NAME(NULL, &at, (long)der.size);
	assert_true(name && set(certificate, name));
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_true(extension && X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

/* The TBSCertificate of a wish; the caller frees it. */
static struct ch_bytes make_tbs(const struct wish *wish)
{
	CH_AUTO(X509) certificate = X509_new();
	CH_AUTO(EVP_PKEY) key = EVP_EC_gen(wish->curve);
	struct ch_bytes tbs = CH_NONE;
	unsigned char *der = NULL;
	int size;

	assert_true(certificate && key && X509_set_version(certificate, X509_VERSION_3));
	assert_true(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7));
	set_name(certificate, wish->subject, X509_set_subject_name);
	set_name(certificate, wish->issuer, X509_set_issuer_name);
	assert_true(X509_gmtime_adj(X509_getm_notBefore(certificate), 0) &&
		    X509_time_adj_ex(X509_getm_notAfter(certificate), wish->days, 0, NULL));
	assert_true(X509_set_pubkey(certificate, key));
	add_extension(certificate, NID_basic_constraints, wish->basic_constraints);
	add_extension(certificate, NID_key_usage, wish->key_usage);
	assert_true(X509_sign(certificate, key, EVP_sha256()));
	size = i2d_re_X509_tbs(certificate, &der);
	assert_true(size > 0);
	tbs = ch_bytes_copy(ch_view(der, (size_t)size));
	OPENSSL_free(der);
	return tbs;
}

static bool check(const struct wish *wish, struct ch_error *err)
{
	CH_AUTO(ch_bytes) tbs = make_tbs(wish);
	CH_AUTO(document) document = CH_NONE;
	CH_AUTO(X509) certificate = NULL;

	assert_true(document_read(ch_view_text(document_text), "test", &document, err));
	assert_true(approval_open(ch_view_of(&tbs), &certificate, err));
	return approval_check(certificate, &document, NULL, err);
}

static void assert_refused(const struct wish *wish, const char *why)
{
	struct ch_error err = CH_NONE;

	assert_false(check(wish, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, why));
}

static void what_the_document_asks_for_is_accepted(void **state)
{
	struct ch_error err = CH_NONE;

	if (!check(&right, &err))
		fail_msg("%s", err.message);
}

static void another_subject_is_refused(void **state)
{
	struct wish wish = right;

	wish.subject = wish.issuer = "CN=Other CA,O=Example,C=CH";
	assert_refused(&wish, "subject");
}

static void another_issuer_than_the_root_itself_is_refused(void **state)
{
	struct wish wish = right;

	wish.issuer = "CN=Somebody,C=CH";
	assert_refused(&wish, "issuer");
}

static void another_key_is_refused(void **state)
{
	struct wish wish = right;

	wish.curve = "P-384";
	assert_refused(&wish, "ecdsa-p384, the document asks for ecdsa-p256");
}

static void a_longer_path_is_refused(void **state)
{
	struct wish wish = right;

	wish.basic_constraints = "critical,CA:TRUE,pathlen:3";
	assert_refused(&wish, "path length is 3, the document's 0");
	wish.basic_constraints = "critical,CA:TRUE";
	assert_refused(&wish, "path length is -1");
}

static void a_certificate_that_is_of_no_ca_is_refused(void **state)
{
	struct wish wish = right;

	wish.basic_constraints = "critical,CA:FALSE";
	assert_refused(&wish, "not of a CA");
}

static void more_key_usage_is_refused(void **state)
{
	struct wish wish = right;

	wish.key_usage = "critical,keyCertSign,cRLSign,digitalSignature";
	assert_refused(&wish, "key usage");
}

static void a_longer_validity_is_refused(void **state)
{
	struct wish wish = right;

	wish.days = 400;
	assert_refused(&wish, "validity");
}

static void bytes_that_are_no_certificate_are_not_opened(void **state)
{
	X509 *certificate = NULL;
	struct ch_error err = CH_NONE;

	assert_false(approval_open(ch_view_text("nothing of the kind"), &certificate, &err));
	assert_null(certificate);
}

static void durations_of_documents(void **state)
{
	int64_t seconds = 0;
	struct ch_error err;

	assert_true(document_seconds("90d", &seconds, &err));
	assert_int_equal(seconds, 90 * 86400);
	assert_true(document_seconds("5y", &seconds, &err));
	assert_int_equal(seconds, INT64_C(5) * 365 * 86400);
	assert_false(document_seconds("5", &seconds, &err));
	assert_false(document_seconds("-1d", &seconds, &err));
	assert_false(document_seconds("1dd", &seconds, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_document_asks_for_is_accepted),
		cmocka_unit_test(another_subject_is_refused),
		cmocka_unit_test(another_issuer_than_the_root_itself_is_refused),
		cmocka_unit_test(another_key_is_refused),
		cmocka_unit_test(a_longer_path_is_refused),
		cmocka_unit_test(a_certificate_that_is_of_no_ca_is_refused),
		cmocka_unit_test(more_key_usage_is_refused),
		cmocka_unit_test(a_longer_validity_is_refused),
		cmocka_unit_test(bytes_that_are_no_certificate_are_not_opened),
		cmocka_unit_test(durations_of_documents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
