/* SPDX-License-Identifier: Apache-2.0 */
/* cert_id.c: OCSP's CertID, read with a bounded reader and without allocating. */
#include "x509/cert_id.h"

#include "der/der.h"

#define SERIAL_MAX 21

#define OID(name, ...)                                          \
	static const uint8_t name##_octets[] = { __VA_ARGS__ }; \
	static const struct ch_view name = { name##_octets, sizeof(name##_octets) }

OID(oid_sha1, 0x2b, 0x0e, 0x03, 0x02, 0x1a);                           /* 1.3.14.3.2.26 */
OID(oid_sha256, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01); /* 2.16.840.1.101.3.4.2.1 */

static bool read_hash_algorithm(struct ch_view *in, enum ch_cert_id_hash *hash, struct ch_error *err)
{
	struct ch_view algorithm, oid, parameters;

	if (!ch_der_read(in, CH_DER_SEQUENCE, "CertID.hashAlgorithm", &algorithm, err) ||
	    !ch_der_read_oid(&algorithm, "CertID.hashAlgorithm.algorithm", &oid, err))
		return false;
	*hash = ch_view_equal(oid, oid_sha1)     ? CH_CERT_ID_SHA1
		: ch_view_equal(oid, oid_sha256) ? CH_CERT_ID_SHA256
						 : CH_CERT_ID_OTHER;
	/* A hash has no other parameters: what else stood there would be signed as whoever asks likes it. */
	if (algorithm.size &&
	    (!ch_der_read(&algorithm, CH_DER_NULL, "CertID.hashAlgorithm.parameters", &parameters, err) ||
	     !ch_der_end(&parameters, "CertID.hashAlgorithm.parameters", err)))
		return false;
	return ch_der_end(&algorithm, "CertID.hashAlgorithm", err);
}

static bool check_hash_sizes(const struct ch_cert_id *id, struct ch_error *err)
{
	size_t size = id->hash == CH_CERT_ID_SHA1 ? 20 : 32;

	if (id->hash == CH_CERT_ID_OTHER)
		return true;
	if (id->issuer_name_hash.size != size || id->issuer_key_hash.size != size)
		return ch_fail(err, CH_INVALID, "CertID: hashes of %zu and %zu octets, %zu expected",
			       id->issuer_name_hash.size, id->issuer_key_hash.size, size);
	return true;
}

bool ch_cert_id_read(struct ch_view *in, struct ch_cert_id *id, struct ch_error *err)
{
	struct ch_view content;
	unsigned tag;

	if (!ch_der_read_any(in, "CertID", &tag, &content, &id->whole, err))
		return false;
	if (tag != CH_DER_SEQUENCE)
		return ch_fail(err, CH_INVALID, "CertID: tag 0x%02x, a SEQUENCE is expected", tag);
	if (!read_hash_algorithm(&content, &id->hash, err) ||
	    !ch_der_read_octet_string(&content, "CertID.issuerNameHash", &id->issuer_name_hash, err) ||
	    !ch_der_read_octet_string(&content, "CertID.issuerKeyHash", &id->issuer_key_hash, err) ||
	    !ch_der_read_integer(&content, "CertID.serialNumber", &id->serial, err) ||
	    !ch_der_end(&content, "CertID", err) || !check_hash_sizes(id, err))
		return false;
	if (id->serial.size > SERIAL_MAX)
		return ch_fail(err, CH_INVALID, "CertID.serialNumber is %zu octets, at most %d allowed",
			       id->serial.size, SERIAL_MAX);
	return true;
}
