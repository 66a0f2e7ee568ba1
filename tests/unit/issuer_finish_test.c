/* SPDX-License-Identifier: Apache-2.0 */
/*
 * issuer_finish_test.c: a pending row becomes one certificate, or none (services/issuer/finish.c, store.c,
 * recovery.c), whatever the vault answers and whoever else was at it.
 */
#include "issuer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

static void finish(struct world *world, struct ordered *ordered)
{
	struct ch_error err = CH_NONE;

	if (!finish_pending(&world->issuer, &ordered->pending, &err))
		fail_msg("%s", err.message);
}

static void in_outbox(int count)
{
	postgres_does("SELECT 1 / (count(*) = %d)::int FROM audit_outbox", count);
}

static void empty_outbox(void)
{
	postgres_does("SET session_replication_role = replica; DELETE FROM audit_outbox");
}

static void what_the_vault_signed_is_issued(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;
	CH_AUTO(certificate_row) row = CH_NONE;
	X509 *certificate = NULL;

	empty_outbox();
	world_order(world, &ordered);
	finish(world, &ordered);
	world_row(world, &ordered, &row);
	assert_string_equal(row.status, "issued");
	assert_int_equal(row.tbs.size, 0);
	assert_true(ch_certificate_read(ch_view_of(&row.der), &certificate, NULL));
	assert_int_equal(X509_verify(certificate, world->made.ca_key), 1);
	X509_free(certificate);
	assert_int_equal(world_count(world, "issued"), 1);
	in_outbox(1);
}

/* Nothing unverified leaves the issuer; the row waits for a vault that signs. */
static void a_wrong_signature_is_given_to_nobody(void **state)
{
	static const enum vault_mood lies[] = { VAULT_SIGNS_OTHER_BYTES, VAULT_SIGNS_WITH_ANOTHER_KEY };
	struct world *world = *state;

	for (size_t i = 0; i < CH_COUNT(lies); i++) {
		CH_AUTO(ordered) ordered = CH_NONE;
		CH_AUTO(certificate_row) row = CH_NONE;
		struct ch_error err = CH_NONE;

		empty_outbox();
		world_order(world, &ordered);
		world->vault = lies[i];
		assert_false(finish_pending(&world->issuer, &ordered.pending, &err));
		assert_int_equal(err.code, CH_INTERNAL);
		assert_true(err.retryable);
		assert_non_null(strstr(err.message, "the vault's signature does not verify"));
		assert_true(ordered.pending.was_signed);
		world_row(world, &ordered, &row);
		assert_string_equal(row.status, "pending");
		assert_int_equal(row.der.size, 0);
		in_outbox(0);
	}
	assert_int_equal(world_count(world, "issued"), 0);
}

static void without_the_vaults_answer_the_row_waits(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;
	struct ch_error err = CH_NONE;

	world_order(world, &ordered);
	world->vault = VAULT_IS_AWAY;
	assert_false(finish_pending(&world->issuer, &ordered.pending, &err));
	assert_true(err.retryable);
	assert_false(ordered.pending.was_signed);
	assert_status(world, &ordered, "pending");
}

static void the_first_no_of_the_vault_cancels(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;
	CH_AUTO(certificate_row) row = CH_NONE;
	struct ch_error err = CH_NONE;

	empty_outbox();
	world_order(world, &ordered);
	world->vault = VAULT_REFUSES;
	assert_false(finish_pending(&world->issuer, &ordered.pending, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, "the key's policy"));
	world_row(world, &ordered, &row);
	assert_string_equal(row.status, "cancelled");
	assert_non_null(strstr(row.cancelled_reason, "the key's policy"));
	assert_int_equal(row.tbs.size, 0);
	assert_int_equal(world_count(world, "cancelled"), 1);
	in_outbox(1);
	/* by whom ever it is refused again: it is over, and counted once */
	assert_false(finish_pending(&world->issuer, &ordered.pending, &err));
	assert_int_equal(world_count(world, "cancelled"), 1);
	in_outbox(1);
}

