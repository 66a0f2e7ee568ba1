/* SPDX-License-Identifier: Apache-2.0 */
/* text.c: see text.h. Called by the rest_*.c files on what clients sent. */
#include "text.h"

#include "clock/clock.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What stands in `group` (4 sextets, the last `padding` of them absent) becomes octets; bits left over must
 * be 0, so that one value has one text. */
static bool flush_group(struct ch_buffer *out, const int group[4], int padding)
{
	unsigned bits = (unsigned)group[0] << 18 | (unsigned)group[1] << 12 | (unsigned)group[2] << 6 |
			(unsigned)group[3];
	uint8_t octets[3] = { (uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits };

	if ((padding == 1 && octets[2]) || (padding == 2 && (octets[1] || octets[2])))
		return false;
	ch_buffer_add(out, octets, (size_t)(3 - padding));
	return true;
}

bool text_base64(struct ch_view text, struct ch_bytes *out, struct ch_error *err)
{
	CH_AUTO(ch_buffer) decoded = CH_NONE;
	int group[4] = { 0 };
	int filled = 0;
	int padding = 0;

	for (size_t i = 0; i < text.size; i++) {
		int value = base64_value(text.data[i]);

		if (is_space(text.data[i]))
			continue;
		if (text.data[i] == '=' && filled >= 2)
			padding++;
		else if (value < 0 || padding)
			return ch_fail(err, CH_INVALID, "not base64 at octet %zu", i);
		group[filled++] = value < 0 ? 0 : value;
		if (filled < 4)
			continue;
		if (!flush_group(&decoded, group, padding))
			return ch_fail(err, CH_INVALID, "not base64: bits left over before octet %zu", i);
		filled = 0;
		if (padding) {
			while (++i < text.size)
				if (!is_space(text.data[i]))
					return ch_fail(err, CH_INVALID,
						       "not base64: something after its padding");
			break;
		}
	}
	if (filled)
		return ch_fail(err, CH_INVALID, "not base64: cut short");
	*out = ch_buffer_steal(&decoded);
	return true;
}

char *text_to_base64(struct ch_view data)
{
	char *text = ch_alloc((data.size + 2) / 3 * 4 + 1);

	EVP_EncodeBlock((unsigned char *)text, data.data, (int)data.size);
	return text;
}

static bool is_der(const uint8_t *data, size_t size)
{
	return size >= 2 && data[0] == 0x30 && (data[1] & 0x80 || data[1] == size - 2);
}

/* `at` is at "-----BEGIN ". Exactly one block, only white space after it. */
static bool unwrap_pem(struct ch_view at, struct ch_bytes *der, struct ch_error *err)
{
	static const char *const labels[] = { "CERTIFICATE REQUEST-----", "NEW CERTIFICATE REQUEST-----" };
	const uint8_t *stop = at.data + at.size;

	for (size_t i = 0; i < CH_COUNT(labels); i++) {
		size_t size = strlen("-----BEGIN ") + strlen(labels[i]);
		CH_AUTO(ch_string) ending = ch_format("-----END %s", labels[i]);
		const uint8_t *end;

		if (at.size < size ||
		    memcmp(at.data + strlen("-----BEGIN "), labels[i], strlen(labels[i])) != 0)
			continue;
		end = memmem(at.data + size, at.size - size, ending, strlen(ending));
		if (!end)
			return ch_fail(err, CH_INVALID, "PEM: no '%s'", ending);
		for (const uint8_t *c = end + strlen(ending); c < stop; c++)
			if (!is_space(*c))
				return ch_fail(err, CH_INVALID, "PEM: something after '%s'", ending);
		return text_base64(ch_view(at.data + size, (size_t)(end - at.data) - size), der, err);
	}
	return ch_fail(err, CH_INVALID, "PEM: the block is not a CERTIFICATE REQUEST");
}

bool text_csr_unwrap(struct ch_view input, struct ch_bytes *der, struct ch_error *err)
{
	CH_AUTO(ch_bytes) decoded = CH_NONE;
	const uint8_t *begin;

	if (is_der(input.data, input.size)) {
		*der = ch_bytes_copy(input);
		return true;
	}
	begin = input.size ? memmem(input.data, input.size, "-----BEGIN ", 11) : NULL;
	if (begin ? !unwrap_pem(ch_view(begin, input.size - (size_t)(begin - input.data)), &decoded, err)
		  : !text_base64(input, &decoded, err))
		return ch_fail_in(err, "certification request");
	if (!is_der(decoded.data, decoded.size))
		return ch_fail(err, CH_INVALID, "certification request: not DER, PEM or base64 of a PKCS#10");
	*der = CH_STEAL(decoded);
	return true;
}

bool text_number(const char *text, uint64_t max, uint64_t *number, struct ch_error *err)
{
	uint64_t value = 0;

	for (const char *c = text; *c; c++)
		if (!isdigit((unsigned char)*c) || __builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value) || value > max)
			return ch_fail(err, CH_INVALID, "'%.32s' is not a number up to %llu", text,
				       (unsigned long long)max);
	if (!*text)
		return ch_fail(err, CH_INVALID, "a number is empty");
	*number = value;
	return true;
}

