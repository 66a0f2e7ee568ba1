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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_ca_certificate_comes_as_far_as_its_approvals),
		WITH_KEY(a_root_comes_as_far_as_its_approvals_without_a_ca_certificate),
		WITH_KEY(each_rule_of_a_ca_certificate_is_held),
		WITH_KEY(a_subordinate_key_of_another_tenant_or_purpose_gets_no_ca_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
