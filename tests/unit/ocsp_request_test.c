/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp_request_test.c: which OCSPRequests are read (RFC 6960 §4.1, RFC 9654), and which are malformed. */
#include "ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHA1   "1.3.14.3.2.26"
#define SHA256 "2.16.840.1.101.3.4.2.1"
#define SHA384 "2.16.840.1.101.3.4.2.2"
#define NONCE  "1.3.6.1.5.5.7.48.1.2"

/* What a request is made of; tests change one thing each. */
struct shape {
	const char *hash;
	size_t hash_size;
	size_t serial_size;
	size_t cert_ids;
	bool without_parameters;
	const char *parameters; /* of `parameters_size` octets; NULL: the NULL that is usual */
	size_t parameters_size;
	bool explicit_version;
	uint64_t version;
	int nonce_size; /* -1: none */
	bool nonce_twice;
	bool bare_nonce; /* extnValue holds the octets themselves */
	const char *critical;
	bool signature;
	bool requestor_name;
	bool single_extension;
	bool trailing;
};

static const struct shape usual = {
	.hash = SHA1, .hash_size = 20, .serial_size = 16, .cert_ids = 1, .nonce_size = -1
};

static void put_oid(struct ch_der_writer *w, const char *oid)
{
	struct ch_error err;

	assert_true(ch_der_put_oid(w, oid, &err));
}

static void put_filled(struct ch_der_writer *w, uint8_t octet, size_t size)
{
	uint8_t octets[256];

	memset(octets, octet, sizeof(octets));
	ch_der_put_octet_string(w, ch_view(octets, size));
}

static void put_cert_id(struct ch_der_writer *w, const struct shape *shape)
{
	uint8_t serial[64];

	memset(serial, 0x11, sizeof(serial));
	ch_der_begin(w, CH_DER_SEQUENCE);
	ch_der_begin(w, CH_DER_SEQUENCE);
	put_oid(w, shape->hash);
	if (shape->parameters)
		ch_der_put_raw(w, ch_view(shape->parameters, shape->parameters_size));
	else if (!shape->without_parameters)
		ch_der_put_null(w);
	ch_der_finish(w);
	put_filled(w, 0xaa, shape->hash_size);
	put_filled(w, 0xbb, shape->hash_size);
	ch_der_put_integer(w, ch_view(serial, shape->serial_size));
	ch_der_finish(w);
}

static void put_extension(struct ch_der_writer *w, const char *oid, bool critical, struct ch_view value)
{
	ch_der_begin(w, CH_DER_SEQUENCE);
	put_oid(w, oid);
	if (critical)
		ch_der_put_boolean(w, true);
	ch_der_put_octet_string(w, value);
	ch_der_finish(w);
}

static void put_nonce(struct ch_der_writer *w, const struct shape *shape)
{
	CH_AUTO(ch_der_writer) inner = CH_NONE;
	CH_AUTO(ch_bytes) value = CH_NONE;

	put_filled(&inner, 0xcc, (size_t)shape->nonce_size);
	value = ch_der_done(&inner);
	put_extension(w, NONCE, false, shape->bare_nonce ? ch_view("\x01\x02\x03", 3) : ch_view_of(&value));
}

static void put_extensions(struct ch_der_writer *w, const struct shape *shape)
{
	ch_der_begin(w, CH_DER_CONTEXT_CONSTRUCTED(2));
	ch_der_begin(w, CH_DER_SEQUENCE);
	if (shape->nonce_size >= 0)
		put_nonce(w, shape);
	if (shape->nonce_twice)
		put_nonce(w, shape);
	if (shape->critical)
		put_extension(w, shape->critical, true, ch_view("\x05\x00", 2));
	ch_der_finish(w);
	ch_der_finish(w);
}

static void put_request(struct ch_der_writer *w, const struct shape *shape)
{
	ch_der_begin(w, CH_DER_SEQUENCE);
	put_cert_id(w, shape);
	if (shape->single_extension) {
		ch_der_begin(w, CH_DER_CONTEXT_CONSTRUCTED(0));
		ch_der_begin(w, CH_DER_SEQUENCE);
		put_extension(w, "1.3.6.1.5.5.7.48.1.7", false, ch_view("\x30\x00", 2));
		ch_der_finish(w);
		ch_der_finish(w);
	}
	ch_der_finish(w);
}

static struct ch_bytes made(const struct shape *shape)
{
	CH_AUTO(ch_der_writer) w = CH_NONE;

