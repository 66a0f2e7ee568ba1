/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.c: distinguished names between RFC 4514 text and DER. CA documents, REST and CSR checks call it. A new
 * attribute is a row of the table.
 */
#include "x509/x509.h"

#include <string.h>
#include <strings.h>

#define PARTS_MAX 32 /* attributes in one name */

/* String type and upper bound (RFC 5280 appendix A.1, in characters). */
static const struct attribute {
	const char *name, *other_name;
	const char *oid;
	unsigned string_tag;
	size_t minimum, maximum;
} attributes[] = {
	{ "CN", "commonName", "2.5.4.3", CH_DER_UTF8_STRING, 1, 64 },
	{ "SN", "surname", "2.5.4.4", CH_DER_UTF8_STRING, 1, 64 },
	{ "serialNumber", NULL, "2.5.4.5", CH_DER_PRINTABLE_STRING, 1, 64 },
	{ "C", "countryName", "2.5.4.6", CH_DER_PRINTABLE_STRING, 2, 2 },
	{ "L", "localityName", "2.5.4.7", CH_DER_UTF8_STRING, 1, 128 },
	{ "ST", "stateOrProvinceName", "2.5.4.8", CH_DER_UTF8_STRING, 1, 128 },
	{ "street", "streetAddress", "2.5.4.9", CH_DER_UTF8_STRING, 1, 128 },
	{ "O", "organizationName", "2.5.4.10", CH_DER_UTF8_STRING, 1, 64 },
	{ "OU", "organizationalUnitName", "2.5.4.11", CH_DER_UTF8_STRING, 1, 64 },
	{ "title", NULL, "2.5.4.12", CH_DER_UTF8_STRING, 1, 64 },
	{ "postalCode", NULL, "2.5.4.17", CH_DER_UTF8_STRING, 1, 40 },
	{ "GN", "givenName", "2.5.4.42", CH_DER_UTF8_STRING, 1, 64 },
	{ "organizationIdentifier", NULL, "2.5.4.97", CH_DER_UTF8_STRING, 1, 128 },
	{ "UID", "userId", "0.9.2342.19200300.100.1.1", CH_DER_UTF8_STRING, 1, 256 },
	{ "DC", "domainComponent", "0.9.2342.19200300.100.1.25", CH_DER_IA5_STRING, 1, 63 },
	{ "emailAddress", "E", "1.2.840.113549.1.9.1", CH_DER_IA5_STRING, 1, 255 },
};

static const struct attribute *find_attribute(const char *name, size_t size)
{
	for (size_t i = 0; i < CH_COUNT(attributes); i++) {
		const char *names[] = { attributes[i].name, attributes[i].other_name };
		for (size_t j = 0; j < 2; j++)
			if (names[j] && strlen(names[j]) == size && !strncasecmp(names[j], name, size))
				return &attributes[i];
	}
	return NULL;
}

/* One AttributeTypeAndValue of the text. `joined`: a "+" follows, the next one is of the same RDN. */
struct part {
	const struct attribute *attribute;
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

/* Length of the UTF-8 sequence at the front; 0: malformed, overlong, a surrogate, or a control character. */
static size_t utf8_length(struct ch_view text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = text.data[0];
	size_t length = first < 0x80       ? 1
			: first >> 5 == 6  ? 2
			: first >> 4 == 14 ? 3
			: first >> 3 == 30 ? 4
					   : 0;
	if (length == 0 || length > text.size)
		return 0;
	uint32_t point = length == 1 ? first : first & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if ((text.data[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (text.data[i] & 0x3f);
	}
	bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
	if (control || point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	return length;
}

static bool is_printable(uint8_t c) /* PrintableString, X.680 §41.4 */
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr(" '()+,-./:=?", c));
}

static bool check_value(const struct attribute *attribute, struct ch_view value, struct ch_error *err)
{
	size_t characters = 0, length = 0;
	for (size_t at = 0; at < value.size; at += length, characters++) {
		length = utf8_length(ch_view(value.data + at, value.size - at));
		if (length == 0)
			return ch_fail(err, CH_INVALID, "%s: not UTF-8, or a control character",
				       attribute->name);
		if ((attribute->string_tag == CH_DER_PRINTABLE_STRING && !is_printable(value.data[at])) ||
		    (attribute->string_tag == CH_DER_IA5_STRING && length > 1))
			return ch_fail(err, CH_INVALID, "%s: a character that its string type does not have",
				       attribute->name);
	}
	if (characters < attribute->minimum || characters > attribute->maximum)
		return ch_fail(err, CH_INVALID, "%s: %zu characters, %zu to %zu allowed (RFC 5280 A.1)",
			       attribute->name, characters, attribute->minimum, attribute->maximum);
	if (!strcmp(attribute->name, "C") &&
	    (value.data[0] < 'A' || value.data[0] > 'Z' || value.data[1] < 'A' || value.data[1] > 'Z'))
		return ch_fail(err, CH_INVALID, "C: '%.2s' is not a country code (ISO 3166-1)",
			       (const char *)value.data);
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
	part->attribute = find_attribute(at, size);
	if (!part->attribute)
		return ch_fail(err, CH_INVALID, "attribute '%.*s' is not known", size > 60 ? 60 : (int)size,
			       at);
	if (!take_value(&value, &part->value, err) ||
	    !check_value(part->attribute, ch_buffer_view(&part->value), err))
		return false;
	part->joined = *value == '+';
	if (*value && !value[1])
		return ch_fail(err, CH_INVALID, "nothing follows the last '%c'", *value);
	*text = *value ? value + 1 : value;
	return true;
}

static struct ch_bytes encode_part(const struct part *part)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	if (!ch_der_put_oid(&writer, part->attribute->oid, NULL)) /* the table's own text */
		return (struct ch_bytes)CH_NONE;
	ch_der_put(&writer, part->attribute->string_tag, ch_buffer_view(&part->value));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

/* RelativeDistinguishedName of parts[first .. last]. */
static void put_rdn(struct ch_der_writer *writer, const struct part *parts, size_t first, size_t last)
{
	struct ch_bytes encoded[PARTS_MAX];
	struct ch_view views[PARTS_MAX];
	size_t count = 0;
	for (size_t i = first; i <= last; i++) {
		encoded[count] = encode_part(&parts[i]);
		views[count] = ch_view_of(&encoded[count]);
		count++;
	}
	ch_der_put_set_of(writer, CH_DER_SET, views, count);
	for (size_t i = 0; i < count; i++)
		ch_bytes_free(&encoded[i]);
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
	*der = ch_der_done(&writer);
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
