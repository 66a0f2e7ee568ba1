/* SPDX-License-Identifier: Apache-2.0 */
/* action_test.c: the document that officers sign has one form for one content, and says exactly what is
 * approved. */
#include "action/action.h"

#include "clock/clock.h"
#include "err/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "Chancery action v2\n"
			   "action: ca-certificate\n"
			   "id: 5f0c0c1a77b84a2c9d3c8e0b7d1f2a34\n"
			   "tenant: default\n"
			   "created: 2026-11-21T04:30:00Z\n"
			   "expires: 2026-11-22T04:30:00Z\n"
			   "proposed-by: alice\n"
			   "proposed-through: issuer/issuer-1\n"
			   "proposed-from: 192.0.2.7\n"
			   "key: 00112233445566778899aabbccddeeff\n"
			   "tbs-sha256: 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b\n"
			   "subject: CN=Zürich Root,O=Example\n"
			   "not-after: 2046-11-21T04:30:00Z\n"
			   "about-key-label: Zürich Root\n"
			   "about-key-state: active\n";

static void read_ok(const char *document, struct ch_action *action)
{
	struct ch_error err = CH_NONE;

	if (!ch_action_read(ch_view_text(document), action, &err))
		fail_msg("%s", err.message);
}

static void assert_unread(const char *document, const char *why)
{
	struct ch_action action;
	struct ch_error err = CH_NONE;

	if (ch_action_read(ch_view_text(document), &action, &err))
		fail_msg("reads although: %s", why);
	if (!strstr(err.message, why))
		fail_msg("'%s' does not say '%s'", err.message, why);
	assert_int_equal(action.field_count, 0);
}

