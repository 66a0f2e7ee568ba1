/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: all SQL of the table `keys`. key_row.c reads its rows. */
#include "key_row.h"

#include <stdlib.h>

static const struct ch_statement find_key = { "vault_find_key",
					      "SELECT " KEY_COLUMNS " FROM keys WHERE key_id = $1" };
static const struct ch_statement find_by_request = { "vault_find_by_request",
						     "SELECT " KEY_COLUMNS
						     " FROM keys WHERE request_id = $1" };
static const struct ch_statement find_by_public_key = { "vault_find_by_public_key",
							"SELECT " KEY_COLUMNS
							" FROM keys WHERE public_key_sha256 = $1" };
static const struct ch_statement list_keys = {
	"vault_list_keys", "SELECT " KEY_COLUMNS " FROM keys WHERE tenant_id = $1 ORDER BY created_at, key_id"
};
static const struct ch_statement list_all_keys = {
	"vault_list_all_keys",
	"SELECT " KEY_COLUMNS " FROM keys WHERE state <> 'destroyed' ORDER BY created_at, key_id"
};
static const struct ch_statement list_unsealed = {
	"vault_list_unsealed",
	"SELECT " KEY_COLUMNS " FROM keys WHERE seal IS NULL ORDER BY created_at, key_id"
};
static const struct ch_statement count_vaults = {
	"vault_count_vaults",
	"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user "
	"AND application_name = 'chancery-vault'"
};
static const struct ch_statement find_destroyed = {
	"vault_find_destroyed", "SELECT key_id FROM keys WHERE key_id = ANY($1) AND state = 'destroyed'"
};
static const struct ch_statement find_wrapped = { "vault_find_wrapped",
						  "SELECT wrapped_key FROM keys WHERE key_id = $1" };
static const struct ch_statement insert_key = {
	"vault_insert_key",
	"INSERT INTO keys (key_id, tenant_id, request_id, label, algorithm, purposes, subject_der, "
	"public_key_info, public_key_sha256, residency, single_copy_accepted, timestamp_policies, "
	"checkpoint_origin, max_validity_seconds, wrapped_key, created_at, state, policy_version, callers, "
	"signature_algorithms, max_certificate_validity_seconds, quota_burst, quota_per_hour, "
	"approvals_required, audit_mode, seal, number_seal, generated_told) "
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, "
	"$21, $22, $23, $24, $25, $26, $27, false)"
};
static const struct ch_statement is_untold = {
	"vault_is_untold", "SELECT 1 FROM keys WHERE key_id = $1 AND NOT generated_told"
};
static const struct ch_statement list_untold = {
	"vault_list_untold",
	"SELECT " KEY_COLUMNS
	" FROM keys WHERE NOT generated_told AND created_at < $1 ORDER BY created_at LIMIT 1000"
};
static const struct ch_statement set_told = { "vault_set_told",
					      "UPDATE keys SET generated_told = true WHERE key_id = $1" };
/* What the vault changes of a key: all else is as it was when the key was made. */
static const struct ch_statement update_key = {
	"vault_update_key",
	"WITH changed AS (UPDATE keys SET policy_version = $3, residency = $4, state = $5, state_changed_at "
	"= $6, "
	"ca_not_before = $7, ca_not_after = $8, ca_path_length = $9, callers = $10, "
	"signature_algorithms = $11, max_validity_seconds = $12, max_certificate_validity_seconds = $13, "
	"quota_burst = $14, quota_per_hour = $15, approvals_required = $16, audit_mode = $17, seal = $18, "
	"extra_extensions = $19, signatures_unverified = $20, "
	"wrapped_key = CASE WHEN $5 = 'destroyed' THEN NULL ELSE wrapped_key END "
	"WHERE key_id = $1 AND policy_version = $2 RETURNING public_key_sha256, state), "
	/* What is known to be compromised is never certified again, by whomsoever. */
	"blocked AS (INSERT INTO compromised_keys (public_key_sha256, source) "
	"SELECT public_key_sha256, 'vault' FROM changed WHERE state = 'compromised' ON CONFLICT DO NOTHING) "
	"SELECT 1 FROM changed"
};
static const struct ch_statement is_blocked = {
	"vault_is_blocked",
	"SELECT 1 FROM compromised_keys WHERE public_key_sha256 = $1 AND tenant_id IN ('', $2)"
};
static const struct ch_statement set_first_seals = { "vault_set_first_seals",
						     "UPDATE keys SET seal = $2, number_seal = $3 WHERE "
						     "key_id = $1 AND seal IS NULL AND policy_version = $4" };
