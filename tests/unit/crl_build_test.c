/* SPDX-License-Identifier: Apache-2.0 */
/* crl_build_test.c: what libcommon/issuance/crl.c writes, read by OpenSSL's parser. */
#include "issuance/crl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define T0 (INT64_C(1795219200) * CH_SECOND) /* 2026-11-21T00:00:00Z */

struct fixture {
	EVP_PKEY *key;
	struct ch_bytes public_key_info, subject_der, key_identifier;
	struct ch_crl_issuer issuer; /* borrows from these */
};

static int make_ca(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));
	uint8_t identifier[64], *info = NULL;
	struct ch_error err;
	size_t size;
	int length;

	fixture->key = EVP_EC_gen("P-256");
	length = i2d_PUBKEY(fixture->key, &info);
	fixture->public_key_info = ch_bytes_copy(ch_view(info, (size_t)length));
	OPENSSL_free(info);
	fixture->issuer.algorithm = ch_algorithm_find("ecdsa-p256");
	assert_true(ch_name_parse("CN=Example Issuing CA 1,O=Example,C=CH", &fixture->subject_der, &err));
	assert_true(
		ch_key_identifier(ch_view_of(&fixture->public_key_info), "sha1", identifier, &size, &err));
	fixture->key_identifier = ch_bytes_copy(ch_view(identifier, size));
	fixture->issuer.subject_der = ch_view_of(&fixture->subject_der);
	fixture->issuer.key_identifier = ch_view_of(&fixture->key_identifier);
	*state = fixture;
	return 0;
}

static int free_ca(void **state)
{
	struct fixture *fixture = *state;

	EVP_PKEY_free(fixture->key);
	ch_bytes_free(&fixture->public_key_info);
	ch_bytes_free(&fixture->subject_der);
	ch_bytes_free(&fixture->key_identifier);
	free(fixture);
	return 0;
}

static struct ch_bytes sign(const struct fixture *fixture, struct ch_view tbs)
{
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t size = sizeof(signature);

	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, fixture->key), 1);
	assert_int_equal(EVP_DigestSign(context, signature, &size, tbs.data, tbs.size), 1);
	return ch_signed_assemble(tbs, fixture->issuer.algorithm, ch_view(signature, size));
}

/* The whole way: built, signed, decoded and verified by OpenSSL. */
static X509_CRL *crl_of(const struct fixture *fixture, const struct ch_crl_entry *entries, size_t count,
			uint64_t number)
{
	CH_AUTO(ch_crl_builder) builder = CH_NONE;
	CH_AUTO(ch_bytes) tbs = CH_NONE, der = CH_NONE;
	struct ch_error err;
	const uint8_t *at;
	X509_CRL *crl;

	ch_crl_begin(&builder, &fixture->issuer, T0, T0 + CH_DAY);
	for (size_t i = 0; i < count; i++)
		if (!ch_crl_add(&builder, &entries[i], &err))
			fail_msg("%s", err.message);
	tbs = ch_crl_finish(&builder, &fixture->issuer, number);
	der = sign(fixture, ch_view_of(&tbs));
	at = der.data;
	crl = d2i_X509_CRL(NULL, &at, (long)der.size);
	assert_non_null(crl);
	assert_ptr_equal(at, der.data + der.size);
	assert_int_equal(X509_CRL_verify(crl, fixture->key), 1);
	return crl;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm parts;

	assert_int_equal(ASN1_TIME_to_tm(time, &parts), 1);
	return (int64_t)timegm(&parts);
}

static X509_REVOKED *only_entry(X509_CRL *crl)
{
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);

	assert_int_equal(sk_X509_REVOKED_num(entries), 1);
	return sk_X509_REVOKED_value(entries, 0);
}

static int reason_of(X509_REVOKED *entry)
{
	ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
	int value = reason ? (int)ASN1_ENUMERATED_get(reason) : -1;

	ASN1_ENUMERATED_free(reason);
	return value;
}

static void a_list_without_entries_has_no_revoked_certificates_field(void **state)
{
	CH_AUTO(X509_CRL) crl = crl_of(*state, NULL, 0, 1);

	assert_null(X509_CRL_get_REVOKED(crl));
	assert_int_equal(X509_CRL_get_version(crl), X509_CRL_VERSION_2);
}

