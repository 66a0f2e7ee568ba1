/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket.h: one vault's part of a token bucket that all vaults share: a portion is taken from the shared one
 * at a time and spent here, so that a hot key costs no database trip per signature. Pure; quota.c holds them.
 */
#ifndef VAULT_BUCKET_H
#define VAULT_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct vault_bucket {
	uint32_t burst, per_hour;
	uint32_t left;          /* of the portion taken last */
	int64_t empty_until_us; /* the shared bucket has no whole token before then */
};

enum vault_bucket_answer {
	VAULT_BUCKET_SPENT,  /* one token is gone */
	VAULT_BUCKET_EMPTY,  /* come back at empty_until_us */
	VAULT_BUCKET_REFILL, /* take a portion, tell vault_bucket_refilled, ask again */
};

/* New limits: what is left here stays, up to a portion of theirs. */
void vault_bucket_limit(struct vault_bucket *bucket, uint32_t burst, uint32_t per_hour);
/* A twentieth of the burst, 1 to 1,000: at most so much is lost when a vault ends, or lies idle in another.
 */
uint32_t vault_bucket_portion(const struct vault_bucket *bucket);
enum vault_bucket_answer vault_bucket_spend(struct vault_bucket *bucket, int64_t now_us);
/* What the shared bucket gave, and how much of a token (0 to 1, in millionths) it had left over when it gave
 * none. */
void vault_bucket_refilled(struct vault_bucket *bucket, uint32_t taken, int64_t available_micro,
			   int64_t now_us);

#endif
