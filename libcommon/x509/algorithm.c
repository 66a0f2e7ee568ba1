/* SPDX-License-Identifier: Apache-2.0 */
/*
 * algorithm.c: the signature algorithms that Chancery issues with, one row each, and what depends on the row:
 * finding it from a key, verifying, digests. The vault, the issuer and everything that checks a signature
 * call it.
 */
#include "x509/x509.h"

#include <openssl/core_names.h>
#include <string.h>

/* AlgorithmIdentifier DER. RSA carries NULL parameters (RFC 4055 §5), ECDSA (RFC 5758 §3.2) and Ed25519
 * (RFC 8410 §3) carry none. */
static const uint8_t sha256_with_rsa[] = { 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
					   0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00 };
static const uint8_t ecdsa_sha256[] = {
	0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02
};
static const uint8_t ecdsa_sha384[] = {
	0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03
};
static const uint8_t ecdsa_sha512[] = {
	0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04
};
static const uint8_t ed25519[] = { 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70 };

#define IDENTIFIER(octets)            \
	{                             \
		octets, sizeof octets \
	}
/* clang-format off */
static const struct ch_algorithm algorithms[] = {
	/* name          digest    signature_name             signature_identifier          key_type          bits  curve */
	{ "rsa-2048",   "sha256", "sha256WithRSAEncryption", IDENTIFIER(sha256_with_rsa), EVP_PKEY_RSA,     2048, NULL },
	{ "rsa-3072",   "sha256", "sha256WithRSAEncryption", IDENTIFIER(sha256_with_rsa), EVP_PKEY_RSA,     3072, NULL },
	{ "rsa-4096",   "sha256", "sha256WithRSAEncryption", IDENTIFIER(sha256_with_rsa), EVP_PKEY_RSA,     4096, NULL },
	{ "ecdsa-p256", "sha256", "ecdsa-with-SHA256",       IDENTIFIER(ecdsa_sha256),    EVP_PKEY_EC,      256,  "prime256v1" },
	{ "ecdsa-p384", "sha384", "ecdsa-with-SHA384",       IDENTIFIER(ecdsa_sha384),    EVP_PKEY_EC,      384,  "secp384r1" },
	{ "ecdsa-p521", "sha512", "ecdsa-with-SHA512",       IDENTIFIER(ecdsa_sha512),    EVP_PKEY_EC,      521,  "secp521r1" },
	{ "ed25519",    "",       "Ed25519",                 IDENTIFIER(ed25519),         EVP_PKEY_ED25519, 256,  NULL },
};
/* clang-format on */

const struct ch_algorithm *ch_algorithm_at(size_t index)
{
	return index < CH_COUNT(algorithms) ? &algorithms[index] : NULL;
}

const struct ch_algorithm *ch_algorithm_find(const char *name)
{
	for (size_t i = 0; name && i < CH_COUNT(algorithms); i++)
		if (!strcmp(algorithms[i].name, name))
			return &algorithms[i];
	return NULL;
}

static bool fits_key(const struct ch_algorithm *algorithm, int type, int bits, const char *curve)
{
	if (algorithm->key_type != type)
		return false;
	if (type == EVP_PKEY_RSA)
		return algorithm->bits == bits;
	return !algorithm->curve || !strcmp(algorithm->curve, curve);
}

const struct ch_algorithm *ch_algorithm_of_key(EVP_PKEY *key)
{
	char curve[64] = "";
	int type = EVP_PKEY_get_base_id(key);
	if (type == EVP_PKEY_EC && !EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL))
		return NULL;
	for (size_t i = 0; i < CH_COUNT(algorithms); i++)
		if (fits_key(&algorithms[i], type, EVP_PKEY_get_bits(key), curve))
			return &algorithms[i];
	return NULL;
}

