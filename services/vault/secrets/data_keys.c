/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data_keys.c: each tenant's data keys: made from the HSM's randomness, kept in the database wrapped by an
 * HSM key, here in locked memory. handlers.c uses them. A key that was swapped with another tenant's or
 * version's in the database does not unwrap.
 */
#include "secrets.h"

#include "data_key_store.h"
#include "marks.h"
#include "policy.h"
#include "vault.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define NEWEST_AGE_US \
	(5 * CH_SECOND) /* so long another vault's rotation may go unseen: the older key still seals */
#define KEYS_CAP 4096   /* in memory; past it all are forgotten and read again */
#define DOMAIN   "chancery/data-key/v1"

struct data_key {
	char name[80]; /* "tenant/version" */
	struct ch_secret key;
	atomic_uint_fast64_t seals;
	UT_hash_handle hh;
};

struct newest {
	char tenant[64];
	uint32_t version;
	int64_t read_us;
	UT_hash_handle hh;
};

struct vault_secrets {
	struct vault *vault;
	pthread_rwlock_t lock; /* guards both tables; a key is used with it held for reading */
	struct data_key *keys;
	struct newest *newest;
};

struct vault_secrets *vault_secrets_new(struct vault *vault)
{
	struct vault_secrets *secrets = ch_alloc(sizeof(*secrets));

	secrets->vault = vault;
	pthread_rwlock_init(&secrets->lock, NULL);
	return secrets;
}

static void forget_keys(struct vault_secrets *secrets)
{
	struct data_key *key = NULL, *next = NULL;

	HASH_ITER(hh, secrets->keys, key, next)
	{
		HASH_DEL(secrets->keys, key);
		ch_secret_free(&key->key);
		free(key);
	}
}

void vault_secrets_free(struct vault_secrets *secrets)
{
	struct newest *newest = NULL, *next = NULL;

	if (!secrets)
		return;
	forget_keys(secrets);
	HASH_ITER(hh, secrets->newest, newest, next)
	{
		HASH_DEL(secrets->newest, newest);
		free(newest);
	}
	pthread_rwlock_destroy(&secrets->lock);
	free(secrets);
}

/* --- the HSM's part: any HSM does, all hold the domain's keys --- */

static bool ask_hsm(struct vault *vault, Chancery__HsmRequest *request, int64_t deadline_us,
		    struct ch_secret *data, struct ch_bytes *wrapped, struct ch_error *err)
{
	struct hsm_item item = { .request = request,
				 .allowed = (1u << hsm_pool_count(vault->hsms)) - 1,
				 .deadline_us = deadline_us };
	bool taken = true;

	hsm_run(vault->hsms, &item, 1);
	if (!item.reply) {
		*err = item.err;
		if (request->decrypt && item.hsm_code == CH_INVALID) { /* each that was asked says so */
			err->code = CH_INVALID;
			err->retryable = false;
		}
		return false;
	}
	if (wrapped)
		*wrapped = ch_bytes_copy(ch_view(item.reply->data.data, item.reply->data.len));
	else if (item.reply->data.len != SECRET_KEY_SIZE)
		taken = ch_fail(err, CH_INTERNAL, "the HSM gave %zu octets for a data key",
				item.reply->data.len);
	else if ((taken = ch_secret_new(SECRET_KEY_SIZE, data, err)))
		memcpy(data->data, item.reply->data.data, SECRET_KEY_SIZE);
	ch_wipe(item.reply->data.data, item.reply->data.len);
	chancery__hsm_reply__free_unpacked(item.reply, NULL);
	return taken;
}

/* Binds a wrapped key to its place. */
static size_t binding(const char *tenant, uint32_t version, char text[128])
{
	return (size_t)snprintf(text, 128, DOMAIN "/%s/%u", tenant, version);
}

static ProtobufCBinaryData binary(const void *data, size_t size)
{
	return (ProtobufCBinaryData){ .len = size, .data = (uint8_t *)(uintptr_t)data };
}

