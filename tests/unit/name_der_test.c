/* SPDX-License-Identifier: Apache-2.0 */
/* name_der_test.c: names in DER hold the texts of their attributes and not one octet that is chosen
 * otherwise. */
#include "x509/name.h"
#include "x509/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* An AttributeTypeAndValue: type, string type and text. */
struct value {
	const char *oid;
	unsigned tag;
	const char *text;
};

static struct ch_bytes put_value(const struct value *value)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(&writer, value->oid, NULL));
	ch_der_put(&writer, value->tag, ch_view_text(value->text));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

/* A Name of one RDN, its attributes in this order. */
static struct ch_bytes put_name(const struct value *values, size_t count)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SET);
	for (size_t i = 0; i < count; i++) {
		CH_AUTO(ch_bytes) value = put_value(&values[i]);

		ch_der_put_raw(&writer, ch_view_of(&value));
	}
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void assert_says(const struct ch_error *err, const char *says)
{
	assert_int_equal(err->code, CH_INVALID);
	if (!strstr(err->message, says))
		fail_msg("'%s' does not say '%s'", err->message, says);
}

/* It stands in no certificate as it is, and is written as `text`; text NULL: it is refused. */
static void assert_rebuilt(const struct value *values, size_t count, const char *text, const char *says)
{
	CH_AUTO(ch_bytes) name = put_name(values, count);
	CH_AUTO(ch_bytes) rebuilt = CH_NONE;
	CH_AUTO(ch_bytes) expected = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(ch_name_check(ch_view_of(&name), &err));
	assert_says(&err, says);
	if (!text) {
		assert_false(ch_name_rebuild(ch_view_of(&name), &rebuilt, &err));
		assert_says(&err, says);
		return;
	}
	assert_true(ch_name_rebuild(ch_view_of(&name), &rebuilt, &err));
	assert_true(ch_name_parse(text, &expected, &err));
	assert_true(ch_view_equal(ch_view_of(&rebuilt), ch_view_of(&expected)));
	assert_true(ch_name_check(ch_view_of(&rebuilt), &err));
}

#define ONE(says, written, ...)                               \
	do {                                                  \
		const struct value value = { __VA_ARGS__ };   \
		assert_rebuilt(&value, 1, (written), (says)); \
	} while (0)

static void a_string_type_is_the_attributes_own(void **state)
{
	ONE("string type 0x13", "CN=a", "2.5.4.3", CH_DER_PRINTABLE_STRING, "a");
	ONE("string type 0x0c", "C=CH", "2.5.4.6", CH_DER_UTF8_STRING, "CH");
	ONE("string type 0x0c", "serialNumber=1", "2.5.4.5", CH_DER_UTF8_STRING, "1");
	ONE("string type 0x0c", "DC=example", "0.9.2342.19200300.100.1.25", CH_DER_UTF8_STRING, "example");
	ONE("string type 0x16", NULL, "2.5.4.3", CH_DER_IA5_STRING, "a");
	ONE("string type 0x14", NULL, "2.5.4.3", 0x14, "a"); /* TeletexString */
	ONE("string type 0x1e", NULL, "2.5.4.3", 0x1e, "a"); /* BMPString */
	ONE("string type 0x04", NULL, "2.5.4.3", CH_DER_OCTET_STRING, "a");
	ONE("string type 0x30", NULL, "2.5.4.3", CH_DER_SEQUENCE, "a");
}

static void an_alphabet_and_a_length_are_the_attributes_own(void **state)
{
	static const char x[] = "0123456789012345678901234567890123456789012345678901234567890123456789";

	ONE("string type does not have", NULL, "2.5.4.5", CH_DER_PRINTABLE_STRING, "a_b");
	ONE("string type does not have", NULL, "1.2.840.113549.1.9.1", CH_DER_UTF8_STRING,
	    "\xc3\xa9@a.example");
	ONE("not UTF-8", NULL, "2.5.4.3", CH_DER_UTF8_STRING, "\xff");
	ONE("control character", NULL, "2.5.4.3", CH_DER_UTF8_STRING, "a\x1b");
	ONE("CN: 0 characters", NULL, "2.5.4.3", CH_DER_UTF8_STRING, "");
	ONE("CN: 70 characters", NULL, "2.5.4.3", CH_DER_UTF8_STRING, x);
	ONE("postalCode: 70", NULL, "2.5.4.17", CH_DER_UTF8_STRING, x);
	ONE("DC: 70", NULL, "0.9.2342.19200300.100.1.25", CH_DER_IA5_STRING, x);
	ONE("C: 3 characters", NULL, "2.5.4.6", CH_DER_PRINTABLE_STRING, "CHE");
	ONE("country code", NULL, "2.5.4.6", CH_DER_PRINTABLE_STRING, "ch");
	ONE("2.5.4.46", NULL, "2.5.4.46", CH_DER_PRINTABLE_STRING, "dnQualifier");
}

