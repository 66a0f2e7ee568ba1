/* SPDX-License-Identifier: Apache-2.0 */
/* der_test.c: what libcommon/der reads, refuses and writes. Numbers in comments are X.690 sections. */
#include "der/der.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A DER literal: V("\x05\x00"). */
#define V(literal) ch_view("" literal, sizeof(literal) - 1)

static void assert_bytes(struct ch_view actual, struct ch_view expected)
{
	CH_AUTO(ch_string) a = ch_hex(actual);
	CH_AUTO(ch_string) b = ch_hex(expected);
	assert_string_equal(a, b);
}

/* The cursor must not have moved, and the error names the thing and says `text`. */
static void assert_refused(bool result, const struct ch_view *in, struct ch_view before,
			   const struct ch_error *err, const char *text)
{
	assert_false(result);
	assert_ptr_equal(in->data, before.data);
	assert_int_equal(in->size, before.size);
	assert_int_equal(err->code, CH_INVALID);
	assert_non_null(strstr(err->message, "Thing"));
	if (!strstr(err->message, text))
		fail_msg("'%s' does not contain '%s'", err->message, text);
}

/* --- elements --- */

static void an_element_is_taken_off_the_front(void **state)
{
	struct ch_view in = V("\x04\x02\xaa\xbb\x05\x00"), content, whole;
	struct ch_error err = CH_NONE;
	unsigned tag;
	assert_true(ch_der_read_any(&in, "Thing", &tag, &content, &whole, &err));
	assert_int_equal(tag, CH_DER_OCTET_STRING);
	assert_bytes(content, V("\xaa\xbb"));
	assert_bytes(whole, V("\x04\x02\xaa\xbb"));
	assert_false(ch_der_end(&in, "Thing", &err));
	assert_non_null(strstr(err.message, "2 octets follow"));
	assert_true(ch_der_read(&in, CH_DER_NULL, "Thing", &content, &err));
	assert_int_equal(content.size, 0);
	assert_true(ch_der_end(&in, "Thing", &err));
}

static void another_tag_than_the_expected_is_refused(void **state)
{
	struct ch_view in = V("\x05\x00"), before = in, content;
	struct ch_error err = CH_NONE;
	assert_refused(ch_der_read(&in, CH_DER_SEQUENCE, "Thing", &content, &err), &in, before, &err,
		       "tag 0x05 where 0x30");
}

static void nothing_left_is_refused(void **state)
{
	struct ch_view in = V(""), before = in, content;
	struct ch_error err = CH_NONE;
	assert_refused(ch_der_read(&in, CH_DER_SEQUENCE, "Thing", &content, &err), &in, before, &err,
		       "missing");
	in = before = ch_view(NULL, 0);
	assert_refused(ch_der_read_any(&in, "Thing", NULL, &content, NULL, &err), &in, before, &err, "ends");
}

/* 8.1.3, 10.1 */
static void lengths_have_exactly_one_form(void **state)
{
	static const struct {
		struct ch_view der;
		const char *says;
	} bad[] = {
		{ { (const uint8_t *)"\x04", 1 }, "ends inside" },
		{ { (const uint8_t *)"\x04\x80\x00\x00", 4 }, "indefinite" },
		{ { (const uint8_t *)"\x04\x81", 2 }, "ends inside" },
		{ { (const uint8_t *)"\x04\x81\x01\x00", 4 }, "minimal" },
		{ { (const uint8_t *)"\x04\x82\x00\x80\x00", 5 }, "minimal" },
		{ { (const uint8_t *)"\x04\x85\x01\x00\x00\x00\x00\x00", 8 }, "length of 5" },
		{ { (const uint8_t *)"\x04\xff\x00", 3 }, "length of 127" },
		{ { (const uint8_t *)"\x04\x02\x00", 3 }, "beyond" },
		{ { (const uint8_t *)"\x04\x84\xff\xff\xff\xff\x00", 7 }, "beyond" },
	};
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		struct ch_view in = bad[i].der, content;
		struct ch_error err = CH_NONE;
		assert_refused(ch_der_read(&in, CH_DER_OCTET_STRING, "Thing", &content, &err), &in,
			       bad[i].der, &err, bad[i].says);
	}
}

