/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate.c: one GenerateKey message becomes one key on all HSMs. Called from the dispatch table (peers.c).
 * A key is recorded only after each of its copies made a signature that the public key verifies.
 */
#include "generate.h"

#include "key_states.h"
#include "policy.h"

#include "clock/wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what the row says --- */

static void fill_key(struct vault *vault, const Chancery__GenerateKeyRequest *ask,
		     const struct key_kind *kind, const char *tenant, struct vault_key *key)
{
	uint8_t id[16];
	CH_AUTO(ch_string) text = NULL;

	ch_random(id, sizeof(id));
	text = ch_hex(ch_view(id, sizeof(id)));
	memcpy(key->key_id, text, sizeof(key->key_id));
	strncpy(key->tenant, tenant, sizeof(key->tenant) - 1);
	snprintf(key->state, sizeof(key->state), "%s", ask->pre_active ? "pre-active" : "active");
	key->label = ch_strdup(ask->label);
	key->algorithm = ch_algorithm_find(ask->algorithm);
	key->purposes = kind->purposes;
	key->subject_der = ch_bytes_copy(ch_view(ask->subject_der.data, ask->subject_der.len));
	key->single_copy_accepted = vault->config->single_copy_accepted;
	key->ca_path_length = -1;
	key->max_validity_us = ask->max_validity_seconds * CH_SECOND;
	key->policy_version = 1;
	key->created_at_us = ch_clock_now_us(vault->clock);
	key->checkpoint_origin = kind->has_origin ? ch_strdup(ask->checkpoint_origin) : NULL;
	key->timestamp_policies = ch_alloc(ask->n_timestamp_policies * sizeof(char *));
	key->timestamp_policy_count = ask->n_timestamp_policies;
	for (size_t i = 0; i < ask->n_timestamp_policies; i++)
		key->timestamp_policies[i] = ch_strdup(ask->timestamp_policies[i]);
}

/* It only narrows what the key may do. What would widen it (certificates not recorded one by one, extensions
 * beyond the table, signatures not verified) is for officers (change-key-policy): the action to make the key
 * says nothing of it. */
static bool set_policy(struct vault_key *key, const Chancery__GenerateKeyRequest *ask,
		       const struct key_kind *kind, struct ch_error *err)
{
	int64_t validity_us = key->max_validity_us;

	if (!ask->policy)
		return true;
	if (!vault_policy_valid(ask->policy, key, err))
		return ch_fail_in(err, "policy");
	if (kind->needs_approval && strcmp(ask->policy->audit_mode, "summary") == 0)
		return ch_fail(err, CH_DENIED,
			       "policy: a %s key is made with each signature audited; officers may change it",
			       kind->name);
	if (ask->policy->n_extra_extensions || ask->policy->signatures_unverified)
		return ch_fail(
			err, CH_DENIED,
			"policy: a key is made without extra_extensions and with its signatures verified; "
			"officers may change it");
	vault_policy_set(key, ask->policy);
	if (!key->max_validity_us)
		key->max_validity_us = validity_us;
	return true;
}

/* --- with officers' approvals --- */

static char *purpose_names(unsigned purposes)
{
	CH_AUTO(ch_buffer) names = CH_NONE;

	for (int i = 1; i < 32; i++) {
		const struct vault_purpose *purpose =
			purposes & 1u << i ? vault_purpose_find((Chancery__Purpose)i) : NULL;

		if (purpose)
			ch_buffer_printf(&names, "%s%s", names.used ? "," : "", purpose->name);
	}
	return ch_buffer_steal_text(&names);
}

static bool use_approval(struct vault *vault, const struct ch_bus_request *request,
			 const Chancery__GenerateKeyRequest *ask, const struct key_kind *kind,
			 struct ch_error *err)
{
	CH_AUTO(ch_string) purposes = purpose_names(kind->purposes);
	CH_AUTO(ch_string) subject =
		kind->has_subject ? ch_name_text(ch_view(ask->subject_der.data, ask->subject_der.len))
				  : ch_strdup("-");
	CH_AUTO(ch_string) names = NULL;
	const struct ch_action_field fields[] = {
		{ (char *)(uintptr_t) "label", ask->label },
		{ (char *)(uintptr_t) "algorithm", ask->algorithm },
		{ (char *)(uintptr_t) "purposes", purposes },
		{ (char *)(uintptr_t) "subject", subject },
	};
	const struct vault_approval_ask approval = { .tenant = request->body->tenant,
						     .kind = CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY,
						     .fields = fields,
						     .field_count = CH_COUNT(fields),
						     .now_us = ch_clock_now_us(vault->clock) };

	return !kind->needs_approval ||
	       vault_action_use(vault, request, ask->action_id, &approval, &names, err);
}

/* --- the handler --- */

/* The same request id with other content is a fault of the caller's. */
static bool check_same(const struct vault_key *key, const Chancery__GenerateKeyRequest *ask,
		       const struct key_kind *kind, const char *tenant, struct ch_error *err)
{
	struct ch_view subject = ch_view(ask->subject_der.data, ask->subject_der.len);

	if (strcmp(key->tenant, tenant) != 0 || strcmp(key->algorithm->name, ask->algorithm) != 0 ||
	    key->purposes != kind->purposes || !ch_view_equal(ch_view_of(&key->subject_der), subject))
		return ch_fail(err, CH_CONFLICT,
			       "this message id made key '%s', which is another than asked for now",
			       key->key_id);
	return true;
}

