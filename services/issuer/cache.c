/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c: CAs and profiles as structs, kept as long as the version that the database names is the one held.
 * Every request asks the database for versions (store_lookup), so what another issuer changed is seen at
 * once. */
#include "issuer.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

struct profile_entry {
	char *key; /* "tenant/name" */
	struct ch_profile *profile;
	UT_hash_handle hh;
};

struct set_entry {
	char *key; /* tenant */
	struct ca_set *set;
	UT_hash_handle hh;
};

struct issuer_cache {
	pthread_mutex_t lock; /* guards the tables and every `references` */
	struct profile_entry *profiles;
	struct set_entry *sets;
};

/* --- CAs
 * ------------------------------------------------------------------------------------------------------------------
 */

static void set_free(struct ca_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		ch_ca_free(&set->items[i]);
	free(set->items);
	free(set->tenant);
	free(set->version);
	free(set);
}
CH_DEFINE_AUTO_POINTER(ca_set, struct ca_set, set_free)

/* Holding the lock. */
static void set_drop(struct ca_set *set)
{
	if (set && --set->references == 0)
		set_free(set);
}

void catalog_release(struct issuer *issuer, struct ca_set *set)
{
	pthread_mutex_lock(&issuer->cache->lock);
	set_drop(set);
	pthread_mutex_unlock(&issuer->cache->lock);
}

static struct ca_set *set_held(struct issuer_cache *cache, const char *tenant, const char *version)
{
	struct set_entry *entry;
	struct ca_set *set = NULL;

	pthread_mutex_lock(&cache->lock);
	HASH_FIND_STR(cache->sets, tenant, entry);
	if (entry && strcmp(entry->set->version, version) == 0) {
		set = entry->set;
		set->references++;
	}
	pthread_mutex_unlock(&cache->lock);
	return set;
}

static void set_keep(struct issuer_cache *cache, struct ca_set *set)
{
	struct set_entry *entry;

	pthread_mutex_lock(&cache->lock);
	HASH_FIND_STR(cache->sets, set->tenant, entry);
	if (!entry) {
		entry = ch_alloc(sizeof(*entry));
		entry->key = ch_strdup(set->tenant);
		HASH_ADD_KEYPTR(hh, cache->sets, entry->key, strlen(entry->key), entry);
	}
	set_drop(entry->set);
	entry->set = set;
	set->references = 2; /* the table's and the caller's */
	pthread_mutex_unlock(&cache->lock);
}

bool catalog_get(struct issuer *issuer, const char *tenant, const char *version, struct ca_set **found,
		 struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ca_set) set = NULL;
	CH_AUTO(ch_string) current = NULL;

	if (version && (*found = set_held(issuer->cache, tenant, version)))
		return true;
	if (!ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_catalog_version(transaction, tenant, &current, err))
		return false;
	if ((*found = set_held(issuer->cache, tenant, current)))
		return true;
	set = ch_alloc(sizeof(*set));
	set->tenant = ch_strdup(tenant);
	if (!store_load_cas(transaction, tenant, &set->items, &set->count, err))
		return false;
	/* A change between the two reads makes the rows newer than the version: the next request reads them
	 * again. */
	set->version = CH_STEAL(current);
	*found = CH_STEAL(set);
	set_keep(issuer->cache, *found);
	return true;
}

const struct ch_ca *catalog_find(const struct ca_set *set, const char *name)
{
	for (size_t i = 0; i < set->count; i++)
		if (strcmp(set->items[i].document.name, name) == 0)
			return &set->items[i];
	return NULL;
}

const struct ch_ca *catalog_by_id(const struct ca_set *set, int64_t id)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->items[i].id == id)
			return &set->items[i];
	return NULL;
}

const struct ch_ca *catalog_by_serial(const struct ca_set *set, struct ch_view serial)
{
	for (size_t i = 0; i < set->count; i++)
		if (ch_serial_check(
			    ch_view(set->items[i].serial_tag_key, sizeof(set->items[i].serial_tag_key)),
			    serial))
			return &set->items[i];
	return NULL;
}

bool catalog_issues(const struct issuer *issuer, const struct ca_set *set, const struct ch_ca *ca,
		    struct ch_error *err)
{
	return ch_ca_issues(set->items, set->count, ca, ch_clock_now_us(issuer->clock), err);
}

static bool may_use(const struct ch_profile *profile, const struct ch_ca *ca)
{
	return profile->cas.count ? ch_strings_contain(&profile->cas, ca->document.name) : ca->parent_id != 0;
}

/* The only one that may use the profile and issues; where none issues, why not. */
static bool choose_any(const struct issuer *issuer, const struct ca_set *set,
		       const struct ch_profile *profile, const struct ch_ca **ca, struct ch_error *err)
{
	char *names[64];
	struct ch_conf_strings candidates = { .items = names };
	struct ch_error why_not = CH_NONE;

	for (size_t i = 0; i < set->count && candidates.count < CH_COUNT(names); i++) {
		const struct ch_ca *item = &set->items[i];

		if (strcmp(item->state, "pending") == 0 || !may_use(profile, item) ||
		    !catalog_issues(issuer, set, item, &why_not))
			continue;
		*ca = item;
		names[candidates.count++] = item->document.name;
	}
	if (candidates.count == 1)
		return true;
	if (candidates.count > 1) {
		CH_AUTO(ch_string) list = ch_strings_join(&candidates);

		return ch_fail(err, CH_INVALID, "several CAs may use profile '%s': name one of %s",
			       profile->name, list);
	}
	if (why_not.code == CH_OK)
		return ch_fail(err, CH_NOT_FOUND, "no active CA may use profile '%s'", profile->name);
	*err = why_not;
	return ch_fail_in(err, "no active CA may use profile '%s'", profile->name);
}

