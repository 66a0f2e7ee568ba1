/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c: at most `pool_size` connections, opened when they are needed, lent to one transaction at a time;
 * and the beginning and end of a transaction. The daemons' store.c files call it.
 */
#include "db/db_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void open_metrics(struct ch_db *db)
{
	struct ch_metrics *registry = db->registry;
	struct db_metrics *metrics = &db->metrics;
	const char *transactions = "chancery_db_transactions_total",
		   *help = "Database transactions by their end";

	if (!registry)
		return;
	metrics->connections =
		ch_metrics_gauge(registry, "chancery_db_connections", "Open database connections", "");
	metrics->connects =
		ch_metrics_counter(registry, "chancery_db_connects_total", "Database connections made", "");
	metrics->lost = ch_metrics_counter(registry, "chancery_db_connections_lost_total",
					   "Database connections that broke or hung", "");
	metrics->retries =
		ch_metrics_counter(registry, "chancery_db_retries_total",
				   "Transactions moved to a fresh connection at their first statement", "");
	metrics->committed = ch_metrics_counter(registry, transactions, help, "outcome=\"committed\"");
	metrics->rolled_back = ch_metrics_counter(registry, transactions, help, "outcome=\"rolled_back\"");
	metrics->commit_unknown = ch_metrics_counter(registry, transactions, help, "outcome=\"unknown\"");
	metrics->queries = ch_metrics_counter(registry, "chancery_db_queries_total", "Statements run", "");
	metrics->query_seconds =
		ch_metrics_histogram(registry, "chancery_db_query_seconds",
				     "Time from sending a statement to its whole answer", "");
	metrics->wait_seconds = ch_metrics_histogram(registry, "chancery_db_pool_wait_seconds",
						     "Time that transactions waited for a connection", "");
}

void db_count(struct ch_metric *metric)
{
	if (metric)
		ch_metric_add(metric, 1);
}

void db_count_error(struct ch_db *db, const struct ch_error *err)
{
	char label[64];

	if (!db->registry || !err)
		return;
	snprintf(label, sizeof(label), "code=\"%s\"", ch_code_name(err->code));
	db_count(ch_metrics_counter(db->registry, "chancery_db_errors_total",
				    "Statements that failed, by error code", label));
}

static void count_open(struct ch_db *db)
{
	if (db->metrics.connections)
		ch_metric_set(db->metrics.connections, (int64_t)db->open);
}

bool ch_db_open(const struct ch_database_config *config, const char *name, struct ch_metrics *metrics,
		struct ch_db **db, struct ch_error *err)
{
	char *problem = NULL;
	PQconninfoOption *options = PQconninfoParse(config->url ? config->url : "", &problem);
	pthread_condattr_t monotonic;
	struct ch_db *made;

	if (!options) {
		ch_fail(err, CH_INVALID, "database.url: %s", problem ? problem : "does not parse");
		PQfreemem(problem);
		return false;
	}
	PQconninfoFree(options);
	made = ch_alloc(sizeof(*made));
	made->url = ch_strdup(config->url ? config->url : "");
	made->name = ch_strdup(name);
	made->limit = config->pool_size > 0 ? (size_t)config->pool_size : 4;
	made->answer_us = DB_ANSWER_TIME;
	made->registry = metrics;
	pthread_mutex_init(&made->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&made->freed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	open_metrics(made);
	*db = made;
	return true;
}

/* Takes every idle connection out of the pool; the caller closes them without the lock. */
static struct db_connection *take_all_idle(struct ch_db *db)
{
	struct db_connection *idle = CH_STEAL(db->idle);

