/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.c: runs a statement. BEGIN, the tenant, a first PREPARE and the statement itself travel in one
 * pipeline, so that a transaction of one statement costs two round trips. Called by store.c files through
 * ch_db_query, by stream.c and by pool.c's ping.
 */
#include "db/db_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Read committed: each statement sees what was committed before it began. */
static const struct db_command begin_command = { DB_PREPARED, "begin", "BEGIN", NULL, 0 };
static const char tenant_sql[] = "SELECT set_config('chancery.tenant', $1, true)";

/* What one pipeline holds: results come back in this order. */
enum step_kind { STEP_BEGIN, STEP_PREPARE, STEP_TENANT, STEP_STATEMENT };
struct step {
	enum step_kind kind;
	const char *sql;
	char key[128]; /* STEP_PREPARE */
	char name[64];
};
struct pipeline {
	struct step steps[8];
	size_t count;
};

static bool queue_prepare(struct db_connection *connection, const struct db_command *command,
			  const struct db_encoded *encoded, const char *key, struct pipeline *pipeline,
			  char name[64])
{
	struct step *step = &pipeline->steps[pipeline->count++];

	step->kind = STEP_PREPARE;
	step->sql = command->sql;
	snprintf(step->key, sizeof(step->key), "%s", key);
	db_prepared_new_name(connection, command->name, name);
	snprintf(step->name, sizeof(step->name), "%s", name);
	return PQsendPrepare(connection->pg, name, command->sql, encoded->count, encoded->types) == 1;
}

static bool queue(struct db_connection *connection, const struct db_command *command,
		  const struct db_encoded *encoded, enum step_kind kind, struct pipeline *pipeline)
{
	char key[128], name[64];
	const char *known;

	if (command->kind == DB_PLAIN) {
		pipeline->steps[pipeline->count++].kind = kind;
		return PQsendQueryParams(connection->pg, command->sql, encoded->count, encoded->types,
					 encoded->values, encoded->lengths, encoded->formats, 1) == 1;
	}
	/* The kinds of the parameters are part of the key: NULL of no kind prepares another statement. */
	snprintf(key, sizeof(key), "%.60s/%s", command->name, encoded->signature);
	known = db_prepared_find(connection, key, command->sql);
	if (!known) {
		if (!queue_prepare(connection, command, encoded, key, pipeline, name))
			return false;
		known = name;
	}
	pipeline->steps[pipeline->count++].kind = kind;
	return PQsendQueryPrepared(connection->pg, known, encoded->count, encoded->values, encoded->lengths,
				   encoded->formats, 1) == 1;
}

static bool queue_begin(struct ch_transaction *transaction, struct pipeline *pipeline)
{
	const struct ch_param tenant = ch_param_text(transaction->tenant);
	struct db_command set_tenant = { DB_PREPARED, "tenant", tenant_sql, &tenant, 1 };
	CH_AUTO(db_encoded) nothing = CH_NONE, encoded = CH_NONE;

	if (!queue(transaction->connection, &begin_command, &nothing, STEP_BEGIN, pipeline))
		return false;
	return !transaction->tenant ||
	       (db_encode(&tenant, 1, &encoded, NULL) &&
		queue(transaction->connection, &set_tenant, &encoded, STEP_TENANT, pipeline));
}

static void note_success(struct ch_transaction *transaction, const struct step *step)
{
	if (step->kind == STEP_BEGIN)
		transaction->begun = true;
	else if (step->kind == STEP_PREPARE)
		db_prepared_add(transaction->connection, step->key, step->name, step->sql);
	else if (step->kind == STEP_STATEMENT)
		transaction->answered = true;
}

