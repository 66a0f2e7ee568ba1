/* SPDX-License-Identifier: Apache-2.0 */
/* unmet_test.c: what a CSR asks for and does not get is named, each wish once and none that is met. */
#include "issuer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is unmet of a request for a P-256 key with these extensions of OpenSSL's text form, joined by "; ". */
static char *unmet_of(const char *profile_text, const char *const wishes[], struct ch_error *err)
{
	struct fixture fixture;
	CH_AUTO(ch_profile) profile = CH_NONE;
	CH_AUTO(ch_csr) csr = CH_NONE;
	CH_AUTO(ch_unmet) unmet = CH_NONE;
	CH_AUTO(ch_buffer) text = CH_NONE;
	X509_REQ *request = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	EVP_PKEY *key = fixture_key("ecdsa-p256");
	CONF *conf = NCONF_new(NULL);
	X509V3_CTX context;
	struct ch_bytes der = CH_NONE;
	bool found;

	X509V3_set_ctx(&context, NULL, NULL, NULL, NULL, 0);
	X509V3_set_nconf(&context, conf);
	fixture_begin(&fixture);
	fixture_profile(&profile, profile_text);
	for (size_t i = 0; wishes[i]; i += 2) {
		X509_EXTENSION *extension = X509V3_EXT_nconf(conf, &context, wishes[i], wishes[i + 1]);

		assert_non_null(extension);
		sk_X509_EXTENSION_push(extensions, extension);
	}
	if (sk_X509_EXTENSION_num(extensions) > 0)
		assert_true(X509_REQ_add_extensions(request, extensions));
	assert_true(X509_REQ_set_pubkey(request, key) && X509_REQ_sign(request, key, EVP_sha256()) > 0);
	der.size = (size_t)i2d_X509_REQ(request, &der.data);
	assert_true(ch_csr_read(ch_view_of(&der), &csr, err));
	found = ch_unmet_find(&profile, &csr, &csr.sans, &unmet, err);
	for (size_t i = 0; i < unmet.count; i++)
		ch_buffer_printf(&text, "%s%s", i ? "; " : "", unmet.items[i]);
	ch_bytes_free(&der);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(request);
	NCONF_free(conf);
	EVP_PKEY_free(key);
	fixture_end(&fixture);
	return found ? ch_buffer_steal_text(&text) : NULL;
}

#define SERVER                                                                                         \
	"key_usage: [digitalSignature, keyEncipherment]\nextended_key_usage: [serverAuth]\npolicies: " \
	"[1.2.3.4]\n"

static void assert_unmet(const char *const wishes[], const char *expected)
{
	struct ch_error err = CH_NONE;
	CH_AUTO(ch_string) text = unmet_of(SERVER, wishes, &err);

	if (!text)
		fail_msg("%s", err.message);
	assert_string_equal(text, expected);
}

static void what_is_given_is_not_named(void **state)
{
	assert_unmet((const char *const[]){ NULL }, "");
	assert_unmet((const char *const[]){ "keyUsage", "digitalSignature", "extendedKeyUsage", "serverAuth",
					    "basicConstraints", "CA:FALSE", "subjectAltName", "DNS:a.example",
					    "certificatePolicies", "1.2.3.4", NULL },
		     "");
}

static void each_wish_that_is_not_met_is_named(void **state)
{
	/* a P-256 key does not encipher, whatever the profile says */
	assert_unmet(
		(const char *const[]){ "keyUsage", "digitalSignature,keyEncipherment,keyCertSign", NULL },
		"keyUsage keyEncipherment; keyUsage keyCertSign");
	assert_unmet((const char *const[]){ "keyUsage", "decipherOnly,encipherOnly", NULL },
		     "keyUsage encipherOnly; keyUsage decipherOnly");
	assert_unmet((const char *const[]){ "extendedKeyUsage", "serverAuth,clientAuth,1.2.3", NULL },
		     "extendedKeyUsage clientAuth; extendedKeyUsage 1.2.3");
	assert_unmet((const char *const[]){ "tlsfeature", "status_request", NULL },
		     "tlsfeature (must-staple)");
	assert_unmet((const char *const[]){ "certificatePolicies", "1.2.3.4,1.2.3.5", NULL },
		     "certificatePolicies 1.2.3.5");
	assert_unmet((const char *const[]){ "subjectKeyIdentifier", "00:11", NULL }, "subjectKeyIdentifier");
	assert_unmet((const char *const[]){ "1.2.3.9", "ASN1:NULL", NULL }, "extension 1.2.3.9");
}

static void a_wish_that_does_not_decode_is_refused(void **state)
{
	struct ch_error err = CH_NONE;
	CH_AUTO(ch_string)
	usage = unmet_of(SERVER, (const char *const[]){ "keyUsage", "DER:05:00", NULL }, &err);

	assert_null(usage);
	assert_int_equal(err.code, CH_INVALID);
	CH_AUTO(ch_string)
	extended =
		unmet_of(SERVER, (const char *const[]){ "extendedKeyUsage", "DER:30:02:05:00", NULL }, &err);
	assert_null(extended);
}

/* Names beside the CSR stand instead of its own. */
static void names_that_were_replaced_are_named(void **state)
{
	struct fixture fixture;
	CH_AUTO(ch_profile) profile = CH_NONE;
	CH_AUTO(ch_csr) csr = CH_NONE;
	CH_AUTO(ch_sans) sans = CH_NONE;
	CH_AUTO(ch_unmet) unmet = CH_NONE;
	EVP_PKEY *key = fixture_key("ecdsa-p256");
	struct ch_bytes der = fixture_csr(key, "CN=a", "DNS:a.example,DNS:b.example", false);

	fixture_begin(&fixture);
	fixture_profile(&profile, SERVER);
	assert_true(ch_csr_read(ch_view_of(&der), &csr, NULL));
	assert_true(ch_sans_add(&sans, "dns", "b.example", NULL));
	assert_true(ch_unmet_find(&profile, &csr, &sans, &unmet, NULL));
	assert_int_equal(unmet.count, 1);
	assert_string_equal(unmet.items[0], "subjectAltName dns:a.example");
	ch_bytes_free(&der);
	EVP_PKEY_free(key);
	fixture_end(&fixture);
}

static void so_many_are_told_and_no_more(void **state)
{
	CH_AUTO(ch_profile) profile = CH_NONE;
	CH_AUTO(ch_unmet) unmet = CH_NONE;
	struct ch_csr csr = CH_NONE;
	struct ch_sans none = CH_NONE;

	fixture_profile(&profile, SERVER);
	for (int i = 0; i < 100; i++) {
		CH_AUTO(ch_string) name = ch_format("n%d.example", i);

		assert_true(ch_sans_add(&csr.sans, "dns", name, NULL));
	}
	assert_true(ch_unmet_find(&profile, &csr, &none, &unmet, NULL));
	assert_int_equal(unmet.count, CH_UNMET_MAX);
	assert_string_equal(unmet.items[CH_UNMET_MAX - 1], "and more");
	ch_csr_free(&csr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_given_is_not_named),
		cmocka_unit_test(each_wish_that_is_not_met_is_named),
		cmocka_unit_test(a_wish_that_does_not_decode_is_refused),
		cmocka_unit_test(names_that_were_replaced_are_named),
		cmocka_unit_test(so_many_are_told_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
