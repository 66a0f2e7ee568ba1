/* SPDX-License-Identifier: Apache-2.0 */
/* officer_key_test.c: the key that an officer approves with: opened with its certificate, and what it signs.
 */
#include "officer_key.h"

#include "file_ca.h"
#include "x509/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

CH_DEFINE_AUTO_POINTER(test_key_context, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

struct fixture {
	char directory[64];
	char officer[96], officer_key[96], requester[96], requester_key[96];
};

static void issue(const struct fixture *f, const char *name, const char *role, char certificate[96],
		  char key[96])
{
	CH_AUTO(ch_string) names = ch_format("URI:chancery:operator/default/%s/%s", role, name);
	struct ch_error err = CH_NONE;

	snprintf(certificate, 96, "%s/%s.pem", f->directory, name);
	snprintf(key, 96, "%s/%s.key", f->directory, name);
	assert_true(file_ca_issue(&(struct file_ca_request){ .directory = f->directory,
							     .name = "operators-ca",
							     .common_name = name,
							     .subject_alt_names = names,
							     .extended_key_usage = "clientAuth",
							     .days = 1,
							     .certificate_path = certificate,
							     .key_path = key },
				  &err));
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_error err = CH_NONE;

	snprintf(f->directory, sizeof(f->directory), "/tmp/officer_key_test-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	assert_true(file_ca_init(f->directory, "operators-ca", "Test Operators CA", 2, &err));
	issue(f, "alice", "officer", f->officer, f->officer_key);
	issue(f, "bob", "requester", f->requester, f->requester_key);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) command = ch_format("rm -r '%s'", f->directory);

	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void an_officer_signs_the_sha256_of_the_document(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(officer_key) key = NULL;
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(test_key_context) context = NULL;
	struct ch_error err = CH_NONE;
	uint8_t digest[64];
	size_t size;

	assert_true(officer_key_open(f->officer, f->officer_key, &key, &err));
	assert_string_equal(officer_key_holder(key)->name, "alice");
	assert_true(ch_certificate_read(officer_key_certificate(key), &certificate, &err));
	assert_true(officer_key_sign(key, ch_view_text("a document"), &signature, &err));
	assert_true(ch_digest("sha256", ch_view_text("a document"), digest, &size, &err));
	context = EVP_PKEY_CTX_new(X509_get0_pubkey(certificate), NULL);
	assert_true(context && EVP_PKEY_verify_init(context) == 1);
	assert_int_equal(EVP_PKEY_verify(context, signature.data, signature.size, digest, size), 1);
	digest[0] ^= 1;
	assert_int_not_equal(EVP_PKEY_verify(context, signature.data, signature.size, digest, size), 1);
}

static void a_requester_is_told_that_they_cannot_approve(void **state)
{
	struct fixture *f = *state;
	struct officer_key *key = NULL;
	struct ch_error err = CH_NONE;

	assert_false(officer_key_open(f->requester, f->requester_key, &key, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, "operator 'bob' is no officer"));
	assert_null(key);
}

static void a_key_of_somebody_else_is_refused_before_it_signs(void **state)
{
	struct fixture *f = *state;
	struct officer_key *key = NULL;
	struct ch_error err = CH_NONE;

	assert_false(officer_key_open(f->officer, f->requester_key, &key, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_non_null(strstr(err.message, "is not the key of officer 'alice's certificate"));
	assert_null(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_officer_signs_the_sha256_of_the_document),
		cmocka_unit_test(a_requester_is_told_that_they_cannot_approve),
		cmocka_unit_test(a_key_of_somebody_else_is_refused_before_it_signs),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