bool ch_public_key_read(struct ch_view public_key_info, EVP_PKEY **key, struct ch_error *err)
{
	const uint8_t *at = public_key_info.data;
	if (public_key_info.size > CH_PUBLIC_KEY_CAP)
		return ch_fail(err, CH_TOO_LARGE, "public key: %zu octets, at most %d allowed",
			       public_key_info.size, CH_PUBLIC_KEY_CAP);
	CH_AUTO(EVP_PKEY) read = d2i_PUBKEY(NULL, &at, (long)public_key_info.size);
	if (!read)
		return ch_fail_openssl(err, CH_INVALID, "public key: SubjectPublicKeyInfo does not decode");
	if (at != public_key_info.data + public_key_info.size)
		return ch_fail(err, CH_INVALID, "public key: octets follow SubjectPublicKeyInfo");
	*key = CH_STEAL(read);
	return true;
}

bool ch_public_key_write(EVP_PKEY *key, struct ch_bytes *public_key_info, struct ch_error *err)
{
	uint8_t *der = NULL;
	int size;

	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
	    EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "uncompressed") !=
		    1)
		return ch_fail_openssl(err, CH_INVALID, "public key: its point cannot be written out");
	size = i2d_PUBKEY(key, &der);
	if (size <= 0)
		return ch_fail_openssl(err, CH_INVALID, "public key: it cannot be encoded");
	*public_key_info = ch_bytes_copy(ch_view(der, (size_t)size));
	OPENSSL_free(der);
	return true;
}

bool ch_public_key_fingerprint(struct ch_view public_key_info, uint8_t fingerprint[CH_FINGERPRINT_SIZE],
			       struct ch_error *err)
{
	CH_AUTO(EVP_PKEY) key = NULL;
	CH_AUTO(ch_bytes) written = CH_NONE;
	uint8_t digest[64];
	size_t size;

	if (!ch_public_key_read(public_key_info, &key, err) || !ch_public_key_write(key, &written, err) ||
	    !ch_digest("sha256", ch_view_of(&written), digest, &size, err))
		return false;
	memcpy(fingerprint, digest, CH_FINGERPRINT_SIZE);
	return true;
}

bool ch_verify_signature(const struct ch_algorithm *algorithm, struct ch_view public_key_info,
			 struct ch_view data, struct ch_view signature, struct ch_error *err)
{
	CH_AUTO(EVP_PKEY) key = NULL;
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	if (!ch_public_key_read(public_key_info, &key, err))
		return false;
	const struct ch_algorithm *of_key = ch_algorithm_of_key(key);
	if (!of_key || of_key != algorithm)
		return ch_fail(err, CH_UNAUTHENTICATED, "signature: algorithm is %s, the key is for %s",
			       algorithm->name, of_key ? of_key->name : "another one");

	const char *digest = algorithm->digest[0] ? algorithm->digest : NULL;
	if (!context || EVP_DigestVerifyInit_ex(context, NULL, digest, NULL, NULL, key, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "signature: cannot verify %s", algorithm->name);
	if (EVP_DigestVerify(context, signature.data, signature.size, data.data, data.size) != 1)
		return ch_fail_openssl(err, CH_UNAUTHENTICATED, "signature: %s does not verify",
				       algorithm->signature_name);
	return true;
}

bool ch_digest(const char *digest, struct ch_view data, uint8_t out[64], size_t *size, struct ch_error *err)
{
	static const char *const known[] = { "sha1", "sha256", "sha384", "sha512" };
	size_t i = 0;
	while (i < CH_COUNT(known) && strcmp(known[i], digest) != 0)
		i++;
	if (i == CH_COUNT(known))
		return ch_fail(err, CH_UNSUPPORTED, "digest '%.32s' is not known", digest);
	if (EVP_Q_digest(NULL, digest, NULL, data.data, data.size, out, size) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "digest %s", digest);
	return true;
}

bool ch_ecdsa_signature_from_raw(struct ch_view raw, struct ch_bytes *der, struct ch_error *err)
{
	if (raw.size == 0 || raw.size % 2 != 0 || raw.size > 2 * 66)
		return ch_fail(err, CH_INVALID, "ECDSA signature: %zu octets are not r and s", raw.size);
	size_t half = raw.size / 2;
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE); /* ECDSA-Sig-Value, RFC 5480 appendix A */
	ch_der_put_integer(&writer, ch_view(raw.data, half));
	ch_der_put_integer(&writer, ch_view(raw.data + half, half));
	ch_der_finish(&writer);
	*der = ch_der_done(&writer);
	return true;
}
