/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditlog_test.c: events are appended by the audit daemon's own code (services/audit) to a real PostgreSQL;
 * then a superuser does something to the table, and the verifier must find and name it.
 */
#include "audit.h"

#include <openssl/x509.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "postgres.h"

#include "collector.h"

#define EVENTS 20

/* What checkpoint.c does, with the test's key. */
static void make_checkpoint(struct fixture *f, bool with_file)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_audit_checkpoint checkpoint = { .origin = (char *)(uintptr_t) "test" };
	struct log_head head;
	struct ch_error err = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	CH_AUTO(ch_string) file = ch_format("%s/" CH_AUDIT_CHECKPOINT_FILE, f->state);
	CH_AUTO(ch_string) key = ch_format("%s/" CH_AUDIT_CHECKPOINT_KEY, f->state);
	CH_AUTO(ch_bytes) content = CH_NONE;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t signature[80], *der = NULL;
	size_t size = sizeof(signature);
	int der_size;

	assert_true(store_lock_checkpoints(f->audit.db, &transaction, &err));
	assert_true(store_head(transaction, &head, &err));
	checkpoint.log_size = head.size;
	memcpy(checkpoint.hash, head.hash, sizeof(head.hash));
	text = ch_audit_checkpoint_text(&checkpoint);
	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, f->key), 1);
	assert_int_equal(EVP_DigestSign(context, signature, &size, (const uint8_t *)text, strlen(text)), 1);
	EVP_MD_CTX_free(context);
	assert_true(store_checkpoint(transaction, head.size, text, "k", ch_view(signature, size), &err));
	assert_true(ch_db_commit(&transaction, &err));
	content = ch_audit_checkpoint_file(text, "k", ch_view(signature, size));
	if (with_file)
		assert_true(ch_write_file(file, ch_view_of(&content), 0644, &err));
	der_size = i2d_PUBKEY(f->key, &der);
	assert_true(ch_write_file(key, ch_view(der, (size_t)der_size), 0644, &err));
	OPENSSL_free(der);
}

/* --- verifying ---------------------------------------------------------------------------------------------
 */

static void told(void *context, const struct ch_audit_finding *finding)
{
	struct fixture *f = context;
	size_t used = strlen(f->told);

	f->findings++;
	snprintf(f->told + used, sizeof(f->told) - used, "[%s %llu] %s\n", finding->kind,
		 (unsigned long long)finding->sequence, finding->text);
}

static void verify_with(struct fixture *f, bool with_state)
{
	const char *const directories[] = { f->state };
	CH_AUTO(ch_string) key = ch_format("%s/" CH_AUDIT_CHECKPOINT_KEY, f->state);
	struct ch_audit_verify_options options = { .keeper = "audit",
						   .db = postgres_open("chancery_auditor", 1),
						   .system_ca = f->ca.path,
						   .state_directories = directories,
						   .state_directory_count = with_state,
						   .report = told,
						   .report_context = f };
	struct ch_error err = CH_NONE;
	bool walked;

	f->findings = 0;
	f->told[0] = 0;
	if (!with_state)
		options.checkpoint_key_file = key;
	walked = ch_audit_verify(&options, &f->summary, &err);
	ch_db_close(options.db);
	if (!walked)
		fail_msg("%s", err.message);
	assert_int_equal(f->summary.findings, f->findings);
}

static void assert_clean(struct fixture *f, uint64_t events)
{
	verify_with(f, true);
	if (f->findings)
		fail_msg("%s", f->told);
	assert_int_equal(f->summary.events, events);
}

static void assert_told(struct fixture *f, const char *text)
{
	if (!strstr(f->told, text))
		fail_msg("'%s' was not told, but: %s", text, f->told);
}

/* --- appending ---------------------------------------------------------------------------------------------
 */

static void an_untouched_log_verifies(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(append_some(f, EVENTS), EVENTS);
	make_checkpoint(f, true);
	assert_int_equal(append_some(f, 3), EVENTS + 3);
	assert_clean(f, EVENTS + 3);
	assert_int_equal(f->summary.covered, EVENTS);
	assert_int_equal(f->summary.checkpoints, 1);
}

static void an_event_is_appended_once_however_often_it_is_sent(void **state)
{
	struct fixture *f = *state;
	Chancery__SignedEvent *events[3] = { make_event(f->issuer, 1, "a"), make_event(f->issuer, 2, "b"),
					     NULL };
	struct ch_error err = CH_NONE;
	uint64_t size = 0;

	events[2] = events[1];
	assert_true(append(f, f->issuer, events, 1, &size, &err));
	assert_int_equal(size, 1);
	assert_true(append(f, f->issuer, events, 3, &size, &err));
	assert_int_equal(size, 2);
	assert_true(append(f, f->issuer, events, 3, &size, &err));
	assert_int_equal(size, 2);
	chancery__signed_event__free_unpacked(events[0], NULL);
	chancery__signed_event__free_unpacked(events[1], NULL);
	assert_clean(f, 2);
}

