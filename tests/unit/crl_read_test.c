/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl_read_test.c: what libcommon/issuance/crl.c writes is read back as it was (crl_read.c), and what it does
 * not write is no list of ours.
 */
#include "issuance/crl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T0 (INT64_C(1795219200) * CH_SECOND) /* 2026-11-21T00:00:00Z */

struct fixture {
	EVP_PKEY *key;
	struct ch_bytes public_key_info, subject_der;
	struct ch_crl_issuer issuer; /* borrows from these */
};

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	uint8_t *info = NULL;
	struct ch_error err;
	int size;

	f->key = EVP_EC_gen("P-256");
	size = i2d_PUBKEY(f->key, &info);
	f->public_key_info = ch_bytes_copy(ch_view(info, (size_t)size));
	OPENSSL_free(info);
	assert_true(ch_name_parse("CN=Example Issuing CA 1", &f->subject_der, &err));
	f->issuer = (struct ch_crl_issuer){ .algorithm = ch_algorithm_find("ecdsa-p256"),
					    .subject_der = ch_view_of(&f->subject_der),
					    .key_identifier = ch_view_text("identifier") };
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	EVP_PKEY_free(f->key);
	ch_bytes_free(&f->public_key_info);
	ch_bytes_free(&f->subject_der);
	free(f);
	return 0;
}

static struct ch_bytes list_of(const struct fixture *f, const struct ch_crl_entry *entries, size_t count)
{
	CH_AUTO(ch_crl_builder) builder = CH_NONE;
	struct ch_error err;

	ch_crl_begin(&builder, &f->issuer, T0, T0 + CH_DAY);
	for (size_t i = 0; i < count; i++)
		assert_true(ch_crl_add(&builder, &entries[i], &err));
	return ch_crl_finish(&builder, &f->issuer, 7);
}

static struct ch_bytes sign(EVP_PKEY *key, const struct fixture *f, struct ch_view tbs)
{
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t size = sizeof(signature);

	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(context, signature, &size, tbs.data, tbs.size), 1);
	return ch_signed_assemble(tbs, f->issuer.algorithm, ch_view(signature, size));
}

static bool note(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	CH_AUTO(ch_string) serial = ch_hex(entry->serial);

	ch_buffer_printf(
		context, "%s %lld %d %lld\n", serial, (long long)((entry->revoked_at_us - T0) / CH_SECOND),
		entry->reason,
		(long long)(entry->invalidity_date_us ? (entry->invalidity_date_us - T0) / CH_SECOND : -1));
	return true;
}

/* "serial, seconds from T0, reason, seconds from T0 or -1" of each entry, or why it cannot be read. */
static char *text_of(const struct fixture *f, struct ch_view tbs)
{
	CH_AUTO(ch_buffer) text = CH_NONE;
	struct ch_error err = CH_NONE;
	char *read;

	if (!ch_crl_entries(tbs, f->issuer.subject_der, note, &text, &err))
		return ch_strdup(err.message);
	read = ch_buffer_steal_text(&text);
	return read ? read : ch_strdup("");
}

static void assert_reads(const struct fixture *f, struct ch_view tbs, const char *expected)
{
	CH_AUTO(ch_string) read = text_of(f, tbs);

	assert_string_equal(read, expected);
}

static void assert_refused(const struct fixture *f, struct ch_view tbs, const char *words)
{
	CH_AUTO(ch_string) read = text_of(f, tbs);

	if (!strstr(read, words))
		fail_msg("'%s', expected '%s'", read, words);
}

static void entries_come_back_as_they_were(void **state)
{
	const struct fixture *f = *state;
	const struct ch_crl_entry entries[] = {
		{ ch_view("\x05", 1), T0 - CH_HOUR, 0, 0 },
		{ ch_view("\x80\x01", 2), T0, 1, T0 - 3 * CH_HOUR },
		{ ch_view("\x02\xaa\x01", 3), T0, 4, 0 },
		{ ch_view("\x80", 1), T0, 5, 0 },
		{ ch_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
			  20),
		  T0, 6, 0 },
		{ ch_view("\x00\x7f", 2), INT64_C(2524608000) * CH_SECOND, 10, 0 }, /* 2050: another type */
	};
	CH_AUTO(ch_bytes) tbs = list_of(f, entries, CH_COUNT(entries)), none = list_of(f, NULL, 0);

	assert_reads(f, ch_view_of(&tbs),
		     "05 -3600 0 -1\n8001 0 1 -10800\n02aa01 0 4 -1\n80 0 5 "
		     "-1\nffffffffffffffffffffffffffffffffffffffff 0 6 -1\n"
		     "7f 729388800 10 -1\n");
	assert_reads(f, ch_view_of(&none), "");
}

