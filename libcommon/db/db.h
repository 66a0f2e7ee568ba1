/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db.h: PostgreSQL for the daemons: a pool, named prepared statements, transactions that begin with their
 * tenant, reconnect with multi-host connection strings. Parameters and results travel in binary. All
 * statements of a service stand in its store.c.
 *
 *   static const struct ch_statement find = { "issuer_find", "SELECT status, not_after FROM certificates
 * WHERE serial = $1" }; CH_AUTO(ch_transaction) transaction = NULL;                     // rolls back unless
 * committed CH_AUTO(ch_rows) rows = NULL; if (!ch_db_begin(db, tenant, &transaction, err) ||
 *       !ch_db_query(transaction, &find, CH_PARAMETERS(ch_param_bytes(serial)), &rows, err))
 *           return false;
 *   if (ch_rows_count(rows) == 0) …
 *   return ch_db_commit(&transaction, err);
 */
#ifndef CH_DB_H
#define CH_DB_H

#include "daemon/daemon.h"
#include "mem/mem.h"

struct ch_db;
struct ch_transaction;
struct ch_rows;

/* Connects lazily; `name` is the application_name. CH_INVALID for a connection string that does not parse. */
CH_MUST_USE bool ch_db_open(const struct ch_database_config *config, const char *name,
			    struct ch_metrics *metrics, struct ch_db **db, struct ch_error *err);
void ch_db_close(struct ch_db *db); /* NULL is fine; all transactions must have ended */
/* How long to wait for an answer instead of 20 s: for a probe, whose answer says whether a server answers. */
void ch_db_limit_answer(struct ch_db *db, int64_t answer_us);
/* One round trip: CH_UNAVAILABLE where no server answers. For readiness. */
CH_MUST_USE bool ch_db_ping(struct ch_db *db, struct ch_error *err);

/* The server's clock, microseconds since 1970. CH_UNAVAILABLE. */
CH_MUST_USE bool ch_db_time(struct ch_db *db, int64_t *time_us, struct ch_error *err);

/* `tenant` NULL: none is set (tables under row-level security then show only what the role may see of all
 * tenants). Waits up to 5 s for a free connection. CH_UNAVAILABLE. */
CH_MUST_USE bool ch_db_begin(struct ch_db *db, const char *tenant, struct ch_transaction **transaction,
			     struct ch_error *err);
/* Commits and sets *transaction to NULL, on failure too (then nothing was committed, unless the error says
 * so: CH_UNAVAILABLE "… outcome of COMMIT unknown"). */
CH_MUST_USE bool ch_db_commit(struct ch_transaction **transaction, struct ch_error *err);
void ch_db_rollback(struct ch_transaction *transaction); /* NULL is fine */

struct ch_statement {
	const char *name; /* unique in the process */
	const char *sql;
};

enum ch_param_kind {
	CH_PARAM_NULL,
	CH_PARAM_TEXT,
	CH_PARAM_BYTES,
	CH_PARAM_INT64,
	CH_PARAM_INT32,
	CH_PARAM_BOOL,
	CH_PARAM_TIME,
	CH_PARAM_TEXT_ARRAY,
	CH_PARAM_INT32_ARRAY
};
struct ch_param {
	enum ch_param_kind kind;
	const void *data; /* borrowed: text, octets, or an array of char * / int32_t */
	size_t size;      /* octets or elements */
	int64_t number;
};
struct ch_param ch_param_null(void);
struct ch_param ch_param_text(const char *text);     /* NULL: SQL NULL */
struct ch_param ch_param_bytes(struct ch_view view); /* data NULL: SQL NULL; -> bytea */
struct ch_param ch_param_int64(int64_t number);      /* -> bigint */
struct ch_param ch_param_int32(int32_t number);      /* -> int */
struct ch_param ch_param_bool(bool value);
struct ch_param ch_param_time(int64_t time_us); /* -> timestamptz; 0: SQL NULL */
struct ch_param ch_param_text_array(const char *const *items, size_t count);
struct ch_param ch_param_int32_array(const int32_t *items, size_t count);
#define CH_PARAMETERS(...) \
	(const struct ch_param[]){ __VA_ARGS__ }, CH_COUNT(((const struct ch_param[]){ __VA_ARGS__ }))
#define CH_NO_PARAMETERS NULL, 0

/*
 * Runs a statement, preparing it on this connection the first time.
 * Errors  CH_CONFLICT unique violation or serialization failure (retryable set for the latter);
 * CH_UNAVAILABLE connection lost; CH_DENIED privilege; CH_INVALID data exception or check violation;
 * CH_INTERNAL else. The message names the statement. rows may be NULL where no result is wanted.
 */
CH_MUST_USE bool ch_db_query(struct ch_transaction *transaction, const struct ch_statement *statement,
			     const struct ch_param *parameters, size_t parameter_count, struct ch_rows **rows,
			     struct ch_error *err);
/* Rows in batches without holding the whole result: calls `each` for each batch of up to `batch` rows, until
 * it is false. */
typedef bool (*ch_db_each)(void *context, const struct ch_rows *rows, struct ch_error *err);
CH_MUST_USE bool ch_db_stream(struct ch_transaction *transaction, const struct ch_statement *statement,
			      const struct ch_param *parameters, size_t parameter_count, size_t batch,
			      ch_db_each each, void *context, struct ch_error *err);

size_t ch_rows_count(const struct ch_rows *rows);
uint64_t ch_rows_affected(const struct ch_rows *rows); /* of INSERT, UPDATE, DELETE */
bool ch_rows_null(const struct ch_rows *rows, size_t row, int column);
/* Wrong type for the column is a programming error and aborts with the statement's name. NULL reads as "", 0,
 * empty view. */
const char *ch_rows_text(const struct ch_rows *rows, size_t row,
			 int column); /* text, varchar, name; valid as long as rows */
struct ch_view ch_rows_bytes(const struct ch_rows *rows, size_t row,
			     int column); /* bytea, or the raw value of text */
int64_t ch_rows_int64(const struct ch_rows *rows, size_t row, int column); /* int2, int4, int8 */
bool ch_rows_bool(const struct ch_rows *rows, size_t row, int column);
int64_t ch_rows_time(const struct ch_rows *rows, size_t row,
		     int column); /* timestamptz -> µs since 1970; NULL: 0 */
/* text[] and int4[]; the caller frees *items (text: each and the array). */
size_t ch_rows_text_array(const struct ch_rows *rows, size_t row, int column, char ***items);
size_t ch_rows_int32_array(const struct ch_rows *rows, size_t row, int column, int32_t **items);
void ch_rows_free(struct ch_rows *rows);

/* Applies proto/schema/NNNN_*.sql in `directory` that schema_migrations does not list, each in its own
 * transaction, which locks schema_migrations, as the owner that `url` logs in as. A migration whose file
 * changed after it was applied is CH_CONFLICT. told: called for each applied file name; may be NULL. */
CH_MUST_USE bool ch_db_migrate(const char *url, const char *directory,
			       void (*told)(void *context, const char *file), void *context,
			       struct ch_error *err);

CH_DEFINE_AUTO_POINTER(ch_transaction, struct ch_transaction, ch_db_rollback)
CH_DEFINE_AUTO_POINTER(ch_rows, struct ch_rows, ch_rows_free)
CH_DEFINE_AUTO_POINTER(ch_db, struct ch_db, ch_db_close)

#endif