static void a_jump_in_a_senders_numbers_is_an_alert_in_the_log(void **state)
{
	struct fixture *f = *state;
	uint64_t size = 0;

	append_some(f, 3);
	f->sequence += 4;
	append_some(f, 1);
	assert_int_equal(ch_metric_value(f->audit.gaps), 1);
	close_audit(f); /* its own event is in the log now */
	open_audit(f);
	size = append_some(f, 1);
	assert_int_equal(size, 6);
	assert_clean(f, 6); /* the alert excuses the jump */
	postgres_does("SELECT 1 / count(*) FROM audit_log WHERE type = 'audit.gap' AND subject = "
		      "'issuer/issuer-1'");
}

/* Somebody has set it back: what it tells from now on was told before, or is not what it says. */
static void numbers_that_go_back_are_an_alert_too(void **state)
{
	struct fixture *f = *state;

	append_some(f, 3);
	f->sequence -= 2;
	append_some(f, 1); /* number 2 again, another event */
	assert_int_equal(ch_metric_value(f->audit.gaps), 1);
	f->sequence -= 1;
	append_some(f, 1); /* and the very same number */
	assert_int_equal(ch_metric_value(f->audit.gaps), 2);
}

struct appender {
	struct fixture *f;
	struct ch_identity *identity;
	pthread_t thread;
};

static void *append_many(void *context)
{
	struct appender *a = context;

	for (uint64_t i = 1; i <= 50; i++) {
		Chancery__SignedEvent *event = make_event(a->identity, i, "x");
		Chancery__AppendEventsReply *reply = NULL;
		struct ch_error err = CH_NONE;

		if (ask_to_append(a->f, a->identity, &event, 1, &reply, &err))
			ch_proto_free(&reply->base);
		else
			print_message("%s\n", err.message);
		chancery__signed_event__free_unpacked(event, NULL);
	}
	return NULL;
}

static void appenders_at_the_same_time_make_one_chain(void **state)
{
	struct fixture *f = *state;
	struct appender appenders[] = { { f, f->issuer, 0 }, { f, f->ocsp, 0 } };

	for (size_t i = 0; i < CH_COUNT(appenders); i++)
		pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]);
	for (size_t i = 0; i < CH_COUNT(appenders); i++)
		pthread_join(appenders[i].thread, NULL);
	assert_clean(f, 100);
}

static void pages_follow_each_other_both_ways(void **state)
{
	struct fixture *f = *state;
	Chancery__ListEventsRequest request = CHANCERY__LIST_EVENTS_REQUEST__INIT;
	struct ch_error err = CH_NONE;
	uint64_t expected = 1;

	append_some(f, EVENTS);
	request.limit = 7;
	do {
		Chancery__ListEventsReply reply = CHANCERY__LIST_EVENTS_REPLY__INIT;

		assert_true(audit_list(&f->audit, "default", &request, &reply, &err));
		for (size_t i = 0; i < reply.n_events; i++)
			assert_int_equal(reply.events[i]->log_sequence, expected++);
		request.after_sequence = reply.next_after_sequence;
		for (size_t i = 0; i < reply.n_events; i++)
			chancery__logged_event__free_unpacked(reply.events[i], NULL);
		free(reply.events);
	} while (request.after_sequence);
	assert_int_equal(expected, EVENTS + 1);
	request.newest_first = true;
	request.subject = (char *)(uintptr_t) "0005";
	{
		Chancery__ListEventsReply reply = CHANCERY__LIST_EVENTS_REPLY__INIT;

		assert_true(audit_list(&f->audit, "default", &request, &reply, &err));
		assert_int_equal(reply.n_events, 1);
		assert_string_equal(reply.events[0]->event->subject, "0005");
		chancery__logged_event__free_unpacked(reply.events[0], NULL);
		free(reply.events);
		reply = (Chancery__ListEventsReply)CHANCERY__LIST_EVENTS_REPLY__INIT;
		assert_true(audit_list(&f->audit, "another", &request, &reply, &err));
		assert_int_equal(reply.n_events, 0);
		free(reply.events);
	}
}

/* --- what a superuser may do
 * -------------------------------------------------------------------------------- */

