/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purposes_test.c: what the vault signs and what it refuses, purpose by purpose: one acceptance and each
 * refusal. Structures are written with the DER writer from a fixture whose one field a test changes.
 */
#include "purposes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW   (INT64_C(1795000000) * CH_SECOND)
#define POINT 65

static const char *const ca_subject = "CN=Test CA,O=Example,C=CH";
static const char *const policies[] = { "1.3.6.1.4.1.99999.1.1" };

/* --- the key and the question --- */

struct fixture {
	struct vault_key key, subordinate;
	struct vault_policy policy;
	struct vault_check check;
	struct ch_bytes tbs;
	struct ch_error err;
};

/* SubjectPublicKeyInfo of P-256 with a made-up point: the checks compare, they do not use it. */
static struct ch_bytes public_key_info(uint8_t fill)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	uint8_t point[POINT];
	struct ch_error err;

	memset(point, fill, sizeof(point));
	point[0] = 4;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(&writer, "1.2.840.10045.2.1", &err));
	assert_true(ch_der_put_oid(&writer, "1.2.840.10045.3.1.7", &err));
	ch_der_finish(&writer);
	ch_der_put_bit_string(&writer, ch_view(point, sizeof(point)));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static struct ch_bytes name_der(const char *text)
{
	struct ch_bytes der;
	struct ch_error err;

	if (!ch_name_parse(text, &der, &err))
		fail_msg("%s", err.message);
	return der;
}

static void make_key(struct vault_key *key, const char *id, const char *subject, uint8_t fill)
{
	memset(key->key_id, id[0], 32);
	strcpy(key->tenant, "default");
	key->algorithm = ch_algorithm_find("ecdsa-p256");
	key->purposes = 1u << CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE;
	key->subject_der = name_der(subject);
	key->public_key_info = public_key_info(fill);
	memset(key->key_hash, 0x5a, sizeof(key->key_hash));
	key->ca_not_before_us = NOW - CH_DAY;
	key->ca_not_after_us = NOW + 1000 * CH_DAY;
	key->ca_path_length = -1;
	key->checkpoint_origin = ch_strdup("chancery.example/log");
	key->timestamp_policies = ch_alloc(sizeof(char *));
	key->timestamp_policies[0] = ch_strdup(policies[0]);
	key->timestamp_policy_count = 1;
}

static const struct vault_key *find_subordinate(void *state, struct ch_view info, struct ch_error *err)
{
	struct fixture *fixture = state;

	if (ch_view_equal(info, ch_view_of(&fixture->subordinate.public_key_info)))
		return &fixture->subordinate;
	ch_fail(err, CH_NOT_FOUND, "no such key");
	return NULL;
}

static int set_up(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));

	make_key(&fixture->key, "a", ca_subject, 0x11);
	make_key(&fixture->subordinate, "b", "CN=Sub CA", 0x22);
	fixture->policy = (struct vault_policy){ .clock_tolerance_us = 5 * CH_MINUTE,
						 .timestamp_tolerance_us = CH_SECOND,
						 .crl_max_validity_us = 30 * CH_DAY,
						 .ocsp_max_validity_us = 10 * CH_DAY,
						 .operators_ca = X509_STORE_new() };
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	vault_check_free(&fixture->check);
	vault_key_free(&fixture->key);
	vault_key_free(&fixture->subordinate);
	X509_STORE_free(fixture->policy.operators_ca);
	ch_bytes_free(&fixture->tbs);
	free(fixture);
	return 0;
}

typedef bool (*purpose)(struct vault_check *check, struct ch_error *err);

static bool ask(struct fixture *fixture, purpose check, struct ch_view to_be_signed, struct ch_view content)
{
	vault_check_free(&fixture->check);
	fixture->err = (struct ch_error)CH_NONE;
	fixture->check = (struct vault_check){ .key = &fixture->key,
					       .policy = &fixture->policy,
					       .now_us = NOW,
					       .tenant = "default",
					       .to_be_signed = to_be_signed,
					       .content = content,
					       .find_subject = find_subordinate,
					       .find_state = fixture,
					       .reason = "malformed",
					       .ca_path_length = -1 };
	return check(&fixture->check, &fixture->err);
}

