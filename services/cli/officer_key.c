/* SPDX-License-Identifier: Apache-2.0 */
/* officer_key.c: opens an officer's key and signs documents with it. Called by actions.c. */
#include "officer_key.h"

#include "officer_token.h"
#include "x509/x509.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define KEY_CAP 65536

CH_DEFINE_AUTO_POINTER(officer_bio, BIO, BIO_free_all)
CH_DEFINE_AUTO_POINTER(officer_key_context, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

struct officer_key {
	struct ch_operator holder;
	struct ch_bytes certificate;
	struct officer_token *token; /* NULL: the key is from a file */
	EVP_PKEY *private_key;       /* of the token where there is one, else its own */
};

void officer_key_close(struct officer_key *key)
{
	if (!key)
		return;
	ch_bytes_free(&key->certificate);
	if (!key->token)
		EVP_PKEY_free(key->private_key);
	officer_token_close(key->token);
	free(key);
}

static bool read_certificate(struct officer_key *key, const char *file, X509 **certificate,
			     struct ch_error *err)
{
	if (!ch_certificate_read_pem_file(file, certificate, err) ||
	    !ch_certificate_der(*certificate, &key->certificate, err) ||
	    !ch_operator_read(*certificate, &key->holder, err))
		return ch_fail_in(err, "'%s'", file);
	return (key->holder.roles & CH_ROLE_OFFICER) ||
	       ch_fail(err, CH_DENIED, "'%s': operator '%s' is no officer", file, key->holder.name);
}

static bool read_file(struct officer_key *key, const char *file, struct ch_error *err)
{
	CH_AUTO(ch_secret) text = CH_NONE;
	CH_AUTO(officer_bio) bio = NULL;

	if (!ch_secret_read_file(file, KEY_CAP, &text, err))
		return false;
	bio = BIO_new_mem_buf(text.data, (int)text.size);
	key->private_key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	if (!key->private_key)
		return ch_fail_openssl(err, CH_INVALID, "'%s' holds no private key", file);
	return true;
}

static bool read_key(struct officer_key *key, const char *file, X509 *certificate, struct ch_error *err)
{
	bool in_token = strncmp(file, OFFICER_TOKEN_SCHEME, strlen(OFFICER_TOKEN_SCHEME)) == 0;

	if (in_token ? !officer_token_open(file, &key->token, err) : !read_file(key, file, err))
		return false;
	if (in_token)
		key->private_key = officer_token_key(key->token);
	if (EVP_PKEY_eq(key->private_key, X509_get0_pubkey(certificate)) != 1)
		return ch_fail(err, CH_INVALID, "'%s' is not the key of officer '%s's certificate", file,
			       key->holder.name);
	return true;
}

bool officer_key_open(const char *certificate_file, const char *key_file, struct officer_key **key,
		      struct ch_error *err)
{
	CH_AUTO(officer_key) made = ch_alloc(sizeof(*made));
	CH_AUTO(X509) certificate = NULL;

	if (!read_certificate(made, certificate_file, &certificate, err) ||
	    !read_key(made, key_file, certificate, err))
		return false;
	*key = CH_STEAL(made);
	return true;
}

const struct ch_operator *officer_key_holder(const struct officer_key *key)
{
	return &key->holder;
}

struct ch_view officer_key_certificate(const struct officer_key *key)
{
	return ch_view_of(&key->certificate);
}

EVP_PKEY *officer_key_private(struct officer_key *key)
{
	return key->private_key;
}

bool officer_key_sign(struct officer_key *key, struct ch_view document, struct ch_bytes *signature,
		      struct ch_error *err)
{
	CH_AUTO(officer_key_context) context = EVP_PKEY_CTX_new(key->private_key, NULL);
	CH_AUTO(ch_bytes) result = CH_NONE;
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", document, digest, &size, err))
		return false;
	if (!context || EVP_PKEY_sign_init(context) <= 0 ||
	    EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) <= 0 ||
	    EVP_PKEY_sign(context, NULL, &result.size, digest, size) <= 0)
		return ch_fail_openssl(err, CH_INVALID, "officer '%s's key cannot sign", key->holder.name);
	result.data = ch_alloc(result.size);
	if (EVP_PKEY_sign(context, result.data, &result.size, digest, size) <= 0)
		return ch_fail_openssl(err, CH_INTERNAL, "officer '%s's key cannot sign", key->holder.name);
	*signature = CH_STEAL(result);
	return true;
}
