/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.c: key rows in memory. A row is read again when it is older than VAULT_KEY_AGE_US, so that a state
 * changed by another vault holds within that time, and when a check refused on what may be old; each time its
 * seal is checked. sign_allow.c is the caller.
 */
#include "policy.h"
#include "vault.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define TABLES_CAP 64 /* 10 MiB, of memory that may be locked; first come, until they are idle */
#define IDLE_US    CH_HOUR
#define SWEEP_US   CH_MINUTE

/* The key is first: a struct vault_key given out is its entry. */
struct entry {
	struct vault_key key;
	atomic_int references; /* one for the cache as long as it is in it */
	int64_t read_us;       /* also when it was last asked for, to VAULT_KEY_AGE_US */
	bool stale;            /* guarded by lock: the row was changed, and is read again */
	UT_hash_handle hh;
};

struct vault_keys {
	struct vault *vault;
	pthread_mutex_t lock;
	struct entry *entries; /* guarded by lock */
	int64_t swept_us;      /* guarded by lock */
	atomic_int tables_left;
};

struct vault_keys *vault_keys_new(struct vault *vault)
{
	struct vault_keys *keys = ch_alloc(sizeof(*keys));

	keys->vault = vault;
	pthread_mutex_init(&keys->lock, NULL);
	atomic_init(&keys->tables_left, TABLES_CAP);
	return keys;
}

static void release(struct entry *entry)
{
	if (atomic_fetch_sub(&entry->references, 1) > 1)
		return;
	vault_key_free(&entry->key);
	free(entry);
}

void vault_keys_release(const struct vault_key *key)
{
	if (key)
		release((struct entry *)(uintptr_t)key);
}

void vault_keys_free(struct vault_keys *keys)
{
	struct entry *entry, *next;

	if (!keys)
		return;
	HASH_ITER(hh, keys->entries, entry, next)
	{
		HASH_DEL(keys->entries, entry);
		release(entry);
	}
	pthread_mutex_destroy(&keys->lock);
	free(keys);
}

static struct entry *take_cached(struct vault_keys *keys, const char *key_id)
{
	struct entry *entry;

	pthread_mutex_lock(&keys->lock);
	HASH_FIND_STR(keys->entries, key_id, entry);
	if (entry && (entry->stale || ch_monotonic_us() - entry->read_us > VAULT_KEY_AGE_US))
		entry = NULL;
	if (entry)
		atomic_fetch_add(&entry->references, 1);
	pthread_mutex_unlock(&keys->lock);
	return entry;
}

/* With the lock held. */
static void drop(struct vault_keys *keys, const char *key_id)
{
	struct entry *entry;

	HASH_FIND_STR(keys->entries, key_id, entry);
	if (!entry)
		return;
	HASH_DEL(keys->entries, entry);
	release(entry);
}

/* It stays until it is read again: its public key and the table of that are taken over. */
void vault_keys_forget(struct vault_keys *keys, const char *key_id)
{
	struct entry *entry;

	pthread_mutex_lock(&keys->lock);
	HASH_FIND_STR(keys->entries, key_id, entry);
	if (entry)
		entry->stale = true;
	pthread_mutex_unlock(&keys->lock);
}

static void drop_if_idle(struct vault_keys *keys, struct entry *entry, int64_t now_us)
{
	if (now_us - entry->read_us < IDLE_US)
		return;
	HASH_DEL(keys->entries, entry);
	release(entry);
}

/* With the lock held: what nobody asked for in an hour gives its memory back, and its place for a table. */
static void drop_idle(struct vault_keys *keys, int64_t now_us)
{
	struct entry *entry, *next;

	if (now_us < keys->swept_us + SWEEP_US)
		return;
	keys->swept_us = now_us;
	HASH_ITER(hh, keys->entries, entry, next)
	drop_if_idle(keys, entry, now_us);
}

static bool decode(struct vault_keys *keys, struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(EVP_PKEY) decoded = NULL;

	if (!ch_public_key_read(ch_view_of(&key->public_key_info), &decoded, err))
		return ch_fail_in(err, "key '%s'", key->key_id);
	key->verify_key = ch_verify_key_new(decoded, &keys->tables_left);
	return true;
}

/* Decoded once for as long as the row has the same key, which is for ever. */
static bool take_public_key(struct vault_keys *keys, struct vault_key *key, struct ch_error *err)
{
	struct entry *before;

	pthread_mutex_lock(&keys->lock);
	HASH_FIND_STR(keys->entries, key->key_id, before);
	if (before &&
	    ch_view_equal(ch_view_of(&before->key.public_key_info), ch_view_of(&key->public_key_info)))
		key->verify_key = ch_verify_key_up_ref(before->key.verify_key);
	pthread_mutex_unlock(&keys->lock);
	return key->verify_key || decode(keys, key, err);
}

bool vault_keys_get(struct vault_keys *keys, const char *key_id, bool fresh, const struct vault_key **key,
		    struct ch_error *err)
{
	struct entry *entry = fresh ? NULL : take_cached(keys, key_id);

	if (!entry) {
		entry = ch_alloc(sizeof(*entry));
		entry->read_us = ch_monotonic_us();
		if (!store_find_key(keys->vault->db, key_id, &entry->key, err) ||
		    !vault_key_verify_read(keys->vault, &entry->key, err)) {
			free(entry);
			return false;
		}
		if (!take_public_key(keys, &entry->key, err)) {
			vault_key_free(&entry->key);
			free(entry);
			return false;
		}
		if (strcmp(entry->key.state, "destroyed") != 0)
			vault_copies_note(keys->vault->copies, key_id);
		atomic_init(&entry->references, 2);
		pthread_mutex_lock(&keys->lock);
		drop(keys, key_id);
		drop_idle(keys, entry->read_us);
		HASH_ADD_STR(keys->entries, key.key_id, entry);
		pthread_mutex_unlock(&keys->lock);
	}
	*key = &entry->key;
	return true;
}