#define assert_refused(fixture, why, words)                                                  \
	do {                                                                                 \
		assert_string_equal((fixture)->check.reason, (why));                         \
		if (!strstr((fixture)->err.message, (words)))                                \
			fail_msg("'%s' does not say '%s'", (fixture)->err.message, (words)); \
	} while (0)

/* --- TBSCertificate --- */

struct tbs_options {
	uint64_t version;
	size_t serial_size;
	uint8_t serial_first;
	const char *algorithm, *issuer, *subject;
	int64_t not_before_us, not_after_us;
	uint8_t key_fill;
	int ca; /* 0: no basicConstraints, 1: cA TRUE, 2: cA FALSE */
	bool constraints_not_critical;
	int path_length;    /* -1: none */
	unsigned key_usage; /* KU_…; 0: none */
	bool duplicate, explicit_false, unique_id, trailing, unparsable;
	const char *extended_key_usage[2]; /* OIDs; "" : an empty list */
};

static const struct tbs_options good_certificate = { .version = 2,
						     .serial_size = 16,
						     .serial_first = 0x4a,
						     .algorithm = "ecdsa-p256",
						     .issuer = "CN=Test CA,O=Example,C=CH",
						     .subject = "CN=www.example",
						     .not_before_us = NOW,
						     .not_after_us = NOW + 90 * CH_DAY,
						     .key_fill = 0x33,
						     .path_length = -1,
						     .key_usage = KU_DIGITAL_SIGNATURE };

static void put_name(struct ch_der_writer *writer, const char *text)
{
	CH_AUTO(ch_bytes) der = name_der(text);

	ch_der_put_raw(writer, ch_view_of(&der));
}

static void put_extended_key_usage(struct ch_der_writer *writer, const char *const oids[2])
{
	CH_AUTO(ch_der_writer) list = CH_NONE;
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	struct ch_error err;

	ch_der_begin(&list, CH_DER_SEQUENCE);
	for (size_t i = 0; i < 2 && oids[i] && oids[i][0]; i++)
		assert_true(ch_der_put_oid(&list, oids[i], &err));
	ch_der_finish(&list);
	encoded = ch_der_done(&list);
	ch_extension_put(writer, "2.5.29.37", false, ch_view_of(&encoded));
}

static void put_extensions(struct ch_der_writer *writer, const struct tbs_options *options)
{
	static const uint8_t null[] = { 0x05, 0x00 }, broken[] = { 0x30, 0x05, 0x01 };
	static const uint8_t explicit_false[] = { 0x30, 0x03, 0x01, 0x01, 0x00 },
			     ca_true[] = { 0x30, 0x03, 0x01, 0x01, 0xff };

	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(3));
	ch_der_begin(writer, CH_DER_SEQUENCE);
	if (options->explicit_false)
		ch_extension_put(writer, "2.5.29.19", true, ch_view(explicit_false, sizeof(explicit_false)));
	else if (options->ca == 1 && options->constraints_not_critical)
		ch_extension_put(writer, "2.5.29.19", false, ch_view(ca_true, sizeof(ca_true)));
	else if (options->ca)
		ch_extension_basic_constraints(writer, options->ca == 1, options->path_length);
	if (options->key_usage)
		ch_extension_key_usage(writer, options->key_usage);
	if (options->extended_key_usage[0])
		put_extended_key_usage(writer, options->extended_key_usage);
	if (options->duplicate)
		ch_extension_key_usage(writer, KU_DIGITAL_SIGNATURE);
	ch_extension_put(writer, "1.2.3.4", false,
			 options->unparsable ? ch_view(broken, sizeof(broken)) : ch_view(null, sizeof(null)));
	ch_der_finish(writer);
	ch_der_finish(writer);
}

