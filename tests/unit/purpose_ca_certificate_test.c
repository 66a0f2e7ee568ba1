/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_ca_certificate_test.c: which CA certificates are signed, and which refused. */
#include "purpose_certificate.h"

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
		{ good_subordinate(), 0, "path-length", "no CA below it" },
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
	cases[9].options.subject = CA_SUBJECT;
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

/* What officers are shown of good_subordinate(). */
static void have_certificate_approved(struct fixture *fixture, struct ch_view tbs, const char *subject)
{
	char not_after[CH_TIME_TEXT_SIZE];
	const struct ch_action_field more[] = {
		{ (char *)"subject", (char *)(uintptr_t)subject },
		{ (char *)"not-after",
		  (char *)(uintptr_t)ch_time_text(good_certificate.not_after_us, not_after) },
	};

	have_approved(fixture, CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE, tbs, more, CH_COUNT(more));
}

static void an_approved_ca_certificate_is_signed_and_limits_its_key(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	have_certificate_approved(fixture, make_tbs(fixture, &options), options.subject);
	if (!ask_certificate(fixture, purpose_ca_certificate, &options))
		fail_msg("%s", fixture->err.message);
	assert_true(fixture->check.uses_action);
	assert_string_equal(fixture->check.approvers, "alice bob");
	assert_true(fixture->check.sets_ca_limits);
	assert_string_equal(fixture->check.subject_key_id, fixture->subordinate.key_id);
	assert_int_equal(fixture->check.ca_not_before_us, options.not_before_us);
	assert_int_equal(fixture->check.ca_not_after_us, options.not_after_us);
	assert_int_equal(fixture->check.ca_path_length, 0);
}

/* Officers sign one after the other: what counts is when they were asked. */
static void an_approved_ca_certificate_begins_at_most_two_days_before_it_was_proposed(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	fixture->key.ca_not_before_us = NOW - 100 * CH_DAY;
	fixture->proposed_ago_us = 5 * CH_DAY;
	options.not_before_us = NOW - 7 * CH_DAY;
	have_certificate_approved(fixture, make_tbs(fixture, &options), options.subject);
	if (!ask_certificate(fixture, purpose_ca_certificate, &options))
		fail_msg("%s", fixture->err.message);
	options.not_before_us -= CH_SECOND;
	have_certificate_approved(fixture, make_tbs(fixture, &options), options.subject);
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "validity", "is over 48 hours before");
	assert_false(fixture->check.sets_ca_limits);
}

static void an_approved_root_is_signed_and_limits_itself(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	fixture->key.ca_not_after_us = 0;
	options.subject = options.issuer;
	options.key_fill = 0x11;
	options.path_length = -1;
	have_certificate_approved(fixture, make_tbs(fixture, &options), options.subject);
	assert_true(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_true(fixture->check.sets_ca_limits);
	assert_string_equal(fixture->check.subject_key_id, fixture->key.key_id);
	assert_int_equal(fixture->check.ca_path_length, -1);
}

/* The longest path and the latest end that the issuing CA allows. */
static void what_just_keeps_a_rule_is_signed(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	fixture->key.ca_path_length = 2;
	options.path_length = 1;
	options.not_after_us = fixture->key.ca_not_after_us;
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-missing", "no action is named");
	fixture->key.ca_path_length = 1;
	options.path_length = 0;
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-missing", "no action is named");
}

static void approvals_are_for_these_very_bytes_of_this_purpose(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate(), other = good_subordinate();

	other.serial_first = 0x4b;
	have_certificate_approved(fixture, make_tbs(fixture, &other), options.subject);
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-content", "tbs-sha256");
	have_certificate_approved(fixture, make_tbs(fixture, &options), "CN=Another CA");
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-content", "subject");
	have_approved(fixture, CHANCERY__ACTION_KIND__ACTION_CA_CSR, make_tbs(fixture, &options),
		      &(const struct ch_action_field){ (char *)"subject", (char *)"CN=Sub CA" }, 1);
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-content", "the approved action is ca-csr, not ca-certificate");
	assert_false(fixture->check.uses_action);
	assert_false(fixture->check.sets_ca_limits);
}

static void as_many_approve_as_the_quorum_and_the_key_want(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	have_certificate_approved(fixture, make_tbs(fixture, &options), options.subject);
	fixture->key.approvals_required = 3;
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-count", "approved by 2 of the 3 officers");
	fixture->key.approvals_required = 0;
	fixture->quorum.required = 2;
	assert_true(ask_certificate(fixture, purpose_ca_certificate, &options));
	vault_action_free(&fixture->action);
	have_certificate_approved(fixture, ch_view_of(&fixture->tbs), options.subject);
	ch_bytes_free(&fixture->action.approvals[1].certificate);
	ch_bytes_free(&fixture->action.approvals[1].signature);
	fixture->action.approval_count = 1;
	assert_false(ask_certificate(fixture, purpose_ca_certificate, &options));
	assert_refused(fixture, "approval-count", "approved by 1 of the 2 officers");
}

/* The subject's name and key are compared whole: nothing goes unread. */
static void a_certificate_cut_short_or_with_more_in_it_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct tbs_options options = good_subordinate();

	make_tbs(fixture, &options);
	assert_truncated_is_malformed(fixture, purpose_ca_certificate, ch_view_of(&fixture->tbs),
				      (struct ch_view)CH_NONE);
	assert_int_equal(count_accepted_when_grown(fixture, purpose_ca_certificate, ch_view_of(&fixture->tbs),
						   (struct ch_view)CH_NONE),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_ca_certificate_comes_as_far_as_its_approvals),
		WITH_KEY(a_root_comes_as_far_as_its_approvals_without_a_ca_certificate),
		WITH_KEY(each_rule_of_a_ca_certificate_is_held),
		WITH_KEY(a_subordinate_key_of_another_tenant_or_purpose_gets_no_ca_certificate),
		WITH_KEY(an_approved_ca_certificate_is_signed_and_limits_its_key),
		WITH_KEY(an_approved_ca_certificate_begins_at_most_two_days_before_it_was_proposed),
		WITH_KEY(an_approved_root_is_signed_and_limits_itself),
		WITH_KEY(what_just_keeps_a_rule_is_signed),
		WITH_KEY(approvals_are_for_these_very_bytes_of_this_purpose),
		WITH_KEY(as_many_approve_as_the_quorum_and_the_key_want),
		WITH_KEY(a_certificate_cut_short_or_with_more_in_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
