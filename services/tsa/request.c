/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c: reads TimeStampReq (RFC 3161 §2.4.1) from hostile octets. Called by stamp.c; allocates nothing
 * but the text of an OID in an error.
 */
#include "tsa.h"

/* Digests that an imprint may be of. SHA-1 and older are not among them: badAlg. */
static const struct {
	struct ch_view oid; /* content */
	size_t size;
} digests[] = {
	{ { (const uint8_t *)"\x60\x86\x48\x01\x65\x03\x04\x02\x01", 9 }, 32 }, /* SHA-256 */
	{ { (const uint8_t *)"\x60\x86\x48\x01\x65\x03\x04\x02\x02", 9 }, 48 }, /* SHA-384 */
	{ { (const uint8_t *)"\x60\x86\x48\x01\x65\x03\x04\x02\x03", 9 }, 64 }, /* SHA-512 */
};

/* *size: of the digest. Parameters are absent or NULL (RFC 5754 §2). */
static bool read_hash_algorithm(struct ch_view *in, size_t *size, enum tsa_failure *failure,
				struct ch_error *err)
{
	struct ch_view identifier = CH_NONE, oid = CH_NONE, content = CH_NONE;
	bool null = false;
	if (!ch_der_read(in, CH_DER_SEQUENCE, "MessageImprint.hashAlgorithm", &identifier, err) ||
	    !ch_der_read_oid(&identifier, "MessageImprint.hashAlgorithm", &oid, err))
		return false;
	for (size_t i = 0; i < CH_COUNT(digests); i++)
		if (ch_view_equal(digests[i].oid, oid))
			*size = digests[i].size;
	if (*size == 0) {
		CH_AUTO(ch_string) dotted = ch_der_oid_text(oid);
		*failure = TSA_BAD_ALG;
		return ch_fail(err, CH_UNSUPPORTED,
			       "digest %.60s is not accepted: SHA-256, SHA-384 or SHA-512", dotted);
	}
	if (!ch_der_read_optional(&identifier, CH_DER_NULL, "hashAlgorithm.parameters", &null, &content,
				  err) ||
	    content.size > 0 || identifier.size > 0) {
		*failure = TSA_BAD_ALG;
		return ch_fail(err, CH_INVALID, "MessageImprint.hashAlgorithm has parameters (RFC 5754 2)");
	}
	return true;
}

/* §2.4.1: a length other than the digest's is badDataFormat. */
static bool read_imprint(struct ch_view *in, struct ch_view *whole, enum tsa_failure *failure,
			 struct ch_error *err)
{
	struct ch_view imprint = CH_NONE, octets = CH_NONE;
	unsigned tag = 0;
	size_t size = 0;
	if (!ch_der_read_any(in, "TimeStampReq.messageImprint", &tag, &imprint, whole, err))
		return false;
	if (tag != CH_DER_SEQUENCE)
		return ch_fail(err, CH_INVALID, "TimeStampReq.messageImprint is not a SEQUENCE");
	if (!read_hash_algorithm(&imprint, &size, failure, err) ||
	    !ch_der_read_octet_string(&imprint, "MessageImprint.hashedMessage", &octets, err) ||
	    !ch_der_end(&imprint, "MessageImprint", err))
		return false;
	if (octets.size != size)
		return ch_fail(err, CH_INVALID, "MessageImprint.hashedMessage has %zu octets, its digest %zu",
			       octets.size, size);
	return true;
}

/* §2.4.1: an extension that is not known, critical or not, is refused; none is known here. */
static bool read_extensions(struct ch_view *in, enum tsa_failure *failure, struct ch_error *err)
{
	struct ch_view extensions = CH_NONE, extension = CH_NONE, oid = CH_NONE;
	bool present = false;
	if (!ch_der_read_optional(in, CH_DER_CONTEXT_CONSTRUCTED(0), "TimeStampReq.extensions", &present,
				  &extensions, err))
		return false;
	if (!present)
		return true;
	if (!ch_der_read(&extensions, CH_DER_SEQUENCE, "Extension", &extension, err) ||
	    !ch_der_read_oid(&extension, "Extension.extnID", &oid, err))
		return false;
	CH_AUTO(ch_string) dotted = ch_der_oid_text(oid);
	*failure = TSA_UNACCEPTED_EXTENSION;
	return ch_fail(err, CH_UNSUPPORTED, "extension %.60s is not known", dotted);
}

static bool read_version(struct ch_view *in, enum tsa_failure *failure, struct ch_error *err)
{
	uint64_t version = 0;
	if (!ch_der_read_uint64(in, "TimeStampReq.version", &version, err))
		return false;
	if (version != 1) {
		*failure = TSA_BAD_REQUEST;
		return ch_fail(err, CH_INVALID, "TimeStampReq.version is %llu, must be 1",
			       (unsigned long long)version);
	}
	return true;
}

static bool read_nonce(struct ch_view *in, struct ch_view *nonce, struct ch_error *err)
{
	if (!ch_der_next_is(in, CH_DER_INTEGER))
		return true;
	if (!ch_der_read_integer(in, "TimeStampReq.nonce", nonce, err))
		return false;
	if (nonce->size > TSA_NONCE_MAX)
		return ch_fail(err, CH_INVALID, "TimeStampReq.nonce has %zu octets, at most %d allowed",
			       nonce->size, TSA_NONCE_MAX);
	return true;
}

/* What no step gave a failure of its own is not the ASN.1 that was expected: badDataFormat. */
bool tsa_request_read(struct ch_view der, struct tsa_request *request, enum tsa_failure *failure,
		      struct ch_error *err)
{
	struct ch_view in = CH_NONE;
	*request = (struct tsa_request)CH_NONE;
	*failure = TSA_BAD_DATA_FORMAT;
	if (der.size > TSA_REQUEST_CAP)
		return ch_fail(err, CH_TOO_LARGE, "request of %zu octets, at most %d allowed", der.size,
			       TSA_REQUEST_CAP);
	if (!ch_der_read(&der, CH_DER_SEQUENCE, "TimeStampReq", &in, err) ||
	    !ch_der_end(&der, "TimeStampReq", err) || !read_version(&in, failure, err) ||
	    !read_imprint(&in, &request->message_imprint, failure, err))
		return false;
	if (ch_der_next_is(&in, CH_DER_OID) &&
	    !ch_der_read_oid(&in, "TimeStampReq.reqPolicy", &request->policy, err))
		return false;
	if (!read_nonce(&in, &request->nonce, err))
		return false;
	/* DEFAULT FALSE written out is let pass: some clients do that. */
	if (ch_der_next_is(&in, CH_DER_BOOLEAN) &&
	    !ch_der_read_boolean(&in, "TimeStampReq.certReq", &request->certificate_requested, err))
		return false;
	return read_extensions(&in, failure, err) && ch_der_end(&in, "TimeStampReq", err);
}
