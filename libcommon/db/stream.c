/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c: a result larger than memory, in batches from a server-side cursor. crl/build.c and the audit
 * verifier read through it.
 */
#include "db/db_internal.h"

#include <stdio.h>

/* One batch. *more: there may be another. */
static bool fetch(struct ch_transaction *transaction, const struct db_command *command, size_t batch,
		  ch_db_each each, void *context, bool *more, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!db_run(transaction, command, &rows, err))
		return false;
	*more = ch_rows_count(rows) == batch;
	return ch_rows_count(rows) == 0 || each(context, rows, err);
}

bool ch_db_stream(struct ch_transaction *transaction, const struct ch_statement *statement,
		  const struct ch_param *parameters, size_t parameter_count, size_t batch, ch_db_each each,
		  void *context, struct ch_error *err)
{
	unsigned number = ++transaction->cursors;
	CH_AUTO(ch_string) declare =
		ch_format("DECLARE ch_cursor_%u NO SCROLL CURSOR FOR %s", number, statement->sql);
	CH_AUTO(ch_string) fetch_sql = ch_format("FETCH FORWARD %zu FROM ch_cursor_%u", batch, number);
	CH_AUTO(ch_string) close_sql = ch_format("CLOSE ch_cursor_%u", number);
	struct db_command declaration = { DB_PLAIN, statement->name, declare, parameters, parameter_count };
	struct db_command fetching = { DB_PLAIN, statement->name, fetch_sql, NULL, 0 };
	struct db_command closing = { DB_PLAIN, statement->name, close_sql, NULL, 0 };
	bool more = true;

	if (!db_run(transaction, &declaration, NULL, err))
		return false;
	while (more)
		if (!fetch(transaction, &fetching, batch, each, context, &more, err))
			return false;
	return db_run(transaction, &closing, NULL, err);
}