	ch_der_begin(&w, CH_DER_SEQUENCE);
	ch_der_begin(&w, CH_DER_SEQUENCE);
	if (shape->explicit_version) {
		ch_der_begin(&w, CH_DER_CONTEXT_CONSTRUCTED(0));
		ch_der_put_uint64(&w, CH_DER_INTEGER, shape->version);
		ch_der_finish(&w);
	}
	if (shape->requestor_name)
		ch_der_put(&w, CH_DER_CONTEXT_CONSTRUCTED(1), ch_view("\x82\x01x", 3));
	ch_der_begin(&w, CH_DER_SEQUENCE);
	for (size_t i = 0; i < shape->cert_ids; i++)
		put_request(&w, shape);
	ch_der_finish(&w);
	if (shape->nonce_size >= 0 || shape->critical)
		put_extensions(&w, shape);
	ch_der_finish(&w);
	if (shape->signature)
		ch_der_put(&w, CH_DER_CONTEXT_CONSTRUCTED(0), ch_view("\x30\x00", 2));
	if (shape->trailing)
		ch_der_put_null(&w);
	ch_der_finish(&w);
	return ch_der_done(&w);
}

static struct ch_bytes accepted(struct shape shape, struct ocsp_request *request)
{
	struct ch_bytes der = made(&shape);
	struct ch_error err = CH_NONE;
	const char *reason;

	if (!ocsp_request_read(ch_view_of(&der), 16, request, &reason, &err))
		fail_msg("refused (%s): %s", reason, err.message);
	return der;
}

static void refused(struct shape shape, const char *why, const char *message)
{
	CH_AUTO(ch_bytes) der = made(&shape);
	struct ocsp_request request;
	struct ch_error err = CH_NONE;
	const char *reason;

	assert_false(ocsp_request_read(ch_view_of(&der), 16, &request, &reason, &err));
	assert_string_equal(reason, why);
	if (!strstr(err.message, message))
		fail_msg("'%s' does not say '%s'", err.message, message);
}

static void a_usual_request_gives_its_cert_id(void **state)
{
	struct ocsp_request request;
	CH_AUTO(ch_bytes) der = accepted(usual, &request);

	assert_int_equal(request.count, 1);
	assert_int_equal(request.cert_ids[0].hash, CH_CERT_ID_SHA1);
	assert_int_equal(request.cert_ids[0].issuer_name_hash.size, 20);
	assert_int_equal(request.cert_ids[0].issuer_name_hash.data[0], 0xaa);
	assert_int_equal(request.cert_ids[0].issuer_key_hash.data[0], 0xbb);
	assert_int_equal(request.cert_ids[0].serial.size, 16);
	assert_null(request.nonce.data);
	/* The whole CertID, tag and length included: a response repeats it. */
	assert_int_equal(request.cert_ids[0].whole.data[0], CH_DER_SEQUENCE);
	assert_int_equal(request.cert_ids[0].whole.size, 2u + request.cert_ids[0].whole.data[1]);
}

static void optional_parts_are_taken_or_passed_over(void **state)
{
	struct ocsp_request request;
	struct shape shape = usual;
	CH_AUTO(ch_bytes) der = CH_NONE;

	shape.hash = SHA256;
	shape.hash_size = 32;
	shape.without_parameters = true;
	shape.explicit_version = true;
	shape.signature = true;
	shape.requestor_name = true;
	shape.single_extension = true;
	shape.cert_ids = 16;
	shape.nonce_size = 32;
	shape.critical = "1.3.6.1.5.5.7.48.1.4"; /* acceptable responses: basic is all we have */
	der = accepted(shape, &request);
	assert_int_equal(request.count, 16);
	assert_int_equal(request.cert_ids[15].hash, CH_CERT_ID_SHA256);
	assert_int_equal(request.nonce.size, 32);
	assert_int_equal(request.nonce.data[31], 0xcc);
}

/* A CertID under another hash is well formed: no CA here matches it, which is another answer than
 * malformedRequest. */
static void other_hashes_are_read_as_such(void **state)
{
	struct ocsp_request request;
	struct shape shape = usual;
	CH_AUTO(ch_bytes) der = CH_NONE;

	shape.hash = SHA384;
	shape.hash_size = 48;
	der = accepted(shape, &request);
	assert_int_equal(request.cert_ids[0].hash, CH_CERT_ID_OTHER);
}

/* RFC 5754 §2: absent or NULL. A response repeats the CertID: what else stands there would be signed. */
static void hash_parameters_are_absent_or_null(void **state)
{
	static const struct {
		const char *octets;
		size_t size;
		const char *hash;
		size_t hash_size;
	} bad[] = {
		{ "\x04\x03"
		  "abc",
		  5, SHA1, 20 },
		{ "\x30\x00", 2, SHA256, 32 },
		{ "\x05\x01"
		  "a",
		  3, SHA1, 20 },
		{ "\x05\x00\x05\x00", 4, SHA256, 32 },
		{ "\x0c\x04"
		  "sign",
		  6, SHA384, 48 },
		{ "\x02\x01\x00", 3, SHA1, 20 },
	};
	struct ocsp_request request;
	struct shape shape = usual;
	CH_AUTO(ch_bytes) with = accepted(shape, &request);
	CH_AUTO(ch_bytes) without = CH_NONE;

	shape.without_parameters = true;
	without = accepted(shape, &request);
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		shape = usual;
		shape.hash = bad[i].hash;
		shape.hash_size = bad[i].hash_size;
		shape.parameters = bad[i].octets;
		shape.parameters_size = bad[i].size;
		refused(shape, "der", "CertID.hashAlgorithm");
	}
}

