/* SPDX-License-Identifier: Apache-2.0 */
/* key_row.c: reads a row of the table `keys`, which may have been edited outside the vault. store.c calls it.
 */
#include "key_row.h"

#include <stdlib.h>
#include <string.h>

#define LONGEST_VALIDITY_S (INT64_C(1000) * 366 * 86400)

static bool read_key_hash(struct vault_key *key, struct ch_error *err)
{
	uint8_t hash[64];
	size_t size;

	if (!ch_key_identifier(ch_view_of(&key->public_key_info), "sha1", hash, &size, err))
		return ch_fail_in(err, "key '%s'", key->key_id);
	memcpy(key->key_hash, hash, sizeof(key->key_hash));
	return true;
}

/* A column that holds what the vault never writes is no error of this request: the row was edited. */
static void damage(struct vault_key *key, const char *column)
{
	if (!key->damaged)
		key->damaged = column;
}

static void read_purposes(const struct ch_rows *rows, size_t row, struct vault_key *key)
{
	int32_t *numbers = NULL, last = 0;
	size_t count = ch_rows_int32_array(rows, row, 4, &numbers);

	for (size_t i = 0; i < count; i++) {
		if (numbers[i] <= last || numbers[i] >= 32) {
			damage(key, "purposes");
			break;
		}
		last = numbers[i];
		key->purposes |= 1u << last;
	}
	free(numbers);
}

static void copy_text(struct vault_key *key, const char *column, char *to, size_t room, const char *from)
{
	if (strlen(from) >= room)
		damage(key, column);
	strncpy(to, from, room - 1);
	to[room - 1] = 0;
}

static int64_t read_seconds(const struct ch_rows *rows, size_t row, int column, struct vault_key *key)
{
	int64_t seconds = ch_rows_int64(rows, row, column);

	if (seconds >= 0 && seconds <= LONGEST_VALIDITY_S)
		return seconds * CH_SECOND;
	damage(key, "validity");
	return 0;
}

static uint32_t read_limit(const struct ch_rows *rows, size_t row, int column, struct vault_key *key)
{
	int64_t limit = ch_rows_int64(rows, row, column);

	if (limit >= 0 && limit <= INT32_MAX)
		return (uint32_t)limit;
	damage(key, "limits");
	return 0;
}

static void read_policy(const struct ch_rows *rows, size_t row, struct vault_key *key)
{
	struct ch_view hash = ch_rows_bytes(rows, row, 18);

	key->request_id = ch_bytes_copy(ch_rows_bytes(rows, row, 17));
	if (hash.size == sizeof(key->public_key_sha256))
		memcpy(key->public_key_sha256, hash.data, hash.size);
	else
		damage(key, "public_key_sha256");
	key->policy_version = (uint64_t)ch_rows_int64(rows, row, 19);
	key->caller_count = ch_rows_text_array(rows, row, 20, &key->callers);
	key->signature_algorithm_count = ch_rows_text_array(rows, row, 21, &key->signature_algorithms);
	key->max_certificate_validity_us = read_seconds(rows, row, 22, key);
	key->quota_burst = read_limit(rows, row, 23, key);
	key->quota_per_hour = read_limit(rows, row, 24, key);
	key->approvals_required = read_limit(rows, row, 25, key);
	copy_text(key, "audit_mode", key->audit_mode, sizeof(key->audit_mode), ch_rows_text(rows, row, 26));
	key->state_changed_at_us = ch_rows_time(rows, row, 27);
	key->seal = ch_bytes_copy(ch_rows_bytes(rows, row, 28));
	key->extra_extension_count = ch_rows_text_array(rows, row, 29, &key->extra_extensions);
	key->signatures_unverified = ch_rows_bool(rows, row, 30);
}

void key_row_read(const struct ch_rows *rows, size_t row, struct vault_key *key)
{
	struct ch_error ignored;

	*key = (struct vault_key)CH_NONE;
	copy_text(key, "key_id", key->key_id, sizeof(key->key_id), ch_rows_text(rows, row, 0));
	copy_text(key, "tenant_id", key->tenant, sizeof(key->tenant), ch_rows_text(rows, row, 1));
	key->label = ch_strdup(ch_rows_text(rows, row, 2));
	key->algorithm = ch_algorithm_find(ch_rows_text(rows, row, 3));
	read_purposes(rows, row, key);
	key->subject_der = ch_bytes_copy(ch_rows_bytes(rows, row, 5));
	key->public_key_info = ch_bytes_copy(ch_rows_bytes(rows, row, 6));
	key->residency_count = ch_rows_text_array(rows, row, 7, &key->residency);
	key->single_copy_accepted = ch_rows_bool(rows, row, 8);
	copy_text(key, "state", key->state, sizeof(key->state), ch_rows_text(rows, row, 9));
	key->ca_not_before_us = ch_rows_time(rows, row, 10);
	key->ca_not_after_us = ch_rows_time(rows, row, 11);
	key->ca_path_length = (int32_t)ch_rows_int64(rows, row, 12);
	key->timestamp_policy_count = ch_rows_text_array(rows, row, 13, &key->timestamp_policies);
	key->checkpoint_origin = ch_strdup(ch_rows_text(rows, row, 14));
	key->max_validity_us = read_seconds(rows, row, 15, key);
	key->created_at_us = ch_rows_time(rows, row, 16);
	read_policy(rows, row, key);
	if (!key->algorithm)
		damage(key, "algorithm");
	if (!read_key_hash(key, &ignored))
		damage(key, "public_key_info");
}