static bool stop(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	return --*(int *)context > 0 || ch_fail(err, CH_CONFLICT, "enough");
}

static void who_reads_may_stop(void **state)
{
	const struct fixture *f = *state;
	const struct ch_crl_entry entries[] = { { ch_view("\x05", 1), T0, 0, 0 },
						{ ch_view("\x06", 1), T0, 0, 0 },
						{ ch_view("\x07", 1), T0, 0, 0 } };
	CH_AUTO(ch_bytes) tbs = list_of(f, entries, CH_COUNT(entries));
	struct ch_error err;
	int left = 2;

	assert_false(ch_crl_entries(ch_view_of(&tbs), f->issuer.subject_der, stop, &left, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_int_equal(left, 0);
}

static void another_cas_list_is_not_read(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(ch_bytes) tbs = list_of(f, NULL, 0), other = CH_NONE;
	CH_AUTO(ch_buffer) text = CH_NONE;
	struct ch_error err;

	assert_true(ch_name_parse("CN=Example Issuing CA 2", &other, &err));
	assert_false(ch_crl_entries(ch_view_of(&tbs), ch_view_of(&other), note, &text, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_non_null(strstr(err.message, "issuer is not the CA's name"));
}

/* --- entries that Chancery does not write --- */

/* A list of one entry whose crlEntryExtensions are these octets (none: NULL). */
static struct ch_bytes list_with(const struct fixture *f, const char *extensions, size_t size)
{
	struct ch_der_writer writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, 1);
	ch_der_put_raw(&writer, f->issuer.algorithm->signature_identifier);
	ch_der_put_raw(&writer, f->issuer.subject_der);
	ch_der_put_time(&writer, T0);
	ch_der_put_time(&writer, T0 + CH_DAY);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_integer(&writer, ch_view("\x05", 1));
	ch_der_put_time(&writer, T0);
	if (extensions)
		ch_der_put_raw(&writer, ch_view(extensions, size));
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

/* SEQUENCE { SEQUENCE { OID 2.5.29.x, OCTET STRING value } } */
#define EXTENSION(length, inner, oid, size, value) \
	"\x30" length "\x30" inner "\x06\x03\x55\x1d" oid "\x04" size value

static void extensions_are_read_or_refused(void **state)
{
	static const struct {
		const char *octets;
		size_t size;
		const char *says;
	} cases[] = {
		{ EXTENSION("\x0c", "\x0a", "\x15", "\x03", "\x0a\x01\x01"), 14, "05 0 1 -1\n" },
		/* reasonCode of two octets, of a number that no full list has, with more behind it */
		{ EXTENSION("\x0d", "\x0b", "\x15", "\x04", "\x0a\x02\x01\x01"), 15,
		  "reasonCode has 2 octets" },
		{ EXTENSION("\x0c", "\x0a", "\x15", "\x03", "\x0a\x01\x08"), 14, "revocation reason 8" },
		{ EXTENSION("\x0c", "\x0a", "\x15", "\x03", "\x0a\x01\x07"), 14, "revocation reason 7" },
		{ EXTENSION("\x0d", "\x0b", "\x15", "\x04", "\x0a\x01\x01\x00"), 15, "reasonCode" },
		{ EXTENSION("\x0c", "\x0a", "\x15", "\x03", "\x02\x01\x01"), 14, "reasonCode" },
		/* invalidityDate with more behind it; certificateIssuer; cut off */
		{ EXTENSION("\x1b", "\x19", "\x18", "\x12",
			    "\x18\x0f"
			    "20261121000001Z\x00"),
		  29, "invalidityDate" },
		{ EXTENSION("\x1a", "\x18", "\x18", "\x11",
			    "\x18\x0f"
			    "20261121000001Z"),
		  28, "05 0 0 1\n" },
		{ EXTENSION("\x0b", "\x09", "\x1d", "\x02", "\x30\x00"), 13, "does not write" },
		{ EXTENSION("\x0d", "\x0b", "\x15", "\x03", "\x0a\x01\x01\x00"), 15, "crlEntryExtension" },
		{ "\x31\x00", 2, "revokedCertificate" },
	};
	const struct fixture *f = *state;

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		CH_AUTO(ch_bytes) tbs = list_with(f, cases[i].octets, cases[i].size);

		assert_refused(f, ch_view_of(&tbs), cases[i].says);
	}
}

static void a_list_that_is_cut_off_anywhere_is_not_read(void **state)
{
	const struct fixture *f = *state;
	const struct ch_crl_entry entries[] = { { ch_view("\x05", 1), T0, 1, T0 } };
	CH_AUTO(ch_bytes) tbs = list_of(f, entries, 1);

	for (size_t size = 0; size < tbs.size; size++) {
		CH_AUTO(ch_buffer) text = CH_NONE;
		struct ch_error err;

		assert_false(
			ch_crl_entries(ch_view(tbs.data, size), f->issuer.subject_der, note, &text, &err));
		assert_int_equal(err.code, CH_INVALID);
	}
}

/* --- signatures --- */

static bool verifies(const struct fixture *f, struct ch_view der, struct ch_error *err)
{
	struct ch_view tbs;

	*err = (struct ch_error)CH_NONE;
	return ch_crl_verify(der, &f->issuer, ch_view_of(&f->public_key_info), &tbs, err);
}

static void what_the_ca_signed_verifies(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(ch_bytes) tbs = list_of(f, NULL, 0), der = sign(f->key, f, ch_view_of(&tbs));
	struct ch_view inner;
	struct ch_error err;

	assert_true(
		ch_crl_verify(ch_view_of(&der), &f->issuer, ch_view_of(&f->public_key_info), &inner, &err));
	assert_true(ch_view_equal(inner, ch_view_of(&tbs)));
}

static void what_it_did_not_sign_does_not(void **state)
{
	const struct fixture *f = *state;
	CH_AUTO(EVP_PKEY) other = EVP_EC_gen("P-256");
	CH_AUTO(ch_bytes) tbs = list_of(f, NULL, 0), der = sign(f->key, f, ch_view_of(&tbs));
	CH_AUTO(ch_bytes) forged = sign(other, f, ch_view_of(&tbs)), longer = CH_NONE;
	struct ch_error err;

	assert_false(verifies(f, ch_view_of(&forged), &err));
	assert_int_equal(err.code, CH_UNAUTHENTICATED);
	for (size_t i = 0; i < der.size; i++) {
		der.data[i] ^= 1;
		assert_false(verifies(f, ch_view_of(&der), &err));
		der.data[i] ^= 1;
	}
	longer = (struct ch_bytes){ ch_alloc(der.size + 1), der.size + 1 };
	memcpy(longer.data, der.data, der.size);
	assert_false(verifies(f, ch_view_of(&longer), &err));
	assert_int_equal(err.code, CH_INVALID);
}

static void another_algorithm_than_the_cas_is_refused(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) tbs = list_of(f, NULL, 0), der = sign(f->key, f, ch_view_of(&tbs));
	struct ch_error err;

	f->issuer.algorithm = ch_algorithm_find("ecdsa-p384");
	assert_false(verifies(f, ch_view_of(&der), &err));
	assert_non_null(strstr(err.message, "signatureAlgorithm is not"));
}

static void more_than_the_cap_is_not_looked_at(void **state)
{
	const struct fixture *f = *state;
	struct ch_error err;

	assert_false(verifies(f, ch_view("\x30", (size_t)CH_CRL_CAP + 1), &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(entries_come_back_as_they_were),
		TEST(who_reads_may_stop),
		TEST(another_cas_list_is_not_read),
		TEST(extensions_are_read_or_refused),
		TEST(a_list_that_is_cut_off_anywhere_is_not_read),
		TEST(what_the_ca_signed_verifies),
		TEST(what_it_did_not_sign_does_not),
		TEST(another_algorithm_than_the_cas_is_refused),
		TEST(more_than_the_cap_is_not_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
