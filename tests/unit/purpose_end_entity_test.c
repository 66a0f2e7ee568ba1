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
		{ good, "key-usage", "keyUsage is absent" },
		{ good, "extended-key-usage", "extendedKeyUsage has anyExtendedKeyUsage" },
		{ good, "validity", "is over 48 hours before" },
		{ good, "subject", "is the name of the issuer" },
		{ good, "subject", "is the name of the issuer" },
		{ good, "subject", "is the name of a CA of this tenant" },
		{ good, "subject", "is the name of a CA of this tenant" },
	};

	fixture->key.ca_not_before_us = NOW - 47 * CH_HOUR;
	cases[0].options.version = 1;
	cases[1].options.serial_size = 21;
	cases[2].options.serial_first = 0x80;
	cases[3].options.serial_size = 1;
	cases[3].options.serial_first = 0;
	cases[4].options.algorithm = "ecdsa-p384";
	cases[5].options.issuer = "CN=Another CA";
	cases[6].options.not_before_us = NOW + 91 * CH_DAY;
	cases[7].options.not_before_us = NOW - CH_HOUR;
	cases[7].options.not_after_us = NOW;
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
	cases[18].options.key_usage = 0;
	cases[19].options.extended_key_usage[0] = "1.3.6.1.5.5.7.3.1";
	cases[19].options.extended_key_usage[1] = "2.5.29.37.0";
	cases[20].options.not_before_us = NOW - 48 * CH_HOUR - CH_SECOND;
	cases[21].options.subject = CA_SUBJECT;
	cases[22].options.subject = "CN=  TEST  ca,O=eXample ,C=CH";
	cases[23].options.subject = "CN=Sub CA";
	cases[24].options.subject = "CN=sub   CA ";
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_certificate(fixture, purpose_end_entity, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* The name is unknown while the database is away; it is refused, not believed. */
static void a_name_that_cannot_be_compared_is_not_signed(void **state)
{
	struct fixture *fixture = *state;

	fixture->names_are_away = true;
	assert_false(ask_certificate(fixture, purpose_end_entity, &good_certificate));
	assert_refused(fixture, "unavailable", "no database");
	assert_int_equal(fixture->err.code, CH_UNAVAILABLE);
}

/* Two days to the second; whoever resends a request that was stored a while ago still gets it. */
static void a_certificate_begins_at_most_two_days_ago(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	fixture->key.ca_not_before_us = NOW - 100 * CH_DAY;
	options.not_before_us = NOW - 48 * CH_HOUR;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
	options.not_before_us -= CH_SECOND;
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "validity", "is over 48 hours before");
}

/* X.690 §11.2: else one reader sees a cRLSign where another sees none. */
static void key_usage_has_one_form(void **state)
{
	static const uint8_t hidden[] = { 0x03, 0x02, 0x02, 0x82 }, longer[] = { 0x03, 0x02, 0x00, 0x80 },
			     none[] = { 0x03, 0x02, 0x07, 0x00 };
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.key_usage = 0;
	options.usage = ch_view(hidden, sizeof(hidden));
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "malformed", "keyUsage has bits set that it calls unused");
	options.usage = ch_view(longer, sizeof(longer));
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "malformed", "keyUsage does not end with a bit that is set");
	options.usage = ch_view(none, sizeof(none));
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "malformed", "keyUsage does not end with a bit that is set");
}

/* id-kp-OCSPSigning with an octet more than DER has (X.690 §8.19.2): some read it, the check did not. */
static void a_purpose_has_one_form(void **state)
{
	static const uint8_t padded[] = { 0x30, 0x14, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x0d, 0x30, 0x0b,
					  0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x80, 0x09 };
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.extended_key_usage[0] = NULL;
	options.extension = ch_view(padded, sizeof(padded));
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "malformed", "extendedKeyUsage.keyPurposeId");
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