static bool succeeded(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool lost(struct ch_transaction *transaction, const char *name, struct ch_error *err)
{
	transaction->connection->broken = true;
	return ch_fail(err, CH_UNAVAILABLE, "statement '%s': connection to the database lost", name);
}

/* Reads every result of the pipeline, up to its sync point, so that the connection can go on being used. */
static bool collect(struct ch_transaction *transaction, const struct pipeline *pipeline, const char *name,
		    PGresult **answer, struct ch_error *err)
{
	struct db_connection *connection = transaction->connection;
	int64_t deadline = ch_monotonic_us() + transaction->db->answer_us;
	size_t at = 0;
	bool ok = true;

	for (;;) {
		CH_AUTO(PGresult) result = NULL;

		if (!db_next_result(connection, deadline, &result))
			return ch_fail(err, CH_UNAVAILABLE,
				       "statement '%s': no answer from the database within %d s", name,
				       (int)(transaction->db->answer_us / CH_SECOND));
		if (!result) { /* the end of one step */
			if (++at > pipeline->count || db_connection_lost(connection))
				return ok ? lost(transaction, name, err) : false;
			continue;
		}
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
			return ok;
		if (at < pipeline->count && succeeded(result)) {
			note_success(transaction, &pipeline->steps[at]);
			if (pipeline->steps[at].kind == STEP_STATEMENT)
				*answer = CH_STEAL(result);
		} else if (ok && PQresultStatus(result) != PGRES_PIPELINE_ABORTED) {
			const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

			ok = db_fail_result(err, name, result);
			if (!state || db_state_means_lost(state))
				connection->broken = true;
		}
	}
}

static bool run_once(struct ch_transaction *transaction, const struct db_command *command,
		     const struct db_encoded *encoded, PGresult **answer, struct ch_error *err)
{
	PGconn *pg = transaction->connection->pg;
	struct pipeline pipeline = CH_NONE;

	if (PQenterPipelineMode(pg) != 1 || (!transaction->begun && !queue_begin(transaction, &pipeline)) ||
	    !queue(transaction->connection, command, encoded, STEP_STATEMENT, &pipeline) ||
	    PQpipelineSync(pg) != 1)
		return lost(transaction, command->name, err);
	if (!collect(transaction, &pipeline, command->name, answer, err)) {
		transaction->failed = true;
		if (!transaction->connection->broken && PQexitPipelineMode(pg) != 1)
			transaction->connection->broken = true;
		return false;
	}
	if (PQexitPipelineMode(pg) != 1)
		return lost(transaction, command->name, err);
	return true;
}

/* A lost connection has undone everything that this transaction did. Where that is nothing, begin again
 * elsewhere. */
static bool may_move(const struct ch_transaction *transaction, int64_t began_us)
{
	return transaction->connection->broken && !transaction->answered &&
	       ch_monotonic_us() - began_us < transaction->db->answer_us;
}

static bool run(struct ch_transaction *transaction, const struct db_command *command,
		const struct db_encoded *encoded, PGresult **answer, struct ch_error *err)
{
	bool alone =
		transaction->begun && !transaction->answered; /* ping: no BEGIN on the second try either */
	int64_t began = ch_monotonic_us();

	if (run_once(transaction, command, encoded, answer, err))
		return true;
	if (!may_move(transaction, began))
		return false;
	transaction->begun = alone;
	transaction->failed = false;
	return db_replace(transaction->db, &transaction->connection, err) &&
	       run_once(transaction, command, encoded, answer, err);
}

static struct ch_rows *wrap(PGresult *result, const char *statement)
{
	struct ch_rows *rows = ch_alloc(sizeof(*rows));

	rows->result = result;
	rows->statement = ch_strdup(statement);
	return rows;
}

bool db_run(struct ch_transaction *transaction, const struct db_command *command, struct ch_rows **rows,
	    struct ch_error *err)
{
	CH_AUTO(db_encoded) encoded = CH_NONE;
	CH_AUTO(PGresult) answer = NULL;
	int64_t began = ch_monotonic_us();
	bool ok;

	if (!transaction->connection || transaction->connection->broken)
		return ch_fail(err, CH_UNAVAILABLE, "statement '%s': connection to the database was lost",
			       command->name);
	if (transaction->failed)
		return ch_fail(err, CH_CONFLICT,
			       "statement '%s': an earlier statement of this transaction failed",
			       command->name);
	if (!db_encode(command->parameters, command->parameter_count, &encoded, err))
		return ch_fail_in(err, "statement '%s'", command->name);
	ok = run(transaction, command, &encoded, &answer, err);
	db_count(transaction->db->metrics.queries);
	if (transaction->db->metrics.query_seconds)
		ch_metric_observe(transaction->db->metrics.query_seconds, ch_monotonic_us() - began);
	if (!ok) {
		db_count_error(transaction->db, err);
		return false;
	}
	if (rows)
		*rows = wrap(CH_STEAL(answer), command->name);
	return true;
}

bool ch_db_query(struct ch_transaction *transaction, const struct ch_statement *statement,
		 const struct ch_param *parameters, size_t parameter_count, struct ch_rows **rows,
		 struct ch_error *err)
{
	struct db_command command = { DB_PREPARED, statement->name, statement->sql, parameters,
				      parameter_count };

	return db_run(transaction, &command, rows, err);
}
