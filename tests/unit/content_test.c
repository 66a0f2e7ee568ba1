/* SPDX-License-Identifier: Apache-2.0 */
/* content_test.c: what kind of thing a file holds (services/cli/content.c), made by OpenSSL in every form
 * that people have. */
#include "content.h"

#include "x509/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>

CH_DEFINE_AUTO_POINTER(MEMORY, BIO, BIO_free_all)

static EVP_PKEY *ec_key, *rsa_key;
static X509_REQ *csr;
static X509 *certificate;

static int make_all(void **state)
{
	ec_key = EVP_EC_gen("P-256");
	rsa_key = EVP_RSA_gen(2048);
	csr = X509_REQ_new();
	X509_REQ_set_pubkey(csr, ec_key);
	X509_REQ_sign(csr, ec_key, EVP_sha256());
	certificate = X509_new();
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, ec_key);
	X509_sign(certificate, ec_key, EVP_sha256());
	return 0;
}

static int free_all(void **state)
{
	EVP_PKEY_free(ec_key);
	EVP_PKEY_free(rsa_key);
	X509_REQ_free(csr);
	X509_free(certificate);
	return 0;
}

static struct ch_view in(BIO *bio)
{
	char *data = NULL;
	long size = BIO_get_mem_data(bio, &data);

	return ch_view(data, (size_t)size);
}

#define assert_kind(bio, wanted, says)                \
	do {                                          \
		struct content_kind kind;             \
		content_kind_of(in(bio), &kind);      \
		assert_string_equal(kind.text, says); \
		assert_int_equal(kind.class, wanted); \
		assert_int_equal(BIO_reset(bio), 1);  \
	} while (0)

/* A key in one of OpenSSL's structures ("PrivateKeyInfo", "type-specific", …) as PEM or DER. */
static void put_key(BIO *bio, const EVP_PKEY *key, const char *structure, const char *form, bool encrypted)
{
	OSSL_ENCODER_CTX *encoder =
		OSSL_ENCODER_CTX_new_for_pkey(key, OSSL_KEYMGMT_SELECT_ALL, form, structure, NULL);

	if (encrypted) {
		OSSL_ENCODER_CTX_set_cipher(encoder, "AES-256-CBC", NULL);
		OSSL_ENCODER_CTX_set_passphrase(encoder, (const unsigned char *)"secret", 6);
	}
	assert_int_equal(OSSL_ENCODER_to_bio(encoder, bio), 1);
	OSSL_ENCODER_CTX_free(encoder);
}

