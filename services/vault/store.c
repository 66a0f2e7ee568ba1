/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: all SQL of the vault: the table `keys`. */
#include "vault.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define KEY_COLUMNS                                                                                \
	"key_id, tenant_id, label, algorithm, purposes, subject_der, public_key_info, residency, " \
	"single_copy_accepted, state, ca_not_before, ca_not_after, coalesce(ca_path_length, -1), " \
	"timestamp_policies, checkpoint_origin, max_validity_seconds, created_at"

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
static const struct ch_statement insert_key = {
	"vault_insert_key",
	"INSERT INTO keys (key_id, tenant_id, request_id, label, algorithm, purposes, subject_der, "
	"public_key_info, "
	"public_key_sha256, residency, single_copy_accepted, timestamp_policies, checkpoint_origin, "
	"max_validity_seconds, wrapped_key) "
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
};
static const struct ch_statement take_number = {
	"vault_take_number",
	"UPDATE keys SET last_number = $2::text::numeric, last_tbs_sha256 = $3 WHERE key_id = $1 AND "
	"(last_number < $2::text::numeric OR "
	"(last_number = $2::text::numeric AND (last_tbs_sha256 IS NULL OR last_tbs_sha256 = $3)))"
};
static const struct ch_statement last_number = { "vault_last_number",
						 "SELECT last_number::text FROM keys WHERE key_id = $1" };
static const struct ch_statement set_ca_limits = {
	"vault_set_ca_limits",
	"UPDATE keys SET ca_not_before = $2, ca_not_after = $3, ca_path_length = $4 WHERE key_id = $1"
};

/* --- reading a row --- */

static bool read_key_hash(struct vault_key *key, struct ch_error *err)
{
	uint8_t hash[64];
	size_t size;

	if (!ch_key_identifier(ch_view_of(&key->public_key_info), "sha1", hash, &size, err))
		return ch_fail_in(err, "key '%s'", key->key_id);
	memcpy(key->key_hash, hash, sizeof(key->key_hash));
	return true;
}

static void read_purposes(const struct ch_rows *rows, size_t row, struct vault_key *key)
{
	int32_t *numbers = NULL;
	size_t count = ch_rows_int32_array(rows, row, 4, &numbers);

	for (size_t i = 0; i < count; i++)
		if (numbers[i] > 0 && numbers[i] < 32)
			key->purposes |= 1u << numbers[i];
	free(numbers);
}

static void copy_text(char *to, size_t room, const char *from)
{
	strncpy(to, from, room - 1);
	to[room - 1] = 0;
}

static bool read_key(const struct ch_rows *rows, size_t row, struct vault_key *key, struct ch_error *err)
{
	*key = (struct vault_key)CH_NONE;
	copy_text(key->key_id, sizeof(key->key_id), ch_rows_text(rows, row, 0));
	copy_text(key->tenant, sizeof(key->tenant), ch_rows_text(rows, row, 1));
	key->label = ch_strdup(ch_rows_text(rows, row, 2));
	key->algorithm = ch_algorithm_find(ch_rows_text(rows, row, 3));
	read_purposes(rows, row, key);
	key->subject_der = ch_bytes_copy(ch_rows_bytes(rows, row, 5));
	key->public_key_info = ch_bytes_copy(ch_rows_bytes(rows, row, 6));
	key->residency_count = ch_rows_text_array(rows, row, 7, &key->residency);
	key->single_copy_accepted = ch_rows_bool(rows, row, 8);
	copy_text(key->state, sizeof(key->state), ch_rows_text(rows, row, 9));
	key->ca_not_before_us = ch_rows_time(rows, row, 10);
	key->ca_not_after_us = ch_rows_time(rows, row, 11);
	key->ca_path_length = (int32_t)ch_rows_int64(rows, row, 12);
	key->timestamp_policy_count = ch_rows_text_array(rows, row, 13, &key->timestamp_policies);
	key->checkpoint_origin = ch_strdup(ch_rows_text(rows, row, 14));
	key->max_validity_us = ch_rows_int64(rows, row, 15) * CH_SECOND;
	key->created_at_us = ch_rows_time(rows, row, 16);
	if (key->algorithm && read_key_hash(key, err))
		return true;
	if (!key->algorithm)
		ch_fail(err, CH_INTERNAL, "key '%s' has the unknown algorithm '%s'", key->key_id,
			ch_rows_text(rows, row, 3));
	vault_key_free(key);
	return false;
}

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
	if (!read_key(rows, 0, key, err))
		return false;
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

