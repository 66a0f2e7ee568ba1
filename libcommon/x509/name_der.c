/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_der.c: names in DER, read so strictly that no octet of one is anybody's choice but the text of its
 * attributes, and written from those. Requests for certificates, the lint and the vault call it.
 */
#include "x509/name.h"

#include <string.h>

static bool read_type(struct ch_view *pair, struct ch_name_item *item, struct ch_error *err)
{
	struct ch_view oid;

	if (!ch_der_read_oid(pair, "AttributeTypeAndValue.type", &oid, err))
		return false;
	item->attribute = ch_name_attribute_of_oid(oid);
	if (!item->attribute) {
		CH_AUTO(ch_string) text = ch_der_oid_text(oid);

		return ch_fail(err, CH_INVALID,
			       "subject attribute %.80s is not allowed: names have none of that type",
			       text ? text : "?");
	}
	return true;
}

static bool check_type(const struct ch_name_item *item, struct ch_error *err)
{
	bool ia5 = item->tag == CH_DER_IA5_STRING && item->attribute->string_tag == CH_DER_IA5_STRING;

	return item->tag == CH_DER_UTF8_STRING || item->tag == CH_DER_PRINTABLE_STRING || ia5 ||
	       ch_fail(err, CH_INVALID,
		       "subject attribute %s has string type 0x%02x: only UTF8String and PrintableString "
		       "(RFC "
		       "5280 §4.1.2.4), IA5String for mail addresses and domain components",
		       item->attribute->name, item->tag);
}

bool ch_name_next(struct ch_view *rdn_sequence, struct ch_view *rdn, struct ch_name_item *item,
		  struct ch_error *err)
{
	struct ch_view pair;

	if (rdn->size == 0) {
		if (!ch_der_read(rdn_sequence, CH_DER_SET, "RelativeDistinguishedName", rdn, err))
			return false;
		if (rdn->size == 0)
			return ch_fail(err, CH_INVALID, "RelativeDistinguishedName is empty (X.501 §9.3)");
	}
	if (!ch_der_read(rdn, CH_DER_SEQUENCE, "AttributeTypeAndValue", &pair, err) ||
	    !read_type(&pair, item, err) ||
	    !ch_der_read_any(&pair, "AttributeTypeAndValue.value", &item->tag, &item->value, NULL, err) ||
	    !ch_der_end(&pair, "AttributeTypeAndValue", err))
		return false;
	if (!check_type(item, err))
		return false;
	return ch_name_attribute_check(item->attribute, item->value, err) ||
	       ch_fail_in(err, "subject attribute");
}

/* --- strictly --- */

/* Ascending, so none stands twice (X.690 §11.6); equal ones would be the same attribute and text. */
static bool ascends(struct ch_view before, struct ch_view after)
{
	size_t size = before.size < after.size ? before.size : after.size;
	int order = size ? memcmp(before.data, after.data, size) : 0;

	return order < 0 || (order == 0 && before.size < after.size);
}

/* X.501 §9.3: the attributes of one RDN are of different types. */
static bool mark(const struct ch_name_item *item, uint32_t *seen, struct ch_error *err)
{
	uint32_t bit = 1u << (unsigned)(item->attribute - ch_name_attribute_at(0));

	if (*seen & bit)
		return ch_fail(err, CH_INVALID, "%s stands twice in one RDN (X.501 §9.3)",
			       item->attribute->name);
	*seen |= bit;
	return true;
}

static bool check_rdn(struct ch_view *sequence, size_t *count, struct ch_error *err)
{
	struct ch_view rdn, before = CH_NONE;
	uint32_t seen = 0;

	if (!ch_der_read(sequence, CH_DER_SET, "RelativeDistinguishedName", &rdn, err))
		return false;
	if (rdn.size == 0)
		return ch_fail(err, CH_INVALID, "RelativeDistinguishedName is empty (X.501 §9.3)");
	while (rdn.size > 0) {
		struct ch_view whole = rdn;
		struct ch_name_item item;

		if (++*count > CH_NAME_ATTRIBUTES_MAX)
			return ch_fail(err, CH_INVALID, "more than %d attributes", CH_NAME_ATTRIBUTES_MAX);
		if (!ch_name_next(sequence, &rdn, &item, err) || !mark(&item, &seen, err))
			return false;
		if (item.tag != item.attribute->string_tag)
			return ch_fail(err, CH_INVALID, "%s has string type 0x%02x, its own is 0x%02x",
				       item.attribute->name, item.tag, item.attribute->string_tag);
		whole.size = (size_t)(rdn.data - whole.data);
		if (!ascends(before, whole))
			return ch_fail(err, CH_INVALID, "an RDN is not in the order of DER (X.690 §11.6)");
		before = whole;
	}
	return true;
}

static bool read_sequence(struct ch_view der, struct ch_view *sequence, struct ch_error *err)
{
	return ch_der_read(&der, CH_DER_SEQUENCE, "Name", sequence, err) && ch_der_end(&der, "Name", err);
}

bool ch_name_check(struct ch_view der, struct ch_error *err)
{
	struct ch_view sequence;
	size_t count = 0;

	if (!read_sequence(der, &sequence, err))
		return false;
	while (sequence.size > 0)
		if (!check_rdn(&sequence, &count, err))
			return false;
	return true;
}

/* --- writing --- */

static struct ch_bytes encode_item(const struct ch_name_item *item)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put(&writer, CH_DER_OID, item->attribute->oid);
	ch_der_put(&writer, item->attribute->string_tag, item->value);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

void ch_name_put_rdn(struct ch_der_writer *writer, const struct ch_name_item *items, size_t count)
{
	struct ch_bytes encoded[CH_NAME_ATTRIBUTES_MAX];
	struct ch_view views[CH_NAME_ATTRIBUTES_MAX];

	for (size_t i = 0; i < count; i++) {
		encoded[i] = encode_item(&items[i]);
		views[i] = ch_view_of(&encoded[i]);
	}
	ch_der_put_set_of(writer, CH_DER_SET, views, count);
	for (size_t i = 0; i < count; i++)
		ch_bytes_free(&encoded[i]);
}

bool ch_name_rebuild(struct ch_view der, struct ch_bytes *rebuilt, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) written = CH_NONE;
	struct ch_name_item items[CH_NAME_ATTRIBUTES_MAX];
	struct ch_view sequence, rdn = CH_NONE;
	size_t count = 0, total = 0;

	if (!read_sequence(der, &sequence, err))
		return false;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	while (sequence.size > 0 || rdn.size > 0) {
		if (total++ == CH_NAME_ATTRIBUTES_MAX)
			return ch_fail(err, CH_INVALID, "more than %d attributes", CH_NAME_ATTRIBUTES_MAX);
		if (!ch_name_next(&sequence, &rdn, &items[count++], err))
			return false;
		if (rdn.size > 0)
			continue;
		ch_name_put_rdn(&writer, items, count);
		count = 0;
	}
	ch_der_finish(&writer);
	written = ch_der_done(&writer);
	if (!ch_name_check(ch_view_of(&written), err)) /* what no rewriting mends: a type twice in an RDN */
		return false;
	*rebuilt = CH_STEAL(written);
	return true;
}
