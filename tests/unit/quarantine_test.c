/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quarantine_test.c: an event that is not genuine is kept apart and acknowledged, one that cannot be judged
 * yet is to be sent again, and neither stops the events around it (services/audit, on a real PostgreSQL).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "postgres.h"

#include "collector.h"

#define STORED      CHANCERY__EVENT_FATE__EVENT_STORED
#define QUARANTINED CHANCERY__EVENT_FATE__EVENT_QUARANTINED
#define LATER       CHANCERY__EVENT_FATE__EVENT_LATER

/* --- asking ------------------------------------------------------------------------------------------------
 */

static int64_t count(struct fixture *f, const char *sql)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	const struct ch_statement statement = { sql, sql };
	struct ch_error err = CH_NONE;

	if (!ch_db_begin(f->audit.db, NULL, &transaction, &err) ||
	    !ch_db_query(transaction, &statement, CH_NO_PARAMETERS, &rows, &err))
		fail_msg("%s: %s", sql, err.message);
	return ch_rows_int64(rows, 0, 0);
}

static void assert_fates(const struct fixture *f, const char *fates)
{
	static const char letters[] = "sql"; /* stored, quarantined, later */

	for (size_t i = 0; fates[i]; i++)
		if (letters[f->fates[i]] != fates[i])
			fail_msg("event %zu: '%c' where '%c' was expected (%s)", i, letters[f->fates[i]],
				 fates[i], f->reason);
}

/* Brings what must be answered, and frees it. */
static uint64_t bring(struct fixture *f, struct ch_identity *brings, Chancery__SignedEvent **events,
		      size_t size)
{
	struct ch_error err = CH_NONE;
	uint64_t log_size = 0;

	if (!append(f, brings, events, size, &log_size, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < size; i++)
		chancery__signed_event__free_unpacked(events[i], NULL);
	return log_size;
}

static void assert_verifies(struct fixture *f)
{
	struct ch_audit_verify_options options = { .keeper = "audit",
						   .db = postgres_open("chancery_auditor", 1),
						   .system_ca = f->ca.path };
	CH_AUTO(ch_string) retired = ch_audit_retired_cas(f->ca.path);
	struct ch_audit_summary summary;
	struct ch_error err = CH_NONE;

	options.retired_system_cas = access(retired, F_OK) == 0 ? retired : NULL;
	if (!ch_audit_verify(&options, &summary, &err))
		fail_msg("%s", err.message);
	ch_db_close(options.db);
	assert_int_equal(summary.findings, 0);
}

/* --- what is false -----------------------------------------------------------------------------------------
 */

static void a_false_event_is_kept_apart_and_those_around_it_are_stored(void **state)
{
	struct fixture *f = *state;
	Chancery__SignedEvent *events[] = { make_event(f->issuer, 1, "a"), make_event(f->issuer, 2, "b"),
					    make_event(f->issuer, 3, "c") };
	CH_AUTO(ch_string) octets = NULL;

	events[1]->event.data[events[1]->event.len - 1] ^= 1;
	octets = ch_hex(ch_view(events[1]->event.data, events[1]->event.len));
	assert_int_equal(bring(f, f->issuer, events, 3), 2);
	assert_fates(f, "sqs");
	assert_non_null(strstr(f->reason, "does not verify"));
	assert_int_equal(ch_metric_value(f->audit.quarantined), 1);
	postgres_does("SELECT 1 / count(*) FROM audit_quarantine WHERE service = 'issuer' AND instance = "
		      "'issuer-1' AND received_by = 'audit-1' AND code = 'unauthenticated' AND "
		      "octets_sha256 = sha256(octets) AND position('\\x%s'::bytea IN octets) > 0",
		      octets);
	close_audit(f); /* its alerts are in the log now: of the event, and of the number that is missing */
	open_audit(f);
	assert_int_equal(
		count(f, "SELECT count(*) FROM audit_log WHERE type = 'audit.quarantined' AND subject = "
			 "'issuer/issuer-1' AND outcome = 'failure'"),
		1);
	assert_int_equal(count(f, "SELECT count(*) FROM audit_log WHERE type = 'audit.gap'"), 1);
	assert_verifies(f);
}

static void it_is_kept_once_however_often_it_is_sent(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		Chancery__SignedEvent *event =
			CH_PROTO_NEW(Chancery__SignedEvent, chancery__signed_event__init);

		event->event = (ProtobufCBinaryData){ 3, (uint8_t *)ch_strdup("abc") };
		bring(f, f->issuer, &event, 1);
		assert_fates(f, "q");
	}
	assert_int_equal(count(f, "SELECT count(*) FROM audit_quarantine WHERE octets = 'abc'"), 1);
	assert_int_equal(count(f, "SELECT hour_events FROM audit_quarantine_senders"), 1);
}

