/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: what chancery-tsa reads from the database: timestamp certificates, their keys' policies, the CAs
 * above. */
#include "tsa.h"

#include "log/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than two certificates of a CA overlap only while one is renewed. */
static const struct ch_statement find_authorities = {
	"tsa_find_authorities",
	"SELECT s.tenant_id, s.key_id, s.ca_id, s.certificate_der, s.not_before, s.not_after, "
	"k.timestamp_policies "
	"FROM service_certificates s JOIN keys k ON k.key_id = s.key_id AND k.tenant_id = s.tenant_id "
	"JOIN cas c ON c.ca_id = s.ca_id "
	"WHERE s.kind = 'tsa' AND s.not_after > now() AND ($1::text IS NULL OR c.name = $1) "
	"ORDER BY s.not_before DESC, s.created_at DESC LIMIT 64",
};

/* The CA and those above it up to, and without, the root. */
static const struct ch_statement find_chain = {
	"tsa_find_chain",
	"WITH RECURSIVE path AS ("
	"SELECT ca_id, parent_id, certificate_der, 0 AS depth FROM cas WHERE ca_id = $1 "
	"UNION ALL SELECT c.ca_id, c.parent_id, c.certificate_der, p.depth + 1 "
	"FROM cas c JOIN path p ON c.ca_id = p.parent_id WHERE p.depth < 8) "
	"SELECT certificate_der FROM path WHERE parent_id IS NOT NULL AND certificate_der IS NOT NULL ORDER "
	"BY depth",
};

static bool load_chain(struct ch_transaction *transaction, int64_t ca_id, struct tsa_authority *authority,
		       struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	if (!ch_db_query(transaction, &find_chain, CH_PARAMETERS(ch_param_int64(ca_id)), &rows, err))
		return false;
	size_t count = ch_rows_count(rows);
	authority->chain = ch_alloc((count ? count : 1) * sizeof *authority->chain);
	for (size_t i = 0; i < count; i++)
		authority->chain[authority->chain_count++] = ch_bytes_copy(ch_rows_bytes(rows, i, 0));
	return true;
}

static bool key_may_name(char **policies, size_t count, const char *policy)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(policies[i], policy))
			return true;
	return false;
}

/* The key's policies; where the configuration lists some, those of them that the key may name, in its order.
 */
static bool load_policies(const struct ch_rows *rows, size_t row, const struct tsa_config *config,
			  struct tsa_authority *authority, struct ch_error *err)
{
	char **policies = NULL;
	size_t count = ch_rows_text_array(rows, row, 6, &policies);
	bool loaded = true;
	for (size_t i = 0; loaded && i < config->policies.count; i++)
		if (key_may_name(policies, count, config->policies.items[i]))
			loaded = tsa_authority_add_policy(authority, config->policies.items[i], err);
	for (size_t i = 0; loaded && config->policies.count == 0 && i < count; i++)
		loaded = tsa_authority_add_policy(authority, policies[i], err);
	for (size_t i = 0; i < count; i++)
		free(policies[i]);
	free(policies);
	return loaded;
}

static bool load_authority(const struct ch_rows *rows, size_t row, const struct tsa_config *config,
			   struct tsa_authority *authority, struct ch_error *err)
{
	snprintf(authority->tenant, sizeof authority->tenant, "%s", ch_rows_text(rows, row, 0));
	snprintf(authority->key_id, sizeof authority->key_id, "%s", ch_rows_text(rows, row, 1));
	authority->not_before_us = ch_rows_time(rows, row, 4);
	authority->not_after_us = ch_rows_time(rows, row, 5);
	return tsa_authority_set_certificate(authority, ch_rows_bytes(rows, row, 3), err) &&
	       load_policies(rows, row, config, authority, err);
}

bool tsa_store_authorities(struct ch_db *db, const struct tsa_config *config,
			   struct tsa_authorities **authorities, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &find_authorities, CH_PARAMETERS(ch_param_text(config->ca)), &rows,
			 err))
		return false;
	CH_AUTO(tsa_authorities) found = tsa_authorities_new(ch_rows_count(rows));
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		struct tsa_authority *authority = &found->items[found->count];
		struct ch_error unusable = CH_NONE;
		if (!load_authority(rows, i, config, authority, &unusable)) { /* the others still serve */
			ch_log_debug("certificate of key %s: %s", ch_rows_text(rows, i, 1), unusable.message);
			tsa_authority_free(authority);
			found->unusable++;
			continue;
		}
		found->count++;
		if (!load_chain(transaction, ch_rows_int64(rows, i, 2), authority, err))
			return false;
	}
	if (!ch_db_commit(&transaction, err))
		return false;
	*authorities = CH_STEAL(found);
	return true;
}
