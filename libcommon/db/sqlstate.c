/* SPDX-License-Identifier: Apache-2.0 */
/* sqlstate.c: what a PostgreSQL error means to a caller. Called by pool.c, query.c and migrate.c. */
#include "db/db_internal.h"

#include <string.h>

/* The first row whose prefix matches. Source: PostgreSQL documentation, appendix A. */
struct state_row {
	const char *prefix;
	enum ch_code code;
	bool retryable;
	bool lost; /* this connection is of no use any more */
};
static const struct state_row states[] = {
	{ "23505", CH_CONFLICT, false, false }, /* unique_violation */
	{ "23P01", CH_CONFLICT, false, false }, /* exclusion_violation */
	{ "40", CH_CONFLICT, true, false },     /* serialization_failure, deadlock_detected */
	{ "42501", CH_DENIED, false, false },   /* insufficient_privilege, row-level security too */
	{ "25006", CH_UNAVAILABLE, true,
	  true }, /* read_only_sql_transaction: this server is no primary any more */
	{ "22", CH_INVALID, false, false },       /* data exception */
	{ "23", CH_INVALID, false, false },       /* check, not null, foreign key */
	{ "P0001", CH_INVALID, false, false },    /* RAISE EXCEPTION of a function of ours */
	{ "57014", CH_UNAVAILABLE, true, false }, /* query_canceled: statement_timeout */
	{ "55P03", CH_UNAVAILABLE, true, false }, /* lock_not_available: lock_timeout */
	{ "53", CH_UNAVAILABLE, true, false },    /* out of disk, memory or connections */
	{ "57P0", CH_UNAVAILABLE, true, true },   /* admin_shutdown, crash_shutdown, cannot_connect_now */
	{ "25P03", CH_UNAVAILABLE, true, true },  /* idle_in_transaction_session_timeout */
	{ "08", CH_UNAVAILABLE, true, true },     /* connection exception */
	{ "0A000", CH_UNAVAILABLE, true,
	  true }, /* "cached plan must not change result type" after a migration */
	{ "28", CH_UNAVAILABLE, true, true }, /* the role may not log in (yet) */
	{ "", CH_INTERNAL, false, false },
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

/* The primary message only: DETAIL may hold the values of a row. */
bool db_fail_result(struct ch_error *err, const char *statement, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (!sqlstate) /* libpq's own: the connection broke */
		return ch_fail(err, CH_UNAVAILABLE, "statement '%s': connection to the database lost",
			       statement);
	ch_fail(err, find(sqlstate)->code, "statement '%s': %s (SQLSTATE %s)", statement,
		message ? message : "failed", sqlstate);
	if (err)
		err->retryable = find(sqlstate)->retryable;
	return false;
}
