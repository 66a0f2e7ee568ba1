/* SPDX-License-Identifier: Apache-2.0 */
/* serial_test.c: serial numbers and operator names. */
#include "x509/operator.h"
#include "x509/serial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V(literal) ch_view("" literal, sizeof(literal) - 1)

static const int64_t november_2026 = INT64_C(1795255200) * CH_SECOND;

static void the_period_is_the_month_of_expiry(void **state)
{
	static const struct {
		int64_t seconds;
		int period;
	} periods[] = {
		{ 0, 0 },
		{ 31 * 86400 - 1, 0 },
		{ 31 * 86400, 1 },
		{ 1795255200, 56 * 12 + 10 }, /* November 2026 */
		{ 1798761599, 56 * 12 + 11 }, /* 2026-12-31T23:59:59Z */
		{ 1798761600, 57 * 12 },
		{ -1, 0 },
		{ 253402300799, 0x7fff }, /* 99991231235959Z (RFC 5280 §4.1.2.5) takes the last one */
	};
	for (size_t i = 0; i < CH_COUNT(periods); i++)
		assert_int_equal(ch_expiry_period(periods[i].seconds * CH_SECOND), periods[i].period);
}

/* RFC 5280 §4.1.2.2: positive, at most 20 octets */
static void a_serial_tells_its_period_and_its_maker(void **state)
{
	uint8_t serial[CH_SERIAL_SIZE];
	ch_serial_make(V("key"), november_2026, serial);
	assert_true(serial[0] < 0x80);
	assert_int_equal(ch_serial_period(ch_view(serial, sizeof serial)), 682);
	assert_true(ch_serial_check(V("key"), ch_view(serial, sizeof serial)));
	assert_false(ch_serial_check(V("other key"), ch_view(serial, sizeof serial)));
}

