/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: what chancery-tsa reads from the database: timestamp certificates, their keys' policies, the CAs
 * above. */
#include "tsa.h"

#include "log/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one that the configuration names, or the one whose document says so: at most one in use does. */
static const struct ch_statement find_default = {
	"tsa_find_default",
	"SELECT name, coalesce(ca_obstacle(ca_id), '') FROM cas WHERE state <> 'pending' AND"
	" CASE WHEN $1::text IS NULL THEN timestamp_default AND state NOT IN ('retired', 'revoked')"
	"  ELSE name = $1 END",
};

/* The default's first. Those that may not sign too: their policies are the CA's all the same. The hour is for
 * a clock that differs from the database's. */
static const struct ch_statement find_authorities = {
	"tsa_find_authorities",
	"SELECT tenant_id, key_id, ca_id, certificate_der, not_before, not_after, timestamp_policies, "
	"ca_name = $2, "
	"coalesce(obstacle, CASE WHEN not_after < now() - interval '1 hour' THEN 'its certificate has ended' "
	"END, '') "
	"FROM service_signers "
	"WHERE kind = 'tsa' AND ($1::text IS NULL OR ca_name = $1) "
	"ORDER BY (ca_name = $2) DESC, not_before DESC, created_at DESC LIMIT 256",
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
	snprintf(authority->obstacle, sizeof authority->obstacle, "%s", ch_rows_text(rows, row, 8));
	authority->ca_id = ch_rows_int64(rows, row, 2);
	authority->is_default = ch_rows_bool(rows, row, 7);
	authority->not_before_us = ch_rows_time(rows, row, 4);
	authority->not_after_us = ch_rows_time(rows, row, 5);
	return tsa_authority_set_certificate(authority, ch_rows_bytes(rows, row, 3), err) &&
	       load_policies(rows, row, config, authority, err);
}

static bool load_default(struct ch_transaction *transaction, const struct tsa_config *config,
			 struct tsa_authorities *authorities, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	if (!ch_db_query(transaction, &find_default, CH_PARAMETERS(ch_param_text(config->ca)), &rows, err))
		return false;
	if (ch_rows_count(rows) == 1) {
		snprintf(authorities->default_ca, sizeof authorities->default_ca, "%s",
			 ch_rows_text(rows, 0, 0));
		snprintf(authorities->obstacle, sizeof authorities->obstacle, "%s", ch_rows_text(rows, 0, 1));
	} else if (config->ca) {
		snprintf(authorities->default_ca, sizeof authorities->default_ca, "%s", config->ca);
		snprintf(authorities->obstacle, sizeof authorities->obstacle, "there is no such CA");
	}
	return true;
}

/* A row that cannot be used is counted and left out: the others still serve. */
static bool load_rows(struct ch_transaction *transaction, const struct tsa_config *config,
		      const struct ch_rows *rows, struct tsa_authorities *authorities, struct ch_error *err)
{
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		struct tsa_authority *authority = &authorities->items[authorities->count];
		struct ch_error unusable = CH_NONE;
		if (!load_authority(rows, i, config, authority, &unusable)) {
			ch_log_debug("certificate of key %s: %s", ch_rows_text(rows, i, 1), unusable.message);
			tsa_authority_free(authority);
			authorities->unusable++;
			continue;
		}
		authorities->count++;
		if (!authority->obstacle[0] && !load_chain(transaction, authority->ca_id, authority, err))
			return false;
	}
	return true;
}

bool tsa_store_authorities(struct ch_db *db, const struct tsa_config *config,
			   struct tsa_authorities **authorities, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	struct tsa_authorities known = CH_NONE; /* of it the default alone */
	if (!ch_db_begin(db, NULL, &transaction, err) || !load_default(transaction, config, &known, err) ||
	    !ch_db_query(transaction, &find_authorities,
			 CH_PARAMETERS(ch_param_text(config->ca), ch_param_text(known.default_ca)), &rows,
			 err))
		return false;
	CH_AUTO(tsa_authorities) found = tsa_authorities_new(ch_rows_count(rows));
	memcpy(found->default_ca, known.default_ca, sizeof found->default_ca);
	memcpy(found->obstacle, known.obstacle, sizeof found->obstacle);
	if (!load_rows(transaction, config, rows, found, err) || !ch_db_commit(&transaction, err))
		return false;
	*authorities = CH_STEAL(found);
	return true;
}