static void answer_key(const struct vault_key *key, ProtobufCMessage **reply)
{
	Chancery__GenerateKeyReply *answer =
		CH_PROTO_NEW(Chancery__GenerateKeyReply, chancery__generate_key_reply__init);

	answer->key = CH_PROTO_NEW(Chancery__Key, chancery__key__init);
	vault_key_message(key, answer->key);
	*reply = &answer->base;
}

/* Finds what this request id made before. True with *found false where it made nothing yet. */
static bool find_made(struct vault *vault, struct ch_view request_id, bool *found, struct vault_key *key,
		      struct ch_error *err)
{
	struct ch_error none;

	*found = store_find_key_by_request(vault->db, request_id, key, &none) &&
		 vault_key_verify_read(vault, key, &none);
	if (*found || none.code == CH_NOT_FOUND)
		return true;
	*err = none;
	return false;
}

/* The row is complete and sealed before anybody may know the key. */
static bool seal_and_insert(struct vault *vault, struct vault_key *key, struct ch_view wrapped,
			    struct ch_error *err)
{
	uint8_t number_seal[VAULT_SEAL_SIZE], hash[64];
	size_t size;

	if (!ch_digest("sha256", ch_view_of(&key->public_key_info), hash, &size, err))
		return false;
	memcpy(key->public_key_sha256, hash, sizeof(key->public_key_sha256));
	return vault_key_seal(vault, key, err) &&
	       vault_number_seal_first(vault, key->key_id, number_seal, err) &&
	       store_insert_key(vault->db, key, wrapped, ch_view(number_seal, sizeof(number_seal)), err);
}

/* Makes it, and its row. Where another vault was faster with the same request, its key counts and ours goes.
 */
static bool make_and_insert(struct vault *vault, struct ch_view request_id, struct vault_key *key,
			    struct ch_error *err)
{
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	bool found;

	if (!vault_make_key(vault, key, &wrapped, err))
		return false;
	if (seal_and_insert(vault, key, ch_view_of(&wrapped), err))
		return true;
	vault_destroy_everywhere(vault, key);
	if (err->code != CH_CONFLICT)
		return false;
	vault_key_free(key);
	return find_made(vault, request_id, &found, key, err) &&
	       (found || ch_fail(err, CH_CONFLICT, "the key could not be recorded"));
}

static bool take_quota(struct vault *vault, const struct ch_bus_request *request, struct ch_error *err)
{
	struct vault_check check = { .reason = "caller-quota" };
	const struct vault_event event = { .request = request, .key_id = "", .check = &check };

	if (vault_quota_take_key(vault, request->sender->service, request->sender->instance, &check.reason,
				 err))
		return true;
	if (err->code == CH_EXHAUSTED)
		vault_note_refused(vault, &event, err);
	return false;
}

/* --- one at a time: the HSMs' other sessions go on signing --- */

void vault_turn_init(struct vault_turn *turn)
{
	pthread_mutex_init(&turn->lock, NULL);
	ch_condition_init(&turn->over);
}

bool vault_turn_take(struct vault_turn *turn, int64_t deadline_us, struct ch_error *err)
{
	int64_t longest_us = ch_monotonic_us() + VAULT_TURN_US;
	int64_t until_us = deadline_us < longest_us ? deadline_us : longest_us;
	bool taken;

	pthread_mutex_lock(&turn->lock);
	while (turn->taken && ch_condition_wait(&turn->over, &turn->lock, until_us))
		;
	taken = !turn->taken;
	if (taken)
		turn->taken = true;
	pthread_mutex_unlock(&turn->lock);
	if (taken)
		return true;
	ch_fail(err, CH_UNAVAILABLE, "another key is being made: ask again");
	err->retryable = true;
	return false;
}

void vault_turn_give(struct vault_turn *turn)
{
	pthread_mutex_lock(&turn->lock);
	turn->taken = false;
	pthread_cond_signal(&turn->over);
	pthread_mutex_unlock(&turn->lock);
}

bool vault_handle_generate_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			       struct ch_error *err)
{
	const Chancery__GenerateKeyRequest *ask = (const Chancery__GenerateKeyRequest *)request->payload;
	struct ch_view request_id = ch_view(request->body->message_id.data, request->body->message_id.len);
	const char *tenant = request->body->tenant;
	CH_AUTO(vault_key) key = CH_NONE;
	const struct key_kind *kind;
	struct vault *vault = state;
	bool found, made;

	/* 1. What may be made is decided before anything is. */
	if (!vault_key_kind_check(ask, request->sender->service, &kind, err)) {
		const struct vault_event event = { .request = request, .key_id = "" };

		vault_note_refused(vault, &event, err);
		return false;
	}

	/* 2. One at a time; a repeated message waits for the first and finds what it made. */
	if (!vault_turn_take(&vault->generating, vault_deadline_us(vault, request), err))
		return false;
	made = find_made(vault, request_id, &found, &key, err);

	/* 3. With the approvals that its kind needs: made on one HSM, copied to the others, each copy proven,
	 * its row inserted. */
	if (made && !found) {
		fill_key(vault, ask, kind, tenant, &key);
		key.request_id = ch_bytes_copy(request_id);
		made = set_policy(&key, ask, kind, err) && take_quota(vault, request, err) &&
		       use_approval(vault, request, ask, kind, err) &&
		       make_and_insert(vault, request_id, &key, err);
	}
	/* 4. Recorded, also where an earlier try ended before that; only then told. */
	made = made && vault_tell_generated(vault, request, &key, err);
	vault_turn_give(&vault->generating);
	if (!made || !check_same(&key, ask, kind, tenant, err))
		return false;
	answer_key(&key, reply);
	return true;
}
