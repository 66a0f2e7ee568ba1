/* SPDX-License-Identifier: Apache-2.0 */
/* lint_test.c: each check of lint.c finds its own fault in bytes that differ from a good certificate by that
 * alone. */
#include "issuer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A TBSCertificate written here, by a writer that can be told what to get wrong. */
struct bad {
	bool v1, twice, negative, no_constraints_critical, no_aki, odd_critical, local_time_form,
		ocsp_nocheck;
	bool ca_true, san_critical, cert_sign, crl_sign, empty_subject, backwards, other_issuer,
		other_algorithm, skip_ski, printable_subject, compressed_key, chosen_parameters;
	bool encipher, agree, repudiates, policies, rsa, cn_from_san;
	const char *san; /* GeneralNames */
	size_t serial_size;
};

struct lint_fixture {
	struct fixture fixture;
	struct ch_bytes subject, key;
};

static void put_extensions(struct ch_der_writer *w, const struct lint_fixture *f, const struct bad *bad)
{
	static const uint8_t null[] = { 5, 0 };
	static const uint8_t names[] = { 0x30, 0x03, 0x82, 0x01, 'a' };
	static const char *const server_auth[] = { "1.3.6.1.5.5.7.3.1" };
	static const char *const any_policy[] = { "2.5.29.32.0" };
	static const uint8_t constraints[] = { 0x30, 0x03, 0x01, 0x01, 0xff };
	uint8_t identifier[64];
	size_t size;

	assert_true(ch_key_identifier(ch_view_of(&f->key), "sha1", identifier, &size, NULL));
	if (bad->skip_ski)
		identifier[0] ^= 1;
	ch_extension_subject_key_identifier(w, ch_view(identifier, size));
	if (!bad->no_aki)
		ch_extension_authority_key_identifier(w, ch_view_of(&f->fixture.ca.key_identifier));
	if (bad->ca_true)
		ch_extension_put(w, "2.5.29.19", !bad->no_constraints_critical,
				 ch_view(constraints, sizeof(constraints)));
	ch_extension_key_usage(w, bad->cert_sign    ? KU_KEY_CERT_SIGN
				  : bad->crl_sign   ? KU_DIGITAL_SIGNATURE | KU_CRL_SIGN
				  : bad->encipher   ? KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT
				  : bad->agree      ? KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT
				  : bad->repudiates ? KU_NON_REPUDIATION
						    : KU_DIGITAL_SIGNATURE);
	if (bad->repudiates)
		assert_true(ch_extension_extended_key_usage(w, false, server_auth, 1, NULL));
	if (bad->policies)
		assert_true(ch_extension_certificate_policies(w, any_policy, 1, NULL));
	if (bad->san)
		ch_extension_put(w, "2.5.29.17", false, ch_view_text(bad->san));
	if (bad->twice)
		ch_extension_key_usage(w, KU_DIGITAL_SIGNATURE);
	if (bad->san_critical)
		ch_extension_put(w, "2.5.29.17", true, ch_view(names, sizeof(names)));
	if (bad->odd_critical)
		ch_extension_put(w, "1.2.3.4", true, ch_view(null, sizeof(null)));
	if (bad->ocsp_nocheck)
		ch_extension_put(w, "1.3.6.1.5.5.7.48.1.5", false, ch_view(null, sizeof(null)));
}

static struct ch_bytes write_tbs(const struct lint_fixture *f, const struct bad *bad)
{
	CH_AUTO(ch_der_writer) w = CH_NONE;
	uint8_t serial[32];
	static const uint8_t empty[] = { 0x30, 0 };
	static const uint8_t printable[] = { 0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06,
					     0x03, 0x55, 0x04, 0x03, 0x13, 0x01, 'a' };

	memset(serial, bad->negative ? 0x80 : 0x11, sizeof(serial));
	ch_der_begin(&w, CH_DER_SEQUENCE);
	if (!bad->v1) {
		ch_der_begin(&w, CH_DER_CONTEXT_CONSTRUCTED(0));
		ch_der_put_uint64(&w, CH_DER_INTEGER, 2);
		ch_der_finish(&w);
	}
	ch_der_put(&w, CH_DER_INTEGER, ch_view(serial, bad->serial_size ? bad->serial_size : 16));
	ch_der_put_raw(
		&w,
		ch_algorithm_find(bad->other_algorithm ? "ecdsa-p384" : "ecdsa-p256")->signature_identifier);
	ch_der_put_raw(&w, ch_view_of(bad->other_issuer ? &f->subject : &f->fixture.ca.subject_der));
	ch_der_begin(&w, CH_DER_SEQUENCE);
	if (bad->local_time_form)
		ch_der_put_generalized_time(&w, NOW, false);
	else
		ch_der_put_time(&w, NOW);
	ch_der_put_time(&w, bad->backwards ? NOW - CH_DAY : NOW + CH_DAY);
	ch_der_finish(&w);
	ch_der_put_raw(&w, bad->empty_subject       ? ch_view(empty, 2)
			   : bad->printable_subject ? ch_view(printable, sizeof(printable))
						    : ch_view_of(&f->subject));
	ch_der_put_raw(&w, ch_view_of(&f->key));
	ch_der_begin(&w, CH_DER_CONTEXT_CONSTRUCTED(3));
	ch_der_begin(&w, CH_DER_SEQUENCE);
	put_extensions(&w, f, bad);
	ch_der_finish(&w);
	ch_der_finish(&w);
	ch_der_finish(&w);
	return ch_der_done(&w);
}

