/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl_contain_test.c: a CRL has the entries of the one before but for those that may leave
 * (services/crl/contain.c), against a real PostgreSQL as the role chancery_crl, with lists that are really
 * signed.
 */
#include "crl_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

/* --- lists --- */

struct entry {
	const char *serial; /* hex */
	int reason;
};

static struct ch_crl_entry entry_of(const struct entry *entry, struct ch_bytes *serial)
{
	struct ch_error err;

	assert_true(ch_unhex(entry->serial, serial, &err));
	return (struct ch_crl_entry){ ch_view_of(serial), T0 - CH_DAY, entry->reason, 0 };
}

static void begin(const struct fixture *fixture, struct ch_crl_builder *builder)
{
	const struct ch_crl_issuer issuer = { .algorithm = fixture->ca.ca.algorithm,
					      .subject_der = ch_view_of(&fixture->ca.ca.subject_der) };

	ch_crl_begin(builder, &issuer, T0, T0 + CH_DAY);
}

static struct ch_bytes finish(const struct fixture *fixture, struct ch_crl_builder *builder)
{
	const struct ch_crl_issuer issuer = { .algorithm = fixture->ca.ca.algorithm };

	return ch_crl_finish(builder, &issuer, 7);
}

/* CRL 7 of the CA, as it was published. */
static struct crl_record published(const struct fixture *fixture, const struct entry *entries, size_t count)
{
	CH_AUTO(ch_crl_builder) builder = CH_NONE;
	CH_AUTO(ch_bytes) tbs = CH_NONE;
	struct ch_error err;

	begin(fixture, &builder);
	for (size_t i = 0; i < count; i++) {
		CH_AUTO(ch_bytes) serial = CH_NONE;
		struct ch_crl_entry entry = entry_of(&entries[i], &serial);

		assert_true(ch_crl_add(&builder, &entry, &err));
	}
	tbs = finish(fixture, &builder);
	return (struct crl_record){ .number = 7,
				    .this_update_us = T0,
				    .next_update_us = T0 + CH_DAY,
				    .der = signed_list(fixture, ch_view_of(&tbs)) };
}

static bool add_to_text(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	CH_AUTO(ch_string) hex = ch_hex(entry->serial);

	(void)err;
	ch_buffer_printf(context, "%s/%d ", hex, entry->reason);
	return true;
}

static bool add_to_list(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	return crl_list_add(context, entry, err);
}

/* The next list: "serial/reason " for each entry; the caller frees it. */
static char *next_list(struct fixture *fixture, struct crl_making *making)
{
	CH_AUTO(ch_bytes) tbs = CH_NONE;
	CH_AUTO(ch_buffer) text = CH_NONE;
	int64_t sequence;
	struct ch_error err;

	making->crl = &fixture->crl;
	making->ca = &fixture->ca.ca;
	begin(fixture, &making->list.builder);
	if (!crl_store_revoked(fixture->crl.db, making->ca, &sequence, add_to_list, NULL, &making->list,
			       &err) ||
	    !crl_contain(making, &err))
		fail_msg("%s", err.message);
	tbs = finish(fixture, &making->list.builder);
	if (!ch_crl_entries(ch_view_of(&tbs), ch_view_of(&making->ca->subject_der), add_to_text, &text, &err))
		fail_msg("%s", err.message);
	return ch_buffer_steal_text(&text);
}

/* kept: what an event tells of. */
static void assert_next(struct fixture *fixture, const struct entry *before, size_t count,
			const char *expected, const char *kept)
{
	CH_AUTO(crl_making) making = CH_NONE;
	CH_AUTO(ch_string) list = NULL, serials = NULL;

	making.previous = published(fixture, before, count);
	list = next_list(fixture, &making);
	serials = ch_buffer_steal_text(&making.list.kept_serials);
	assert_string_equal(list, expected);
	assert_string_equal(serials ? serials : "", kept);
	assert_string_equal(making.list.unreadable.message, "");
}

/* --- the database --- */

static void in_log(const struct fixture *fixture, const char *serial, const char *action, int reason)
{
	postgres_does(
		"WITH head AS (UPDATE revocation_log_head SET sequence = sequence + 1 RETURNING sequence)"
		" INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, revoked_at)"
		" SELECT sequence, 'default', %lld, '\\x%s', '%s', %d, '2026-06-01Z' FROM head",
		(long long)fixture->ca.ca.ca_id, serial, action, reason);
}