static bool make_wrapped(struct vault *vault, const char *tenant, uint32_t version, int64_t deadline_us,
			 struct ch_bytes *wrapped, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmRandom random = CHANCERY__HSM_RANDOM__INIT;
	Chancery__HsmRequest next = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmEncrypt encrypt = CHANCERY__HSM_ENCRYPT__INIT;
	CH_AUTO(ch_secret) key = CH_NONE;
	char bound[128];

	random.size = SECRET_KEY_SIZE;
	request.random = &random;
	if (!ask_hsm(vault, &request, deadline_us, &key, NULL, err))
		return false;
	encrypt.plaintext = binary(key.data, key.size);
	encrypt.associated_data = binary(bound, binding(tenant, version, bound));
	next.encrypt = &encrypt;
	return ask_hsm(vault, &next, deadline_us, NULL, wrapped, err);
}

static bool unwrap(struct vault *vault, const char *tenant, uint32_t version, struct ch_view wrapped,
		   int64_t deadline_us, struct ch_secret *key, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmDecrypt decrypt = CHANCERY__HSM_DECRYPT__INIT;
	char bound[128];

	decrypt.ciphertext = binary(wrapped.data, wrapped.size);
	decrypt.associated_data = binary(bound, binding(tenant, version, bound));
	request.decrypt = &decrypt;
	if (ask_hsm(vault, &request, deadline_us, key, NULL, err))
		return true;
	if (err->code == CH_INVALID)
		return ch_fail(err, CH_DENIED,
			       "data key %u of tenant '%s': its row was changed outside the vault", version,
			       tenant);
	return ch_fail_in(err, "data key %u of tenant '%s'", version, tenant);
}

/* --- which is the newest --- */

static bool remembered_newest(struct vault_secrets *secrets, const char *tenant, uint32_t *version)
{
	struct newest *newest;

	pthread_rwlock_rdlock(&secrets->lock);
	HASH_FIND_STR(secrets->newest, tenant, newest);
	if (newest && ch_monotonic_us() - newest->read_us > NEWEST_AGE_US)
		newest = NULL;
	if (newest)
		*version = newest->version;
	pthread_rwlock_unlock(&secrets->lock);
	return newest != NULL;
}

static void remember_newest(struct vault_secrets *secrets, const char *tenant, uint32_t version)
{
	struct newest *newest;

	pthread_rwlock_wrlock(&secrets->lock);
	HASH_FIND_STR(secrets->newest, tenant, newest);
	if (!newest) {
		newest = ch_alloc(sizeof(*newest));
		snprintf(newest->tenant, sizeof(newest->tenant), "%s", tenant);
		HASH_ADD_STR(secrets->newest, tenant, newest);
	}
	newest->version = version;
	newest->read_us = ch_monotonic_us();
	pthread_rwlock_unlock(&secrets->lock);
}

/* Where another vault makes the same version at the same moment, one row stays and both go on with it. */
static bool make(struct vault_secrets *secrets, const char *tenant, uint32_t version, int64_t deadline_us,
		 struct ch_error *err)
{
	CH_AUTO(ch_bytes) wrapped = CH_NONE;

	return make_wrapped(secrets->vault, tenant, version, deadline_us, &wrapped, err) &&
	       store_insert_data_key(secrets->vault->db, tenant, version, ch_view_of(&wrapped), err);
}

/* The newest row, which is no older than the mark was before: the mark is raised after its row is there, so
 * one that is read first is never ahead of an honest database. A newer row that was removed: the older would
 * seal again. */
static bool read_newest(struct vault *vault, const char *tenant, uint32_t *version, struct ch_error *err)
{
	CH_AUTO(ch_string) content = NULL;
	uint64_t marked;

	if (!vault_mark_read_number(vault, VAULT_MARK_DATA_KEY, tenant, &marked, err) ||
	    !store_newest_data_key(vault->db, tenant, version, err))
		return false;
	if (*version == marked)
		vault_mark_seen_number(vault, VAULT_MARK_DATA_KEY, tenant, marked);
	if (*version >= marked)
		return *version == marked ||
		       vault_mark_raise_number(vault, VAULT_MARK_DATA_KEY, tenant, *version, err);
	content = ch_format("data-key/%s/%u", tenant, *version);
	ch_fail(err, CH_DENIED,
		"data key %llu of tenant '%s' was removed outside the vault: %u is the newest",
		(unsigned long long)marked, tenant, *version);
	if (vault_seal_first_sight(vault, ch_view_text(content)))
		vault_note_alert(vault, tenant, tenant, "data-key-old", err->message);
	return false;
}

