/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x509.h: names, extensions, CSR, algorithms and assembled signed structures, on OpenSSL 3 where it decodes
 * and on libcommon/der where we write. Issuer, crl, ocsp, tsa, vault, gateway and the command-line tool use
 * it.
 */
#ifndef CH_X509_H
#define CH_X509_H

#include "clock/clock.h"
#include "der/der.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

CH_DEFINE_AUTO_POINTER(X509, X509, X509_free)
CH_DEFINE_AUTO_POINTER(X509_REQ, X509_REQ, X509_REQ_free)
CH_DEFINE_AUTO_POINTER(X509_NAME, X509_NAME, X509_NAME_free)
CH_DEFINE_AUTO_POINTER(X509_CRL, X509_CRL, X509_CRL_free)
CH_DEFINE_AUTO_POINTER(EVP_PKEY, EVP_PKEY, EVP_PKEY_free)
CH_DEFINE_AUTO_POINTER(EVP_MD_CTX, EVP_MD_CTX, EVP_MD_CTX_free)

/* --- algorithms (algorithm.c): a new one is a row of the table there
 * -------------------------------------------------------- */
struct ch_algorithm {
	const char *name;           /* "ecdsa-p256" */
	const char *digest;         /* "sha256"; "" where the algorithm takes the message itself (Ed25519) */
	const char *signature_name; /* for people: "ecdsa-with-SHA256" */
	struct ch_view signature_identifier; /* AlgorithmIdentifier DER as it stands in certificates */
	int key_type;                        /* EVP_PKEY_RSA, EVP_PKEY_EC, EVP_PKEY_ED25519 */
	int bits;                            /* RSA modulus bits, curve bits */
	const char *curve;                   /* OpenSSL group name: "prime256v1"; NULL */
};
const struct ch_algorithm *ch_algorithm_find(const char *name); /* NULL: unknown */
/* The algorithm of a SubjectPublicKeyInfo; NULL where Chancery has none for it (RSA of another size, another
 * curve). */
const struct ch_algorithm *ch_algorithm_of_key(EVP_PKEY *key);
const struct ch_algorithm *ch_algorithm_at(size_t index); /* for listing; NULL past the end */
/* Verifies an X.509-form signature over `data` with the public key. CH_UNAUTHENTICATED where it does not. */
CH_MUST_USE bool ch_verify_signature(const struct ch_algorithm *algorithm, struct ch_view public_key_info,
				     struct ch_view data, struct ch_view signature, struct ch_error *err);
#define CH_PUBLIC_KEY_CAP (16 * 1024)
/* SubjectPublicKeyInfo DER, nothing after it. CH_INVALID where OpenSSL does not take it. */
CH_MUST_USE bool ch_public_key_read(struct ch_view public_key_info, EVP_PKEY **key, struct ch_error *err);
/* SubjectPublicKeyInfo DER as OpenSSL writes it, points uncompressed. */
CH_MUST_USE bool ch_public_key_write(EVP_PKEY *key, struct ch_bytes *public_key_info, struct ch_error *err);
#define CH_FINGERPRINT_SIZE 32
/*
 * SHA-256 of the SubjectPublicKeyInfo as OpenSSL writes it: one for one key, however it was written (an EC
 * point may be compressed, RFC 5480 §2.2). CH_INVALID where OpenSSL does not take it.
 */
CH_MUST_USE bool ch_public_key_fingerprint(struct ch_view public_key_info,
					   uint8_t fingerprint[CH_FINGERPRINT_SIZE], struct ch_error *err);
/* ECDSA as PKCS#11 gives it, r || s of equal length, to the Ecdsa-Sig-Value of certificates. */
CH_MUST_USE bool ch_ecdsa_signature_from_raw(struct ch_view raw, struct ch_bytes *der, struct ch_error *err);
/* digest: "sha1", "sha256", "sha384", "sha512", else CH_UNSUPPORTED; `out` holds 64 octets. */
CH_MUST_USE bool ch_digest(const char *digest, struct ch_view data, uint8_t out[64], size_t *size,
			   struct ch_error *err);

