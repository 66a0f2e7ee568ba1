/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify_key.c: a public key with the table of its multiples, which is made once so many signatures were
 * verified that it pays.
 */
#include "verify_key.h"

#include "p256_table.h"

#include <stdlib.h>

struct ch_verify_key {
	atomic_int references;
	EVP_PKEY *key;
	const struct ch_algorithm *algorithm;
	atomic_int *tables_left;
	atomic_uint verified; /* without a table, since the last try to make one */
	_Atomic(struct ch_p256_table *) table;
};

struct ch_verify_key *ch_verify_key_new(EVP_PKEY *key, atomic_int *tables_left)
{
	struct ch_verify_key *made = ch_alloc(sizeof(*made));

	EVP_PKEY_up_ref(key);
	made->key = key;
	made->algorithm = ch_algorithm_of_key(key);
	if (made->algorithm && made->algorithm == ch_algorithm_find("ecdsa-p256"))
		made->tables_left = tables_left;
	atomic_init(&made->references, 1);
	atomic_init(&made->verified, 0);
	atomic_init(&made->table, NULL);
	return made;
}

struct ch_verify_key *ch_verify_key_up_ref(struct ch_verify_key *key)
{
	atomic_fetch_add(&key->references, 1);
	return key;
}

void ch_verify_key_free(struct ch_verify_key *key)
{
	struct ch_p256_table *table;

	if (!key || atomic_fetch_sub(&key->references, 1) > 1)
		return;
	table = atomic_load(&key->table);
	if (table)
		atomic_fetch_add(key->tables_left, 1);
	ch_p256_table_free(table);
	EVP_PKEY_free(key->key);
	free(key);
}

EVP_PKEY *ch_verify_key_public(const struct ch_verify_key *key)
{
	return key->key;
}

const struct ch_algorithm *ch_verify_key_algorithm(const struct ch_verify_key *key)
{
	return key->algorithm;
}

static void make_table(struct ch_verify_key *key)
{
	struct ch_p256_table *made;

	if (atomic_fetch_sub(key->tables_left, 1) > 0 && ch_p256_table_new(key->key, &made, NULL)) {
		atomic_store(&key->table, made);
		return;
	}
	atomic_fetch_add(key->tables_left, 1);
	atomic_store(&key->verified, 0); /* so many later again */
}

const struct ch_p256_table *ch_verify_key_table(struct ch_verify_key *key)
{
	struct ch_p256_table *table = key->tables_left ? atomic_load(&key->table) : NULL;

	/* One thread makes it; the others go on without until it is there. */
	if (table || !key->tables_left || atomic_fetch_add(&key->verified, 1) + 1 != CH_TABLE_WORTH)
		return table;
	make_table(key);
	return atomic_load(&key->table);
}