	for (struct db_connection *each = idle; each; each = each->next)
		db->open--;
	count_open(db);
	pthread_cond_broadcast(&db->freed);
	return idle;
}

static void close_all(struct db_connection *connections)
{
	while (connections) {
		struct db_connection *next = connections->next;

		db_connection_close(connections);
		connections = next;
	}
}

void ch_db_close(struct ch_db *db)
{
	if (!db)
		return;
	close_all(take_all_idle(db));
	if (db->open)
		ch_log_error("database closed while %zu connections are in use", db->open);
	pthread_cond_destroy(&db->freed);
	pthread_mutex_destroy(&db->lock);
	ch_wipe(db->url, strlen(db->url));
	free(db->url);
	free(db->name);
	free(db);
}

static struct timespec monotonic_timespec(int64_t time_us)
{
	return (struct timespec){ .tv_sec = time_us / CH_SECOND, .tv_nsec = (time_us % CH_SECOND) * 1000 };
}

/* An idle connection, or the right to open one (*connection NULL). False: neither came free in time. */
static bool take_slot(struct ch_db *db, struct db_connection **connection)
{
	struct timespec deadline = monotonic_timespec(ch_monotonic_us() + DB_POOL_WAIT);
	bool free_one = true;

	pthread_mutex_lock(&db->lock);
	while (!db->idle && db->open >= db->limit && free_one)
		free_one = pthread_cond_timedwait(&db->freed, &db->lock, &deadline) == 0;
	*connection = db->idle;
	free_one = db->idle || db->open < db->limit;
	if (db->idle)
		db->idle = db->idle->next;
	else if (free_one)
		db->open++;
	count_open(db);
	pthread_mutex_unlock(&db->lock);
	return free_one;
}

static void give_slot_back(struct ch_db *db)
{
	pthread_mutex_lock(&db->lock);
	db->open--;
	count_open(db);
	pthread_cond_signal(&db->freed);
	pthread_mutex_unlock(&db->lock);
}

bool db_take(struct ch_db *db, struct db_connection **connection, struct ch_error *err)
{
	int64_t began = ch_monotonic_us();

	*connection = NULL;
	if (!take_slot(db, connection))
		return ch_fail(err, CH_UNAVAILABLE, "all %zu database connections were in use for %d s",
			       db->limit, (int)(DB_POOL_WAIT / CH_SECOND));
	if (db->metrics.wait_seconds)
		ch_metric_observe(db->metrics.wait_seconds, ch_monotonic_us() - began);
	if (*connection)
		return true;
	if (db_connection_open(db, connection, err))
		return true;
	give_slot_back(db);
	return false;
}

void db_put_back(struct ch_db *db, struct db_connection *connection)
{
	if (!connection)
		return;
	if (connection->broken || db_connection_lost(connection)) {
		db_count(db->metrics.lost);
		db_connection_close(connection);
		give_slot_back(db);
		return;
	}
	pthread_mutex_lock(&db->lock);
	connection->next = db->idle;
	db->idle = connection;
	pthread_cond_signal(&db->freed);
	pthread_mutex_unlock(&db->lock);
}

bool db_replace(struct ch_db *db, struct db_connection **connection, struct ch_error *err)
{
	struct db_connection *idle;

	db_count(db->metrics.lost);
	db_count(db->metrics.retries);
	db_connection_close(CH_STEAL(*connection));
	pthread_mutex_lock(&db->lock);
	idle = take_all_idle(db);
	pthread_mutex_unlock(&db->lock);
	close_all(idle);
	if (db_connection_open(db, connection, err))
		return true;
	give_slot_back(db);
	return false;
}

bool ch_db_begin(struct ch_db *db, const char *tenant, struct ch_transaction **transaction,
		 struct ch_error *err)
{
	struct db_connection *connection;
	struct ch_transaction *made;

	if (!db_take(db, &connection, err)) {
		db_count_error(db, err);
		return false;
	}
	made = ch_alloc(sizeof(*made));
	made->db = db;
	made->connection = connection;
	made->tenant = tenant ? ch_strdup(tenant) : NULL;
	*transaction = made;
	return true;
}

static void end(struct ch_transaction *transaction)
{
	db_put_back(transaction->db, transaction->connection);
	free(transaction->tenant);
	free(transaction);
}

/* A server that says that it is going away may have committed before it said so. */
static bool fail_end(struct ch_transaction *transaction, const char *sql, const PGresult *result,
		     struct ch_error *err)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (!state || db_state_means_lost(state))
		transaction->connection->broken = true;
	return db_fail_result(err, sql, result);
}

