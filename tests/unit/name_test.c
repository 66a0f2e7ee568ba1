/* SPDX-License-Identifier: Apache-2.0 */
/* name_test.c: distinguished names and subject alternative names as text and as DER. */
#include "x509/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V(literal) ch_view("" literal, sizeof(literal) - 1)

static void assert_bytes(struct ch_view actual, struct ch_view expected)
{
	CH_AUTO(ch_string) a = ch_hex(actual);
	CH_AUTO(ch_string) b = ch_hex(expected);
	assert_string_equal(a, b);
}

/* --- names (RFC 4514) --- */

/* §2.1: the text begins with the last RDN. C is a PrintableString (RFC 5280 appendix A.1). */
static void a_name_is_written_most_specific_first(void **state)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	assert_true(ch_name_parse("CN=Root, C=CH", &der, NULL));
	assert_bytes(ch_view_of(&der), V("\x30\x1c\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02\x43\x48"
					 "\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x0c\x04\x52\x6f\x6f\x74"));
}

static void names_go_through_der_and_back(void **state)
{
	static const struct {
		const char *in, *out;
	} names[] = {
		{ "CN=Example Root CA,O=Example,C=CH", NULL },
		{ " cn = Example , o = A  B ", "CN=Example,O=A  B" },
		{ "CN=a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h", NULL },
		{ "CN=\\20edge\\ ", "CN=\\ edge\\ " },
		{ "CN=\\#1", NULL },
		{ "CN=caf\\C3\\A9", "CN=caf\xc3\xa9" },
		{ "CN=\xe6\x97\xa5\xe6\x9c\xac", NULL },
		{ "CN=a=b", "CN=a=b" },
		{ "commonName=x,organizationalUnitName=y", "CN=x,OU=y" },
		{ "UID=u1,DC=example,DC=com", NULL },
		{ "emailAddress=a@b.example,serialNumber=1234,street=Main 1,ST=ZH,L=Z", NULL },
		{ "CN=a+OU=b,C=CH", "OU=b+CN=a,C=CH" }, /* OpenSSL shows a set's last member first */
	};
	for (size_t i = 0; i < CH_COUNT(names); i++) {
		CH_AUTO(ch_bytes) der = CH_NONE;
		struct ch_error err = CH_NONE;
		if (!ch_name_parse(names[i].in, &der, &err))
			fail_msg("%s", err.message);
		CH_AUTO(ch_string) text = ch_name_text(ch_view_of(&der));
		assert_string_equal(text, names[i].out ? names[i].out : names[i].in);
		CH_AUTO(ch_bytes) again = CH_NONE;
		assert_true(ch_name_parse(text, &again, &err));
		assert_bytes(ch_view_of(&again), ch_view_of(&der));
	}
}

static void what_is_no_name_is_refused_with_its_fault(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "empty" },
		{ "Example", "no '='" },
		{ "CN=a,,O=b", "no '='" },
		{ "CN=a,", "nothing follows" },
		{ "CN=a+", "nothing follows" },
		{ "CN=", "CN: 0 characters" },
		{ "CN=  ", "CN: 0 characters" },
		{ "FOO=a", "'FOO' is not known" },
		{ "2.5.4.3=a", "'2.5.4.3' is not known" },
		{ "CN=#0c0161", "hexadecimal form" },
		{ "CN=a\"b", "must be escaped" },
		{ "CN=a;O=b", "must be escaped" },
		{ "CN=a\\", "RFC 4514 3" },
		{ "CN=a\\zz", "RFC 4514 3" },
		{ "CN=a\\4", "RFC 4514 3" },
		{ "CN=a\\00b", "control character" },
		{ "CN=a\nb", "control character" },
		{ "CN=\\C2\\80", "control character" },
		{ "CN=\\FF", "not UTF-8" },
		{ "CN=\\C0\\AF", "not UTF-8" },         /* overlong */
		{ "CN=\\ED\\A0\\80", "not UTF-8" },     /* a surrogate */
		{ "CN=\\F4\\90\\80\\80", "not UTF-8" }, /* beyond U+10FFFF */
		{ "CN=\\E2\\82", "not UTF-8" },         /* cut short */
		{ "C=CHE", "3 characters" },
		{ "C=C", "1 characters" },
		{ "C=ch", "country code" },
		{ "C=C!", "string type" },
		{ "serialNumber=a_b", "string type" },
		{ "DC=caf\xc3\xa9", "string type" },
	};
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		struct ch_bytes der = CH_NONE;
		struct ch_error err = CH_NONE;
		if (ch_name_parse(bad[i].text, &der, &err))
			fail_msg("'%s' was taken", bad[i].text);
		assert_int_equal(err.code, CH_INVALID);
		if (!strstr(err.message, bad[i].says))
			fail_msg("'%s': '%s' does not say '%s'", bad[i].text, err.message, bad[i].says);
		assert_null(der.data);
	}
}

