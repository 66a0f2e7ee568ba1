/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verifier.c: many signatures of one key, verified by one thread with one context, over digests that were
 * made already.
 */
#include "x509/verifier.h"

#include "p256_table.h"
#include "verify_key.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>

CH_DEFINE_AUTO_POINTER(context, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

struct ch_verifier {
	const struct ch_algorithm *algorithm;
	struct ch_verify_key *key;
	EVP_PKEY_CTX *context;     /* NULL: not needed yet */
	struct ch_p256_work *work; /* NULL: the key had no table yet */
};

void ch_verifier_free(struct ch_verifier *verifier)
{
	if (!verifier)
		return;
	EVP_PKEY_CTX_free(verifier->context);
	ch_p256_work_free(verifier->work);
	ch_verify_key_free(verifier->key);
	free(verifier);
}

static bool prepare(struct ch_verifier *verifier, struct ch_error *err)
{
	CH_AUTO(context) context =
		EVP_PKEY_CTX_new_from_pkey(NULL, ch_verify_key_public(verifier->key), NULL);

	if (!context || EVP_PKEY_verify_init(context) != 1 ||
	    (verifier->algorithm->key_type == EVP_PKEY_RSA &&
	     EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) != 1) ||
	    EVP_PKEY_CTX_set_signature_md(context, EVP_get_digestbyname(verifier->algorithm->digest)) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "signature: cannot verify %s",
				       verifier->algorithm->name);
	verifier->context = CH_STEAL(context);
	return true;
}

bool ch_verifier_new(const struct ch_algorithm *algorithm, struct ch_verify_key *key,
		     struct ch_verifier **verifier, struct ch_error *err)
{
	CH_AUTO(ch_verifier) made = ch_alloc(sizeof(*made));
	const struct ch_algorithm *of_key = ch_verify_key_algorithm(key);

	if (of_key != algorithm)
		return ch_fail(err, CH_UNAUTHENTICATED, "signature: algorithm is %s, the key is for %s",
			       algorithm->name, of_key ? of_key->name : "another one");
	made->algorithm = algorithm;
	made->key = ch_verify_key_up_ref(key);
	*verifier = CH_STEAL(made);
	return true;
}

static bool fail_wrong(const struct ch_verifier *verifier, struct ch_error *err)
{
	return ch_fail_openssl(err, CH_UNAUTHENTICATED, "signature: %s does not verify",
			       verifier->algorithm->signature_name);
}

static bool verify_message(const struct ch_verifier *verifier, struct ch_view message,
			   struct ch_view signature)
{
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();

	return context &&
	       EVP_DigestVerifyInit_ex(context, NULL, NULL, NULL, NULL, ch_verify_key_public(verifier->key),
				       NULL) == 1 &&
	       EVP_DigestVerify(context, signature.data, signature.size, message.data, message.size) == 1;
}

/* False says nothing: OpenSSL's own verification is asked then. */
static bool verify_with_table(struct ch_verifier *verifier, struct ch_view digest, struct ch_view signature)
{
	const struct ch_p256_table *table = ch_verify_key_table(verifier->key);

	if (table && !verifier->work)
		verifier->work = ch_p256_work_new(table);
	return table && verifier->work && ch_p256_verify(table, verifier->work, digest, signature);
}

static bool verify_digest(struct ch_verifier *verifier, struct ch_view digest, struct ch_view signature,
			  struct ch_error *err)
{
	if (verify_with_table(verifier, digest, signature))
		return true;
	ERR_clear_error();
	return (verifier->context || prepare(verifier, err)) &&
	       (EVP_PKEY_verify(verifier->context, signature.data, signature.size, digest.data,
				digest.size) == 1 ||
		fail_wrong(verifier, err));
}

bool ch_verifier_verify(struct ch_verifier *verifier, struct ch_view data, struct ch_view signature,
			struct ch_error *err)
{
	if (verifier->algorithm->digest[0])
		return verify_digest(verifier, data, signature, err);
	return verify_message(verifier, data, signature) || fail_wrong(verifier, err);
}