/* The text with `from` replaced by `to`; the caller frees it. */
static char *with(const char *from, const char *to)
{
	const char *at = strstr(text, from);

	assert_non_null(at);
	return ch_format("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void a_document_reads_as_what_it_says(void **state)
{
	CH_AUTO(ch_action) action = CH_NONE;

	(void)state;
	read_ok(text, &action);
	assert_int_equal(action.kind, CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE);
	assert_string_equal(action.id, "5f0c0c1a77b84a2c9d3c8e0b7d1f2a34");
	assert_string_equal(action.tenant, "default");
	assert_int_equal(action.expires_us - action.created_us, 24 * CH_HOUR);
	assert_string_equal(action.proposed_by, "alice");
	assert_string_equal(action.proposed_through, "issuer/issuer-1");
	assert_string_equal(action.proposed_from, "192.0.2.7");
	assert_int_equal(action.fact_count, 2);
	assert_string_equal(action.facts[0].value, "Zürich Root");
	assert_int_equal(action.field_count, 4);
	assert_string_equal(action.fields[2].name, "subject");
	assert_string_equal(action.fields[2].value, "CN=Zürich Root,O=Example");
}

static void written_again_it_is_the_same_octets(void **state)
{
	CH_AUTO(ch_action) action = CH_NONE;
	CH_AUTO(ch_bytes) again = CH_NONE;
	struct ch_error err;

	(void)state;
	read_ok(text, &action);
	assert_true(ch_action_format(&action, &again, &err));
	assert_true(ch_view_equal(ch_view_of(&again), ch_view_text(text)));
}

static void what_has_another_form_is_refused(void **state)
{
	static const struct {
		const char *from, *to, *why;
	} cases[] = {
		{ "Chancery action v2", "Chancery action v1", "does not begin with" },
		{ "action: ca-certificate", "action: coffee", "action 'coffee' is not known" },
		{ "id: 5f", "id: 5F", "not 32 hexadecimal digits" },
		{ "id: 5f", "id: 5f5f", "at most 32 allowed" },
		{ "tenant: default", "tenant: ", "tenant of 0 octets" },
		{ "tenant: default", "tenant:default", "not 'name: value'" },
		{ "tenant: default", "tenant:  default", "begins or ends with a space" },
		{ "created: 2026-11-21T04:30:00Z", "created: 2026-11-21 04:30:00", "not a time" },
		{ "created: 2026-11-21T04:30:00Z", "created: 2026-11-31T04:30:00Z", "is not a time as" },
		{ "created: 2026-11-21T04:30:00Z", "created: 2026-11-21T4:30:00Z", "is not a time as" },
		{ "created: ", "made: ", "'made' where 'created' belongs" },
		{ "key: 00112233445566778899aabbccddeeff\n", "", "wants the field 'key', not 'tbs-sha256'" },
		{ "key: 0", "kex: 0", "wants the field 'key'" },
		{ "subject: CN=Z", "subject: CN=\tZ", "control character U+0009" },
		{ "subject: CN=Z", "subject: CN=\xe2\x80\xaeZ", "U+202E" },
		{ "proposed-by: alice", "proposed-by: al\xe2\x80\xa8ice", "U+2028" },
		{ "proposed-by: alice\n", "", "'proposed-through' where 'proposed-by' belongs" },
		{ "about-key-label: Z", "about-Key: Z", "has no field 'about-Key'" },
		{ "about-key-label: Z", "about-key-label: \xc2\x9bZ", "control character U+009B" },
		{ "key: 00", "about-x: y\nkey: 00", "not in the one form" },
		{ "about-key-state: active\n", "about-key-state: active", "ends early" },
		{ "not-after: 2046-11-21T04:30:00Z\n", "", "wants the field 'not-after'" },
		{ "not-after: 2046-11-21T04:30:00Z\n", "not-after: 2046-11-21T04:30:00Z\nmore: x\n",
		  "has no field 'more'" },
		{ "not-after: 2046-11-21T04:30:00Z\n", "not-after: 2046-11-21T04:30:00Z\n\n",
		  "not 'name: value'" },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		CH_AUTO(ch_string) changed = with(cases[i].from, cases[i].to);

		assert_unread(changed, cases[i].why);
	}
}

static void a_document_over_the_cap_is_refused(void **state)
{
	CH_AUTO(ch_bytes) large = CH_NONE;
	struct ch_action action;
	struct ch_error err;

	(void)state;
	large.size = CH_ACTION_CAP + 1;
	large.data = ch_alloc(large.size);
	assert_false(ch_action_read(ch_view_of(&large), &action, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
}

static void an_approval_is_for_exactly_what_it_says(void **state)
{
	struct ch_action_field expected[] = {
		{ (char *)"key", (char *)"00112233445566778899aabbccddeeff" },
		{ (char *)"tbs-sha256",
		  (char *)"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b" },
		{ (char *)"subject", (char *)"CN=Zürich Root,O=Example" },
		{ (char *)"not-after", (char *)"2046-11-21T04:30:00Z" },
	};
	CH_AUTO(ch_action) action = CH_NONE;
	struct ch_error err = CH_NONE;

	(void)state;
	read_ok(text, &action);
	assert_true(ch_action_matches(&action, CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE, expected,
				      CH_COUNT(expected), &err));
	assert_false(ch_action_matches(&action, CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, expected, 1, &err));
	assert_string_equal(err.message, "the approved action is ca-certificate, not export-key");
	assert_false(ch_action_matches(&action, action.kind, expected, 3, &err));
	expected[1].value = (char *)"00";
	assert_false(ch_action_matches(&action, action.kind, expected, CH_COUNT(expected), &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, "approved is tbs-sha256 '6b86"));
}

static void every_kind_has_a_name_that_finds_it(void **state)
{
	(void)state;
	for (int i = CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY;
	     i <= CHANCERY__ACTION_KIND__ACTION_CHANGE_QUORUM; i++) {
		const char *name = ch_action_kind_name((Chancery__ActionKind)i);

		assert_non_null(name);
		assert_int_equal(ch_action_kind_find(name), i);
	}
	assert_null(ch_action_kind_name(CHANCERY__ACTION_KIND__ACTION_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_document_reads_as_what_it_says),
		cmocka_unit_test(written_again_it_is_the_same_octets),
		cmocka_unit_test(what_has_another_form_is_refused),
		cmocka_unit_test(a_document_over_the_cap_is_refused),
		cmocka_unit_test(an_approval_is_for_exactly_what_it_says),
		cmocka_unit_test(every_kind_has_a_name_that_finds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
