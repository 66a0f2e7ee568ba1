/* SPDX-License-Identifier: Apache-2.0 */
/* text_test.c: what people see of a text is what it is (Unicode UAX #9, UTR #36). */
#include "text/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_of_the_worlds_scripts_are_taken(void **state)
{
	static const char *const names[] = {
		"Example Root CA 2026", "Ærøskøbing", "株式会社", "Ελλάς", "ישראל", "مثال", "𝒞hancery"
	};
	struct ch_error err;

	for (size_t i = 0; i < CH_COUNT(names); i++) {
		CH_AUTO(ch_string) shown = ch_text_escape(ch_view_text(names[i]));

		assert_true(ch_text_check("label", ch_view_text(names[i]), &err));
		assert_string_equal(shown, names[i]);
	}
}

static void what_does_not_show_as_what_it_is_is_refused_and_escaped(void **state)
{
	static const struct {
		const char *text, *shown;
	} rows[] = {
		{ "a\x1b[2Jb", "a<U+001B>[2Jb" }, /* C0: clears the screen */
		{ "a\nb", "a<U+000A>b" },         /* a second line */
		{ "a\x7f", "a<U+007F>" },         /* DEL */
		{ "a\xc2\x9b"
		  "2J",
		  "a<U+009B>2J" }, /* C1: CSI in one character */
		{ "Root\xe2\x80\xae"
		  "AC",
		  "Root<U+202E>AC" },                                 /* right-to-left override */
		{ "\xe2\x81\xa6x\xe2\x81\xa9", "<U+2066>x<U+2069>" }, /* isolates */
		{ "\xe2\x80\x8f", "<U+200F>" },                       /* right-to-left mark */
		{ "a\xe2\x80\xa8"
		  "b",
		  "a<U+2028>b" }, /* line separator */
		{ "a\xe2\x80\xa9"
		  "b",
		  "a<U+2029>b" },                           /* paragraph separator */
		{ "pay\xe2\x80\x8bpal", "pay<U+200B>pal" }, /* zero-width space */
		{ "\xef\xbb\xbf"
		  "a",
		  "<U+FEFF>a" },                                    /* byte order mark */
		{ "a\xf3\xa0\x81\x81", "a<U+E0041>" },              /* a tag */
		{ "a\xef\xbf\xbf", "a<U+FFFF>" },                   /* no character */
		{ "a\xff", "a<0xFF>" },                             /* no UTF-8 */
		{ "\xc0\xaf", "<0xC0><0xAF>" },                     /* over-long */
		{ "\xed\xa0\x80", "<0xED><0xA0><0x80>" },           /* a surrogate */
		{ "\xf4\x90\x80\x80", "<0xF4><0x90><0x80><0x80>" }, /* above U+10FFFF */
		{ "\xe2\x82", "<0xE2><0x82>" },                     /* cut off */
	};
	struct ch_error err;

	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		CH_AUTO(ch_string) shown = ch_text_escape(ch_view_text(rows[i].text));

		assert_string_equal(shown, rows[i].shown);
		assert_false(ch_text_check("label", ch_view_text(rows[i].text), &err));
		assert_int_equal(err.code, CH_INVALID);
		assert_non_null(strstr(err.message, "label"));
	}
}

static void a_refusal_names_the_character_and_where_it_stands(void **state)
{
	struct ch_error err;

	assert_false(ch_text_check("subject",
				   ch_view_text("Root\xe2\x80\xae"
						"AC"),
				   &err));
	assert_string_equal(err.message, "subject has the character U+202E at octet 4, which does not show");
}

static void what_does_not_show_and_what_was_cut_off_becomes_a_question_mark(void **state)
{
	char text[] = "a\n\xe2\x82\xac\xe2\x80\xae\xff\xe2\x82";
	char empty[] = "";

	ch_text_clean(text);
	assert_string_equal(text, "a?\xe2\x82\xac????");
	ch_text_clean(empty);
	assert_string_equal(empty, "");
}

static void lines_stay_lines_where_many_are_shown(void **state)
{
	CH_AUTO(ch_string) shown = ch_text_escape_lines(ch_view_text("a:\tb\nc\r\xe2\x80\xa8"
								     "d"));

	assert_string_equal(shown, "a:\tb\nc<U+000D><U+2028>d");
}

static void json_stays_json(void **state)
{
	CH_AUTO(ch_buffer) string = CH_NONE, document = CH_NONE;
	CH_AUTO(ch_string) first = NULL, second = NULL;

	ch_text_add_json(&string, ch_view_text("\"\\\n\xe2\x80\xae\xf3\xa0\x81\x81\xff"), false);
	first = ch_buffer_steal_text(&string);
	assert_string_equal(first, "\\\"\\\\\\u000a\\u202e\\udb40\\udc41\\ufffd");
	ch_text_add_json(&document, ch_view_text("{\n\t\"a\": \"\\n\xe2\x80\xae\"\n}"), true);
	second = ch_buffer_steal_text(&document);
	assert_string_equal(second, "{\n\t\"a\": \"\\n\\u202e\"\n}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_the_worlds_scripts_are_taken),
		cmocka_unit_test(what_does_not_show_and_what_was_cut_off_becomes_a_question_mark),
		cmocka_unit_test(what_does_not_show_as_what_it_is_is_refused_and_escaped),
		cmocka_unit_test(a_refusal_names_the_character_and_where_it_stands),
		cmocka_unit_test(lines_stay_lines_where_many_are_shown),
		cmocka_unit_test(json_stays_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
