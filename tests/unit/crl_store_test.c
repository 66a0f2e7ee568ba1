/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl_store_test.c: leases, numbers and entries (services/crl/store.c, lease.c) against a real PostgreSQL, as
 * the role chancery_crl.
 */
#include "crl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

#define T0 (INT64_C(1795219200) * CH_SECOND) /* 2026-11-21T00:00:00Z */

static int64_t now_us;

static int64_t now(void *context)
{
	return now_us;
}
static const struct ch_clock clock_of_the_test = { now, NULL };

struct fixture {
	struct crl_config config;
	struct crl crl;
	struct crl_state ca; /* of a CA of its own for each test */
};

static int counter;

static int set_up(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));
	char name[32];
	struct ch_error err;

	now_us = T0;
	snprintf(name, sizeof(name), "ca-%d", ++counter);
	postgres_does("INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, "
		      "public_key_sha256, "
		      "residency) VALUES ('key-%s', 'default', '', 'ecdsa-p256', '{}', '', '%s', '{}')",
		      name, name);
	postgres_does("INSERT INTO cas (tenant_id, name, state, document, document_sha256, subject_der, "
		      "subject, key_id, "
		      "key_algorithm, public_key_info, key_identifier, tbs_certificate, certificate_der, "
		      "not_before, "
		      "not_after, serial_tag_key) VALUES ('default', '%s', 'active', '', '', '', '', "
		      "'key-%s', 'ecdsa-p256', "
		      "'', '', '', '\\x00', '2026-01-01Z', '2036-01-01Z', '')",
		      name, name);
	postgres_does("SELECT ensure_certificate_partitions(670, 690)");
	fixture->config.common.instance = ch_strdup("crl-1");
	fixture->config.lease_us = 20 * CH_SECOND;
	fixture->crl = (struct crl){ .config = &fixture->config,
				     .clock = &clock_of_the_test,
				     .db = postgres_open("chancery_crl", 4) };
	assert_true(crl_store_find(fixture->crl.db, "default", name, &fixture->ca, &err));
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	ch_db_close(fixture->crl.db);
	crl_ca_free(&fixture->ca.ca);
	crl_record_free(&fixture->ca.newest);
	free(fixture->config.common.instance);
	free(fixture);
	return 0;
}

static struct ch_lease *take(struct fixture *fixture)
{
	struct ch_lease *lease = NULL;
	struct ch_error err;

	if (!crl_lease_take(&fixture->crl, fixture->ca.ca.ca_id, 0, &lease, &err))
		fail_msg("%s", err.message);
	return lease;
}

static void expire_lease(const struct fixture *fixture)
{
	postgres_does("UPDATE crl_leases SET expires_at = now() WHERE ca_id = %lld",
		      (long long)fixture->ca.ca.ca_id);
}

static uint64_t reserve(struct fixture *fixture, struct ch_lease *lease, bool scheduled)
{
	CH_AUTO(crl_record) record = { .scheduled = scheduled };
	struct ch_error err;

	if (!crl_store_reserve(&fixture->crl, lease, &fixture->ca.ca, NULL, &record, &err))
		fail_msg("%s", err.message);
	return record.number;
}

static bool publish(struct fixture *fixture, struct ch_lease *lease, uint64_t number, struct ch_error *err)
{
	struct crl_record record = { .number = number, .entries = 1, .der = { (uint8_t[]){ "der" }, 3 } };

	struct crl_events events = { { { (uint8_t[]){ "event" }, 5 } }, 1 };

	return crl_store_publish(fixture->crl.db, lease, &fixture->ca.ca, &record, &events, err);
}

static void publish_one(struct fixture *fixture, bool scheduled)
{
	CH_AUTO(ch_lease) lease = take(fixture);
	struct ch_error err;

	if (!publish(fixture, lease, reserve(fixture, lease, scheduled), &err))
		fail_msg("%s", err.message);
}

static uint64_t newest(struct fixture *fixture)
{
	struct crl_state state = CH_NONE;
	struct ch_error err;
	uint64_t number;

	assert_true(crl_store_find(fixture->crl.db, "default", fixture->ca.ca.name, &state, &err));
	number = state.newest.number;
	crl_ca_free(&state.ca);
	crl_record_free(&state.newest);
	return number;
}

/* --- leases --- */

static void one_holder_at_a_time(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) first = take(fixture);

	assert_non_null(first);
	assert_null(take(fixture)); /* of the same instance, on another thread */
	ch_lease_release(CH_STEAL(first));
	first = take(fixture);
	assert_non_null(first);
}

