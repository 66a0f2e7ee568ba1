/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota.c: how many signatures a key makes and a caller gets: token buckets in the table `quotas` that all
 * vaults share, from which each takes portions. So what all together spend is never over the limit, a restart
 * fills nothing up, and most signatures ask no database. sign_allow.c is the caller.
 */
#include "policy.h"
#include "vault.h"

#include "bucket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* One quota of one key or one caller. */
struct quota {
	char name[256]; /* what it is found by: key id, caller, purpose */
	char key_id[33];
	char caller[96];
	int32_t purpose;
	pthread_mutex_t lock;       /* held while a portion is fetched: the others wait for it */
	struct vault_bucket bucket; /* guarded by lock */
	bool exists;                /* guarded by lock: the row is in the table */
	struct ch_metric *tokens;
	UT_hash_handle hh;
};

struct vault_quotas {
	pthread_mutex_t lock;
	struct quota *all; /* guarded by lock; entries stay until the end */
};

/* Making keys has quotas as if it were a purpose of signing; its row in the table has the purpose 0. */
static const struct vault_purpose making_keys = { .name = "generate-key",
						  .callers = { "issuer", "audit", "operator" } };

/*
 * Where the configuration names none for them: what an identity that was stolen may get. Of certificates
 * enough at once to issue a whole population anew, and 139 a second after that; of keys what a house of many
 * tenants makes in its first hour, and for audit a few of checkpoints: a key takes room in the HSMs for ever.
 */
static const struct vault_caller_quota default_quotas[] = {
	{ "issuer", "end-entity-certificate", 200000, 500000 },
	{ "issuer", "generate-key", 1000, 1000 },
	{ "operator", "generate-key", 1000, 1000 },
	{ "audit", "generate-key", 20, 20 },
};

struct vault_quotas *vault_quotas_new(void)
{
	struct vault_quotas *quotas = ch_alloc(sizeof(*quotas));

	pthread_mutex_init(&quotas->lock, NULL);
	return quotas;
}

void vault_quotas_free(struct vault_quotas *quotas)
{
	struct quota *quota = NULL, *next = NULL;

	if (!quotas)
		return;
	HASH_ITER(hh, quotas->all, quota, next)
	{
		HASH_DEL(quotas->all, quota);
		pthread_mutex_destroy(&quota->lock);
		free(quota);
	}
	pthread_mutex_destroy(&quotas->lock);
	free(quotas);
}

bool vault_caller_quotas_check(const struct vault_caller_quota *quotas, size_t count, struct ch_error *err)
{
	for (size_t i = 0; i < count; i++) {
		bool keys = strcmp(quotas[i].purpose, making_keys.name) == 0;
		const struct vault_purpose *found = keys ? &making_keys : NULL;
		CH_AUTO(ch_string)
		service = ch_format("%.*s", (int)strcspn(quotas[i].caller, "/"), quotas[i].caller);

		for (size_t j = 0; vault_purpose_at(j); j++)
			if (strcmp(vault_purpose_at(j)->name, quotas[i].purpose) == 0)
				found = vault_purpose_at(j);
		if (!found || !vault_purpose_allows(found, service))
			return ch_fail(err, CH_INVALID,
				       "caller_quotas: caller '%s' never asks for purpose '%s'",
				       quotas[i].caller, quotas[i].purpose);
	}
	return true;
}

/* --- which quota --- */

static struct quota *new_quota(struct vault *vault, const char *name, const char *key_id, const char *caller,
			       int32_t purpose)
{
	struct quota *quota = ch_alloc(sizeof(*quota));

	snprintf(quota->name, sizeof(quota->name), "%s", name);
	snprintf(quota->key_id, sizeof(quota->key_id), "%s", key_id);
	snprintf(quota->caller, sizeof(quota->caller), "%s", caller);
	quota->purpose = purpose;
	pthread_mutex_init(&quota->lock, NULL);
	if (key_id[0]) {
		CH_AUTO(ch_string) labels = ch_format("key=\"%s\"", key_id);

		quota->tokens = ch_metrics_gauge(vault->metrics, "chancery_vault_quota_tokens",
						 "Signatures left of a key's quota, as last seen", labels);
	}
	return quota;
}