/* In a list of their own, so that each has its reason. */
static void each_kind_of_falsehood_stops_nobody(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) longest = ch_alloc(5001);
	CH_AUTO(ch_string) cut = ch_alloc(901);
	uint8_t id[16];
	static const char *const reasons[] = { "brought by",       "octets that are no signed",
					       "subject has 5000", "sequence 9223372036854775808",
					       "expired at",       "is signed by",
					       "does not decode",  "valid only from",
					       "no type" };

	memset(longest, 'x', 5000);
	for (size_t i = 0; i < 900; i++) /* of three octets each: no message ends between two of them */
		cut[i] = "\xe2\x82\xac"[i % 3];
	for (size_t i = 0; i < CH_COUNT(reasons); i++) {
		Chancery__Event event = plain_event(f->issuer, 0, id);
		Chancery__SignedEvent *events[3] = { make_event(f->issuer, 0, "a"), NULL,
						     make_event(f->issuer, 0, "b") };

		event.subject = i == 2 ? longest : event.subject;
		event.sequence = i == 3 ? (uint64_t)INT64_MAX + 1 : 0;
		event.type = i == 4 ? cut : i == 8 ? (char *)(uintptr_t) "" : event.type;
		event.time_us += i == 4 ? 2 * CH_HOUR : i == 7 ? -2 * CH_HOUR : 0;
		event.instance = i == 5 ? (char *)(uintptr_t) "issuer-2" : event.instance;
		events[1] = sign_event(i == 0 ? f->ocsp : f->issuer, &event);
		if (i == 0) {
			chancery__signed_event__free_unpacked(events[1], NULL);
			events[1] = make_event(f->ocsp, 0, "c");
		}
		if (i == 1) {
			free(events[1]->signature.data);
			free(events[1]->certificate.data);
			events[1]->signature = events[1]->certificate = (ProtobufCBinaryData)CH_NONE;
		}
		if (i == 6)
			events[1]->event.data[0] = 0xff;
		bring(f, f->issuer, events, 3);
		assert_fates(f, "sqs");
		if (!strstr(f->reason, reasons[i]))
			fail_msg("'%s' is not in '%s'", reasons[i], f->reason);
	}
	assert_int_equal(count(f, "SELECT count(*) FROM audit_quarantine"), CH_COUNT(reasons));
	assert_verifies(f);
}

static void an_id_is_its_senders_own(void **state)
{
	struct fixture *f = *state;
	uint8_t id[16];
	Chancery__Event of_ocsp = plain_event(f->ocsp, 1, id);
	Chancery__Event of_issuer = plain_event(f->issuer, 1, id);
	Chancery__SignedEvent *first, *events[3];

	of_ocsp.event_id.data = of_issuer.event_id.data = id;
	first = sign_event(f->ocsp, &of_ocsp);
	bring(f, f->ocsp, &first, 1);
	events[0] = sign_event(f->issuer, &of_issuer);
	of_issuer.actor = (char *)(uintptr_t) "mallory";
	of_issuer.sequence = 2;
	events[1] = sign_event(f->issuer, &of_issuer); /* its own id a second time */
	events[2] = make_event(f->issuer, 3, "c");
	assert_int_equal(bring(f, f->issuer, events, 3), 3);
	assert_fates(f, "sqs");
	assert_non_null(strstr(f->reason, "for another event"));
	of_issuer.sequence = 4;
	events[0] = sign_event(f->issuer, &of_issuer); /* against the log this time */
	bring(f, f->issuer, events, 1);
	assert_fates(f, "q");
	assert_int_equal(count(f, "SELECT count(*) FROM audit_log WHERE actor = 'mallory'"), 0);
	close_audit(f);
	open_audit(f);
	assert_verifies(f);
}

