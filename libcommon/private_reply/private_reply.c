/* SPDX-License-Identifier: Apache-2.0 */
/* private_reply.c: the vault's handlers seal with it, its clients open. */
#include "private_reply/private_reply.h"

#include "err/err.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#define INFO "chancery/private-reply/v1"

CH_DEFINE_AUTO_POINTER(reply_cipher, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)
CH_DEFINE_AUTO_POINTER(reply_pkey, EVP_PKEY, EVP_PKEY_free)
CH_DEFINE_AUTO_POINTER(reply_exchange, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
CH_DEFINE_AUTO_POINTER(reply_kdf, EVP_KDF, EVP_KDF_free)
CH_DEFINE_AUTO_POINTER(reply_kdf_context, EVP_KDF_CTX, EVP_KDF_CTX_free)

bool ch_reply_key_new(struct ch_reply_key *key, struct ch_error *err)
{
	size_t size = sizeof(key->public_key);

	*key = (struct ch_reply_key){ .pair = EVP_PKEY_Q_keygen(NULL, NULL, "X25519") };
	if (key->pair && EVP_PKEY_get_raw_public_key(key->pair, key->public_key, &size) == 1 &&
	    size == sizeof(key->public_key))
		return true;
	ch_reply_key_free(key);
	return ch_fail_openssl(err, CH_INTERNAL, "a key pair for a reply");
}

void ch_reply_key_free(struct ch_reply_key *key)
{
	EVP_PKEY_free(key->pair);
	*key = (struct ch_reply_key){ 0 };
}

static bool exchange(const struct ch_reply_key *own, struct ch_view other, struct ch_secret *shared,
		     struct ch_error *err)
{
	CH_AUTO(reply_pkey) peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, other.data, other.size);
	CH_AUTO(reply_exchange) context = EVP_PKEY_CTX_new(own->pair, NULL);
	size_t size = CH_REPLY_KEY_SIZE;

	if (!ch_secret_new(size, shared, err))
		return false;
	if (peer && context && EVP_PKEY_derive_init(context) == 1 &&
	    EVP_PKEY_derive_set_peer(context, peer) == 1 &&
	    EVP_PKEY_derive(context, shared->data, &size) == 1 && size == shared->size)
		return true;
	return ch_fail_openssl(err, CH_INVALID, "the public key for a reply is none");
}

bool ch_reply_secret(const struct ch_reply_key *own, struct ch_view asker, struct ch_view answerer,
		     struct ch_secret *secret, struct ch_error *err)
{
	bool asked = ch_view_equal(ch_view(own->public_key, sizeof(own->public_key)), asker);
	CH_AUTO(reply_kdf) kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	CH_AUTO(reply_kdf_context) context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	CH_AUTO(ch_secret) shared = CH_NONE;
	CH_AUTO(ch_buffer) info = CH_NONE;

	if (asker.size != CH_REPLY_KEY_SIZE || answerer.size != CH_REPLY_KEY_SIZE)
		return ch_fail(err, CH_INVALID, "public keys of %zu and %zu octets for a reply, %d each",
			       asker.size, answerer.size, CH_REPLY_KEY_SIZE);
	if (!exchange(own, asked ? answerer : asker, &shared, err))
		return false;
	ch_buffer_add(&info, INFO, sizeof(INFO));
	ch_buffer_add_view(&info, asker);
	ch_buffer_add_view(&info, answerer);
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, shared.data, shared.size),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data, info.used),
		OSSL_PARAM_construct_end(),
	};
	if (!ch_secret_new(32, secret, err))
		return false;
	if (context && EVP_KDF_derive(context, secret->data, secret->size, parameters) == 1)
		return true;
	ch_secret_free(secret);
	return ch_fail_openssl(err, CH_INTERNAL, "HKDF for a reply");
}

static bool start(EVP_CIPHER_CTX *cipher, bool seal, const struct ch_secret *secret, uint32_t item)
{
	uint8_t nonce[12] = {
		[8] = (uint8_t)(item >> 24), (uint8_t)(item >> 16), (uint8_t)(item >> 8), (uint8_t)item
	};

	return cipher && EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, secret->data, nonce, seal) == 1;
}

bool ch_reply_seal(const struct ch_secret *secret, uint32_t item, struct ch_view plaintext,
		   struct ch_bytes *sealed, struct ch_error *err)
{
	CH_AUTO(reply_cipher) cipher = EVP_CIPHER_CTX_new();
	CH_AUTO(ch_bytes) out = { ch_alloc(plaintext.size + CH_REPLY_OVERHEAD),
				  plaintext.size + CH_REPLY_OVERHEAD };
	int used = 0, rest = 0;

	if (!start(cipher, true, secret, item) ||
	    EVP_CipherUpdate(cipher, out.data, &used, plaintext.data, (int)plaintext.size) != 1 ||
	    EVP_CipherFinal_ex(cipher, out.data + used, &rest) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, CH_REPLY_OVERHEAD,
				out.data + plaintext.size) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "AES-256-GCM of a reply");
	*sealed = CH_STEAL(out);
	return true;
}

bool ch_reply_open(const struct ch_secret *secret, uint32_t item, struct ch_view sealed,
		   struct ch_secret *plaintext, struct ch_error *err)
{
	CH_AUTO(reply_cipher) cipher = EVP_CIPHER_CTX_new();
	CH_AUTO(ch_secret) out = CH_NONE;
	uint8_t tag[CH_REPLY_OVERHEAD];
	int used = 0, rest = 0;

	if (sealed.size < CH_REPLY_OVERHEAD)
		return ch_fail(err, CH_INVALID, "private item of %zu octets, at least %d expected",
			       sealed.size, CH_REPLY_OVERHEAD);
	if (!ch_secret_new(sealed.size - CH_REPLY_OVERHEAD, &out, err))
		return false;
	memcpy(tag, sealed.data + out.size, sizeof(tag));
	if (!start(cipher, false, secret, item) ||
	    EVP_CipherUpdate(cipher, out.data, &used, sealed.data, (int)out.size) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) != 1 ||
	    EVP_CipherFinal_ex(cipher, out.data + used, &rest) != 1)
		return ch_fail_openssl(err, CH_DENIED, "a private item of the reply was altered");
	*plaintext = CH_STEAL(out);
	return true;
}
