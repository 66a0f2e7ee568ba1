/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db_test.c: libcommon/db and the schema against a real PostgreSQL that the group starts for itself
 * (tests/tools/private_postgres.sh). Run in tests/unit.
 */
#include "db/db_internal.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "postgres.h"

/* --- fixture --- */

static struct ch_transaction *begin(struct ch_db *db, const char *tenant)
{
	struct ch_transaction *transaction = NULL;
	struct ch_error err;

	if (!ch_db_begin(db, tenant, &transaction, &err))
		fail_msg("%s", err.message);
	return transaction;
}

static void commit(struct ch_transaction *transaction)
{
	struct ch_error err;

	if (!ch_db_commit(&transaction, &err))
		fail_msg("%s", err.message);
}

/* Statement names must differ where texts do: the text is the name here. */
static bool try_sql(struct ch_transaction *transaction, const char *sql, struct ch_rows **rows,
		    struct ch_error *err)
{
	struct ch_statement statement = { sql, sql };

	return ch_db_query(transaction, &statement, CH_NO_PARAMETERS, rows, err);
}

static void run_sql(struct ch_transaction *transaction, const char *sql, struct ch_rows **rows)
{
	struct ch_error err;

	if (!try_sql(transaction, sql, rows, &err))
		fail_msg("%s", err.message);
}

/* As `role` in one transaction of `tenant`: CH_OK or the code that the statement failed with. */
static enum ch_code outcome(const char *role, const char *tenant, const char *sql)
{
	CH_AUTO(ch_db) db = postgres_open(role, 1);
	CH_AUTO(ch_transaction) transaction = begin(db, tenant);
	struct ch_error err;
	bool ok = try_sql(transaction, sql, NULL, &err);

	ch_db_rollback(CH_STEAL(transaction));
	return ok ? CH_OK : err.code;
}

static int64_t count_as(const char *role, const char *tenant, const char *sql)
{
	CH_AUTO(ch_db) db = postgres_open(role, 1);
	CH_AUTO(ch_transaction) transaction = begin(db, tenant);
	CH_AUTO(ch_rows) rows = NULL;
	int64_t count;

	run_sql(transaction, sql, &rows);
	count = ch_rows_int64(rows, 0, 0);
	ch_rows_free(CH_STEAL(rows));
	ch_db_rollback(CH_STEAL(transaction));
	return count;
}

/* --- parameters and rows --- */

static void every_kind_of_parameter_comes_back_as_it_was_sent(void **state)
{
	static const struct ch_statement echo = {
		"echo",
		"SELECT $1 AS a, $2 AS b, $3 AS c, $4 AS d, $5 AS e, $6 AS f, $7 AS g, $8 AS h, $9::text"
	};
	const char *const words[] = { "one", "", "zw\xc3\xb6lf" };
	const int32_t numbers[] = { INT32_MIN, 0, INT32_MAX };
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, "default");
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_error err;
	char **texts;
	int32_t *integers;

	assert_true(ch_db_query(transaction, &echo,
				CH_PARAMETERS(ch_param_text("text"), ch_param_bytes(ch_view("\0\xff", 2)),
					      ch_param_int64(INT64_MIN), ch_param_int32(-7),
					      ch_param_bool(true), ch_param_time(INT64_C(1795219200123456)),
					      ch_param_text_array(words, 3), ch_param_int32_array(numbers, 3),
					      ch_param_null()),
				&rows, &err));
	assert_int_equal(ch_rows_count(rows), 1);
	assert_string_equal(ch_rows_text(rows, 0, 0), "text");
	assert_true(ch_view_equal(ch_rows_bytes(rows, 0, 1), ch_view("\0\xff", 2)));
	assert_int_equal(ch_rows_int64(rows, 0, 2), INT64_MIN);
	assert_int_equal(ch_rows_int64(rows, 0, 3), -7);
	assert_true(ch_rows_bool(rows, 0, 4));
	assert_int_equal(ch_rows_time(rows, 0, 5), INT64_C(1795219200123456));
	assert_int_equal(ch_rows_text_array(rows, 0, 6, &texts), 3);
	assert_int_equal(ch_rows_int32_array(rows, 0, 7, &integers), 3);
	assert_true(ch_rows_null(rows, 0, 8));
	for (int i = 0; i < 3; i++) {
		assert_string_equal(texts[i], words[i]);
		assert_int_equal(integers[i], numbers[i]);
		free(texts[i]);
	}
	free(texts);
	free(integers);
}

