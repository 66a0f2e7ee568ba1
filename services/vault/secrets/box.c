/* SPDX-License-Identifier: Apache-2.0 */
/* box.c: the form of a sealed secret: AES-256-GCM with its context as associated data. Pure; handlers.c calls
 * it. */
#include "secrets.h"

#include "err/err.h"

#include <openssl/evp.h>
#include <string.h>

#define FORMAT      1
#define HEADER_SIZE 5
#define NONCE_SIZE  12
#define TAG_SIZE    16
#define DOMAIN      "chancery/secret/v1"

CH_DEFINE_AUTO_POINTER(box_cipher, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

static bool check_context(const struct secret_context *context, struct ch_error *err)
{
	size_t size = strlen(context->context);

	return (size >= 1 && size <= SECRET_CONTEXT_CAP) ||
	       ch_fail(err, CH_INVALID, "context of %zu octets, 1 to %d allowed", size, SECRET_CONTEXT_CAP);
}

/* Each text with its zero, so that no two contexts give the same octets. */
static struct ch_bytes associated_data(const struct secret_context *context, const uint8_t *header)
{
	CH_AUTO(ch_buffer) buffer = CH_NONE;

	ch_buffer_add(&buffer, header, HEADER_SIZE);
	ch_buffer_add(&buffer, DOMAIN, sizeof(DOMAIN));
	ch_buffer_add(&buffer, context->tenant, strlen(context->tenant) + 1);
	ch_buffer_add(&buffer, context->service, strlen(context->service) + 1);
	ch_buffer_add(&buffer, context->context, strlen(context->context) + 1);
	return ch_buffer_steal(&buffer);
}

static bool start(EVP_CIPHER_CTX *cipher, bool seal, struct ch_view key, const uint8_t *nonce,
		  struct ch_view aad, struct ch_error *err)
{
	int used;

	if (key.size != SECRET_KEY_SIZE)
		return ch_fail(err, CH_INTERNAL, "data key of %zu octets", key.size);
	if (cipher && EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key.data, nonce, seal) == 1 &&
	    EVP_CipherUpdate(cipher, NULL, &used, aad.data, (int)aad.size) == 1)
		return true;
	return ch_fail_openssl(err, CH_INTERNAL, "AES-256-GCM");
}

bool secret_box_seal(struct ch_view key, uint32_t version, const struct secret_context *context,
		     struct ch_view plaintext, struct ch_bytes *sealed, struct ch_error *err)
{
	CH_AUTO(box_cipher) cipher = EVP_CIPHER_CTX_new();
	CH_AUTO(ch_bytes) out = CH_NONE, aad = CH_NONE;
	uint8_t *nonce, *body, *tag;
	int used = 0, rest = 0;

	if (plaintext.size > SECRET_SIZE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "secret of %zu octets, at most %d allowed", plaintext.size,
			       SECRET_SIZE_CAP);
	if (!check_context(context, err))
		return false;
	out.size = SECRET_OVERHEAD + plaintext.size;
	out.data = ch_alloc(out.size);
	out.data[0] = FORMAT;
	for (int i = 0; i < 4; i++)
		out.data[1 + i] = (uint8_t)(version >> (24 - 8 * i));
	nonce = out.data + HEADER_SIZE;
	body = nonce + NONCE_SIZE;
	tag = body + plaintext.size;
	ch_random(nonce, NONCE_SIZE);
	aad = associated_data(context, out.data);
	if (!start(cipher, true, key, nonce, ch_view_of(&aad), err))
		return false;
	if (EVP_CipherUpdate(cipher, body, &used, plaintext.data, (int)plaintext.size) != 1 ||
	    EVP_CipherFinal_ex(cipher, body + used, &rest) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "AES-256-GCM");
	*sealed = CH_STEAL(out);
	return true;
}

bool secret_box_version(struct ch_view sealed, uint32_t *version, struct ch_error *err)
{
	if (sealed.size < SECRET_OVERHEAD || sealed.size > SECRET_SIZE_CAP + SECRET_OVERHEAD)
		return ch_fail(err, CH_INVALID, "sealed secret of %zu octets, %d to %d are possible",
			       sealed.size, SECRET_OVERHEAD, SECRET_SIZE_CAP + SECRET_OVERHEAD);
	if (sealed.data[0] != FORMAT)
		return ch_fail(err, CH_INVALID, "sealed secret of form %u, only %d is known", sealed.data[0],
			       FORMAT);
	*version = 0;
	for (int i = 0; i < 4; i++)
		*version = *version << 8 | sealed.data[1 + i];
	return *version > 0 || ch_fail(err, CH_INVALID, "sealed secret names data key version 0");
}

bool secret_box_open(struct ch_view key, const struct secret_context *context, struct ch_view sealed,
		     struct ch_secret *plaintext, struct ch_error *err)
{
	CH_AUTO(box_cipher) cipher = EVP_CIPHER_CTX_new();
	CH_AUTO(ch_secret) out = CH_NONE;
	CH_AUTO(ch_bytes) aad = CH_NONE;
	uint8_t tag[TAG_SIZE];
	int used = 0, rest = 0;
	uint32_t version;

	if (!secret_box_version(sealed, &version, err) || !check_context(context, err) ||
	    !ch_secret_new(sealed.size - SECRET_OVERHEAD, &out, err))
		return false;
	memcpy(tag, sealed.data + sealed.size - TAG_SIZE, TAG_SIZE);
	aad = associated_data(context, sealed.data);
	if (!start(cipher, false, key, sealed.data + HEADER_SIZE, ch_view_of(&aad), err))
		return false;
	if (EVP_CipherUpdate(cipher, out.data, &used, sealed.data + HEADER_SIZE + NONCE_SIZE,
			     (int)out.size) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1 ||
	    EVP_CipherFinal_ex(cipher, out.data + used, &rest) != 1)
		return ch_fail_openssl(
			err, CH_DENIED,
			"the secret was altered, or was sealed by another service, for another "
			"tenant or in another context than '%.80s'",
			context->context);
	*plaintext = CH_STEAL(out);
	return true;
}
