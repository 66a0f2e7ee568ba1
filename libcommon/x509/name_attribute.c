/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_attribute.c: the attributes that a name may have, and what each may say. name.c (texts), name_der.c
 * (DER) and profiles go by this table. A new attribute is a row.
 */
#include "x509/name.h"

#include "text/text.h"

#include <string.h>
#include <strings.h>

#define AT(last)                                    \
	{                                           \
		(const uint8_t *)"\x55\x04" last, 3 \
	} /* id-at, X.520 */
#define PILOT(last)                                                              \
	{                                                                        \
		(const uint8_t *)"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01" last, 10 \
	} /* RFC 4519 §2.4, §2.39 */
#define PKCS9(last)                                                         \
	{                                                                   \
		(const uint8_t *)"\x2a\x86\x48\x86\xf7\x0d\x01\x09" last, 9 \
	} /* RFC 2985 §5.2.1 */

/* String type and upper bound: RFC 5280 appendix A.1, X.520 for what is not there (street,
 * organizationIdentifier: ETSI EN 319 412-1 §5.1.4). What may be a DirectoryString is an UTF8String. */
static const struct ch_name_attribute attributes[] = {
	/* clang-format off */
	{ "CN", "commonName", AT("\x03"), CH_DER_UTF8_STRING, 1, 64, false },
	{ "O", "organizationName", AT("\x0a"), CH_DER_UTF8_STRING, 1, 64, false },
	{ "OU", "organizationalUnitName", AT("\x0b"), CH_DER_UTF8_STRING, 1, 64, true },
	{ "L", "localityName", AT("\x07"), CH_DER_UTF8_STRING, 1, 128, false },
	{ "ST", "stateOrProvinceName", AT("\x08"), CH_DER_UTF8_STRING, 1, 128, false },
	{ "C", "countryName", AT("\x06"), CH_DER_PRINTABLE_STRING, 2, 2, false },
	{ "street", "streetAddress", AT("\x09"), CH_DER_UTF8_STRING, 1, 128, true },
	{ "postalCode", NULL, AT("\x11"), CH_DER_UTF8_STRING, 1, 40, false },
	{ "serialNumber", NULL, AT("\x05"), CH_DER_PRINTABLE_STRING, 1, 64, false },
	{ "title", NULL, AT("\x0c"), CH_DER_UTF8_STRING, 1, 64, false },
	{ "SN", "surname", AT("\x04"), CH_DER_UTF8_STRING, 1, 64, false },
	{ "GN", "givenName", AT("\x2a"), CH_DER_UTF8_STRING, 1, 64, false },
	{ "organizationIdentifier", NULL, AT("\x61"), CH_DER_UTF8_STRING, 1, 128, false },
	{ "UID", "userId", PILOT("\x01"), CH_DER_UTF8_STRING, 1, 256, false },
	{ "DC", "domainComponent", PILOT("\x19"), CH_DER_IA5_STRING, 1, 63, true },
	{ "emailAddress", "E", PKCS9("\x01"), CH_DER_IA5_STRING, 1, 255, false },
	/* clang-format on */
};

const struct ch_name_attribute *ch_name_attribute_at(size_t index)
{
	return index < CH_COUNT(attributes) ? &attributes[index] : NULL;
}

const struct ch_name_attribute *ch_name_attribute_find(const char *name, size_t size)
{
	for (size_t i = 0; i < CH_COUNT(attributes); i++) {
		const char *names[] = { attributes[i].name, attributes[i].other_name };

		for (size_t j = 0; j < CH_COUNT(names); j++)
			if (names[j] && strlen(names[j]) == size && !strncasecmp(names[j], name, size))
				return &attributes[i];
	}
	return NULL;
}

const struct ch_name_attribute *ch_name_attribute_of_oid(struct ch_view oid)
{
	for (size_t i = 0; i < CH_COUNT(attributes); i++)
		if (ch_view_equal(attributes[i].oid, oid))
			return &attributes[i];
	return NULL;
}

static bool is_printable(uint8_t c) /* PrintableString, X.680 §41.4 */
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr(" '()+,-./:=?", c));
}

/* Of text that ch_text_check has passed. */
static bool count_characters(const struct ch_name_attribute *attribute, struct ch_view value, size_t *count,
			     struct ch_error *err)
{
	*count = 0;
	for (size_t at = 0, length = 0; at < value.size; at += length, ++*count) {
		uint32_t point;

		length = ch_text_take(ch_view(value.data + at, value.size - at), &point);
		if (!length ||
		    (attribute->string_tag == CH_DER_PRINTABLE_STRING && !is_printable(value.data[at])) ||
		    (attribute->string_tag == CH_DER_IA5_STRING && length > 1))
			return ch_fail(err, CH_INVALID, "%s: a character that its string type does not have",
				       attribute->name);
	}
	return true;
}

bool ch_name_attribute_check(const struct ch_name_attribute *attribute, struct ch_view value,
			     struct ch_error *err)
{
	size_t characters;

	if (!ch_text_check(attribute->name, value, err) ||
	    !count_characters(attribute, value, &characters, err))
		return false;
	if (characters < attribute->minimum || characters > attribute->maximum)
		return ch_fail(err, CH_INVALID, "%s: %zu characters, %zu to %zu allowed (RFC 5280 A.1)",
			       attribute->name, characters, attribute->minimum, attribute->maximum);
	if (strcmp(attribute->name, "C") == 0 &&
	    (value.data[0] < 'A' || value.data[0] > 'Z' || value.data[1] < 'A' || value.data[1] > 'Z'))
		return ch_fail(err, CH_INVALID, "C: '%.2s' is not a country code (ISO 3166-1)",
			       (const char *)value.data);
	return true;
}