static void every_form_of_a_private_key_is_known(void **state)
{
	CH_AUTO(MEMORY) bio = BIO_new(BIO_s_mem());

	put_key(bio, ec_key, "PrivateKeyInfo", "PEM", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#8)");
	put_key(bio, ec_key, "EncryptedPrivateKeyInfo", "PEM", true);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#8, encrypted)");
	put_key(bio, ec_key, "type-specific", "PEM", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (SEC 1)");
	put_key(bio, rsa_key, "type-specific", "PEM", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#1)");
	put_key(bio, rsa_key, "type-specific", "PEM", true);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#1, encrypted)");
	put_key(bio, rsa_key, "PrivateKeyInfo", "DER", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#8, DER)");
	put_key(bio, ec_key, "EncryptedPrivateKeyInfo", "DER", true);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#8, encrypted, DER)");
	put_key(bio, ec_key, "type-specific", "DER", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (SEC 1, DER)");
	put_key(bio, rsa_key, "type-specific", "DER", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#1, DER)");
	BIO_puts(bio, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (OpenSSH)");
	BIO_puts(bio, "-----BEGIN PGP PRIVATE KEY BLOCK-----\n");
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key: 'PGP PRIVATE KEY BLOCK'");
	BIO_puts(bio, "PuTTY-User-Key-File-3: ssh-ed25519\n");
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PuTTY)");
	BIO_puts(bio, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"AA\"}");
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (JWK)");
	BIO_puts(bio, "----BEGIN PRIVATE KEY----\n"); /* a dash short */
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key, damaged or in an unknown form");
}

static void a_pkcs12_file_counts_as_a_key(void **state)
{
	CH_AUTO(MEMORY) bio = BIO_new(BIO_s_mem());
	PKCS12 *p12 = PKCS12_create("secret", "me", ec_key, certificate, NULL, 0, 0, 0, 0, 0);

	assert_int_equal(i2d_PKCS12_bio(bio, p12), 1);
	PKCS12_free(p12);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key or certificates (PKCS#12)");
}

static void a_key_beside_anything_else_is_what_counts(void **state)
{
	CH_AUTO(MEMORY) bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509_REQ(bio, csr);
	put_key(bio, ec_key, "PrivateKeyInfo", "PEM", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (PKCS#8)");
	PEM_write_bio_X509(bio, certificate);
	put_key(bio, ec_key, "type-specific", "PEM", false);
	assert_kind(bio, CONTENT_PRIVATE_KEY, "a private key (SEC 1)");
}

static void what_is_public_is_told_apart(void **state)
{
	CH_AUTO(MEMORY) bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509_REQ(bio, csr);
	assert_kind(bio, CONTENT_REQUEST, "a certification request");
	i2d_X509_REQ_bio(bio, csr);
	assert_kind(bio, CONTENT_REQUEST, "a certification request");
	PEM_write_bio_X509(bio, certificate);
	assert_kind(bio, CONTENT_CERTIFICATE, "a certificate");
	i2d_X509_bio(bio, certificate);
	assert_kind(bio, CONTENT_CERTIFICATE, "a certificate");
	PEM_write_bio_PUBKEY(bio, rsa_key);
	assert_kind(bio, CONTENT_PUBLIC_KEY, "a public key");
	i2d_PUBKEY_bio(bio, ec_key);
	assert_kind(bio, CONTENT_PUBLIC_KEY, "a public key");
	BIO_puts(bio, "name: tls-server\n");
	assert_kind(bio, CONTENT_OTHER, "neither PEM nor DER");
	BIO_puts(bio, "-----BEGIN X509 CRL-----\n");
	assert_kind(bio, CONTENT_OTHER, "a CRL");
	BIO_puts(bio, "-----BEGIN MESSAGE-----\n");
	assert_kind(bio, CONTENT_OTHER, "PEM of 'MESSAGE'");
	assert_kind(bio, CONTENT_OTHER, "nothing");
}

static char *written(struct ch_view content)
{
	char *path = ch_strdup("/tmp/content_test.XXXXXX");
	CH_AUTO(ch_fd) fd = mkstemp(path);

	assert_int_equal(write(fd, content.data, content.size), (ssize_t)content.size);
	return path;
}

/* What openssl req -text and editors put around a request stays here. */
static void of_a_request_file_nothing_but_the_request_is_sent(void **state)
{
	CH_AUTO(MEMORY) around = BIO_new(BIO_s_mem());
	CH_AUTO(MEMORY) alone = BIO_new(BIO_s_mem());
	CH_AUTO(MEMORY) der = BIO_new(BIO_s_mem());
	CH_AUTO(ch_string) pem = NULL;
	CH_AUTO(ch_string) of_der = NULL;
	struct ch_error err;

	BIO_puts(around, "a note: the password is hunter2\n");
	PEM_write_bio_X509_REQ(around, csr);
	BIO_puts(around, "another note\n");
	PEM_write_bio_X509_REQ(alone, csr);
	i2d_X509_REQ_bio(der, csr);
	CH_AUTO(ch_string) path = written(in(around));
	CH_AUTO(ch_string) der_path = written(in(der));
	assert_true(content_read_request(path, &pem, &err));
	assert_true(content_read_request(der_path, &of_der, &err));
	assert_true(ch_view_equal(ch_view_text(pem), in(alone)));
	assert_string_equal(pem, of_der);
	unlink(path);
	unlink(der_path);
}

static void what_is_no_request_is_named(void **state)
{
	CH_AUTO(MEMORY) bio = BIO_new(BIO_s_mem());
	CH_AUTO(ch_string) pem = NULL;
	struct ch_error err;

	put_key(bio, ec_key, "EncryptedPrivateKeyInfo", "PEM", true);
	CH_AUTO(ch_string) path = written(in(bio));
	CH_AUTO(ch_string) says =
		ch_format("'%s' holds a private key (PKCS#8, encrypted), not a certification request", path);
	assert_false(content_read_request(path, &pem, &err));
	assert_string_equal(err.message, says);
	unlink(path);
	CH_AUTO(ch_string) damaged = written(ch_view_text("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n"
							  "-----END CERTIFICATE REQUEST-----\n"));
	assert_false(content_read_request(damaged, &pem, &err));
	assert_non_null(strstr(err.message, "damaged certification request"));
	unlink(damaged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_of_a_private_key_is_known),
		cmocka_unit_test(a_pkcs12_file_counts_as_a_key),
		cmocka_unit_test(a_key_beside_anything_else_is_what_counts),
		cmocka_unit_test(what_is_public_is_told_apart),
		cmocka_unit_test(of_a_request_file_nothing_but_the_request_is_sent),
		cmocka_unit_test(what_is_no_request_is_named),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