static void certificate(const struct fixture *fixture, const char *serial, const char *not_after, int period)
{
	postgres_does("INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
		      "profile_version, subject, public_key_sha256, not_before, not_after, requested_by, "
		      "reserved_by) VALUES (%d, %lld, '\\x%s', 'default', 'issued', 'p', 1, '', '', "
		      "'2026-01-01Z', '%s', '', '')",
		      period, (long long)fixture->ca.ca.ca_id, serial, not_after);
}

/* That a scheduled list was published then. */
static void scheduled_list(const struct fixture *fixture, const char *this_update)
{
	postgres_does("INSERT INTO crls (ca_id, crl_number, tenant_id, state, scheduled, this_update, "
		      "next_update, log_sequence, made_by) VALUES (%lld, 7, 'default', 'published', true, "
		      "'%s', '2027-06-01Z', 0, 'crl-1')",
		      (long long)fixture->ca.ca.ca_id, this_update);
}

/* --- what stays and what leaves --- */

static void what_the_log_knows_is_there_once(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "02aa01", 1 }, { "02aa02", 6 } };

	in_log(fixture, "02aa01", "revoked", 1);
	in_log(fixture, "02aa02", "suspended", 6);
	in_log(fixture, "02aa03", "revoked", 4);
	assert_next(fixture, before, CH_COUNT(before), "02aa01/1 02aa02/6 02aa03/4 ", "");
}

/* As after a fail-over to a replica that was behind, or a restore. */
static void an_entry_that_the_log_has_lost_stays_and_is_told(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "02aa01", 1 }, { "02aa02", 6 }, { "02aa03", 0 } };

	in_log(fixture, "02aa03", "revoked", 0);
	assert_next(fixture, before, CH_COUNT(before), "02aa03/0 02aa01/1 02aa02/6 ", "02aa01,02aa02");
}

static void a_hold_that_was_lifted_leaves(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "02aa01", 6 } };

	in_log(fixture, "02aa01", "suspended", 6);
	in_log(fixture, "02aa01", "reinstated", 8);
	assert_next(fixture, before, CH_COUNT(before), "", "");
}

/* The log's triggers do not let that happen; a list does not rely on it. */
static void a_revocation_that_was_turned_into_a_lifted_hold_stays_and_is_told(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "02aa01", 1 } };

	in_log(fixture, "02aa01", "suspended", 6);
	in_log(fixture, "02aa01", "reinstated", 8);
	assert_next(fixture, before, CH_COUNT(before), "02aa01/1 ", "02aa01");
}

/* RFC 5280 §3.3 */
static void an_expired_entry_leaves_once_it_was_on_a_scheduled_list(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "02a801", 1 } };

	certificate(fixture, "02a801", "2026-09-10Z", 680);
	in_log(fixture, "02a801", "revoked", 1);
	assert_next(fixture, before, CH_COUNT(before), "02a801/1 ", "");
	scheduled_list(fixture, "2026-11-20Z");
	assert_next(fixture, before, CH_COUNT(before), "", "");
}

static void an_expired_entry_that_the_log_has_lost_stays(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "02a801", 1 } };

	certificate(fixture, "02a801", "2026-09-10Z", 680);
	scheduled_list(fixture, "2026-11-20Z");
	assert_next(fixture, before, CH_COUNT(before), "02a801/1 ", "02a801");
}

/* Serials are compared as numbers: DER puts a zero octet before a high bit. */
static void a_serial_with_its_top_bit_set_is_the_same_serial(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "80aa01", 1 }, { "ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00", 4 } };

	in_log(fixture, "80aa01", "revoked", 1);
	assert_next(fixture, before, CH_COUNT(before), "80aa01/1 ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00/4 ",
		    "ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00");
}

/* However the database orders what is revoked, and however much serials have in common. */
static void each_serial_is_found_among_others(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = {
		{ "02aa01", 1 }, { "7f", 1 }, { "80aa0102", 1 }, { "03aa01", 1 }, { "01", 1 }
	};

	in_log(fixture, "80aa0102", "revoked", 1);
	in_log(fixture, "02aa01", "revoked", 1);
	in_log(fixture, "7f", "revoked", 1);
	assert_next(fixture, before, CH_COUNT(before), "02aa01/1 7f/1 80aa0102/1 03aa01/1 01/1 ",
		    "03aa01,01");
}