/* What it signed before the refusal stays good; what was signed after is false; a new identity goes on. */
static void a_refused_identitys_events_do_not_stay_at_the_head_of_its_spool(void **state)
{
	struct fixture *f = *state;
	int serial = f->ca.issued - 1; /* audit, issuer, ocsp */
	CH_AUTO(ch_bytes) crl = system_ca_crl(&f->ca, 1, &serial, 1, 0, false);
	struct ch_identity_config files;
	struct ch_identity *renewed = NULL;
	Chancery__SignedEvent *events[3];
	struct ch_error err = CH_NONE;
	uint8_t id[16];
	Chancery__Event event = plain_event(f->issuer, 1, id);

	event.time_us -= 10 * CH_SECOND;
	events[0] = sign_event(f->issuer, &event);
	event = plain_event(f->issuer, 2, id);
	event.time_us += 10 * CH_SECOND;
	events[1] = sign_event(f->issuer, &event);
	assert_true(ch_trust_refuse(ch_identity_trust(f->audit.identity), ch_view_of(&crl), NULL, &err));
	system_ca_issue(&f->ca, "issuer", "issuer-1", -60, 3600, &files);
	assert_true(ch_identity_load(&files, NULL, NULL, &renewed, &err));
	events[2] = make_event(renewed, 3, "c");
	bring(f, renewed, events, 3);
	assert_fates(f, "sqs");
	assert_non_null(strstr(f->reason, "is refused since"));
	ch_identity_free(renewed);
	system_ca_forget(&files);
}

/* --- what cannot be judged yet -----------------------------------------------------------------------------
 */

static int64_t moved_us;

static int64_t moved(void *context)
{
	return ch_clock_now_us(ch_clock_system()) + moved_us;
}

struct other { /* another system CA, and an issuer of it */
	struct system_ca ca;
	struct ch_identity_config files;
	struct ch_identity *issuer;
};

static void make_other(struct other *o)
{
	system_ca_make(&o->ca);
	system_ca_issue(&o->ca, "issuer", "issuer-2", -60, 3600, &o->files);
	assert_true(ch_identity_load(&o->files, NULL, NULL, &o->issuer, NULL));
}

static void remove_other(struct other *o)
{
	ch_identity_free(o->issuer);
	system_ca_forget(&o->files);
	system_ca_remove(&o->ca);
}

static void copy_certificate(const char *from, const char *to)
{
	CH_AUTO(ch_bytes) content = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(ch_read_file(from, 65536, &content, &err));
	assert_true(ch_write_file(to, ch_view_of(&content), 0400, &err));
}

/* Numbered ones wait behind it, in their order; those of transactions do not. */
static void of_a_ca_that_is_not_known_yet_it_is_sent_again(void **state)
{
	const struct ch_clock clock = { moved, NULL };
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	struct other o;
	uint64_t size = 0;

	make_other(&o);
	close_audit(f);
	f->clock = &clock;
	moved_us = 0;
	open_audit(f);
	for (int round = 0; round < 3; round++) {
		Chancery__SignedEvent *events[] = { make_event(f->issuer, 0, "a"),
						    make_event(o.issuer, 1, "b"),
						    make_event(f->issuer, 0, "c"),
						    make_event(f->issuer, 1, "d") };

		moved_us = round < 2 ? round * (WAITING_PATIENCE - CH_MINUTE) : WAITING_PATIENCE + CH_MINUTE;
		f->old_sender = round == 0;
		if (round == 0) { /* one that would take an answer for "all are stored" gets none */
			assert_false(append(f, f->issuer, events, 4, &size, &err));
			assert_int_equal(err.code, CH_UNAVAILABLE);
			f->old_sender = false;
		}
		bring(f, f->issuer, events, 4);
		assert_fates(f, round < 2 ? "slsl" : "sqss");
		assert_non_null(strstr(f->reason, "does not chain"));
	}
	assert_int_equal(count(f, "SELECT count(*) FROM audit_quarantine"), 1);
	remove_other(&o);
}