/* --- names (name.c)
 * ---------------------------------------------------------------------------------------------------------------
 */
/* "CN=Example Root CA,O=Example,C=CH" (RFC 4514; first written is most specific as usual there) -> DER.
 * UTF8String, C as PrintableString. CH_INVALID names the attribute or value at fault. */
CH_MUST_USE bool ch_name_parse(const char *text, struct ch_bytes *der, struct ch_error *err);
/* A Name in DER, nothing after it; the caller frees *name. CH_INVALID where OpenSSL does not take it. */
CH_MUST_USE bool ch_name_read(struct ch_view der, X509_NAME **name, struct ch_error *err);
/* One name to who looks for an issuer by it (RFC 5280 §7.1): the same octets, or the same in OpenSSL's
 * canonical form (X509_NAME_cmp: string types, ASCII case and runs of spaces make no difference). Errors as
 * ch_name_read. */
CH_MUST_USE bool ch_name_equal(struct ch_view a, struct ch_view b, bool *equal, struct ch_error *err);
char *ch_name_text(struct ch_view der); /* RFC 4514, the caller frees it; "" where it does not decode */

enum ch_san_type { CH_SAN_DNS, CH_SAN_IP, CH_SAN_EMAIL, CH_SAN_URI };
struct ch_san {
	enum ch_san_type type;
	char *value; /* owned: "www.example.com", "192.0.2.1", "2001:db8::1", … */
};
struct ch_sans {
	struct ch_san *items;
	size_t count;
};
#define CH_SANS_MAX 1000
void ch_sans_free(struct ch_sans *sans);
const char *ch_san_type_name(enum ch_san_type type); /* "dns", "ip", "email", "uri" */
/* The host of a URI that has an authority, without brackets; NULL: it has none. The caller frees it. */
char *ch_uri_host(const char *uri);
/* Checks the value (RFC 1034/5280 §4.2.1.6: LDH labels, A-labels that decode, wildcard only as the whole
 * left-most label, no IP in dns, …) and appends it: host names in lower case, addresses in canonical form.
 * One that is there already is not added again. CH_TOO_LARGE over CH_SANS_MAX. */
CH_MUST_USE bool ch_sans_add(struct ch_sans *sans, const char *type_name, const char *value,
			     struct ch_error *err);
CH_MUST_USE bool ch_sans_encode(const struct ch_sans *sans, struct ch_bytes *general_names,
				struct ch_error *err);
/* Of GeneralNames DER; CH_UNSUPPORTED for a name form that Chancery does not issue. */
CH_MUST_USE bool ch_sans_decode(struct ch_view general_names, struct ch_sans *sans, struct ch_error *err);

/* --- certification requests (csr.c)
 * ------------------------------------------------------------------------------------------- */
#define CH_CSR_CAP (64 * 1024)
struct ch_csr_wish {
	char *oid; /* dotted */
	struct ch_bytes value;
};
struct ch_csr {
	struct ch_bytes subject_der;          /* written anew from its attributes (name.h) */
	char *subject;                        /* RFC 4514 */
	struct ch_bytes public_key_info;      /* written anew from its numbers (public_key.h) */
	uint8_t public_key_sha256[32];        /* of public_key_info */
	const struct ch_algorithm *algorithm; /* NULL: a key that Chancery does not know */
	char *key_description;                /* "RSA 1024 bits", "EC secp256k1" */
	struct ch_sans sans;                  /* from extensionRequest */
	bool requests_ca;                     /* basicConstraints CA:TRUE in extensionRequest */
	struct ch_csr_wish *wishes;           /* the other extensions that it asks for */
	size_t wish_count;
};
/*
 * Decodes PKCS#10 (DER, or PEM "CERTIFICATE REQUEST"), verifies its signature (proof of possession), rejects
 * trailing bytes, versions other than 1, duplicate extensions, MD5 and SHA-1 signatures. CH_TOO_LARGE over
 * CH_CSR_CAP; CH_INVALID says what and where.
 */