static void an_altered_column_is_named(void **state)
{
	struct fixture *f = *state;
	static const char *const changes[] = {
		"actor = 'mallory'",   "subject = 'other'",
		"outcome = 'refused'", "type = 'x'",
		"tenant_id = 't'",     "service = 'x'",
		"instance = 'x'",      "event_time = event_time + interval '1 microsecond'",
		"event_id = '\\x00'"
	};

	append_some(f, EVENTS);
	for (size_t i = 0; i < CH_COUNT(changes); i++) {
		CH_AUTO(ch_string) column = ch_strndup(changes[i], strcspn(changes[i], " "));
		CH_AUTO(ch_string) named = ch_format("[altered 7] row 7");
		CH_AUTO(ch_string) which = ch_format("column %s is not what the event says", column);

		postgres_does("CREATE TABLE kept AS SELECT * FROM audit_log WHERE log_sequence = 7");
		postgres_does("UPDATE audit_log SET %s WHERE log_sequence = 7", changes[i]);
		verify_with(f, true);
		assert_int_equal(f->findings, 1);
		assert_told(f, named);
		assert_told(f, which);
		postgres_does("DELETE FROM audit_log WHERE log_sequence = 7");
		postgres_does("INSERT INTO audit_log SELECT * FROM kept");
		postgres_does("DROP TABLE kept");
	}
	assert_clean(f, EVENTS);
}

static void an_altered_event_is_named(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	postgres_does("UPDATE audit_log SET signed_event = set_byte(signed_event, 40, get_byte(signed_event, "
		      "40) # 1)"
		      " WHERE log_sequence = 7");
	verify_with(f, true);
	assert_int_equal(f->findings, 1);
	assert_told(f, "[altered 7]");
}

static void altered_hashes_are_named(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	postgres_does("UPDATE audit_log SET hash = '\\x%064d' WHERE log_sequence = 7", 0);
	verify_with(f, true);
	assert_int_equal(f->findings, 1);
	assert_told(f, "[altered 7] row 7 was altered: column hash");
	postgres_does(
		"UPDATE audit_log SET hash = (SELECT previous_hash FROM audit_log WHERE log_sequence = 8)"
		" WHERE log_sequence = 7");
	postgres_does("UPDATE audit_log SET previous_hash = '\\x%064d' WHERE log_sequence = 9", 0);
	verify_with(f, true);
	assert_int_equal(f->findings, 1);
	assert_told(f, "[altered 9] row 9 was altered: column previous_hash");
}

static void removed_rows_are_named(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	postgres_does("DELETE FROM audit_log WHERE log_sequence IN (1, 7, 8)");
	verify_with(f, true);
	assert_told(f, "[missing 1] row 1 is missing");
	assert_told(f, "[missing 7] row 7 is missing");
	assert_told(f, "[missing 8] row 8 is missing");
	assert_null(strstr(f->told, "[missing 9] row 9 is"));
}

static void a_tail_that_was_cut_off_is_named_by_the_checkpoint(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	make_checkpoint(f, false);
	postgres_does("DELETE FROM audit_log WHERE log_sequence > %d", EVENTS - 2);
	verify_with(f, false); /* the database alone tells it */
	assert_told(f, "[truncated 0] the log ends at row 18 but had 20");
	assert_told(f, "[missing 19]");
	assert_told(f, "[missing 20]");
}

static void a_tail_that_no_checkpoint_covers_is_named_by_the_head_file(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	make_checkpoint(f, true);
	append_some(f, 2);
	postgres_does("DELETE FROM audit_log WHERE log_sequence > %d", EVENTS);
	verify_with(f, true);
	assert_told(f, "[missing 21]");
	assert_told(f, "[missing 22]");
	append_some(f, 5); /* the daemon goes on and notices; its file stays as it was */
	close_audit(f);
	open_audit(f);
	verify_with(f, true);
	assert_told(f, "head file");
	assert_told(f, "events 21 to 22 of issuer/issuer-1 are not in the log");
	postgres_does("SELECT 1 / count(*) FROM audit_log WHERE type = 'audit.rewound'");
}

static void a_whole_table_that_was_emptied_is_noticed(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	make_checkpoint(f, true);
	postgres_does("TRUNCATE audit_log, audit_checkpoints");
	verify_with(f, true);
	assert_told(f, "[truncated 0] the log ends at row 0 but had 20");
	assert_told(f, "[checkpoint 0]");
	assert_told(f, "audit_checkpoints has no checkpoint of its size 20");
}

#define SWAP                                                                                      \
	"UPDATE audit_log SET log_sequence = CASE log_sequence WHEN -5 THEN 11 ELSE 5 END WHERE " \
	"log_sequence IN (-5, -11)"

