/* SPDX-License-Identifier: Apache-2.0 */
/* value.c: scalars of a document become typed members. Called by read.c for each value and each default. */
#include "conf/conf_internal.h"

#include "clock/clock.h"
#include "text/text.h"

#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* The first unit that divides a number is the one it is written in: largest first. */
static const struct unit duration_units[] = {
	{ "y", 365 * CH_DAY }, { "d", CH_DAY },    { "h", CH_HOUR },
	{ "m", CH_MINUTE },    { "s", CH_SECOND }, { "ms", CH_MILLISECOND },
};
static const struct unit size_units[] = {
	{ "GiB", INT64_C(1) << 30 },
	{ "MiB", INT64_C(1) << 20 },
	{ "KiB", INT64_C(1) << 10 },
};

/* Decimal digits at the front of *text, with a leading '-' where `negative` allows one. Overflow is false. */
static bool take_digits(const char **text, bool negative, int64_t *number)
{
	const char *at = *text;
	bool minus = negative && *at == '-';
	int64_t value = 0;

	at += minus;
	if (*at < '0' || *at > '9' || (at[0] == '0' && at[1] >= '0' && at[1] <= '9'))
		return false;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *at - '0', &value))
			return false;
	*number = minus ? -value : value;
	*text = at;
	return true;
}

static bool take_unit(const char *text, const struct unit *units, size_t count, int64_t *number)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, units[i].name) == 0)
			return !__builtin_mul_overflow(*number, units[i].factor, number);
	return false;
}

static char *with_unit(int64_t number, const struct unit *units, size_t count, const char *rest)
{
	for (size_t i = 0; number && i < count; i++)
		if (number % units[i].factor == 0)
			return ch_format("%lld%s", (long long)(number / units[i].factor), units[i].name);
	return ch_format("%lld%s", (long long)number, rest);
}

char *ch_conf_number_text(enum ch_conf_type type, int64_t number)
{
	if (type == CH_CONF_DURATION)
		return with_unit(number, duration_units, CH_COUNT(duration_units), number ? "us" : "s");
	if (type == CH_CONF_SIZE)
		return with_unit(number, size_units, CH_COUNT(size_units), "");
	return ch_format("%lld", (long long)number);
}

static bool parse_integer(struct ch_conf_scalar scalar, int64_t *number, struct ch_error *err)
{
	const char *at = scalar.text;

	if (scalar.quoted || !take_digits(&at, true, number) || *at)
		return ch_fail(err, CH_INVALID, "'%.64s' is not an integer", scalar.text);
	return true;
}

static bool parse_duration(struct ch_conf_scalar scalar, int64_t *number, struct ch_error *err)
{
	const char *at = scalar.text;

	if (!take_digits(&at, false, number) ||
	    !take_unit(at, duration_units, CH_COUNT(duration_units), number))
		return ch_fail(err, CH_INVALID,
			       "'%.64s' is not a duration (a whole number and one of ms, s, m, h, d, y)",
			       scalar.text);
	return true;
}

static bool parse_size(struct ch_conf_scalar scalar, int64_t *number, struct ch_error *err)
{
	const char *at = scalar.text;

	if (!take_digits(&at, false, number) ||
	    (*at && !take_unit(at, size_units, CH_COUNT(size_units), number)))
		return ch_fail(err, CH_INVALID,
			       "'%.64s' is not a size (a whole number of bytes, or with KiB, MiB, GiB)",
			       scalar.text);
	return true;
}

static bool check_range(const struct ch_conf_field *field, int64_t number, const char *what,
			struct ch_error *err)
{
	CH_AUTO(ch_string) low = ch_conf_number_text(field->type, field->min);
	CH_AUTO(ch_string) high = ch_conf_number_text(field->type, field->max);

	if (!field->min && !field->max)
		return number >= 0 || ch_fail(err, CH_INVALID, "%.64s is negative", what);
	if (number < field->min || number > field->max)
		return ch_fail(err, CH_INVALID, "%.64s is out of range (%s to %s)", what, low, high);
	return true;
}