CH_MUST_USE bool ch_csr_read(struct ch_view input, struct ch_csr *csr, struct ch_error *err);
/* RSA: size table, odd exponent 65537..2^256-1, modulus without small factors, not ROCA, primes not close;
 * EC: a point on a known named curve. CH_INVALID. (weak_key.c) */
CH_MUST_USE bool ch_check_weak_key(struct ch_view public_key_info, struct ch_error *err);
void ch_csr_free(struct ch_csr *csr);

/* --- certificates
 * ----------------------------------------------------------------------------------------------------------------------
 */
#define CH_CERTIFICATE_CAP (64 * 1024)
/* DER only, nothing after it. */
CH_MUST_USE bool ch_certificate_read(struct ch_view der, X509 **certificate, struct ch_error *err);
CH_MUST_USE bool ch_certificate_read_pem_file(const char *path, X509 **certificate, struct ch_error *err);
CH_MUST_USE bool ch_certificate_der(const X509 *certificate, struct ch_bytes *der, struct ch_error *err);
/* Appends "-----BEGIN <label>----- …" ; label "CERTIFICATE", "X509 CRL", … */
void ch_pem_add(struct ch_buffer *buffer, const char *label, struct ch_view der);
/* The first block of that label in PEM text. */
CH_MUST_USE bool ch_pem_read(struct ch_view text, const char *label, struct ch_bytes *der,
			     struct ch_error *err);
/* SHA-1 of the public key bits: the key identifier of RFC 5280 §4.2.1.2 (1), and OCSP's byKey and
 * issuerKeyHash (with SHA-1). */
CH_MUST_USE bool ch_key_identifier(struct ch_view public_key_info, const char *digest, uint8_t out[64],
				   size_t *size, struct ch_error *err);

/* SEQUENCE { to_be_signed, AlgorithmIdentifier, BIT STRING signature }: Certificate, CertificateList,
 * BasicOCSPResponse's core. (assemble.c) */
struct ch_bytes ch_signed_assemble(struct ch_view to_be_signed, const struct ch_algorithm *algorithm,
				   struct ch_view signature);

/* --- extensions, written into an open SEQUENCE OF Extension (extension.c)
 * -------------------------------------------------------- */
void ch_extension_put(struct ch_der_writer *writer, const char *oid, bool critical, struct ch_view value);
void ch_extension_basic_constraints(struct ch_der_writer *writer, bool ca, int path_length /* -1: none */);
/* bits: KU_DIGITAL_SIGNATURE, KU_KEY_CERT_SIGN, … of <openssl/x509v3.h> */
void ch_extension_key_usage(struct ch_der_writer *writer, unsigned bits);
CH_MUST_USE bool ch_extension_extended_key_usage(struct ch_der_writer *writer, bool critical,
						 const char *const *oids, size_t count, struct ch_error *err);
void ch_extension_subject_key_identifier(struct ch_der_writer *writer, struct ch_view key_identifier);
void ch_extension_authority_key_identifier(struct ch_der_writer *writer, struct ch_view key_identifier);
void ch_extension_authority_information_access(struct ch_der_writer *writer, const char *ocsp_url,
					       const char *ca_issuers_url);
void ch_extension_crl_distribution_points(struct ch_der_writer *writer, const char *url);
CH_MUST_USE bool ch_extension_certificate_policies(struct ch_der_writer *writer, const char *const *oids,
						   size_t count, struct ch_error *err);

/* --- revocation reasons (RFC 5280 §5.3.1)
 * -------------------------------------------------------------------------------------------- */
const char *ch_reason_name(int reason); /* "keyCompromise"; NULL: none of that number */
int ch_reason_number(const char *name); /* -1: no such reason */

CH_DEFINE_AUTO_VALUE(ch_csr, struct ch_csr, ch_csr_free)
CH_DEFINE_AUTO_VALUE(ch_sans, struct ch_sans, ch_sans_free)

#endif
