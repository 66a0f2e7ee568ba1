/* SPDX-License-Identifier: Apache-2.0 */
/* bucket.c: the arithmetic of a vault's part of a quota. quota.c is the caller. */
#include "bucket.h"

#include "clock/clock.h"

#define PORTIONS    20
#define PORTION_CAP 1000

uint32_t vault_bucket_portion(const struct vault_bucket *bucket)
{
	uint32_t portion = bucket->burst / PORTIONS;

	if (portion < 1)
		return 1;
	return portion < PORTION_CAP ? portion : PORTION_CAP;
}

void vault_bucket_limit(struct vault_bucket *bucket, uint32_t burst, uint32_t per_hour)
{
	if (bucket->burst == burst && bucket->per_hour == per_hour)
		return;
	bucket->burst = burst;
	bucket->per_hour = per_hour;
	bucket->empty_until_us = 0;
	if (bucket->left > vault_bucket_portion(bucket))
		bucket->left = vault_bucket_portion(bucket);
}

enum vault_bucket_answer vault_bucket_spend(struct vault_bucket *bucket, int64_t now_us)
{
	if (bucket->left > 0) {
		bucket->left--;
		return VAULT_BUCKET_SPENT;
	}
	return now_us < bucket->empty_until_us ? VAULT_BUCKET_EMPTY : VAULT_BUCKET_REFILL;
}

void vault_bucket_refilled(struct vault_bucket *bucket, uint32_t taken, int64_t available_micro,
			   int64_t now_us)
{
	int64_t missing = 1000000 - available_micro;

	bucket->left += taken;
	if (taken)
		return;
	if (missing < 1)
		missing = 1;
	/* A token takes an hour divided by per_hour; rounded up, so that it is there then. */
	bucket->empty_until_us = now_us + (missing * 3600 + bucket->per_hour - 1) / bucket->per_hour;
}
