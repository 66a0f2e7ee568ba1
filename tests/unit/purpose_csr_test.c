/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_csr_test.c: which certification requests are signed, and which refused: only for the name and the
 * key that the vault has, with approvals.
 */
#include "purpose_fixture.h"

/* version 0; subject and key of the fixture's key, where they are not given. */
static const char *extension = "1.2.3.4"; /* what extensionRequest asks for; the key's policy names it */

static struct ch_bytes make_request_of(struct fixture *fixture, uint64_t version, const char *subject,
				       bool own_key, const char *const *attributes, size_t padding)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) name = CH_NONE;
	CH_AUTO(ch_bytes) info = public_key_info(0x33);
	CH_AUTO(ch_bytes) octets = { ch_alloc(padding + 1), padding };
	CH_AUTO(ch_bytes) value = CH_NONE;
	struct ch_error err;

	ch_der_put_octet_string(&writer, ch_view_of(&octets));
	value = ch_der_done(&writer);

	assert_true(ch_name_parse(subject, &name, &err));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, version);
	ch_der_put_raw(&writer, ch_view_of(&name));
	ch_der_put_raw(&writer, own_key ? ch_view_of(&fixture->key.public_key_info) : ch_view_of(&info));
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	for (; *attributes; attributes++) {
		ch_der_begin(&writer, CH_DER_SEQUENCE);
		assert_true(ch_der_put_oid(&writer, *attributes, &err));
		ch_der_begin(&writer, CH_DER_SET);
		ch_der_begin(&writer, CH_DER_SEQUENCE);
		ch_extension_put(&writer, extension, false, ch_view_of(&value));
		ch_der_finish(&writer);
		ch_der_finish(&writer);
		ch_der_finish(&writer);
	}
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static struct ch_bytes make_request_info(struct fixture *fixture, uint64_t version, const char *subject,
					 bool own_key, const char *attribute)
{
	const char *const attributes[] = { attribute, NULL };

	return make_request_of(fixture, version, subject, own_key, attributes, 0);
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

static void an_approved_certification_request_is_signed(void **state)
{
	const struct ch_action_field subject = { (char *)"subject", (char *)CA_SUBJECT };
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) info = make_request_info(fixture, 0, CA_SUBJECT, true, NULL);
	CH_AUTO(ch_bytes)
	other = make_request_info(fixture, 0, CA_SUBJECT, true, "1.2.840.113549.1.9.14");

	have_approved(fixture, CHANCERY__ACTION_KIND__ACTION_CA_CSR, ch_view_of(&info), &subject, 1);
	if (!ask(fixture, purpose_csr, ch_view_of(&info), (struct ch_view)CH_NONE))
		fail_msg("%s", fixture->err.message);
	assert_true(fixture->check.uses_action);
	assert_string_equal(fixture->check.approvers, "alice bob");
	assert_false(fixture->check.sets_ca_limits);

	/* Not what was approved. */
	assert_false(ask(fixture, purpose_csr, ch_view_of(&other), (struct ch_view)CH_NONE));
	assert_refused(fixture, "approval-content", "tbs-sha256");
	assert_false(fixture->check.uses_action);
}

static void a_request_has_one_attribute_and_at_most_64_kib(void **state)
{
	static const char *const two[] = { "1.2.840.113549.1.9.14", "1.2.840.113549.1.9.14", NULL };
	static const char *const one[] = { "1.2.840.113549.1.9.14", NULL };
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) twice = make_request_of(fixture, 0, CA_SUBJECT, true, two, 0);
	CH_AUTO(ch_bytes) measured = make_request_of(fixture, 0, CA_SUBJECT, true, one, 65000);
	CH_AUTO(ch_bytes) large = make_request_of(fixture, 0, CA_SUBJECT, true, one, 65536);

	assert_false(ask(fixture, purpose_csr, ch_view_of(&twice), (struct ch_view)CH_NONE));
	assert_refused(fixture, "malformed", "CertificationRequestInfo.attributes");
	assert_false(ask(fixture, purpose_csr, ch_view_of(&large), (struct ch_view)CH_NONE));
	assert_refused(fixture, "malformed", "at most 65536 allowed");

	CH_AUTO(ch_bytes) largest =
		make_request_of(fixture, 0, CA_SUBJECT, true, one, 65000 + 65536 - measured.size);

	assert_int_equal(largest.size, 65536);
	assert_false(ask(fixture, purpose_csr, ch_view_of(&largest), (struct ch_view)CH_NONE));
	assert_refused(fixture, "approval-missing", "no action is named");
}

static void a_request_cut_short_or_with_more_in_it_is_refused(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) info = make_request_info(fixture, 0, CA_SUBJECT, true, "1.2.840.113549.1.9.14");

	assert_truncated_is_malformed(fixture, purpose_csr, ch_view_of(&info), (struct ch_view)CH_NONE);
	assert_int_equal(
		count_accepted_when_grown(fixture, purpose_csr, ch_view_of(&info), (struct ch_view)CH_NONE),
		0);
}

static void a_request_asks_for_what_a_ca_certificate_may_have(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) info = CH_NONE;

	extension = "2.5.29.28";
	info = make_request_info(fixture, 0, CA_SUBJECT, true, "1.2.840.113549.1.9.14");
	extension = "1.2.3.4";
	assert_false(ask(fixture, purpose_csr, ch_view_of(&info), (struct ch_view)CH_NONE));
	assert_refused(fixture, "extension", "is not signed in a CA's certification request");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_certification_request_comes_as_far_as_its_approvals),
		WITH_KEY(each_rule_of_a_certification_request_is_held),
		WITH_KEY(an_approved_certification_request_is_signed),
		WITH_KEY(a_request_has_one_attribute_and_at_most_64_kib),
		WITH_KEY(a_request_asks_for_what_a_ca_certificate_may_have),
		WITH_KEY(a_request_cut_short_or_with_more_in_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
