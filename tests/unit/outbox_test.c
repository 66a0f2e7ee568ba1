/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox_test.c: rows of the outbox leave it each for itself, and none unseen (libcommon/outbox and
 * proto/schema/0016_outbox.sql, on a real PostgreSQL).
 */
#include "outbox/outbox.h"
#include "unpack/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "postgres.h"
#include "system_ca.h"

struct fixture {
	struct system_ca ca;
	struct ch_identity_config files;
	struct ch_identity *identity;
	struct ch_audit_client *audit;
	struct ch_metrics *metrics;
	struct ch_db *db;
	struct ch_outbox *outbox;
	bool down, forgets; /* the audit service */
};

static void into_quarantine(struct ch_view octets)
{
	const char *value = (const char *)octets.data;
	const int length = (int)octets.size, binary = 1;
	char url[512];
	PGresult *result;
	PGconn *pg;

	postgres_url("owner", url);
	pg = PQconnectdb(url);
	result = PQexecParams(pg,
			      "INSERT INTO audit_quarantine (received_by, service, instance, code, reason, "
			      "octets, octets_sha256) VALUES ('audit-1', 'issuer', 'issuer-1', 'invalid', "
			      "'so', $1::bytea, sha256($1::bytea)) ON CONFLICT DO NOTHING",
			      1, NULL, &(const char *){ value ? value : "" }, &length, &binary, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s", PQerrorMessage(pg));
	PQclear(result);
	PQfinish(pg);
}

/* Stands where the audit service does: takes all but what is "wait", into quarantine. */
static bool answer(void *state, const Chancery__AppendEventsRequest *request,
		   Chancery__AppendEventsReply **reply, struct ch_error *err)
{
	const struct fixture *f = state;

	if (f->down)
		return ch_fail(err, CH_UNAVAILABLE, "audit is away");
	*reply = CH_PROTO_NEW(Chancery__AppendEventsReply, chancery__append_events_reply__init);
	(*reply)->n_answers = request->n_events;
	(*reply)->answers = ch_alloc_pointers(request->n_events);
	for (size_t i = 0; i < request->n_events; i++) {
		Chancery__EventAnswer *made =
			CH_PROTO_NEW(Chancery__EventAnswer, chancery__event_answer__init);
		struct ch_view octets =
			ch_view(request->events[i]->event.data, request->events[i]->event.len);
		bool waits = ch_view_equal(octets, ch_view_text("wait"));

		made->fate =
			waits ? CHANCERY__EVENT_FATE__EVENT_LATER : CHANCERY__EVENT_FATE__EVENT_QUARANTINED;
		made->reason = ch_strdup("so");
		(*reply)->answers[i] = made;
		if (!waits && !f->forgets)
			into_quarantine(octets);
	}
	return true;
}

/* Past the triggers, as a superuser can. */
static void without_triggers(const char *sql)
{
	postgres_does("SET session_replication_role = replica; %s", sql);
}

static void empty_all(void)
{
	without_triggers("DELETE FROM audit_outbox");
	without_triggers("DELETE FROM audit_outbox_numbers");
	without_triggers("DELETE FROM audit_outbox_taken");
	without_triggers("DELETE FROM audit_quarantine");
	without_triggers("DELETE FROM audit_log");
}

static struct ch_outbox *open_outbox(struct fixture *f)
{
	const struct ch_outbox_options options = { .db = f->db,
						   .audit = f->audit,
						   .service = "issuer",
						   .instance = "issuer-1",
						   .metrics = f->metrics,
						   .interval_us = CH_HOUR };

	return ch_outbox_new(&options);
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_audit_options options = { .clock = ch_clock_system(),
					    .deliver = answer,
					    .deliver_state = f };

	system_ca_make(&f->ca);
	system_ca_issue(&f->ca, "issuer", "issuer-1", -60, 3600, &f->files);
	assert_true(ch_identity_load(&f->files, NULL, NULL, &f->identity, NULL));
	options.identity = f->identity;
	options.state_directory = f->ca.directory;
	assert_true(ch_audit_open(&options, &f->audit, NULL));
	f->db = postgres_open("chancery_issuer", 4);
	f->metrics = ch_metrics_new();
	f->outbox = open_outbox(f);
	empty_all();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) remove =
		ch_format("rm -rf '%s'/spool '%s'/audit-numbers", f->ca.directory, f->ca.directory);

	ch_outbox_close(f->outbox);
	ch_audit_close(f->audit, 0);
	ch_db_close(f->db);
	ch_metrics_free(f->metrics);
	assert_int_equal(system(remove), 0);
	ch_identity_free(f->identity);
	system_ca_forget(&f->files);
	system_ca_remove(&f->ca);
	free(f);
	return 0;
}