static const struct ch_statement lock_number = {
	"vault_lock_number",
	"SELECT last_number::text, last_tbs_sha256, number_seal FROM keys WHERE key_id = $1 FOR UPDATE"
};
static const struct ch_statement write_number = {
	"vault_write_number", "UPDATE keys SET last_number = $2::text::numeric, last_tbs_sha256 = $3, "
			      "number_seal = $4 WHERE key_id = $1"
};

/* --- finding --- */

static bool find_one(struct ch_db *db, const struct ch_statement *statement, struct ch_param by,
		     struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, statement, &by, 1, &rows, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_NOT_FOUND, "no such key");
	key_row_read(rows, 0, key);
	if (ch_db_commit(&transaction, err))
		return true;
	vault_key_free(key);
	return false;
}

bool store_find_key(struct ch_db *db, const char *key_id, struct vault_key *key, struct ch_error *err)
{
	if (find_one(db, &find_key, ch_param_text(key_id), key, err))
		return true;
	return ch_fail_in(err, "key '%.40s'", key_id);
}

bool store_find_key_by_request(struct ch_db *db, struct ch_view request_id, struct vault_key *key,
			       struct ch_error *err)
{
	return find_one(db, &find_by_request, ch_param_bytes(request_id), key, err);
}

bool store_find_key_by_public_key(struct ch_db *db, const uint8_t fingerprint[CH_FINGERPRINT_SIZE],
				  struct vault_key *key, struct ch_error *err)
{
	return find_one(db, &find_by_public_key, ch_param_bytes(ch_view(fingerprint, CH_FINGERPRINT_SIZE)),
			key, err);
}

static bool list(struct ch_db *db, const char *tenant, const struct ch_statement *statement,
		 const struct ch_param *parameters, size_t count,
		 void (*each)(void *context, const struct vault_key *key), void *context,
		 struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, statement, parameters, count, &rows, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		CH_AUTO(vault_key) key = CH_NONE;

		key_row_read(rows, i, &key);
		each(context, &key);
	}
	return ch_db_commit(&transaction, err);
}

bool store_list_keys(struct ch_db *db, const char *tenant,
		     void (*each)(void *context, const struct vault_key *key), void *context,
		     struct ch_error *err)
{
	return list(db, tenant, &list_keys, CH_PARAMETERS(ch_param_text(tenant)), each, context, err);
}

bool store_list_all_keys(struct ch_db *db, void (*each)(void *context, const struct vault_key *key),
			 void *context, struct ch_error *err)
{
	return list(db, NULL, &list_all_keys, CH_NO_PARAMETERS, each, context, err);
}

bool store_list_unsealed(struct ch_db *db, void (*each)(void *context, const struct vault_key *key),
			 void *context, struct ch_error *err)
{
	return list(db, NULL, &list_unsealed, CH_NO_PARAMETERS, each, context, err);
}

bool store_find_destroyed(struct ch_db *db, char *const *key_ids, size_t count,
			  void (*each)(void *context, const char *key_id), void *context,
			  struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &find_destroyed,
			 CH_PARAMETERS(ch_param_text_array((const char *const *)key_ids, count)), &rows,
			 err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++)
		each(context, ch_rows_text(rows, i, 0));
	return true;
}

/* --- whose event key.generated is owed --- */

