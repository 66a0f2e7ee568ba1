/* SPDX-License-Identifier: Apache-2.0 */
/* unpack_test.c: what messages may cost while they are unpacked, and how much they may repeat. */
#include "unpack/unpack.h"

#include "issuer.pb-c.h"
#include "vault.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1024 * 1024)

/* `count` items of field 1, each of these octets. */
static struct ch_bytes repeat(const char *item, size_t item_size, size_t count)
{
	struct ch_bytes made = { ch_alloc(count * item_size), count * item_size };

	for (size_t i = 0; i < count; i++)
		memcpy(made.data + i * item_size, item, item_size);
	return made;
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *descriptor, const struct ch_bytes *octets)
{
	return ch_unpack(descriptor, ch_view_of(octets));
}

static void empty_items_are_over_the_budget(void **state)
{
	static const char item[] = { 0x0a, 0 }, unknown[] = { 0x7a, 0 };
	CH_AUTO(ch_bytes) some = repeat(item, sizeof(item), 256);
	CH_AUTO(ch_bytes) many = repeat(item, sizeof(item), MIB / 2);
	CH_AUTO(ch_bytes) strange = repeat(unknown, sizeof(unknown), MIB / 2);
	ProtobufCMessage *message = unpack(&chancery__sign_request__descriptor, &some);

	(void)state;
	assert_non_null(message);
	protobuf_c_message_free_unpacked(message, NULL);
	assert_null(unpack(&chancery__sign_request__descriptor, &many));
	assert_null(unpack(&chancery__sign_request__descriptor, &strange));
}

static void what_is_sent_in_earnest_fits(void **state)
{
	/* a SAN as short as can be: dns, a.b; ISSUER_SANS_CAP of them */
	static const char san[] = "\x3a\x0a\x0a\x03"
				  "dns"
				  "\x12\x03"
				  "a.b";
	CH_AUTO(ch_bytes) sans = repeat(san, sizeof(san) - 1, 1000);
	Chancery__SignItem item = CHANCERY__SIGN_ITEM__INIT;
	Chancery__SignItem *items[] = { &item };
	Chancery__SignRequest request = CHANCERY__SIGN_REQUEST__INIT;
	CH_AUTO(ch_bytes) crl = { ch_alloc(31 * MIB), 31 * MIB };
	CH_AUTO(ch_bytes) packed = CH_NONE;
	ProtobufCMessage *message = unpack(&chancery__issue_certificate_request__descriptor, &sans);

	(void)state;
	assert_non_null(message);
	assert_int_equal(((Chancery__IssueCertificateRequest *)message)->n_subject_alt_names, 1000);
	protobuf_c_message_free_unpacked(message, NULL);
	item.to_be_signed = (ProtobufCBinaryData){ crl.size, crl.data };
	request.items = items;
	request.n_items = 1;
	packed.size = chancery__sign_request__get_packed_size(&request);
	packed.data = ch_alloc(packed.size);
	chancery__sign_request__pack(&request, packed.data);
	message = unpack(&chancery__sign_request__descriptor, &packed);
	assert_non_null(message);
	protobuf_c_message_free_unpacked(message, NULL);
}

static void the_budget_is_a_few_times_the_size(void **state)
{
	(void)state;
	assert_int_equal(ch_unpack_budget(0), 64 * 1024);
	assert_int_equal(ch_unpack_budget(1024), 80 * 1024);
	assert_int_equal(ch_unpack_budget(MIB), 6 * MIB);
	assert_int_equal(ch_unpack_budget(32 * MIB), 68 * MIB);
	assert_true(ch_unpack_budget(SIZE_MAX) == SIZE_MAX);
}

static void elements_are_counted_at_every_depth(void **state)
{
	static const char item[] = { 0x0a, 0 };
	/* GenerateKeyRequest { policy { callers: "" × 3 } } */
	static const char nested[] = "\x4a\x06\x0a\x00\x0a\x00\x0a\x00";
	CH_AUTO(ch_bytes) ten = repeat(item, sizeof(item), 10);
	ProtobufCMessage *message = unpack(&chancery__sign_request__descriptor, &ten);
	struct ch_error err = CH_NONE;

	(void)state;
	assert_true(ch_unpack_check_counts(message, 10, &err));
	assert_false(ch_unpack_check_counts(message, 9, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_string_equal(err.message, "field 'items' has 10 elements, at most 9");
	protobuf_c_message_free_unpacked(message, NULL);
	message = ch_unpack(&chancery__generate_key_request__descriptor, ch_view(nested, sizeof(nested) - 1));
	assert_non_null(message);
	assert_true(ch_unpack_check_counts(message, 3, &err));
	assert_false(ch_unpack_check_counts(message, 2, &err));
	assert_string_equal(err.message, "policy: field 'callers' has 3 elements, at most 2");
	protobuf_c_message_free_unpacked(message, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_items_are_over_the_budget),
		cmocka_unit_test(what_is_sent_in_earnest_fits),
		cmocka_unit_test(the_budget_is_a_few_times_the_size),
		cmocka_unit_test(elements_are_counted_at_every_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