static struct ch_view make_tbs(struct fixture *fixture, const struct tbs_options *options)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) info = public_key_info(options->key_fill);
	uint8_t serial[32], unique[] = { 0 };

	memset(serial, 0x77, sizeof(serial));
	serial[0] = options->serial_first;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_uint64(&writer, CH_DER_INTEGER, options->version);
	ch_der_finish(&writer);
	ch_der_put(&writer, CH_DER_INTEGER, ch_view(serial, options->serial_size));
	ch_der_put_raw(&writer, ch_algorithm_find(options->algorithm)->signature_identifier);
	put_name(&writer, options->issuer);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_time(&writer, options->not_before_us);
	ch_der_put_time(&writer, options->not_after_us);
	ch_der_finish(&writer);
	put_name(&writer, options->subject);
	ch_der_put_raw(&writer, ch_view_of(&info));
	if (options->unique_id)
		ch_der_put(&writer, CH_DER_CONTEXT(1), ch_view(unique, sizeof(unique)));
	put_extensions(&writer, options);
	ch_der_finish(&writer);
	if (options->trailing)
		ch_der_put_null(&writer);
	ch_bytes_free(&fixture->tbs);
	fixture->tbs = ch_der_done(&writer);
	return ch_view_of(&fixture->tbs);
}

static bool ask_certificate(struct fixture *fixture, purpose check, const struct tbs_options *options)
{
	return ask(fixture, check, make_tbs(fixture, options), (struct ch_view)CH_NONE);
}

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

/* --- CA certificates: all but the approvals, which stand at the end of the check --- */

static struct tbs_options good_subordinate(void)
{
	struct tbs_options options = good_certificate;

	options.subject = "CN=Sub CA";
	options.key_fill = 0x22;
	options.ca = 1;
	options.path_length = 0;
	options.key_usage = KU_KEY_CERT_SIGN | KU_CRL_SIGN;
	return options;
}

static void a_ca_certificate_comes_as_far_as_its_approvals(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-missing", "no action is named");
	assert_false(fixture->check.sets_ca_limits);
}

static void a_root_comes_as_far_as_its_approvals_without_a_ca_certificate(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	fixture->key.ca_not_after_us = 0;
	options.subject = options.issuer;
	options.key_fill = 0x11;
	options.not_before_us = NOW - 100 * CH_DAY;
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-missing", "no action is named");
	assert_string_equal(fixture->check.subject_key_id, fixture->key.key_id);
}

static void each_rule_of_a_ca_certificate_is_held(void **state)
{
	struct fixture *fixture = *state;
	struct {
		struct tbs_options options;
		int32_t limit;
		const char *reason, *words;
	} cases[] = {
		{ good_subordinate(), -1, "not-a-ca", "basicConstraints is not critical with cA TRUE" },
		{ good_subordinate(), -1, "not-a-ca", "basicConstraints is not critical with cA TRUE" },
		{ good_subordinate(), -1, "key-usage", "keyUsage lacks keyCertSign" },
		{ good_subordinate(), 0, "path-length", "pathLenConstraint is 0" },
		{ good_subordinate(), 1, "path-length", "allows at most 0" },
		{ good_subordinate(), 1, "path-length", "absent" },
		{ good_subordinate(), -1, "validity", "is beyond the CA's" },
		{ good_subordinate(), -1, "subject-key", "subject public key: no such key" },
		{ good_subordinate(), -1, "subject", "subject is not the name that key" },
		{ good_subordinate(), -1, "subject-key", "the public key is not key" },
		{ good_subordinate(), -1, "issuer", "issuer is 'CN=Another CA'" },
	};

	cases[0].options.ca = 2;
	cases[0].options.path_length = -1;
	cases[1].options.constraints_not_critical = true;
	cases[2].options.key_usage = KU_CRL_SIGN;
	cases[4].options.path_length = 1;
	cases[5].options.path_length = -1;
	cases[6].options.not_after_us = NOW + 1001 * CH_DAY;
	cases[7].options.key_fill = 0x44;
	cases[8].options.subject = "CN=Other Sub CA";
	cases[9].options.subject = ca_subject;
	cases[10].options.issuer = "CN=Another CA";
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		fixture->key.ca_path_length = cases[i].limit;
		if (ask_certificate(fixture, purpose_ca_certificate, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

static void a_subordinate_key_of_another_tenant_or_purpose_gets_no_ca_certificate(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	strcpy(fixture->subordinate.tenant, "other");
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "subject-key", "is not a CA key of tenant 'default'");
	strcpy(fixture->subordinate.tenant, "default");
	fixture->subordinate.purposes = 1u << CHANCERY__PURPOSE__PURPOSE_OCSP;
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "subject-key", "is not a CA key");
}

/* --- TBSCertList --- */

struct crl_options {
	uint64_t version;
	const char *algorithm, *issuer;
	int64_t this_update_us, next_update_us;
	uint64_t number;
	size_t number_size; /* over 8: that many octets instead */
	bool no_number, negative, unknown_critical, entry, empty_list, delta;
};

static const struct crl_options good_crl = { .version = 1,
					     .algorithm = "ecdsa-p256",
					     .issuer = "CN=Test CA,O=Example,C=CH",
					     .this_update_us = NOW,
					     .next_update_us = NOW + CH_DAY,
					     .number = 258 };

static void put_number(struct ch_der_writer *writer, const struct crl_options *options)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	uint8_t octets[32];

	memset(octets, 0x11, sizeof(octets));
	if (options->negative)
		octets[0] = 0x81;
	if (options->number_size)
		ch_der_put(&value, CH_DER_INTEGER, ch_view(octets, options->number_size));
	else
		ch_der_put_uint64(&value, CH_DER_INTEGER, options->number);
	encoded = ch_der_done(&value);
	ch_extension_put(writer, "2.5.29.20", false, ch_view_of(&encoded));
}