static void sql_null_reads_as_nothing(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, NULL);
	CH_AUTO(ch_rows) rows = NULL;
	char **texts;

	run_sql(transaction,
		"SELECT NULL::text, NULL::bytea, NULL::int, NULL::bool, NULL::timestamptz, NULL::text[], "
		"'{}'::text[], '{\"a\": 1}'::jsonb, 'infinity'::timestamptz",
		&rows);
	assert_string_equal(ch_rows_text(rows, 0, 0), "");
	assert_int_equal(ch_rows_bytes(rows, 0, 1).size, 0);
	assert_int_equal(ch_rows_int64(rows, 0, 2), 0);
	assert_false(ch_rows_bool(rows, 0, 3));
	assert_int_equal(ch_rows_time(rows, 0, 4), 0);
	assert_int_equal(ch_rows_text_array(rows, 0, 5, &texts), 0);
	free(texts);
	assert_int_equal(ch_rows_text_array(rows, 0, 6, &texts), 0);
	free(texts);
	assert_string_equal(ch_rows_text(rows, 0, 7), "{\"a\": 1}");
	assert_int_equal(ch_rows_time(rows, 0, 8), INT64_MAX);
}

static void absent_values_are_sent_as_sql_null(void **state)
{
	static const struct ch_statement statement = { "nulls",
						       "SELECT $1 IS NULL AND $2 IS NULL AND $3 IS NULL AND "
						       "$4 IS NOT NULL" };
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, NULL);
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_error err;

	assert_true(ch_db_query(transaction, &statement,
				CH_PARAMETERS(ch_param_text(NULL), ch_param_bytes(ch_view(NULL, 0)),
					      ch_param_time(0), ch_param_bytes(ch_view("", 0))),
				&rows, &err));
	assert_true(ch_rows_bool(rows, 0, 0));
}

static void a_large_value_goes_both_ways(void **state)
{
	static const struct ch_statement echo = { "large", "SELECT $1 || $1" };
	size_t size = 8 * 1024 * 1024;
	CH_AUTO(ch_bytes) large = { ch_alloc(size), size };
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, NULL);
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_error err;

	large.data[size - 1] = 1;
	assert_true(ch_db_query(transaction, &echo, CH_PARAMETERS(ch_param_bytes(ch_view_of(&large))), &rows,
				&err));
	assert_int_equal(ch_rows_bytes(rows, 0, 0).size, 2 * size);
	assert_int_equal(ch_rows_bytes(rows, 0, 0).data[2 * size - 1], 1);
}

/* --- transactions --- */

static void what_is_committed_stays_and_what_is_not_goes(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	struct ch_transaction *transaction = begin(db, NULL);

	run_sql(transaction, "CREATE TABLE kept (n int PRIMARY KEY)", NULL);
	run_sql(transaction, "INSERT INTO kept VALUES (1)", NULL);
	commit(transaction);
	transaction = begin(db, NULL);
	run_sql(transaction, "INSERT INTO kept VALUES (2)", NULL);
	ch_db_rollback(transaction);
	assert_int_equal(count_as("owner", NULL, "SELECT count(*) FROM kept"), 1);
}

static void affected_rows_are_counted(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, NULL);
	CH_AUTO(ch_rows) rows = NULL;

	run_sql(transaction, "CREATE TEMP TABLE counted AS SELECT generate_series(1, 5) AS n", NULL);
	run_sql(transaction, "UPDATE counted SET n = n + 1 WHERE n > 2", &rows);
	assert_int_equal(ch_rows_affected(rows), 3);
}

static void the_tenant_ends_with_its_transaction(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	const char *tenants[] = { "default", NULL, "other" };

	for (int i = 0; i < 3; i++) {
		struct ch_transaction *transaction = begin(db, tenants[i]);
		CH_AUTO(ch_rows) rows = NULL;

		run_sql(transaction, "SELECT current_tenant()", &rows);
		assert_string_equal(ch_rows_text(rows, 0, 0), tenants[i] ? tenants[i] : "");
		commit(transaction);
	}
}

static void an_empty_transaction_costs_nothing_and_commits(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 1);

	commit(begin(db, "default"));
}

