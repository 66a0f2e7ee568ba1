/* SPDX-License-Identifier: Apache-2.0 */
/* log.c: formats one JSON line and hands it to queue.c whole, so that lines of threads never mix. */
#include "log/internal.h"

#include "clock/clock.h"
#include "text/text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

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

static void add_member(struct ch_buffer *line, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	ch_buffer_printf(line, "%s\"%s\":\"", line->data[line->used - 1] == '{' ? "" : ",", name);
	ch_text_add_json(line, ch_view_text(value), false);
	ch_buffer_add(line, "\"", 1);
}

void ch_log_add_line(struct ch_buffer *out, enum ch_log_level level, const struct ch_log_scope *scope,
		     const char *message)
{
	char now[CH_TIME_TEXT_SIZE];

	ch_buffer_add(out, "{", 1);
	add_member(out, "time", ch_time_text(ch_clock_now_us(ch_clock_system()), now));
	add_member(out, "level", level_names[level]);
	add_member(out, "service", log_service);
	add_member(out, "instance", log_instance);
	add_member(out, "msg", message);
	if (scope) {
		add_member(out, "message_id", scope->message_id);
		add_member(out, "tenant", scope->tenant);
		add_member(out, "trace_id", scope->trace_id);
	}
	ch_buffer_add(out, "}\n", 2);
}

void ch_log(enum ch_log_level level, const struct ch_log_scope *scope, const char *format, ...)
{
	CH_AUTO(ch_buffer) line = CH_NONE;
	char message[2048];
	va_list arguments;

	if ((int)level < atomic_load(&log_level))
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	ch_log_add_line(&line, level, scope, message);
	ch_log_pass(ch_buffer_view(&line));
}