static struct ch_view make_crl(struct fixture *fixture, const struct crl_options *options)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	static const uint8_t null[] = { 0x05, 0x00 }, one[] = { 0x02, 0x01, 0x01 };

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, options->version);
	ch_der_put_raw(&writer, ch_algorithm_find(options->algorithm)->signature_identifier);
	put_name(&writer, options->issuer);
	ch_der_put_time(&writer, options->this_update_us);
	ch_der_put_time(&writer, options->next_update_us);
	if (options->entry || options->empty_list)
		ch_der_begin(&writer, CH_DER_SEQUENCE);
	if (options->entry) {
		ch_der_begin(&writer, CH_DER_SEQUENCE);
		ch_der_put_uint64(&writer, CH_DER_INTEGER, 77);
		ch_der_put_time(&writer, NOW - CH_HOUR);
		ch_der_finish(&writer);
	}
	if (options->entry || options->empty_list)
		ch_der_finish(&writer);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	if (options->unknown_critical)
		ch_extension_put(&writer, "1.2.3.4", true, ch_view(null, sizeof(null)));
	if (options->delta)
		ch_extension_put(&writer, "2.5.29.27", true, ch_view(one, sizeof(one)));
	if (!options->no_number)
		put_number(&writer, options);
	else
		ch_extension_put(&writer, "1.2.3.5", false, ch_view(null, sizeof(null)));
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	ch_bytes_free(&fixture->tbs);
	fixture->tbs = ch_der_done(&writer);
	return ch_view_of(&fixture->tbs);
}

static bool ask_crl(struct fixture *fixture, const struct crl_options *options)
{
	return ask(fixture, purpose_crl, make_crl(fixture, options), (struct ch_view)CH_NONE);
}

static void a_crl_is_signed_and_its_number_told(void **state)
{
	static const uint8_t number[] = { 1, 2 };
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;

	assert_true(ask_crl(fixture, &options));
	assert_true(ch_view_equal(fixture->check.number, ch_view(number, sizeof(number))));
	options.entry = true;
	options.delta = true;
	assert_true(ask_crl(fixture, &options));
	options.number_size = 20;
	assert_true(ask_crl(fixture, &options));
}