static struct quota *find_quota(struct vault *vault, const char *key_id, const char *caller, int32_t purpose)
{
	struct vault_quotas *quotas = vault->quotas;
	struct quota *quota;
	char name[256];

	snprintf(name, sizeof(name), "%s/%s/%d", key_id, caller, (int)purpose);
	pthread_mutex_lock(&quotas->lock);
	HASH_FIND_STR(quotas->all, name, quota);
	if (!quota) {
		quota = new_quota(vault, name, key_id, caller, purpose);
		HASH_ADD_STR(quotas->all, name, quota);
	}
	pthread_mutex_unlock(&quotas->lock);
	return quota;
}

/* --- spending --- */

/* With the quota's lock. */
static bool fetch_portion(struct vault *vault, struct quota *quota, struct ch_error *err)
{
	struct vault_quota_row row = { .key_id = quota->key_id,
				       .caller = quota->caller,
				       .purpose = quota->purpose,
				       .burst = quota->bucket.burst,
				       .per_hour = quota->bucket.per_hour };
	uint32_t wanted = vault_bucket_portion(&quota->bucket);

	if (!quota->exists && !store_insert_quota(vault->db, &row, err))
		return false;
	quota->exists = true;
	if (!store_take_quota(vault->db, &row, wanted, err))
		return false;
	if (row.missing) { /* its rows go when a key is destroyed */
		quota->exists = false;
		return ch_fail(err, CH_UNAVAILABLE, "the quota of key '%s' is gone", quota->key_id);
	}
	vault_bucket_refilled(&quota->bucket, row.taken, row.available_micro, ch_monotonic_us());
	if (quota->tokens)
		ch_metric_set(quota->tokens, row.available_micro / 1000000);
	return true;
}

/* *wait_us receives how long to wait where there is no token: CH_EXHAUSTED is the caller's to word. */
static bool spend(struct vault *vault, struct quota *quota, uint32_t burst, uint32_t per_hour,
		  int64_t *wait_us, struct ch_error *err)
{
	enum vault_bucket_answer answer;
	bool fetched = true;

	*wait_us = 0;
	pthread_mutex_lock(&quota->lock);
	vault_bucket_limit(&quota->bucket, burst, per_hour);
	answer = vault_bucket_spend(&quota->bucket, ch_monotonic_us());
	if (answer == VAULT_BUCKET_REFILL) {
		fetched = fetch_portion(vault, quota, err);
		if (fetched)
			answer = vault_bucket_spend(&quota->bucket, ch_monotonic_us());
	}
	if (fetched && answer != VAULT_BUCKET_SPENT) {
		*wait_us = quota->bucket.empty_until_us - ch_monotonic_us();
		if (*wait_us < 1)
			*wait_us = 1;
	}
	pthread_mutex_unlock(&quota->lock);
	return fetched && answer == VAULT_BUCKET_SPENT;
}

static void give_back(struct quota *quota)
{
	pthread_mutex_lock(&quota->lock);
	quota->bucket.left++;
	pthread_mutex_unlock(&quota->lock);
}

static void count_refused(struct vault *vault, const char *whose, const char *name,
			  const struct vault_purpose *purpose)
{
	CH_AUTO(ch_string) labels =
		ch_format("quota=\"%s\",of=\"%s\",purpose=\"%s\"", whose, name, purpose->name);

	ch_metric_add(ch_metrics_counter(vault->metrics, "chancery_vault_quota_refused_total",
					 "Items that a quota refused, of a key or of a caller", labels),
		      1);
}

static bool refuse(const struct vault_quota_ask *ask, const char *whose, const char *name, uint32_t burst,
		   uint32_t per_hour, int64_t wait_us, struct ch_error *err)
{
	int64_t wait_ms = (wait_us + CH_MILLISECOND - 1) / CH_MILLISECOND;

	count_refused(ask->vault, whose, name, ask->purpose);
	ch_fail(err, CH_EXHAUSTED,
		"%s '%s': its quota of %u %s at once and %u an hour is used up for purpose '%s': again in "
		"%lld s",
		whose, name, burst, ask->key ? "signatures" : "keys", per_hour, ask->purpose->name,
		(long long)((wait_ms + 999) / 1000));
	err->retry_after_ms = wait_ms < UINT32_MAX ? (uint32_t)wait_ms : UINT32_MAX;
	return false;
}

