/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sealed_rows.c: rows of `keys` are used only with their seal, and changed only together with it. keys.c
 * verifies what it reads here; what changes a key (state, policy, CA limits, copies) does so here.
 */
#include "marks.h"
#include "policy.h"
#include "vault.h"

#include "log/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHANGE_TRIES  50    /* that another thread or vault may be faster */
#define LONGEST_PAUSE 20000 /* µs, before the next try */

/* --- verifying --- */

static bool refuse_row(struct vault *vault, const struct vault_key *key, struct ch_view content,
		       const char *what, struct ch_error *err)
{
	CH_AUTO(ch_buffer) seen = CH_NONE;

	ch_fail(err, CH_DENIED, "key '%s': %s", key->key_id, what);
	ch_buffer_add(&seen, key->key_id, strlen(key->key_id));
	ch_buffer_add_view(&seen, content);
	ch_buffer_add_view(&seen, ch_view_of(&key->seal));
	if (vault_seal_first_sight(vault, ch_buffer_view(&seen))) {
		vault_note_alert(vault, key->tenant, key->key_id, "policy-seal", err->message);
		vault_marks_wake(vault->marks); /* or an HSM is wrong: then that is told too */
	}
	return false;
}

bool vault_key_check_seal(struct vault *vault, const struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed = vault_key_pack(key);
	struct ch_error why = CH_NONE;

	if (key->damaged)
		return refuse_row(vault, key, ch_view_text(key->damaged),
				  "its policy row was changed outside the vault", err);
	if (!key->seal.size)
		return refuse_row(vault, key, ch_view_of(&packed),
				  "its policy row was changed outside the vault: it has no seal", err);
	if (vault_seal_check(vault, VAULT_SEAL_KEY, ch_view_of(&packed), ch_view_of(&key->seal), &why))
		return true;
	if (why.code == CH_DENIED)
		return refuse_row(vault, key, ch_view_of(&packed),
				  "its policy row was changed outside the vault", err);
	*err = why;
	return ch_fail_in(err, "key '%s'", key->key_id);
}

/* A row is one of before only where a newer one was seen, by any vault, before this one was read: another
 * thread or vault may write the next version at any moment. So what looks old is read again, and held against
 * what was known then. */
static bool check_order(struct vault *vault, struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_string) key_id = ch_strdup(key->key_id);
	uint64_t known = vault_seal_highest(vault, key_id), marked;

	if (!vault_mark_read_number(vault, VAULT_MARK_KEY, key_id, &marked, err))
		return ch_fail_in(err, "key '%s'", key_id);
	known = marked > known ? marked : known;
	if (key->policy_version < known) {
		vault_key_free(key);
		if (!store_find_key(vault->db, key_id, key, err) || !vault_key_check_seal(vault, key, err))
			return false;
	}
	if (key->policy_version < known) {
		CH_AUTO(ch_bytes) packed = vault_key_pack(key);

		return refuse_row(vault, key, ch_view_of(&packed),
				  "its policy row was changed outside the vault: it is one of before", err);
	}
	if (key->policy_version == marked)
		vault_mark_seen_number(vault, VAULT_MARK_KEY, key_id, marked);
	else if (key->policy_version > marked &&
		 !vault_mark_raise_number(vault, VAULT_MARK_KEY, key_id, key->policy_version, err))
		return ch_fail_in(err, "key '%s'", key_id);
	vault_seal_saw(vault, key_id, key->policy_version);
	return true;
}

bool vault_key_sealed_version(struct vault *vault, const char *key_id, uint64_t *version,
			      struct ch_error *err)
{
	CH_AUTO(vault_key) key = CH_NONE;
	CH_AUTO(ch_bytes) packed = CH_NONE;

	*version = 0;
	if (!store_find_key(vault->db, key_id, &key, err))
		return err->code == CH_NOT_FOUND;
	if (key.damaged)
		return true;
	packed = vault_key_pack(&key);
	if (!vault_seal_check(vault, VAULT_SEAL_KEY, ch_view_of(&packed), ch_view_of(&key.seal), err))
		return err->code == CH_DENIED;
	*version = key.policy_version;
	return true;
}

bool vault_key_verify_read(struct vault *vault, struct vault_key *key, struct ch_error *err)
{
	if (vault_key_check_seal(vault, key, err) && check_order(vault, key, err))
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

/* Of random length, so that those who met do not meet again. */
static void pause_a_little(void)
{
	struct timespec pause = CH_NONE;
	uint16_t random;

	ch_random(&random, sizeof(random));
	pause.tv_nsec = (long)(random % LONGEST_PAUSE) * 1000;
	nanosleep(&pause, NULL);
}

/* It is changed: what cannot be marked now is marked when the row is read next. */
static void mark_changed(struct vault *vault, const struct vault_key *key)
{
	struct ch_error err;

	if (!vault_mark_raise_number(vault, VAULT_MARK_KEY, key->key_id, key->policy_version, &err))
		ch_log_warn("key '%s': version %llu is not marked yet: %s", key->key_id,
			    (unsigned long long)key->policy_version, err.message);
}

bool vault_key_change(struct vault *vault, const char *key_id, vault_key_changer change, void *context,
		      struct vault_key *changed, struct ch_error *err)
{
	for (int i = 0; i < CHANGE_TRIES; i++) {
		CH_AUTO(vault_key) key = CH_NONE;

		err->retryable = false;
		if (change_once(vault, key_id, change, context, &key, err)) {
			vault_seal_saw(vault, key_id, key.policy_version);
			mark_changed(vault, &key);
			vault_keys_forget(vault->keys, key_id);
			if (changed)
				*changed = CH_STEAL(key);
			return true;
		}
		if (err->code != CH_CONFLICT || !err->retryable)
			return false;
		pause_a_little();
	}
	return false;
}