static void times_issuer_and_algorithm_are_the_cas(void **state)
{
	const struct fixture *fixture = *state;
	CH_AUTO(X509_CRL) crl = crl_of(fixture, NULL, 0, 1);
	uint8_t *name = NULL;
	int size = i2d_X509_NAME(X509_CRL_get_issuer(crl), &name);

	assert_int_equal(seconds_of(X509_CRL_get0_lastUpdate(crl)), T0 / CH_SECOND);
	assert_int_equal(seconds_of(X509_CRL_get0_nextUpdate(crl)), T0 / CH_SECOND + 86400);
	assert_int_equal(X509_CRL_get_signature_nid(crl), NID_ecdsa_with_SHA256);
	assert_true(ch_view_equal(ch_view(name, (size_t)size), ch_view_of(&fixture->subject_der)));
	OPENSSL_free(name);
}

static void crl_number_and_authority_key_identifier_are_there_and_not_critical(void **state)
{
	const struct fixture *fixture = *state;
	CH_AUTO(X509_CRL) crl = crl_of(fixture, NULL, 0, UINT64_C(0x80000000));
	int critical = -1;
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, &critical, NULL);
	AUTHORITY_KEYID *authority = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
	uint64_t value;

	assert_int_equal(critical, 0);
	assert_int_equal(ASN1_INTEGER_get_uint64(&value, number), 1);
	assert_int_equal(value, UINT64_C(0x80000000));
	assert_true(ch_view_equal(ch_view(ASN1_STRING_get0_data(authority->keyid),
					  (size_t)ASN1_STRING_length(authority->keyid)),
				  ch_view_of(&fixture->key_identifier)));
	assert_int_equal(X509_CRL_get_ext_count(crl), 2);
	ASN1_INTEGER_free(number);
	AUTHORITY_KEYID_free(authority);
}

static void an_entry_has_its_serial_date_and_reason(void **state)
{
	const struct ch_crl_entry entry = { ch_view("\x80\x01\xff", 3), T0 - CH_HOUR, 1, 0 };
	CH_AUTO(X509_CRL) crl = crl_of(*state, &entry, 1, 2);
	X509_REVOKED *revoked = only_entry(crl);
	const ASN1_INTEGER *serial = X509_REVOKED_get0_serialNumber(revoked);

	/* 0x80… gets a zero octet before it: serials are positive. */
	assert_true(ch_view_equal(ch_view(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial)),
				  entry.serial));
	assert_int_equal(ASN1_STRING_type(serial), V_ASN1_INTEGER);
	assert_int_equal(seconds_of(X509_REVOKED_get0_revocationDate(revoked)), T0 / CH_SECOND - 3600);
	assert_int_equal(reason_of(revoked), CRL_REASON_KEY_COMPROMISE);
}

/* RFC 5280 §5.3.1: the reason code should be absent instead of unspecified (0). */
static void unspecified_is_said_by_saying_nothing(void **state)
{
	const struct ch_crl_entry entry = { ch_view("\x05", 1), T0, 0, 0 };
	CH_AUTO(X509_CRL) crl = crl_of(*state, &entry, 1, 2);

	assert_int_equal(X509_REVOKED_get_ext_count(only_entry(crl)), 0);
}

static void certificate_hold_is_reason_6(void **state)
{
	const struct ch_crl_entry entry = { ch_view("\x05", 1), T0, 6, 0 };
	CH_AUTO(X509_CRL) crl = crl_of(*state, &entry, 1, 2);

	assert_int_equal(reason_of(only_entry(crl)), CRL_REASON_CERTIFICATE_HOLD);
}

/* RFC 5280 §5.3.2: GeneralizedTime, whatever the year. */
static void the_invalidity_date_is_a_generalized_time(void **state)
{
	const struct ch_crl_entry entry = { ch_view("\x05", 1), T0, 0, T0 - 3 * CH_DAY };
	CH_AUTO(X509_CRL) crl = crl_of(*state, &entry, 1, 2);
	ASN1_GENERALIZEDTIME *date =
		X509_REVOKED_get_ext_d2i(only_entry(crl), NID_invalidity_date, NULL, NULL);

	assert_int_equal(X509_REVOKED_get_ext_count(only_entry(crl)), 1);
	assert_non_null(date);
	assert_int_equal(seconds_of(date), T0 / CH_SECOND - 3 * 86400);
	ASN1_GENERALIZEDTIME_free(date);
}

