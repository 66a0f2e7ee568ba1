/* SPDX-License-Identifier: Apache-2.0 */
/* log_test.c: one line of valid JSON for each event, whatever it says. */
#include "log/log.h"

#include "mem/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What `message` looks like on standard error, from "msg": on. */
static char line[8192];

static const char *logged(const struct ch_log_scope *scope, const char *message)
{
	int pipes[2];
	int saved = dup(STDERR_FILENO);
	ssize_t size;
	char *start;

	assert_int_equal(pipe(pipes), 0);
	assert_true(dup2(pipes[1], STDERR_FILENO) >= 0);
	ch_log(CH_LOG_INFO, scope, "%s", message);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipes[1]);
	size = read(pipes[0], line, sizeof(line) - 1);
	close(pipes[0]);
	line[size < 0 ? 0 : size] = 0;
	start = strstr(line, "\"msg\":");
	return start ? start : line;
}

static void a_line_names_service_instance_and_request(void **state)
{
	const struct ch_log_scope scope = { "0a0b", "default", "77" };

	assert_string_equal(
		logged(&scope, "done"),
		"\"msg\":\"done\",\"message_id\":\"0a0b\",\"tenant\":\"default\",\"trace_id\":\"77\"}\n");
	assert_non_null(strstr(line, "{\"time\":\"20"));
	assert_non_null(strstr(line, "\"level\":\"info\",\"service\":\"ocsp\",\"instance\":\"ocsp-1\","));
}

static void quotes_and_control_characters_are_escaped(void **state)
{
	assert_string_equal(logged(NULL, "a\"b\\c\nd\x01\x7f"),
			    "\"msg\":\"a\\\"b\\\\c\\u000ad\\u0001\\u007f\"}\n");
}

static void utf8_passes(void **state)
{
	assert_string_equal(logged(NULL, "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbd"),
			    "\"msg\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbd\"}\n");
}

/* RFC 8259 §8.1: JSON is UTF-8. A peer's octets must not make a line that no reader takes. */
static void what_is_not_utf8_becomes_the_replacement_character(void **state)
{
	assert_string_equal(logged(NULL, "a\xff"
					 "b"),
			    "\"msg\":\"a\\ufffdb\"}\n");
	assert_string_equal(logged(NULL, "\xc3"), "\"msg\":\"\\ufffd\"}\n"); /* cut off */
	assert_string_equal(logged(NULL, "\x80"), "\"msg\":\"\\ufffd\"}\n"); /* continuation alone */
	assert_string_equal(logged(NULL, "\xc0\xaf"), "\"msg\":\"\\ufffd\\ufffd\"}\n"); /* overlong '/' */
	assert_string_equal(logged(NULL, "\xe0\x80\xaf"), "\"msg\":\"\\ufffd\\ufffd\\ufffd\"}\n");
	assert_string_equal(logged(NULL, "\xed\xa0\x80"),
			    "\"msg\":\"\\ufffd\\ufffd\\ufffd\"}\n"); /* surrogate */
	assert_string_equal(logged(NULL, "\xf4\x90\x80\x80"),
			    "\"msg\":\"\\ufffd\\ufffd\\ufffd\\ufffd\"}\n"); /* above U+10FFFF */
	assert_string_equal(logged(NULL, "\xe2\x82\""), "\"msg\":\"\\ufffd\\ufffd\\\"\"}\n");
}

/* A long message is cut; a character cut in two is no longer one. */
static void a_cut_message_is_still_json(void **state)
{
	char message[4096];
	const char *text;

	for (size_t i = 0; i + 1 < sizeof(message); i += 2)
		memcpy(message + i, "\xc3\xa9", 2);
	message[sizeof(message) - 1] = 0;
	text = logged(NULL, message);
	assert_true(strlen(text) > 2000);
	assert_string_equal(text + strlen(text) - 9, "\\ufffd\"}\n");
}

static void the_level_decides_what_is_written(void **state)
{
	struct ch_error err = CH_NONE;

	assert_true(ch_log_set_level("warn", &err));
	assert_string_equal(logged(NULL, "quiet"), "");
	assert_true(ch_log_set_level("info", &err));
	assert_false(ch_log_set_level("loud", &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_string_not_equal(logged(NULL, "heard"), "");
}

static int name_the_process(void **state)
{
	ch_log_open("ocsp", "ocsp-1");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_names_service_instance_and_request),
		cmocka_unit_test(quotes_and_control_characters_are_escaped),
		cmocka_unit_test(utf8_passes),
		cmocka_unit_test(what_is_not_utf8_becomes_the_replacement_character),
		cmocka_unit_test(a_cut_message_is_still_json),
		cmocka_unit_test(the_level_decides_what_is_written),
	};

	return cmocka_run_group_tests(tests, name_the_process, NULL);
}