static void each_rule_of_a_crl_is_held(void **state)
{
	struct fixture *fixture = *state;
	struct {
		struct crl_options options;
		const char *reason, *words;
	} cases[] = {
		{ good_crl, "malformed", "only v2 is signed" },
		{ good_crl, "algorithm", "TBSCertList.signature" },
		{ good_crl, "issuer", "TBSCertList.issuer" },
		{ good_crl, "this-update", "is not now" },
		{ good_crl, "this-update", "is not now" },
		{ good_crl, "next-update", "is not after thisUpdate" },
		{ good_crl, "next-update", "at most 2592000 s allowed" },
		{ good_crl, "malformed", "cRLNumber is absent" },
		{ good_crl, "malformed", "cRLNumber is 21 octets" },
		{ good_crl, "malformed", "cRLNumber is negative" },
		{ good_crl, "malformed", "critical extension 1.2.3.4 is not known" },
		{ good_crl, "malformed", "revokedCertificates is empty" },
	};

	cases[0].options.version = 0;
	cases[1].options.algorithm = "ecdsa-p384";
	cases[2].options.issuer = "CN=Another CA";
	cases[3].options.this_update_us = NOW - 6 * CH_MINUTE;
	cases[4].options.this_update_us = NOW + 6 * CH_MINUTE;
	cases[5].options.next_update_us = NOW;
	cases[6].options.next_update_us = NOW + 31 * CH_DAY;
	cases[7].options.no_number = true;
	cases[8].options.number_size = 21;
	cases[9].options.number_size = 4;
	cases[9].options.negative = true;
	cases[10].options.unknown_critical = true;
	cases[11].options.empty_list = true;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_crl(fixture, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

static void a_keys_own_limit_counts_before_the_vaults(void **state)
{
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;

	fixture->key.max_validity_us = CH_HOUR;
	assert_false(ask_crl(fixture, &options));
	assert_refused(fixture, "next-update", "at most 3600 s allowed");
}

/* --- ResponseData --- */

struct ocsp_options {
	uint8_t key_hash;
	bool by_name, version, no_next_update, no_responses, bad_status, revoked;
	int64_t produced_at_us, this_update_us, next_update_us;
};

static const struct ocsp_options good_response = { .key_hash = 0x5a,
						   .produced_at_us = NOW,
						   .this_update_us = NOW - CH_HOUR,
						   .next_update_us = NOW + CH_HOUR };

static void put_cert_id(struct ch_der_writer *writer)
{
	uint8_t hash[20] = { 1 };
	struct ch_error err;

	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_begin(writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(writer, "1.3.14.3.2.26", &err));
	ch_der_put_null(writer);
	ch_der_finish(writer);
	ch_der_put_octet_string(writer, ch_view(hash, sizeof(hash)));
	ch_der_put_octet_string(writer, ch_view(hash, sizeof(hash)));
	ch_der_put_uint64(writer, CH_DER_INTEGER, 77);
	ch_der_finish(writer);
}

static void put_single_response(struct ch_der_writer *writer, const struct ocsp_options *options)
{
	ch_der_begin(writer, CH_DER_SEQUENCE);
	put_cert_id(writer);
	if (options->revoked) {
		ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(1));
		ch_der_put_generalized_time(writer, NOW - CH_DAY, false);
		ch_der_finish(writer);
	} else {
		ch_der_put(writer, options->bad_status ? CH_DER_CONTEXT(3) : CH_DER_CONTEXT(0),
			   (struct ch_view)CH_NONE);
	}
	ch_der_put_generalized_time(writer, options->this_update_us, false);
	if (!options->no_next_update) {
		ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(0));
		ch_der_put_generalized_time(writer, options->next_update_us, false);
		ch_der_finish(writer);
	}
	ch_der_finish(writer);
}

static struct ch_view make_response(struct fixture *fixture, const struct ocsp_options *options)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	uint8_t hash[20];

	memset(hash, options->key_hash, sizeof(hash));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	if (options->version) {
		ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
		ch_der_put_uint64(&writer, CH_DER_INTEGER, 1);
		ch_der_finish(&writer);
	}
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(options->by_name ? 1 : 2));
	if (options->by_name)
		put_name(&writer, ca_subject);
	else
		ch_der_put_octet_string(&writer, ch_view(hash, sizeof(hash)));
	ch_der_finish(&writer);
	ch_der_put_generalized_time(&writer, options->produced_at_us, false);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	if (!options->no_responses)
		put_single_response(&writer, options);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	ch_bytes_free(&fixture->tbs);
	fixture->tbs = ch_der_done(&writer);
	return ch_view_of(&fixture->tbs);
}

