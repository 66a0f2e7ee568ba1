/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copies.c: a key that was destroyed through another vault is gone from the tokens, but the sessions of this
 * vault's workers may still hold copies that they signed with (hsm/worker_sign.c). A thread looks which of
 * the keys that were used here are destroyed, and tells the workers. keys.c and copy.c say what is used.
 */
#include "vault.h"

#include "log/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

#define INTERVAL_S 10
#define TIMES      2 /* that workers are told: a signature under way at the first may have made another copy */

struct used_key {
	char key_id[33];
	unsigned told; /* how often, since it was used last */
	UT_hash_handle hh;
};

struct vault_copies {
	struct vault *vault;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop;
	bool stopping;         /* guarded by lock */
	struct used_key *keys; /* guarded by lock: that a session may have a copy of */
};

void vault_copies_note(struct vault_copies *copies, const char *key_id)
{
	struct used_key *key;

	if (!copies || strlen(key_id) >= sizeof(key->key_id))
		return;
	pthread_mutex_lock(&copies->lock);
	HASH_FIND_STR(copies->keys, key_id, key);
	if (!key) {
		key = ch_alloc(sizeof(*key));
		snprintf(key->key_id, sizeof(key->key_id), "%s", key_id);
		HASH_ADD_STR(copies->keys, key_id, key);
	}
	key->told = 0;
	pthread_mutex_unlock(&copies->lock);
}

/* --- the look --- */

static char **used_keys(struct vault_copies *copies, size_t *count)
{
	struct used_key *key = NULL, *next = NULL;
	char **ids;

	*count = 0;
	pthread_mutex_lock(&copies->lock);
	ids = ch_alloc_pointers(HASH_COUNT(copies->keys));
	HASH_ITER(hh, copies->keys, key, next)
	ids[(*count)++] = ch_strdup(key->key_id);
	pthread_mutex_unlock(&copies->lock);
	return ids;
}

/* A worker that is not up has no copies: they end with its process. */
static bool drop_on(struct vault *vault, size_t hsm, const char *key_id)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmDropCopies ask = CHANCERY__HSM_DROP_COPIES__INIT;
	struct ch_error err;

	if (!(hsm_pool_up(vault->hsms) & 1u << hsm))
		return true;
	ask.key_id = (char *)(uintptr_t)key_id;
	request.drop_copies = &ask;
	if (vault_run_on(vault, hsm, &request, false, VAULT_COPY_LIMIT_US, NULL, &err))
		return true;
	ch_log_warn("HSM '%s': copies of destroyed key '%s' are not dropped yet: %s",
		    hsm_pool_name(vault->hsms, hsm), key_id, err.message);
	return false;
}

/* True the first time. */
static bool note_told(struct vault_copies *copies, const char *key_id)
{
	struct used_key *key;
	bool first;

	pthread_mutex_lock(&copies->lock);
	HASH_FIND_STR(copies->keys, key_id, key);
	first = key && key->told == 0;
	if (key && ++key->told >= TIMES) {
		HASH_DEL(copies->keys, key);
		free(key);
	}
	pthread_mutex_unlock(&copies->lock);
	return first;
}

static void drop(void *context, const char *key_id)
{
	struct vault_copies *copies = context;
	struct vault *vault = copies->vault;
	bool dropped = true;

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		dropped = drop_on(vault, i, key_id) && dropped;
	if (dropped && note_told(copies, key_id))
		ch_log_info("key '%s' is destroyed: the HSM workers' copies of it are dropped", key_id);
}

/* The state is believed without its seal: a copy that was dropped for nothing is made again. */
static void look(struct vault_copies *copies)
{
	struct ch_error err;
	size_t count;
	char **ids = used_keys(copies, &count);

	if (count && !store_find_destroyed(copies->vault->db, ids, count, drop, copies, &err))
		ch_log_warn("destroyed keys cannot be looked for: %s", err.message);
	for (size_t i = 0; i < count; i++)
		free(ids[i]);
	free(ids);
}

/* False: it is time to end. */
static bool wait_for_next(struct vault_copies *copies)
{
	struct timespec until;
	bool stopping;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += INTERVAL_S;
	pthread_mutex_lock(&copies->lock);
	while (!copies->stopping && pthread_cond_timedwait(&copies->stop, &copies->lock, &until) == 0)
		;
	stopping = copies->stopping;
	pthread_mutex_unlock(&copies->lock);
	return !stopping;
}

static void *keep_looking(void *state)
{
	while (wait_for_next(state))
		look(state);
	return NULL;
}

/* --- starting and stopping --- */

static void free_copies(struct vault_copies *copies)
{
	struct used_key *key = NULL, *next = NULL;

	HASH_ITER(hh, copies->keys, key, next)
	{
		HASH_DEL(copies->keys, key);
		free(key);
	}
	pthread_cond_destroy(&copies->stop);
	pthread_mutex_destroy(&copies->lock);
	free(copies);
}

bool vault_copies_start(struct vault *vault, struct vault_copies **copies, struct ch_error *err)
{
	struct vault_copies *new = ch_alloc(sizeof(*new));
	pthread_condattr_t attributes;

	new->vault = vault;
	pthread_mutex_init(&new->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&new->stop, &attributes);
	pthread_condattr_destroy(&attributes);
	if (pthread_create(&new->thread, NULL, keep_looking, new) != 0) {
		free_copies(new);
		return ch_fail(err, CH_INTERNAL, "cannot start the thread that looks for destroyed keys");
	}
	*copies = new;
	return true;
}

void vault_copies_stop(struct vault_copies *copies)
{
	if (!copies)
		return;
	pthread_mutex_lock(&copies->lock);
	copies->stopping = true;
	pthread_cond_signal(&copies->stop);
	pthread_mutex_unlock(&copies->lock);
	pthread_join(copies->thread, NULL);
	free_copies(copies);
}