/* It may have signed when it was asked before. */
static void a_later_no_of_the_vault_revokes(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;
	CH_AUTO(certificate_row) row = CH_NONE;
	struct ch_error err = CH_NONE;

	world_order(world, &ordered);
	ordered.pending.asked_before = true;
	world->vault = VAULT_REFUSES;
	world->now_us += CH_HOUR + 5;
	assert_false(finish_pending(&world->issuer, &ordered.pending, &err));
	world_row(world, &ordered, &row);
	assert_string_equal(row.status, "revoked");
	assert_int_equal(row.revocation_reason, 5);
	assert_int_equal(row.revoked_at_us, NOW + CH_HOUR);
	assert_int_equal(world_count(world, "given-up"), 1);
	assert_int_equal(world_count(world, "cancelled"), 0);
	postgres_does(
		"SELECT 1 / (count(*) = 1)::int FROM revocation_log l JOIN certificates c USING (ca_id, "
		"serial) WHERE l.reason = 5 AND l.action = 'revoked' AND c.status = 'revoked' AND l.ca_id = "
		"%lld",
		(long long)ordered.pending.ca->id);
}

/* --- two at one row --- */

static bool issue_again(struct world *world, const struct ordered *ordered)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_error err = CH_NONE;
	bool saved = true;

	if (!ch_db_begin(world->issuer.db, WORLD_TENANT, &transaction, &err) ||
	    !store_issued(transaction, ordered->pending.expiry_period, ordered->pending.ca->id,
			  ordered->pending.serial, ch_view_text("another"), world->now_us,
			  ch_view_text("event"), &saved, &err) ||
	    !ch_db_commit(&transaction, &err))
		fail_msg("%s", err.message);
	return saved;
}

static bool cancel_again(struct world *world, const struct ordered *ordered)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_error err = CH_NONE;
	bool saved = true;

	if (!ch_db_begin(world->issuer.db, WORLD_TENANT, &transaction, &err) ||
	    !store_cancelled(transaction, ordered->pending.expiry_period, ordered->pending.ca->id,
			     ordered->pending.serial, "so", ch_view_text("event"), &saved, &err) ||
	    !ch_db_commit(&transaction, &err))
		fail_msg("%s", err.message);
	return saved;
}

/* The row takes one certificate: what came second is no error, and nobody hears of it. */
static void a_row_takes_one_outcome(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) issued = CH_NONE, cancelled = CH_NONE, revoked = CH_NONE;
	CH_AUTO(certificate_row) row = CH_NONE;
	struct ch_error err = CH_NONE;

	world_order(world, &issued);
	finish(world, &issued);
	world_order(world, &cancelled);
	assert_true(cancel_again(world, &cancelled));
	world_order(world, &revoked);
	assert_true(finish_give_up(&world->issuer, &revoked.pending, "so", &err));
	empty_outbox();

	assert_false(issue_again(world, &issued));
	world_row(world, &issued, &row);
	assert_true(row.der.size > 100);
	assert_false(cancel_again(world, &issued));
	assert_status(world, &issued, "issued");
	assert_false(issue_again(world, &cancelled));
	assert_false(cancel_again(world, &cancelled));
	assert_status(world, &cancelled, "cancelled");
	assert_false(issue_again(world, &revoked));
	assert_false(cancel_again(world, &revoked));
	assert_status(world, &revoked, "revoked");
	in_outbox(0);
}

static void what_somebody_else_finished_is_neither_given_up_nor_counted(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;
	struct ch_error err = CH_NONE;

	world_order(world, &ordered);
	finish(world, &ordered);
	assert_true(finish_give_up(&world->issuer, &ordered.pending, "so", &err));
	assert_status(world, &ordered, "issued");
	assert_int_equal(world_count(world, "given-up"), 0);
}

/* --- what recovery gives up --- */

static void assert_reason(struct world *world, const struct ordered *ordered, const char *expected)
{
	CH_AUTO(certificate_row) row = CH_NONE;
	CH_AUTO(ch_string) reason = NULL;
	struct ca_set *set;

	world_ca(world, &set);
	world_row(world, ordered, &row);
	reason = reason_to_give_up(&world->issuer, WORLD_TENANT, set, &row);
	catalog_release(&world->issuer, set);
	if (!expected)
		assert_null(reason);
	else if (!reason || !strstr(reason, expected))
		fail_msg("'%s' does not say '%s'", reason ? reason : "", expected);
}

