/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal.c: MACs of rows by a key that only the HSMs hold, and what this process remembers of them: what
 * verified, what was told of, and how far versions have come. sealed_rows.c, number.c and the quorum use it.
 */
#include "mac.h"
#include "policy.h"
#include "vault.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define REMEMBERED_CAP 4096 /* rows that verified; as many that did not */

/* Digests, the oldest forgotten first. */
struct digest {
	uint8_t value[32];
	UT_hash_handle hh;
};

/* The highest version seen of one name. */
struct version {
	char *name;
	uint64_t highest;
	char *number; /* the last that it signed, decimal; NULL: none seen */
	UT_hash_handle hh;
};

struct vault_seals {
	pthread_mutex_t lock;
	struct digest *verified, *told; /* guarded by lock */
	struct version *versions;       /* guarded by lock; one for each of the vault's own rows */
};

struct vault_seals *vault_seals_new(void)
{
	struct vault_seals *seals = ch_alloc(sizeof(*seals));

	pthread_mutex_init(&seals->lock, NULL);
	return seals;
}

static void free_digests(struct digest *digests)
{
	struct digest *digest = NULL, *next = NULL;

	HASH_ITER(hh, digests, digest, next)
	{
		HASH_DEL(digests, digest);
		free(digest);
	}
}

void vault_seals_free(struct vault_seals *seals)
{
	struct version *version = NULL, *next = NULL;

	if (!seals)
		return;
	free_digests(seals->verified);
	free_digests(seals->told);
	HASH_ITER(hh, seals->versions, version, next)
	{
		HASH_DEL(seals->versions, version);
		free(version->name);
		free(version->number);
		free(version);
	}
	pthread_mutex_destroy(&seals->lock);
	free(seals);
}

/* --- what is remembered --- */

static bool is_remembered(struct vault_seals *seals, struct digest *const *set, const uint8_t value[32])
{
	struct digest *found;

	pthread_mutex_lock(&seals->lock);
	HASH_FIND(hh, *set, value, 32, found);
	pthread_mutex_unlock(&seals->lock);
	return found != NULL;
}

/* False where it was there already. */
static bool remember(struct vault_seals *seals, struct digest **set, const uint8_t value[32])
{
	struct digest *found;

	pthread_mutex_lock(&seals->lock);
	HASH_FIND(hh, *set, value, 32, found);
	if (!found) {
		struct digest *new = ch_alloc(sizeof(*new));

		memcpy(new->value, value, sizeof(new->value));
		if (HASH_COUNT(*set) >= REMEMBERED_CAP) {
			struct digest *oldest = *set; /* uthash iterates in the order of insertion */

			HASH_DEL(*set, oldest);
			free(oldest);
		}
		HASH_ADD(hh, *set, value, sizeof(new->value), new);
	}
	pthread_mutex_unlock(&seals->lock);
	return !found;
}

bool vault_seal_first_sight(struct vault *vault, struct ch_view content)
{
	uint8_t digest[64];
	size_t size;
	struct ch_error ignored;

	return !ch_digest("sha256", content, digest, &size, &ignored) ||
	       remember(vault->seals, &vault->seals->told, digest);
}

/* With the lock held. */
static struct version *find_version(struct vault_seals *seals, const char *name)
{
	struct version *found;

	HASH_FIND_STR(seals->versions, name, found);
	if (!found) {
		found = ch_alloc(sizeof(*found));
		found->name = ch_strdup(name);
		HASH_ADD_KEYPTR(hh, seals->versions, found->name, strlen(found->name), found);
	}
	return found;
}

bool vault_seal_number_goes_on(struct vault *vault, const char *key_id, const char *number)
{
	struct vault_seals *seals = vault->seals;
	struct version *found;
	bool goes_on;

	pthread_mutex_lock(&seals->lock);
	found = find_version(seals, key_id);
	goes_on = !found->number || vault_number_compare(number, found->number) >= 0;
	if (goes_on) {
		free(found->number);
		found->number = ch_strdup(number);
	}
	pthread_mutex_unlock(&seals->lock);
	return goes_on;
}

void vault_seal_saw(struct vault *vault, const char *name, uint64_t version)
{
	struct vault_seals *seals = vault->seals;
	struct version *found;

	pthread_mutex_lock(&seals->lock);
	found = find_version(seals, name);
	if (version > found->highest)
		found->highest = version;
	pthread_mutex_unlock(&seals->lock);
}

uint64_t vault_seal_highest(struct vault *vault, const char *name)
{
	struct vault_seals *seals = vault->seals;
	struct version *found;
	uint64_t highest;

	pthread_mutex_lock(&seals->lock);
	HASH_FIND_STR(seals->versions, name, found);
	highest = found ? found->highest : 0;
	pthread_mutex_unlock(&seals->lock);
	return highest;
}

/* --- making and checking --- */

static struct ch_bytes domain_and_data(const char *domain, struct ch_view data)
{
	CH_AUTO(ch_buffer) buffer = CH_NONE;

	ch_buffer_add(&buffer, domain, strlen(domain) + 1);
	ch_buffer_add_view(&buffer, data);
	return ch_buffer_steal(&buffer);
}

/* What is remembered of a row is its content with its seal: the one without the other says nothing. */
static bool digest_of(struct ch_view sealed, struct ch_view seal, uint8_t digest[64], struct ch_error *err)
{
	CH_AUTO(ch_buffer) both = CH_NONE;
	size_t size;

	ch_buffer_add_view(&both, seal);
	ch_buffer_add_view(&both, sealed);
	return ch_digest("sha256", ch_buffer_view(&both), digest, &size, err);
}

bool vault_seal_make(struct vault *vault, const char *domain, struct ch_view data,
		     uint8_t seal[VAULT_SEAL_SIZE], struct ch_error *err)
{
	CH_AUTO(ch_bytes) sealed = domain_and_data(domain, data);
	uint8_t digest[64];

	if (!vault_mac_make(vault, ch_view_of(&sealed), seal, err) ||
	    !digest_of(ch_view_of(&sealed), ch_view(seal, VAULT_SEAL_SIZE), digest, err))
		return false;
	remember(vault->seals, &vault->seals->verified, digest);
	return true;
}

bool vault_seal_check(struct vault *vault, const char *domain, struct ch_view data, struct ch_view seal,
		      struct ch_error *err)
{
	CH_AUTO(ch_bytes) sealed = domain_and_data(domain, data);
	uint8_t digest[64];

	if (seal.size != VAULT_SEAL_SIZE)
		return ch_fail(err, CH_DENIED, "it has no seal: it was changed outside the vault");
	if (!digest_of(ch_view_of(&sealed), seal, digest, err))
		return false;
	if (is_remembered(vault->seals, &vault->seals->verified, digest))
		return true;
	if (!vault_mac_check(vault, ch_view_of(&sealed), seal, err))
		return false;
	remember(vault->seals, &vault->seals->verified, digest);
	return true;
}