/* Errors go to clients: where the database's socket and files are is for the log alone. */
static void an_error_names_no_socket_and_no_file(void **state)
{
	const struct ch_database_config nowhere = { "host=/nowhere/at/all dbname=x", 1 };
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	struct ch_transaction *transaction = begin(db, NULL);
	struct ch_transaction *none = NULL;
	struct ch_db *away = NULL;
	struct ch_error err;

	assert_false(try_sql(transaction,
			     "DO $$ BEGIN RAISE EXCEPTION 'could not extend file %/1', 'ba' || 'se' "
			     "USING ERRCODE = '53100'; END $$",
			     NULL, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_null(strstr(err.message, "base/1"));
	assert_non_null(strstr(err.message, "failed, the log says why (SQLSTATE 53100)"));
	assert_false(ch_db_commit(&transaction, &err));
	if (ch_db_open(&nowhere, "db_test", NULL, &away, &err))
		assert_false(ch_db_begin(away, NULL, &none, &err));
	ch_db_close(away);
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_string_equal(err.message, "database: no connection: No such file or directory");
}

static void a_failed_statement_makes_commit_fail(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	struct ch_transaction *transaction = begin(db, NULL);
	struct ch_error err;

	assert_false(try_sql(transaction, "SELECT 1/0", NULL, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_non_null(strstr(err.message, "division by zero"));
	assert_false(try_sql(transaction, "SELECT 1", NULL, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_false(ch_db_commit(&transaction, &err));
	assert_null(transaction);
	transaction = begin(db, NULL); /* the connection is as good as before */
	run_sql(transaction, "SELECT 1", NULL);
	commit(transaction);
}

static void errors_have_the_codes_of_the_convention(void **state)
{
	struct {
		const char *sql;
		enum ch_code code;
	} cases[] = {
		{ "INSERT INTO tenants (tenant_id, name) VALUES ('default', 'again')", CH_CONFLICT },
		{ "INSERT INTO tenants (tenant_id, name) VALUES ('No Tenant', 'x')", CH_INVALID },
		{ "INSERT INTO tenants (tenant_id, name) VALUES ('x', NULL)", CH_INVALID },
		{ "SELECT 'x'::int", CH_INVALID },
		{ "SELECT FROM no_such_table", CH_INTERNAL },
		{ "SET LOCAL statement_timeout = 20; SELECT 1", CH_INTERNAL }, /* two statements in one */
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++)
		assert_int_equal(outcome("owner", NULL, cases[i].sql), cases[i].code);
}

static void a_statement_that_takes_too_long_is_unavailable(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, NULL);
	struct ch_error err;

	run_sql(transaction, "SET LOCAL statement_timeout = 20", NULL);
	assert_false(try_sql(transaction, "SELECT pg_sleep(10)", NULL, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(err.retryable);
}

static void a_stream_reads_in_batches(void **state);
struct stream_seen {
	size_t batches, rows;
	int64_t sum;
	size_t stop_after;
};

static bool see(void *context, const struct ch_rows *rows, struct ch_error *err)
{
	struct stream_seen *seen = context;

	seen->batches++;
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		seen->rows++;
		seen->sum += ch_rows_int64(rows, i, 0);
	}
	return seen->batches != seen->stop_after || ch_fail(err, CH_TOO_LARGE, "enough");
}

static void a_stream_reads_in_batches(void **state)
{
	static const struct ch_statement series = { "series", "SELECT generate_series(1, $1)" };
	CH_AUTO(ch_db) db = postgres_open("owner", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, NULL);
	struct stream_seen seen = CH_NONE, stopped = { .stop_after = 2 }, none = CH_NONE;
	struct ch_error err;

	assert_true(ch_db_stream(transaction, &series, CH_PARAMETERS(ch_param_int64(2500)), 1000, see, &seen,
				 &err));
	assert_int_equal(seen.batches, 3);
	assert_int_equal(seen.rows, 2500);
	assert_int_equal(seen.sum, 2500 * 2501 / 2);
	assert_true(
		ch_db_stream(transaction, &series, CH_PARAMETERS(ch_param_int64(0)), 10, see, &none, &err));
	assert_int_equal(none.batches, 0);
	assert_false(ch_db_stream(transaction, &series, CH_PARAMETERS(ch_param_int64(100)), 10, see, &stopped,
				  &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
}

/* --- pool and reconnect --- */

static void a_connection_string_that_does_not_parse_is_refused(void **state)
{
	struct ch_database_config config = { "host=x nonsense", 1 };
	struct ch_db *db = NULL;
	struct ch_error err;

	assert_false(ch_db_open(&config, "db-test", NULL, &db, &err));
	assert_int_equal(err.code, CH_INVALID);
}

static void no_server_is_unavailable(void **state)
{
	struct ch_database_config config = { "host=/nonexistent dbname=x", 1 };
	struct ch_db *opened = NULL;
	struct ch_error err;

	assert_true(ch_db_open(&config, "db-test", NULL, &opened, &err));
	CH_AUTO(ch_db) db = opened;
	assert_false(ch_db_ping(db, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
}

struct worker {
	struct ch_db *db;
	int done;
};

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (int i = 0; i < 50; i++) {
		struct ch_transaction *transaction = NULL;
		struct ch_error err;

		if (ch_db_begin(worker->db, "default", &transaction, &err) &&
		    try_sql(transaction, "SELECT count(*) FROM tenants", NULL, &err) &&
		    ch_db_commit(&transaction, &err))
			worker->done++;
		ch_db_rollback(transaction);
	}
	return NULL;
}

static void more_threads_than_connections_take_turns(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("owner", 2);
	pthread_t threads[8];
	struct worker workers[8];

	for (int i = 0; i < 8; i++) {
		workers[i] = (struct worker){ db, 0 };
		pthread_create(&threads[i], NULL, work, &workers[i]);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].done, 50);
	}
}

static void kill_sessions_of(const char *role)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
		 "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '%s'", role);
	postgres_does("%s", sql);
}

static void a_killed_idle_connection_is_replaced_unnoticed(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 4);
	struct ch_transaction *two[2] = { begin(db, NULL), begin(db, NULL) };

	for (int i = 0; i < 2; i++)
		run_sql(two[i], "SELECT 1", NULL);
	for (int i = 0; i < 2; i++)
		commit(two[i]);
	kill_sessions_of("chancery_issuer");
	for (int i = 0; i < 2; i++) {
		struct ch_transaction *transaction = begin(db, "default");
		CH_AUTO(ch_rows) rows = NULL;

		run_sql(transaction, "SELECT current_tenant()", &rows);
		assert_string_equal(ch_rows_text(rows, 0, 0), "default");
		commit(transaction);
	}
}

static void a_ping_survives_a_killed_connection(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	struct ch_error err;

	assert_true(ch_db_ping(db, &err));
	kill_sessions_of("chancery_issuer");
	assert_true(ch_db_ping(db, &err));
}

static void a_connection_lost_within_a_transaction_is_told(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	struct ch_transaction *transaction = begin(db, "default");
	struct ch_error err;

	run_sql(transaction, "SELECT 1", NULL);
	kill_sessions_of("chancery_issuer");
	assert_false(try_sql(transaction, "SELECT 2", NULL, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	ch_db_rollback(transaction);
	transaction = begin(db, "default"); /* and the next one works */
	run_sql(transaction, "SELECT 3", NULL);
	commit(transaction);
}

/* The server's process is stopped, not gone: no packet says so. */
static void a_hung_server_is_given_up(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	struct ch_transaction *transaction = begin(db, "default");
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_error err;
	pid_t backend;
	int64_t began;

	run_sql(transaction, "SELECT pg_backend_pid()", &rows);
	backend = (pid_t)ch_rows_int64(rows, 0, 0);
	db->answer_us = 200 * CH_MILLISECOND;
	assert_int_equal(kill(backend, SIGSTOP), 0);
	began = ch_monotonic_us();
	assert_false(try_sql(transaction, "SELECT 1", NULL, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(ch_monotonic_us() - began < 5 * CH_SECOND);
	ch_db_rollback(transaction);
	assert_int_equal(kill(backend, SIGCONT), 0);
	commit(begin(db, "default"));
}

static void a_connection_lost_at_commit_leaves_the_outcome_open(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	struct ch_transaction *transaction = begin(db, "default");
	struct ch_error err;

	run_sql(transaction, "SELECT 1", NULL);
	kill_sessions_of("chancery_issuer");
	assert_false(ch_db_commit(&transaction, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "outcome of COMMIT unknown"));
}

static void the_server_may_restart_between_two_transactions(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 2);
	struct ch_transaction *transaction = begin(db, "default");

	run_sql(transaction, "SELECT 1", NULL);
	commit(transaction);
	postgres_shell("%s restart %s", POSTGRES_TOOL, postgres_scratch);
	transaction = begin(db, "default");
	run_sql(transaction, "SELECT 1", NULL);
	commit(transaction);
}

static void of_several_hosts_the_writable_one_is_taken(void **state)
{
	char second[64], url[512];
	struct ch_database_config config = { url, 1 };
	struct ch_db *opened = NULL;
	struct ch_error err;
	CH_AUTO(ch_rows) rows = NULL;

	snprintf(second, sizeof(second), "%s/second", postgres_scratch);
	postgres_shell("%s start %s -c default_transaction_read_only=on >/dev/null", POSTGRES_TOOL, second);
	snprintf(url, sizeof(url),
		 "host=/nonexistent,%s/run,%s/run dbname=chancery user=owner target_session_attrs=read-write",
		 second, postgres_scratch);
	assert_true(ch_db_open(&config, "db-test", NULL, &opened, &err));
	CH_AUTO(ch_db) db = opened;
	CH_AUTO(ch_transaction) transaction = begin(db, NULL);
	run_sql(transaction, "SELECT current_setting('unix_socket_directories')", &rows);
	assert_null(strstr(ch_rows_text(rows, 0, 0), "second"));
	postgres_shell("%s stop %s", POSTGRES_TOOL, second);
}

/* --- migrations --- */

static void count_file(void *context, const char *file)
{
	(*(int *)context)++;
}

static void migrations_are_applied_once(void **state)
{
	char url[512];
	struct ch_error err;
	int applied = 0;

	postgres_url("owner", url);
	assert_true(ch_db_migrate(url, POSTGRES_SCHEMA, count_file, &applied, &err));
	assert_int_equal(applied, 0);
}

static void two_who_migrate_at_once_do_not_meet(void **state)
{
	char url[512];
	pid_t children[3];
	int applied = 0, status;

	postgres_does("CREATE DATABASE twice");
	snprintf(url, sizeof(url), "host=%s/run dbname=twice user=owner", postgres_scratch);
	for (int i = 0; i < 3; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			struct ch_error err;
			int mine = 0;
			bool ok = ch_db_migrate(url, POSTGRES_SCHEMA, count_file, &mine, &err);

			if (!ok)
				fprintf(stderr, "%s\n", err.message);
			_exit(ok ? mine : 100);
		}
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) < 100);
		applied += WEXITSTATUS(status);
	}
	assert_true(applied >= 1);
	postgres_does("DROP DATABASE twice");
}

static void write_migration(const char *name, const char *sql)
{
	char path[256];
	struct ch_error err;

	snprintf(path, sizeof(path), "%s/migrations/%s", postgres_scratch, name);
	assert_true(ch_write_file(path, ch_view_text(sql), 0644, &err));
}

static void a_changed_or_broken_migration_is_refused(void **state)
{
	char url[512], directory[128];
	struct ch_error err;
	int applied = 0;

	snprintf(directory, sizeof(directory), "%s/migrations", postgres_scratch);
	mkdir(directory, 0755);
	postgres_does("CREATE DATABASE changed");
	snprintf(url, sizeof(url), "host=%s/run dbname=changed user=owner", postgres_scratch);
	write_migration("0001_one.sql", "CREATE TABLE one (n int);\n");
	write_migration("0002_two.sql",
			"CREATE TABLE two (n int);\nINSERT INTO two VALUES (1);\nSELECT wrong;\n");

	assert_false(ch_db_migrate(url, directory, count_file, &applied, &err));
	assert_int_equal(applied, 1);
	assert_non_null(strstr(err.message, "migration 0002_two.sql: line 3:"));

	write_migration("0002_two.sql", "CREATE TABLE two (n int);\n"); /* nothing of it had stayed */
	assert_true(ch_db_migrate(url, directory, count_file, &applied, &err));
	assert_int_equal(applied, 2);

	write_migration("0001_one.sql", "CREATE TABLE one (n bigint);\n");
	assert_false(ch_db_migrate(url, directory, count_file, &applied, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_non_null(strstr(err.message, "0001_one.sql has changed"));

	write_migration("0001_other.sql", "SELECT 1");
	assert_false(ch_db_migrate(url, directory, NULL, NULL, &err));
	assert_int_equal(err.code, CH_INVALID);
	postgres_does("DROP DATABASE changed");
}

/* --- the schema: tenants and roles --- */

static void fill_two_tenants(void)
{
	static bool filled;

	if (filled)
		return;
	filled = true;
	postgres_does("INSERT INTO tenants (tenant_id, name) VALUES ('other', 'Other')");
	for (int i = 0; i < 2; i++) {
		char sql[4096];
		const char *tenant = i ? "other" : "default";

		snprintf(sql, sizeof(sql),
			 "INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, "
			 "public_key_sha256, residency) VALUES ('key-%s', '%s', 'l', 'ecdsa-p256', '{1}', "
			 "'', '%s', '{}')",
			 tenant, tenant, tenant);
		postgres_does("%s", sql);
		snprintf(sql, sizeof(sql),
			 "INSERT INTO cas (tenant_id, name, state, document, document_sha256, subject_der, "
			 "subject, key_id, "
			 "key_algorithm, public_key_info, key_identifier, tbs_certificate, not_before, "
			 "not_after, "
			 "serial_tag_key) VALUES ('%s', 'ca-%s', 'active', '', '', '', '', 'key-%s', "
			 "'ecdsa-p256', '', '', "
			 "'', now(), now(), '')",
			 tenant, tenant, tenant);
		postgres_does("%s", sql);
	}
	postgres_does("SELECT ensure_certificate_partitions(680, 690)");
	postgres_does("INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
		      "profile_version, "
		      "subject, public_key_sha256, not_before, not_after, requested_by, reserved_by) SELECT "
		      "681, ca_id, "
		      "'\\x02a9', tenant_id, 'issued', 'p', 1, 's', '', now(), now(), 'r', 'i' FROM cas");
	postgres_does(
		"DO $$ DECLARE ca record; BEGIN FOR ca IN SELECT ca_id, tenant_id FROM cas LOOP"
		" UPDATE revocation_log_head SET sequence = sequence + 1;"
		" INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, revoked_at)"
		" SELECT sequence, ca.tenant_id, ca.ca_id, '\\x02a9', 'revoked', 0, now()"
		" FROM revocation_log_head; END LOOP; END $$");
	postgres_does("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', ''), ('crl', ''), "
		      "('crl', '')");
}

static void without_a_tenant_there_are_no_rows(void **state)
{
	const char *tables[] = { "certificates", "profiles", "issue_requests" };

	fill_two_tenants();
	for (size_t i = 0; i < CH_COUNT(tables); i++) {
		char sql[128];

		snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", tables[i]);
		assert_int_equal(count_as("chancery_issuer", NULL, sql), 0);
	}
	assert_int_equal(count_as("chancery_ocsp", NULL, "SELECT count(serial) FROM certificates"), 0);
	assert_int_equal(count_as("chancery_crl", NULL, "SELECT count(serial) FROM certificates"), 0);
}

static void a_tenant_sees_its_own_rows_only(void **state)
{
	fill_two_tenants();
	assert_int_equal(count_as("chancery_issuer", "default", "SELECT count(*) FROM certificates"), 1);
	assert_int_equal(count_as("chancery_crl", "other", "SELECT count(serial) FROM certificates"), 1);
	assert_int_equal(count_as("chancery_crl", "other",
				  "SELECT count(serial) FROM certificates WHERE tenant_id = 'default'"),
			 0);
	assert_int_equal(count_as("chancery_issuer", "nobody", "SELECT count(*) FROM certificates"), 0);
	assert_int_equal(count_as("chancery_issuer", "default",
				  "WITH u AS (UPDATE certificates SET subject = 'x' RETURNING 1) SELECT "
				  "count(*) FROM u"),
			 1);
}

static void a_row_cannot_be_written_for_another_tenant(void **state)
{
	fill_two_tenants();
	assert_int_equal(outcome("chancery_issuer", "default",
				 "UPDATE certificates SET tenant_id = 'other' WHERE tenant_id = 'default'"),
			 CH_DENIED);
	assert_int_equal(
		outcome("chancery_issuer", "default",
			"INSERT INTO profiles (tenant_id, name, version, kind, document, applied_by) VALUES "
			"('other', 'p', 1, 'end-entity', '', '')"),
		CH_DENIED);
	/* A row of this tenant under another tenant's CA. */
	assert_int_equal(
		outcome("chancery_issuer", "default",
			"INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, "
			"revoked_at) SELECT 5000, 'default', ca_id, '\\x01', 'revoked', 0, now() FROM cas "
			"WHERE "
			"tenant_id = 'other'"),
		CH_INVALID);
}

static void status_services_follow_every_tenant(void **state)
{
	fill_two_tenants();
	assert_int_equal(count_as("chancery_ocsp", NULL, "SELECT count(*) FROM cas"), 2);
	assert_int_equal(count_as("chancery_crl", NULL, "SELECT count(name) FROM cas"), 2);
	assert_int_equal(count_as("chancery_ocsp", NULL, "SELECT count(*) FROM revocation_log"), 2);
	assert_int_equal(count_as("chancery_crl", NULL, "SELECT count(*) FROM revocation_log"), 2);
	assert_int_equal(count_as("chancery_vault", NULL, "SELECT count(*) FROM keys"), 2);
}

/* One row a thing that a role must not or must be able to do. */
static void each_role_can_do_what_its_grants_say(void **state)
{
	struct {
		const char *role, *sql;
		enum ch_code code;
	} cases[] = {
		{ "chancery_gateway", "SELECT count(*) FROM tenants", CH_OK },
		{ "chancery_gateway", "SELECT count(*) FROM certificates", CH_DENIED },
		{ "chancery_gateway", "SELECT count(*) FROM keys", CH_DENIED },
		{ "chancery_ocsp", "SELECT serial, status FROM certificates", CH_OK },
		{ "chancery_ocsp", "SELECT certificate_der FROM certificates", CH_DENIED },
		{ "chancery_ocsp", "SELECT serial_tag_key FROM cas", CH_OK },
		{ "chancery_ocsp", "UPDATE certificates SET status = 'issued'", CH_DENIED },
		{ "chancery_ocsp", "DELETE FROM revocation_log", CH_DENIED },
		{ "chancery_crl", "SELECT serial_tag_key FROM cas", CH_DENIED },
		{ "chancery_crl", "SELECT subject FROM certificates", CH_DENIED },
		{ "chancery_crl", "SELECT count(*) FROM crls", CH_OK },
		{ "chancery_crl", "DELETE FROM crls", CH_DENIED },
		{ "chancery_crl", "UPDATE revocation_log_head SET sequence = 0", CH_DENIED },
		{ "chancery_tsa", "SELECT certificate_der FROM service_certificates", CH_OK },
		{ "chancery_tsa", "SELECT count(*) FROM revocation_log", CH_DENIED },
		{ "chancery_tsa", "SELECT timestamp_policies FROM keys", CH_OK },
		{ "chancery_tsa", "SELECT purposes FROM keys", CH_DENIED },
		{ "chancery_issuer", "SELECT state, policy_version FROM keys", CH_OK },
		{ "chancery_issuer", "SELECT wrapped_key FROM keys", CH_DENIED },
		{ "chancery_issuer", "UPDATE keys SET state = 'active'", CH_DENIED },
		{ "chancery_issuer", "SELECT count(*) FROM compromised_keys", CH_OK },
		{ "chancery_issuer", "DELETE FROM compromised_keys", CH_DENIED },
		{ "chancery_vault", "DELETE FROM compromised_keys", CH_DENIED },
		{ "chancery_vault", "UPDATE compromised_keys SET source = 'vault'", CH_DENIED },
		{ "chancery_gateway", "SELECT count(*) FROM compromised_keys", CH_DENIED },
		{ "chancery_tsa", "SELECT obstacle FROM service_signers", CH_OK },
		{ "chancery_ocsp", "SELECT obstacle FROM service_signers", CH_OK },
		{ "chancery_crl", "SELECT obstacle FROM service_signers", CH_DENIED },
		{ "chancery_issuer", "SELECT count(*) FROM refused_identities", CH_DENIED },
		{ "chancery_vault", "DELETE FROM refused_identities", CH_DENIED },
		{ "chancery_issuer", "DELETE FROM certificates", CH_DENIED },
		{ "chancery_issuer", "UPDATE revocation_log SET reason = 0", CH_DENIED },
		{ "chancery_issuer", "UPDATE revocation_log_head SET sequence = sequence + 1", CH_OK },
		{ "chancery_issuer", "UPDATE revocation_log_head SET sequence = 0", CH_INVALID },
		{ "chancery_issuer", "UPDATE revocations SET action = 'reinstated'", CH_DENIED },
		{ "chancery_issuer", "DELETE FROM revocations", CH_DENIED },
		{ "chancery_ocsp", "SELECT count(*) FROM revocations", CH_OK },
		{ "chancery_tsa", "SELECT count(*) FROM revocations", CH_DENIED },
		{ "chancery_issuer", "SELECT count(*) FROM audit_log", CH_DENIED },
		{ "chancery_issuer", "SELECT ensure_certificate_partitions(700, 702)", CH_OK },
		{ "chancery_issuer", "SELECT ensure_certificate_partitions(0, 5000)", CH_INVALID },
		{ "chancery_issuer", "SELECT count(*) FROM certificates_p681", CH_DENIED },
		{ "chancery_issuer", "CREATE TABLE mine (n int)", CH_DENIED },
		{ "chancery_ocsp", "SELECT ensure_certificate_partitions(700, 702)", CH_DENIED },
		{ "chancery_audit", "SELECT count(*) FROM audit_log", CH_OK },
		{ "chancery_audit", "DELETE FROM audit_log", CH_DENIED },
		{ "chancery_audit", "UPDATE audit_log SET actor = 'x'", CH_DENIED },
		{ "chancery_audit", "SELECT count(*) FROM certificates", CH_DENIED },
		{ "chancery_auditor", "SELECT count(*) FROM audit_log", CH_OK },
		{ "chancery_auditor", "INSERT INTO audit_checkpoints VALUES (1, '', '', '')", CH_DENIED },
		{ "chancery_vault", "UPDATE keys SET state = 'active'", CH_OK },
		{ "chancery_vault", "DELETE FROM keys", CH_DENIED },
		{ "chancery_vault", "SELECT count(*) FROM cas", CH_DENIED },
	};

	fill_two_tenants();
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		enum ch_code code = outcome(cases[i].role, "default", cases[i].sql);

		if (code != cases[i].code)
			fail_msg("%s: %s: %s, expected %s", cases[i].role, cases[i].sql, ch_code_name(code),
				 ch_code_name(cases[i].code));
	}
}

static void an_outbox_row_belongs_to_its_service(void **state)
{
	fill_two_tenants();
	assert_int_equal(count_as("chancery_crl", NULL, "SELECT count(*) FROM audit_outbox"), 2);
	assert_int_equal(count_as("chancery_issuer", NULL, "SELECT count(*) FROM audit_outbox"), 1);
	assert_int_equal(outcome("chancery_crl", NULL,
				 "INSERT INTO audit_outbox (service, signed_event) VALUES "
				 "('issuer', '')"),
			 CH_DENIED);
}

static void a_look_up_by_serial_goes_to_one_partition(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_ocsp", 1);
	CH_AUTO(ch_transaction) transaction = begin(db, "default");
	CH_AUTO(ch_rows) rows = NULL;
	size_t partitions = 0;

	fill_two_tenants();
	run_sql(transaction,
		"EXPLAIN SELECT status FROM certificates WHERE expiry_period = 681 AND ca_id = 1 AND "
		"serial = '\\x02a9'",
		&rows);
	for (size_t i = 0; i < ch_rows_count(rows); i++)
		partitions += strstr(ch_rows_text(rows, i, 0), "Scan") != NULL;
	assert_int_equal(partitions, 1);
}

static void partitions_made_at_the_same_time_are_made_once(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 2);
	struct ch_transaction *first = begin(db, "default");
	pid_t child;
	int status;
	CH_AUTO(ch_rows) rows = NULL;

	run_sql(first, "SELECT ensure_certificate_partitions(800, 805)", &rows);
	assert_int_equal(ch_rows_int64(rows, 0, 0), 6);
	child = fork(); /* waits for the first, then finds nothing left to do */
	if (child == 0)
		_exit((int)outcome("chancery_issuer", "default",
				   "SELECT ensure_certificate_partitions(800, 805)"));
	commit(first);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), CH_OK);
}

/* Whoever has read up to sequence n has seen every change up to n: the second writer waits for the first's
 * commit. */
static void the_revocation_log_is_ordered_by_commit(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 2);
	struct ch_transaction *first = begin(db, "default"), *second = begin(db, "default");
	static const char take[] =
		"UPDATE revocation_log_head SET sequence = sequence + 1 RETURNING sequence";
	CH_AUTO(ch_rows) one = NULL;
	struct ch_error err;

	run_sql(first, take, &one);
	run_sql(second, "SET LOCAL lock_timeout = 50", NULL);
	assert_false(try_sql(second, take, NULL, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	ch_db_rollback(second);
	commit(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_parameter_comes_back_as_it_was_sent),
		cmocka_unit_test(sql_null_reads_as_nothing),
		cmocka_unit_test(absent_values_are_sent_as_sql_null),
		cmocka_unit_test(a_large_value_goes_both_ways),
		cmocka_unit_test(what_is_committed_stays_and_what_is_not_goes),
		cmocka_unit_test(affected_rows_are_counted),
		cmocka_unit_test(the_tenant_ends_with_its_transaction),
		cmocka_unit_test(an_empty_transaction_costs_nothing_and_commits),
		cmocka_unit_test(an_error_names_no_socket_and_no_file),
		cmocka_unit_test(a_failed_statement_makes_commit_fail),
		cmocka_unit_test(errors_have_the_codes_of_the_convention),
		cmocka_unit_test(a_statement_that_takes_too_long_is_unavailable),
		cmocka_unit_test(a_stream_reads_in_batches),
		cmocka_unit_test(a_connection_string_that_does_not_parse_is_refused),
		cmocka_unit_test(no_server_is_unavailable),
		cmocka_unit_test(more_threads_than_connections_take_turns),
		cmocka_unit_test(a_killed_idle_connection_is_replaced_unnoticed),
		cmocka_unit_test(a_ping_survives_a_killed_connection),
		cmocka_unit_test(a_connection_lost_within_a_transaction_is_told),
		cmocka_unit_test(a_hung_server_is_given_up),
		cmocka_unit_test(a_connection_lost_at_commit_leaves_the_outcome_open),
		cmocka_unit_test(the_server_may_restart_between_two_transactions),
		cmocka_unit_test(of_several_hosts_the_writable_one_is_taken),
		cmocka_unit_test(migrations_are_applied_once),
		cmocka_unit_test(two_who_migrate_at_once_do_not_meet),
		cmocka_unit_test(a_changed_or_broken_migration_is_refused),
		cmocka_unit_test(without_a_tenant_there_are_no_rows),
		cmocka_unit_test(a_tenant_sees_its_own_rows_only),
		cmocka_unit_test(a_row_cannot_be_written_for_another_tenant),
		cmocka_unit_test(status_services_follow_every_tenant),
		cmocka_unit_test(each_role_can_do_what_its_grants_say),
		cmocka_unit_test(an_outbox_row_belongs_to_its_service),
		cmocka_unit_test(a_look_up_by_serial_goes_to_one_partition),
		cmocka_unit_test(partitions_made_at_the_same_time_are_made_once),
		cmocka_unit_test(the_revocation_log_is_ordered_by_commit),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