static void a_lease_that_ended_can_be_taken_and_its_old_holder_hears_of_it(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) first = NULL, second = NULL;
	struct ch_error err;

	fixture->config.lease_us = 3; /* over when the next one asks */
	first = take(fixture);
	assert_true(ch_lease_renew(first, &err)); /* nobody else asked yet */
	fixture->config.lease_us = 20 * CH_SECOND;
	second = take(fixture);
	assert_non_null(second);
	assert_false(ch_lease_renew(first, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
}

/* Long before its end, so that a long CRL keeps it; not at each batch, which would be a write each. */
static void a_lease_is_renewed_after_a_third_of_its_term(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) lease = NULL;
	struct ch_error err;
	int64_t began_us;

	fixture->config.lease_us = 9 * CH_SECOND;
	lease = take(fixture);
	began_us = ch_monotonic_us();
	expire_lease(fixture);
	assert_true(ch_lease_renew(lease, &err));
	postgres_does("SELECT 1 / (expires_at <= now())::int FROM crl_leases WHERE ca_id = %lld",
		      (long long)fixture->ca.ca.ca_id);
	while (ch_monotonic_us() - began_us < 3 * CH_SECOND)
		usleep(10000);
	assert_true(ch_lease_renew(lease, &err));
	postgres_does("SELECT 1 / (expires_at > now())::int FROM crl_leases WHERE ca_id = %lld",
		      (long long)fixture->ca.ca.ca_id);
}

static void a_restarted_instance_frees_what_it_held(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) first = take(fixture), second = NULL;

	ch_lease_end_all(fixture->crl.db, &crl_leases, "crl-10");
	assert_null(take(fixture));
	ch_lease_end_all(fixture->crl.db, &crl_leases, "crl-1");
	second = take(fixture);
	assert_non_null(second);
}

/* --- numbers --- */

static void numbers_count_from_1_and_a_published_one_is_the_newest(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(newest(fixture), 0);
	publish_one(fixture, true);
	assert_int_equal(newest(fixture), 1);
	publish_one(fixture, false);
	assert_int_equal(newest(fixture), 2);
}

static void a_reserved_number_of_a_dead_holder_is_abandoned_and_never_used_again(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) dead = take(fixture), heir = NULL;
	struct ch_error err;

	assert_int_equal(reserve(fixture, dead, true), 1);
	expire_lease(fixture);
	heir = take(fixture);
	assert_int_equal(reserve(fixture, heir, true), 2);
	assert_false(publish(fixture, dead, 1, &err)); /* it was only slow, and comes too late */
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(publish(fixture, heir, 2, &err));
	assert_int_equal(newest(fixture), 2);
}

static void a_number_given_up_is_not_used_again(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) lease = take(fixture);
	uint64_t number = reserve(fixture, lease, true);
	struct ch_error err;

	assert_true(crl_store_abandon(fixture->crl.db, &fixture->ca.ca, number, &err));
	assert_false(publish(fixture, lease, number, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_int_equal(reserve(fixture, lease, true), number + 1);
}

struct contender {
	struct fixture *fixture;
	pthread_t thread;
	uint64_t numbers[10];
	size_t count;
};

static void *contend(void *context)
{
	struct contender *contender = context;
	struct fixture *fixture = contender->fixture;

	while (contender->count < CH_COUNT(contender->numbers)) {
		CH_AUTO(ch_lease) lease = NULL;
		struct crl_record record = { .scheduled = false };
		struct ch_error err;

		if (!crl_lease_take(&fixture->crl, fixture->ca.ca.ca_id, 0, &lease, &err) || !lease)
			continue;
		if (crl_store_reserve(&fixture->crl, lease, &fixture->ca.ca, NULL, &record, &err) &&
		    publish(fixture, lease, record.number, &err))
			contender->numbers[contender->count++] = record.number;
	}
	return NULL;
}

static void many_at_once_never_make_a_number_twice(void **state)
{
	struct contender contenders[4] = {
		{ .fixture = *state }, { .fixture = *state }, { .fixture = *state }, { .fixture = *state }
	};
	bool seen[41] = CH_NONE;

	for (size_t i = 0; i < CH_COUNT(contenders); i++)
		pthread_create(&contenders[i].thread, NULL, contend, &contenders[i]);
	for (size_t i = 0; i < CH_COUNT(contenders); i++) {
		pthread_join(contenders[i].thread, NULL);
		for (size_t n = 0; n < contenders[i].count; n++) {
			assert_in_range(contenders[i].numbers[n], 1, 40);
			assert_false(seen[contenders[i].numbers[n]]);
			seen[contenders[i].numbers[n]] = true;
		}
	}
	assert_int_equal(newest(*state), 40);
}

static void the_last_few_keep_their_der(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(crl_record) old = CH_NONE, recent = CH_NONE;
	struct ch_error err;

	for (int i = 0; i < 4; i++)
		publish_one(fixture, true);
	assert_true(crl_store_read(fixture->crl.db, fixture->ca.ca.ca_id, 1, &old, &err));
	assert_int_equal(old.der.size, 0);
	assert_true(crl_store_read(fixture->crl.db, fixture->ca.ca.ca_id, 2, &recent, &err));
	assert_int_equal(recent.der.size, 3);
}

static void a_repeated_message_finds_what_it_made(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) lease = take(fixture);
	CH_AUTO(crl_record) record = CH_NONE, found = CH_NONE, none = CH_NONE;
	const uint8_t id[16] = { 1, (uint8_t)counter }, other[16] = { 2, (uint8_t)counter };
	struct ch_error err;

	assert_true(crl_store_reserve(&fixture->crl, lease, &fixture->ca.ca, id, &record, &err));
	assert_true(crl_store_of_request(fixture->crl.db, fixture->ca.ca.ca_id, id, &none, &err));
	assert_int_equal(none.number, 0); /* not published yet */
	assert_true(publish(fixture, lease, record.number, &err));
	assert_true(crl_store_of_request(fixture->crl.db, fixture->ca.ca.ca_id, id, &found, &err));
	assert_int_equal(found.number, record.number);
	assert_true(crl_store_of_request(fixture->crl.db, fixture->ca.ca.ca_id, other, &none, &err));
	assert_int_equal(none.number, 0);
}

