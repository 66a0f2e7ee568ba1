/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_check.c: is this octet string a JSON text within bounds? Before cJSON sees it, because cJSON takes
 * more than the grammar (control characters in strings, "01", octets after the end) and recurses as deep as
 * the text.
 */
#include "json.h"

#include "http/parse.h"

#include <string.h>

struct scanner {
	const uint8_t *start;
	const uint8_t *at;
	const uint8_t *end;
	size_t values;
	struct ch_error *err;
};

static bool wrong(struct scanner *scanner, const char *what)
{
	return ch_fail(scanner->err, CH_INVALID, "not JSON: %s at octet %zu", what,
		       (size_t)(scanner->at - scanner->start));
}

static void skip_space(struct scanner *scanner)
{
	while (scanner->at < scanner->end && strchr(" \t\n\r", *scanner->at) && *scanner->at)
		scanner->at++;
}

static bool next_is(const struct scanner *scanner, uint8_t c)
{
	return scanner->at < scanner->end && *scanner->at == c;
}

static bool take(struct scanner *scanner, uint8_t c)
{
	if (!next_is(scanner, c))
		return false;
	scanner->at++;
	return true;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits after "\u". */
static bool take_unit(struct scanner *scanner, unsigned *unit)
{
	*unit = 0;
	if (scanner->end - scanner->at < 4)
		return wrong(scanner, "\\u without four digits");
	for (int i = 0; i < 4; i++) {
		int value = hex_value(*scanner->at++);

		if (value < 0)
			return wrong(scanner, "\\u without four digits");
		*unit = *unit << 4 | (unsigned)value;
	}
	return true;
}

static bool take_escape(struct scanner *scanner)
{
	unsigned unit;

	if (scanner->at >= scanner->end)
		return wrong(scanner, "string without its end");
	if (strchr("\"\\/bfnrt", *scanner->at) && *scanner->at) {
		scanner->at++;
		return true;
	}
	if (!take(scanner, 'u'))
		return wrong(scanner, "unknown escape");
	if (!take_unit(scanner, &unit))
		return false;
	if (!unit)
		return wrong(scanner, "\\u0000");
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return wrong(scanner, "half a surrogate pair");
	if (unit < 0xd800 || unit > 0xdbff)
		return true;
	if (!take(scanner, '\\') || !take(scanner, 'u') || !take_unit(scanner, &unit) || unit < 0xdc00 ||
	    unit > 0xdfff)
		return wrong(scanner, "half a surrogate pair");
	return true;
}

static bool take_string(struct scanner *scanner)
{
	if (!take(scanner, '"'))
		return wrong(scanner, "no string");
	while (scanner->at < scanner->end) {
		uint8_t c = *scanner->at++;

		if (c == '"')
			return true;
		if (c < 0x20)
			return wrong(scanner, "control character in a string");
		if (c == '\\' && !take_escape(scanner))
			return false;
	}
	return wrong(scanner, "string without its end");
}

static size_t take_digits(struct scanner *scanner)
{
	const uint8_t *from = scanner->at;

	while (scanner->at < scanner->end && *scanner->at >= '0' && *scanner->at <= '9')
		scanner->at++;
	return (size_t)(scanner->at - from);
}

static bool take_number(struct scanner *scanner)
{
	take(scanner, '-');
	if (!take(scanner, '0') && !take_digits(scanner))
		return wrong(scanner, "no value");
	if (take(scanner, '.') && !take_digits(scanner))
		return wrong(scanner, "number without digits after its point");
	if (take(scanner, 'e') || take(scanner, 'E')) {
		if (!take(scanner, '+'))
			take(scanner, '-');
		if (!take_digits(scanner))
			return wrong(scanner, "number without its exponent");
	}
	return true;
}

static bool take_word(struct scanner *scanner, const char *word)
{
	size_t size = strlen(word);

	if ((size_t)(scanner->end - scanner->at) < size || memcmp(scanner->at, word, size) != 0)
		return false;
	scanner->at += size;
	return true;
}

static bool take_scalar(struct scanner *scanner)
{
	if (next_is(scanner, '"'))
		return take_string(scanner);
	if (take_word(scanner, "true") || take_word(scanner, "false") || take_word(scanner, "null"))
		return true;
	return take_number(scanner);
}

/* `"name" :` of an object's member. */
static bool take_name(struct scanner *scanner)
{
	skip_space(scanner);
	if (!take_string(scanner))
		return false;
	skip_space(scanner);
	return take(scanner, ':') || wrong(scanner, "no ':' after a name");
}

/* One level: '{' or '['. */
struct level {
	uint8_t closing;
};

/* After a value: ends levels and goes to where the next value begins. *done: the outermost has ended. */
static bool take_after_value(struct scanner *scanner, struct level *levels, size_t *depth, bool *done)
{
	for (;;) {
		skip_space(scanner);
		if (!*depth) {
			*done = true;
			return true;
		}
		if (take(scanner, ',')) {
			*done = false;
			return levels[*depth - 1].closing == ']' || take_name(scanner);
		}
		if (!take(scanner, levels[*depth - 1].closing))
			return wrong(scanner, "neither ',' nor the end of its list");
		(*depth)--;
	}
}

/* Opens a list; *empty: it was closed at once. */
static bool take_opening(struct scanner *scanner, struct level *levels, size_t *depth, bool *empty)
{
	uint8_t closing = *scanner->at == '{' ? '}' : ']';

	if (*depth == JSON_DEPTH_MAX)
		return wrong(scanner, "nested deeper than 16");
	scanner->at++;
	skip_space(scanner);
	*empty = take(scanner, closing);
	if (*empty)
		return true;
	levels[(*depth)++].closing = closing;
	return closing == ']' || take_name(scanner);
}

bool json_check(struct ch_view text, struct ch_error *err)
{
	struct scanner scanner = { text.data, text.data, text.data + text.size, 0, err };
	struct level levels[JSON_DEPTH_MAX];
	size_t depth = 0;
	bool done = false;

	if (!http_utf8_valid(text))
		return ch_fail(err, CH_INVALID, "not JSON: not UTF-8");
	while (!done) {
		bool empty = true;

		skip_space(&scanner);
		if (++scanner.values > JSON_VALUES_MAX)
			return wrong(&scanner, "more than 4096 values");
		if (next_is(&scanner, '{') || next_is(&scanner, '[')) {
			if (!take_opening(&scanner, levels, &depth, &empty))
				return false;
			if (!empty)
				continue;
		} else if (!take_scalar(&scanner)) {
			return false;
		}
		if (!take_after_value(&scanner, levels, &depth, &done))
			return false;
	}
	return scanner.at == scanner.end || wrong(&scanner, "something after its end");
}