static struct ch_error lint(struct bad bad, bool as_ca, enum ch_profile_kind kind)
{
	struct lint_fixture f = CH_NONE;
	struct ch_template_signer signer;
	struct ch_lint_context context = { .signer = &signer, .kind = kind, .ca = as_ca };
	struct ch_error err = CH_NONE;
	struct ch_lint_token token;
	EVP_PKEY *key = fixture_key(bad.rsa ? "rsa-2048" : "ecdsa-p256");
	struct ch_bytes tbs;
	bool passed;

	context.common_name_from_san = bad.cn_from_san;
	fixture_begin(&f.fixture);
	signer = ch_template_signer_of(&f.fixture.ca);
	assert_true(ch_name_parse("CN=leaf", &f.subject, NULL));
	if (bad.compressed_key)
		EVP_PKEY_set_utf8_string_param(key, "point-format", "compressed");
	f.key.size = (size_t)i2d_PUBKEY(key, &f.key.data);
	if (bad.chosen_parameters)
		f.key.data[13] = CH_DER_OCTET_STRING; /* for the named curve */
	tbs = write_tbs(&f, &bad);
	passed = ch_lint_tbs(ch_view_of(&tbs), &context, &token, &err);
	assert_int_equal(passed, token.valid);
	if (passed)
		err = (struct ch_error)CH_NONE;
	ch_bytes_free(&tbs);
	ch_bytes_free(&f.subject);
	ch_bytes_free(&f.key);
	EVP_PKEY_free(key);
	fixture_end(&f.fixture);
	return err;
}

static void assert_finds(struct bad bad, const char *check)
{
	struct ch_error err = lint(bad, false, CH_KIND_END_ENTITY);

	if (err.code != CH_INTERNAL || !strstr(err.message, check))
		fail_msg("'%s' is not what %s should say", err.message, check);
}

static void a_good_certificate_passes(void **state)
{
	struct ch_error err = lint((struct bad)CH_NONE, false, CH_KIND_END_ENTITY);

	if (err.code != CH_OK)
		fail_msg("%s", err.message);
}

/* 64 bits behind two octets of its period, and the most that a reader must take. */
static void serials_of_9_and_20_octets_pass(void **state)
{
	assert_int_equal(lint((struct bad){ .serial_size = 9 }, false, CH_KIND_END_ENTITY).code, CH_OK);
	assert_int_equal(lint((struct bad){ .serial_size = 20 }, false, CH_KIND_END_ENTITY).code, CH_OK);
}

static void each_check_finds_its_fault(void **state)
{
	assert_finds((struct bad){ .v1 = true }, "lint version:");
	assert_finds((struct bad){ .negative = true }, "serial number is negative (RFC 5280 §4.1.2.2)");
	assert_finds((struct bad){ .serial_size = 21 }, "longer than 20 octets");
	assert_finds((struct bad){ .serial_size = 8 }, "64 random bits");
	assert_finds((struct bad){ .other_algorithm = true }, "lint signature_algorithm:");
	assert_finds((struct bad){ .other_issuer = true }, "lint issuer:");
	assert_finds((struct bad){ .local_time_form = true }, "lint time_encoding:");
	assert_finds((struct bad){ .backwards = true }, "lint validity:");
	assert_finds((struct bad){ .printable_subject = true }, "lint subject:");
	assert_finds((struct bad){ .compressed_key = true }, "lint public_key:");
	assert_finds((struct bad){ .chosen_parameters = true }, "lint public_key:");
	assert_finds((struct bad){ .twice = true }, "lint duplicate_extension:");
	assert_finds((struct bad){ .skip_ski = true }, "lint subject_key_identifier:");
	assert_finds((struct bad){ .no_aki = true }, "lint authority_key_identifier:");
	assert_finds((struct bad){ .ca_true = true }, "CA:TRUE in what is no CA certificate");
	assert_finds((struct bad){ .cert_sign = true }, "lint key_usage:");
	assert_finds((struct bad){ .crl_sign = true }, "lint key_usage:");
	assert_finds((struct bad){ .empty_subject = true }, "lint subject_alt_name:");
	assert_finds((struct bad){ .san_critical = true }, "critical beside a subject");
	assert_finds((struct bad){ .ocsp_nocheck = true }, "lint ocsp_responder:");
	assert_finds((struct bad){ .odd_critical = true }, "lint critical_extension:");
}

