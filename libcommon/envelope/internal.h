/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share and nobody else needs. */
#ifndef CH_ENVELOPE_INTERNAL_H
#define CH_ENVELOPE_INTERNAL_H

#include "envelope/envelope.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/* SHA-256 over domain with its terminating zero (NULL: none) and data. */
CH_MUST_USE bool ch_envelope_digest(const char *domain, struct ch_view data, uint8_t out[32],
				    struct ch_error *err);

/* EVP_PKEY contexts ready to sign or verify with one key. They cost more to make than to use, so they are
 * kept. */
#define CH_CONTEXT_POOL_SIZE 16
struct ch_context_pool {
	EVP_PKEY_CTX *items[CH_CONTEXT_POOL_SIZE];
	size_t count;
};
EVP_PKEY_CTX *ch_context_pool_take(struct ch_context_pool *pool); /* NULL: empty */
void ch_context_pool_give(struct ch_context_pool *pool, EVP_PKEY_CTX *context);
void ch_context_pool_clear(struct ch_context_pool *pool);

#endif
