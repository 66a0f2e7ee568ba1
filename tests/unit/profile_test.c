/* SPDX-License-Identifier: Apache-2.0 */
/* profile_test.c: what certificate profiles and CA documents may say, and how a wrong one is told. */
#include "issuance/issuance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ch_error profile_error(const char *text)
{
	CH_AUTO(ch_profile) profile = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(ch_profile_read(ch_view_text(text), &profile, &err));
	return err;
}

static struct ch_error ca_error(const char *text)
{
	CH_AUTO(ch_ca_document) document = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(ch_ca_document_read(ch_view_text(text), &document, &err));
	return err;
}

static void assert_says(struct ch_error err, const char *part)
{
	if (err.code != CH_INVALID || !strstr(err.message, part))
		fail_msg("'%s' (code %d) does not say '%s'", err.message, (int)err.code, part);
}

#define HEAD  "name: p\nvalidity: { default: 1d, maximum: 2d }\n"
#define KEYS  "keys: [ecdsa-p256]\n"
#define USAGE "key_usage: [digitalSignature]\n"

static void a_profile_reads_into_what_the_issuer_needs(void **state)
{
	CH_AUTO(ch_profile) profile = CH_NONE;
	struct ch_error err = CH_NONE;

	if (!ch_profile_read(ch_view_text(HEAD KEYS "key_usage: [digitalSignature, keyEncipherment]\n"
						    "extended_key_usage: [serverAuth, 1.2.3.4]\n"
						    "policies: ['2.23.140.1.2.1']\n"),
			     &profile, &err))
		fail_msg("%s", err.message);
	assert_string_equal(profile.name, "p");
	assert_int_equal(profile.kind, CH_KIND_END_ENTITY);
	assert_int_equal(profile.key_usage, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
	assert_string_equal(profile.extended_key_oids[0], "1.3.6.1.5.5.7.3.1");
	assert_string_equal(profile.extended_key_oids[1], "1.2.3.4");
	assert_true(profile.validity.backdate_us == CH_MINUTE);
	assert_true(profile.subject_alt_names.maximum == 100);
}

static void an_unknown_key_is_named_with_its_line(void **state)
{
	assert_says(profile_error(HEAD KEYS USAGE "extended_usage: []\n"),
		    "line 5: unknown key 'extended_usage'");
}

static void contradictions_are_refused(void **state)
{
	assert_says(profile_error("name: P\nvalidity: { default: 1d, maximum: 2d }\n" KEYS USAGE),
		    "profile name 'P'");
	assert_says(profile_error("name: p\nvalidity: { default: 3d, maximum: 2d }\n" KEYS USAGE),
		    "longer than");
	assert_says(profile_error(HEAD "keys: [rsa-1024]\n" USAGE), "unknown algorithm 'rsa-1024'");
	assert_says(profile_error(HEAD KEYS "key_usage: [keyCertSign]\n"), "keyCertSign");
	assert_says(profile_error(HEAD KEYS USAGE "extended_key_usage: [serverauth]\n"), "'serverauth'");
	assert_says(profile_error(HEAD KEYS USAGE "extended_key_usage: [serverAuth, 1.3.6.1.5.5.7.3.1]\n"),
		    "twice");
	assert_says(profile_error(HEAD KEYS USAGE "subject: { allowed: [CN], required: [O] }\n"),
		    "'O' is not in");
	assert_says(profile_error(HEAD KEYS USAGE "subject: { allowed: [XX] }\n"), "unknown attribute 'XX'");
	assert_says(profile_error(HEAD KEYS USAGE "subject_alt_names: { minimum: 1 }\n"), "allowed is empty");
	assert_says(profile_error(HEAD KEYS USAGE
				  "subject_alt_names: { allowed: [dns], minimum: 3, maximum: 2 }\n"),
		    "minimum 3 is over maximum 2");
	assert_says(profile_error(HEAD KEYS USAGE "policies: [1.99]\n"), "policies '1.99'");
}

/* Whoever holds a certificate with OCSPSigning speaks for the CA (RFC 6960 §4.2.2.2). */
static void an_end_entity_profile_cannot_make_responders_or_tsas(void **state)
{
	assert_says(profile_error(HEAD KEYS USAGE "extended_key_usage: [OCSPSigning]\n"),
		    "not for kind end-entity");
	assert_says(profile_error(HEAD KEYS USAGE "extended_key_usage: [serverAuth, 1.3.6.1.5.5.7.3.8]\n"),
		    "not for kind end-entity");
	assert_says(profile_error(HEAD KEYS USAGE "extended_key_usage: [2.5.29.37.0]\n"),
		    "not for kind end-entity");
	assert_says(profile_error(HEAD KEYS USAGE "kind: ocsp-responder\n"), "exactly one");
	assert_says(
		profile_error(HEAD KEYS USAGE "kind: tsa\nextended_key_usage: [timeStamping, clientAuth]\n"),
		"exactly one");
}

#define CA "name: c\nsubject: 'CN=C,O=Example'\nkey: ecdsa-p256\nvalidity: 5y\n"

static void a_ca_document_reads_with_its_defaults(void **state)
{
	CH_AUTO(ch_ca_document) ca = CH_NONE;
	struct ch_error err = CH_NONE;

	if (!ch_ca_document_read(ch_view_text(CA), &ca, &err))
		fail_msg("%s", err.message);
	assert_null(ca.parent);
	assert_true(ca.path_length == -1);
	assert_true(ca.crl.interval_us == CH_HOUR && ca.crl.validity_us == CH_DAY);
	assert_string_equal(ca.urls.ocsp, "");
	assert_null(ca.ocsp_responder.key);
	assert_null(ca.timestamp_authority.key);
}

static void a_signer_section_makes_a_signer(void **state)
{
	CH_AUTO(ch_ca_document) ca = CH_NONE;
	struct ch_error err = CH_NONE;

	if (!ch_ca_document_read(ch_view_text(CA
					      "ocsp_responder: { key: ecdsa-p256 }\n"
					      "timestamp_authority: { key: rsa-3072, policies: [1.2.3] }\n"),
				 &ca, &err))
		fail_msg("%s", err.message);
	assert_true(ca.ocsp_responder.validity_us == 7 * CH_DAY); /* short: RFC 6960 §4.2.2.2.1 */
	assert_string_equal(ca.timestamp_authority.policies.items[0], "1.2.3");
	assert_says(ca_error(CA "timestamp_authority: { key: rsa-3072 }\n"), "policies");
}

static void wrong_ca_documents_are_refused(void **state)
{
	assert_says(ca_error("name: c\nsubject: 'XX=C'\nkey: ecdsa-p256\nvalidity: 5y\n"), "subject");
	assert_says(ca_error("name: c\nsubject: ''\nkey: ecdsa-p256\nvalidity: 5y\n"), "subject");
	assert_says(ca_error("name: c\nsubject: 'CN=C'\nkey: dsa\nvalidity: 5y\n"),
		    "unknown algorithm 'dsa'");
	assert_says(ca_error(CA "parent: c\n"), "leave it out for a root");
	assert_says(ca_error(CA "urls: { ocsp: 'https://x/' }\n"), "urls.ocsp");
	assert_says(ca_error(CA "urls: { crl: 'http://x/a b' }\n"), "urls.crl");
	assert_says(ca_error(CA "crl: { interval: 2h, validity: 1h }\n"), "would expire before the next");
	assert_says(ca_error(CA "path_length: 99\n"), "path_length");
	assert_says(ca_error(CA "ocsp_responder: { key: foo }\n"), "ocsp_responder.key");
}

static void a_signers_name_is_the_cas_with_a_suffix(void **state)
{
	CH_AUTO(ch_bytes) ca = CH_NONE, responder = CH_NONE, longer = CH_NONE, long_ca = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	CH_AUTO(ch_string) long_text = NULL;

	assert_true(ch_name_parse("CN=Example CA,O=Example,C=CH", &ca, NULL));
	assert_true(ch_subject_with_suffix(ch_view_of(&ca), "OCSP Responder", &responder, NULL));
	text = ch_name_text(ch_view_of(&responder));
	assert_string_equal(text, "CN=Example CA OCSP Responder,O=Example,C=CH");

	/* 64 characters are the most (RFC 5280 appendix A): the CA's part gives way, at a character. */
	assert_true(ch_name_parse("CN=0123456789012345678901234567890123456789012345678\xc3\xa9\xc3\xa9",
				  &long_ca, NULL));
	assert_true(ch_subject_with_suffix(ch_view_of(&long_ca), "OCSP Responder", &longer, NULL));
	long_text = ch_name_text(ch_view_of(&longer));
	assert_string_equal(long_text, "CN=0123456789012345678901234567890123456789012345678 OCSP Responder");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_profile_reads_into_what_the_issuer_needs),
		cmocka_unit_test(an_unknown_key_is_named_with_its_line),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(an_end_entity_profile_cannot_make_responders_or_tsas),
		cmocka_unit_test(a_ca_document_reads_with_its_defaults),
		cmocka_unit_test(a_signer_section_makes_a_signer),
		cmocka_unit_test(wrong_ca_documents_are_refused),
		cmocka_unit_test(a_signers_name_is_the_cas_with_a_suffix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
