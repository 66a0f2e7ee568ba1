/* SPDX-License-Identifier: Apache-2.0 */
/*
 * public_key.h: SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) read so strictly that no octet of one is anybody's
 * choice but the key's own numbers. Requests for certificates, weak keys, the lint and the vault go by it.
 * x509.h has keys as OpenSSL knows them.
 */
#ifndef CH_X509_PUBLIC_KEY_H
#define CH_X509_PUBLIC_KEY_H

#include "x509/x509.h"

/* A public key by what it is rather than by how it was written: views into the SubjectPublicKeyInfo. */
struct ch_spki {
	const struct ch_algorithm *algorithm; /* NULL: well formed, but none that Chancery certifies */
	struct ch_view identifier;            /* content of the AlgorithmIdentifier */
	struct ch_view number;   /* a point's first coordinate, RSA's modulus, else all of the key */
	struct ch_view exponent; /* of RSA */
	bool compressed;         /* a point in its short form (RFC 5480 §2.2) */
};
/*
 * Reads one, nothing after it. Allocates only to check that a point is one of its curve.
 * Errors  CH_INVALID names the field. Refused are identifiers that limit a key's use (id-RSASSA-PSS,
 *         id-RSAES-OAEP, id-ecDH, id-ecMQV), parameters other than NULL for RSA, a named curve for EC and
 *         none for EdDSA; an RSA exponent that is not odd, over 2^16 and below 2^256; a hybrid point, one
 *         that is not on its curve, or of a small order (Ed25519)
 * Source  RFC 3279 §2.3.1, RFC 4055 §1.2, RFC 5480 §2, RFC 8410 §3 and §4, FIPS 186-5 §5.4
 */
CH_MUST_USE bool ch_spki_read(struct ch_view public_key_info, struct ch_spki *spki, struct ch_error *err);
/* ch_spki_read, and an algorithm that Chancery certifies. */
CH_MUST_USE bool ch_spki_check(struct ch_view public_key_info, struct ch_spki *spki, struct ch_error *err);
/* One key or, of points, its negative, which is known to whoever knows the key. */
bool ch_spki_equal(const struct ch_spki *a, const struct ch_spki *b);
/* The same key written anew from its numbers, points uncompressed. One that Chancery has no algorithm for is
 * copied. Errors as ch_spki_read. */
CH_MUST_USE bool ch_spki_rebuild(struct ch_view public_key_info, struct ch_bytes *rebuilt,
				 struct ch_error *err);

/* --- points (ec_point.c) --- */

/* Of the curve "ecdsa-p256", "ecdsa-p384" or "ecdsa-p521"; `y` empty: is there one for `x`? CH_INVALID. */
CH_MUST_USE bool ch_ec_point_check(const struct ch_algorithm *curve, struct ch_view x, struct ch_view y,
				   struct ch_error *err);
/* RFC 8032 §5.1.3: it decodes; and it is none of the eight that have a small order, for which anybody can
 * make signatures. */
CH_MUST_USE bool ch_ed25519_point_check(struct ch_view octets, struct ch_error *err);

#endif