/* Its status must go on being told (RFC 6960 §4.2.2.2), by its own responders. */
static void a_ca_that_issues_no_more_certifies_its_responders_alone(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	fixture->status_alone = true;
	strcpy(fixture->key.state, "stopped");
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "key-state", "is stopped and certifies OCSP responders alone");
	assert_int_equal(fixture->err.code, CH_CONFLICT);
	options.extended_key_usage[0] = "1.3.6.1.5.5.7.3.9";
	options.key_fill = 0x22;
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "extended-key-usage", "is not an OCSP key of this vault");
	fixture->subordinate.purposes = 1u << CHANCERY__PURPOSE__PURPOSE_OCSP;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
}

static void a_certificate_for_the_issuing_key_itself_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.key_fill = 0x11;
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "subject-key", "the public key is the issuing CA's own");
}

static void assert_key(struct fixture *fixture, struct ch_view info, const char *reason, const char *words)
{
	struct tbs_options options = good_certificate;

	options.public_key_info = info;
	assert_int_equal(ask_certificate(fixture, purpose_end_entity, &options), !words);
	if (words)
		assert_refused(fixture, reason, words);
}

/* RFC 5480 §2.2: one point has two forms; public_key_test.c has what is no key at all. */
static void one_key_is_the_same_in_every_form(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) own = compressed_key_info(0x11);
	CH_AUTO(ch_bytes) other = compressed_key_info(0x33);
	CH_AUTO(ch_bytes) hybrid = public_key_info(0x33);
	CH_AUTO(ch_bytes) off_the_curve = public_key_info(0x33);

	assert_key(fixture, ch_view_of(&own), "subject-key", "the issuing CA's own");
	assert_key(fixture, ch_view_of(&other), NULL, NULL);
	hybrid.data[26] = 6;
	assert_key(fixture, ch_view_of(&hybrid), "malformed", "no point of an elliptic curve");
	off_the_curve.data[90] ^= 1;
	assert_key(fixture, ch_view_of(&off_the_curve), "malformed", "not a point of its curve");
}

/* What a broken issuer writes into a subject is text of a known attribute in its own string type. */
static void a_subject_is_text_alone(void **state)
{
	static const struct {
		const char *subject; /* content of the Name */
		size_t size;
		const char *words; /* NULL: it is signed */
	} cases[] = {
#define NAME(text, words) { text, sizeof(text) - 1, (words) }
		NAME("\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01"
		     "a",
		     NULL),
		NAME("\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x13\x01"
		     "a",
		     "string type 0x13"),
		NAME("\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x04\x01"
		     "a",
		     "string type 0x04"),
		NAME("\x31\x0a\x30\x08\x06\x03\x55\x04\x2e\x13\x01"
		     "a",
		     "2.5.4.46"),
		NAME("\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x01", "control character"),
		NAME("\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x01"
		     "a\x05\x00",
		     "follow"),
#undef NAME
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		struct tbs_options options = good_certificate;
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		CH_AUTO(ch_bytes) name = CH_NONE;

		ch_der_put(&writer, CH_DER_SEQUENCE, ch_view(cases[i].subject, cases[i].size));
		name = ch_der_done(&writer);
		options.subject_der = ch_view_of(&name);
		assert_int_equal(ask_certificate(fixture, purpose_end_entity, &options), !cases[i].words);
		if (cases[i].words)
			assert_refused(fixture, "malformed", cases[i].words);
	}
}

/* A stamp of a key that somebody else has says nothing; anybody else's key is anybody's. */
static void an_authoritys_key_is_none_of_the_vaults_that_is_compromised(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.extended_key_usage[0] = "1.3.6.1.5.5.7.3.8";
	options.key_fill = 0x22;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
	strcpy(fixture->subordinate.state, "compromised");
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "subject-key", "no certificate is made for it");
	assert_int_equal(fixture->err.code, CH_CONFLICT);
	options.key_fill = 0x33;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
}

static void a_key_without_a_ca_certificate_issues_nothing(void **state)
{
	struct fixture *fixture = *state;

	fixture->key.ca_not_after_us = 0;
	assert_false(ask_certificate(fixture, purpose_end_entity, &good_certificate));
	assert_refused(fixture, "no-ca-certificate", "has no CA certificate yet");
}

