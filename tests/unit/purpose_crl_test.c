/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_crl_test.c: which TBSCertLists are signed, and which refused. */
#include "purpose_fixture.h"

struct crl_options {
	uint64_t version;
	const char *algorithm, *issuer;
	int64_t this_update_us, next_update_us;
	uint64_t number;
	size_t number_size; /* over 8: that many octets instead */
	bool no_number, negative, unknown_critical, entry, reason, empty_list, delta, partition,
		of_another_ca;
};

static const struct crl_options good_crl = { .version = 1,
					     .algorithm = "ecdsa-p256",
					     .issuer = CA_SUBJECT,
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
	static const uint8_t empty[] = { 0x30, 0x00 }, null[] = { 0x05, 0x00 }, one[] = { 0x02, 0x01, 0x01 },
			     superseded[] = { 0x0a, 0x01, 0x04 };

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
		if (options->of_another_ca) {
			ch_der_begin(&writer, CH_DER_SEQUENCE);
			ch_extension_put(&writer, "2.5.29.29", true, ch_view(empty, sizeof(empty)));
			ch_der_finish(&writer);
		}
		if (options->reason) {
			ch_der_begin(&writer, CH_DER_SEQUENCE);
			ch_extension_put(&writer, "2.5.29.21", false,
					 ch_view(superseded, sizeof(superseded)));
			ch_der_finish(&writer);
		}
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
	if (options->partition)
		ch_extension_put(&writer, "2.5.29.28", true, ch_view(empty, sizeof(empty)));
	if (!options->no_number)
		put_number(&writer, options);
	else
		ch_extension_put(&writer, "1.2.3.5.1", false, ch_view(null, sizeof(null)));
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
		{ good_crl, "extension", "extension 2.5.29.29 is not signed in an entry of a CRL" },
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
	cases[11].options.entry = cases[11].options.of_another_ca = true;
	cases[12].options.empty_list = true;
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

/* Also where the limits are met exactly, and with the extensions that a CRL may have as critical. */
static void what_just_keeps_a_rule_is_signed(void **state)
{
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;

	options.this_update_us = NOW - 5 * CH_MINUTE;
	options.next_update_us = options.this_update_us + 30 * CH_DAY;
	options.partition = true;
	assert_true(ask_crl(fixture, &options));
	options.this_update_us = NOW + 5 * CH_MINUTE;
	options.next_update_us = options.this_update_us + CH_SECOND;
	assert_true(ask_crl(fixture, &options));
	fixture->key.max_validity_us = CH_SECOND;
	assert_true(ask_crl(fixture, &options));
}

/* An end that is not beyond thisUpdate is refused also where it is not beyond now either. */
static void a_crl_needs_an_end_after_its_beginning(void **state)
{
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;

	options.next_update_us = options.this_update_us - CH_SECOND;
	assert_false(ask_crl(fixture, &options));
	assert_refused(fixture, "next-update", "is not after thisUpdate");
}

static void a_crl_cut_short_or_with_more_in_it_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;

	options.entry = options.reason = true;
	make_crl(fixture, &options);
	assert_truncated_is_malformed(fixture, purpose_crl, ch_view_of(&fixture->tbs),
				      (struct ch_view)CH_NONE);
	assert_int_equal(count_accepted_when_grown(fixture, purpose_crl, ch_view_of(&fixture->tbs),
						   (struct ch_view)CH_NONE),
			 0);
}

static void approve_crl(struct fixture *fixture, struct ch_view tbs, const char *number,
			int64_t next_update_us)
{
	char next_update[CH_TIME_TEXT_SIZE];
	const struct ch_action_field more[] = {
		{ (char *)"crl-number", (char *)(uintptr_t)number },
		{ (char *)"next-update", (char *)(uintptr_t)ch_time_text(next_update_us, next_update) },
	};

	have_approved(fixture, CHANCERY__ACTION_KIND__ACTION_CRL, tbs, more, CH_COUNT(more));
}