static bool ask_ocsp(struct fixture *fixture, const struct ocsp_options *options)
{
	return ask(fixture, purpose_ocsp, make_response(fixture, options), (struct ch_view)CH_NONE);
}

static void an_ocsp_response_is_signed(void **state)
{
	struct fixture *fixture = *state;
	struct ocsp_options options = good_response;

	assert_true(ask_ocsp(fixture, &options));
	options.revoked = true;
	assert_true(ask_ocsp(fixture, &options));
}

static void each_rule_of_an_ocsp_response_is_held(void **state)
{
	struct fixture *fixture = *state;
	struct {
		struct ocsp_options options;
		const char *reason, *words;
	} cases[] = {
		{ good_response, "responder", "responderID is not the hash of key" },
		{ good_response, "responder", "responderID is byName" },
		{ good_response, "produced-at", "is not now" },
		{ good_response, "produced-at", "is not now" },
		{ good_response, "this-update", "is in the future" },
		{ good_response, "next-update", "is not after thisUpdate and now" },
		{ good_response, "next-update", "at most 864000 s allowed" },
		{ good_response, "next-update", "has no nextUpdate" },
		{ good_response, "responses", "has no responses" },
		{ good_response, "malformed", "neither good, revoked nor unknown" },
		{ good_response, "malformed", "ResponseData.responderID" },
	};

	cases[0].options.key_hash = 0x5b;
	cases[1].options.by_name = true;
	cases[2].options.produced_at_us = NOW - 6 * CH_MINUTE;
	cases[3].options.produced_at_us = NOW + 6 * CH_MINUTE;
	cases[4].options.this_update_us = NOW + 6 * CH_MINUTE;
	cases[4].options.next_update_us = NOW + CH_DAY;
	cases[5].options.next_update_us = NOW - CH_SECOND;
	cases[6].options.next_update_us = NOW + 11 * CH_DAY;
	cases[7].options.no_next_update = true;
	cases[8].options.no_responses = true;
	cases[9].options.bad_status = true;
	cases[10].options.version = true;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_ocsp(fixture, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* --- timestamps --- */

struct timestamp_options {
	uint64_t version;
	const char *policy, *content_type;
	int64_t gen_time_us;
	bool fractions;
	const char *digest; /* of which the messageDigest is made */
	bool other_content, no_certificate, extra, unordered;
};

static const struct timestamp_options good_timestamp = { .version = 1,
							 .policy = "1.3.6.1.4.1.99999.1.1",
							 .content_type = "1.2.840.113549.1.9.16.1.4",
							 .gen_time_us = NOW,
							 .digest = "sha256" };

static struct ch_bytes make_tst_info(const struct timestamp_options *options)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	uint8_t hash[32] = { 9 };
	struct ch_error err;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, options->version);
	assert_true(ch_der_put_oid(&writer, options->policy, &err));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(&writer, "2.16.840.1.101.3.4.2.1", &err));
	ch_der_finish(&writer);
	ch_der_put_octet_string(&writer, ch_view(hash, sizeof(hash)));
	ch_der_finish(&writer);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, 5);
	ch_der_put_generalized_time(&writer, options->gen_time_us, options->fractions);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void put_attribute(struct ch_der_writer *writer, const char *oid, struct ch_view value)
{
	struct ch_error err;

	ch_der_begin(writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(writer, oid, &err));
	ch_der_begin(writer, CH_DER_SET);
	ch_der_put_raw(writer, value);
	ch_der_finish(writer);
	ch_der_finish(writer);
}

static void put_content_type(struct ch_der_writer *writer, const struct timestamp_options *options)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	struct ch_error err;

	assert_true(ch_der_put_oid(&value, options->content_type, &err));
	encoded = ch_der_done(&value);
	put_attribute(writer, "1.2.840.113549.1.9.3", ch_view_of(&encoded));
}