/* Also where the limits are met exactly. */
static void what_just_keeps_a_rule_is_signed(void **state)
{
	static const uint8_t nine_bits[] = { 0x03, 0x03, 0x07, 0x80, 0x80 };
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.serial_size = 20;
	options.serial_first = 0x7f;
	options.not_before_us = fixture->key.ca_not_before_us; /* a day ago */
	options.not_after_us = fixture->key.ca_not_after_us;
	options.more_extensions = VAULT_EXTENSIONS_CAP - 2; /* keyUsage and 1.2.3.4 */
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
	fixture->key.max_certificate_validity_us = options.not_after_us - options.not_before_us;
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
	options.serial_size = 1;
	options.serial_first = 1;
	options.not_before_us = options.not_after_us = NOW + CH_SECOND;
	options.key_usage = 0;
	options.usage = ch_view(nine_bits, sizeof(nine_bits));
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
}

static void a_keys_policy_limits_how_long_certificates_are_valid(void **state)
{
	struct fixture *fixture = *state;

	fixture->key.max_certificate_validity_us = 90 * CH_DAY - CH_SECOND;
	assert_false(ask_certificate(fixture, purpose_end_entity, &good_certificate));
	assert_refused(fixture, "validity",
		       "validity of 7776000 seconds is beyond the key's limit of 7775999");
}

/* Octets in an unknown extension that make a certificate as large as one may be. */
static size_t padding_to_the_cap(struct fixture *fixture)
{
	struct tbs_options options = good_certificate;

	options.more_extensions = 1;
	options.padding = 65000;
	return options.padding + CH_CERTIFICATE_CAP - make_tbs(fixture, &options).size;
}

static void a_certificate_has_at_most_64_kib_and_a_path_at_most_255(void **state)
{
	static const uint8_t longest_path[] = { 0x30, 0x07, 0x01, 0x01, 0xff, 0x02, 0x02, 0x00, 0xff };
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.more_extensions = 1;
	options.padding = padding_to_the_cap(fixture);
	assert_true(ask_certificate(fixture, purpose_end_entity, &options));
	options = good_certificate;
	options.constraints = ch_view(longest_path, sizeof(longest_path));
	assert_false(ask_certificate(fixture, purpose_end_entity, &options));
	assert_refused(fixture, "ca-true", "basicConstraints has cA TRUE"); /* read, then refused */
}