/* A pass over all rows; gives how many were looked at. */
static size_t pass(struct fixture *f)
{
	struct ch_outbox_pass step;
	struct ch_error err = CH_NONE;
	size_t all = 0;

	do {
		if (!ch_outbox_step(f->outbox, &step, &err))
			fail_msg("%s", err.message);
		all += step.looked_at;
	} while (step.more);
	return all;
}

/* One value as that role; the caller frees it. Fails with the server's words. */
static char *value_as(const char *role, const char *sql)
{
	char url[512];
	PGresult *result;
	PGconn *pg;
	char *value;

	postgres_url(role, url);
	pg = PQconnectdb(url);
	result = PQexec(pg, sql);
	value = ch_strdup(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result)
				  ? PQgetvalue(result, 0, 0)
				  : PQerrorMessage(pg));
	PQclear(result);
	PQfinish(pg);
	return value;
}

static void assert_says(const char *role, const char *sql, const char *expected)
{
	CH_AUTO(ch_string) value = value_as(role, sql);

	if (!strstr(value, expected) || (!*expected && *value))
		fail_msg("%s: %s: %s, expected %s", role, sql, value, expected);
}

static void assert_missing(const char *expected)
{
	assert_says("chancery_audit",
		    "SELECT string_agg(service || ' ' || missing, ', ' ORDER BY service) FROM "
		    "audit_outbox_missing() WHERE missing <> 0",
		    expected);
}

/* --- sending --- */

static void a_row_that_is_no_event_leaves_with_those_behind_it(void **state)
{
	struct fixture *f = *state;

	postgres_does(
		"INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', '\\xffff'), ('issuer', "
		"''), ('crl', 'x')");
	assert_int_equal(pass(f), 2);
	postgres_does("SELECT 1 / (count(*) = 1)::int FROM audit_outbox"); /* the crl's is not its own */
	assert_int_equal(pass(f), 0);
}

/* More of them than one request takes, too. */
static void rows_that_wait_stop_none_behind_them(void **state)
{
	struct fixture *f = *state;

	postgres_does(
		"INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', CASE WHEN n <= 300 THEN "
		"'wait'::bytea ELSE '' END FROM generate_series(1, 310) AS n ORDER BY n");
	assert_int_equal(pass(f), 310);
	postgres_does(
		"SELECT 1 / (count(*) = 300 AND bool_and(signed_event = 'wait'))::int FROM audit_outbox");
	assert_int_equal(pass(f), 300);
}

static void nothing_leaves_while_the_collector_is_away(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	struct ch_outbox_pass step;

	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'x')");
	f->down = true;
	assert_false(ch_outbox_step(f->outbox, &step, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	f->down = false;
	assert_int_equal(pass(f), 1);
	assert_int_equal(pass(f), 0);
}

static int64_t oldest_seconds(const struct fixture *f)
{
	return (int64_t)ch_metric_value(
		ch_metrics_gauge(f->metrics, "chancery_issuer_outbox_oldest_seconds", "", ""));
}

/* Of all of them, also where one step does not take them all; and of the sender alone. */
static void how_long_the_oldest_waits_is_told(void **state)
{
	struct fixture *f = *state;
	struct ch_outbox_pass step;
	struct ch_error err = CH_NONE;

	without_triggers(
		"INSERT INTO audit_outbox (service, signed_event, number, created_at) SELECT 'issuer', "
		"'wait', n, now() - make_interval(secs => 1000 - n) FROM generate_series(1, 300) AS n");
	assert_int_equal(pass(f), 300);
	assert_in_range(oldest_seconds(f), 999, 1060);
	f->down = true;
	assert_false(ch_outbox_step(f->outbox, &step, &err));
	assert_in_range(oldest_seconds(f), 999, 1060);
	f->down = false;
	without_triggers("DELETE FROM audit_outbox");
	assert_int_equal(pass(f), 0);
	assert_int_equal(oldest_seconds(f), 0);
}

static void one_instance_sends_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct ch_outbox *other = open_outbox(f);
	struct ch_outbox_pass step;
	struct ch_error err = CH_NONE;

	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'wait')");
	assert_int_equal(pass(f), 1);
	assert_true(ch_outbox_step(other, &step, &err));
	assert_true(step.elsewhere);
	ch_outbox_close(other);
	assert_int_equal(pass(f), 1);
}

/* An answer alone lets nothing go: the database looks for itself. */
static void what_the_audit_service_has_not_kept_stays_and_stops_none(void **state)
{
	struct fixture *f = *state;

	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'lost'), "
		      "('issuer', 'kept')");
	into_quarantine(ch_view_text("kept"));
	f->forgets = true;
	assert_int_equal(pass(f), 2);
	assert_says("owner", "SELECT string_agg(convert_from(signed_event, 'UTF8'), ' ') FROM audit_outbox",
		    "lost");
	assert_missing("");
	f->forgets = false;
	assert_int_equal(pass(f), 1);
	assert_says("owner", "SELECT count(*) FROM audit_outbox", "0");
	assert_missing("");
}

