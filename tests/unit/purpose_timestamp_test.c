/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_timestamp_test.c: which signed attributes of a timestamp are signed, and which refused. */
#include "purpose_fixture.h"

struct timestamp_options {
	uint64_t version;
	const char *policy, *content_type;
	int64_t gen_time_us;
	bool fractions;
	const char *digest; /* of which the messageDigest is made */
	bool other_content, no_certificate, extra, unordered;
	bool digest_twice, type_twice, no_sequence;
	struct ch_view rest;    /* after genTime, as it is */
	struct ch_view content; /* in place of the TSTInfo; data NULL: it is made */
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
	ch_der_put_raw(&writer, options->rest);
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

static void put_message_digest(struct ch_der_writer *writer, const char *digest_name, struct ch_view content)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	struct ch_error err;
	uint8_t digest[64];
	size_t size;

	assert_true(ch_digest(digest_name, content, digest, &size, &err));
	ch_der_put_octet_string(&value, ch_view(digest, size));
	encoded = ch_der_done(&value);
	put_attribute(writer, "1.2.840.113549.1.9.4", ch_view_of(&encoded));
}

/* SET OF: shorter encodings first, so contentType, messageDigest, signingCertificateV2 with a long value. */
static bool ask_timestamp(struct fixture *fixture, const struct timestamp_options *options)
{
	CH_AUTO(ch_bytes)
	content = options->content.data ? ch_bytes_copy(options->content) : make_tst_info(options);
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	uint8_t certificate[64] = { 0x04, 62 };
	static const uint8_t null[] = { 0x05, 0x00 };
	struct ch_view covered = options->other_content ? ch_view("other", 5) : ch_view_of(&content);

	ch_der_begin(&writer, CH_DER_SET);
	if (options->no_sequence)
		ch_der_put_null(&writer);
	if (options->extra)
		put_attribute(&writer, "1.2.3", ch_view(null, sizeof(null)));
	if (options->unordered)
		put_message_digest(&writer, options->digest, covered);
	put_content_type(&writer, options);
	if (options->type_twice)
		put_content_type(&writer, options);
	if (!options->unordered)
		put_message_digest(&writer, options->digest, covered);
	if (options->digest_twice)
		put_message_digest(&writer, "sha512", covered);
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
		{ good_timestamp, "attributes", "signed attribute messageDigest stands twice" },
		{ good_timestamp, "malformed", "Attribute is not a SEQUENCE" },
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
	cases[10].options.digest_twice = true;
	cases[11].options.no_sequence = true;
	cases[12].options.type_twice = true;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_timestamp(fixture, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* RFC 3161 §2.4.2: accuracy, ordering, nonce, tsa and extensions may follow genTime, in this order. */
static void what_may_follow_the_time_is_signed_in_its_order(void **state)
{
	static const uint8_t rest[] = { 0x30, 0x03, 0x02, 0x01, 0x01, 0x01, 0x01, 0xff, 0x02, 0x01,
					0x07, 0xa0, 0x02, 0xa4, 0x00, 0xa1, 0x0b, 0x30, 0x09, 0x06,
					0x03, 0x2a, 0x03, 0x04, 0x04, 0x02, 0x05, 0x00 };
	static const uint8_t unknown[] = { 0xa1, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x2a,
					   0x03, 0x07, 0x04, 0x02, 0x05, 0x00 };
	static const uint8_t nonce_first[] = { 0x02, 0x01, 0x07, 0x01, 0x01, 0xff };
	static const uint8_t two_nonces[] = { 0x02, 0x01, 0x07, 0x02, 0x01, 0x07 };
	struct fixture *fixture = *state;
	struct timestamp_options options = good_timestamp;

	options.rest = ch_view(rest, sizeof(rest));
	assert_true(ask_timestamp(fixture, &options)); /* 1.2.3.4 is in the key's policy */
	options.rest = ch_view(unknown, sizeof(unknown));
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "extension", "extension 1.2.3.7 is not signed in a TSTInfo");
	options.rest = ch_view(nonce_first, sizeof(nonce_first));
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "malformed", "TSTInfo");
	options.rest = ch_view(two_nonces, sizeof(two_nonces));
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "malformed", "TSTInfo");
}

