/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_ocsp_test.c: which ResponseData are signed, and which refused. */
#include "purpose_fixture.h"

struct ocsp_options {
	uint8_t key_hash;
	const char *hash, *parameters; /* NULL: SHA-1, NULL */
	size_t hash_size;              /* 0: 20 */
	bool by_name, version, no_next_update, bad_status, revoked, unknown;
	size_t responses;
	const char *extension, *single_extension; /* OIDs; NULL: none */
	int64_t produced_at_us, this_update_us, next_update_us;
};

static const struct ocsp_options good_response = { .key_hash = 0x5a,
						   .responses = 1,
						   .produced_at_us = NOW,
						   .this_update_us = NOW - CH_HOUR,
						   .next_update_us = NOW + CH_HOUR };

static void put_cert_id(struct ch_der_writer *writer, const struct ocsp_options *options)
{
	const uint8_t octets[200] = { 1 };
	const struct ch_view hash = { octets, options->hash_size ? options->hash_size : 20 };
	struct ch_error err;

	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_begin(writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(writer, options->hash ? options->hash : "1.3.14.3.2.26", &err));
	if (options->parameters)
		ch_der_put_octet_string(writer, ch_view_text(options->parameters));
	else
		ch_der_put_null(writer);
	ch_der_finish(writer);
	ch_der_put_octet_string(writer, hash);
	ch_der_put_octet_string(writer, hash);
	ch_der_put_uint64(writer, CH_DER_INTEGER, 77);
	ch_der_finish(writer);
}

/* [1] EXPLICIT Extensions with one of them. */
static void put_extension(struct ch_der_writer *writer, const char *oid)
{
	static const uint8_t octets[] = { 0x04, 0x01, 0x07 };

	if (!oid)
		return;
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(1));
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_extension_put(writer, oid, false, ch_view(octets, sizeof(octets)));
	ch_der_finish(writer);
	ch_der_finish(writer);
}

static void put_single_response(struct ch_der_writer *writer, const struct ocsp_options *options)
{
	ch_der_begin(writer, CH_DER_SEQUENCE);
	put_cert_id(writer, options);
	if (options->revoked) {
		ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(1));
		ch_der_put_generalized_time(writer, NOW - CH_DAY, false);
		ch_der_finish(writer);
	} else {
		ch_der_put(writer,
			   options->bad_status ? CH_DER_CONTEXT(3)
			   : options->unknown  ? CH_DER_CONTEXT(2)
					       : CH_DER_CONTEXT(0),
			   (struct ch_view)CH_NONE);
	}
	ch_der_put_generalized_time(writer, options->this_update_us, false);
	if (!options->no_next_update) {
		ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(0));
		ch_der_put_generalized_time(writer, options->next_update_us, false);
		ch_der_finish(writer);
	}
	put_extension(writer, options->single_extension);
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
		put_name(&writer, CA_SUBJECT);
	else
		ch_der_put_octet_string(&writer, ch_view(hash, sizeof(hash)));
	ch_der_finish(&writer);
	ch_der_put_generalized_time(&writer, options->produced_at_us, false);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	for (size_t i = 0; i < options->responses; i++)
		put_single_response(&writer, options);
	ch_der_finish(&writer);
	put_extension(&writer, options->extension);
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
	options.revoked = false;
	options.unknown = true;
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
		{ good_response, "responses", "more than 64 responses" },
		{ good_response, "next-update", "is not after thisUpdate and now" },
		{ good_response, "next-update", "is not after thisUpdate and now" },
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
	cases[8].options.responses = 0;
	cases[9].options.bad_status = true;
	cases[10].options.version = true;
	cases[11].options.responses = 65;
	cases[12].options.this_update_us = NOW + 2 * CH_MINUTE; /* after now, but not after it */
	cases[12].options.next_update_us = NOW + 2 * CH_MINUTE;
	cases[13].options.next_update_us = NOW;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask_ocsp(fixture, &cases[i].options))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

/* Also where the limits are met exactly. */
static void what_just_keeps_a_rule_is_signed(void **state)
{
	struct fixture *fixture = *state;
	struct ocsp_options options = good_response;

	options.responses = 64;
	options.produced_at_us = NOW - 5 * CH_MINUTE;
	options.this_update_us = NOW - 10 * CH_DAY + CH_SECOND;
	options.next_update_us = NOW + CH_SECOND;
	assert_true(ask_ocsp(fixture, &options));
	options.produced_at_us = options.this_update_us = NOW + 5 * CH_MINUTE;
	options.next_update_us = options.this_update_us + 10 * CH_DAY;
	assert_true(ask_ocsp(fixture, &options));
}