bool store_is_untold(struct ch_db *db, const char *key_id, bool *untold, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &is_untold, CH_PARAMETERS(ch_param_text(key_id)), &rows, err))
		return false;
	*untold = ch_rows_count(rows) == 1;
	return ch_db_commit(&transaction, err);
}

bool store_list_untold(struct ch_db *db, int64_t before_us,
		       void (*each)(void *context, const struct vault_key *key), void *context,
		       struct ch_error *err)
{
	return list(db, NULL, &list_untold, CH_PARAMETERS(ch_param_time(before_us)), each, context, err);
}

bool store_count_vaults(struct ch_db *db, uint64_t *count, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &count_vaults, CH_NO_PARAMETERS, &rows, err))
		return false;
	*count = (uint64_t)ch_rows_int64(rows, 0, 0);
	return ch_db_commit(&transaction, err);
}

bool store_set_told(struct ch_db *db, const char *key_id, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &set_told, CH_PARAMETERS(ch_param_text(key_id)), NULL, err) &&
	       ch_db_commit(&transaction, err);
}

/* --- writing --- */

static size_t purpose_numbers(const struct vault_key *key, int32_t numbers[32])
{
	size_t count = 0;

	for (int32_t i = 1; i < 32; i++)
		if (key->purposes & 1u << i)
			numbers[count++] = i;
	return count;
}

static struct ch_param optional_bytes(struct ch_view view)
{
	return view.size ? ch_param_bytes(view) : ch_param_null();
}

static struct ch_param texts(char *const *items, size_t count)
{
	return ch_param_text_array((const char *const *)items, count);
}

static struct ch_param path_length(const struct vault_key *key)
{
	return key->ca_path_length < 0 ? ch_param_null() : ch_param_int32(key->ca_path_length);
}

bool store_insert_key(struct ch_db *db, const struct vault_key *key, struct ch_view wrapped,
		      struct ch_view number_seal, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	int32_t numbers[32];
	size_t purposes = purpose_numbers(key, numbers);

	if (!ch_db_begin(db, key->tenant, &transaction, err))
		return false;
	const struct ch_param parameters[] = {
		ch_param_text(key->key_id),
		ch_param_text(key->tenant),
		ch_param_bytes(ch_view_of(&key->request_id)),
		ch_param_text(key->label),
		ch_param_text(key->algorithm->name),
		ch_param_int32_array(numbers, purposes),
		optional_bytes(ch_view_of(&key->subject_der)),
		ch_param_bytes(ch_view_of(&key->public_key_info)),
		ch_param_bytes(ch_view(key->public_key_sha256, sizeof(key->public_key_sha256))),
		texts(key->residency, key->residency_count),
		ch_param_bool(key->single_copy_accepted),
		texts(key->timestamp_policies, key->timestamp_policy_count),
		ch_param_text(key->checkpoint_origin),
		ch_param_int64(key->max_validity_us / CH_SECOND),
		optional_bytes(wrapped),
		ch_param_time(key->created_at_us),
		ch_param_text(key->state),
		ch_param_int64((int64_t)key->policy_version),
		texts(key->callers, key->caller_count),
		texts(key->signature_algorithms, key->signature_algorithm_count),
		ch_param_int64(key->max_certificate_validity_us / CH_SECOND),
		ch_param_int32((int32_t)key->quota_burst),
		ch_param_int32((int32_t)key->quota_per_hour),
		ch_param_int32((int32_t)key->approvals_required),
		ch_param_text(key->audit_mode),
		ch_param_bytes(ch_view_of(&key->seal)),
		ch_param_bytes(number_seal),
	};
	return ch_db_query(transaction, &insert_key, parameters, CH_COUNT(parameters), NULL, err) &&
	       ch_db_commit(&transaction, err);
}