/* Each side of the tolerance, a second here. */
static void the_tolerance_of_the_time_is_met_exactly(void **state)
{
	struct fixture *fixture = *state;
	struct timestamp_options options = good_timestamp;

	options.fractions = true;
	options.gen_time_us = NOW + CH_SECOND;
	assert_true(ask_timestamp(fixture, &options));
	options.gen_time_us = NOW - 999 * CH_MILLISECOND;
	assert_true(ask_timestamp(fixture, &options));
	options.gen_time_us = NOW - 1001 * CH_MILLISECOND;
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "gen-time", "is not the vault's time");
	assert_int_equal(fixture->err.code, CH_EXPIRED); /* not a verdict: another vault may sign */
	assert_true(fixture->err.retryable);
	options.gen_time_us = NOW + 1001 * CH_MILLISECOND;
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "gen-time", "is not the vault's time");

	/* The second before ends a microsecond before now. */
	options.fractions = false;
	options.gen_time_us = NOW - CH_SECOND;
	fixture->policy.timestamp_tolerance_us = 1;
	assert_true(ask_timestamp(fixture, &options));
	fixture->policy.timestamp_tolerance_us = 0;
	assert_false(ask_timestamp(fixture, &options));
}

static void a_key_stamps_under_each_of_its_policies_and_without_one_not_at_all(void **state)
{
	struct fixture *fixture = *state;
	struct vault_key *key = &fixture->key;
	struct timestamp_options options = good_timestamp;

	key->timestamp_policies = ch_realloc(key->timestamp_policies, 2 * sizeof(char *));
	key->timestamp_policies[key->timestamp_policy_count++] = ch_strdup("1.2.3.4");
	options.policy = "1.2.3.4";
	assert_true(ask_timestamp(fixture, &options));
	key->timestamp_policy_count = 0;
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "policy", "policy 1.2.3.4 is not one of key");
	key->timestamp_policy_count = 2;
}

/* An element of GeneralName's form, with so many octets in it. */
static struct ch_bytes long_tsa_name(size_t size)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) octets = { ch_alloc(size), size };

	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_octet_string(&writer, ch_view_of(&octets));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void a_tst_info_has_at_most_64_kib(void **state)
{
	struct fixture *fixture = *state;
	struct timestamp_options options = good_timestamp;
	CH_AUTO(ch_bytes) large = long_tsa_name(65000), largest = CH_NONE;
	CH_AUTO(ch_bytes) content = CH_NONE;

	options.rest = ch_view_of(&large);
	content = make_tst_info(&options);
	largest = long_tsa_name(65000 + 65536 - content.size);
	options.rest = ch_view_of(&largest);
	assert_true(ask_timestamp(fixture, &options));
	ch_bytes_free(&largest);
	largest = long_tsa_name(65000 + 65536 - content.size + 1);
	options.rest = ch_view_of(&largest);
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "malformed", "TSTInfo of 65537 octets, at most 65536 allowed");
}

static void attributes_cut_short_or_with_more_in_them_are_refused(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) content = make_tst_info(&good_timestamp);

	assert_true(ask_timestamp(fixture, &good_timestamp));
	assert_truncated_is_malformed(fixture, purpose_timestamp, ch_view_of(&fixture->tbs),
				      ch_view_of(&content));
	assert_int_equal(count_accepted_when_grown(fixture, purpose_timestamp, ch_view_of(&fixture->tbs),
						   ch_view_of(&content)),
			 0);
}

/* The same for the TSTInfo, whose digest is right each time. */
static void a_tst_info_with_more_in_it_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct timestamp_options options = good_timestamp;
	CH_AUTO(ch_bytes) content = make_tst_info(&good_timestamp);
	size_t accepted = 0, elements = 1;

	for (size_t i = 0; i < elements; i++) {
		CH_AUTO(ch_bytes) grown = grow(ch_view_of(&content), i, &elements);

		options.content = ch_view_of(&grown);
		accepted += ask_timestamp(fixture, &options);
	}
	assert_int_equal(elements, 3);
	assert_int_equal(accepted,
			 1); /* MessageImprint.hashAlgorithm says what was stamped: the TSA's word */
	for (size_t size = 0; size < content.size; size++) {
		options.content = ch_view(content.data, size);
		assert_false(ask_timestamp(fixture, &options));
	}
	content.data = ch_realloc(content.data, content.size + 2);
	memcpy(content.data + content.size, "\x05", 2);
	options.content = ch_view(content.data, content.size + 2);
	assert_false(ask_timestamp(fixture, &options));
	assert_refused(fixture, "malformed", "TSTInfo");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_timestamp_is_signed),
		WITH_KEY(a_gen_time_without_fraction_stands_for_its_second),
		WITH_KEY(each_rule_of_a_timestamp_is_held),
		WITH_KEY(what_may_follow_the_time_is_signed_in_its_order),
		WITH_KEY(the_tolerance_of_the_time_is_met_exactly),
		WITH_KEY(a_key_stamps_under_each_of_its_policies_and_without_one_not_at_all),
		WITH_KEY(a_tst_info_has_at_most_64_kib),
		WITH_KEY(attributes_cut_short_or_with_more_in_them_are_refused),
		WITH_KEY(a_tst_info_with_more_in_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
