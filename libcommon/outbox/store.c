/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: statements of the outbox, but for the inserts, which are part of each service's own. */
#include "outbox/internal.h"

#include "log/log.h"

static const struct ch_statement read_rows = {
	"outbox_read",
	"SELECT outbox_id, signed_event, extract(epoch FROM clock_timestamp() - created_at)::bigint"
	" FROM audit_outbox WHERE service = $1 AND outbox_id > $2 ORDER BY outbox_id LIMIT $3::int",
};
static const struct ch_statement take_rows = {
	"outbox_take",
	"SELECT take_outbox($1, $2::bigint[])",
};

bool outbox_store_read(struct ch_db *db, const char *service, int64_t after, struct ch_rows **rows,
		       struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &read_rows,
			   CH_PARAMETERS(ch_param_text(service), ch_param_int64(after),
					 ch_param_int32(OUTBOX_BATCH)),
			   rows, err);
}

static bool take(struct ch_db *db, const char *service, const char *ids, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &take_rows, CH_PARAMETERS(ch_param_text(service), ch_param_text(ids)),
			   NULL, err) &&
	       ch_db_commit(&transaction, err);
}

/* One that may not go stops none of the others. */
static bool take_each(struct ch_db *db, const char *service, const struct ch_rows *rows, bool *done,
		      struct ch_error *err)
{
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		CH_AUTO(ch_string) id = ch_format("{%lld}", (long long)ch_rows_int64(rows, i, 0));

		if (!done[i] || take(db, service, id, err))
			continue;
		if (err->code != CH_INVALID)
			return false;
		ch_log_error("ALERT: the audit service has answered for an event that it has not kept: %s",
			     err->message);
		done[i] = false;
	}
	return true;
}

bool outbox_store_take(struct ch_db *db, const char *service, const struct ch_rows *rows, bool *done,
		       struct ch_error *err)
{
	CH_AUTO(ch_string) ids = NULL;
	CH_AUTO(ch_buffer) list = CH_NONE;

	for (size_t i = 0; i < ch_rows_count(rows); i++)
		if (done[i])
			ch_buffer_printf(&list, "%c%lld", list.used ? ',' : '{',
					 (long long)ch_rows_int64(rows, i, 0));
	if (!list.used)
		return true;
	ch_buffer_add(&list, "}", 1);
	ids = ch_buffer_steal_text(&list);
	return take(db, service, ids, err) ||
	       (err->code == CH_INVALID && take_each(db, service, rows, done, err));
}