bool store_update_key(struct ch_db *db, const struct vault_key *key, uint64_t old_version,
		      struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err))
		return false;
	const struct ch_param parameters[] = {
		ch_param_text(key->key_id),
		ch_param_int64((int64_t)old_version),
		ch_param_int64((int64_t)key->policy_version),
		texts(key->residency, key->residency_count),
		ch_param_text(key->state),
		ch_param_time(key->state_changed_at_us),
		ch_param_time(key->ca_not_before_us),
		ch_param_time(key->ca_not_after_us),
		path_length(key),
		texts(key->callers, key->caller_count),
		texts(key->signature_algorithms, key->signature_algorithm_count),
		ch_param_int64(key->max_validity_us / CH_SECOND),
		ch_param_int64(key->max_certificate_validity_us / CH_SECOND),
		ch_param_int32((int32_t)key->quota_burst),
		ch_param_int32((int32_t)key->quota_per_hour),
		ch_param_int32((int32_t)key->approvals_required),
		ch_param_text(key->audit_mode),
		ch_param_bytes(ch_view_of(&key->seal)),
		texts(key->extra_extensions, key->extra_extension_count),
		ch_param_bool(key->signatures_unverified),
	};
	if (!ch_db_query(transaction, &update_key, parameters, CH_COUNT(parameters), &rows, err))
		return false;
	if (ch_rows_affected(rows) != 1) {
		ch_fail(err, CH_CONFLICT, "key '%s' was changed by another vault meanwhile", key->key_id);
		err->retryable = true;
		return false;
	}
	return ch_db_commit(&transaction, err);
}

bool store_key_is_blocked(struct ch_db *db, const struct vault_key *key, bool *blocked, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &is_blocked,
			 CH_PARAMETERS(ch_param_bytes(ch_view(key->public_key_sha256,
							      sizeof(key->public_key_sha256))),
				       ch_param_text(key->tenant)),
			 &rows, err))
		return false;
	*blocked = ch_rows_count(rows) > 0;
	return ch_db_commit(&transaction, err);
}

bool store_set_first_seals(struct ch_db *db, const struct vault_key *key, struct ch_view number_seal,
			   struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &set_first_seals,
			 CH_PARAMETERS(ch_param_text(key->key_id), ch_param_bytes(ch_view_of(&key->seal)),
				       ch_param_bytes(number_seal),
				       ch_param_int64((int64_t)key->policy_version)),
			 &rows, err))
		return false;
	if (ch_rows_affected(rows) != 1)
		return ch_fail(err, CH_CONFLICT, "key '%s' has a seal already", key->key_id);
	return ch_db_commit(&transaction, err);
}

bool store_find_wrapped(struct ch_db *db, const char *key_id, struct ch_bytes *wrapped, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &find_wrapped, CH_PARAMETERS(ch_param_text(key_id)), &rows, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_NOT_FOUND, "key '%.40s': no such key", key_id);
	*wrapped = ch_bytes_copy(ch_rows_bytes(rows, 0, 0));
	if (ch_db_commit(&transaction, err))
		return true;
	ch_bytes_free(wrapped);
	return false;
}

/* --- the number that never goes back --- */

void vault_number_free(struct vault_number *number)
{
	free(number->last);
	ch_bytes_free(&number->tbs_sha256);
	ch_bytes_free(&number->seal);
	*number = (struct vault_number)CH_NONE;
}

bool store_lock_number(struct ch_transaction *transaction, const char *key_id, struct vault_number *number,
		       struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &lock_number, CH_PARAMETERS(ch_param_text(key_id)), &rows, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_NOT_FOUND, "key '%.40s': no such key", key_id);
	number->last = ch_strdup(ch_rows_text(rows, 0, 0));
	number->tbs_sha256 = ch_bytes_copy(ch_rows_bytes(rows, 0, 1));
	number->seal = ch_bytes_copy(ch_rows_bytes(rows, 0, 2));
	return true;
}

bool store_write_number(struct ch_transaction *transaction, const char *key_id, const char *number,
			struct ch_view tbs_sha256, struct ch_view seal, struct ch_error *err)
{
	return ch_db_query(transaction, &write_number,
			   CH_PARAMETERS(ch_param_text(key_id), ch_param_text(number),
					 ch_param_bytes(tbs_sha256), ch_param_bytes(seal)),
			   NULL, err);
}