static void of_many_all_stay_and_the_first_are_named(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(crl_making) making = CH_NONE;
	CH_AUTO(ch_string) list = NULL;
	struct entry before[2500];
	char serials[2500][16];
	size_t commas = 0;

	for (int i = 0; i < 2500; i++) {
		snprintf(serials[i], sizeof(serials[i]), "02aa%04x", i);
		before[i] = (struct entry){ serials[i], 1 };
	}
	making.previous = published(fixture, before, CH_COUNT(before));
	list = next_list(fixture, &making);
	assert_int_equal(making.list.builder.entries, 2500);
	assert_int_equal(making.list.kept, 2500);
	for (size_t i = 0; i < making.list.kept_serials.used; i++)
		commas += making.list.kept_serials.data[i] == ',';
	assert_int_equal(commas + 1, CRL_KEPT_NAMED);
}

/* --- the list before --- */

/* A list must come out whatever somebody wrote into the column. */
static void what_is_no_list_of_the_ca_is_told_and_stops_nothing(void **state)
{
	struct fixture *fixture = *state;
	const struct entry before[] = { { "02aa01", 1 } };
	CH_AUTO(crl_record) good = published(fixture, before, 1);

	in_log(fixture, "02aa02", "revoked", 1);
	for (size_t changed = 0; changed < good.der.size; changed++) {
		CH_AUTO(crl_making) making = { .previous = { .number = 7 } };
		CH_AUTO(ch_string) list = NULL;

		making.previous.der = ch_bytes_copy(ch_view_of(&good.der));
		making.previous.der.data[changed] ^= 0x41;
		list = next_list(fixture, &making);
		assert_string_equal(list, "02aa02/1 ");
		assert_true(making.list.unreadable.message[0]);
	}
}

static void without_a_list_before_there_is_nothing_to_keep(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(crl_making) making = CH_NONE;
	CH_AUTO(ch_string) list = NULL;

	in_log(fixture, "02aa02", "revoked", 1);
	list = next_list(fixture, &making);
	assert_string_equal(list, "02aa02/1 ");
	assert_string_equal(making.list.unreadable.message, "");
}

/* A database that was set back does not know what this instance has published since. */
static void the_newer_of_what_is_served_and_what_the_database_has_is_the_one_before(void **state)
{
	struct fixture *fixture = *state;
	const struct entry entries[] = { { "02aa01", 1 } };
	CH_AUTO(crl_record) served = published(fixture, entries, 1);
	CH_AUTO(crl_record) none = CH_NONE, stored = CH_NONE, newer = CH_NONE;
	struct ch_error err;

	assert_true(crl_previous(&fixture->crl, &fixture->ca.ca, &none, &err));
	assert_int_equal(none.number, 0);
	scheduled_list(fixture, "2026-11-20Z"); /* 7 */
	assert_true(crl_previous(&fixture->crl, &fixture->ca.ca, &stored, &err));
	assert_int_equal(stored.number, 7);
	assert_int_equal(stored.der.size, 0);
	served.number = 9;
	crl_board_put(fixture->crl.board, &fixture->ca.ca, &served);
	assert_true(crl_previous(&fixture->crl, &fixture->ca.ca, &newer, &err));
	assert_int_equal(newer.number, 9);
	assert_int_equal(newer.this_update_us, T0);
	assert_true(ch_view_equal(ch_view_of(&newer.der), ch_view_of(&served.der)));
}

#define WITH_A_CA(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_A_CA(what_the_log_knows_is_there_once),
		WITH_A_CA(an_entry_that_the_log_has_lost_stays_and_is_told),
		WITH_A_CA(a_hold_that_was_lifted_leaves),
		WITH_A_CA(a_revocation_that_was_turned_into_a_lifted_hold_stays_and_is_told),
		WITH_A_CA(an_expired_entry_leaves_once_it_was_on_a_scheduled_list),
		WITH_A_CA(an_expired_entry_that_the_log_has_lost_stays),
		WITH_A_CA(a_serial_with_its_top_bit_set_is_the_same_serial),
		WITH_A_CA(each_serial_is_found_among_others),
		WITH_A_CA(of_many_all_stay_and_the_first_are_named),
		WITH_A_CA(what_is_no_list_of_the_ca_is_told_and_stops_nothing),
		WITH_A_CA(without_a_list_before_there_is_nothing_to_keep),
		WITH_A_CA(the_newer_of_what_is_served_and_what_the_database_has_is_the_one_before),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
