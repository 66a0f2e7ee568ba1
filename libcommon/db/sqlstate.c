/* SPDX-License-Identifier: Apache-2.0 */
/* sqlstate.c: what a PostgreSQL error means to a caller. Called by pool.c, query.c and migrate.c. */
#include "db/db_internal.h"

#include "log/log.h"

#include <string.h>

/* The first row whose prefix matches. Source: PostgreSQL documentation, appendix A. */
struct state_row {
	const char *prefix;
	enum ch_code code;
	bool retryable;
	bool lost; /* this connection is of no use any more */
	bool kept; /* the server's text is for the log alone: it may name files, sockets, hosts or roles */
};
static const struct state_row states[] = {
	{ "23505", CH_CONFLICT, false, false, false }, /* unique_violation */
	{ "23P01", CH_CONFLICT, false, false, false }, /* exclusion_violation */
	{ "40", CH_CONFLICT, true, false, false },     /* serialization_failure, deadlock_detected */
	{ "42501", CH_DENIED, false, false, false },   /* insufficient_privilege, row-level security too */
	{ "25006", CH_UNAVAILABLE, true, true,
	  false }, /* read_only_sql_transaction: this server is no primary any more */
	{ "42", CH_INTERNAL, false, false, false },      /* syntax, what does not exist */
	{ "22", CH_INVALID, false, false, false },       /* data exception */
	{ "23", CH_INVALID, false, false, false },       /* check, not null, foreign key */
	{ "P0001", CH_INVALID, false, false, false },    /* RAISE EXCEPTION of a function of ours */
	{ "57014", CH_UNAVAILABLE, true, false, false }, /* query_canceled: statement_timeout */
	{ "55P03", CH_UNAVAILABLE, true, false, false }, /* lock_not_available: lock_timeout */
	{ "53", CH_UNAVAILABLE, true, false, true },     /* out of disk, memory or connections */
	{ "57P0", CH_UNAVAILABLE, true, true,
	  false }, /* admin_shutdown, crash_shutdown, cannot_connect_now */
	{ "25P03", CH_UNAVAILABLE, true, true, false }, /* idle_in_transaction_session_timeout */
	{ "08", CH_UNAVAILABLE, true, true, true },     /* connection exception */
	{ "0A000", CH_UNAVAILABLE, true, true,
	  false }, /* "cached plan must not change result type" after a migration */
	{ "28", CH_UNAVAILABLE, true, true, true }, /* the role may not log in (yet) */
	{ "", CH_INTERNAL, false, false, true },
};

static const struct state_row *find(const char *sqlstate)
{
	const struct state_row *row = states;

	while (strncmp(sqlstate, row->prefix, strlen(row->prefix)) != 0)
		row++;
	return row;
}

bool db_state_means_lost(const char *sqlstate)
{
	return find(sqlstate)->lost;
}

/* The primary message only: DETAIL may hold the values of a row. Of what the server says about itself ("could
 * not extend file …", SQLSTATE classes 53, 58, XX) no client hears more than the SQLSTATE. */
bool db_fail_result(struct ch_error *err, const char *statement, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (!sqlstate) /* libpq's own: the connection broke */
		return ch_fail(err, CH_UNAVAILABLE, "statement '%s': connection to the database lost",
			       statement);
	if (find(sqlstate)->kept) {
		ch_log_error("statement '%s': %s (SQLSTATE %s)", statement, message ? message : "failed",
			     sqlstate);
		message = "failed, the log says why";
	}
	ch_fail(err, find(sqlstate)->code, "statement '%s': %s (SQLSTATE %s)", statement,
		message ? message : "failed", sqlstate);
	if (err)
		err->retryable = find(sqlstate)->retryable;
	return false;
}