/* RFC 5280 appendix A.1: ub-common-name is 64 characters, not octets. */
static void upper_bounds_count_characters(void **state)
{
	CH_AUTO(ch_buffer) text = CH_NONE;
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_error err = CH_NONE;
	ch_buffer_printf(&text, "CN=");
	for (int i = 0; i < 64; i++)
		ch_buffer_printf(&text, "\xc3\xa9");
	ch_buffer_add(&text, "", 1);
	assert_true(ch_name_parse((char *)text.data, &der, &err));
	text.used--;
	ch_buffer_add(&text, "x", 2);
	assert_false(ch_name_parse((char *)text.data, &der, &err));
	assert_non_null(strstr(err.message, "65 characters, 1 to 64"));
}

static void a_name_has_at_most_32_attributes(void **state)
{
	CH_AUTO(ch_buffer) text = CH_NONE;
	struct ch_bytes der = CH_NONE;
	struct ch_error err = CH_NONE;
	for (int i = 0; i < 33; i++)
		ch_buffer_printf(&text, "%sDC=a", i ? "," : "");
	ch_buffer_add(&text, "", 1);
	assert_false(ch_name_parse((char *)text.data, &der, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
}

static void der_that_is_no_name_has_no_text(void **state)
{
	static const struct ch_view bad[] = { { (const uint8_t *)"", 0 },
					      { (const uint8_t *)"\x05\x00", 2 },
					      { (const uint8_t *)"\x30\x00\x00", 3 },
					      { (const uint8_t *)"\x30\x02\x31", 3 } };
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		CH_AUTO(ch_string) text = ch_name_text(bad[i]);
		assert_string_equal(text, "");
	}
}

/* --- subject alternative names (RFC 5280 §4.2.1.6) --- */

static void good_names_are_kept_in_canonical_form(void **state)
{
	static const struct {
		const char *type, *in, *out;
	} good[] = {
		{ "dns", "www.example.com", NULL },
		{ "dns", "WWW.Example.COM", "www.example.com" },
		{ "dns", "localhost", NULL },
		{ "dns", "*.example.com", NULL },
		{ "dns", "xn--bcher-kva.example", NULL },
		{ "dns", "1.2.3.4.example", NULL },
		{ "ip", "192.0.2.1", NULL },
		{ "ip", "2001:DB8:0:0::1", "2001:db8::1" },
		{ "ip", "::ffff:192.0.2.1", NULL },
		{ "email", "alice+tag@example.com", NULL },
		{ "uri", "https://user@www.example.com:8443/path?q#f", NULL },
		{ "uri", "http://[2001:db8::1]:80/", NULL },
		{ "uri", "http://192.0.2.1/", NULL },
		{ "uri", "chancery:service/issuer/issuer-1", NULL },
		{ "uri", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", NULL },
	};
	for (size_t i = 0; i < CH_COUNT(good); i++) {
		CH_AUTO(ch_sans) sans = CH_NONE;
		CH_AUTO(ch_sans) decoded = CH_NONE;
		CH_AUTO(ch_bytes) der = CH_NONE;
		struct ch_error err = CH_NONE;
		if (!ch_sans_add(&sans, good[i].type, good[i].in, &err))
			fail_msg("%s", err.message);
		assert_string_equal(sans.items[0].value, good[i].out ? good[i].out : good[i].in);
		assert_string_equal(ch_san_type_name(sans.items[0].type), good[i].type);
		assert_true(ch_sans_encode(&sans, &der, &err));
		assert_true(ch_sans_decode(ch_view_of(&der), &decoded, &err));
		assert_int_equal(decoded.count, 1);
		assert_int_equal(decoded.items[0].type, sans.items[0].type);
		assert_string_equal(decoded.items[0].value, sans.items[0].value);
	}
}

static void bad_names_are_refused(void **state)
{
	static const struct {
		const char *type, *value, *says;
	} bad[] = {
		{ "dns", "", "not a host name" },
		{ "dns", "a..b", "not a host name" },
		{ "dns", "a.b.", "not a host name" },
		{ "dns", ".a", "not a host name" },
		{ "dns", "-a.example", "not a host name" },
		{ "dns", "a-.example", "not a host name" },
		{ "dns", "a_b.example", "not a host name" },
		{ "dns", "a b", "not a host name" },
		{ "dns", "b\xc3\xbc.example", "not a host name" },
		{ "dns", "w*.example.com", "left-most label" },
		{ "dns", "www.*.example.com", "left-most label" },
		{ "dns", "*.*.example.com", "left-most label" },
		{ "dns", "*", "left-most label" },
		{ "dns", "*.com", "two labels" },
		{ "dns", "192.0.2.1", "belongs under ip" },
		{ "dns", "2001:db8::1", "belongs under ip" },
		{ "dns", "1.2.3", "digits alone" },
		{ "dns", "a23456789012345678901234567890123456789012345678901234567890abcd.example",
		  "not a host name" }, /* 64 in a label */
		{ "ip", "192.0.2", "not an IPv4" },
		{ "ip", "192.0.2.256", "not an IPv4" },
		{ "ip", "192.0.2.1/24", "not an IPv4" },
		{ "ip", "2001:db8::1%eth0", "not an IPv4" },
		{ "ip", "www.example.com", "not an IPv4" },
		{ "email", "alice", "not a mailbox" },
		{ "email", "@example.com", "not a mailbox" },
		{ "email", "alice@", "not a mailbox" },
		{ "email", ".a@example.com", "not a mailbox" },
		{ "email", "a..b@example.com", "not a mailbox" },
		{ "email", "Alice <alice@example.com>", "not a mailbox" },
		{ "email", "a@*.example.com", "not a mailbox" },
		{ "email", "a@192.0.2.1", "not a mailbox" },
		{ "uri", "", "not absolute" },
		{ "uri", "/path", "not absolute" },
		{ "uri", "www.example.com", "not absolute" },
		{ "uri", "http:", "not absolute" },
		{ "uri", "1http://a", "not absolute" },
		{ "uri", "http://", "host name nor an address" },
		{ "uri", "http:///path", "host name nor an address" },
		{ "uri", "http://a_b/", "host name nor an address" },
		{ "uri", "http://[2001:db8::1/", "host name nor an address" },
		{ "uri", "http://a.example/a b", "%-escaped" },
		{ "uri", "http://a.example/\xc3\xa9", "%-escaped" },
		{ "other", "x", "'other' is not known" },
	};
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		CH_AUTO(ch_sans) sans = CH_NONE;
		struct ch_error err = CH_NONE;
		if (ch_sans_add(&sans, bad[i].type, bad[i].value, &err))
			fail_msg("%s '%s' was taken", bad[i].type, bad[i].value);
		assert_int_equal(err.code, CH_INVALID);
		if (!strstr(err.message, bad[i].says))
			fail_msg("'%s': '%s' does not say '%s'", bad[i].value, err.message, bad[i].says);
		assert_int_equal(sans.count, 0);
	}
}

static void the_same_name_is_kept_once(void **state)
{
	CH_AUTO(ch_sans) sans = CH_NONE;
	assert_true(ch_sans_add(&sans, "dns", "a.example", NULL));
	assert_true(ch_sans_add(&sans, "dns", "A.EXAMPLE", NULL));
	assert_true(ch_sans_add(&sans, "ip", "192.0.2.1", NULL));
	assert_int_equal(sans.count, 2);
}

static void there_is_a_cap_on_names(void **state)
{
	CH_AUTO(ch_sans) sans = CH_NONE;
	struct ch_error err = CH_NONE;
	for (int i = 0; i < CH_SANS_MAX; i++) {
		CH_AUTO(ch_string) name = ch_format("a%d.example", i);
		assert_true(ch_sans_add(&sans, "dns", name, &err));
	}
	assert_false(ch_sans_add(&sans, "dns", "one.more.example", &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
}

/* §4.2.1.6: SIZE (1..MAX) */
static void no_name_at_all_is_refused(void **state)
{
	CH_AUTO(ch_sans) sans = CH_NONE;
	struct ch_bytes der = CH_NONE;
	assert_false(ch_sans_encode(&sans, &der, NULL));
	assert_false(ch_sans_decode(V("\x30\x00"), &sans, NULL));
}

static void other_general_names_are_refused(void **state)
{
	static const struct {
		struct ch_view der;
		enum ch_code code;
	} bad[] = {
		{ { (const uint8_t *)"\x30\x04\xa4\x02\x30\x00", 6 }, CH_UNSUPPORTED }, /* directoryName */
		{ { (const uint8_t *)"\x30\x04\xa0\x02\x05\x00", 6 }, CH_UNSUPPORTED }, /* otherName */
		{ { (const uint8_t *)"\x30\x03\x88\x01\x2a", 5 }, CH_UNSUPPORTED },     /* registeredID */
		{ { (const uint8_t *)"\x30\x03\x0c\x01\x61", 5 }, CH_INVALID },
		{ { (const uint8_t *)"\x30\x03\x82\x01\x00", 5 }, CH_INVALID },         /* a zero octet */
		{ { (const uint8_t *)"\x30\x05\x82\x03\x61\x00\x62", 7 }, CH_INVALID }, /* and inside */
		{ { (const uint8_t *)"\x30\x02\x82\x00", 4 }, CH_INVALID },             /* empty */
		{ { (const uint8_t *)"\x30\x05\x87\x03\x01\x02\x03", 7 },
		  CH_INVALID },                                                     /* 3 octets of address */
		{ { (const uint8_t *)"\x30\x03\x82\x01\x61\x00", 6 }, CH_INVALID }, /* trailing */
		{ { (const uint8_t *)"\x30\x03\x82\x02\x61", 5 }, CH_INVALID },     /* truncated */
		{ { (const uint8_t *)"\x31\x03\x82\x01\x61", 5 }, CH_INVALID },     /* not a SEQUENCE */
	};
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		CH_AUTO(ch_sans) sans = CH_NONE;
		struct ch_error err = CH_NONE;
		assert_false(ch_sans_decode(bad[i].der, &sans, &err));
		assert_int_equal(err.code, bad[i].code);
		assert_int_equal(sans.count, 0);
	}
}

/* RFC 5280 §7.1, as OpenSSL looks for an issuer. */
static void names_are_equal_as_relying_parties_compare_them(void **state)
{
	static const uint8_t printable[] = { 0x30, 0x0d, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03,
					     0x55, 0x04, 0x03, 0x13, 0x02, 'c',  'A' };
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
		{ "CN=Test CA,O=Example", "CN=Test CA,O=Example", true },
		{ "CN=Test CA,O=Example", "CN=TEST  ca,O=example", true },
		{ "CN=Test CA,O=Example", "O=Example,CN=Test CA", false },
		{ "CN=Test CA,O=Example", "CN=TestCA,O=Example", false },
		{ "CN=Test CA", "CN=Test CA,O=Example", false },
		{ "CN=Test CA", "OU=Test CA", false },
	};
	CH_AUTO(ch_bytes) utf8 = CH_NONE;
	struct ch_error err;
	bool equal;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CH_AUTO(ch_bytes) a = CH_NONE, b = CH_NONE;

		assert_true(ch_name_parse(cases[i].a, &a, &err) && ch_name_parse(cases[i].b, &b, &err));
		assert_true(ch_name_equal(ch_view_of(&a), ch_view_of(&b), &equal, &err));
		assert_int_equal(equal, cases[i].equal);
	}
	assert_true(ch_name_parse("CN=CA", &utf8, &err));
	assert_true(ch_name_equal(ch_view_of(&utf8), ch_view(printable, sizeof(printable)), &equal, &err));
	assert_true(equal);
	assert_false(
		ch_name_equal(ch_view_of(&utf8), ch_view(printable, sizeof(printable) - 1), &equal, &err));
	assert_int_equal(err.code, CH_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_equal_as_relying_parties_compare_them),
		cmocka_unit_test(a_name_is_written_most_specific_first),
		cmocka_unit_test(names_go_through_der_and_back),
		cmocka_unit_test(what_is_no_name_is_refused_with_its_fault),
		cmocka_unit_test(upper_bounds_count_characters),
		cmocka_unit_test(a_name_has_at_most_32_attributes),
		cmocka_unit_test(der_that_is_no_name_has_no_text),
		cmocka_unit_test(good_names_are_kept_in_canonical_form),
		cmocka_unit_test(bad_names_are_refused),
		cmocka_unit_test(the_same_name_is_kept_once),
		cmocka_unit_test(there_is_a_cap_on_names),
		cmocka_unit_test(no_name_at_all_is_refused),
		cmocka_unit_test(other_general_names_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