bool data_key_newest(struct vault_secrets *secrets, const char *tenant, int64_t deadline_us,
		     uint32_t *version, struct ch_error *err)
{
	if (remembered_newest(secrets, tenant, version))
		return true;
	if (!read_newest(secrets->vault, tenant, version, err))
		return false;
	if (*version == 0) {
		*version = 1;
		if (!make(secrets, tenant, 1, deadline_us, err))
			return false;
	}
	remember_newest(secrets, tenant, *version);
	return true;
}

bool data_key_rotate(struct vault_secrets *secrets, const char *tenant, int64_t deadline_us,
		     uint32_t *version, struct ch_error *err)
{
	if (!read_newest(secrets->vault, tenant, version, err))
		return false;
	++*version;
	if (!make(secrets, tenant, *version, deadline_us, err) ||
	    !vault_mark_raise_number(secrets->vault, VAULT_MARK_DATA_KEY, tenant, *version, err))
		return false;
	remember_newest(secrets, tenant, *version);
	return true;
}

/* --- using one --- */

static struct data_key *find(struct vault_secrets *secrets, const char *tenant, uint32_t version)
{
	struct data_key *key;
	char name[80];

	snprintf(name, sizeof(name), "%s/%u", tenant, version);
	HASH_FIND_STR(secrets->keys, name, key);
	return key;
}

static bool load(struct vault_secrets *secrets, const char *tenant, uint32_t version, int64_t deadline_us,
		 struct ch_error *err)
{
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	CH_AUTO(ch_secret) opened = CH_NONE;
	struct data_key *key;

	if (!store_find_data_key(secrets->vault->db, tenant, version, &wrapped, err) ||
	    !unwrap(secrets->vault, tenant, version, ch_view_of(&wrapped), deadline_us, &opened, err))
		return false;
	pthread_rwlock_wrlock(&secrets->lock);
	if (HASH_COUNT(secrets->keys) >= KEYS_CAP)
		forget_keys(secrets);
	if (!find(secrets, tenant, version)) {
		key = ch_alloc(sizeof(*key));
		snprintf(key->name, sizeof(key->name), "%s/%u", tenant, version);
		key->key = CH_STEAL(opened);
		HASH_ADD_STR(secrets->keys, name, key);
	}
	pthread_rwlock_unlock(&secrets->lock);
	return true;
}

bool data_key_use(struct vault_secrets *secrets, const char *tenant, uint32_t version, int64_t deadline_us,
		  bool (*use)(void *state, struct ch_view key, struct ch_error *err), void *state,
		  struct ch_error *err)
{
	bool used = false;

	for (int turn = 0; turn < 3; turn++) { /* loaded, and perhaps forgotten again by a full table */
		struct data_key *key;

		pthread_rwlock_rdlock(&secrets->lock);
		key = find(secrets, tenant, version);
		if (key)
			used = use(state, ch_view(key->key.data, key->key.size), err);
		pthread_rwlock_unlock(&secrets->lock);
		if (key)
			return used;
		if (!load(secrets, tenant, version, deadline_us, err))
			return false;
	}
	return ch_fail(err, CH_UNAVAILABLE, "data key %u of tenant '%s' could not be held in memory", version,
		       tenant);
}

bool data_key_is_worn(struct vault_secrets *secrets, const char *tenant, uint32_t version)
{
	struct data_key *key;
	bool worn;

	pthread_rwlock_rdlock(&secrets->lock);
	key = find(secrets, tenant, version);
	worn = key && atomic_fetch_add(&key->seals, 1) + 1 >= DATA_KEY_SEALS_CAP;
	pthread_rwlock_unlock(&secrets->lock);
	return worn;
}
