/* SPDX-License-Identifier: Apache-2.0 */
/* certificate.c: certificates in and out of OpenSSL's type, and the identifier of a key. Every daemon that
 * shows or checks a certificate calls it. */
#include "x509/x509.h"

bool ch_certificate_read(struct ch_view der, X509 **certificate, struct ch_error *err)
{
	const uint8_t *at = der.data;
	if (der.size > CH_CERTIFICATE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "certificate: %zu octets, at most %d allowed", der.size,
			       CH_CERTIFICATE_CAP);
	CH_AUTO(X509) read = d2i_X509(NULL, &at, (long)der.size);
	if (!read)
		return ch_fail_openssl(err, CH_INVALID, "certificate does not decode");
	if (at != der.data + der.size)
		return ch_fail(err, CH_INVALID, "certificate: %zu octets follow its end",
			       (size_t)(der.data + der.size - at));
	*certificate = CH_STEAL(read);
	return true;
}

bool ch_certificate_read_pem_file(const char *path, X509 **certificate, struct ch_error *err)
{
	CH_AUTO(ch_bytes) text = CH_NONE, der = CH_NONE;
	if (!ch_read_file(path, 1024 * 1024, &text, err))
		return false;
	if (!ch_pem_read(ch_view_of(&text), "CERTIFICATE", &der, err) ||
	    !ch_certificate_read(ch_view_of(&der), certificate, err))
		return ch_fail_in(err, "%s", path);
	return true;
}

bool ch_certificate_der(const X509 *certificate, struct ch_bytes *der, struct ch_error *err)
{
	int size = i2d_X509(certificate, NULL);
	if (size <= 0)
		return ch_fail_openssl(err, CH_INTERNAL, "certificate does not encode");
	der->data = ch_alloc((size_t)size);
	der->size = (size_t)size;
	uint8_t *at = der->data;
	if (i2d_X509(certificate, &at) != size) {
		ch_bytes_free(der);
		return ch_fail_openssl(err, CH_INTERNAL, "certificate does not encode");
	}
	return true;
}

bool ch_key_identifier(struct ch_view public_key_info, const char *digest, uint8_t out[64], size_t *size,
		       struct ch_error *err)
{
	struct ch_view in = public_key_info, info = CH_NONE, identifier = CH_NONE, key = CH_NONE;
	return ch_der_read(&in, CH_DER_SEQUENCE, "SubjectPublicKeyInfo", &info, err) &&
	       ch_der_end(&in, "SubjectPublicKeyInfo", err) &&
	       ch_der_read(&info, CH_DER_SEQUENCE, "SubjectPublicKeyInfo.algorithm", &identifier, err) &&
	       ch_der_read_bit_string(&info, "SubjectPublicKeyInfo.subjectPublicKey", &key, err) &&
	       ch_der_end(&info, "SubjectPublicKeyInfo", err) && ch_digest(digest, key, out, size, err);
}