static void of_a_ca_that_was_rolled_over_it_is_genuine(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) retired = ch_audit_retired_cas(f->ca.path);
	Chancery__SignedEvent *event;
	struct other o;

	make_other(&o);
	event = make_event(o.issuer, 1, "a");
	bring(f, f->issuer, &event, 1);
	assert_fates(f, "l");
	copy_certificate(o.ca.path, retired); /* read when it is needed, while the daemon runs */
	event = make_event(o.issuer, 1, "a");
	bring(f, f->issuer, &event, 1);
	assert_fates(f, "s");
	event = make_event(o.issuer, 2, "b");
	event->event.data[event->event.len - 1] ^= 1;
	bring(f, f->issuer, &event, 1);
	assert_fates(f, "q");
	assert_verifies(f);
	unlink(retired);
	remove_other(&o);
}

static void signers_wait_each_for_themselves_and_not_for_ever(void **state)
{
	struct waiting *waiting = waiting_new();
	uint8_t digest[32] = { 0 };

	for (uint8_t i = 0; i < 64; i++) {
		digest[0] = i;
		assert_true(waiting_may(waiting, digest, 0));
	}
	digest[0] = 64; /* no room: kept in quarantine at once */
	assert_false(waiting_may(waiting, digest, 0));
	digest[0] = 1;
	assert_true(waiting_may(waiting, digest, WAITING_PATIENCE - 1));
	assert_false(waiting_may(waiting, digest, WAITING_PATIENCE));
	digest[0] = 64; /* those that nobody asks for any more make room */
	assert_true(waiting_may(waiting, digest, WAITING_PATIENCE + 1));
	waiting_free(waiting);
}

/* --- room --------------------------------------------------------------------------------------------------
 */

static void bring_garbage(struct fixture *f, struct ch_identity *brings, size_t size, size_t octets)
{
	static uint32_t number;
	Chancery__SignedEvent *events[EVENTS_PER_REQUEST];

	for (size_t i = 0; i < size; i++) {
		events[i] = CH_PROTO_NEW(Chancery__SignedEvent, chancery__signed_event__init);
		events[i]->event = (ProtobufCBinaryData){ octets, ch_alloc(octets) };
		number++;
		memcpy(events[i]->event.data, &number, sizeof(number));
	}
	bring(f, brings, events, size);
}

static void a_flood_fills_its_senders_room_alone(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		bring_garbage(f, f->issuer, 256, 100);
		assert_fates(f, "qqq");
	}
	bring_garbage(f, f->issuer, 256, 100);
	assert_int_equal(f->fates[QUARANTINE_HOUR_EVENTS - 3 * 256 - 1], QUARANTINED);
	assert_int_equal(f->fates[QUARANTINE_HOUR_EVENTS - 3 * 256], LATER); /* the sender keeps it */
	assert_int_equal(f->fates[255], LATER);
	assert_int_equal(count(f, "SELECT count(*) FROM audit_quarantine"), QUARANTINE_HOUR_EVENTS);
	assert_int_equal(ch_metric_value(f->audit.no_room), 1024 - QUARANTINE_HOUR_EVENTS);
	bring_garbage(f, f->ocsp, 1, 100); /* another's room */
	assert_fates(f, "q");
	postgres_does("UPDATE audit_quarantine_senders SET hour_began = now() - interval '61 minutes'");
	bring_garbage(f, f->issuer, 1, 100);
	assert_fates(f, "q");
	close_audit(f); /* a flood of alerts it is not */
	open_audit(f);
	assert_in_range(count(f, "SELECT count(*) FROM audit_log WHERE type = 'audit.quarantined'"), 4, 7);
}

static void room_is_counted_in_octets_too_and_is_freed_by_deleting(void **state)
{
	struct fixture *f = *state;
	size_t most = QUARANTINE_HOUR_OCTETS / (60 * 1024);

	bring_garbage(f, f->issuer, most + 1, 60 * 1024);
	assert_int_equal(f->fates[most - 1], QUARANTINED);
	assert_int_equal(f->fates[most], LATER);
	postgres_does("UPDATE audit_quarantine_senders SET hour_began = now() - interval '61 minutes',"
		      " events = %d",
		      QUARANTINE_EVENTS);
	bring_garbage(f, f->issuer, 1, 100);
	assert_fates(f, "l");
	assert_non_null(strstr(f->reason, "is full"));
	postgres_does("DELETE FROM audit_quarantine");
	bring_garbage(f, f->issuer, 1, 100);
	assert_fates(f, "q");
}