/* COMMIT or ROLLBACK as a plain query. *tag: what the server says it did; NULL where no answer came. */
static bool send_end(struct ch_transaction *transaction, const char *sql, char tag[16], struct ch_error *err)
{
	struct db_connection *connection = transaction->connection;
	int64_t deadline = ch_monotonic_us() + transaction->db->answer_us;
	bool ok = true;

	tag[0] = '\0';
	if (PQsendQuery(connection->pg, sql) != 1)
		return ch_fail(err, CH_UNAVAILABLE, "%s: connection to the database lost", sql);
	for (;;) {
		CH_AUTO(PGresult) result = NULL;

		if (!db_next_result(connection, deadline, &result))
			return ch_fail(err, CH_UNAVAILABLE, "%s: no answer from the database within %d s",
				       sql, (int)(transaction->db->answer_us / CH_SECOND));
		if (!result)
			return ok;
		if (PQresultStatus(result) == PGRES_COMMAND_OK)
			snprintf(tag, 16, "%s", PQcmdStatus(result));
		else
			ok = fail_end(transaction, sql, result, err);
	}
}

static bool commit(struct ch_transaction *transaction, struct ch_error *err)
{
	char tag[16];

	if (!transaction->connection)
		return ch_fail(err, CH_UNAVAILABLE, "COMMIT: connection lost earlier; nothing was committed");
	if (!transaction->begun)
		return true;
	if (!send_end(transaction, "COMMIT", tag, err)) {
		/* Told of a failure on a live connection: it is rolled back. Else nobody told us anything. */
		if (!db_connection_lost(transaction->connection) && !transaction->connection->broken)
			return false;
		db_count(transaction->db->metrics.commit_unknown);
		return ch_fail(err, CH_UNAVAILABLE,
			       "connection to the database lost: outcome of COMMIT unknown");
	}
	if (strcmp(tag, "COMMIT") != 0)
		return ch_fail(err, CH_CONFLICT,
			       "COMMIT: a statement had failed, so the transaction was rolled back");
	db_count(transaction->db->metrics.committed);
	return true;
}

bool ch_db_commit(struct ch_transaction **transaction, struct ch_error *err)
{
	struct ch_transaction *ending = CH_STEAL(*transaction);
	bool committed = commit(ending, err);

	if (!committed)
		db_count_error(ending->db, err);
	end(ending);
	return committed;
}

void ch_db_rollback(struct ch_transaction *transaction)
{
	char tag[16];

	if (!transaction)
		return;
	if (transaction->connection && !transaction->connection->broken &&
	    PQtransactionStatus(transaction->connection->pg) != PQTRANS_IDLE &&
	    !send_end(transaction, "ROLLBACK", tag, NULL))
		transaction->connection->broken = true;
	if (transaction->begun)
		db_count(transaction->db->metrics.rolled_back);
	end(transaction);
}

void ch_db_limit_answer(struct ch_db *db, int64_t answer_us)
{
	db->answer_us = answer_us;
}

bool ch_db_ping(struct ch_db *db, struct ch_error *err)
{
	struct ch_transaction *transaction;
	struct db_command ping = { DB_PREPARED, "ping", "SELECT 1", NULL, 0 };
	bool ok;

	if (!ch_db_begin(db, NULL, &transaction, err))
		return false;
	transaction->begun = true; /* a statement alone needs no BEGIN */
	ok = db_run(transaction, &ping, NULL, err);
	end(transaction);
	return ok;
}

bool ch_db_time(struct ch_db *db, int64_t *time_us, struct ch_error *err)
{
	static const struct ch_statement statement = { "db_time", "SELECT clock_timestamp()" };
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_transaction *transaction;
	bool ok;

	if (!ch_db_begin(db, NULL, &transaction, err))
		return false;
	transaction->begun = true;
	ok = ch_db_query(transaction, &statement, CH_NO_PARAMETERS, &rows, err);
	if (ok)
		*time_us = ch_rows_time(rows, 0, 0);
	end(transaction);
	return ok;
}
