/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c: this instance's own certificate and key: loaded at start, checked, then used to sign. */
#include "envelope/internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE_ROOM 80 /* an ECDSA P-256 signature in DER is at most 72 octets */

struct ch_identity {
	struct ch_peer self;
	struct ch_bytes certificate;
	EVP_PKEY *key;
	struct ch_trust *trust;
	pthread_mutex_t lock; /* guards contexts */
	struct ch_context_pool contexts;
};

CH_DEFINE_AUTO_POINTER(certificate, X509, X509_free)
CH_DEFINE_AUTO_POINTER(file, BIO, BIO_free_all)

/* --- loading ----------------------------------------------------------------------------------------------
 */

static bool read_certificate(const char *path, struct ch_bytes *der, struct ch_error *err)
{
	CH_AUTO(file) bio = BIO_new_file(path, "r");
	CH_AUTO(certificate) certificate = NULL;
	unsigned char *encoded = NULL;
	int size;

	if (!bio)
		return ch_fail_openssl(err, CH_NOT_FOUND, "identity certificate file '%s'", path);
	certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!certificate)
		return ch_fail_openssl(err, CH_INVALID, "identity certificate file '%s'", path);
	size = i2d_X509(certificate, &encoded);
	if (size < 0)
		return ch_fail_openssl(err, CH_INVALID, "identity certificate file '%s'", path);
	*der = ch_bytes_copy(ch_view(encoded, (size_t)size));
	OPENSSL_free(encoded);
	return true;
}

static bool read_key(const char *path, EVP_PKEY **key, struct ch_error *err)
{
	CH_AUTO(ch_secret) pem = CH_NONE;
	CH_AUTO(file) bio = NULL;

	if (!ch_secret_read_file(path, 16 * 1024, &pem, err))
		return ch_fail_in(err, "identity key");
	bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	*key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	if (!*key)
		return ch_fail_openssl(err, CH_INVALID, "identity key file '%s'", path);
	return true;
}

static bool key_fits(const struct ch_identity *identity, const char *path, struct ch_error *err)
{
	const unsigned char *at = identity->certificate.data;
	CH_AUTO(certificate) certificate = d2i_X509(NULL, &at, (long)identity->certificate.size);

	if (!certificate || X509_check_private_key(certificate, identity->key) != 1)
		return ch_fail_openssl(err, CH_INVALID,
				       "identity key file '%s' is not the key of the certificate", path);
	return true;
}

bool ch_identity_load(const struct ch_identity_config *config, const char *service, const char *instance,
		      struct ch_identity **identity, struct ch_error *err)
{
	CH_AUTO(ch_identity) loaded = ch_alloc(sizeof(*loaded));
	int64_t now = ch_clock_now_us(ch_clock_system());

	pthread_mutex_init(&loaded->lock, NULL);
	if (!ch_trust_load(config->system_ca, &loaded->trust, err) ||
	    !read_certificate(config->certificate, &loaded->certificate, err) ||
	    !read_key(config->key, &loaded->key, err) || !key_fits(loaded, config->key, err))
		return false;
	if (!ch_trust_identify(loaded->trust, ch_view_of(&loaded->certificate), now, &loaded->self, err))
		return ch_fail_in(err, "identity certificate file '%s'", config->certificate);
	if ((service && strcmp(service, loaded->self.service) != 0) ||
	    (instance && strcmp(instance, loaded->self.instance) != 0))
		return ch_fail(err, CH_INVALID, "identity certificate file '%s' is of %s/%s, not of %s/%s",
			       config->certificate, loaded->self.service, loaded->self.instance,
			       service ? service : "any", instance ? instance : "any");
	*identity = CH_STEAL(loaded);
	return true;
}

void ch_identity_free(struct ch_identity *identity)
{
	if (!identity)
		return;
	ch_context_pool_clear(&identity->contexts);
	EVP_PKEY_free(identity->key);
	ch_bytes_free(&identity->certificate);
	ch_trust_free(identity->trust);
	pthread_mutex_destroy(&identity->lock);
	free(identity);
}

/* --- use --------------------------------------------------------------------------------------------------
 */

const struct ch_peer *ch_identity_self(const struct ch_identity *identity)
{
	return &identity->self;
}

struct ch_view ch_identity_certificate_der(const struct ch_identity *identity)
{
	return ch_view_of(&identity->certificate);
}

static EVP_PKEY_CTX *take_context(struct ch_identity *identity)
{
	EVP_PKEY_CTX *context;

	pthread_mutex_lock(&identity->lock);
	context = ch_context_pool_take(&identity->contexts);
	pthread_mutex_unlock(&identity->lock);
	if (context)
		return context;
	context = EVP_PKEY_CTX_new(identity->key, NULL);
	if (context && EVP_PKEY_sign_init(context) != 1) {
		EVP_PKEY_CTX_free(context);
		return NULL;
	}
	return context;
}

bool ch_identity_sign(const struct ch_identity *constant, const char *domain, struct ch_view data,
		      struct ch_bytes *signature, struct ch_error *err)
{
	struct ch_identity *identity =
		(struct ch_identity *)(uintptr_t)constant; /* only its context pool changes */
	uint8_t digest[32];
	CH_AUTO(ch_bytes) made = { ch_alloc(SIGNATURE_ROOM), SIGNATURE_ROOM };
	EVP_PKEY_CTX *context;

	if (!ch_envelope_digest(domain, data, digest, err))
		return false;
	context = take_context(identity);
	if (!context)
		return ch_fail_openssl(err, CH_INTERNAL, "no context to sign with the identity key");
	if (EVP_PKEY_sign(context, made.data, &made.size, digest, sizeof(digest)) != 1) {
		EVP_PKEY_CTX_free(context);
		return ch_fail_openssl(err, CH_INTERNAL, "signing with the identity key failed");
	}
	pthread_mutex_lock(&identity->lock);
	ch_context_pool_give(&identity->contexts, context);
	pthread_mutex_unlock(&identity->lock);
	*signature = CH_STEAL(made);
	return true;
}

bool ch_identity_verify(struct ch_identity *identity, const char *domain, struct ch_view certificate,
			struct ch_view data, struct ch_view signature, int64_t at_us, struct ch_peer *peer,
			struct ch_error *err)
{
	return ch_trust_verify(identity->trust, domain, certificate, data, signature, at_us, peer, err);
}
