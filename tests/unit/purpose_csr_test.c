/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_csr_test.c: which certification requests are signed, and which refused: only for the name and the
 * key that the vault has, with approvals.
 */
#include "purpose_fixture.h"

/* version 0; subject and key of the fixture's key, where they are not given. */
static struct ch_bytes make_request_info(struct fixture *fixture, uint64_t version, const char *subject,
					 bool own_key, const char *attribute)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) name = CH_NONE;
	CH_AUTO(ch_bytes) info = public_key_info(0x33);
	struct ch_error err;

	assert_true(ch_name_parse(subject, &name, &err));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, version);
	ch_der_put_raw(&writer, ch_view_of(&name));
	ch_der_put_raw(&writer, own_key ? ch_view_of(&fixture->key.public_key_info) : ch_view_of(&info));
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	if (attribute) {
		ch_der_begin(&writer, CH_DER_SEQUENCE);
		assert_true(ch_der_put_oid(&writer, attribute, &err));
		ch_der_begin(&writer, CH_DER_SET);
		ch_der_put_null(&writer);
		ch_der_finish(&writer);
		ch_der_finish(&writer);
	}
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void a_certification_request_comes_as_far_as_its_approvals(void **state)
{
	static const char *const attributes[] = { NULL, "1.2.840.113549.1.9.14" };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < CH_COUNT(attributes); i++) {
		CH_AUTO(ch_bytes) info = make_request_info(fixture, 0, CA_SUBJECT, true, attributes[i]);

		assert_false(ask(fixture, purpose_csr, ch_view_of(&info), (struct ch_view)CH_NONE));
		assert_refused(fixture, "approval-missing", "no action is named");
		assert_string_equal(fixture->check.subject, CA_SUBJECT);
	}
}

static void each_rule_of_a_certification_request_is_held(void **state)
{
	struct fixture *fixture = *state;
	const struct {
		uint64_t version;
		const char *subject;
		bool own_key;
		const char *attribute, *reason, *words;
	} cases[] = {
		{ 1, CA_SUBJECT, true, NULL, "malformed", "only v1 (0) is signed" },
		{ 0, "CN=Another CA", true, NULL, "subject", "subject is 'CN=Another CA'" },
		{ 0, CA_SUBJECT, false, NULL, "subject-key", "the public key is not key" },
		{ 0, CA_SUBJECT, true, "1.2.840.113549.1.9.7", "malformed",
		  "an attribute other than extensionRequest" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		CH_AUTO(ch_bytes)
		info = make_request_info(fixture, cases[i].version, cases[i].subject, cases[i].own_key,
					 cases[i].attribute);

		assert_false(ask(fixture, purpose_csr, ch_view_of(&info), (struct ch_view)CH_NONE));
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

static void a_truncated_certification_request_is_refused_at_every_length(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) info = make_request_info(fixture, 0, CA_SUBJECT, true, NULL);

	for (size_t size = 0; size < info.size; size++) {
		assert_false(ask(fixture, purpose_csr, ch_view(info.data, size), (struct ch_view)CH_NONE));
		assert_string_equal(fixture->check.reason, "malformed");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_certification_request_comes_as_far_as_its_approvals),
		WITH_KEY(each_rule_of_a_certification_request_is_held),
		WITH_KEY(a_truncated_certification_request_is_refused_at_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