static void swapped_rows_are_named(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	make_checkpoint(f, true);
	postgres_does("UPDATE audit_log SET log_sequence = -log_sequence WHERE log_sequence IN (5, 11)");
	postgres_does(SWAP);
	verify_with(f, true);
	assert_told(f, "[reordered 5] row 5 holds a genuine event that was not logged in this place");
	assert_told(f, "[reordered 11] row 11 holds a genuine event that was not logged in this place");
	assert_null(strstr(f->told, "[altered"));
}

static void events_that_were_swapped_between_rows_are_named(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	postgres_does("UPDATE audit_log SET event_id = event_id || '\\x00' WHERE log_sequence IN (5, 11)");
	postgres_does("UPDATE audit_log AS a SET signed_event = b.signed_event, event_id = "
		      "substring(b.event_id, 1, 16),"
		      " event_time = b.event_time, subject = b.subject FROM audit_log AS b"
		      " WHERE (a.log_sequence, b.log_sequence) IN ((5, 11), (11, 5))");
	verify_with(f, true);
	assert_told(f, "[reordered 5]");
	assert_told(f, "[reordered 11]");
}

/* A superuser who knows the formula: everything is consistent again, but for the signatures. */
static void a_chain_that_was_computed_anew_is_found(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	make_checkpoint(f, true);
	postgres_does("DELETE FROM audit_log WHERE log_sequence = 7");
	postgres_does("UPDATE audit_log SET log_sequence = -log_sequence WHERE log_sequence > 7");
	postgres_does("UPDATE audit_log SET log_sequence = -log_sequence - 1 WHERE log_sequence < 0");
	postgres_does("DO $$ DECLARE p bytea := decode(repeat('00', 32), 'hex'); r record; h bytea; BEGIN"
		      " FOR r IN SELECT * FROM audit_log ORDER BY log_sequence LOOP"
		      " h := sha256('chancery/log/v1'::bytea || '\\x00' || p || int8send(r.log_sequence) || "
		      "r.signed_event);"
		      " UPDATE audit_log SET previous_hash = p, hash = h WHERE log_sequence = r.log_sequence;"
		      " p := h; END LOOP; END $$");
	verify_with(f, false);
	assert_told(f,
		    "[missing 7] row 7: events 7 to 7 of issuer/issuer-1 are not in the log before this row");
	assert_told(f, "[truncated 0] the log ends at row 19 but had 20");
}

static void a_forged_checkpoint_is_named(void **state)
{
	struct fixture *f = *state;

	append_some(f, EVENTS);
	make_checkpoint(f, true);
	postgres_does("INSERT INTO audit_checkpoints (log_size, text, key_id, signature)"
		      " SELECT 10, replace(text, E'\\n20\\n', E'\\n10\\n'), key_id, signature FROM "
		      "audit_checkpoints");
	verify_with(f, true);
	assert_int_equal(f->findings, 1);
	assert_told(f, "[checkpoint 0] checkpoint of size 10");
}

static void only_the_audit_daemon_may_write_and_nobody_may_change(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_transaction) transaction = NULL;
	static const struct ch_statement change = { "test_change", "UPDATE audit_log SET actor = 'mallory'" };
	struct ch_error err = CH_NONE;

	append_some(f, 1);
	assert_true(ch_db_begin(f->audit.db, NULL, &transaction, &err));
	assert_false(ch_db_query(transaction, &change, CH_NO_PARAMETERS, NULL, &err));
	assert_int_equal(err.code, CH_DENIED);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_untouched_log_verifies),
		TEST(an_event_is_appended_once_however_often_it_is_sent),
		TEST(a_jump_in_a_senders_numbers_is_an_alert_in_the_log),
		TEST(numbers_that_go_back_are_an_alert_too),
		TEST(appenders_at_the_same_time_make_one_chain),
		TEST(pages_follow_each_other_both_ways),
		TEST(an_altered_column_is_named),
		TEST(an_altered_event_is_named),
		TEST(altered_hashes_are_named),
		TEST(removed_rows_are_named),
		TEST(a_tail_that_was_cut_off_is_named_by_the_checkpoint),
		TEST(a_tail_that_no_checkpoint_covers_is_named_by_the_head_file),
		TEST(a_whole_table_that_was_emptied_is_noticed),
		TEST(swapped_rows_are_named),
		TEST(events_that_were_swapped_between_rows_are_named),
		TEST(a_chain_that_was_computed_anew_is_found),
		TEST(a_forged_checkpoint_is_named),
		TEST(only_the_audit_daemon_may_write_and_nobody_may_change),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
