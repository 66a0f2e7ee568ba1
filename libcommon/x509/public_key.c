/* SPDX-License-Identifier: Apache-2.0 */
/*
 * public_key.c: the strict reading of a SubjectPublicKeyInfo, and its writing from what was read. One key has
 * several forms, and what is refused for a key must be refused for all of them. OpenSSL's decoder is not
 * asked: it takes a hundred times as long, and octets that are no key's.
 */
#include "x509/public_key.h"

#include <string.h>

#define MODULUS_MAX 1024 /* octets; verifying under a larger one costs more than an answer is worth */

#define OCTETS(text)                                      \
	{                                                 \
		(const uint8_t *)(text), sizeof(text) - 1 \
	}

static const struct ch_view ec_public_key = OCTETS("\x2a\x86\x48\xce\x3d\x02\x01");
static const struct ch_view rsa_encryption = OCTETS("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01");

/* The same numbers by a name that limits their use (RFC 4055 §3.1 and §4.1, RFC 5480 §2.1.2): not certified.
 */
static const struct {
	const char *name;
	struct ch_view oid;
} other_names[] = {
	{ "id-RSASSA-PSS", OCTETS("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a") },
	{ "id-RSAES-OAEP", OCTETS("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07") },
	{ "id-ecDH", OCTETS("\x2b\x81\x04\x01\x0c") },
	{ "id-ecMQV", OCTETS("\x2b\x81\x04\x01\x0d") },
};

/* RFC 5480 §2.1.1.1; octets of a coordinate. */
static const struct curve {
	const char *algorithm;
	struct ch_view oid;
	size_t octets;
} curves[] = {
	{ "ecdsa-p256", OCTETS("\x2a\x86\x48\xce\x3d\x03\x01\x07"), 32 },
	{ "ecdsa-p384", OCTETS("\x2b\x81\x04\x00\x22"), 48 },
	{ "ecdsa-p521", OCTETS("\x2b\x81\x04\x00\x23"), 66 },
};

/* RFC 8410 §3 and §4: no parameters; octets of the key. */
static const struct edwards {
	const char *algorithm; /* NULL: not certified */
	struct ch_view oid;
	size_t octets;
} edwards[] = {
	{ "ed25519", OCTETS("\x2b\x65\x70"), 32 },
	{ NULL, OCTETS("\x2b\x65\x71"), 57 },
};

static bool check_name(struct ch_view oid, struct ch_error *err)
{
	for (size_t i = 0; i < CH_COUNT(other_names); i++)
		if (ch_view_equal(oid, other_names[i].oid))
			return ch_fail(err, CH_INVALID,
				       "subjectPublicKeyInfo.algorithm is %s: such keys are certified as "
				       "rsaEncryption and id-ecPublicKey alone",
				       other_names[i].name);
	return true;
}

/* --- EC --- */

static const struct curve *find_curve(struct ch_view oid)
{
	for (size_t i = 0; i < CH_COUNT(curves); i++)
		if (ch_view_equal(curves[i].oid, oid))
			return &curves[i];
	return NULL;
}

/* RFC 5480 §2.2: a point's first octet tells its form; the hybrid one is not for certificates. The first
 * coordinate is in both others; its two points are one key's and its negative's. */
static bool read_point(struct ch_view bits, struct ch_spki *spki, struct ch_view *second,
		       struct ch_error *err)
{
	*second = (struct ch_view)CH_NONE;
	if (bits.data[0] == 4 && bits.size >= 3 && bits.size % 2 == 1) {
		spki->number = ch_view(bits.data + 1, bits.size / 2);
		*second = ch_view(bits.data + 1 + bits.size / 2, bits.size / 2);
		return true;
	}
	spki->compressed = (bits.data[0] == 2 || bits.data[0] == 3) && bits.size >= 2;
	spki->number = ch_view(bits.data + 1, bits.size - 1);
	return spki->compressed || ch_fail(err, CH_INVALID,
					   "subjectPublicKeyInfo is no point of an elliptic curve: %zu "
					   "octets, the first is 0x%02x",
					   bits.size, bits.data[0]);
}

static bool read_ec(struct ch_view parameters, struct ch_view bits, struct ch_spki *spki,
		    struct ch_error *err)
{
	const struct curve *curve;
	struct ch_view oid, second;

