/* SPDX-License-Identifier: Apache-2.0 */
/* log.c: formats one JSON line and writes it at once, so that lines of threads never mix. */
#include "log/log.h"

#include "clock/clock.h"
#include "mem/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The process's name on its log lines and its level: set at start, the one state that a log call cannot be
 * handed. */
static char log_service[64] = "chancery";
static char log_instance[64] = "";
static atomic_int log_level = CH_LOG_INFO;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void ch_log_open(const char *service, const char *instance)
{
	snprintf(log_service, sizeof(log_service), "%s", service);
	snprintf(log_instance, sizeof(log_instance), "%s", instance);
}

bool ch_log_set_level(const char *name, struct ch_error *err)
{
	for (size_t i = 0; i < CH_COUNT(level_names); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			atomic_store(&log_level, (int)i);
			return true;
		}
	}
	return ch_fail(err, CH_INVALID, "log level '%s' is not one of debug, info, warn, error", name);
}

/* Octets of the UTF-8 character that begins at `text` (RFC 3629: shortest form, no surrogates, up to
 * U+10FFFF), 0 where there is none. The terminating zero ends a sequence like any other wrong octet. */
static size_t utf8_length(const unsigned char *text)
{
	unsigned char low = 0x80;
	unsigned char high = 0xbf;
	size_t length = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;

	if (text[0] > 0xf4)
		return 0;
	if (text[0] == 0xe0)
		low = 0xa0;
	if (text[0] == 0xed)
		high = 0x9f;
	if (text[0] == 0xf0)
		low = 0x90;
	if (text[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < length; i++) {
		if (text[i] < low || text[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

static void add_escaped(struct ch_buffer *line, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		size_t length = utf8_length(at);

		if (length == 0)
			ch_buffer_printf(line, "\\ufffd");
		else if (*at == '"' || *at == '\\')
			ch_buffer_printf(line, "\\%c", *at);
		else if (*at < 0x20 || *at == 0x7f)
			ch_buffer_printf(line, "\\u%04x", *at);
		else
			ch_buffer_add(line, at, length);
		at += length ? length : 1;
	}
}

static void add_member(struct ch_buffer *line, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	ch_buffer_printf(line, "%s\"%s\":\"", line->used > 1 ? "," : "", name);
	add_escaped(line, value);
	ch_buffer_add(line, "\"", 1);
}

void ch_log(enum ch_log_level level, const struct ch_log_scope *scope, const char *format, ...)
{
	CH_AUTO(ch_buffer) line = CH_NONE;
	char now[CH_TIME_TEXT_SIZE];
	char message[2048];
	va_list arguments;
	ssize_t ignored;

	if ((int)level < atomic_load(&log_level))
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);

	ch_buffer_add(&line, "{", 1);
	add_member(&line, "time", ch_time_text(ch_clock_now_us(ch_clock_system()), now));
	add_member(&line, "level", level_names[level]);
	add_member(&line, "service", log_service);
	add_member(&line, "instance", log_instance);
	add_member(&line, "msg", message);
	if (scope) {
		add_member(&line, "message_id", scope->message_id);
		add_member(&line, "tenant", scope->tenant);
		add_member(&line, "trace_id", scope->trace_id);
	}
	ch_buffer_add(&line, "}\n", 2);
	ignored = write(STDERR_FILENO, line.data, line.used);
	(void)ignored;
}
