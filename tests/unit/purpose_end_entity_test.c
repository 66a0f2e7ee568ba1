/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_end_entity_test.c: which end-entity certificates are signed, and which refused. */
#include "purpose_certificate.h"

static void an_end_entity_certificate_is_signed(void **state)
{
	struct fixture *fixture = *state;

	if (!ask_certificate(fixture, purpose_end_entity, &good_certificate))
		fail_msg("%s", fixture->err.message);
	assert_string_equal(fixture->check.subject, "4a777777777777777777777777777777");
	assert_int_equal(fixture->check.number.size, 0);
	assert_false(fixture->check.sets_ca_limits);
}

static void basic_constraints_without_ca_are_signed(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.ca = 2;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
}

/* One field of a good certificate changed; what is said about it. */
static void each_rule_of_an_end_entity_certificate_is_held(void **state)
{
	struct fixture *fixture = *state;
	const struct tbs_options good = good_certificate;
	struct {
		struct tbs_options options;
		const char *reason, *words;
	} cases[] = {
		{ good, "malformed", "only v3 is signed" },
		{ good, "serial", "serial number is 21 octets, at most 20 allowed" },
		{ good, "serial", "serial number is not positive" },
		{ good, "serial", "serial number is not positive" },
		{ good, "algorithm", "TBSCertificate.signature is not ecdsa-with-SHA256" },
		{ good, "issuer", "issuer is 'CN=Another CA'" },
		{ good, "validity", "is after notAfter" },
		{ good, "validity", "has passed" },
		{ good, "validity", "is beyond the CA's" },
		{ good, "validity", "is before the CA's" },
		{ good, "ca-true", "basicConstraints has cA TRUE" },
		{ good, "key-usage", "keyUsage has keyCertSign" },
		{ good, "key-usage", "keyUsage has cRLSign" },
		{ good, "malformed", "an extension stands twice" },
		{ good, "malformed", "cA is FALSE, which DER leaves out" },
		{ good, "malformed", "TBSCertificate.extensions" },
		{ good, "malformed", "follow its end" },
		{ good, "malformed", "Extension.extnValue" },
	};

	cases[0].options.version = 1;
	cases[1].options.serial_size = 21;
	cases[2].options.serial_first = 0x80;
	cases[3].options.serial_size = 1;
	cases[3].options.serial_first = 0;
	cases[4].options.algorithm = "ecdsa-p384";
	cases[5].options.issuer = "CN=Another CA";
	cases[6].options.not_before_us = NOW + 91 * CH_DAY;
	cases[7].options.not_before_us = NOW - CH_HOUR;
	cases[7].options.not_after_us = NOW - CH_SECOND;
	cases[8].options.not_after_us = NOW + 1001 * CH_DAY;
	cases[9].options.not_before_us = NOW - 2 * CH_DAY;
	cases[10].options.ca = 1;
	cases[11].options.key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN;
	cases[12].options.key_usage = KU_CRL_SIGN;
	cases[13].options.duplicate = true;
	cases[14].options.explicit_false = true;
	cases[15].options.unique_id = true;
	cases[16].options.trailing = true;
	cases[17].options.unparsable = true;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_certificate(fixture, purpose_end_entity, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* What the vault would sign for a responder of its own, it signs for nobody else (RFC 6960 §4.2.2.2, RFC 3161
 * §2.3). */
static void a_responders_certificate_is_only_for_a_key_of_this_vault(void **state)
{
	static const char ocsp[] = "1.3.6.1.5.5.7.3.9", time[] = "1.3.6.1.5.5.7.3.8",
			  web[] = "1.3.6.1.5.5.7.3.1";
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.extended_key_usage[0] = web;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options)); /* any key of anybody's */
	options.extended_key_usage[0] = time;
	assert_true(ask_certificate(fixture, purpose_end_entity,
				    &options)); /* anybody's time-stamping authority */
	options.extended_key_usage[1] = ocsp;
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "extended-key-usage",
		       "is not an OCSP key of this vault and tenant 'default'");
	assert_int_equal(fixture->err.code, CH_DENIED);
	options.extended_key_usage[0] = "";
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "malformed", "extendedKeyUsage is empty");

	/* A key of the vault, but a CA's; then one for OCSP; then another tenant's. */
	options.extended_key_usage[0] = ocsp;
	options.extended_key_usage[1] = NULL;
	options.key_fill = 0x22;
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "extended-key-usage", "is not an OCSP key of this vault");
	fixture->subordinate.purposes = 1u << CHANCERY__PURPOSE__PURPOSE_OCSP;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
	strcpy(fixture->subordinate.tenant, "other");
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "extended-key-usage", "is not an OCSP key of this vault");
}

static void a_certificate_for_the_issuing_key_itself_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.key_fill = 0x11;
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "subject-key", "the public key is the issuing CA's own");
}

static void a_key_without_a_ca_certificate_issues_nothing(void **state)
{
	struct fixture *fixture = *state;

	fixture->key.ca_not_after_us = 0;
	assert_false(ask_certificate(fixture, purpose_end_entity, &good_certificate));
	assert_refused(fixture, "no-ca-certificate", "has no CA certificate yet");
}

/* Whatever octet is cut off or changed, the reader neither crashes nor takes a longer or shorter structure.
 */
static void a_truncated_certificate_is_refused_at_every_length(void **state)
{
	struct fixture *fixture = *state;
	struct ch_view whole = make_tbs(fixture, &good_certificate);

	for (size_t size = 0; size < whole.size; size++) {
		uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees an octet too far */

		memcpy(exact, whole.data, size);
		assert_false(ask(fixture, purpose_end_entity, ch_view(exact, size), (struct ch_view)CH_NONE));
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(an_end_entity_certificate_is_signed),
		WITH_KEY(basic_constraints_without_ca_are_signed),
		WITH_KEY(each_rule_of_an_end_entity_certificate_is_held),
		WITH_KEY(a_responders_certificate_is_only_for_a_key_of_this_vault),
		WITH_KEY(a_certificate_for_the_issuing_key_itself_is_refused),
		WITH_KEY(a_key_without_a_ca_certificate_issues_nothing),
		WITH_KEY(a_truncated_certificate_is_refused_at_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