static bool take_of_key(const struct vault_quota_ask *ask, const char **reason, struct ch_error *err)
{
	const struct vault_key *key = ask->key;
	int64_t wait_us;

	if (!key->quota_burst)
		return true;
	if (spend(ask->vault, find_quota(ask->vault, key->key_id, "", 0), key->quota_burst,
		  key->quota_per_hour, &wait_us, err))
		return true;
	*reason = wait_us ? "key-quota" : "database";
	return wait_us ? refuse(ask, "key", key->key_id, key->quota_burst, key->quota_per_hour, wait_us, err)
		       : false;
}

/* "issuer" is all instances together, "issuer/issuer-1" is one. */
static bool is_of(const struct vault_caller_quota *quota, const struct vault_quota_ask *ask)
{
	size_t size = strlen(ask->service);

	if (strcmp(quota->purpose, ask->purpose->name) != 0 ||
	    strncmp(quota->caller, ask->service, size) != 0)
		return false;
	return quota->caller[size] == '\0' ||
	       (quota->caller[size] == '/' && strcmp(quota->caller + size + 1, ask->instance) == 0);
}

static bool take_of_caller(const struct vault_quota_ask *ask, const struct vault_caller_quota *quota,
			   const char **reason, struct ch_error *err)
{
	uint32_t burst = (uint32_t)quota->burst, per_hour = (uint32_t)quota->per_hour;
	struct quota *found = find_quota(ask->vault, "", quota->caller, (int32_t)ask->purpose->number);
	int64_t wait_us;

	if (spend(ask->vault, found, burst, per_hour, &wait_us, err))
		return true;
	*reason = wait_us ? "caller-quota" : "database";
	return wait_us ? refuse(ask, "caller", quota->caller, burst, per_hour, wait_us, err) : false;
}

static bool is_configured(const struct ch_conf_list *configured, const struct vault_caller_quota *wanted)
{
	const struct vault_caller_quota *items = configured->items;

	for (size_t i = 0; i < configured->count; i++)
		if (strcmp(items[i].caller, wanted->caller) == 0 &&
		    strcmp(items[i].purpose, wanted->purpose) == 0)
			return true;
	return false;
}

/* The next one from *index on that counts for who asks; NULL: no more. */
static const struct vault_caller_quota *next_quota(const struct vault_quota_ask *ask, size_t *index)
{
	const struct ch_conf_list *configured = &ask->vault->config->caller_quotas;
	const struct vault_caller_quota *items = configured->items;

	for (; *index < configured->count + CH_COUNT(default_quotas); (*index)++) {
		bool is_default = *index >= configured->count;
		const struct vault_caller_quota *quota =
			is_default ? &default_quotas[*index - configured->count] : &items[*index];

		if (is_of(quota, ask) && !(is_default && is_configured(configured, quota)))
			return quota;
	}
	return NULL;
}

/* What was taken before the caller's quota at `refused` refused: the signature will not be made. */
static void give_all_back(const struct vault_quota_ask *ask, size_t refused)
{
	const struct vault_caller_quota *quota;

	if (ask->key && ask->key->quota_burst)
		give_back(find_quota(ask->vault, ask->key->key_id, "", 0));
	for (size_t i = 0; (quota = next_quota(ask, &i)) && i < refused; i++)
		give_back(find_quota(ask->vault, "", quota->caller, (int32_t)ask->purpose->number));
}

bool vault_quota_take(const struct vault_quota_ask *ask, const char **reason, struct ch_error *err)
{
	const struct vault_caller_quota *quota;

	if (ask->key && !take_of_key(ask, reason, err))
		return false;
	for (size_t i = 0; (quota = next_quota(ask, &i)); i++)
		if (!take_of_caller(ask, quota, reason, err)) {
			give_all_back(ask, i);
			return false;
		}
	return true;
}

bool vault_quota_take_key(struct vault *vault, const char *service, const char *instance, const char **reason,
			  struct ch_error *err)
{
	const struct vault_quota_ask ask = {
		.vault = vault, .purpose = &making_keys, .service = service, .instance = instance
	};

	return vault_quota_take(&ask, reason, err);
}