	if (!ch_der_next_is(&parameters, CH_DER_OID))
		return ch_fail(err, CH_INVALID,
			       "subjectPublicKeyInfo: EC key without a named curve (RFC 5480 §2.1.1)");
	if (!ch_der_read_oid(&parameters, "subjectPublicKeyInfo.algorithm.namedCurve", &oid, err) ||
	    !ch_der_end(&parameters, "subjectPublicKeyInfo.algorithm", err) ||
	    !read_point(bits, spki, &second, err))
		return false;
	curve = find_curve(oid);
	if (!curve)
		return true;
	if (spki->number.size != curve->octets)
		return ch_fail(err, CH_INVALID,
			       "subjectPublicKeyInfo is no point of its curve: coordinates of %zu octets, "
			       "%zu are %s's",
			       spki->number.size, curve->octets, curve->algorithm);
	spki->algorithm = ch_algorithm_find(curve->algorithm);
	return ch_ec_point_check(spki->algorithm, spki->number, second, err) ||
	       ch_fail_in(err, "subjectPublicKeyInfo");
}

/* --- RSA --- */

static int bit_count(struct ch_view number) /* minimal, positive */
{
	int bits;

	if (number.data[0] == 0)
		number = ch_view(number.data + 1, number.size - 1);
	bits = (int)number.size * 8;
	for (unsigned mask = 0x80; number.size && mask && !(number.data[0] & mask); mask >>= 1)
		bits--;
	return number.size ? bits : 0;
}

/* FIPS 186-5 §5.4: odd, 2^16 < e < 2^256. */
static bool exponent_is_good(struct ch_view exponent)
{
	int bits = bit_count(exponent);

	return bits >= 17 && bits <= 256 && exponent.data[exponent.size - 1] % 2 == 1;
}

static const struct ch_algorithm *rsa_of(int bits)
{
	const struct ch_algorithm *algorithm;

	for (size_t i = 0; (algorithm = ch_algorithm_at(i)); i++)
		if (algorithm->key_type == EVP_PKEY_RSA && algorithm->bits == bits)
			return algorithm;
	return NULL;
}

static bool check_numbers(struct ch_spki *spki, struct ch_error *err)
{
	const struct ch_view *modulus = &spki->number;

	if (modulus->data[0] >= 0x80 || spki->exponent.data[0] >= 0x80)
		return ch_fail(err, CH_INVALID, "RSA key: negative modulus or exponent");
	if (modulus->size > MODULUS_MAX + 1)
		return ch_fail(err, CH_INVALID, "RSA key: %zu octets of modulus, at most %d are looked at",
			       modulus->size, MODULUS_MAX);
	if (modulus->data[modulus->size - 1] % 2 == 0)
		return ch_fail(err, CH_INVALID, "RSA key: the modulus has a factor below 752");
	if (!exponent_is_good(spki->exponent))
		return ch_fail(err, CH_INVALID,
			       "RSA key: the public exponent is not odd, over 2^16 and below 2^256");
	spki->algorithm = rsa_of(bit_count(*modulus));
	return true;
}

/* RFC 3279 §2.3.1: the parameters are NULL; two keys that share a modulus share its factors. */
static bool read_rsa(struct ch_view parameters, struct ch_view bits, struct ch_spki *spki,
		     struct ch_error *err)
{
	struct ch_view null, numbers;

	return ch_der_read(&parameters, CH_DER_NULL, "subjectPublicKeyInfo.algorithm.parameters", &null,
			   err) &&
	       ch_der_end(&parameters, "subjectPublicKeyInfo.algorithm", err) &&
	       (null.size == 0 ||
		ch_fail(err, CH_INVALID, "subjectPublicKeyInfo.algorithm.parameters is not NULL")) &&
	       ch_der_read(&bits, CH_DER_SEQUENCE, "RSAPublicKey", &numbers, err) &&
	       ch_der_end(&bits, "subjectPublicKeyInfo.subjectPublicKey", err) &&
	       ch_der_read_integer(&numbers, "RSAPublicKey.modulus", &spki->number, err) &&
	       ch_der_read_integer(&numbers, "RSAPublicKey.publicExponent", &spki->exponent, err) &&
	       ch_der_end(&numbers, "RSAPublicKey", err) && check_numbers(spki, err);
}

/* --- EdDSA, and all --- */

static bool read_edwards(const struct edwards *row, struct ch_view parameters, struct ch_view bits,
			 struct ch_spki *spki, struct ch_error *err)
{
	if (!ch_der_end(&parameters, "subjectPublicKeyInfo.algorithm (RFC 8410 §3: no parameters)", err))
		return false;
	if (bits.size != row->octets)
		return ch_fail(err, CH_INVALID,
			       "subjectPublicKeyInfo has a key of %zu octets, %zu are its own", bits.size,
			       row->octets);
	spki->number = bits;
	spki->algorithm = ch_algorithm_find(row->algorithm);
	return !spki->algorithm || ch_ed25519_point_check(bits, err) ||
	       ch_fail_in(err, "subjectPublicKeyInfo");
}