/* Longer than an event can be: its beginning is what is in quarantine. */
static void a_row_of_any_size_leaves(void **state)
{
	struct fixture *f = *state;

	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES "
		      "('issuer', convert_to(repeat('x', 70000), 'UTF8'))");
	assert_int_equal(pass(f), 1);
	assert_says("owner", "SELECT count(*) FROM audit_outbox", "0");
}

/* Two encodings of one message: the log would keep the other. It is nobody's event as it stands. */
static void octets_that_read_as_an_event_but_are_not_how_one_is_written_are_no_event(void **state)
{
	struct fixture *f = *state;

	/* SignedEvent { event: "", certificate: "c" } with a length of two octets */
	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', "
		      "'\\x0a00128100'::bytea || 'c')");
	assert_int_equal(pass(f), 1);
	assert_says("owner", "SELECT encode(octets, 'hex') FROM audit_quarantine", "0a0012810063");
	assert_says("owner", "SELECT count(*) FROM audit_outbox", "0");
}

static void the_thread_sends_when_it_is_woken(void **state)
{
	struct fixture *f = *state;
	struct ch_error err;

	assert_true(ch_outbox_start(f->outbox, &err));
	for (int i = 0; i < 3; i++) {
		bool gone = false;

		postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'x')");
		ch_outbox_wake(f->outbox);
		for (int tries = 0; tries < 500 && !gone; tries++) {
			CH_AUTO(ch_string) left = value_as("owner", "SELECT count(*) FROM audit_outbox");

			gone = strcmp(left, "0") == 0;
			if (!gone)
				usleep(20000);
		}
		assert_true(gone);
	}
}

/* --- numbers --- */

static bool insert_one(struct ch_db *db, bool commit)
{
	static const struct ch_statement insert = {
		"test_insert", "INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'x')"
	};
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_error err = CH_NONE;

	return ch_db_begin(db, NULL, &transaction, &err) &&
	       ch_db_query(transaction, &insert, CH_NO_PARAMETERS, NULL, &err) &&
	       (!commit || ch_db_commit(&transaction, &err));
}

static void *insert_many(void *context)
{
	struct fixture *f = context;

	for (int i = 0; i < 30; i++)
		if (!insert_one(f->db, i % 3 != 0))
			return context;
	return NULL;
}

static void numbers_have_no_gaps_whatever_is_rolled_back_beside_them(void **state)
{
	pthread_t threads[4];
	void *failed;

	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_create(&threads[i], NULL, insert_many, *state);
	for (size_t i = 0; i < CH_COUNT(threads); i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_says("owner",
		    "SELECT count(*) || ' ' || count(DISTINCT number) || ' ' || min(number) || ' ' || "
		    "max(number) FROM audit_outbox",
		    "80 80 1 80");
	assert_missing("");
}

static void each_service_has_its_own_numbers(void **state)
{
	(void)state;
	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', ''), ('crl', ''), "
		      "('crl', '')");
	assert_says("owner",
		    "SELECT string_agg(service || number, ' ' ORDER BY service, number) FROM audit_outbox",
		    "crl1 crl2 issuer1");
}

/* A daemon that stops in the middle of a transaction holds up none of its replicas. */
static void a_transaction_that_is_open_holds_up_none(void **state)
{
	struct fixture *f = *state;
	static const struct ch_statement insert = {
		"test_insert_open",
		"INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'open')"
	};
	CH_AUTO(ch_transaction) open = NULL;
	struct ch_error err;

	assert_true(ch_db_begin(f->db, NULL, &open, &err));
	assert_true(ch_db_query(open, &insert, CH_NO_PARAMETERS, NULL, &err));
	assert_true(insert_one(f->db, true));
	assert_true(ch_db_commit(&open, &err));
	assert_says("owner",
		    "SELECT string_agg(convert_from(signed_event, 'UTF8') || number, ' ' ORDER BY number) "
		    "FROM audit_outbox",
		    "x1 open2");
}

/* --- taking away --- */

/* {event: {event_id: 16 x id, then `rest`}} */
static char *event_sql(char id, const char *rest)
{
	return ch_format("convert_to(chr(10) || chr(%d) || chr(10) || chr(16) || repeat('%c', 16) || '%s', "
			 "'UTF8')",
			 (int)(18 + strlen(rest)), id, rest);
}

static void in_log(int row, char id, const char *event)
{
	postgres_does(
		"INSERT INTO audit_log (log_sequence, previous_hash, hash, signed_event, event_id, "
		"tenant_id, event_time, type, outcome, service, instance, actor, subject) VALUES (%d, '', "
		"'\\x%02x', %s, convert_to(repeat('%c', 16), 'UTF8'), '', now(), '', '', 'issuer', "
		"'issuer-1', '', '')",
		row, row, event, id);
}