static void a_keys_own_limit_counts_before_the_vaults(void **state)
{
	struct fixture *fixture = *state;

	fixture->key.max_validity_us = 2 * CH_HOUR; /* of good_response, from thisUpdate */
	assert_true(ask_ocsp(fixture, &good_response));
	fixture->key.max_validity_us = 2 * CH_HOUR - CH_SECOND;
	assert_false(ask_ocsp(fixture, &good_response));
	assert_refused(fixture, "next-update", "at most 7199 s allowed");
}

/* The second response is looked at as the first. */
static void extensions_are_those_of_the_table(void **state)
{
	static const char nonce[] = "1.3.6.1.5.5.7.48.1.2", cutoff[] = "1.3.6.1.5.5.7.48.1.6";
	struct fixture *fixture = *state;
	struct ocsp_options options = good_response;

	options.extension = nonce;
	options.single_extension = cutoff;
	make_response(fixture, &options);
	assert_true(ask(fixture, purpose_ocsp, ch_view_of(&fixture->tbs), (struct ch_view)CH_NONE));
	assert_int_equal(count_accepted_when_grown(fixture, purpose_ocsp, ch_view_of(&fixture->tbs),
						   (struct ch_view)CH_NONE),
			 0);
	options.extension = cutoff;
	make_response(fixture, &options);
	assert_false(ask(fixture, purpose_ocsp, ch_view_of(&fixture->tbs), (struct ch_view)CH_NONE));
	assert_refused(fixture, "extension", "is not signed in an OCSP response");
	options.extension = NULL;
	options.single_extension = nonce;
	make_response(fixture, &options);
	assert_false(ask(fixture, purpose_ocsp, ch_view_of(&fixture->tbs), (struct ch_view)CH_NONE));
	assert_refused(fixture, "extension", "is not signed in a SingleResponse");
}

static void each_response_is_checked(void **state)
{
	struct fixture *fixture = *state;
	struct ocsp_options options = good_response;
	struct ch_view tbs, der, responses;
	struct ch_error err;

	options.responses = 2;
	tbs = make_response(fixture, &options);
	assert_true(ask(fixture, purpose_ocsp, tbs, (struct ch_view)CH_NONE));
	der = ch_view(tbs.data + tbs.size - 17, 17); /* the last nextUpdate, GeneralizedTime */
	assert_true(ch_der_read(&der, CH_DER_GENERALIZED_TIME, "nextUpdate", &responses, &err));
	memcpy((uint8_t *)(uintptr_t)responses.data, "2099", 4);
	assert_false(ask(fixture, purpose_ocsp, tbs, (struct ch_view)CH_NONE));
	assert_refused(fixture, "next-update", "at most 864000 s allowed");
}

static void a_response_cut_short_or_with_more_in_it_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct ocsp_options options = good_response;

	options.revoked = true;
	make_response(fixture, &options);
	assert_truncated_is_malformed(fixture, purpose_ocsp, ch_view_of(&fixture->tbs),
				      (struct ch_view)CH_NONE);
	assert_int_equal(count_accepted_when_grown(fixture, purpose_ocsp, ch_view_of(&fixture->tbs),
						   (struct ch_view)CH_NONE),
			 0);
}

/* What a relying party chose and the responder repeats is hashes of two sizes and a serial number, and
 * nothing else. */
static void a_cert_id_holds_no_octets_of_anybodys_choice(void **state)
{
	struct fixture *fixture = *state;
	struct ocsp_options options = good_response;

	options.hash = "2.16.840.1.101.3.4.2.1";
	options.hash_size = 32;
	assert_true(ask_ocsp(fixture, &options));
	options.hash_size = 20;
	assert_false(ask_ocsp(fixture, &options));
	options = good_response;
	options.hash_size = 200;
	assert_false(ask_ocsp(fixture, &options));
	options = good_response;
	options.parameters = "any text";
	assert_false(ask_ocsp(fixture, &options));
	options = good_response;
	options.hash = "2.16.840.1.101.3.4.2.2";
	options.hash_size = 48;
	assert_false(ask_ocsp(fixture, &options));
	assert_refused(fixture, "cert-id", "neither SHA-1 nor SHA-256");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(an_ocsp_response_is_signed),
		WITH_KEY(each_rule_of_an_ocsp_response_is_held),
		WITH_KEY(what_just_keeps_a_rule_is_signed),
		WITH_KEY(a_keys_own_limit_counts_before_the_vaults),
		WITH_KEY(extensions_are_those_of_the_table),
		WITH_KEY(each_response_is_checked),
		WITH_KEY(a_response_cut_short_or_with_more_in_it_is_refused),
		WITH_KEY(a_cert_id_holds_no_octets_of_anybodys_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