bool text_duration(const char *text, int64_t *seconds, struct ch_error *err)
{
	static const struct {
		char name;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'y', 365 * 86400 } };
	size_t size = strspn(text, "0123456789");
	int64_t value;

	if (size && size <= 10 && text[size] && !text[size + 1]) {
		value = strtoll(text, NULL, 10);
		for (size_t i = 0; i < CH_COUNT(units); i++)
			if (units[i].name == text[size] && value > 0 && value < INT64_C(100) * 365 * 86400) {
				*seconds = value * units[i].seconds;
				return true;
			}
	}
	return ch_fail(err, CH_INVALID, "'%.32s' is not a duration (a whole number and one of s, m, h, d, y)",
		       text);
}

/* Two or four digits. */
static bool take_field(const char **at, int digits, int low, int high, char after, int *value)
{
	*value = 0;
	for (int i = 0; i < digits; i++, (*at)++) {
		if (!isdigit((unsigned char)**at))
			return false;
		*value = *value * 10 + (**at - '0');
	}
	if (*value < low || *value > high)
		return false;
	return !after || *(*at)++ == after;
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* Days from 1970-01-01 (the civil calendar, by eras of 400 years). */
static int64_t days_from_epoch(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = y / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void take_fraction(const char **at, int64_t *micros)
{
	int64_t unit = 100000;

	*micros = 0;
	for (; isdigit((unsigned char)**at); (*at)++, unit /= 10)
		*micros += (**at - '0') * unit;
}

/* "Z" or "+hh:mm"; *minutes east. */
static bool take_offset(const char **at, int *minutes)
{
	int sign = **at == '-' ? -1 : 1;
	int hour;
	int minute;

	*minutes = 0;
	if (**at == 'Z' || **at == 'z') {
		(*at)++;
		return true;
	}
	if (*(*at) != '+' && *(*at) != '-')
		return false;
	(*at)++;
	if (!take_field(at, 2, 0, 23, ':', &hour) || !take_field(at, 2, 0, 59, 0, &minute))
		return false;
	*minutes = sign * (hour * 60 + minute);
	return true;
}

bool text_time(const char *text, int64_t *time_us, struct ch_error *err)
{
	const char *at = text;
	int year, month, day, hour, minute, second, offset;
	int64_t micros = 0;
	bool good = take_field(&at, 4, 1970, 9999, '-', &year) && take_field(&at, 2, 1, 12, '-', &month) &&
		    take_field(&at, 2, 1, 31, 0, &day) && day <= days_in(year, month) &&
		    (*at == 'T' || *at == 't') && at++ && take_field(&at, 2, 0, 23, ':', &hour) &&
		    take_field(&at, 2, 0, 59, ':', &minute) && take_field(&at, 2, 0, 59, 0, &second);

	if (good && *at == '.') {
		at++;
		good = isdigit((unsigned char)*at);
		take_fraction(&at, &micros);
	}
	if (!good || !take_offset(&at, &offset) || *at)
		return ch_fail(err, CH_INVALID, "'%.40s' is not an RFC 3339 time (2026-11-21T10:00:00Z)",
			       text);
	*time_us = (days_from_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second -
		    offset * 60) *
			   CH_SECOND +
		   micros;
	return true;
}

bool text_idempotency_key(const char *key, struct ch_error *err)
{
	size_t size = strlen(key);

	if (!size || size > 128)
		return ch_fail(err, CH_INVALID, "Idempotency-Key has %zu characters, 1 to 128 are allowed",
			       size);
	for (size_t i = 0; i < size; i++)
		if (key[i] < 0x20 || key[i] > 0x7e)
			return ch_fail(err, CH_INVALID,
				       "Idempotency-Key has a character that is not printable ASCII");
	return true;
}

bool text_serial(const char *text, char serial[41], struct ch_error *err)
{
	size_t size = strlen(text);

	if (!size || size > 40 || strspn(text, "0123456789abcdefABCDEF") != size)
		return ch_fail(err, CH_INVALID, "serial '%.48s' is not 1 to 40 hex digits", text);
	for (size_t i = 0; i <= size; i++)
		serial[i] = (char)tolower((unsigned char)text[i]);
	return true;
}
