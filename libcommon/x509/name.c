/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.c: distinguished names between RFC 4514 text and DER. CA documents, REST and the command line call it.
 * name_attribute.c has what a name may say.
 */
#include "x509/name.h"
#include "x509/x509.h"

#include <string.h>

#define PARTS_MAX CH_NAME_ATTRIBUTES_MAX

/* One AttributeTypeAndValue of the text. `joined`: a "+" follows, the next one is of the same RDN. */
struct part {
	const struct ch_name_attribute *attribute;
	struct ch_buffer value;
	bool joined;
};

struct parts {
	struct part items[PARTS_MAX];
	size_t count;
};

static void parts_free(struct parts *parts)
{
	for (size_t i = 0; i < parts->count; i++)
		ch_buffer_free(&parts->items[i].value);
}

CH_DEFINE_AUTO_VALUE(parts, struct parts, parts_free)

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* What follows a backslash: a special character, or two hexadecimal digits (RFC 4514 §3). */
static bool take_escaped(const char **text, struct ch_buffer *value)
{
	const char *at = *text;
	if (*at && strchr(" \"#+,;<=>\\", *at)) {
		ch_buffer_add(value, at, 1);
		*text = at + 1;
		return true;
	}
	int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);
	if (low < 0)
		return false;
	uint8_t octet = (uint8_t)(high << 4 | low);
	ch_buffer_add(value, &octet, 1);
	*text = at + 2;
	return true;
}

/* Up to an unescaped "," or "+" or the end; unescaped spaces around it do not count. */
static bool take_value(const char **text, struct ch_buffer *value, struct ch_error *err)
{
	size_t keep = 0;
	const char *at = *text;
	while (*at == ' ')
		at++;
	if (*at == '#')
		return ch_fail(err, CH_INVALID, "a value in '#' hexadecimal form is not accepted");
	while (*at && *at != ',' && *at != '+') {
		if (*at == '\\') {
			at++;
			if (!take_escaped(&at, value))
				return ch_fail(err, CH_INVALID,
					       "'\\' is not followed by a special character "
					       "or two hexadecimal digits (RFC 4514 3)");
			keep = value->used;
			continue;
		}
		if (strchr("\";<>", *at))
			return ch_fail(err, CH_INVALID, "'%c' must be escaped (RFC 4514 2.4)", *at);
		ch_buffer_add(value, at, 1);
		if (*at != ' ')
			keep = value->used;
		at++;
	}
	value->used = keep;
	*text = at;
	return true;
}

static bool take_part(const char **text, struct part *part, struct ch_error *err)
{
	const char *at = *text;
	while (*at == ' ')
		at++;
	size_t size = strcspn(at, "=,+");
	if (at[size] != '=')
		return ch_fail(err, CH_INVALID, "'%.60s' has no '='", at);
	const char *value = at + size + 1;
	while (size > 0 && at[size - 1] == ' ')
		size--;
	part->attribute = ch_name_attribute_find(at, size);
	if (!part->attribute)
		return ch_fail(err, CH_INVALID, "attribute '%.*s' is not known", size > 60 ? 60 : (int)size,
			       at);
	if (!take_value(&value, &part->value, err) ||
	    !ch_name_attribute_check(part->attribute, ch_buffer_view(&part->value), err))
		return false;
	part->joined = *value == '+';
	if (*value && !value[1])
		return ch_fail(err, CH_INVALID, "nothing follows the last '%c'", *value);
	*text = *value ? value + 1 : value;
	return true;
}

/* RelativeDistinguishedName of parts[first .. last]. */
static void put_rdn(struct ch_der_writer *writer, const struct part *parts, size_t first, size_t last)
{
	struct ch_name_item items[PARTS_MAX];

	for (size_t i = first; i <= last; i++)
		items[i - first] = (struct ch_name_item){ .attribute = parts[i].attribute,
							  .value = ch_buffer_view(&parts[i].value) };
	ch_name_put_rdn(writer, items, last - first + 1);
}

bool ch_name_parse(const char *text, struct ch_bytes *der, struct ch_error *err)
{
	CH_AUTO(parts) parts = CH_NONE;
	const char *at = text;
	while (*at) {
		if (parts.count == PARTS_MAX)
			return ch_fail(err, CH_TOO_LARGE, "name: more than %d attributes", PARTS_MAX);
		if (!take_part(&at, &parts.items[parts.count++], err))
			return ch_fail_in(err, "name '%.100s'", text);
	}
	if (parts.count == 0)
		return ch_fail(err, CH_INVALID, "name: empty");

	/* The text's last RDN is the first of the RDNSequence (RFC 4514 §2.1). */
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	for (size_t last = parts.count; last-- > 0;) {
		size_t first = last;
		while (first > 0 && parts.items[first - 1].joined)
			first--;
		put_rdn(&writer, parts.items, first, last);
		last = first;
	}
	ch_der_finish(&writer);
	CH_AUTO(ch_bytes) written = ch_der_done(&writer);
	if (!ch_name_check(ch_view_of(&written), err))
		return ch_fail_in(err, "name '%.100s'", text);
	*der = CH_STEAL(written);
	return true;
}

CH_DEFINE_AUTO_POINTER(BIO, BIO, BIO_free_all)

/* OpenSSL does not escape a value that is the one character "#", which would read as an empty hexadecimal one
 * (RFC 4514 §2.4). A backslash more does no harm where "=#" ends a longer value. */
static char *escape_lone_hash(const char *text, size_t size)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	for (size_t i = 0; i < size; i++) {
		bool ends = i + 1 == size || text[i + 1] == ',' || text[i + 1] == '+';

		if (text[i] == '#' && i > 0 && text[i - 1] == '=' && ends)
			ch_buffer_add(&out, "\\", 1);
		ch_buffer_add(&out, &text[i], 1);
	}
	return ch_buffer_steal_text(&out);
}

char *ch_name_text(struct ch_view der)
{
	const uint8_t *at = der.data;
	CH_AUTO(X509_NAME)
	name = der.size <= CH_CERTIFICATE_CAP ? d2i_X509_NAME(NULL, &at, (long)der.size) : NULL;
	CH_AUTO(BIO) text = BIO_new(BIO_s_mem());
	char *data = NULL;
	if (!name || !text || at != der.data + der.size ||
	    X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0)
		return ch_strdup("");
	long size = BIO_get_mem_data(text, &data);
	return escape_lone_hash(size > 0 ? data : "", size > 0 ? (size_t)size : 0);
}
