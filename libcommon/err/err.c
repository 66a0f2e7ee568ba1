/* SPDX-License-Identifier: Apache-2.0 */
/* err.c: sets, wraps and names errors. Called everywhere. */
#include "err/err.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct code_row {
	enum ch_code code;
	const char *name;
	int http_status;
	bool retryable;
};

static const struct code_row code_rows[] = {
	{ CH_OK, "ok", 200, false },
	{ CH_INVALID, "invalid", 400, false },
	{ CH_DENIED, "denied", 403, false },
	{ CH_UNAUTHENTICATED, "unauthenticated", 401, false },
	{ CH_NOT_FOUND, "not-found", 404, false },
	{ CH_CONFLICT, "conflict", 409, false },
	{ CH_TOO_LARGE, "too-large", 413, false },
	{ CH_EXHAUSTED, "exhausted", 429, true },
	{ CH_EXPIRED, "expired", 504, true },
	{ CH_REPLAYED, "replayed", 409, true },
	{ CH_UNAVAILABLE, "unavailable", 503, true },
	{ CH_INTERNAL, "internal", 500, false },
	{ CH_UNSUPPORTED, "unsupported", 501, false },
};

static const struct code_row *find_row(enum ch_code code)
{
	for (size_t i = 0; i < sizeof(code_rows) / sizeof(code_rows[0]); i++)
		if (code_rows[i].code == code)
			return &code_rows[i];
	return NULL;
}

static void set(struct ch_error *err, enum ch_code code, const char *format, va_list arguments)
{
	const struct code_row *row = find_row(code);

	err->code = code;
	err->origin = CH_ORIGIN_LOCAL;
	err->retryable = row && row->retryable;
	err->retry_after_ms = 0;
	vsnprintf(err->message, sizeof(err->message), format, arguments);
}

static void append(struct ch_error *err, const char *text)
{
	size_t used = strlen(err->message);

	snprintf(err->message + used, sizeof(err->message) - used, ": %s", text);
}

void ch_error_set(struct ch_error *err, enum ch_code code, const char *format, ...)
{
	va_list arguments;

	if (!err)
		return;
	va_start(arguments, format);
	set(err, code, format, arguments);
	va_end(arguments);
}

void ch_error_wrap(struct ch_error *err, const char *context_format, ...)
{
	char inner[sizeof(err->message)];
	va_list arguments;

	if (!err)
		return;
	memcpy(inner, err->message, sizeof(inner));
	va_start(arguments, context_format);
	vsnprintf(err->message, sizeof(err->message), context_format, arguments);
	va_end(arguments);
	append(err, inner);
}

void ch_error_set_openssl(struct ch_error *err, enum ch_code code, const char *format, ...)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	va_list arguments;

	if (err) {
		va_start(arguments, format);
		set(err, code, format, arguments);
		va_end(arguments);
		append(err, reason ? reason : "no reason given by OpenSSL");
	}
	ERR_clear_error();
}

void ch_error_set_errno(struct ch_error *err, enum ch_code code, int number, const char *format, ...)
{
	char text[128];
	va_list arguments;

	if (!err)
		return;
	va_start(arguments, format);
	set(err, code, format, arguments);
	va_end(arguments);
	append(err, strerror_r(number, text, sizeof(text)));
}

struct ch_error ch_error_outward(const struct ch_error *err)
{
	struct ch_error outward = *err;

	if (err->origin != CH_ORIGIN_TRANSPORT)
		return outward;
	switch (err->code) {
	case CH_UNAUTHENTICATED:
	case CH_DENIED:
	case CH_EXPIRED:
	case CH_REPLAYED:
		outward.code = CH_UNAVAILABLE;
		outward.retryable = true;
		break;
	default:
		break;
	}
	return outward;
}

const char *ch_code_name(enum ch_code code)
{
	const struct code_row *row = find_row(code);

	return row ? row->name : "unknown";
}

int ch_code_http_status(enum ch_code code)
{
	const struct code_row *row = find_row(code);

	return row ? row->http_status : 500;
}