static void lengths_of_one_to_three_octets_are_read(void **state)
{
	static const size_t sizes[] = { 0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000 };
	for (size_t i = 0; i < CH_COUNT(sizes); i++) {
		CH_AUTO(ch_bytes) content = { ch_alloc(sizes[i] + 1), sizes[i] };
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		ch_der_put_octet_string(&writer, ch_view_of(&content));
		CH_AUTO(ch_bytes) der = ch_der_done(&writer);
		struct ch_view in = ch_view_of(&der), read;
		struct ch_error err = CH_NONE;
		assert_true(ch_der_read_octet_string(&in, "Thing", &read, &err));
		assert_int_equal(read.size, sizes[i]);
		assert_int_equal(in.size, 0);
	}
}

/* 8.1.2.4: our profiles of X.509, OCSP, CMS have no such tag */
static void tags_of_several_octets_are_refused(void **state)
{
	struct ch_view in = V("\x1f\x81\x01\x00"), before = in;
	struct ch_error err = CH_NONE;
	assert_refused(ch_der_read_any(&in, "Thing", NULL, NULL, NULL, &err), &in, before, &err,
		       "more than one octet");
}

static void optional_elements_say_whether_they_are_there(void **state)
{
	struct ch_view in = V("\xa0\x02\x05\x00"), content;
	struct ch_error err = CH_NONE;
	bool present = true;
	assert_true(
		ch_der_read_optional(&in, CH_DER_CONTEXT_CONSTRUCTED(1), "Thing", &present, &content, &err));
	assert_false(present);
	assert_true(
		ch_der_read_optional(&in, CH_DER_CONTEXT_CONSTRUCTED(0), "Thing", &present, &content, &err));
	assert_true(present);
	assert_bytes(content, V("\x05\x00"));
	assert_false(ch_der_next_is(&in, CH_DER_NULL));
	assert_true(ch_der_read_optional(&in, CH_DER_NULL, "Thing", &present, &content, &err));
	assert_false(present);
}

/* --- primitive types --- */

/* 8.3.2 */
static void integers_are_minimal(void **state)
{
	static const char *const bad[] = { "\x02\x00", "\x02\x02\x00\x01", "\x02\x02\xff\x80" };
	static const size_t sizes[] = { 2, 4, 4 };
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		struct ch_view in = ch_view(bad[i], sizes[i]), before = in, octets;
		struct ch_error err = CH_NONE;
		assert_refused(ch_der_read_integer(&in, "Thing", &octets, &err), &in, before, &err,
			       "INTEGER");
	}
	struct ch_view in = V("\x02\x02\x00\x80\x02\x02\xff\x7f\x02\x01\x00"), octets;
	assert_true(ch_der_read_integer(&in, "Thing", &octets, NULL));
	assert_bytes(octets, V("\x00\x80"));
	assert_true(ch_der_read_integer(&in, "Thing", &octets, NULL));
	assert_bytes(octets, V("\xff\x7f"));
	assert_true(ch_der_read_integer(&in, "Thing", &octets, NULL));
	assert_bytes(octets, V("\x00"));
}

static void integers_of_64_bits_are_values(void **state)
{
	struct ch_view in =
		V("\x02\x01\x00\x02\x01\x7f\x02\x02\x00\x80\x02\x09\x00\xff\xff\xff\xff\xff\xff\xff\xff");
	static const uint64_t expected[] = { 0, 127, 128, UINT64_MAX };
	for (size_t i = 0; i < CH_COUNT(expected); i++) {
		uint64_t value = 1;
		assert_true(ch_der_read_uint64(&in, "Thing", &value, NULL));
		assert_true(value == expected[i]);
	}
	struct ch_view negative = V("\x02\x01\xff"),
		       large = V("\x02\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00");
	struct ch_view before = negative;
	struct ch_error err = CH_NONE;
	uint64_t value;
	assert_refused(ch_der_read_uint64(&negative, "Thing", &value, &err), &negative, before, &err,
		       "negative");
	before = large;
	assert_refused(ch_der_read_uint64(&large, "Thing", &value, &err), &large, before, &err, "64 bits");
}