static bool store_number(const struct ch_conf_field *field, struct ch_conf_scalar scalar, int64_t *member,
			 struct ch_error *err)
{
	int64_t number = 0;
	bool parsed = field->type == CH_CONF_INTEGER ? parse_integer(scalar, &number, err)
		      : field->type == CH_CONF_SIZE  ? parse_size(scalar, &number, err)
						     : parse_duration(scalar, &number, err);

	if (!parsed || !check_range(field, number, scalar.text, err))
		return false;
	*member = number;
	return true;
}

static bool store_boolean(struct ch_conf_scalar scalar, bool *member, struct ch_error *err)
{
	bool yes = strcmp(scalar.text, "true") == 0;

	if (scalar.quoted || (!yes && strcmp(scalar.text, "false") != 0))
		return ch_fail(err, CH_INVALID, "'%.64s' is not a boolean (true or false)", scalar.text);
	*member = yes;
	return true;
}

bool ch_conf_is_choice(const char *choices, const char *text)
{
	size_t length = strlen(text);

	while (choices && *choices) {
		size_t one = strcspn(choices, "|");

		if (one == length && memcmp(choices, text, one) == 0)
			return true;
		choices += one + (choices[one] == '|');
	}
	return false;
}

void ch_conf_put_choices(struct ch_buffer *out, const char *choices)
{
	for (const char *at = choices; *at; at++)
		ch_buffer_printf(out, *at == '|' ? ", " : "%c", *at);
}

/* YAML's ways to write nothing: a key without a value is a mistake more often than an empty text. */
static bool is_null(struct ch_conf_scalar scalar)
{
	return !scalar.quoted &&
	       (!*scalar.text || strcmp(scalar.text, "~") == 0 || strcmp(scalar.text, "null") == 0);
}

bool ch_conf_store_element(const struct ch_conf_field *field, struct ch_conf_scalar scalar, char **element,
			   struct ch_error *err)
{
	if (is_null(scalar))
		return ch_fail(err, CH_INVALID, "no value is given");
	if (field->choices && !ch_conf_is_choice(field->choices, scalar.text))
		return ch_fail(err, CH_INVALID, "'%.64s' is not one of %s", scalar.text, field->choices);
	if (!ch_text_check("the value", ch_view_text(scalar.text), err))
		return false;
	*element = ch_strdup(scalar.text);
	return true;
}

static bool store_path(struct ch_conf_scalar scalar, const char *source, char **member, struct ch_error *err)
{
	const char *slash = strrchr(source, '/');

	if (!*source)
		return ch_fail(err, CH_INVALID, "a path has no meaning in this document");
	if (is_null(scalar) || !*scalar.text)
		return ch_fail(err, CH_INVALID, "no path is given");
	if (*scalar.text == '/' || !slash)
		*member = ch_strdup(scalar.text);
	else
		*member = ch_format("%.*s/%s", (int)(slash - source), source, scalar.text);
	return true;
}

bool ch_conf_store_scalar(const struct ch_conf_field *field, struct ch_conf_scalar scalar, const char *source,
			  void *member, struct ch_error *err)
{
	switch (field->type) {
	case CH_CONF_STRING:
		return ch_conf_store_element(field, scalar, member, err);
	case CH_CONF_PATH:
		return store_path(scalar, source, member, err);
	case CH_CONF_BOOLEAN:
		return store_boolean(scalar, member, err);
	case CH_CONF_INTEGER:
	case CH_CONF_DURATION:
	case CH_CONF_SIZE:
		return store_number(field, scalar, member, err);
	case CH_CONF_STRING_LIST:
	case CH_CONF_SECTION:
	case CH_CONF_SECTION_LIST:
	case CH_CONF_LISTS:
		break;
	}
	return ch_fail(err, CH_INVALID, "'%.64s' stands where %s is expected", scalar.text,
		       field->type == CH_CONF_SECTION || field->type == CH_CONF_LISTS ? "a mapping"
										      : "a list");
}

bool ch_conf_check_count(const struct ch_conf_field *field, size_t count, struct ch_error *err)
{
	bool limited = field->min || field->max;
	int64_t most = limited ? field->max : CH_CONF_LIST_MAX;

	if ((int64_t)count < field->min || (int64_t)count > most)
		return ch_fail(err, CH_INVALID, "%zu elements, %lld to %lld allowed", count,
			       (long long)field->min, (long long)most);
	return true;
}
