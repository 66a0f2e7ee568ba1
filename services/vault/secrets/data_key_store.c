/* SPDX-License-Identifier: Apache-2.0 */
/* data_key_store.c: all SQL for data keys. */
#include "data_key_store.h"

#include <string.h>

static const struct ch_statement newest = {
	"vault_newest_data_key",
	"SELECT coalesce(max(version), 0)::bigint FROM data_keys WHERE tenant_id = $1"
};
static const struct ch_statement find = {
	"vault_find_data_key", "SELECT wrapped FROM data_keys WHERE tenant_id = $1 AND version = $2"
};
static const struct ch_statement find_tenant = { "vault_find_tenant",
						 "SELECT 1 FROM tenants WHERE tenant_id = $1" };
static const struct ch_statement insert = {
	"vault_insert_data_key",
	"INSERT INTO data_keys (tenant_id, version, wrapped) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
};

bool store_newest_data_key(struct ch_db *db, const char *tenant, uint32_t *version, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &newest, CH_PARAMETERS(ch_param_text(tenant)), &rows, err))
		return false;
	*version = (uint32_t)ch_rows_int64(rows, 0, 0);
	return ch_db_commit(&transaction, err);
}

bool store_find_data_key(struct ch_db *db, const char *tenant, uint32_t version, struct ch_bytes *wrapped,
			 struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (version > INT32_MAX)
		return ch_fail(err, CH_NOT_FOUND, "data key %u of tenant '%s': no such version", version,
			       tenant);
	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &find,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_int32((int32_t)version)), &rows, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_NOT_FOUND, "data key %u of tenant '%s': no such version", version,
			       tenant);
	*wrapped = ch_bytes_copy(ch_rows_bytes(rows, 0, 0));
	if (ch_db_commit(&transaction, err))
		return true;
	ch_bytes_free(wrapped);
	return false;
}

bool store_insert_data_key(struct ch_db *db, const char *tenant, uint32_t version, struct ch_view wrapped,
			   struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &find_tenant, CH_PARAMETERS(ch_param_text(tenant)), &rows, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_NOT_FOUND, "tenant '%.64s': no such tenant", tenant);
	return ch_db_query(transaction, &insert,
			   CH_PARAMETERS(ch_param_text(tenant), ch_param_int32((int32_t)version),
					 ch_param_bytes(wrapped)),
			   NULL, err) &&
	       ch_db_commit(&transaction, err);
}
