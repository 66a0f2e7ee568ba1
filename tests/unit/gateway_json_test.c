/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_json_test.c: which texts the gateway takes for JSON, and how members are taken out of them. */
#include "json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static bool check(const char *text)
{
	struct ch_error err;

	return json_check(ch_view_text(text), &err);
}

static void the_grammar_of_rfc_8259_is_taken(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		" { } ",
		"\t[\r\n]\n",
		"null",
		"true",
		"false",
		"0",
		"-0",
		"10",
		"1.5",
		"-1e9",
		"1E+9",
		"1.25e-3",
		"\"\"",
		"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
		"\"\\ud83d\\ude00\"",
		"\"é😀\"",
		"{\"a\":1}",
		"{\"a\" : [ 1 , {\"b\":null} , [] ] , \"c\":{}}",
		"[[],{},\"\"]",
		"\"\x7f\"",
	};

	for (size_t i = 0; i < CH_COUNT(texts); i++)
		if (!check(texts[i]))
			fail_msg("refused: %s", texts[i]);
}

static void everything_else_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"{",
		"}",
		"[",
		"]",
		"{]",
		"[}",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":}",
		"{\"a\":1",
		"{\"a\":1,",
		"{\"a\":1,}",
		"{,}",
		"[,]",
		"[1,]",
		"[1 2]",
		"{\"a\" 1}",
		"{a:1}",
		"{'a':1}",
		"{1:2}",
		"nul",
		"True",
		"tru",
		"nullx",
		"01",
		"-",
		"+1",
		".5",
		"1.",
		"1e",
		"1e+",
		"0x1",
		"NaN",
		"Infinity",
		"1 1",
		"{}{}",
		"{} x",
		"\"",
		"\"a",
		"\"\\\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"\\u0000\"",
		"\"\\ud800\"",
		"\"\\ud800x\"",
		"\"\\ud800\\u0041\"",
		"\"\\udc00\"",
		"\"\n\"",
		"\"\x01\"",
		"/* */{}",
		"{}//",
		"\xef\xbb\xbf{}",
		"\"\xff\"",
		"\"\xc0\xaf\"",
		"\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"",
		"\x0b{}",
		"[1,,2]",
		"{\"a\":1,,\"b\":2}",
		"{\"a\"::1}",
	};

	for (size_t i = 0; i < CH_COUNT(texts); i++)
		if (check(texts[i]))
			fail_msg("taken: %s", texts[i]);
}

static void a_zero_octet_ends_nothing(void **state)
{
	struct ch_error err;

	assert_false(json_check(ch_view("{}\0", 3), &err));
	assert_false(json_check(ch_view("{\"a\0b\":1}", 9), &err));
	assert_false(json_check(ch_view("\0{}", 3), &err));
}

static void the_error_says_what_and_where(void **state)
{
	struct ch_error err;

	assert_false(json_check(ch_view_text("{\"a\":01}"), &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_string_equal(err.message, "not JSON: neither ',' nor the end of its list at octet 6");
}

static void nesting_and_the_number_of_values_are_bounded(void **state)
{
	CH_AUTO(ch_buffer) deep = CH_NONE;
	CH_AUTO(ch_buffer) wide = CH_NONE;
	struct ch_error err;

	for (int i = 0; i < 16; i++)
		ch_buffer_add(&deep, "[", 1);
	for (int i = 0; i < 16; i++)
		ch_buffer_add(&deep, "]", 1);
	assert_true(json_check(ch_buffer_view(&deep), &err));
	for (int i = 0; i < 100000; i++)
		ch_buffer_add(&deep, "[", 1);
	assert_false(json_check(ch_view(deep.data + 32, deep.used - 32), &err));
	assert_string_equal(err.message, "not JSON: nested deeper than 16 at octet 16");
	ch_buffer_add(&wide, "[0", 2);
	for (int i = 0; i < 5000; i++)
		ch_buffer_add(&wide, ",0", 2);
	ch_buffer_add(&wide, "]", 1);
	assert_false(json_check(ch_buffer_view(&wide), &err));
}

static cJSON *object(const char *text)
{
	cJSON *tree = NULL;
	struct ch_error err;

	if (!json_read_object(ch_view_text(text), &tree, &err))
		fail_msg("%s", err.message);
	return tree;
}

static void only_an_object_is_a_body(void **state)
{
	cJSON *tree = NULL;
	struct ch_error err;

	assert_false(json_read_object(ch_view_text("[]"), &tree, &err));
	assert_string_equal(err.message, "the body must be a JSON object");
	assert_null(tree);
}

static void unknown_and_repeated_members_are_refused(void **state)
{
	static const char *const known[] = { "a", "b", NULL };
	CH_AUTO(cJSON) good = object("{\"b\":1,\"a\":2}");
	CH_AUTO(cJSON) unknown = object("{\"a\":1,\"A\":2}");
	CH_AUTO(cJSON) twice = object("{\"a\":1,\"b\":1,\"\\u0061\":2}");
	struct ch_error err;

	assert_true(json_only(good, "the body", known, &err));
	assert_false(json_only(unknown, "the body", known, &err));
	assert_string_equal(err.message, "unknown member 'A' in the body (known: a, b)");
	assert_false(json_only(twice, "the body", known, &err));
	assert_string_equal(err.message, "member 'a' stands twice in the body");
}

static void members_of_a_wrong_type_are_named(void **state)
{
	CH_AUTO(cJSON) tree = object("{\"n\":1,\"s\":\"text\",\"l\":[1,2],\"o\":{},\"b\":true,\"z\":null}");
	const cJSON *list;
	const char *text;
	struct ch_error err;

	assert_true(json_string(tree, "s", JSON_REQUIRED, 4, &text, &err));
	assert_string_equal(text, "text");
	assert_true(json_array(tree, "l", JSON_REQUIRED, 2, &list, &err));
	assert_true(json_string(tree, "absent", JSON_OPTIONAL, 4, &text, &err));
	assert_null(text);
	assert_true(json_string(tree, "z", JSON_OPTIONAL, 4, &text, &err));
	assert_null(text);
	assert_false(json_string(tree, "s", JSON_REQUIRED, 3, &text, &err));
	assert_false(json_array(tree, "l", JSON_REQUIRED, 1, &list, &err));
	assert_false(json_string(tree, "absent", JSON_REQUIRED, 4, &text, &err));
	assert_string_equal(err.message, "member 'absent' is missing");
	assert_false(json_string(tree, "n", JSON_OPTIONAL, 4, &text, &err));
	assert_string_equal(err.message, "member 'n' is a number, not a string");
	assert_false(json_string(tree, "b", JSON_OPTIONAL, 4, &text, &err));
	assert_string_equal(err.message, "member 'b' is a boolean, not a string");
	assert_false(json_array(tree, "o", JSON_OPTIONAL, 4, &list, &err));
	assert_string_equal(err.message, "member 'o' is an object, not an array");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_grammar_of_rfc_8259_is_taken),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(a_zero_octet_ends_nothing),
		cmocka_unit_test(the_error_says_what_and_where),
		cmocka_unit_test(nesting_and_the_number_of_values_are_bounded),
		cmocka_unit_test(only_an_object_is_a_body),
		cmocka_unit_test(unknown_and_repeated_members_are_refused),
		cmocka_unit_test(members_of_a_wrong_type_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
