/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal_keys.c: `chancery-vault --config FILE --seal-keys`: seals, once, the rows of keys that were made
 * before rows had seals. What it seals it prints, so that a person sees what is believed from now on.
 */
#include "local.h"

#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found {
	struct vault_key *keys;
	size_t count;
};

/* The listing's key is freed after the call: what is needed later is read again. */
static void add_found(void *context, const struct vault_key *key)
{
	struct found *found = context;

	found->keys = ch_realloc(found->keys, (found->count + 1) * sizeof(*found->keys));
	found->keys[found->count] = (struct vault_key)CH_NONE;
	memcpy(found->keys[found->count++].key_id, key->key_id, sizeof(key->key_id));
}

static void print_key(const struct vault_key *key)
{
	CH_AUTO(ch_string) subject = ch_name_text(ch_view_of(&key->subject_der));
	CH_AUTO(ch_buffer) purposes = CH_NONE;
	CH_AUTO(ch_string) text = NULL;

	for (size_t i = 0; vault_purpose_at(i); i++)
		if (key->purposes & 1u << vault_purpose_at(i)->number)
			ch_buffer_printf(&purposes, "%s%s", purposes.used ? "," : "",
					 vault_purpose_at(i)->name);
	text = ch_buffer_steal_text(&purposes);
	printf("key %s sealed: tenant %s, %s, %s, %s, label '%s', subject '%s'\n", key->key_id, key->tenant,
	       key->algorithm->name, key->state, text, key->label, subject);
}

static bool seal_number(struct vault *vault, const char *key_id, uint8_t seal[VAULT_SEAL_SIZE],
			struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(vault_number) number = CH_NONE;
	CH_AUTO(ch_bytes) packed = CH_NONE;

	if (!ch_db_begin(vault->db, NULL, &transaction, err) ||
	    !store_lock_number(transaction, key_id, &number, err))
		return false;
	packed = vault_number_pack(key_id, number.last, ch_view_of(&number.tbs_sha256));
	return vault_seal_make(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), seal, err);
}

static bool seal_key(struct vault *vault, const char *key_id, struct ch_error *err)
{
	CH_AUTO(vault_key) key = CH_NONE;
	uint8_t number_seal[VAULT_SEAL_SIZE];

	if (!store_find_key(vault->db, key_id, &key, err))
		return false;
	if (key.damaged)
		return ch_fail(err, CH_INVALID, "key '%s': its column %s holds what the vault never writes",
			       key_id, key.damaged);
	if (!vault_key_seal(vault, &key, err) || !seal_number(vault, key_id, number_seal, err) ||
	    !store_set_first_seals(vault->db, &key, ch_view(number_seal, sizeof(number_seal)), err))
		return false;
	print_key(&key);
	return true;
}

bool vault_seal_keys(struct vault *vault, const char *argument, struct ch_error *err)
{
	struct found found = CH_NONE;
	bool done = store_list_unsealed(vault->db, add_found, &found, err);

	(void)argument;
	for (size_t i = 0; done && i < found.count; i++)
		done = seal_key(vault, found.keys[i].key_id, err);
	if (done)
		printf("%zu keys sealed; those that have a seal were left as they are\n", found.count);
	free(found.keys);
	return done;
}
