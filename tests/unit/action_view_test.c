/* SPDX-License-Identifier: Apache-2.0 */
/* action_view_test.c: what an officer sees comes from the octets that are signed, and nothing is signed that
 * could not be shown. */
#include "action_view.h"

#include "action/action.h"
#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char digest_of_x[] = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

/* An action about a key, with what the vault says of it. */
static struct ch_bytes document_of(Chancery__ActionKind kind, const struct ch_action_field *fields,
				   size_t count)
{
	CH_AUTO(ch_action)
	action = { .kind = kind,
		   .id = "5f0c0c1a77b84a2c9d3c8e0b7d1f2a34",
		   .tenant = "default",
		   .created_us = 1000 * CH_SECOND,
		   .expires_us = 2000 * CH_SECOND,
		   .proposed_by = ch_strdup("alice"),
		   .proposed_through = ch_strdup("issuer/issuer-1"),
		   .proposed_from = ch_strdup("192.0.2.7") };
	struct ch_bytes document = CH_NONE;
	struct ch_error err;

	for (size_t i = 0; i < count; i++)
		action.fields[action.field_count++] =
			(struct ch_action_field){ ch_strdup(fields[i].name), ch_strdup(fields[i].value) };
	ch_action_add_fact(&action, "key-label", "Example\xe2\x80\xaeRoot");
	if (!ch_action_format(&action, &document, &err))
		fail_msg("%s", err.message);
	return document;
}

static bool show(struct ch_view document, struct ch_view content, char **shown, struct ch_error *err)
{
	size_t size = 0;
	FILE *out = open_memstream(shown, &size);
	bool ok = action_view_show(out, document, content, err);

	fclose(out);
	return ok;
}

/* Whoever proposes could draw lines of his own where the officer's terminal folds. */
static void a_value_that_pads_itself_shows_its_padding(void **state)
{
	static const char *const values[][2] = {
		{ "harmless            through  operator", " harmless <U+0020><U+0020>" },
		{ "harmless            through  operator", "through <U+0020>operator\n" },
		{ "a\xc2\xa0\xe2\x80\x83\xe2\xa0\x80\xe3\x80\x80 b c",
		  " a<U+00A0><U+2003><U+2800><U+3000><U+0020>b c\n" },
	};

	for (size_t i = 0; i < CH_COUNT(values); i++) {
		const struct ch_action_field fields[] = { ch_action_field("key", values[i][0]) };
		CH_AUTO(ch_bytes)
		document = document_of(CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, fields, CH_COUNT(fields));
		CH_AUTO(ch_string) shown = NULL;
		struct ch_error err;

		assert_true(show(ch_view_of(&document), (struct ch_view)CH_NONE, &shown, &err));
		if (!strstr(shown, values[i][1]))
			fail_msg("%s: not in %s", values[i][1], shown);
	}
}

static void who_proposed_what_about_which_key_is_shown(void **state)
{
	const struct ch_action_field fields[] = { ch_action_field("key", "f6529ff8") };
	CH_AUTO(ch_bytes)
	document = document_of(CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, fields, CH_COUNT(fields));
	CH_AUTO(ch_string) shown = NULL;
	struct ch_error err;

	assert_true(show(ch_view_of(&document), (struct ch_view)CH_NONE, &shown, &err));
	for (size_t i = 0; i < 6; i++) {
		static const char *const parts[] = { "export-key", "The private key is given out",
						     "alice",      "issuer/issuer-1",
						     "192.0.2.7",  "f6529ff8" };

		assert_non_null(strstr(shown, parts[i]));
	}
	assert_non_null(strstr(shown, "Example<U+202E>Root")); /* a label of before is escaped */
}

static void a_digest_without_what_it_is_of_is_not_approved(void **state)
{
	const struct ch_action_field fields[] = { ch_action_field("key", "f6529ff8"),
						  ch_action_field("tbs-sha256", digest_of_x),
						  ch_action_field("subject", "CN=Example Root"),
						  ch_action_field("not-after", "2046-11-21T04:30:00Z") };
	CH_AUTO(ch_bytes)
	document = document_of(CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE, fields, CH_COUNT(fields));
	CH_AUTO(ch_string) none = NULL, other = NULL, right = NULL;
	struct ch_error err;

	assert_false(show(ch_view_of(&document), (struct ch_view)CH_NONE, &none, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_false(show(ch_view_of(&document), ch_view_text("y"), &other, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, digest_of_x));
	/* The right octets are decoded: these are no certificate. */
	assert_false(show(ch_view_of(&document), ch_view_text("x"), &right, &err));
	assert_non_null(strstr(err.message, "TBSCertificate"));
}

static void without_a_terminal_nobody_is_taken_to_have_agreed(void **state)
{
	static const struct cli_command command = { .noun = "approve", .verb = "" };
	struct cli cli = { .command = &command };
	struct ch_error err;

	assert_non_null(freopen("/dev/null", "r", stdin));
	assert_false(action_view_confirm(&cli, "alice", &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, "--yes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_that_pads_itself_shows_its_padding),
		cmocka_unit_test(who_proposed_what_about_which_key_is_shown),
		cmocka_unit_test(a_digest_without_what_it_is_of_is_not_approved),
		cmocka_unit_test(without_a_terminal_nobody_is_taken_to_have_agreed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