static void every_changed_bit_is_noticed(void **state)
{
	uint8_t serial[CH_SERIAL_SIZE];
	ch_serial_make(V("key"), november_2026, serial);
	for (size_t bit = 0; bit < 8 * sizeof serial; bit++) {
		serial[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(ch_serial_check(V("key"), ch_view(serial, sizeof serial)));
		serial[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void serials_of_another_length_are_not_ours(void **state)
{
	uint8_t serial[CH_SERIAL_SIZE + 1] = { 0 };
	ch_serial_make(V("key"), november_2026, serial);
	for (size_t size = 0; size <= sizeof serial; size++) {
		bool ours = size == CH_SERIAL_SIZE;
		assert_int_equal(ch_serial_check(V("key"), ch_view(serial, size)), ours);
		assert_int_equal(ch_serial_period(ch_view(serial, size)), ours ? 682 : -1);
	}
}

static void two_serials_differ(void **state)
{
	uint8_t one[CH_SERIAL_SIZE], two[CH_SERIAL_SIZE];
	ch_serial_make(V("key"), november_2026, one);
	ch_serial_make(V("key"), november_2026, two);
	assert_memory_equal(one, two, 2);
	assert_memory_not_equal(one + 2, two + 2, 10);
}

/* Nobody may know the next one before it is signed (Baseline Requirements §7.1: at least 64 bits of a
 * CSPRNG). */
static void eighty_bits_of_it_are_chance(void **state)
{
	bool seen[10][256] = CH_NONE;

	for (int i = 0; i < 64; i++) {
		uint8_t serial[CH_SERIAL_SIZE] = CH_NONE;

		ch_serial_make(V("key"), november_2026, serial);
		for (size_t octet = 0; octet < 10; octet++)
			seen[octet][serial[2 + octet]] = true;
	}
	for (size_t octet = 0; octet < 10; octet++) {
		int values = 0;

		for (size_t value = 0; value < 256; value++)
			values += seen[octet][value];
		assert_true(values > 16); /* of 64; some 56 are expected */
	}
}

/* The tag is HMAC-SHA-256: a second implementation (python3 hmac) made this one. */
static void the_tag_is_hmac_sha256(void **state)
{
	uint8_t serial[CH_SERIAL_SIZE] = { 2, 0xaa, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x46, 0x82, 0xb8, 0xbf };
	assert_true(ch_serial_check(V("tag key"), ch_view(serial, sizeof serial)));
}

/* --- operators --- */

/* A certificate that has these names; `uris` ends with NULL. */
static X509 *certificate_with(const char *const *uris)
{
	X509 *certificate = X509_new();
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	for (; *uris; uris++) {
		ASN1_IA5STRING *text = ASN1_IA5STRING_new();
		GENERAL_NAME *name = GENERAL_NAME_new();
		assert_int_equal(ASN1_STRING_set(text, *uris, -1), 1);
		GENERAL_NAME_set0_value(name, GEN_URI, text);
		assert_true(sk_GENERAL_NAME_push(names, name) > 0);
	}
	assert_int_equal(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0), 1);
	GENERAL_NAMES_free(names);
	return certificate;
}

static void an_operator_has_tenant_roles_and_name(void **state)
{
	static const char *const uris[] = { "https://other.example/",
					    "chancery:operator/default/requester+officer/alice.b", NULL };
	CH_AUTO(X509) certificate = certificate_with(uris);
	struct ch_operator operator_ = CH_NONE;
	struct ch_error err = CH_NONE;
	assert_true(ch_operator_read(certificate, &operator_, &err));
	assert_string_equal(operator_.tenant, "default");
	assert_string_equal(operator_.name, "alice.b");
	assert_int_equal(operator_.roles, CH_ROLE_REQUESTER | CH_ROLE_OFFICER);
}

static void other_operator_names_are_refused(void **state)
{
	static const char *const bad[] = {
		"chancery:operator/",
		"chancery:operator/default",
		"chancery:operator/default/officer",
		"chancery:operator/default/officer/",
		"chancery:operator//officer/alice",
		"chancery:operator/default//alice",
		"chancery:operator/default/emperor/alice",
		"chancery:operator/default/officer+/alice",
		"chancery:operator/default/+officer/alice",
		"chancery:operator/default/officer+emperor/alice",
		"chancery:operator/default/officer/alice/more",
		"chancery:operator/default/officer/Alice",
		"chancery:operator/default/officer/al ice",
		("chancery:operator/default/officer/"
		 "a234567890123456789012345678901234567890123456789012345678901234"),
		"chancery:service/issuer/issuer-1",
		"Chancery:operator/default/officer/alice",
	};
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		const char *uris[] = { bad[i], NULL };
		CH_AUTO(X509) certificate = certificate_with(uris);
		struct ch_operator operator_ = CH_NONE;
		struct ch_error err = CH_NONE;
		if (ch_operator_read(certificate, &operator_, &err))
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(err.code, CH_UNAUTHENTICATED);
		assert_int_equal(operator_.roles, 0);
	}
}

static void two_operator_names_or_none_are_refused(void **state)
{
	static const char *const two[] = { "chancery:operator/default/officer/alice",
					   "chancery:operator/default/officer/bob", NULL };
	CH_AUTO(X509) doubled = certificate_with(two);
	CH_AUTO(X509) bare = X509_new();
	struct ch_operator operator_;
	struct ch_error err = CH_NONE;
	assert_false(ch_operator_read(doubled, &operator_, &err));
	assert_non_null(strstr(err.message, "2 operator names"));
	assert_false(ch_operator_read(bare, &operator_, &err));
	assert_int_equal(err.code, CH_UNAUTHENTICATED);
}

static void roles_have_names(void **state)
{
	enum ch_role role = CH_ROLE_REQUESTER;
	struct ch_error err = CH_NONE;
	assert_true(ch_role_find("officer", &role, &err));
	assert_int_equal(role, CH_ROLE_OFFICER);
	assert_true(ch_role_find("auditor", &role, &err));
	assert_int_equal(role, CH_ROLE_AUDITOR);
	assert_string_equal(ch_role_name(CH_ROLE_REQUESTER), "requester");
	assert_string_equal(ch_role_name(CH_ROLE_AUDITOR), "auditor");
	assert_false(ch_role_find("emperor", &role, &err));
	assert_int_equal(err.code, CH_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_period_is_the_month_of_expiry),
		cmocka_unit_test(a_serial_tells_its_period_and_its_maker),
		cmocka_unit_test(every_changed_bit_is_noticed),
		cmocka_unit_test(serials_of_another_length_are_not_ours),
		cmocka_unit_test(two_serials_differ),
		cmocka_unit_test(eighty_bits_of_it_are_chance),
		cmocka_unit_test(the_tag_is_hmac_sha256),
		cmocka_unit_test(an_operator_has_tenant_roles_and_name),
		cmocka_unit_test(other_operator_names_are_refused),
		cmocka_unit_test(two_operator_names_or_none_are_refused),
		cmocka_unit_test(roles_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
