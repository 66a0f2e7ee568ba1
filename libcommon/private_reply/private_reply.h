/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private_reply.h: secrets in a reply, encrypted from the memory of who answers into that of who asked, so
 * that no buffer of the way (packed messages, the transport's, a library's) ever holds them. Both ends make a
 * key pair for the one exchange; who they are is the envelope's matter, which signs the public keys.
 *
 * X25519 (RFC 7748 §6.1), HKDF-SHA-256 (RFC 5869) over both public keys, AES-256-GCM with the item's number
 * as nonce: a key is used for one reply alone.
 */
#ifndef CH_PRIVATE_REPLY_H
#define CH_PRIVATE_REPLY_H

#include "mem/mem.h"

#include <openssl/evp.h>

#define CH_REPLY_KEY_SIZE 32 /* a public key */
#define CH_REPLY_OVERHEAD 16 /* an item's tag */

/* One end's key pair. */
struct ch_reply_key {
	EVP_PKEY *pair;
	uint8_t public_key[CH_REPLY_KEY_SIZE];
};
CH_MUST_USE bool ch_reply_key_new(struct ch_reply_key *key, struct ch_error *err);
void ch_reply_key_free(struct ch_reply_key *key);

/*
 * What both ends derive; `own` is one of the two. The caller frees *secret. CH_INVALID: the other public key
 * is none.
 */
CH_MUST_USE bool ch_reply_secret(const struct ch_reply_key *own, struct ch_view asker,
				 struct ch_view answerer, struct ch_secret *secret, struct ch_error *err);

/* One item of the reply. The caller frees *sealed. */
CH_MUST_USE bool ch_reply_seal(const struct ch_secret *secret, uint32_t item, struct ch_view plaintext,
			       struct ch_bytes *sealed, struct ch_error *err);
/* CH_DENIED: altered, or another item's. The caller frees *plaintext. */
CH_MUST_USE bool ch_reply_open(const struct ch_secret *secret, uint32_t item, struct ch_view sealed,
			       struct ch_secret *plaintext, struct ch_error *err);

CH_DEFINE_AUTO_VALUE(ch_reply_key, struct ch_reply_key, ch_reply_key_free)

#endif