/* RFC 5280 §5.1.2.6: UTCTime through 2049, GeneralizedTime from 2050 on. */
static void dates_from_2050_on_are_generalized_times(void **state)
{
	const struct ch_crl_entry entries[] = { { ch_view("\x05", 1), INT64_C(2524607999) * CH_SECOND, 0, 0 },
						{ ch_view("\x06", 1), INT64_C(2524608000) * CH_SECOND, 0,
						  0 } };
	CH_AUTO(X509_CRL) crl = crl_of(*state, entries, 2, 2);
	STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(crl);

	for (int i = 0; i < 2; i++)
		assert_int_equal(X509_REVOKED_get0_revocationDate(sk_X509_REVOKED_value(revoked, i))->type,
				 i ? V_ASN1_GENERALIZEDTIME : V_ASN1_UTCTIME);
}

static void what_a_full_crl_may_not_say_is_refused(void **state)
{
	const struct fixture *fixture = *state;
	CH_AUTO(ch_crl_builder) builder = CH_NONE;
	const int reasons[] = { -1, 7, 8 /* removeFromCRL: delta CRLs only */, 11 };
	struct ch_crl_entry entry = { ch_view("\x05", 1), T0, 0, 0 };
	struct ch_error err;

	ch_crl_begin(&builder, &fixture->issuer, T0, T0 + CH_DAY);
	for (size_t i = 0; i < CH_COUNT(reasons); i++) {
		entry.reason = reasons[i];
		assert_false(ch_crl_add(&builder, &entry, &err));
		assert_int_equal(err.code, CH_INVALID);
	}
	entry = (struct ch_crl_entry){ ch_view("123456789012345678901", 21), T0, 0, 0 };
	assert_false(ch_crl_add(&builder, &entry, &err));
	entry.serial.size = 0;
	assert_false(ch_crl_add(&builder, &entry, &err));
}

/* Nothing is kept for an entry but its DER: 100,000 of them with all extensions are 8 MB. */
static void a_hundred_thousand_entries_take_their_der_and_no_more(void **state)
{
	const struct fixture *fixture = *state;
	CH_AUTO(ch_crl_builder) builder = CH_NONE;
	CH_AUTO(ch_bytes) tbs = CH_NONE, der = CH_NONE;
	uint8_t serial[16] = { 0x02, 0xa9 };
	struct ch_error err;
	const uint8_t *at;
	X509_CRL *crl;

	ch_crl_begin(&builder, &fixture->issuer, T0, T0 + CH_DAY);
	for (uint32_t i = 0; i < 100000; i++) {
		const struct ch_crl_entry entry = { ch_view(serial, 16), T0, 1, T0 };

		memcpy(serial + 12, &i, sizeof(i));
		assert_true(ch_crl_add(&builder, &entry, &err));
	}
	assert_true(builder.writer.buffer.room <= 2 * builder.writer.buffer.used + 4096);
	tbs = ch_crl_finish(&builder, &fixture->issuer, 3);
	assert_true(tbs.size < 8 * 1024 * 1024);
	der = sign(fixture, ch_view_of(&tbs));
	at = der.data;
	crl = d2i_X509_CRL(NULL, &at, (long)der.size);
	assert_non_null(crl);
	assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 100000);
	X509_CRL_free(crl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_without_entries_has_no_revoked_certificates_field),
		cmocka_unit_test(times_issuer_and_algorithm_are_the_cas),
		cmocka_unit_test(crl_number_and_authority_key_identifier_are_there_and_not_critical),
		cmocka_unit_test(an_entry_has_its_serial_date_and_reason),
		cmocka_unit_test(unspecified_is_said_by_saying_nothing),
		cmocka_unit_test(certificate_hold_is_reason_6),
		cmocka_unit_test(the_invalidity_date_is_a_generalized_time),
		cmocka_unit_test(dates_from_2050_on_are_generalized_times),
		cmocka_unit_test(what_a_full_crl_may_not_say_is_refused),
		cmocka_unit_test(a_hundred_thousand_entries_take_their_der_and_no_more),
	};

	return cmocka_run_group_tests(tests, make_ca, free_ca);
}
