/* SPDX-License-Identifier: Apache-2.0 */
/* listing.c: what the vault tells of its keys and HSMs: ListKeys, VaultStatus. Called from the dispatch table
 * (peers.c); others answer with a key's message too. */
#include "vault.h"

#include "key_states.h"
#include "log/log.h"

/* --- keys --- */

static ProtobufCBinaryData copy_binary(const struct ch_bytes *bytes)
{
	struct ch_bytes copy = bytes->size ? ch_bytes_copy(ch_view_of(bytes)) : (struct ch_bytes)CH_NONE;

	return (ProtobufCBinaryData){ .len = copy.size, .data = copy.data };
}

void vault_key_message(const struct vault_key *key, Chancery__Key *message)
{
	message->key_id = ch_strdup(key->key_id);
	message->tenant = ch_strdup(key->tenant);
	message->label = ch_strdup(key->label);
	message->algorithm =
		ch_strdup(key->algorithm ? key->algorithm->name : ""); /* an edited row is listed too */
	message->state = ch_strdup(key->state);
	message->subject_der = copy_binary(&key->subject_der);
	message->public_key_info = copy_binary(&key->public_key_info);
	message->created_at_us = key->created_at_us;
	message->ca_not_after_us = key->ca_not_after_us;
	message->residency = ch_alloc_pointers(key->residency_count);
	message->n_residency = key->residency_count;
	for (size_t i = 0; i < key->residency_count; i++)
		message->residency[i] = ch_strdup(key->residency[i]);
	message->purposes = ch_alloc(32 * sizeof(*message->purposes));
	message->policy = vault_policy_message(key);
	message->policy_version = key->policy_version;
	for (int i = 1; i < 32; i++)
		if (key->purposes & 1u << i)
			message->purposes[message->n_purposes++] = (Chancery__Purpose)i;
}

static void add_key(void *context, const struct vault_key *key)
{
	Chancery__ListKeysReply *answer = context;
	Chancery__Key *message = CH_PROTO_NEW(Chancery__Key, chancery__key__init);

	vault_key_message(key, message);
	answer->keys = ch_realloc(answer->keys, (answer->n_keys + 1) * sizeof(Chancery__Key *));
	answer->keys[answer->n_keys++] = message;
}

bool vault_handle_list_keys(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			    struct ch_error *err)
{
	Chancery__ListKeysReply *answer =
		CH_PROTO_NEW(Chancery__ListKeysReply, chancery__list_keys_reply__init);
	struct vault *vault = state;

	*reply = &answer->base;
	if (store_list_keys(vault->db, request->body->tenant, add_key, answer, err))
		return true;
	chancery__list_keys_reply__free_unpacked(answer, NULL);
	*reply = NULL;
	return false;
}

/* --- HSMs --- */

/* How many keys there are, and how many of them each HSM holds. */
struct key_counts {
	struct vault *vault;
	uint32_t total;
	uint32_t present[HSM_MAX];
};

static void count_key(void *context, const struct vault_key *key)
{
	struct key_counts *counts = context;
	unsigned bits = vault_residency_bits(counts->vault, key);

	counts->total++;
	for (size_t i = 0; i < HSM_MAX; i++)
		counts->present[i] += bits >> i & 1;
}

static Chancery__HsmStatus *status_message(struct vault *vault, size_t index, const struct key_counts *counts)
{
	const struct hsm_config *config = (const struct hsm_config *)vault->config->hsms.items + index;
	Chancery__HsmStatus *message = CH_PROTO_NEW(Chancery__HsmStatus, chancery__hsm_status__init);
	struct hsm_status status;

	hsm_pool_status(vault->hsms, index, &status);
	message->name = ch_strdup(status.name);
	message->state = ch_strdup(hsm_state_name(status.state));
	message->token_label = ch_strdup(config->token_label);
	message->module = ch_strdup(config->module);
	message->signatures = status.signatures;
	message->in_flight = status.in_flight;
	message->restarts = status.restarts;
	message->flapping = status.flapping;
	message->breaker = ch_strdup(hsm_breaker_name(status.breaker));
	message->sessions = status.sessions;
	message->enabled = status.enabled;
	message->last_error = ch_strdup(status.last_error);
	message->keys_present = counts->present[index];
	message->keys_total = counts->total;
	return message;
}

bool vault_handle_status(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	struct vault *vault = state;
	struct key_counts counts = { .vault = vault };
	Chancery__VaultStatusReply *answer;
	struct ch_error no_counts;

	(void)request;
	(void)err;
	/* The state of the HSMs is told without a database too. */
	if (!store_list_all_keys(vault->db, count_key, &counts, &no_counts))
		ch_log_warn("keys cannot be counted: %s", no_counts.message);
	answer = CH_PROTO_NEW(Chancery__VaultStatusReply, chancery__vault_status_reply__init);
	answer->instance = ch_strdup(vault->config->common.instance);
	answer->n_hsms = hsm_pool_count(vault->hsms);
	answer->hsms = ch_alloc_pointers(answer->n_hsms);
	for (size_t i = 0; i < answer->n_hsms; i++)
		answer->hsms[i] = status_message(vault, i, &counts);
	*reply = &answer->base;
	return true;
}
