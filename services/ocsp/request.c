/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c: reads an OCSPRequest (RFC 6960 §4.1.1) with bounded readers and without allocating. Called by
 * http.c on the event thread with whatever the network sent.
 */
#include "ocsp.h"

#include <string.h>

#define EXTENSIONS_MAX 16

#define OID(name, ...)                                          \
	static const uint8_t name##_octets[] = { __VA_ARGS__ }; \
	static const struct ch_view name = { name##_octets, sizeof(name##_octets) }

OID(oid_nonce, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02);                /* id-pkix-ocsp 2 */
OID(oid_acceptable_responses, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x04); /* id-pkix-ocsp 4 */
OID(oid_service_locator, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x07);      /* id-pkix-ocsp 7 */
OID(oid_preferred_algorithms, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x08); /* id-pkix-ocsp 8 */

struct extension {
	struct ch_view oid;
	bool critical;
	struct ch_view value;
};

static bool read_extension(struct ch_view *in, struct extension *extension, struct ch_error *err)
{
	struct ch_view content;

	extension->critical = false;
	if (!ch_der_read(in, CH_DER_SEQUENCE, "Extension", &content, err) ||
	    !ch_der_read_oid(&content, "Extension.extnID", &extension->oid, err))
		return false;
	if (ch_der_next_is(&content, CH_DER_BOOLEAN) &&
	    !ch_der_read_boolean(&content, "Extension.critical", &extension->critical, err))
		return false;
	return ch_der_read_octet_string(&content, "Extension.extnValue", &extension->value, err) &&
	       ch_der_end(&content, "Extension", err);
}

/* RFC 9654 §2.1: 1 to 128 octets, in an OCTET STRING of its own inside extnValue. */
static bool read_nonce(struct ch_view value, struct ch_view *nonce, struct ch_error *err)
{
	if (nonce->data)
		return ch_fail(err, CH_INVALID, "the nonce extension stands twice");
	if (!ch_der_read_octet_string(&value, "Nonce", nonce, err) || !ch_der_end(&value, "Nonce", err))
		return false;
	if (nonce->size < 1 || nonce->size > OCSP_NONCE_MAX)
		return ch_fail(err, CH_INVALID, "Nonce of %zu octets, 1 to %d allowed (RFC 9654 §2.1)",
			       nonce->size, OCSP_NONCE_MAX);
	return true;
}

/* Known and without a meaning for what this responder answers. */
static bool may_be_passed_over(struct ch_view oid)
{
	return ch_view_equal(oid, oid_acceptable_responses) || ch_view_equal(oid, oid_service_locator) ||
	       ch_view_equal(oid, oid_preferred_algorithms);
}

/* [n] EXPLICIT Extensions; `nonce` NULL where none is looked for (singleRequestExtensions). */
static bool read_extensions(struct ch_view *in, unsigned tag, struct ch_view *nonce, const char **reason,
			    struct ch_error *err)
{
	struct ch_view outer, list;
	struct extension extension;

	if (!in->size)
		return true;
	if (!ch_der_read(in, tag, "Extensions", &outer, err) ||
	    !ch_der_read(&outer, CH_DER_SEQUENCE, "Extensions", &list, err) ||
	    !ch_der_end(&outer, "Extensions", err))
		return false;
	for (int count = 0; list.size; count++) {
		if (count == EXTENSIONS_MAX)
			return ch_fail(err, CH_INVALID, "over %d extensions", EXTENSIONS_MAX);
		if (!read_extension(&list, &extension, err))
			return false;
		if (nonce && ch_view_equal(extension.oid, oid_nonce)) {
			*reason = "nonce";
			if (!read_nonce(extension.value, nonce, err))
				return false;
			*reason = "der";
		} else if (extension.critical && !may_be_passed_over(extension.oid)) {
			*reason = "critical-extension";
			return ch_fail(err, CH_INVALID,
				       "an extension is critical and not known (RFC 6960 §4.4)");
		}
	}
	return true;
}

static bool read_request_list(struct ch_view list, size_t most, struct ocsp_request *request,
			      const char **reason, struct ch_error *err)
{
	struct ch_view content;

	for (request->count = 0; list.size; request->count++) {
		if (request->count == most) {
			*reason = "too-many";
			return ch_fail(err, CH_TOO_LARGE, "over %zu certificates in one request", most);
		}
		if (!ch_der_read(&list, CH_DER_SEQUENCE, "Request", &content, err) ||
		    !ch_cert_id_read(&content, &request->cert_ids[request->count], err) ||
		    !read_extensions(&content, CH_DER_CONTEXT_CONSTRUCTED(0), NULL, reason, err) ||
		    !ch_der_end(&content, "Request", err))
			return false;
	}
	return request->count > 0 || ch_fail(err, CH_INVALID, "TBSRequest.requestList is empty");
}

/* version [0] EXPLICIT DEFAULT v1: v1 is all there is. */
static bool read_version(struct ch_view *in, struct ch_error *err)
{
	struct ch_view content;
	bool present;
	uint64_t version;

	if (!ch_der_read_optional(in, CH_DER_CONTEXT_CONSTRUCTED(0), "TBSRequest.version", &present, &content,
				  err))
		return false;
	if (!present)
		return true;
	if (!ch_der_read_uint64(&content, "TBSRequest.version", &version, err) ||
	    !ch_der_end(&content, "TBSRequest.version", err))
		return false;
	return version == 0 || ch_fail(err, CH_INVALID, "TBSRequest.version is not v1");
}

static bool read_tbs_request(struct ch_view tbs, size_t most, struct ocsp_request *request,
			     const char **reason, struct ch_error *err)
{
	struct ch_view name, list;
	bool present;

	return read_version(&tbs, err) &&
	       ch_der_read_optional(&tbs, CH_DER_CONTEXT_CONSTRUCTED(1), "TBSRequest.requestorName", &present,
				    &name, err) &&
	       ch_der_read(&tbs, CH_DER_SEQUENCE, "TBSRequest.requestList", &list, err) &&
	       read_request_list(list, most, request, reason, err) &&
	       read_extensions(&tbs, CH_DER_CONTEXT_CONSTRUCTED(2), &request->nonce, reason, err) &&
	       ch_der_end(&tbs, "TBSRequest", err);
}

bool ocsp_request_read(struct ch_view der, size_t most, struct ocsp_request *request, const char **reason,
		       struct ch_error *err)
{
	struct ch_view content, tbs, signature;
	bool present;

	*reason = "der";
	request->count = 0;
	request->nonce = ch_view(NULL, 0);
	if (most > OCSP_CERT_IDS_MAX)
		most = OCSP_CERT_IDS_MAX;
	return ch_der_read(&der, CH_DER_SEQUENCE, "OCSPRequest", &content, err) &&
	       ch_der_end(&der, "OCSPRequest", err) &&
	       ch_der_read(&content, CH_DER_SEQUENCE, "OCSPRequest.tbsRequest", &tbs, err) &&
	       ch_der_read_optional(&content, CH_DER_CONTEXT_CONSTRUCTED(0), "OCSPRequest.optionalSignature",
				    &present, &signature, err) &&
	       ch_der_end(&content, "OCSPRequest", err) && read_tbs_request(tbs, most, request, reason, err);
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

bool ocsp_request_decode(const char *text, uint8_t *out, size_t room, size_t *size, struct ch_error *err)
{
	size_t length = strlen(text);
	size_t padding = 0;
	uint32_t bits = 0;
	unsigned have = 0;

	*size = 0;
	while (padding < 2 && length && text[length - 1] == '=') {
		padding++;
		length--;
	}
	if (length % 4 == 1 || (padding && (length + padding) % 4))
		return ch_fail(err, CH_INVALID, "base64 of %zu characters is incomplete", length);
	if (length / 4 * 3 + 3 > room)
		return ch_fail(err, CH_TOO_LARGE, "base64 of %zu characters, at most %zu octets allowed",
			       length, room);
	for (size_t i = 0; i < length; i++) {
		int value = base64_value(text[i]);

		if (value < 0)
			return ch_fail(err, CH_INVALID, "character %zu is not base64", i + 1);
		bits = bits << 6 | (uint32_t)value;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[(*size)++] = (uint8_t)(bits >> have);
		}
	}
	if (bits & ((1u << have) - 1))
		return ch_fail(err, CH_INVALID, "base64 ends with bits that belong to no octet");
	return true;
}
