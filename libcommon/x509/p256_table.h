/* SPDX-License-Identifier: Apache-2.0 */
/*
 * p256_table.h: ECDSA verification on P-256 (FIPS 186-5 §6.4.2) with a table of one public key's multiples.
 * verify_key.c makes tables, verifier.c uses them.
 */
#ifndef CH_X509_P256_TABLE_H
#define CH_X509_P256_TABLE_H

#include "x509/x509.h"

struct ch_p256_table; /* never changes: for any number of threads */
struct ch_p256_work;  /* one thread's numbers */

/* About 20 ms and 150 KiB. CH_UNSUPPORTED where OpenSSL makes no table, or makes one and does not use it. */
CH_MUST_USE bool ch_p256_table_new(EVP_PKEY *key, struct ch_p256_table **table, struct ch_error *err);
void ch_p256_table_free(struct ch_p256_table *table); /* NULL is fine */

struct ch_p256_work *ch_p256_work_new(const struct ch_p256_table *table);
void ch_p256_work_free(struct ch_p256_work *work); /* NULL is fine */

/*
 * True: `signature` (Ecdsa-Sig-Value in DER) is one over the digest, of 32 octets. False: it is none, or
 * something was wrong with computing it: OpenSSL's own verification has the last word.
 */
CH_MUST_USE bool ch_p256_verify(const struct ch_p256_table *table, struct ch_p256_work *work,
				struct ch_view digest, struct ch_view signature);

#endif
