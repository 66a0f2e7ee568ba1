/* SPDX-License-Identifier: Apache-2.0 */
/* policy_bucket_test.c: a vault's part of a quota, with a clock and a shared bucket of the test's own. */
#include "bucket.h"

#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The shared bucket, as quota_store.c has it in the database. */
struct shared {
	double tokens;
	int64_t filled_us;
	unsigned trips;
};

static bool spend(struct vault_bucket *bucket, struct shared *shared, int64_t now_us)
{
	enum vault_bucket_answer answer = vault_bucket_spend(bucket, now_us);
	double whole;

	if (answer != VAULT_BUCKET_REFILL)
		return answer == VAULT_BUCKET_SPENT;
	shared->trips++;
	shared->tokens += (double)(now_us - shared->filled_us) / 3600e6 * bucket->per_hour;
	if (shared->tokens > bucket->burst)
		shared->tokens = bucket->burst;
	shared->filled_us = now_us;
	whole = (double)(uint64_t)shared->tokens;
	if (whole > vault_bucket_portion(bucket))
		whole = vault_bucket_portion(bucket);
	vault_bucket_refilled(bucket, (uint32_t)whole, (int64_t)(shared->tokens * 1e6), now_us);
	shared->tokens -= whole;
	return vault_bucket_spend(bucket, now_us) == VAULT_BUCKET_SPENT;
}

static void a_burst_and_not_one_more(void **state)
{
	struct vault_bucket bucket = { .burst = 100, .per_hour = 60 };
	struct shared shared = { .tokens = 100 };

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_true(spend(&bucket, &shared, 0));
	assert_false(spend(&bucket, &shared, 0));
	assert_int_equal(shared.trips, 20 + 1); /* a twentieth at a time */
}

static void it_says_when_there_is_one_again_and_then_there_is(void **state)
{
	struct vault_bucket bucket = { .burst = 1, .per_hour = 60 };
	struct shared shared = { .tokens = 1 };

	(void)state;
	assert_true(spend(&bucket, &shared, 0));
	assert_false(spend(&bucket, &shared, 0));
	assert_int_equal(bucket.empty_until_us, CH_MINUTE);
	assert_false(spend(&bucket, &shared, CH_MINUTE - 1));
	assert_true(spend(&bucket, &shared, CH_MINUTE));
}

static void a_part_of_a_token_shortens_the_wait(void **state)
{
	struct vault_bucket bucket = { .burst = 1, .per_hour = 60 };

	(void)state;
	vault_bucket_refilled(&bucket, 0, 750000, 0);
	assert_int_equal(bucket.empty_until_us, CH_MINUTE / 4);
}

/* A flood of refusals asks the database once, not for each. */
static void while_it_is_empty_nobody_is_asked(void **state)
{
	struct vault_bucket bucket = { .burst = 1, .per_hour = 1 };
	struct shared shared = { .tokens = 0 };

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_false(spend(&bucket, &shared, i));
	assert_int_equal(shared.trips, 1);
}

static void an_hour_gives_what_it_should(void **state)
{
	struct vault_bucket bucket = { .burst = 10, .per_hour = 1000 };
	struct shared shared = { .tokens = 10 };
	int given = 0;

	(void)state;
	for (int64_t now = 0; now < CH_HOUR; now += CH_SECOND)
		given += spend(&bucket, &shared, now);
	assert_in_range(given, 1000, 1010);
}

static void two_vaults_share_one(void **state)
{
	struct vault_bucket a = { .burst = 50, .per_hour = 1 }, b = a;
	struct shared shared = { .tokens = 50 };
	int given = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		given += spend(i % 3 ? &a : &b, &shared, 0);
	assert_in_range(given, 48, 50); /* at most a portion lies in the other */
}

static void portions_are_neither_none_nor_huge(void **state)
{
	struct vault_bucket small = { .burst = 3 }, large = { .burst = 1000000 }, middle = { .burst = 200 };

	(void)state;
	assert_int_equal(vault_bucket_portion(&small), 1);
	assert_int_equal(vault_bucket_portion(&middle), 10);
	assert_int_equal(vault_bucket_portion(&large), 1000);
}

static void a_lower_limit_holds_at_once(void **state)
{
	struct vault_bucket bucket = { .burst = 2000, .per_hour = 1, .left = 100 };

	(void)state;
	vault_bucket_limit(&bucket, 20, 1);
	assert_int_equal(bucket.left, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_and_not_one_more),
		cmocka_unit_test(it_says_when_there_is_one_again_and_then_there_is),
		cmocka_unit_test(a_part_of_a_token_shortens_the_wait),
		cmocka_unit_test(while_it_is_empty_nobody_is_asked),
		cmocka_unit_test(an_hour_gives_what_it_should),
		cmocka_unit_test(two_vaults_share_one),
		cmocka_unit_test(portions_are_neither_none_nor_huge),
		cmocka_unit_test(a_lower_limit_holds_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
