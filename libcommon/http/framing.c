/* SPDX-License-Identifier: Apache-2.0 */
/*
 * framing.c: refuses requests whose end two HTTP parsers could see in different places (request smuggling,
 * RFC 9112 §11.2), before anything of the body is read. Called by request.c.
 */
#include "http/internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define HEADERS_MAX 64

struct counts {
	unsigned fields;
	unsigned transfer_encoding;
	unsigned content_length;
	unsigned host;
	const char *transfer_coding;
	const char *length;
	const char *expect;
	const char *bad; /* what is wrong with a field */
};

/* RFC 9110 §5.6.2 */
static bool is_token(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("!#$%&'*+-.^_`|~", *text))
			return false;
	return true;
}

/* RFC 9110 §5.5: no control characters but the tab. */
static bool is_field_value(const char *text)
{
	for (; text && *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static enum MHD_Result look_at(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct counts *counts = context;

	(void)kind;
	counts->fields++;
	if (!is_token(name))
		counts->bad = "a header field's name is not a token";
	else if (!is_field_value(value))
		counts->bad = "a header field's value holds a control character";
	switch (tolower((unsigned char)name[0])) {
	case 't':
		if (strcasecmp(name, "transfer-encoding") == 0) {
			counts->transfer_encoding++;
			counts->transfer_coding = value;
		}
		break;
	case 'c':
		if (strcasecmp(name, "content-length") == 0) {
			counts->content_length++;
			counts->length = value;
		}
		break;
	case 'h':
		counts->host += strcasecmp(name, "host") == 0;
		break;
	case 'e':
		if (strcasecmp(name, "expect") == 0)
			counts->expect = value;
		break;
	default:
		break;
	}
	return MHD_YES;
}

static const char *find_fault(const struct counts *counts, bool version_1_0)
{
	if (counts->bad)
		return counts->bad;
	if (counts->fields > HEADERS_MAX)
		return "more than 64 header fields";
	if (counts->host > 1 || (!counts->host && !version_1_0))
		return "there must be one Host field";
	if (counts->transfer_encoding && counts->content_length)
		return "both Transfer-Encoding and Content-Length";
	if (counts->content_length > 1)
		return "more than one Content-Length";
	if (counts->transfer_encoding > 1)
		return "more than one Transfer-Encoding";
	if (counts->transfer_encoding && version_1_0)
		return "Transfer-Encoding in HTTP/1.0";
	if (counts->length && (!*counts->length || strlen(counts->length) > 18 ||
			       strspn(counts->length, "0123456789") != strlen(counts->length)))
		return "Content-Length is not a number";
	return NULL;
}

bool http_framing_check(struct MHD_Connection *mhd, const char *version, struct http_framing *framing,
			int *status, struct ch_error *err)
{
	struct counts counts = CH_NONE;
	bool version_1_0 = strcmp(version, "HTTP/1.0") == 0;
	const char *fault;

	*framing = (struct http_framing)CH_NONE;
	*status = 505;
	if (!version_1_0 && strcmp(version, "HTTP/1.1") != 0)
		return ch_fail(err, CH_UNSUPPORTED, "HTTP version '%.16s' is not 1.0 or 1.1", version);
	*status = 400;
	MHD_get_connection_values(mhd, MHD_HEADER_KIND, look_at, &counts);
	fault = find_fault(&counts, version_1_0);
	if (fault)
		return ch_fail(err, CH_INVALID, "malformed request: %s", fault);
	if (counts.transfer_coding && strcasecmp(counts.transfer_coding, "chunked") != 0) {
		*status = 501; /* RFC 9112 §6.1 */
		return ch_fail(err, CH_UNSUPPORTED, "transfer coding '%.32s' is not chunked",
			       counts.transfer_coding);
	}
	framing->chunked = counts.transfer_coding != NULL;
	framing->has_length = counts.length != NULL;
	for (const char *digit = counts.length; digit && *digit; digit++)
		framing->length = framing->length * 10 + (uint64_t)(*digit - '0');
	framing->expects_continue = counts.expect && strcasecmp(counts.expect, "100-continue") == 0;
	return true;
}
