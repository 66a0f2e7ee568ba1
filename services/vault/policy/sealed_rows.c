/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sealed_rows.c: rows of `keys` are used only with their seal, and changed only together with it. keys.c
 * verifies what it reads here; what changes a key (state, policy, CA limits, copies) does so here.
 */
#include "policy.h"
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGE_TRIES 8 /* that another vault may be faster */

/* --- verifying --- */

static bool refuse_row(struct vault *vault, const struct vault_key *key, struct ch_view content,
		       const char *what, struct ch_error *err)
{
	CH_AUTO(ch_buffer) seen = CH_NONE;

	ch_fail(err, CH_DENIED, "key '%s': %s", key->key_id, what);
	ch_buffer_add(&seen, key->key_id, strlen(key->key_id));
	ch_buffer_add_view(&seen, content);
	ch_buffer_add_view(&seen, ch_view_of(&key->seal));
	if (vault_seal_first_sight(vault, ch_buffer_view(&seen)))
		vault_note_alert(vault, key->tenant, key->key_id, "policy-seal", err->message);
	return false;
}

bool vault_key_verify(struct vault *vault, const struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed = vault_key_pack(key);
	struct ch_error why = CH_NONE;

	if (key->damaged)
		return refuse_row(vault, key, ch_view_text(key->damaged),
				  "its policy row was changed outside the vault", err);
	if (!key->seal.size)
		return refuse_row(vault, key, ch_view_of(&packed),
				  "its policy row was changed outside the vault: it has no seal", err);
	if (!vault_seal_check(vault, VAULT_SEAL_KEY, ch_view_of(&packed), ch_view_of(&key->seal), &why)) {
		if (why.code == CH_DENIED)
			return refuse_row(vault, key, ch_view_of(&packed),
					  "its policy row was changed outside the vault", err);
		*err = why;
		return ch_fail_in(err, "key '%s'", key->key_id);
	}
	if (!vault_seal_goes_on(vault, key->key_id, key->policy_version))
		return refuse_row(vault, key, ch_view_of(&packed),
				  "its policy row was changed outside the vault: it is one of before", err);
	return true;
}

bool vault_key_verify_read(struct vault *vault, struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_string) key_id = ch_strdup(key->key_id);

	/* What was read before another thread wrote the next version looks like one of before: again. */
	if (!key->damaged && key->seal.size && !vault_seal_would_go_on(vault, key_id, key->policy_version)) {
		vault_key_free(key);
		if (!store_find_key(vault->db, key_id, key, err))
			return false;
	}
	if (vault_key_verify(vault, key, err))
		return true;
	vault_key_free(key);
	return false;
}

/* --- changing --- */

bool vault_key_seal(struct vault *vault, struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed = vault_key_pack(key);
	uint8_t seal[VAULT_SEAL_SIZE];

	if (!vault_seal_make(vault, VAULT_SEAL_KEY, ch_view_of(&packed), seal, err))
		return ch_fail_in(err, "key '%s'", key->key_id);
	ch_bytes_free(&key->seal);
	key->seal = ch_bytes_copy(ch_view(seal, sizeof(seal)));
	return true;
}

static bool change_once(struct vault *vault, const char *key_id, vault_key_changer change, void *context,
			struct vault_key *key, struct ch_error *err)
{
	uint64_t read_version;

	if (!store_find_key(vault->db, key_id, key, err) || !vault_key_verify_read(vault, key, err))
		return false;
	read_version = key->policy_version;
	key->policy_version++;
	return change(context, key, err) && vault_key_seal(vault, key, err) &&
	       store_update_key(vault->db, key, read_version, err);
}

bool vault_key_change(struct vault *vault, const char *key_id, vault_key_changer change, void *context,
		      struct vault_key *changed, struct ch_error *err)
{
	for (int i = 0; i < CHANGE_TRIES; i++) {
		CH_AUTO(vault_key) key = CH_NONE;

		err->retryable = false;
		if (change_once(vault, key_id, change, context, &key, err)) {
			(void)vault_seal_goes_on(vault, key_id, key.policy_version);
			vault_keys_forget(vault->keys, key_id);
			if (changed)
				*changed = CH_STEAL(key);
			return true;
		}
		if (err->code != CH_CONFLICT || !err->retryable)
			return false;
	}
	return false;
}