static void a_row_goes_when_the_log_has_its_very_event(void **state)
{
	CH_AUTO(ch_string) first = event_sql('a', "certificate.issued"),
			   other = event_sql('a', "nothing.odd");
	CH_AUTO(ch_string) second = event_sql('b', "certificate.revoked");

	(void)state;
	postgres_does(
		"INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', %s), ('issuer', %s)",
		first, second);
	in_log(1, 'a', other); /* somebody's with the same id */
	assert_says("chancery_issuer",
		    "SELECT take_outbox('issuer', ARRAY(SELECT outbox_id FROM audit_outbox))",
		    "event 1 of issuer is neither in the log nor in quarantine");
	assert_says("owner", "DELETE FROM audit_outbox WHERE number = 1",
		    "event 1 of issuer is neither in the log nor in quarantine");
	in_log(2, 'b', second);
	assert_says("chancery_crl", "SELECT take_outbox('issuer', '{}')",
		    "events of issuer are not those of chancery_crl");
	assert_says("chancery_issuer", "DELETE FROM audit_outbox", "permission denied");
	assert_says(
		"chancery_issuer",
		"SELECT take_outbox('issuer', ARRAY(SELECT outbox_id FROM audit_outbox WHERE number = 2))",
		"");
	assert_says("owner", "SELECT count(*) FROM audit_outbox", "1");
	assert_missing("");
}

static void what_was_taken_away_past_the_triggers_is_missing(void **state)
{
	struct fixture *f = *state;

	postgres_does(
		"INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', 'x' || n::text::bytea "
		"FROM generate_series(1, 5) n");
	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('crl', 'y')");
	without_triggers("DELETE FROM audit_outbox WHERE number = 3 AND service = 'issuer'");
	assert_missing("issuer 1");
	assert_int_equal(pass(f), 4);
	assert_missing("issuer 1"); /* for good */
	without_triggers("INSERT INTO audit_outbox (service, signed_event) VALUES ('crl', 'z')");
	assert_missing("crl -1, issuer 1");
}

/* What a daemon's role that was taken over may do with it: add events, and take away what is kept. */
static void a_role_says_what_happened_and_not_its_number(void **state)
{
	static const char *const denied[] = {
		"INSERT INTO audit_outbox (service, signed_event, number) VALUES ('issuer', '', 7)",
		"INSERT INTO audit_outbox (service, signed_event, created_at) VALUES ('issuer', '', now())",
		"UPDATE audit_outbox SET number = 7",
		"UPDATE audit_outbox SET signed_event = ''",
		"UPDATE audit_outbox SET created_at = now()",
		"TRUNCATE audit_outbox",
		"SELECT * FROM audit_outbox_numbers FOR UPDATE",
		"UPDATE audit_outbox_numbers SET last = 0",
		"INSERT INTO audit_outbox_taken VALUES ('issuer', 1)",
		"UPDATE audit_outbox_taken SET events = 1",
		"DELETE FROM audit_outbox_taken",
		"SELECT audit_outbox_missing()",
		"SELECT number_outbox()",
		"ALTER TABLE audit_outbox DISABLE TRIGGER keep",
	};

	(void)state;
	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'x')");
	for (size_t i = 0; i < CH_COUNT(denied); i++) {
		CH_AUTO(ch_string) said = value_as("chancery_issuer", denied[i]);

		if (!strstr(said, "permission denied") && !strstr(said, "must be owner"))
			fail_msg("%s: %s", denied[i], said);
	}
	assert_says("chancery_issuer", "SET session_replication_role = replica", "permission denied");
	assert_says("chancery_crl", "INSERT INTO outbox_leases VALUES ('issuer', 'x/1', 'infinity')",
		    "row-level security");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_row_that_is_no_event_leaves_with_those_behind_it),
		TEST(rows_that_wait_stop_none_behind_them),
		TEST(nothing_leaves_while_the_collector_is_away),
		TEST(how_long_the_oldest_waits_is_told),
		TEST(one_instance_sends_at_a_time),
		TEST(what_the_audit_service_has_not_kept_stays_and_stops_none),
		TEST(a_row_of_any_size_leaves),
		TEST(octets_that_read_as_an_event_but_are_not_how_one_is_written_are_no_event),
		TEST(the_thread_sends_when_it_is_woken),
		TEST(numbers_have_no_gaps_whatever_is_rolled_back_beside_them),
		TEST(each_service_has_its_own_numbers),
		TEST(a_transaction_that_is_open_holds_up_none),
		TEST(a_row_goes_when_the_log_has_its_very_event),
		TEST(what_was_taken_away_past_the_triggers_is_missing),
		TEST(a_role_says_what_happened_and_not_its_number),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
