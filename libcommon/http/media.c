/* SPDX-License-Identifier: Apache-2.0 */
/* media.c: content negotiation by Accept (RFC 9110 §12.5.1). Called by handlers that have two forms to offer.
 */
#include "http/http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* How well one media range fits a type, and at which quality (thousandths). */
struct fit {
	int specificity; /* -1: not at all; 0 *\/\*; 1 type/\*; 2 type/subtype */
	int quality;
};

static const char *skip_space(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

/* "0.5" -> 500; RFC 9110 §12.4.2: up to three decimals. Anything else counts as 0. */
static int quality_read(const char *text, size_t size)
{
	int value = 0;
	int unit = 100;

	if (!size || (text[0] != '0' && text[0] != '1'))
		return 0;
	value = (text[0] - '0') * 1000;
	if (size > 1 && text[1] != '.')
		return 0;
	for (size_t i = 2; i < size && unit; i++, unit /= 10) {
		if (!isdigit((unsigned char)text[i]))
			return 0;
		value += (text[i] - '0') * unit;
	}
	return value > 1000 ? 1000 : value;
}

static int range_quality(const char *parameters, size_t size)
{
	const char *end = parameters + size;

	while (parameters < end) {
		const char *next = memchr(parameters, ';', (size_t)(end - parameters));
		const char *stop = next ? next : end;
		const char *at = skip_space(parameters);

		while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		if (stop - at >= 2 && (at[0] == 'q' || at[0] == 'Q') && at[1] == '=')
			return quality_read(at + 2, (size_t)(stop - at - 2));
		if (!next)
			break;
		parameters = next + 1;
	}
	return 1000;
}

static int range_specificity(const char *range, size_t size, const char *type)
{
	size_t major = strcspn(type, "/");

	while (size && (range[size - 1] == ' ' || range[size - 1] == '\t'))
		size--;
	if (size == 3 && strncmp(range, "*/*", 3) == 0)
		return 0;
	if (size == major + 2 && strncasecmp(range, type, major + 1) == 0 && range[size - 1] == '*')
		return 1;
	return size == strlen(type) && strncasecmp(range, type, size) == 0 ? 2 : -1;
}

/* The most specific range decides about a type. */
static struct fit fit_of(const char *accept, const char *type)
{
	struct fit best = { -1, 0 };

	while (*accept) {
		size_t size = strcspn(accept, ",");
		const char *at = skip_space(accept);
		size_t left = size > (size_t)(at - accept) ? size - (size_t)(at - accept) : 0;
		const char *parameters = left ? memchr(at, ';', left) : NULL;
		size_t range_size = parameters ? (size_t)(parameters - at) : left;
		int specificity = range_specificity(at, range_size, type);

		if (specificity > best.specificity)
			best = (struct fit){ specificity,
					     parameters ? range_quality(parameters + 1, left - range_size - 1)
							: 1000 };
		accept += size;
		if (*accept == ',')
			accept++;
	}
	return best;
}

const char *ch_http_choose(const char *accept, const char *a, const char *b)
{
	struct fit fit_a;
	struct fit fit_b;

	if (!accept || !*skip_space(accept))
		return a;
	fit_a = fit_of(accept, a);
	fit_b = fit_of(accept, b);
	if (!fit_a.quality && !fit_b.quality)
		return "";
	if (fit_a.quality != fit_b.quality)
		return fit_a.quality > fit_b.quality ? a : b;
	return fit_b.specificity > fit_a.specificity ? b : a;
}