/* RFC 9654 §2.1. */
static void nonces_of_1_to_128_octets_are_taken(void **state)
{
	static const int sizes[] = { 1, 16, 32, 33, 128 };
	struct shape shape = usual;

	for (size_t i = 0; i < CH_COUNT(sizes); i++) {
		struct ocsp_request request;
		CH_AUTO(ch_bytes) der = CH_NONE;

		shape.nonce_size = sizes[i];
		der = accepted(shape, &request);
		assert_int_equal(request.nonce.size, sizes[i]);
	}
	shape.nonce_size = 0;
	refused(shape, "nonce", "Nonce of 0 octets");
	shape.nonce_size = 129;
	refused(shape, "nonce", "Nonce of 129 octets");
	shape.nonce_size = 16;
	shape.nonce_twice = true;
	refused(shape, "nonce", "twice");
	shape.nonce_twice = false;
	shape.bare_nonce = true;
	refused(shape, "nonce", "Nonce");
}

static void what_breaks_the_grammar_is_malformed(void **state)
{
	struct shape shape = usual;

	shape.cert_ids = 0;
	refused(shape, "der", "requestList is empty");
	shape.cert_ids = 17;
	refused(shape, "too-many", "over 16 certificates");
	shape = usual;
	shape.explicit_version = true;
	shape.version = 1;
	refused(shape, "der", "version is not v1");
	shape = usual;
	shape.hash_size = 19;
	refused(shape, "der", "hashes of 19 and 19 octets, 20 expected");
	shape = usual;
	shape.serial_size = 22;
	refused(shape, "der", "serialNumber is 22 octets");
	shape = usual;
	shape.trailing = true;
	refused(shape, "der", "OCSPRequest");
	shape = usual;
	shape.critical = "1.2.3.4";
	refused(shape, "critical-extension", "critical");
}

/* Every prefix of a request, and a request with an octet after it. */
static void truncated_and_extended_requests_are_malformed(void **state)
{
	struct ocsp_request request;
	CH_AUTO(ch_bytes) der = accepted(usual, &request);
	CH_AUTO(ch_bytes) longer = { ch_alloc(der.size + 1), der.size + 1 };
	struct ch_error err = CH_NONE;
	const char *reason;

	for (size_t size = 0; size < der.size; size++)
		assert_false(ocsp_request_read(ch_view(der.data, size), 16, &request, &reason, &err));
	memcpy(longer.data, der.data, der.size);
	assert_false(ocsp_request_read(ch_view_of(&longer), 16, &request, &reason, &err));
}

static void decodes(const char *text, const char *octets)
{
	uint8_t out[16];
	size_t size;
	struct ch_error err = CH_NONE;

	if (!ocsp_request_decode(text, out, sizeof(out), &size, &err))
		fail_msg("'%s': %s", text, err.message);
	assert_int_equal(size, strlen(octets));
	assert_memory_equal(out, octets, size);
}

static void does_not_decode(const char *text)
{
	uint8_t out[16];
	size_t size;
	struct ch_error err = CH_NONE;

	assert_false(ocsp_request_decode(text, out, sizeof(out), &size, &err));
}

static void get_requests_are_base64_or_base64url_padded_or_not(void **state)
{

	decodes("Zm9v", "foo");
	decodes("Zm8=", "fo");
	decodes("Zm8", "fo");
	decodes("Zg==", "f");
	decodes("Zg", "f");
	decodes("+/+/", "\xfb\xff\xbf");
	decodes("-_-_", "\xfb\xff\xbf");
	does_not_decode("Z");
	does_not_decode("Zm9vZ");
	does_not_decode("Zg=");
	does_not_decode("Zm9v=");
	does_not_decode("Zg===");
	does_not_decode("Zm 9v");
	does_not_decode("Zm9%");
	does_not_decode("Zh==");                 /* bits beyond the octet */
	does_not_decode("Zm9vZm9vZm9vZm9vZm9v"); /* more than there is room for */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_usual_request_gives_its_cert_id),
		cmocka_unit_test(optional_parts_are_taken_or_passed_over),
		cmocka_unit_test(other_hashes_are_read_as_such),
		cmocka_unit_test(hash_parameters_are_absent_or_null),
		cmocka_unit_test(nonces_of_1_to_128_octets_are_taken),
		cmocka_unit_test(what_breaks_the_grammar_is_malformed),
		cmocka_unit_test(truncated_and_extended_requests_are_malformed),
		cmocka_unit_test(get_requests_are_base64_or_base64url_padded_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
