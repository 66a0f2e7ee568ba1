/* SPDX-License-Identifier: Apache-2.0 */
/* subject.c: the attributes that a subject may have and how one is read from DER. policy.c and responders.c
 * call it. */
#include "issuance/issuance.h"

#include <string.h>

/* RFC 5280 appendix A.1 (upper bounds), RFC 4519 (names). */
static const struct ch_subject_attribute attributes[] = {
	{ "CN", "2.5.4.3", 64 },
	{ "O", "2.5.4.10", 64 },
	{ "OU", "2.5.4.11", 64 },
	{ "L", "2.5.4.7", 128 },
	{ "ST", "2.5.4.8", 128 },
	{ "C", "2.5.4.6", 2 },
	{ "street", "2.5.4.9", 128 },
	{ "postalCode", "2.5.4.17", 40 },
	{ "serialNumber", "2.5.4.5", 64 },
	{ "title", "2.5.4.12", 64 },
	{ "SN", "2.5.4.4", 64 },
	{ "GN", "2.5.4.42", 64 },
	{ "organizationIdentifier", "2.5.4.97", 128 },
	{ "UID", "0.9.2342.19200300.100.1.1", 256 },
	{ "DC", "0.9.2342.19200300.100.1.25", 63 },
	{ "emailAddress", "1.2.840.113549.1.9.1", 255 },
};

const struct ch_subject_attribute *ch_subject_attribute_at(size_t index)
{
	return index < CH_COUNT(attributes) ? &attributes[index] : NULL;
}

const struct ch_subject_attribute *ch_subject_attribute_find(const char *name)
{
	for (size_t i = 0; i < CH_COUNT(attributes); i++)
		if (strcmp(attributes[i].name, name) == 0)
			return &attributes[i];
	return NULL;
}

static const struct ch_subject_attribute *find_oid(const char *oid)
{
	for (size_t i = 0; oid && i < CH_COUNT(attributes); i++)
		if (strcmp(attributes[i].oid, oid) == 0)
			return &attributes[i];
	return NULL;
}

void ch_subject_item_free(struct ch_subject_item *item)
{
	free(item->oid_text);
	*item = (struct ch_subject_item)CH_NONE;
}

/* Counts characters of valid UTF-8; false for malformed or overlong forms, surrogates and control characters.
 */