/* 11.1 */
static void true_is_ff(void **state)
{
	struct ch_view in = V("\x01\x01\xff\x01\x01\x00"), odd = V("\x01\x01\x01"), before = odd;
	struct ch_error err = CH_NONE;
	bool value = false;
	assert_true(ch_der_read_boolean(&in, "Thing", &value, &err));
	assert_true(value);
	assert_true(ch_der_read_boolean(&in, "Thing", &value, &err));
	assert_false(value);
	assert_refused(ch_der_read_boolean(&odd, "Thing", &value, &err), &odd, before, &err, "BOOLEAN");
	odd = before = V("\x01\x02\xff\xff");
	assert_refused(ch_der_read_boolean(&odd, "Thing", &value, &err), &odd, before, &err, "BOOLEAN");
}

/* 8.19 */
static void object_identifiers_are_checked_and_shown(void **state)
{
	static const struct {
		struct ch_view content;
		const char *text;
	} oids[] = {
		{ { (const uint8_t *)"\x55\x1d\x11", 3 }, "2.5.29.17" },
		{ { (const uint8_t *)"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", 9 }, "1.2.840.113549.1.1.11" },
		{ { (const uint8_t *)"\x88\x37\x03", 3 }, "2.999.3" },
		{ { (const uint8_t *)"\x00", 1 }, "0.0" },
		{ { (const uint8_t *)"\x27", 1 }, "0.39" },
		{ { (const uint8_t *)"\x28", 1 }, "1.0" },
		{ { (const uint8_t *)"\x50", 1 }, "2.0" },
		{ { (const uint8_t *)"", 0 }, NULL },
		{ { (const uint8_t *)"\x55\x80\x01", 3 }, NULL }, /* leading 0x80 */
		{ { (const uint8_t *)"\x55\x9d", 2 }, NULL },     /* last octet says that more follow */
		{ { (const uint8_t *)"\x55\x81\x81\x81\x81\x81\x81\x81\x81\x81\x01", 11 },
		  NULL }, /* over 63 bits */
	};
	for (size_t i = 0; i < CH_COUNT(oids); i++) {
		CH_AUTO(ch_string) text = ch_der_oid_text(oids[i].content);
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		ch_der_put(&writer, CH_DER_OID, oids[i].content);
		CH_AUTO(ch_bytes) der = ch_der_done(&writer);
		struct ch_view in = ch_view_of(&der), content;
		assert_true(ch_der_read_oid(&in, "Thing", &content, NULL) == (oids[i].text != NULL));
		if (!oids[i].text) {
			assert_null(text);
			continue;
		}
		assert_string_equal(text, oids[i].text);
		CH_AUTO(ch_der_writer) again = CH_NONE;
		assert_true(ch_der_put_oid(&again, text, NULL));
		CH_AUTO(ch_bytes) written = ch_der_done(&again);
		assert_bytes(ch_view_of(&written), ch_view_of(&der));
	}
}

static void text_that_is_no_object_identifier_is_refused(void **state)
{
	static const char *const bad[] = { "",
					   "1",
					   "1.",
					   "3.1",
					   "1.40",
					   ".1.2",
					   "1..2",
					   "1.2.",
					   "1.02.3",
					   "1.2.a",
					   "1.2.-3",
					   " 1.2",
					   "1.2.99999999999999999999" };
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		struct ch_error err = CH_NONE;
		assert_false(ch_der_put_oid(&writer, bad[i], &err));
		assert_int_equal(err.code, CH_INVALID);
		assert_int_equal(writer.buffer.used, 0);
	}
}