static void the_first_alerts_come_singly_and_then_at_each_doubling(void **state)
{
	unsigned told = 0;

	for (uint64_t i = 0; i < 1000; i++)
		told += quarantine_tells(i, i + 1);
	assert_int_equal(told, 10 + 6); /* 16, 32, 64 … 512 */
	assert_true(quarantine_tells(0, 256));
	assert_true(quarantine_tells(200, 300));
	assert_false(quarantine_tells(300, 500));
	assert_false(quarantine_tells(5, 5));
}

/* --- looking at it -----------------------------------------------------------------------------------------
 */

static void the_list_says_what_was_claimed_and_pages(void **state)
{
	struct fixture *f = *state;
	Chancery__SignedEvent *event = make_event(f->issuer, 7, "claimed-subject");
	Chancery__ListQuarantineRequest request = CHANCERY__LIST_QUARANTINE_REQUEST__INIT;
	Chancery__ListQuarantineReply *reply;
	struct ch_error err = CH_NONE;

	event->event.data[2] ^= 1; /* of the id: it still decodes */
	bring(f, f->issuer, &event, 1);
	bring_garbage(f, f->ocsp, 2, 10);
	request.limit = 2;
	reply = CH_PROTO_NEW(Chancery__ListQuarantineReply, chancery__list_quarantine_reply__init);
	assert_true(quarantine_list(&f->audit, &request, reply, &err));
	assert_int_equal(reply->n_events, 2);
	assert_string_equal(reply->events[0]->instance, "issuer-1");
	assert_string_equal(reply->events[0]->code, "unauthenticated");
	assert_string_equal(reply->events[0]->claimed->subject, "claimed-subject");
	assert_int_equal(reply->events[0]->claimed->sequence, 7);
	assert_null(reply->events[1]->claimed);
	assert_int_equal(reply->events[1]->octets.len, 10);
	request.after_id = reply->next_after_id;
	assert_true(request.after_id > 0);
	ch_proto_free(&reply->base);
	reply = CH_PROTO_NEW(Chancery__ListQuarantineReply, chancery__list_quarantine_reply__init);
	assert_true(quarantine_list(&f->audit, &request, reply, &err));
	assert_int_equal(reply->n_events, 1);
	assert_int_equal(reply->next_after_id, 0);
	request.limit = 101;
	assert_false(quarantine_list(&f->audit, &request, reply, &err));
	ch_proto_free(&reply->base);
}

static void no_daemon_may_change_it(void **state)
{
	static const struct ch_statement changes[] = {
		{ "test_update", "UPDATE audit_quarantine SET reason = ''" },
		{ "test_delete", "DELETE FROM audit_quarantine" },
		{ "test_truncate", "TRUNCATE audit_quarantine" },
	};
	static const char *const roles[] = { "chancery_audit", "chancery_issuer", "chancery_vault",
					     "chancery_auditor" };
	struct fixture *f = *state;

	bring_garbage(f, f->issuer, 1, 100);
	for (size_t i = 0; i < CH_COUNT(roles) * CH_COUNT(changes); i++) {
		CH_AUTO(ch_db) db = postgres_open(roles[i / CH_COUNT(changes)], 1);
		CH_AUTO(ch_transaction) transaction = NULL;
		struct ch_error err = CH_NONE;

		assert_true(ch_db_begin(db, NULL, &transaction, &err));
		assert_false(ch_db_query(transaction, &changes[i % CH_COUNT(changes)], CH_NO_PARAMETERS, NULL,
					 &err));
		assert_int_equal(err.code, CH_DENIED);
	}
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_false_event_is_kept_apart_and_those_around_it_are_stored),
		TEST(it_is_kept_once_however_often_it_is_sent),
		TEST(each_kind_of_falsehood_stops_nobody),
		TEST(an_id_is_its_senders_own),
		TEST(a_refused_identitys_events_do_not_stay_at_the_head_of_its_spool),
		TEST(of_a_ca_that_is_not_known_yet_it_is_sent_again),
		TEST(of_a_ca_that_was_rolled_over_it_is_genuine),
		TEST(a_flood_fills_its_senders_room_alone),
		TEST(room_is_counted_in_octets_too_and_is_freed_by_deleting),
		TEST(the_list_says_what_was_claimed_and_pages),
		TEST(no_daemon_may_change_it),
		cmocka_unit_test(signers_wait_each_for_themselves_and_not_for_ever),
		cmocka_unit_test(the_first_alerts_come_singly_and_then_at_each_doubling),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
