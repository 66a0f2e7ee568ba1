/* SPDX-License-Identifier: Apache-2.0 */
/* quota_store.c: all SQL for quotas. The database's clock fills them, so that vaults need not agree on one.
 */
#include "policy.h"
#include "vault.h"

static const struct ch_statement insert_quota = {
	"vault_insert_quota", "INSERT INTO quotas (key_id, caller, purpose, tokens, refilled_at) "
			      "VALUES ($1, $2, $3, $4::bigint, clock_timestamp()) ON CONFLICT DO NOTHING"
};
static const struct ch_statement take_quota = {
	"vault_take_quota",
	"WITH now AS (SELECT least($4::bigint, greatest(tokens, 0) + greatest(extract(epoch FROM "
	"clock_timestamp() - refilled_at)::double precision, 0) * $5::bigint / 3600) AS available, "
	"greatest(clock_timestamp(), refilled_at) AS at "
	"FROM quotas WHERE key_id = $1 AND caller = $2 AND purpose = $3 FOR UPDATE) "
	"UPDATE quotas SET tokens = now.available - least(floor(now.available), $6::bigint), refilled_at = "
	"now.at "
	"FROM now WHERE key_id = $1 AND caller = $2 AND purpose = $3 "
	"RETURNING least(floor(now.available), $6::bigint)::bigint, (now.available * 1000000)::bigint"
};
static const struct ch_statement delete_quotas = { "vault_delete_quotas",
						   "DELETE FROM quotas WHERE key_id = $1" };

bool store_insert_quota(struct ch_db *db, const struct vault_quota_row *row, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &insert_quota,
			   CH_PARAMETERS(ch_param_text(row->key_id), ch_param_text(row->caller),
					 ch_param_int32(row->purpose), ch_param_int64(row->burst)),
			   NULL, err) &&
	       ch_db_commit(&transaction, err);
}

bool store_take_quota(struct ch_db *db, struct vault_quota_row *row, uint32_t wanted, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &take_quota,
			 CH_PARAMETERS(ch_param_text(row->key_id), ch_param_text(row->caller),
				       ch_param_int32(row->purpose), ch_param_int64(row->burst),
				       ch_param_int64(row->per_hour), ch_param_int64(wanted)),
			 &rows, err))
		return false;
	row->missing = ch_rows_count(rows) != 1;
	if (!row->missing) {
		row->taken = (uint32_t)ch_rows_int64(rows, 0, 0);
		row->available_micro = ch_rows_int64(rows, 0, 1);
	}
	return ch_db_commit(&transaction, err);
}

bool store_delete_quotas(struct ch_db *db, const char *key_id, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &delete_quotas, CH_PARAMETERS(ch_param_text(key_id)), NULL, err) &&
	       ch_db_commit(&transaction, err);
}