static void put_message_digest(struct ch_der_writer *writer, const struct timestamp_options *options,
			       struct ch_view content)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	struct ch_error err;
	uint8_t digest[64];
	size_t size;

	assert_true(ch_digest(options->digest, content, digest, &size, &err));
	ch_der_put_octet_string(&value, ch_view(digest, size));
	encoded = ch_der_done(&value);
	put_attribute(writer, "1.2.840.113549.1.9.4", ch_view_of(&encoded));
}

/* SET OF: shorter encodings first, so contentType, messageDigest, signingCertificateV2 with a long value. */
static bool ask_timestamp(struct fixture *fixture, const struct timestamp_options *options)
{
	CH_AUTO(ch_bytes) content = make_tst_info(options);
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	uint8_t certificate[64] = { 0x04, 62 };
	static const uint8_t null[] = { 0x05, 0x00 };
	struct ch_view covered = options->other_content ? ch_view("other", 5) : ch_view_of(&content);

	ch_der_begin(&writer, CH_DER_SET);
	if (options->extra)
		put_attribute(&writer, "1.2.3", ch_view(null, sizeof(null)));
	if (options->unordered)
		put_message_digest(&writer, options, covered);
	put_content_type(&writer, options);
	if (!options->unordered)
		put_message_digest(&writer, options, covered);
	if (!options->no_certificate)
		put_attribute(&writer, "1.2.840.113549.1.9.16.2.47",
			      ch_view(certificate, sizeof(certificate)));
	ch_der_finish(&writer);
	ch_bytes_free(&fixture->tbs);
	fixture->tbs = ch_der_done(&writer);
	return ask(fixture, purpose_timestamp, ch_view_of(&fixture->tbs), ch_view_of(&content));
}

static void a_timestamp_is_signed(void **state)
{
	struct fixture *fixture = *state;
	struct timestamp_options options = good_timestamp;

	if (!ask_timestamp(fixture, &options))
		fail_msg("%s", fixture->err.message);
	options.digest = "sha512";
	assert_true(ask_timestamp(fixture, &options));
	options.fractions = true;
	options.gen_time_us = NOW + 900 * CH_MILLISECOND;
	assert_true(ask_timestamp(fixture, &options));
}

/* A genTime of whole seconds stands for its second: a vault whose clock is within it agrees. */
static void a_gen_time_without_fraction_stands_for_its_second(void **state)
{
	struct fixture *fixture = *state;
	struct timestamp_options options = good_timestamp;

	options.gen_time_us = NOW - CH_SECOND;
	assert_true(ask_timestamp(fixture, &options));
	options.gen_time_us = NOW - 2 * CH_SECOND;
	assert_false(ask_timestamp(fixture, &options));
}