/* X.690 §11.6, X.501 §9.3 */
static void an_rdn_is_a_set_of_different_types_in_order(void **state)
{
	static const struct value turned[] = { { "2.5.4.10", CH_DER_UTF8_STRING, "o" },
					       { "2.5.4.3", CH_DER_UTF8_STRING, "c" } };
	static const struct value twice[] = { { "2.5.4.3", CH_DER_UTF8_STRING, "a" },
					      { "2.5.4.3", CH_DER_UTF8_STRING, "b" } };

	assert_rebuilt(turned, 2, "CN=c+O=o", "order of DER");
	assert_rebuilt(twice, 2, NULL, "twice in one RDN");
	assert_rebuilt(NULL, 0, NULL, "is empty");
}

static void nothing_stands_between_or_after(void **state)
{
	static const char *const bad[] = {
		"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x01\x61\x05\x00", /* in the pair */
		"\x30\x0e\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x61\x05\x00", /* after the RDN */
		"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x61\x05\x00", /* after the name */
		"\x30\x0e\x31\x0c\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x61\x05\x00", /* in the RDN */
	};

	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		struct ch_bytes rebuilt = CH_NONE;
		struct ch_view name = ch_view((const uint8_t *)bad[i], 16);

		assert_false(ch_name_check(name, NULL));
		assert_false(ch_name_rebuild(name, &rebuilt, NULL));
	}
	assert_true(ch_name_check(ch_view((const uint8_t *)bad[2], 14), NULL));
	assert_true(ch_name_check(ch_view((const uint8_t *)"\x30\x00", 2), NULL)); /* RFC 5280 §4.1.2.6 */
}

/* The order of RDNs and what stands in one together stay. */
static void a_name_of_texts_is_written_as_it_is(void **state)
{
	static const char *const names[] = {
		"CN=a", "CN=www.example+UID=7,OU=b,OU=a,O=Example,C=CH",
		"emailAddress=a@b.example,DC=example,DC=com",
		"SN=s,GN=g,title=t,street=1,postalCode=8000,L=l,ST=s,serialNumber=1"
	};

	for (size_t i = 0; i < CH_COUNT(names); i++) {
		CH_AUTO(ch_bytes) name = CH_NONE;
		CH_AUTO(ch_bytes) rebuilt = CH_NONE;
		struct ch_error err = CH_NONE;

		if (!ch_name_parse(names[i], &name, &err) || !ch_name_check(ch_view_of(&name), &err) ||
		    !ch_name_rebuild(ch_view_of(&name), &rebuilt, &err))
			fail_msg("%s: %s", names[i], err.message);
		assert_true(ch_view_equal(ch_view_of(&name), ch_view_of(&rebuilt)));
	}
}

static void a_name_has_at_most_32_attributes(void **state)
{
	const struct value domain = { "0.9.2342.19200300.100.1.25", CH_DER_IA5_STRING, "a" };
	CH_AUTO(ch_bytes) value = put_value(&domain);

	for (size_t count = 32; count <= 33; count++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		CH_AUTO(ch_bytes) name = CH_NONE;
		CH_AUTO(ch_bytes) rebuilt = CH_NONE;

		ch_der_begin(&writer, CH_DER_SEQUENCE);
		for (size_t i = 0; i < count; i++)
			ch_der_put(&writer, CH_DER_SET, ch_view_of(&value));
		ch_der_finish(&writer);
		name = ch_der_done(&writer);
		assert_int_equal(ch_name_check(ch_view_of(&name), NULL), count == 32);
		assert_int_equal(ch_name_rebuild(ch_view_of(&name), &rebuilt, NULL), count == 32);
	}
}

static void countries_are_those_of_iso_3166(void **state)
{
	static const char *const known[] = { "AD", "CH", "DE", "US", "XX", "ZW" };
	static const char *const unknown[] = { "AA", "DA", "EU", "HD", "UK", "ZZ", "ch", "C", "", "CHD" };

	for (size_t i = 0; i < CH_COUNT(known); i++)
		assert_true(ch_country_is_known(ch_view_text(known[i])));
	for (size_t i = 0; i < CH_COUNT(unknown); i++)
		assert_false(ch_country_is_known(ch_view_text(unknown[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_string_type_is_the_attributes_own),
		cmocka_unit_test(an_alphabet_and_a_length_are_the_attributes_own),
		cmocka_unit_test(an_rdn_is_a_set_of_different_types_in_order),
		cmocka_unit_test(nothing_stands_between_or_after),
		cmocka_unit_test(a_name_of_texts_is_written_as_it_is),
		cmocka_unit_test(a_name_has_at_most_32_attributes),
		cmocka_unit_test(countries_are_those_of_iso_3166),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