/* --- entries --- */

static void in_log(const struct fixture *fixture, const char *serial, const char *action, int reason)
{
	postgres_does(
		"WITH head AS (UPDATE revocation_log_head SET sequence = sequence + 1 RETURNING sequence)"
		" INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, revoked_at)"
		" SELECT sequence, 'default', %lld, '\\x%s', '%s', %d, '2026-06-01Z' FROM head",
		(long long)fixture->ca.ca.ca_id, serial, action, reason);
}

/* The serial's first two octets are its period. */
static void certificate(const struct fixture *fixture, const char *serial, const char *status,
			const char *not_after, int period)
{
	postgres_does(
		"INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
		"profile_version, "
		"subject, public_key_sha256, not_before, not_after, requested_by, reserved_by, revoked_at, "
		"revocation_reason, invalidity_date) VALUES (%d, %lld, '\\x%s', 'default', '%s', 'p', 1, '', "
		"'', "
		"'2026-01-01Z', '%s', '', '', '2026-06-01Z', 1, NULL)",
		period, (long long)fixture->ca.ca.ca_id, serial, status, not_after);
	if (strcmp(status, "revoked") == 0)
		in_log(fixture, serial, "revoked", 1);
	if (strcmp(status, "suspended") == 0)
		in_log(fixture, serial, "suspended", 6);
}

static void certificate_revoked_at(const struct fixture *fixture, const char *serial, const char *not_after,
				   const char *revoked_at, int period)
{
	certificate(fixture, serial, "issued", not_after, period);
	postgres_does(
		"WITH head AS (UPDATE revocation_log_head SET sequence = sequence + 1 RETURNING sequence)"
		" INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, revoked_at)"
		" SELECT sequence, 'default', %lld, '\\x%s', 'revoked', 1, '%s' FROM head",
		(long long)fixture->ca.ca.ca_id, serial, revoked_at);
}

struct seen {
	char text[512]; /* "serial/reason " for each */
	size_t batches;
};

static bool see(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	struct seen *seen = context;
	CH_AUTO(ch_string) hex = ch_hex(entry->serial);
	size_t used = strlen(seen->text);

	snprintf(seen->text + used, sizeof(seen->text) - used, "%s/%d ", hex, entry->reason);
	return true;
}

static bool see_batch(void *context, struct ch_error *err)
{
	((struct seen *)context)->batches++;
	return true;
}

static void assert_entries(struct fixture *fixture, const char *expected)
{
	struct seen seen = CH_NONE;
	int64_t sequence = -1;
	struct ch_error err;

	if (!crl_store_revoked(fixture->crl.db, &fixture->ca.ca, &sequence, see, see_batch, &seen, &err))
		fail_msg("%s", err.message);
	assert_string_equal(seen.text, expected);
	assert_true(sequence >= 0);
	assert_true(seen.batches <= 1);
}

static void revoked_and_suspended_are_entries_and_nothing_else_is(void **state)
{
	struct fixture *fixture = *state;

	certificate(fixture, "02aa01", "revoked", "2027-03-15Z", 682);
	certificate(fixture, "02aa02", "suspended", "2027-03-15Z", 682);
	certificate(fixture, "02aa03", "issued", "2027-03-15Z", 682);
	certificate(fixture, "02aa04", "pending", "2027-03-15Z", 682);
	certificate(fixture, "02aa05", "cancelled", "2027-03-15Z", 682);
	assert_entries(fixture, "02aa01/1 02aa02/6 ");
	in_log(fixture, "02aa02", "reinstated", 8);
	assert_entries(fixture, "02aa01/1 ");
}