static bool read_key(struct ch_view oid, struct ch_view parameters, struct ch_view bits, struct ch_spki *spki,
		     struct ch_error *err)
{
	if (bits.size == 0)
		return ch_fail(err, CH_INVALID, "subjectPublicKeyInfo.subjectPublicKey is empty");
	if (ch_view_equal(oid, ec_public_key))
		return read_ec(parameters, bits, spki, err);
	if (ch_view_equal(oid, rsa_encryption))
		return read_rsa(parameters, bits, spki, err);
	for (size_t i = 0; i < CH_COUNT(edwards); i++)
		if (ch_view_equal(oid, edwards[i].oid))
			return read_edwards(&edwards[i], parameters, bits, spki, err);
	CH_AUTO(ch_string) name = ch_der_oid_text(oid);
	return ch_fail(err, CH_INVALID, "key type %.64s is not accepted", name ? name : "?");
}

bool ch_spki_read(struct ch_view info, struct ch_spki *spki, struct ch_error *err)
{
	struct ch_view content, identifier, oid, bits;

	*spki = (struct ch_spki)CH_NONE;
	if (info.size > CH_PUBLIC_KEY_CAP)
		return ch_fail(err, CH_TOO_LARGE, "subjectPublicKeyInfo of %zu octets, at most %d allowed",
			       info.size, CH_PUBLIC_KEY_CAP);
	if (!ch_der_read(&info, CH_DER_SEQUENCE, "subjectPublicKeyInfo", &content, err) ||
	    !ch_der_end(&info, "subjectPublicKeyInfo", err) ||
	    !ch_der_read(&content, CH_DER_SEQUENCE, "subjectPublicKeyInfo.algorithm", &identifier, err) ||
	    !ch_der_read_bit_string(&content, "subjectPublicKeyInfo.subjectPublicKey", &bits, err) ||
	    !ch_der_end(&content, "subjectPublicKeyInfo", err))
		return false;
	spki->identifier = identifier;
	return ch_der_read_oid(&identifier, "subjectPublicKeyInfo.algorithm.algorithm", &oid, err) &&
	       check_name(oid, err) && read_key(oid, identifier, bits, spki, err);
}

bool ch_spki_check(struct ch_view info, struct ch_spki *spki, struct ch_error *err)
{
	if (!ch_spki_read(info, spki, err))
		return false;
	return spki->algorithm || ch_fail(err, CH_INVALID, "public key: none of the supported algorithms");
}

bool ch_spki_equal(const struct ch_spki *a, const struct ch_spki *b)
{
	return ch_view_equal(a->identifier, b->identifier) && ch_view_equal(a->number, b->number);
}

/* --- writing --- */

static bool write_uncompressed(struct ch_view info, struct ch_bytes *rebuilt, struct ch_error *err)
{
	CH_AUTO(EVP_PKEY) key = NULL;

	return ch_public_key_read(info, &key, err) && ch_public_key_write(key, rebuilt, err);
}

bool ch_spki_rebuild(struct ch_view info, struct ch_bytes *rebuilt, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE, numbers = CH_NONE;
	CH_AUTO(ch_bytes) key = CH_NONE;
	struct ch_spki spki;
	struct ch_view whole = info, content, identifier, bits;

	if (!ch_spki_read(info, &spki, err))
		return false;
	if (spki.compressed && spki.algorithm)
		return write_uncompressed(info, rebuilt, err);
	if (!ch_der_read(&whole, CH_DER_SEQUENCE, "subjectPublicKeyInfo", &content, err) ||
	    !ch_der_read_any(&content, "subjectPublicKeyInfo.algorithm", NULL, NULL, &identifier, err) ||
	    !ch_der_read_bit_string(&content, "subjectPublicKeyInfo.subjectPublicKey", &bits, err))
		return false;
	if (spki.exponent.size > 0) {
		ch_der_begin(&numbers, CH_DER_SEQUENCE);
		ch_der_put_integer(&numbers, spki.number);
		ch_der_put_integer(&numbers, spki.exponent);
		ch_der_finish(&numbers);
		key = ch_der_done(&numbers);
		bits = ch_view_of(&key);
	}
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_raw(&writer, identifier);
	ch_der_put_bit_string(&writer, bits);
	ch_der_finish(&writer);
	*rebuilt = ch_der_done(&writer);
	return true;
}