static void an_operator_needs_officers_approvals_of_these_very_octets(void **state)
{
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;
	CH_AUTO(ch_bytes) tbs = ch_bytes_copy(make_crl(fixture, &options));

	fixture->service = "operator";
	assert_false(ask_crl(fixture, &options));
	assert_refused(fixture, "approval-missing", "no action is named");

	approve_crl(fixture, ch_view_of(&tbs), "0102", options.next_update_us);
	if (!ask_crl(fixture, &options))
		fail_msg("%s", fixture->err.message);
	assert_true(fixture->check.uses_action);
	options.entry = true; /* a serial more than officers saw */
	assert_false(ask_crl(fixture, &options));
	assert_refused(fixture, "approval-content", "tbs-sha256");

	options.entry = false;
	approve_crl(fixture, ch_view_of(&tbs), "0103", options.next_update_us);
	assert_false(ask_crl(fixture, &options));
	assert_refused(fixture, "approval-content", "crl-number");
	approve_crl(fixture, ch_view_of(&tbs), "0102", options.next_update_us + CH_DAY);
	assert_false(ask_crl(fixture, &options));
	assert_refused(fixture, "approval-content", "next-update");
}

/* Its list shuts daemons out: a crl daemon that was taken over makes none. */
static void of_a_system_ca_every_list_needs_officers(void **state)
{
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;
	CH_AUTO(ch_bytes) tbs = ch_bytes_copy(make_crl(fixture, &options));

	fixture->service = "crl";
	assert_true(ask_crl(fixture, &options));
	assert_int_equal(fixture->check.number_step_cap, 10000); /* nobody looked at the number */
	fixture->key.purposes = 1u << CHANCERY__PURPOSE__PURPOSE_SERVICE_IDENTITY |
				1u << CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE |
				1u << CHANCERY__PURPOSE__PURPOSE_CRL;
	assert_false(ask_crl(fixture, &options));
	assert_refused(fixture, "approval-missing", "no action is named");
	approve_crl(fixture, ch_view_of(&tbs), "0102", options.next_update_us);
	assert_true(ask_crl(fixture, &options));
	assert_true(fixture->check.uses_action);
	assert_int_equal(fixture->check.number_step_cap, 0); /* officers did: any */
}

/* Officers sign one after the other; the daemon has no such excuse. */
static void what_officers_approved_may_be_a_day_old_but_not_of_tomorrow(void **state)
{
	struct fixture *fixture = *state;
	struct crl_options options = good_crl;
	const int64_t times[] = { NOW - CH_DAY, NOW - CH_DAY - CH_SECOND, NOW + 6 * CH_MINUTE };

	fixture->service = "operator";
	for (size_t i = 0; i < CH_COUNT(times); i++) {
		CH_AUTO(ch_bytes) tbs = CH_NONE;

		options.this_update_us = times[i];
		tbs = ch_bytes_copy(make_crl(fixture, &options));
		approve_crl(fixture, ch_view_of(&tbs), "0102", options.next_update_us);
		assert_int_equal(ask_crl(fixture, &options), i == 0);
		if (i > 0)
			assert_refused(fixture, "this-update", "is not now");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_crl_is_signed_and_its_number_told),
		WITH_KEY(each_rule_of_a_crl_is_held),
		WITH_KEY(a_keys_own_limit_counts_before_the_vaults),
		WITH_KEY(what_just_keeps_a_rule_is_signed),
		WITH_KEY(a_crl_needs_an_end_after_its_beginning),
		WITH_KEY(an_operator_needs_officers_approvals_of_these_very_octets),
		WITH_KEY(of_a_system_ca_every_list_needs_officers),
		WITH_KEY(what_officers_approved_may_be_a_day_old_but_not_of_tomorrow),
		WITH_KEY(a_crl_cut_short_or_with_more_in_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