/* Whatever the columns of certificates say, and whoever wrote them. */
static void entries_are_what_the_log_says(void **state)
{
	struct fixture *fixture = *state;

	certificate(fixture, "02aa01", "issued", "2027-03-15Z", 682);
	in_log(fixture, "02aa01", "revoked", 4);
	assert_entries(fixture, "02aa01/4 ");
}

/* Signed outside of the suite, or lost with a database. Nobody knows its end. */
static void a_serial_that_no_row_has_is_an_entry_for_good(void **state)
{
	struct fixture *fixture = *state;

	in_log(fixture, "0123456789", "revoked", 1);
	in_log(fixture, "7f", "revoked", 1);
	now_us = T0 + 365 * CH_DAY;
	publish_one(fixture, true);
	publish_one(fixture, true);
	assert_entries(fixture, "0123456789/1 7f/1 ");
}

/* RFC 5280 §3.3: an entry must not be removed until it was on one scheduled CRL beyond the certificate's
 * validity. */
static void an_expired_entry_stays_for_one_scheduled_crl(void **state)
{
	struct fixture *fixture = *state;

	certificate(fixture, "02aa00", "revoked", "2026-11-21 01:00Z", 682); /* expires an hour after T0 */
	certificate(fixture, "02ae01", "revoked", "2027-03-15Z", 686);
	publish_one(fixture, true); /* at T0: before the end */

	now_us = T0 + 2 * CH_HOUR;
	assert_entries(fixture, "02aa00/1 02ae01/1 "); /* the first one beyond the end */
	publish_one(fixture, false);
	assert_entries(fixture, "02aa00/1 02ae01/1 "); /* that one was on demand: it does not count */
	publish_one(fixture, true);
	assert_entries(fixture, "02ae01/1 ");
}

/* The certificate ended before the last scheduled CRL, and its revocation came after that: no CRL had it. */
static void what_is_revoked_after_its_end_is_an_entry_once(void **state)
{
	struct fixture *fixture = *state;

	now_us = T0 + 2 * CH_HOUR;
	publish_one(fixture, true);
	certificate_revoked_at(fixture, "02aa00", "2026-11-21 01:00Z", "2026-11-21 03:00Z", 682);
	certificate_revoked_at(fixture, "02aa01", "2026-11-21 01:00Z", "2026-11-21 01:30Z", 682);
	now_us = T0 + 4 * CH_HOUR;
	assert_entries(fixture, "02aa00/1 ");
	publish_one(fixture, true);
	assert_entries(fixture, "");
}

static void without_a_crl_yet_even_expired_certificates_are_entries(void **state)
{
	struct fixture *fixture = *state;

	certificate(fixture, "02a001", "revoked", "2026-01-15Z", 672);
	assert_entries(fixture, "02a001/1 ");
}

/* --- audit events --- */

static void a_publication_and_its_event_are_one(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_lease) lease = take(fixture);
	struct ch_error err;

	postgres_does("TRUNCATE audit_outbox");
	assert_false(publish(fixture, lease, 99, &err)); /* not reserved */
	postgres_does("SELECT 1 / (count(*) = 0)::int FROM audit_outbox");
	assert_true(publish(fixture, lease, reserve(fixture, lease, true), &err));
	postgres_does(
		"SELECT 1 / (count(*) = 1 AND bool_and(signed_event = 'event' AND service = 'crl'))::int "
		"FROM audit_outbox");
}

int main(void)
{
#define WITH_A_CA(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_A_CA(one_holder_at_a_time),
		WITH_A_CA(a_lease_that_ended_can_be_taken_and_its_old_holder_hears_of_it),
		WITH_A_CA(a_lease_is_renewed_after_a_third_of_its_term),
		WITH_A_CA(a_restarted_instance_frees_what_it_held),
		WITH_A_CA(numbers_count_from_1_and_a_published_one_is_the_newest),
		WITH_A_CA(a_reserved_number_of_a_dead_holder_is_abandoned_and_never_used_again),
		WITH_A_CA(a_number_given_up_is_not_used_again),
		WITH_A_CA(many_at_once_never_make_a_number_twice),
		WITH_A_CA(the_last_few_keep_their_der),
		WITH_A_CA(a_repeated_message_finds_what_it_made),
		WITH_A_CA(revoked_and_suspended_are_entries_and_nothing_else_is),
		WITH_A_CA(entries_are_what_the_log_says),
		WITH_A_CA(a_serial_that_no_row_has_is_an_entry_for_good),
		WITH_A_CA(an_expired_entry_stays_for_one_scheduled_crl),
		WITH_A_CA(what_is_revoked_after_its_end_is_an_entry_once),
		WITH_A_CA(without_a_crl_yet_even_expired_certificates_are_entries),
		WITH_A_CA(a_publication_and_its_event_are_one),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
