/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db_internal.h: what the files of libcommon/db share. A connection belongs to one thread at a time: to the
 * pool (under its lock) or to one transaction.
 */
#ifndef CH_DB_INTERNAL_H
#define CH_DB_INTERNAL_H

#include "db/db.h"
#include "log/log.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <pthread.h>

#define DB_POOL_WAIT      (5 * CH_SECOND)
#define DB_STATEMENT_TIME (15 * CH_SECOND) /* the server cancels a statement then (statement_timeout) */
#define DB_ANSWER_TIME    (20 * CH_SECOND) /* we give up on the server then, however it hangs */
#define DB_PARAMETERS_MAX 64

struct prepared;

struct db_connection {
	PGconn *pg;
	struct prepared *prepared; /* what this server session has prepared */
	unsigned prepared_count;
	bool broken; /* lost, hung or no longer to be trusted: closed instead of put back */
	struct db_connection *next;
};

struct db_metrics { /* all NULL where no registry was given */
	struct ch_metric *connections, *connects, *lost, *retries;
	struct ch_metric *committed, *rolled_back, *commit_unknown;
	struct ch_metric *queries, *query_seconds, *wait_seconds;
};

struct ch_db {
	char *url;
	char *name;
	size_t limit;
	int64_t answer_us;    /* DB_ANSWER_TIME; tests shorten it */
	pthread_mutex_t lock; /* guards idle and open */
	pthread_cond_t freed;
	struct db_connection *idle; /* newest first, so that the rest may grow old unused */
	size_t open;                /* idle, in use, or being opened */
	_Atomic int64_t told_us; /* monotonic: when the log last had why there is no connection; 0: since one
				    was made, it had not */
	struct db_metrics metrics;
	struct ch_metrics *registry; /* for errors by code; may be NULL */
};

struct ch_transaction {
	struct ch_db *db;
	struct db_connection *connection; /* NULL once it was lost */
	char *tenant;
	bool begun;    /* BEGIN was answered */
	bool answered; /* a statement succeeded: it cannot be moved to another connection any more */
	bool failed;   /* a statement failed: the server refuses all but ROLLBACK */
	unsigned cursors;
};

struct ch_rows {
	PGresult *result;
	char *statement;
};

/* connection.c */
CH_MUST_USE bool db_connection_open(struct ch_db *db, struct db_connection **connection,
				    struct ch_error *err);
void db_connection_close(struct db_connection *connection);
/* The next PGresult without ever blocking past the deadline (NULL at the end of one command's results).
 * False: the server did not answer in time. */
CH_MUST_USE bool db_next_result(struct db_connection *connection, int64_t deadline_us, PGresult **result);
bool db_connection_lost(const struct db_connection *connection);
/* The session's name for a statement, prepared already or not yet. */
const char *db_prepared_find(const struct db_connection *connection, const char *key, const char *sql);
const char *db_prepared_new_name(struct db_connection *connection, const char *statement, char name[64]);
void db_prepared_add(struct db_connection *connection, const char *key, const char *name, const char *sql);

/* pool.c */
CH_MUST_USE bool db_take(struct ch_db *db, struct db_connection **connection, struct ch_error *err);
void db_put_back(struct ch_db *db, struct db_connection *connection); /* closes a broken one */
/* Swaps a lost connection for a fresh one; closes the idle ones, which were most likely lost with it. */
CH_MUST_USE bool db_replace(struct ch_db *db, struct db_connection **connection, struct ch_error *err);
void db_count(struct ch_metric *metric);
void db_count_error(struct ch_db *db, const struct ch_error *err);

/* params.c: parameters as libpq takes them. */
struct db_encoded {
	int count;
	Oid types[DB_PARAMETERS_MAX];
	const char *values[DB_PARAMETERS_MAX];
	int lengths[DB_PARAMETERS_MAX];
	int formats[DB_PARAMETERS_MAX];
	uint8_t numbers[DB_PARAMETERS_MAX][8];
	uint8_t *arrays[DB_PARAMETERS_MAX]; /* owned */
	char signature[DB_PARAMETERS_MAX + 1];
};
CH_MUST_USE bool db_encode(const struct ch_param *parameters, size_t count, struct db_encoded *encoded,
			   struct ch_error *err);
void db_encoded_free(struct db_encoded *encoded);

/* query.c */
enum db_command_kind { DB_PREPARED, DB_PLAIN };
struct db_command {
	enum db_command_kind kind;
	const char *name; /* of the statement, for errors and the prepared name */
	const char *sql;
	const struct ch_param *parameters;
	size_t parameter_count;
};
CH_MUST_USE bool db_run(struct ch_transaction *transaction, const struct db_command *command,
			struct ch_rows **rows, struct ch_error *err);

/* sqlstate.c */
bool db_fail_result(struct ch_error *err, const char *statement, const PGresult *result);
bool db_state_means_lost(const char *sqlstate);

CH_DEFINE_AUTO_POINTER(PGresult, PGresult, PQclear)
CH_DEFINE_AUTO_POINTER(PGconn, PGconn, PQfinish)
CH_DEFINE_AUTO_VALUE(db_encoded, struct db_encoded, db_encoded_free)

#endif