/* X.690 §10 and §11: one content has one form. RFC 5280 §4.2 names the extensions. */
static void extensions_are_read_strictly(void **state)
{
	static const uint8_t explicit_false[] = { 0x30, 0x0c, 0x06, 0x03, 0x2a, 0x03, 0x09,
						  0x01, 0x01, 0x00, 0x04, 0x02, 0x05, 0x00 };
	static const uint8_t two_values[] = { 0x30, 0x0b, 0x06, 0x03, 0x2a, 0x03, 0x09,
					      0x04, 0x04, 0x05, 0x00, 0x05, 0x00 };
	static const uint8_t path_without_ca[] = { 0x30, 0x03, 0x02, 0x01, 0x00 };
	static const uint8_t long_path[] = { 0x30, 0x07, 0x01, 0x01, 0xff, 0x02, 0x02, 0x01, 0x00 };
	static const uint8_t third_field[] = { 0x30, 0x05, 0x01, 0x01, 0xff, 0x05, 0x00 };
	static const uint8_t no_bits[] = { 0x03, 0x01, 0x00 }, many_bits[] = { 0x03, 0x04, 0, 0x80, 0, 0x80 };
	static const uint8_t unused_bits[] = { 0x03, 0x02, 0x08, 0x80 };
	struct fixture *fixture = *state;
	const struct tbs_options good = good_certificate;
	struct {
		struct tbs_options options;
		const char *reason, *words;
	} cases[] = {
		{ good, "malformed", "Extension.critical is FALSE, which DER leaves out" },
		{ good, "malformed", "Extension.extnValue" },
		{ good, "malformed", "Extensions is empty (RFC 5280 §4.1.2.9)" },
		{ good, "malformed", "more than 64 extensions" },
		{ good, "ca-true", "pathLenConstraint without cA" },
		{ good, "malformed", "basicConstraints.pathLenConstraint is 256, at most 255" },
		{ good, "malformed", "basicConstraints" },
		{ good, "malformed", "keyUsage is not a BIT STRING of 1 to 9 bits" },
		{ good, "malformed", "keyUsage is not a BIT STRING of 1 to 9 bits" },
		{ good, "malformed", "keyUsage is not a BIT STRING of 1 to 9 bits" },
		{ good, "malformed", "TBSCertificate.subject is not a SEQUENCE" },
		{ good, "malformed", "TBSCertificate of 65537 octets, at most 65536 allowed" },
	};

	cases[0].options.extension = ch_view(explicit_false, sizeof(explicit_false));
	cases[1].options.extension = ch_view(two_values, sizeof(two_values));
	cases[2].options.empty_extensions = true;
	cases[3].options.more_extensions = VAULT_EXTENSIONS_CAP - 1;
	cases[4].options.constraints = ch_view(path_without_ca, sizeof(path_without_ca));
	cases[5].options.constraints = ch_view(long_path, sizeof(long_path));
	cases[6].options.constraints = ch_view(third_field, sizeof(third_field));
	cases[7].options.usage = ch_view(no_bits, sizeof(no_bits));
	cases[8].options.usage = ch_view(many_bits, sizeof(many_bits));
	cases[9].options.usage = ch_view(unused_bits, sizeof(unused_bits));
	cases[10].options.subject = NULL;
	cases[11].options.more_extensions = 1;
	cases[11].options.padding = padding_to_the_cap(fixture) + 1;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (cases[i].options.usage.data)
			cases[i].options.key_usage = 0;
		if (ask_certificate(fixture, purpose_end_entity, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* Whatever octet is cut off or changed, the reader neither crashes nor takes a longer or shorter structure.
 */
static void a_certificate_cut_short_or_with_more_in_it_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_certificate;

	options.ca = 2;
	make_tbs(fixture, &options);
	assert_truncated_is_malformed(fixture, purpose_end_entity, ch_view_of(&fixture->tbs),
				      (struct ch_view)CH_NONE);
	assert_int_equal(count_accepted_when_grown(fixture, purpose_end_entity, ch_view_of(&fixture->tbs),
						   (struct ch_view)CH_NONE),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(an_end_entity_certificate_is_signed),
		WITH_KEY(basic_constraints_without_ca_are_signed),
		WITH_KEY(each_rule_of_an_end_entity_certificate_is_held),
		WITH_KEY(a_name_that_cannot_be_compared_is_not_signed),
		WITH_KEY(a_certificate_begins_at_most_two_days_ago),
		WITH_KEY(key_usage_has_one_form),
		WITH_KEY(a_purpose_has_one_form),
		WITH_KEY(a_responders_certificate_is_only_for_a_key_of_this_vault),
		WITH_KEY(a_ca_that_issues_no_more_certifies_its_responders_alone),
		WITH_KEY(a_certificate_for_the_issuing_key_itself_is_refused),
		WITH_KEY(one_key_is_the_same_in_every_form),
		WITH_KEY(a_subject_is_text_alone),
		WITH_KEY(an_authoritys_key_is_none_of_the_vaults_that_is_compromised),
		WITH_KEY(a_key_without_a_ca_certificate_issues_nothing),
		WITH_KEY(what_just_keeps_a_rule_is_signed),
		WITH_KEY(a_keys_policy_limits_how_long_certificates_are_valid),
		WITH_KEY(a_certificate_has_at_most_64_kib_and_a_path_at_most_255),
		WITH_KEY(extensions_are_read_strictly),
		WITH_KEY(a_certificate_cut_short_or_with_more_in_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
