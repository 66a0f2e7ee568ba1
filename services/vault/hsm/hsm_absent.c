/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_absent.c: a table of keys by id, with the HSMs that do not have them. Called by the HSM pool. */
#include "hsm_absent.h"

#include "mem/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define KEY_ID_SIZE 40

struct hsm_absent {
	char key_id[KEY_ID_SIZE];
	unsigned bits;
	int64_t until_us;
	UT_hash_handle hh;
};

static void drop(struct hsm_absent **absent, struct hsm_absent *entry)
{
	HASH_DEL(*absent, entry);
	free(entry);
}

void hsm_absent_free(struct hsm_absent **absent)
{
	struct hsm_absent *entry, *next;

	HASH_ITER(hh, *absent, entry, next)
	drop(absent, entry);
}

static struct hsm_absent *find(struct hsm_absent *absent, const char *key_id)
{
	struct hsm_absent *entry = NULL;

	HASH_FIND_STR(absent, key_id, entry);
	return entry;
}

static void drop_expired(struct hsm_absent **absent, int64_t now_us)
{
	struct hsm_absent *entry, *next;

	HASH_ITER(hh, *absent, entry, next)
	if (entry->until_us <= now_us)
		drop(absent, entry);
}

void hsm_absent_note(struct hsm_absent **absent, const char *key_id, unsigned index, int64_t now_us)
{
	struct hsm_absent *entry = find(*absent, key_id);

	if (!entry) {
		if (HASH_COUNT(*absent) >= HSM_ABSENT_CAP)
			drop_expired(absent, now_us);
		if (HASH_COUNT(*absent) >= HSM_ABSENT_CAP)
			return;
		entry = ch_alloc(sizeof(*entry));
		snprintf(entry->key_id, sizeof(entry->key_id), "%s", key_id);
		HASH_ADD_STR(*absent, key_id, entry);
	}
	entry->bits |= 1u << index;
	entry->until_us = now_us + HSM_ABSENT_US;
}

unsigned hsm_absent_bits(struct hsm_absent **absent, const char *key_id, int64_t now_us)
{
	struct hsm_absent *entry = find(*absent, key_id);

	if (!entry)
		return 0;
	if (entry->until_us > now_us)
		return entry->bits;
	drop(absent, entry);
	return 0;
}

void hsm_absent_forget_key(struct hsm_absent **absent, const char *key_id, unsigned index)
{
	struct hsm_absent *entry = find(*absent, key_id);

	if (!entry)
		return;
	entry->bits &= ~(1u << index);
	if (!entry->bits)
		drop(absent, entry);
}

void hsm_absent_forget_hsm(struct hsm_absent **absent, unsigned index)
{
	struct hsm_absent *entry, *next;

	HASH_ITER(hh, *absent, entry, next)
	{
		entry->bits &= ~(1u << index);
		if (!entry->bits)
			drop(absent, entry);
	}
}