static void bit_strings_hold_whole_octets(void **state)
{
	struct ch_view in = V("\x03\x02\x00\xaa\x03\x01\x00"), octets, before;
	struct ch_error err = CH_NONE;
	assert_true(ch_der_read_bit_string(&in, "Thing", &octets, &err));
	assert_bytes(octets, V("\xaa"));
	assert_true(ch_der_read_bit_string(&in, "Thing", &octets, &err));
	assert_int_equal(octets.size, 0);
	in = before = V("\x03\x02\x01\xaa");
	assert_refused(ch_der_read_bit_string(&in, "Thing", &octets, &err), &in, before, &err, "unused bits");
	in = before = V("\x03\x00");
	assert_refused(ch_der_read_bit_string(&in, "Thing", &octets, &err), &in, before, &err, "unused bits");
}

/* --- times (RFC 5280 §4.1.2.5, RFC 3161 §2.4.2) --- */

static struct ch_bytes time_der(unsigned tag, const char *text)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_put(&writer, tag, ch_view_text(text));
	return ch_der_done(&writer);
}

static void times_become_microseconds(void **state)
{
	static const struct {
		unsigned tag;
		const char *text;
		bool fractions;
		int64_t time_us;
	} times[] = {
		{ CH_DER_UTC_TIME, "700101000000Z", false, 0 },
		{ CH_DER_UTC_TIME, "491231235959Z", false, INT64_C(2524607999) * 1000000 },
		{ CH_DER_UTC_TIME, "500101000000Z", false, INT64_C(-631152000) * 1000000 }, /* 1950 */
		{ CH_DER_UTC_TIME, "000229120000Z", false, INT64_C(951825600) * 1000000 },
		{ CH_DER_GENERALIZED_TIME, "20500101000000Z", false, INT64_C(2524608000) * 1000000 },
		{ CH_DER_GENERALIZED_TIME, "99991231235959Z", false, INT64_C(253402300799) * 1000000 },
		{ CH_DER_GENERALIZED_TIME, "20261121100000.5Z", true,
		  INT64_C(1795255200) * 1000000 + 500000 },
		{ CH_DER_GENERALIZED_TIME, "20261121100000.123456Z", true,
		  INT64_C(1795255200) * 1000000 + 123456 },
		{ CH_DER_GENERALIZED_TIME, "20261121100000.1234567Z", true,
		  INT64_C(1795255200) * 1000000 + 123456 },
	};
	for (size_t i = 0; i < CH_COUNT(times); i++) {
		CH_AUTO(ch_bytes) der = time_der(times[i].tag, times[i].text);
		struct ch_view in = ch_view_of(&der);
		struct ch_error err = CH_NONE;
		int64_t time_us = 1;
		if (!ch_der_read_time(&in, "Thing", times[i].fractions, &time_us, &err))
			fail_msg("%s: %s", times[i].text, err.message);
		assert_true(time_us == times[i].time_us);
	}
}

static void other_forms_of_time_are_refused(void **state)
{
	static const struct {
		unsigned tag;
		const char *text;
		bool fractions;
	} times[] = {
		{ CH_DER_UTC_TIME, "7001010000Z", false },       /* no seconds */
		{ CH_DER_UTC_TIME, "700101000000", false },      /* no Z */
		{ CH_DER_UTC_TIME, "700101000000+0000", false }, /* an offset */
		{ CH_DER_UTC_TIME, "700101000000ZZ", false },    /* something after it */
		{ CH_DER_UTC_TIME, "700001000000Z", false },     /* month 0 */
		{ CH_DER_UTC_TIME, "701301000000Z", false },     /* month 13 */
		{ CH_DER_UTC_TIME, "260229000000Z", false },     /* no leap year */
		{ CH_DER_UTC_TIME, "700101240000Z", false },
		{ CH_DER_UTC_TIME, "700101006000Z", false },
		{ CH_DER_UTC_TIME, "700101000060Z", false },
		{ CH_DER_UTC_TIME, "70 101000000Z", false },
		{ CH_DER_UTC_TIME, "700101000000.5Z", true },
		{ CH_DER_UTC_TIME, "", false },
		{ CH_DER_GENERALIZED_TIME, "20261121100000.5Z", false }, /* RFC 5280: no fractions */
		{ CH_DER_GENERALIZED_TIME, "20261121100000.50Z", true }, /* RFC 3161: no trailing zero */
		{ CH_DER_GENERALIZED_TIME, "20261121100000.Z", true },
		{ CH_DER_GENERALIZED_TIME, "20261121100000,5Z", true },
		{ CH_DER_GENERALIZED_TIME, "21000229000000Z", false }, /* 2100 is no leap year */
		{ CH_DER_OCTET_STRING, "700101000000Z", false },
	};
	for (size_t i = 0; i < CH_COUNT(times); i++) {
		CH_AUTO(ch_bytes) der = time_der(times[i].tag, times[i].text);
		struct ch_view in = ch_view_of(&der), before = in;
		struct ch_error err = CH_NONE;
		int64_t time_us;
		assert_refused(ch_der_read_time(&in, "Thing", times[i].fractions, &time_us, &err), &in,
			       before, &err, "time");
	}
}