static void a_row_is_given_up_at_its_age(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;

	world_order(world, &ordered);
	assert_reason(world, &ordered, NULL);
	world->now_us = NOW + CH_DAY;
	assert_reason(world, &ordered, NULL);
	world->now_us = NOW + CH_DAY + 1;
	assert_reason(world, &ordered, "not signed within 86400 s");
}

static void a_row_is_given_up_at_its_end(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;

	world_order(world, &ordered);
	world->config.recovery_give_up_us = 1000 * CH_DAY;
	world->now_us = ordered.candidate.order.not_after_us - 1;
	assert_reason(world, &ordered, NULL);
	world->now_us++;
	assert_reason(world, &ordered, "its validity passed before it was signed");
}

static void a_row_is_given_up_with_its_ca_or_key(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;

	world_order(world, &ordered);
	postgres_does("UPDATE cas SET state = 'suspended' WHERE ca_id = %lld",
		      (long long)ordered.pending.ca->id);
	assert_reason(world, &ordered, "is suspended and issues nothing");
	postgres_does("UPDATE cas SET state = 'active' WHERE ca_id = %lld",
		      (long long)ordered.pending.ca->id);
	assert_reason(world, &ordered, NULL);
	postgres_does(
		"INSERT INTO compromised_keys (tenant_id, public_key_sha256, source) SELECT tenant_id, "
		"public_key_sha256, 'officer' FROM certificates WHERE ca_id = %lld AND profile = 'example'",
		(long long)ordered.pending.ca->id);
	assert_reason(world, &ordered, "public key is known to be compromised");
}

/* --- whose rows recovery takes --- */

static bool next_pending(struct world *world, const char *instance, int64_t started_us,
			 const struct ordered *expected)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(certificate_row) row = CH_NONE;
	const struct pending_place start = { .reserved_at_us = 1 };
	struct ch_error err = CH_NONE;
	bool found = false;

	if (!ch_db_begin(world->issuer.db, WORLD_TENANT, &transaction, &err) ||
	    !store_next_pending(transaction, instance, started_us,
				world->now_us - world->config.recovery_age_us, &start, &found, &row, &err))
		fail_msg("%s", err.message);
	if (found)
		assert_true(ch_view_equal(ch_view_of(&row.serial), expected->pending.serial));
	return found;
}

static void own_rows_of_before_the_start_and_old_rows_of_others_are_taken(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) first = CH_NONE, second = CH_NONE;

	postgres_does("UPDATE certificates SET status = 'cancelled' WHERE status = 'pending'");
	world_order(world, &first);
	world->now_us += CH_SECOND;
	world_order(world, &second);
	assert_false(next_pending(world, "issuer-1", NOW, &first)); /* this run's own: it is being signed */
	assert_true(next_pending(world, "issuer-1", NOW + 1, &first));
	assert_false(next_pending(world, "issuer-2", NOW + 1, &first));
	world->now_us = NOW + world->config.recovery_age_us;
	assert_false(next_pending(world, "issuer-2", NOW, &first));
	world->now_us++;
	assert_true(next_pending(world, "issuer-2", NOW, &first)); /* the oldest */
	finish(world, &first);
	assert_false(next_pending(world, "issuer-2", NOW, &second));
	world->now_us += CH_SECOND;
	assert_true(next_pending(world, "issuer-2", NOW, &second));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_begin, world_end)
	const struct CMUnitTest tests[] = {
		TEST(what_the_vault_signed_is_issued),
		TEST(a_wrong_signature_is_given_to_nobody),
		TEST(without_the_vaults_answer_the_row_waits),
		TEST(the_first_no_of_the_vault_cancels),
		TEST(a_later_no_of_the_vault_revokes),
		TEST(a_row_takes_one_outcome),
		TEST(what_somebody_else_finished_is_neither_given_up_nor_counted),
		TEST(a_row_is_given_up_at_its_age),
		TEST(a_row_is_given_up_at_its_end),
		TEST(a_row_is_given_up_with_its_ca_or_key),
		TEST(own_rows_of_before_the_start_and_old_rows_of_others_are_taken),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
