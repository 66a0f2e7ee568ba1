/* SPDX-License-Identifier: Apache-2.0 */
/* contexts.c: OpenSSL's contexts for digests and signatures, kept where they cost more than what they do.
 * envelope.c, identity.c and trust.c use them. */
#include "envelope/internal.h"

#include <string.h>

CH_DEFINE_AUTO_POINTER(digest_context, EVP_MD_CTX, EVP_MD_CTX_free)

bool ch_envelope_digest(const char *domain, struct ch_view data, uint8_t out[32], struct ch_error *err)
{
	CH_AUTO(digest_context) context = EVP_MD_CTX_new();

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
	    (domain && EVP_DigestUpdate(context, domain, strlen(domain) + 1) != 1) ||
	    EVP_DigestUpdate(context, data.data, data.size) != 1 ||
	    EVP_DigestFinal_ex(context, out, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "SHA-256 of a message failed");
	return true;
}

EVP_PKEY_CTX *ch_context_pool_take(struct ch_context_pool *pool)
{
	return pool->count ? pool->items[--pool->count] : NULL;
}

void ch_context_pool_give(struct ch_context_pool *pool, EVP_PKEY_CTX *context)
{
	if (pool->count < CH_CONTEXT_POOL_SIZE)
		pool->items[pool->count++] = context;
	else
		EVP_PKEY_CTX_free(context);
}

void ch_context_pool_clear(struct ch_context_pool *pool)
{
	while (pool->count)
		EVP_PKEY_CTX_free(pool->items[--pool->count]);
}
