/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.c: one session with a PostgreSQL server: opening it, waiting for its answers with a deadline,
 * and remembering what it has prepared. Called by pool.c and query.c.
 */
#include "db/db_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct prepared {
	char *key; /* "issuer_find/ti": statement and kinds of its parameters */
	char name[64];
	const char *sql;
	UT_hash_handle hh;
};

/* What every session runs first. idle_in_transaction: a thread of ours that died with a transaction open must
 * not keep its locks for ever. */
static const char session_settings[] = "SET statement_timeout = 15000; SET lock_timeout = 10000; SET "
				       "idle_in_transaction_session_timeout = 120000; "
				       "SET timezone = 'UTC'; SET client_min_messages = warning";

static void drop_notice(void *context, const PGresult *result)
{
	(void)context;
	ch_log_debug("database notice: %s", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

/* Keys that stand before dbname are defaults that the connection string overrides; those after it override.
 */
static PGconn *connect_with_defaults(const struct ch_db *db)
{
	const char *keys[] = { "connect_timeout",
			       "keepalives_idle",
			       "keepalives_interval",
			       "keepalives_count",
			       "tcp_user_timeout",
			       "target_session_attrs",
			       "dbname",
			       "application_name",
			       "client_encoding",
			       NULL };
	const char *values[] = { "3", "10", "3", "3", "10000", "any", db->url, db->name, "UTF8", NULL };

	return PQconnectdbParams(keys, values, 1);
}

/* libpq's messages end in a newline and may have several lines, one for each host tried. */
static void tidy(char *text)
{
	size_t size = strlen(text);

	while (size && text[size - 1] == '\n')
		text[--size] = '\0';
	for (char *at = text; *at; at++)
		if (*at == '\n')
			*at = ' ';
}

/* While there is none, each request and each poll of the database may try. */
static void log_seldom(struct ch_db *db, const char *text)
{
	int64_t now_us = ch_monotonic_us(), told_us = atomic_load(&db->told_us);

	if ((!told_us || now_us - told_us >= CH_MINUTE) &&
	    atomic_compare_exchange_strong(&db->told_us, &told_us, now_us))
		ch_log_error("database: %s", text);
}

/* Errors are told to clients far away, and libpq's text names sockets, hosts and roles: the log keeps the
 * whole of it, the error what of it says nothing about this machine. */
static bool fail_connection(struct ch_db *db, struct ch_error *err, const char *libpq)
{
	static const char *const told[] = {
		"Connection refused",
		"No such file or directory",
		"Permission denied",
		"timeout expired",
		"timed out",
		"password authentication failed",
		"Peer authentication failed",
		"is not permitted to log in",
		"too many connections",
		"too many clients",
		"the database system is",
		"server closed the connection",
		"certificate verify failed",
	};
	CH_AUTO(ch_string) text = ch_strdup(libpq);
	const char *why = "the log says why";

	tidy(text);
	log_seldom(db, text);
	for (size_t i = 0; i < CH_COUNT(told); i++)
		if (strstr(text, told[i])) {
			why = told[i];
			break;
		}
	if (strcmp(why, "the database system is") == 0)
		why = "it is starting up or shutting down";
	return ch_fail(err, CH_UNAVAILABLE, "database: no connection: %s", why);
}

static bool run_settings(struct ch_db *db, struct db_connection *connection, struct ch_error *err)
{
	int64_t deadline = ch_monotonic_us() + db->answer_us;
	bool ok = PQsendQuery(connection->pg, session_settings) == 1;

	while (ok) {
		CH_AUTO(PGresult) result = NULL;

		if (!db_next_result(connection, deadline, &result))
			return ch_fail(err, CH_UNAVAILABLE, "database did not answer the session's settings");
		if (!result)
			return true;
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			return db_fail_result(err, "session settings", result);
	}
	return fail_connection(db, err, PQerrorMessage(connection->pg));
}

bool db_connection_open(struct ch_db *db, struct db_connection **connection, struct ch_error *err)
{
	struct db_connection *made = ch_alloc(sizeof(*made));

	made->pg = connect_with_defaults(db);
	if (PQstatus(made->pg) != CONNECTION_OK) {
		fail_connection(db, err, PQerrorMessage(made->pg));
		db_connection_close(made);
		return false;
	}
	PQsetNoticeReceiver(made->pg, drop_notice, NULL);
	if (PQsetnonblocking(made->pg, 1) != 0 || !run_settings(db, made, err)) {
		db_connection_close(made);
		return false;
	}
	atomic_store(&db->told_us, 0);
	db_count(db->metrics.connects);
	*connection = made;
	return true;
}

void db_connection_close(struct db_connection *connection)
{
	struct prepared *each, *next;

	if (!connection)
		return;
	HASH_ITER(hh, connection->prepared, each, next)
	{
		HASH_DEL(connection->prepared, each);
		free(each->key);
		free(each);
	}
	PQfinish(connection->pg);
	free(connection);
}

bool db_connection_lost(const struct db_connection *connection)
{
	return PQstatus(connection->pg) != CONNECTION_OK;
}

/* Sends what is left to send and reads until a result is whole. A lost connection ends the wait too:
 * PQgetResult then has the error. */
static bool wait_until_ready(PGconn *pg, int64_t deadline_us)
{
	for (;;) {
		int unsent = PQflush(pg);
		struct pollfd wait = { .fd = PQsocket(pg), .events = POLLIN };
		int64_t left_us;

		if (unsent < 0 || wait.fd < 0 || (unsent == 0 && !PQisBusy(pg)))
			return true;
		if (unsent)
			wait.events |= POLLOUT;
		left_us = deadline_us - ch_monotonic_us();
		if (left_us <= 0)
			return false;
		if (poll(&wait, 1, (int)(left_us / 1000 + 1)) < 0 && errno != EINTR)
			return true;
		if ((wait.revents & (POLLIN | POLLERR | POLLHUP)) && !PQconsumeInput(pg))
			return true;
	}
}

bool db_next_result(struct db_connection *connection, int64_t deadline_us, PGresult **result)
{
	if (!wait_until_ready(connection->pg, deadline_us)) {
		connection->broken = true;
		return false;
	}
	*result = PQgetResult(connection->pg);
	return true;
}

const char *db_prepared_find(const struct db_connection *connection, const char *key, const char *sql)
{
	struct prepared *found = NULL;

	HASH_FIND_STR(connection->prepared, key, found);
	if (found && found->sql != sql && strcmp(found->sql, sql) != 0) {
		ch_log_error("two statements have the name '%s'", key);
		(void)ch_log_flush(CH_SECOND);
		abort();
	}
	return found ? found->name : NULL;
}

/* The server tells names apart by their first 63 octets, so the number stands first. */
const char *db_prepared_new_name(struct db_connection *connection, const char *statement, char name[64])
{
	snprintf(name, 64, "s%u_%s", ++connection->prepared_count, statement);
	return name;
}

void db_prepared_add(struct db_connection *connection, const char *key, const char *name, const char *sql)
{
	struct prepared *made = ch_alloc(sizeof(*made));

	made->key = ch_strdup(key);
	made->sql = sql;
	snprintf(made->name, sizeof(made->name), "%s", name);
	HASH_ADD_KEYPTR(hh, connection->prepared, made->key, strlen(made->key), made);
}
