/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verifier.h: many signatures of one key verified, with what can be kept between them: the decoded key and,
 * for ECDSA P-256, a table of its multiples that halves the cost (docs/decisions/0030). The vault verifies
 * what it releases with it. Who authenticates somebody by a signature uses OpenSSL's own verification.
 */
#ifndef CH_X509_VERIFIER_H
#define CH_X509_VERIFIER_H

#include "x509/x509.h"

#include <stdatomic.h>

/* --- a key (verify_key.c): for any number of threads; counted references --- */

struct ch_verify_key;
/*
 * Keeps a reference of `key`; the caller gives it up with ch_verify_key_free. tables_left: how many more
 * tables may be made (150 KiB each), which outlives the key and is shared with others; NULL: this key gets
 * none.
 */
struct ch_verify_key *ch_verify_key_new(EVP_PKEY *key, atomic_int *tables_left);
struct ch_verify_key *ch_verify_key_up_ref(struct ch_verify_key *key);
void ch_verify_key_free(struct ch_verify_key *key); /* gives up one reference; NULL is fine */
CH_DEFINE_AUTO_POINTER(ch_verify_key, struct ch_verify_key, ch_verify_key_free)

/* --- one thread's use of it (verifier.c) --- */

struct ch_verifier;
/* Keeps a reference of `key`. CH_UNAUTHENTICATED where it is not of the algorithm; the caller frees
 * *verifier. */
CH_MUST_USE bool ch_verifier_new(const struct ch_algorithm *algorithm, struct ch_verify_key *key,
				 struct ch_verifier **verifier, struct ch_error *err);
void ch_verifier_free(struct ch_verifier *verifier); /* NULL is fine */
/* data: the digest (algorithm->digest); the message itself where the algorithm has none. CH_UNAUTHENTICATED.
 */
CH_MUST_USE bool ch_verifier_verify(struct ch_verifier *verifier, struct ch_view data,
				    struct ch_view signature, struct ch_error *err);
CH_DEFINE_AUTO_POINTER(ch_verifier, struct ch_verifier, ch_verifier_free)

#endif