static void times_are_written_as_rfc_5280_wants(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} times[] = {
		{ 0, "700101000000Z" },
		{ 2524607999, "491231235959Z" },
		{ 2524608000, "20500101000000Z" },
		{ -631152000, "500101000000Z" },
		{ -631152001, "19491231235959Z" },
		{ 253402300799, "99991231235959Z" },
	};
	for (size_t i = 0; i < CH_COUNT(times); i++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		ch_der_put_time(&writer, times[i].seconds * 1000000);
		CH_AUTO(ch_bytes) der = ch_der_done(&writer);
		assert_int_equal(der.data[0],
				 strlen(times[i].text) == 13 ? CH_DER_UTC_TIME : CH_DER_GENERALIZED_TIME);
		assert_bytes(ch_view(der.data + 2, der.size - 2), ch_view_text(times[i].text));
	}
}

static void fractions_lose_their_trailing_zeros(void **state)
{
	static const struct {
		int64_t time_us;
		bool fractions;
		const char *text;
	} times[] = {
		{ 1000000, true, "19700101000001Z" },   { 1500000, true, "19700101000001.5Z" },
		{ 1500000, false, "19700101000001Z" },  { 1000001, true, "19700101000001.000001Z" },
		{ -1, true, "19691231235959.999999Z" },
	};
	for (size_t i = 0; i < CH_COUNT(times); i++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		ch_der_put_generalized_time(&writer, times[i].time_us, times[i].fractions);
		CH_AUTO(ch_bytes) der = ch_der_done(&writer);
		assert_bytes(ch_view(der.data + 2, der.size - 2), ch_view_text(times[i].text));
	}
}

static void a_written_time_is_read_back(void **state)
{
	for (int64_t day = -7300; day < 60000; day += 13) { /* 1950 to 2134 */
		int64_t time_us = day * INT64_C(86400000000) + INT64_C(45296000000), read = 0;
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		ch_der_put_time(&writer, time_us);
		CH_AUTO(ch_bytes) der = ch_der_done(&writer);
		struct ch_view in = ch_view_of(&der);
		assert_true(ch_der_read_time(&in, "Thing", false, &read, NULL));
		assert_true(read == time_us);
	}
}

/* --- writing --- */

static void nested_elements_get_their_lengths(void **state)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	uint8_t filler[200] = { 0 };
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_boolean(&writer, true);
	ch_der_finish(&writer);
	ch_der_put_octet_string(&writer, ch_view(filler, sizeof filler));
	ch_der_begin(&writer, CH_DER_SET);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	CH_AUTO(ch_bytes) der = ch_der_done(&writer);
	struct ch_view in = ch_view_of(&der), sequence, inner;
	assert_bytes(ch_view(der.data, 3), V("\x30\x81\xd2"));
	assert_true(ch_der_read(&in, CH_DER_SEQUENCE, "Thing", &sequence, NULL));
	assert_int_equal(in.size, 0);
	assert_true(ch_der_read(&sequence, CH_DER_CONTEXT_CONSTRUCTED(0), "Thing", &inner, NULL));
	assert_bytes(inner, V("\x01\x01\xff"));
	assert_true(ch_der_read_octet_string(&sequence, "Thing", &inner, NULL));
	assert_int_equal(inner.size, sizeof filler);
	assert_true(ch_der_read(&sequence, CH_DER_SET, "Thing", &inner, NULL));
	assert_int_equal(inner.size, 0);
}