static bool count_characters(struct ch_view text, size_t *count)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };

	*count = 0;
	for (size_t i = 0; i < text.size; (*count)++) {
		uint8_t first = text.data[i];
		size_t length = first < 0x80    ? 1
				: first >= 0xf0 ? 4
				: first >= 0xe0 ? 3
				: first >= 0xc2 ? 2
						: 0;
		uint32_t point = length == 1 ? first : first & (0xffu >> (length + 1));

		if (length == 0 || first > 0xf4 || i + length > text.size)
			return false;
		for (size_t k = 1; k < length; k++) {
			if ((text.data[i + k] & 0xc0) != 0x80)
				return false;
			point = (point << 6) | (text.data[i + k] & 0x3f);
		}
		if (point < smallest[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
			return false;
		if (point < 0x20 || (point >= 0x7f && point < 0xa0))
			return false;
		i += length;
	}
	return true;
}

static bool check_value(const struct ch_subject_item *item, unsigned tag, struct ch_error *err)
{
	const char *name = item->attribute ? item->attribute->name : item->oid_text;
	size_t characters;

	if (tag != CH_DER_UTF8_STRING && tag != CH_DER_PRINTABLE_STRING && tag != CH_DER_IA5_STRING)
		return ch_fail(err, CH_INVALID,
			       "subject attribute %s has string type 0x%02x: only UTF8String and "
			       "PrintableString (RFC 5280 "
			       "§4.1.2.4), IA5String for mail addresses and domain components",
			       name, tag);
	if (!count_characters(item->value, &characters))
		return ch_fail(err, CH_INVALID,
			       "subject attribute %s holds malformed UTF-8 or a control character", name);
	if (characters == 0)
		return ch_fail(err, CH_INVALID, "subject attribute %s is empty", name);
	if (item->attribute && characters > item->attribute->maximum)
		return ch_fail(err, CH_INVALID,
			       "subject attribute %s has %zu characters, at most %zu (RFC 5280 appendix A)",
			       name, characters, item->attribute->maximum);
	if (item->attribute && strcmp(name, "C") == 0 && characters != 2)
		return ch_fail(err, CH_INVALID, "subject attribute C is not a two-letter country code");
	return true;
}

bool ch_subject_next(struct ch_view *rdn_sequence, struct ch_view *rdn, struct ch_subject_item *item,
		     struct ch_error *err)
{
	struct ch_view pair, oid;
	unsigned tag;

	*item = (struct ch_subject_item)CH_NONE;
	if (rdn->size == 0) {
		if (!ch_der_read(rdn_sequence, CH_DER_SET, "RelativeDistinguishedName", rdn, err))
			return false;
		if (rdn->size == 0)
			return ch_fail(err, CH_INVALID, "RelativeDistinguishedName is empty (X.501 §9.3)");
	}
	if (!ch_der_read(rdn, CH_DER_SEQUENCE, "AttributeTypeAndValue", &pair, err) ||
	    !ch_der_read_oid(&pair, "AttributeTypeAndValue.type", &oid, err) ||
	    !ch_der_read_any(&pair, "AttributeTypeAndValue.value", &tag, &item->value, NULL, err) ||
	    !ch_der_end(&pair, "AttributeTypeAndValue", err))
		return false;
	item->oid_text = ch_der_oid_text(oid);
	if (!item->oid_text)
		return ch_fail(err, CH_INVALID, "AttributeTypeAndValue.type is no object identifier");
	item->attribute = find_oid(item->oid_text);
	return check_value(item, tag, err);
}

/* At most 64 characters with the suffix whole: the common name gives way, at a character's boundary. */
static char *join_common_name(struct ch_view common_name, const char *suffix)
{
	size_t room = 64 - strlen(suffix) - 1;
	size_t size = common_name.size;

	if (size > room) {
		size = room;
		while (size > 0 && (common_name.data[size] & 0xc0) == 0x80)
			size--;
	}
	return ch_format("%.*s %s", (int)size, (const char *)common_name.data, suffix);
}

static bool put_common_name(struct ch_der_writer *writer, const char *text, struct ch_error *err)
{
	ch_der_begin(writer, CH_DER_SET);
	ch_der_begin(writer, CH_DER_SEQUENCE);
	if (!ch_der_put_oid(writer, "2.5.4.3", err))
		return false;
	ch_der_put(writer, CH_DER_UTF8_STRING, ch_view_text(text));
	ch_der_finish(writer);
	ch_der_finish(writer);
	return true;
}

bool ch_subject_with_suffix(struct ch_view ca_subject_der, const char *suffix, struct ch_bytes *der,
			    struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_string) common_name = NULL;
	struct ch_view rest = ca_subject_der, sequence;

	if (!ch_der_read(&rest, CH_DER_SEQUENCE, "Name", &sequence, err))
		return false;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	while (sequence.size > 0) {
		CH_AUTO(ch_subject_item) item = CH_NONE;
		struct ch_view whole = sequence, rdn = CH_NONE;

		if (!ch_subject_next(&sequence, &rdn, &item, err))
			return false;
		whole.size = (size_t)(sequence.data - whole.data);
		if (item.attribute && strcmp(item.attribute->name, "CN") == 0) {
			free(CH_STEAL(common_name));
			common_name = join_common_name(item.value, suffix);
		} else {
			ch_der_put_raw(&writer, whole);
		}
	}
	if (!common_name)
		common_name = ch_strdup(suffix);
	if (!put_common_name(&writer, common_name, err))
		return false;
	ch_der_finish(&writer);
	*der = ch_der_done(&writer);
	return true;
}
