/* SPDX-License-Identifier: Apache-2.0 */
/* response.c: writes OCSP responses (RFC 6960 §4.2.1). Pure: respond.c decides what they say. */
#include "ocsp.h"

#define BASIC_RESPONSE_OID "1.3.6.1.5.5.7.48.1.1"

static const uint8_t nonce_oid[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02 };

struct ch_view ocsp_response_error(enum ocsp_response_status status)
{
	/* OCSPResponse { responseStatus ENUMERATED }, by status */
	static const uint8_t octets[][5] = {
		[OCSP_MALFORMED_REQUEST] = { 0x30, 0x03, 0x0a, 0x01, 0x01 },
		[OCSP_INTERNAL_ERROR] = { 0x30, 0x03, 0x0a, 0x01, 0x02 },
		[OCSP_TRY_LATER] = { 0x30, 0x03, 0x0a, 0x01, 0x03 },
		[OCSP_UNAUTHORIZED] = { 0x30, 0x03, 0x0a, 0x01, 0x06 },
	};

	return ch_view(octets[status], sizeof(octets[status]));
}

/* CertStatus: good [0] IMPLICIT NULL, revoked [1] IMPLICIT RevokedInfo, unknown [2] IMPLICIT NULL. */
static void put_status(struct ch_der_writer *writer, const struct ocsp_certificate_status *status)
{
	switch (status->status) {
	case OCSP_GOOD:
		ch_der_put(writer, CH_DER_CONTEXT(0), ch_view(NULL, 0));
		break;
	case OCSP_REVOKED:
		ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(1));
		ch_der_put_generalized_time(writer, status->revoked_at_us, false);
		if (status->reason) {
			ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(0));
			ch_der_put_uint64(writer, CH_DER_ENUMERATED, (uint64_t)status->reason);
			ch_der_finish(writer);
		}
		ch_der_finish(writer);
		break;
	case OCSP_UNKNOWN:
		ch_der_put(writer, CH_DER_CONTEXT(2), ch_view(NULL, 0));
		break;
	}
}

static void put_single_response(struct ch_der_writer *writer, const struct ocsp_single_response *single)
{
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_put_raw(writer, single->cert_id);
	put_status(writer, &single->status);
	ch_der_put_generalized_time(writer, single->window.this_update_us, false);
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_generalized_time(writer, single->window.next_update_us, false);
	ch_der_finish(writer);
	ch_der_finish(writer);
}

struct ch_bytes ocsp_single_response_der(const struct ocsp_single_response *single)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	put_single_response(&writer, single);
	return ch_der_done(&writer);
}

/* responseExtensions [1] EXPLICIT with the nonce of the request (RFC 9654). */
static void put_nonce(struct ch_der_writer *writer, struct ch_view nonce)
{
	CH_AUTO(ch_der_writer) inner = CH_NONE;
	CH_AUTO(ch_bytes) value = CH_NONE;

	ch_der_put_octet_string(&inner, nonce);
	value = ch_der_done(&inner);
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(1));
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_put(writer, CH_DER_OID, ch_view(nonce_oid, sizeof(nonce_oid)));
	ch_der_put_octet_string(writer, ch_view_of(&value));
	ch_der_finish(writer);
	ch_der_finish(writer);
	ch_der_finish(writer);
}

struct ch_bytes ocsp_response_data(const uint8_t responder_key_hash[20], int64_t produced_at_us,
				   const struct ocsp_single_response *singles, size_t count,
				   struct ch_view nonce)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE); /* version DEFAULT v1 is left out */
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(2));
	ch_der_put_octet_string(&writer, ch_view(responder_key_hash, 20));
	ch_der_finish(&writer);
	ch_der_put_generalized_time(&writer, produced_at_us, false);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	for (size_t i = 0; i < count; i++)
		put_single_response(&writer, &singles[i]);
	ch_der_finish(&writer);
	if (nonce.data)
		put_nonce(&writer, nonce);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static struct ch_bytes basic_response(struct ch_view response_data, const struct ch_algorithm *algorithm,
				      struct ch_view signature, struct ch_view certificate)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_raw(&writer, response_data);
	ch_der_put_raw(&writer, algorithm->signature_identifier);
	ch_der_put_bit_string(&writer, signature);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_raw(&writer, certificate);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

bool ocsp_response_assemble(struct ch_view response_data, const struct ch_algorithm *algorithm,
			    struct ch_view signature, struct ch_view certificate, struct ch_bytes *response,
			    struct ch_error *err)
{
	CH_AUTO(ch_bytes) basic = basic_response(response_data, algorithm, signature, certificate);
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_ENUMERATED, OCSP_SUCCESSFUL);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	if (!ch_der_put_oid(&writer, BASIC_RESPONSE_OID, err))
		return false;
	ch_der_put_octet_string(&writer, ch_view_of(&basic));
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	*response = ch_der_done(&writer);
	return true;
}