/* zlint's own names: who runs it over a certificate of ours finds nothing that we did not look for. */
static void rules_of_zlint_find_their_fault(void **state)
{
#define CN         "e_subject_common_name_not_exactly_from_san:"
#define NAME_LEAF  "\x30\x06\x82\x04leaf"
#define NAME_OTHER "\x30\x07\x82\x05other"
	assert_finds((struct bad){ .cn_from_san = true }, CN);
	assert_finds((struct bad){ .cn_from_san = true, .san = NAME_OTHER }, CN);
	assert_finds((struct bad){ .san = "\x30\x05\x82\x03"
					  "a_b" },
		     "e_ext_san_empty_name:");
	assert_finds((struct bad){ .san = "\x30\x0b\x82\x09xn--abc.a" }, "e_ext_san_empty_name:");
	assert_finds((struct bad){ .agree = true, .rsa = true }, "e_rsa_allowed_ku_ee:");
	assert_finds((struct bad){ .encipher = true }, "e_ecdsa_ee_invalid_ku:");
	assert_finds((struct bad){ .repudiates = true }, "e_key_usage_and_extended_key_usage_inconsistent:");
	assert_int_equal(lint((struct bad){ .cn_from_san = true, .san = NAME_LEAF }, false, 0).code, CH_OK);
	assert_int_equal(lint((struct bad){ .encipher = true, .rsa = true }, false, 0).code, CH_OK);
	assert_int_equal(lint((struct bad){ .agree = true }, false, 0).code, CH_OK);
#undef CN
#undef NAME_LEAF
#undef NAME_OTHER
}

static void a_ca_must_look_like_one(void **state)
{
	assert_non_null(strstr(lint((struct bad)CH_NONE, true, CH_KIND_END_ENTITY).message,
			       "basicConstraints is missing"));
	assert_non_null(strstr(
		lint((struct bad){ .ca_true = true, .no_constraints_critical = true }, true, 0).message,
		"not critical"));
	assert_non_null(strstr(lint((struct bad){ .ca_true = true }, true, 0).message, "lacks keyCertSign"));
	assert_non_null(strstr(
		lint((struct bad){ .ca_true = true, .cert_sign = true, .empty_subject = true }, true, 0)
			.message,
		"a CA's subject is empty"));
	assert_non_null(strstr(lint((struct bad){ .ca_true = true, .cert_sign = true }, true, 0).message,
			       "lint e_sub_ca_certificate_policies_missing:"));
	assert_int_equal(
		lint((struct bad){ .ca_true = true, .cert_sign = true, .policies = true }, true, 0).code,
		CH_OK);
}

static void a_signer_must_be_marked_as_one(void **state)
{
	assert_non_null(strstr(lint((struct bad)CH_NONE, false, CH_KIND_OCSP_RESPONDER).message,
			       "OCSPSigning alone"));
	assert_non_null(strstr(lint((struct bad)CH_NONE, false, CH_KIND_TSA).message, "timeStamping alone"));
}

static void cut_off_bytes_are_refused(void **state)
{
	struct ch_template_signer signer = CH_NONE;
	struct ch_lint_context context = { .signer = &signer };
	struct ch_lint_token token = { .valid = true };
	struct ch_error err = CH_NONE;

	assert_false(ch_lint_tbs(ch_view("\x30\x05\xa0\x03\x02\x01", 6), &context, &token, &err));
	assert_false(token.valid);
	assert_int_equal(err.code, CH_INTERNAL);
}

static void a_token_is_for_its_bytes_and_for_once(void **state)
{
	struct ch_lint_token token = CH_NONE;
	uint8_t digest[64];
	size_t size;

	assert_true(ch_digest("sha256", ch_view_text("tbs"), digest, &size, NULL));
	memcpy(token.tbs_sha256, digest, 32);
	token.valid = true;
	assert_true(ch_lint_spend(&token, ch_view_text("tbs"), NULL));
	assert_false(ch_lint_spend(&token, ch_view_text("tbs"), NULL));
	token.valid = true;
	assert_false(ch_lint_spend(&token, ch_view_text("other"), NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_certificate_passes),
		cmocka_unit_test(serials_of_9_and_20_octets_pass),
		cmocka_unit_test(each_check_finds_its_fault),
		cmocka_unit_test(rules_of_zlint_find_their_fault),
		cmocka_unit_test(a_ca_must_look_like_one),
		cmocka_unit_test(a_signer_must_be_marked_as_one),
		cmocka_unit_test(cut_off_bytes_are_refused),
		cmocka_unit_test(a_token_is_for_its_bytes_and_for_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
