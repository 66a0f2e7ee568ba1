/* SPDX-License-Identifier: Apache-2.0 */
/* verify_key.h: what verifier.c sees of verify_key.c. */
#ifndef CH_X509_VERIFY_KEY_H
#define CH_X509_VERIFY_KEY_H

#include "x509/verifier.h"

/* Signatures verified until a table is made: it takes as long as 350 of them, and has saved that after 700.
 */
#define CH_TABLE_WORTH 2000

struct ch_p256_table;

EVP_PKEY *ch_verify_key_public(const struct ch_verify_key *key);
const struct ch_algorithm *ch_verify_key_algorithm(const struct ch_verify_key *key); /* NULL: none of ours */
/* Called for each signature. NULL: the key has no table, yet or ever. The key's; made by the caller's thread
 * when it is worth it. */
const struct ch_p256_table *ch_verify_key_table(struct ch_verify_key *key);

#endif