static void integers_are_written_minimal_and_positive(void **state)
{
	static const struct {
		struct ch_view octets, der;
	} integers[] = {
		{ { (const uint8_t *)"", 0 }, { (const uint8_t *)"\x02\x01\x00", 3 } },
		{ { (const uint8_t *)"\x00\x00", 2 }, { (const uint8_t *)"\x02\x01\x00", 3 } },
		{ { (const uint8_t *)"\x7f", 1 }, { (const uint8_t *)"\x02\x01\x7f", 3 } },
		{ { (const uint8_t *)"\x80", 1 }, { (const uint8_t *)"\x02\x02\x00\x80", 4 } },
		{ { (const uint8_t *)"\x00\x00\x01\x02", 4 }, { (const uint8_t *)"\x02\x02\x01\x02", 4 } },
	};
	for (size_t i = 0; i < CH_COUNT(integers); i++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		ch_der_put_integer(&writer, integers[i].octets);
		CH_AUTO(ch_bytes) der = ch_der_done(&writer);
		assert_bytes(ch_view_of(&der), integers[i].der);
	}
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_put_uint64(&writer, CH_DER_ENUMERATED, 5);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, UINT64_MAX);
	CH_AUTO(ch_bytes) der = ch_der_done(&writer);
	assert_bytes(ch_view_of(&der), V("\x0a\x01\x05\x02\x09\x00\xff\xff\xff\xff\xff\xff\xff\xff"));
}

/* 11.6: ascending as octet strings, the shorter first where one begins the other */
static void a_set_of_is_sorted(void **state)
{
	struct ch_view elements[] = { V("\x02\x01\x05"), V("\x02\x01\x03"), V("\x01\x01\xff"),
				      V("\x02\x01") };
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_put_set_of(&writer, CH_DER_SET, elements, CH_COUNT(elements));
	CH_AUTO(ch_bytes) der = ch_der_done(&writer);
	assert_bytes(ch_view_of(&der), V("\x31\x0b\x01\x01\xff\x02\x01\x02\x01\x03\x02\x01\x05"));
}

static void a_writer_is_empty_after_done(void **state)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_put_bit_string(&writer, V("\xaa"));
	CH_AUTO(ch_bytes) first = ch_der_done(&writer);
	assert_bytes(ch_view_of(&first), V("\x03\x02\x00\xaa"));
	ch_der_put_raw(&writer, V("\x05\x00"));
	CH_AUTO(ch_bytes) second = ch_der_done(&writer);
	assert_bytes(ch_view_of(&second), V("\x05\x00"));
	ch_der_writer_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_element_is_taken_off_the_front),
		cmocka_unit_test(another_tag_than_the_expected_is_refused),
		cmocka_unit_test(nothing_left_is_refused),
		cmocka_unit_test(lengths_have_exactly_one_form),
		cmocka_unit_test(lengths_of_one_to_three_octets_are_read),
		cmocka_unit_test(tags_of_several_octets_are_refused),
		cmocka_unit_test(optional_elements_say_whether_they_are_there),
		cmocka_unit_test(integers_are_minimal),
		cmocka_unit_test(integers_of_64_bits_are_values),
		cmocka_unit_test(true_is_ff),
		cmocka_unit_test(object_identifiers_are_checked_and_shown),
		cmocka_unit_test(text_that_is_no_object_identifier_is_refused),
		cmocka_unit_test(bit_strings_hold_whole_octets),
		cmocka_unit_test(times_become_microseconds),
		cmocka_unit_test(other_forms_of_time_are_refused),
		cmocka_unit_test(times_are_written_as_rfc_5280_wants),
		cmocka_unit_test(fractions_lose_their_trailing_zeros),
		cmocka_unit_test(a_written_time_is_read_back),
		cmocka_unit_test(nested_elements_get_their_lengths),
		cmocka_unit_test(integers_are_written_minimal_and_positive),
		cmocka_unit_test(a_set_of_is_sorted),
		cmocka_unit_test(a_writer_is_empty_after_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