static void each_rule_of_a_timestamp_is_held(void **state)
{
	struct fixture *fixture = *state;
	struct {
		struct timestamp_options options;
		const char *reason, *words;
	} cases[] = {
		{ good_timestamp, "version", "TSTInfo.version is 2" },
		{ good_timestamp, "policy", "policy 1.2.3.4 is not one of key" },
		{ good_timestamp, "content-type", "contentType is not id-ct-TSTInfo" },
		{ good_timestamp, "gen-time", "is not the vault's time" },
		{ good_timestamp, "gen-time", "is not the vault's time" },
		{ good_timestamp, "message-digest", "20 octets" },
		{ good_timestamp, "message-digest", "messageDigest is not the digest of the TSTInfo" },
		{ good_timestamp, "attributes", "signingCertificateV2 is absent" },
		{ good_timestamp, "attributes", "a signed attribute is not" },
		{ good_timestamp, "malformed", "not in DER order" },
	};

	cases[0].options.version = 2;
	cases[1].options.policy = "1.2.3.4";
	cases[2].options.content_type = "1.2.840.113549.1.7.1";
	cases[3].options.gen_time_us = NOW - 10 * CH_SECOND;
	cases[4].options.gen_time_us = NOW + 2 * CH_SECOND;
	cases[5].options.digest = "sha1";
	cases[6].options.other_content = true;
	cases[7].options.no_certificate = true;
	cases[8].options.extra = true;
	cases[9].options.unordered = true;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_timestamp(fixture, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* --- checkpoints --- */

#define HASH_TEXT "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void a_checkpoint_is_signed_and_its_size_told(void **state)
{
	static const uint8_t size[] = { 0, 0, 0, 0, 0, 0, 1, 2 };
	struct fixture *fixture = *state;

	assert_true(ask(fixture, purpose_checkpoint,
			ch_view_text("chancery.example/log\n258\n" HASH_TEXT "\n"), (struct ch_view)CH_NONE));
	assert_true(ch_view_equal(fixture->check.number, ch_view(size, sizeof(size))));
}

static void each_rule_of_a_checkpoint_is_held(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *text, *reason, *words;
	} cases[] = {
		{ "else.example\n258\n" HASH_TEXT "\n", "origin", "checkpoint of origin 'else.example'" },
		{ "chancery.example/log\n0258\n" HASH_TEXT "\n", "malformed", "leading zeros" },
		{ "chancery.example/log\n\n" HASH_TEXT "\n", "malformed", "decimal number" },
		{ "chancery.example/log\n25x\n" HASH_TEXT "\n", "malformed", "no digit" },
		{ "chancery.example/log\n99999999999999999999\n" HASH_TEXT "\n", "malformed",
		  "decimal number" },
		{ "chancery.example/log\n258\nAAAA\n", "malformed", "base64 of 32 octets" },
		{ "chancery.example/log\n258\n" HASH_TEXT, "malformed", "three lines" },
		{ "chancery.example/log\n258\n" HASH_TEXT "\nmore\n", "malformed", "follow its third line" },
		{ "", "malformed", "three lines" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask(fixture, purpose_checkpoint, ch_view_text(cases[i].text), (struct ch_view)CH_NONE))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* --- the table --- */

static void each_purpose_has_a_name_and_a_check(void **state)
{
	(void)state;
	for (int number = 1; number <= 8; number++) {
		const struct vault_purpose *row = vault_purpose_find((Chancery__Purpose)number);

		assert_non_null(row);
		assert_non_null(row->check);
		assert_non_null(row->name);
	}
	assert_null(vault_purpose_find(CHANCERY__PURPOSE__PURPOSE_NONE));
	assert_null(vault_purpose_find((Chancery__Purpose)9));
}

#define WITH_KEY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(an_end_entity_certificate_is_signed),
		WITH_KEY(basic_constraints_without_ca_are_signed),
		WITH_KEY(each_rule_of_an_end_entity_certificate_is_held),
		WITH_KEY(a_key_without_a_ca_certificate_issues_nothing),
		WITH_KEY(a_responders_certificate_is_only_for_a_key_of_this_vault),
		WITH_KEY(a_certificate_for_the_issuing_key_itself_is_refused),
		WITH_KEY(a_truncated_certificate_is_refused_at_every_length),
		WITH_KEY(a_ca_certificate_comes_as_far_as_its_approvals),
		WITH_KEY(a_root_comes_as_far_as_its_approvals_without_a_ca_certificate),
		WITH_KEY(each_rule_of_a_ca_certificate_is_held),
		WITH_KEY(a_subordinate_key_of_another_tenant_or_purpose_gets_no_ca_certificate),
		WITH_KEY(a_crl_is_signed_and_its_number_told),
		WITH_KEY(each_rule_of_a_crl_is_held),
		WITH_KEY(a_keys_own_limit_counts_before_the_vaults),
		WITH_KEY(an_ocsp_response_is_signed),
		WITH_KEY(each_rule_of_an_ocsp_response_is_held),
		WITH_KEY(a_timestamp_is_signed),
		WITH_KEY(a_gen_time_without_fraction_stands_for_its_second),
		WITH_KEY(each_rule_of_a_timestamp_is_held),
		WITH_KEY(a_checkpoint_is_signed_and_its_size_told),
		WITH_KEY(each_rule_of_a_checkpoint_is_held),
		cmocka_unit_test(each_purpose_has_a_name_and_a_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