bool catalog_choose(const struct issuer *issuer, const struct ca_set *set, const struct ch_profile *profile,
		    const char *name, const struct ch_ca **ca, struct ch_error *err)
{

	*ca = NULL;
	if (!name[0])
		return choose_any(issuer, set, profile, ca, err);
	*ca = catalog_find(set, name);
	if (!*ca || strcmp((*ca)->state, "pending") == 0)
		return ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such active CA", name);
	if (!catalog_issues(issuer, set, *ca, err))
		return false;
	return may_use(profile, *ca) ||
	       ch_fail(err, CH_INVALID, "CA '%.80s' may not use profile '%s'%s", name, profile->name,
		       profile->cas.count ? "" : ": it is a root, and the profile's cas does not name it");
}

bool catalog_parse_serial(const struct ca_set *set, const char *text, struct ch_bytes *serial,
			  const struct ch_ca **ca, struct ch_error *err)
{
	if (strlen(text) == 2 * CH_SERIAL_SIZE && ch_unhex(text, serial, NULL) &&
	    (*ca = catalog_by_serial(set, ch_view_of(serial))))
		return true;
	ch_bytes_free(serial);
	return ch_fail(err, CH_NOT_FOUND, "certificate '%.64s': no such certificate", text);
}

/* --- profiles
 * ---------------------------------------------------------------------------------------------------------------
 */

static void profile_drop(struct ch_profile *profile)
{
	if (profile && --profile->references == 0) {
		ch_profile_free(profile);
		free(profile);
	}
}

void profile_release(struct issuer *issuer, struct ch_profile *profile)
{
	pthread_mutex_lock(&issuer->cache->lock);
	profile_drop(profile);
	pthread_mutex_unlock(&issuer->cache->lock);
}

static struct ch_profile *profile_held(struct issuer_cache *cache, const char *key, int32_t version)
{
	struct profile_entry *entry;
	struct ch_profile *profile = NULL;

	pthread_mutex_lock(&cache->lock);
	HASH_FIND_STR(cache->profiles, key, entry);
	if (entry && entry->profile->version == version) {
		profile = entry->profile;
		profile->references++;
	}
	pthread_mutex_unlock(&cache->lock);
	return profile;
}

/* The newest version stays; recovery's look at an older one must not push it out. */
static void profile_keep(struct issuer_cache *cache, const char *key, struct ch_profile *profile)
{
	struct profile_entry *entry;

	pthread_mutex_lock(&cache->lock);
	profile->references = 1;
	HASH_FIND_STR(cache->profiles, key, entry);
	if (!entry) {
		entry = ch_alloc(sizeof(*entry));
		entry->key = ch_strdup(key);
		HASH_ADD_KEYPTR(hh, cache->profiles, entry->key, strlen(entry->key), entry);
	}
	if (!entry->profile || entry->profile->version < profile->version) {
		profile_drop(entry->profile);
		entry->profile = profile;
		profile->references++;
	}
	pthread_mutex_unlock(&cache->lock);
}

bool profile_get(struct issuer *issuer, const char *tenant, const char *name, int32_t version,
		 struct ch_profile **found, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_string) key = ch_format("%s/%s", tenant, name);
	CH_AUTO(profile_row) row = CH_NONE;
	CH_AUTO(ch_profile) profile = CH_NONE;

	if ((*found = profile_held(issuer->cache, key, version)))
		return true;
	if (!ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_load_profile(transaction, tenant, name, version, &row, err) ||
	    !ch_profile_read(ch_view_text(row.document), &profile, err))
		return false;
	profile.version = row.version;
	*found = ch_alloc(sizeof(**found));
	**found = CH_STEAL(profile);
	profile_keep(issuer->cache, key, *found);
	return true;
}

/* --- life
 * -------------------------------------------------------------------------------------------------------------------
 */

struct issuer_cache *cache_new(void)
{
	struct issuer_cache *cache = ch_alloc(sizeof(*cache));

	pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

void cache_free(struct issuer_cache *cache)
{
	struct profile_entry *profile, *next_profile;
	struct set_entry *set, *next_set;

	if (!cache)
		return;
	HASH_ITER(hh, cache->profiles, profile, next_profile)
	{
		HASH_DEL(cache->profiles, profile);
		profile_drop(profile->profile);
		free(profile->key);
		free(profile);
	}
	HASH_ITER(hh, cache->sets, set, next_set)
	{
		HASH_DEL(cache->sets, set);
		set_drop(set->set);
		free(set->key);
		free(set);
	}
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}