bool store_find_key_by_public_key(struct ch_db *db, struct ch_view public_key_info, struct vault_key *key,
				  struct ch_error *err)
{
	uint8_t hash[64];
	size_t size;

	return ch_digest("sha256", public_key_info, hash, &size, err) &&
	       find_one(db, &find_by_public_key, ch_param_bytes(ch_view(hash, size)), key, err);
}

bool store_list_keys(struct ch_db *db, const char *tenant,
		     void (*each)(void *context, const struct vault_key *key), void *context,
		     struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &list_keys, CH_PARAMETERS(ch_param_text(tenant)), &rows, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		CH_AUTO(vault_key) key = CH_NONE;

		if (!read_key(rows, i, &key, err))
			return false;
		each(context, &key);
	}
	return ch_db_commit(&transaction, err);
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

bool store_insert_key(struct ch_db *db, const struct vault_key *key, struct ch_view request_id,
		      struct ch_view wrapped, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	int32_t numbers[32];
	size_t purposes = purpose_numbers(key, numbers);
	uint8_t hash[64];
	size_t size;

	if (!ch_digest("sha256", ch_view_of(&key->public_key_info), hash, &size, err) ||
	    !ch_db_begin(db, key->tenant, &transaction, err))
		return false;
	const struct ch_param parameters[] = {
		ch_param_text(key->key_id),
		ch_param_text(key->tenant),
		ch_param_bytes(request_id),
		ch_param_text(key->label),
		ch_param_text(key->algorithm->name),
		ch_param_int32_array(numbers, purposes),
		optional_bytes(ch_view_of(&key->subject_der)),
		ch_param_bytes(ch_view_of(&key->public_key_info)),
		ch_param_bytes(ch_view(hash, size)),
		ch_param_text_array((const char *const *)key->residency, key->residency_count),
		ch_param_bool(key->single_copy_accepted),
		ch_param_text_array((const char *const *)key->timestamp_policies,
				    key->timestamp_policy_count),
		ch_param_text(key->checkpoint_origin),
		ch_param_int64(key->max_validity_us / CH_SECOND),
		optional_bytes(wrapped),
	};
	return ch_db_query(transaction, &insert_key, parameters, CH_COUNT(parameters), NULL, err) &&
	       ch_db_commit(&transaction, err);
}

/* Decimal text of big endian octets; the caller frees it with OPENSSL_free. */
static char *decimal(struct ch_view number)
{
	BIGNUM *value = BN_bin2bn(number.data, (int)number.size, NULL);
	char *text = value ? BN_bn2dec(value) : NULL;

	BN_free(value);
	return text;
}

static bool refuse_number(struct ch_transaction *transaction, const char *key_id, const char *number,
			  struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &last_number, CH_PARAMETERS(ch_param_text(key_id)), &rows, err))
		return false;
	return ch_fail(err, CH_DENIED,
		       "number %s is not above %s, the last that key '%s' signed, nor over the same bytes",
		       number, ch_rows_count(rows) ? ch_rows_text(rows, 0, 0) : "?", key_id);
}

static bool take(struct ch_db *db, const char *key_id, const char *number, struct ch_view to_be_signed,
		 struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	uint8_t hash[64];
	size_t size;

	if (!ch_digest("sha256", to_be_signed, hash, &size, err) ||
	    !ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &take_number,
			 CH_PARAMETERS(ch_param_text(key_id), ch_param_text(number),
				       ch_param_bytes(ch_view(hash, size))),
			 &rows, err))
		return false;
	if (ch_rows_affected(rows) != 1)
		return refuse_number(transaction, key_id, number, err);
	return ch_db_commit(&transaction, err);
}

bool store_take_number(struct ch_db *db, const char *key_id, struct ch_view number,
		       struct ch_view to_be_signed, struct ch_error *err)
{
	char *text = decimal(number);
	bool taken = text ? take(db, key_id, text, to_be_signed, err)
			  : ch_fail(err, CH_INTERNAL, "number: no memory");

	OPENSSL_free(text);
	return taken;
}

bool store_set_ca_limits(struct ch_db *db, const struct vault_check *check, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_param path_length =
		check->ca_path_length < 0 ? ch_param_null() : ch_param_int32(check->ca_path_length);

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &set_ca_limits,
			   CH_PARAMETERS(ch_param_text(check->subject_key_id),
					 ch_param_time(check->ca_not_before_us),
					 ch_param_time(check->ca_not_after_us), path_length),
			   NULL, err) &&
	       ch_db_commit(&transaction, err);
}
