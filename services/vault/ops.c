/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops.c: one Sign message: each item is decided on its own, all that are allowed go to the HSMs at once, and
 * what must be recorded is recorded before a signature leaves. Called from the dispatch table (vault.c).
 * docs/paths/signing.md draws it.
 */
#include "vault.h"

#include "key_states.h"
#include "log/log.h"
#include "policy.h"

#include <stdlib.h>
#include <string.h>

/* An action that an item names, as the database has it, and the quorum that must have approved it. */
struct named_action {
	struct vault_action action;
	struct vault_quorum quorum;
};

/* One item on its way. */
struct work {
	const Chancery__SignItem *item;
	const struct vault_purpose *purpose;
	const struct vault_key *key; /* from vault_keys_get */
	struct vault_check check;
	struct named_action *action; /* where the item names one */
	bool allowed;
	bool quota_asked, quota_taken; /* once, though the key's row may be read twice */
	struct ch_error why_not;
	uint8_t digest[64];
	Chancery__HsmRequest request;
	Chancery__HsmSign sign;
	struct hsm_item hsm;
};

/* --- shared with generate.c --- */

int64_t vault_deadline_us(const struct vault *vault, const struct ch_bus_request *request)
{
	int64_t left = request->body->deadline_us - ch_clock_now_us(vault->clock);

	return ch_monotonic_us() + (left > 0 ? left : 0);
}

unsigned vault_residency_bits(const struct vault *vault, const struct vault_key *key)
{
	unsigned bits = 0;

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		for (size_t j = 0; j < key->residency_count; j++)
			if (strcmp(hsm_pool_name(vault->hsms, i), key->residency[j]) == 0)
				bits |= 1u << i;
	return bits;
}

/* --- step 1: who asks for what with which key --- */

static bool refuse(struct work *work, const char *reason)
{
	work->check.reason = reason;
	return false;
}

/* What a service may never ask for is refused before any key is looked up. */
static bool find_purpose(struct work *work, const struct ch_bus_request *request, struct ch_error *err)
{
	work->purpose = vault_purpose_find(work->item->purpose);
	if (!work->purpose) {
		ch_fail(err, CH_INVALID, "purpose %d is not one of the vault's", (int)work->item->purpose);
		return refuse(work, "purpose");
	}
	if (!vault_purpose_allows(work->purpose, request->sender->service)) {
		ch_fail(err, CH_DENIED, "service '%s' may not ask for purpose '%s', only '%s'%s%s%s may",
			request->sender->service, work->purpose->name, work->purpose->callers[0],
			work->purpose->callers[1] ? " and '" : "",
			work->purpose->callers[1] ? work->purpose->callers[1] : "",
			work->purpose->callers[1] ? "'" : "");
		return refuse(work, "caller");
	}
	return true;
}

static bool check_key(struct vault *vault, struct work *work, const struct ch_bus_request *request,
		      struct ch_error *err)
{
	const struct vault_key *key = work->key;
	size_t copies = hsm_pool_count(vault->hsms) > 1 ? 2 : 1;

	if (strcmp(key->tenant, request->body->tenant) != 0) {
		ch_fail(err, CH_NOT_FOUND, "key '%.40s': no such key", key->key_id);
		return refuse(work, "tenant");
	}
	if (!vault_limits_check(key, work->purpose, request->sender->service, &work->check.reason, err))
		return false;
	if (key->residency_count < copies && !key->single_copy_accepted) {
		ch_fail(err, CH_DENIED, "key '%s' is on %zu HSM, %zu required", key->key_id,
			key->residency_count, copies);
		return refuse(work, "residency");
	}
	return true;
}

static bool take_quota(struct vault *vault, struct work *work, const struct ch_bus_request *request,
		       struct ch_error *err)
{
	const struct vault_quota_ask ask = { .vault = vault,
					     .key = work->key,
					     .purpose = work->purpose,
					     .service = request->sender->service,
					     .instance = request->sender->instance };

	if (!work->quota_asked)
		work->quota_taken = vault_quota_take(&ask, &work->check.reason, err);
	work->quota_asked = true;
	return work->quota_taken;
}

/* --- step 2: what the bytes say --- */

/* The key that a certificate's SubjectPublicKeyInfo belongs to; lives until the check is done. */
struct subject_finder {
	struct vault *vault;
	struct vault_key key;
};

static const struct vault_key *find_subject(void *state, struct ch_view public_key_info, struct ch_error *err)
{
	struct subject_finder *finder = state;

	vault_key_free(&finder->key);
	if (!store_find_key_by_public_key(finder->vault->db, public_key_info, &finder->key, err) ||
	    !vault_key_verify_read(finder->vault, &finder->key, err))
		return NULL;
	if (vault_state_may_be_certified(finder->key.state))
		return &finder->key;
	ch_fail(err, CH_CONFLICT, "key '%s' is %s: no certificate is made for it", finder->key.key_id,
		finder->key.state);
	return NULL;
}

static void free_action(struct work *work)
{
	if (work->action)
		vault_action_free(&work->action->action);
	free(work->action);
	work->action = NULL;
}

static bool load_action(struct vault *vault, struct work *work, struct ch_error *err)
{
	if (!work->item->action_id[0] || work->action)
		return true;
	work->action = ch_alloc(sizeof(*work->action));
	if (vault_action_load(vault, work->key->tenant, work->item->action_id, &work->action->action,
			      &work->action->quorum, err))
		return true;
	free_action(work);
	return refuse(work, err->code == CH_NOT_FOUND ? "approval-missing"
			    : err->code == CH_DENIED  ? "approval-quorum"
						      : "database");
}

static bool check_bytes(struct vault *vault, struct work *work, const struct ch_bus_request *request,
			struct ch_error *err)
{
	struct subject_finder finder = { .vault = vault };
	const Chancery__SignItem *item = work->item;
	bool allowed;

	vault_check_free(&work->check);
	work->check = (struct vault_check){
		.key = work->key,
		.policy = &vault->policy,
		.now_us = ch_clock_now_us(vault->clock),
		.tenant = work->key->tenant,
		.sender_service = request->sender->service,
		.sender_instance = request->sender->instance,
		.to_be_signed = ch_view(item->to_be_signed.data, item->to_be_signed.len),
		.content = ch_view(item->content.data, item->content.len),
		.action = work->action ? &work->action->action : NULL,
		.quorum = work->action ? &work->action->quorum : NULL,
		.find_subject = find_subject,
		.find_state = &finder,
		.reason = "malformed",
		.ca_path_length = -1,
	};
	allowed = work->purpose->check(&work->check, err);
	vault_key_free(&finder.key);
	return allowed;
}

/* --- step 3: what may never go back, and what a CA certificate makes of its key --- */

static bool set_ca_limits(void *context, struct vault_key *key, struct ch_error *err)
{
	const struct vault_check *check = context;

	(void)err;
	key->ca_not_before_us = check->ca_not_before_us;
	key->ca_not_after_us = check->ca_not_after_us;
	key->ca_path_length = check->ca_path_length;
	return true;
}

static bool record_before_signing(struct vault *vault, struct work *work,
				  const struct ch_bus_request *request, struct ch_error *err)
{
	struct vault_check *check = &work->check;

	if (check->uses_action && !vault_action_mark_used(vault, request, work->item->action_id, err))
		return refuse(work, err->code == CH_REPLAYED ? "approval-used" : "database");
	if (check->number.size &&
	    !vault_take_number(vault, work->key, check->number, check->to_be_signed, &check->reason, err))
		return false;
	return !check->sets_ca_limits ||
	       vault_key_change(vault, check->subject_key_id, set_ca_limits, check, NULL, err) ||
	       refuse(work, "database");
}

static bool check_all(struct vault *vault, struct work *work, const struct ch_bus_request *request,
		      struct ch_error *err)
{
	return check_key(vault, work, request, err) && take_quota(vault, work, request, err) &&
	       load_action(vault, work, err) && check_bytes(vault, work, request, err);
}

/* Why a key's row could not be had. */
static const char *key_reason(const struct ch_error *err)
{
	switch (err->code) {
	case CH_NOT_FOUND:
		return "no-key";
	case CH_DENIED:
		return "policy-seal";
	default:
		return "unavailable";
	}
}

/* A row in memory may be a second old (another vault signed the CA's certificate just now): before it
 * refuses, it is read again. */
static bool allow(struct vault *vault, struct work *work, const struct ch_bus_request *request,
		  struct ch_error *err)
{
	if (!vault_keys_get(vault->keys, work->item->key_id, false, &work->key, err))
		return refuse(work, key_reason(err));
	if (!check_all(vault, work, request, err)) {
		if (work->quota_asked && !work->quota_taken)
			return false;
		vault_keys_release(work->key);
		work->key = NULL;
		if (!vault_keys_get(vault->keys, work->item->key_id, true, &work->key, err))
			return refuse(work, key_reason(err));
		if (!check_all(vault, work, request, err))
			return false;
	}
	return record_before_signing(vault, work, request, err);
}

/* --- step 4: the HSMs --- */

static bool prepare_hsm(struct vault *vault, struct work *work, int64_t deadline_us, struct ch_error *err)
{
	const struct ch_algorithm *algorithm = work->key->algorithm;
	struct ch_view data = work->check.to_be_signed;

	if (algorithm->digest[0]) {
		size_t size;

		if (!ch_digest(algorithm->digest, data, work->digest, &size, err))
			return refuse(work, "digest");
		data = ch_view(work->digest, size);
	}
	chancery__hsm_request__init(&work->request);
	chancery__hsm_sign__init(&work->sign);
	work->sign.key_id = (char *)work->key->key_id;
	work->sign.algorithm = (char *)algorithm->name;
	work->sign.digest = (char *)algorithm->digest;
	work->sign.data = (ProtobufCBinaryData){ .len = data.size, .data = (uint8_t *)data.data };
	work->request.sign = &work->sign;
	work->hsm = (struct hsm_item){ .request = &work->request,
				       .allowed = vault_residency_bits(vault, work->key),
				       .deadline_us = deadline_us };
	return true;
}

/* All allowed items at once: the pool spreads them over its workers. */
static void run_allowed(struct vault *vault, struct work *works, size_t count)
{
	struct hsm_item *items = ch_alloc(count * sizeof(*items));
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		if (works[i].allowed)
			items[used++] = works[i].hsm;
	hsm_run(vault->hsms, items, used);
	used = 0;
	for (size_t i = 0; i < count; i++)
		if (works[i].allowed)
			works[i].hsm = items[used++];
	free(items);
}

/* --- step 5: the audit trail, then the result --- */

static void answer_error(Chancery__SignResult *result, const struct ch_error *why)
{
	result->code = why->code;
	result->message = ch_strdup(why->message);
	result->retryable = why->retryable;
	result->retry_after_ms = why->retry_after_ms;
}

/* The request as events and log lines of one item see it: a message may carry items of several outside
 * requests. */
struct item_request {
	struct ch_bus_request request;
	Chancery__Body body;
};

static const struct ch_bus_request *of_item(const struct ch_bus_request *request,
					    const Chancery__SignItem *item, struct item_request *room)
{
	if (!item->trace_id[0])
		return request;
	room->body = *request->body;
	room->body.trace_id = item->trace_id;
	room->request = *request;
	room->request.body = &room->body;
	room->request.scope.trace_id = item->trace_id;
	return &room->request;
}

static void finish(struct vault *vault, struct work *work, const struct ch_bus_request *request,
		   Chancery__SignResult *result)
{
	struct item_request room;
	const struct vault_event event = { .request = of_item(request, work->item, &room),
					   .purpose = work->purpose,
					   .key_id = work->item->key_id,
					   .check = &work->check };
	struct ch_bytes signature;

	if (!work->allowed) {
		vault_note_refused(vault, &event, &work->why_not);
		answer_error(result, &work->why_not);
		return;
	}
	if (!work->hsm.reply) {
		vault_note_failed(vault, &event, &work->hsm.err);
		answer_error(result, &work->hsm.err);
		return;
	}
	if (!vault_note_signed(vault, &event, &work->why_not)) {
		vault_note_failed(vault, &event, &work->why_not);
		answer_error(result, &work->why_not); /* what cannot be recorded does not leave */
		return;
	}
	signature = ch_bytes_copy(ch_view(work->hsm.reply->signature.data, work->hsm.reply->signature.len));
	result->signature = (ProtobufCBinaryData){ .len = signature.size, .data = signature.data };
}

static void free_work(struct work *work)
{
	if (work->hsm.reply)
		chancery__hsm_reply__free_unpacked(work->hsm.reply, NULL);
	vault_keys_release(work->key);
	vault_check_free(&work->check);
	free_action(work);
}

bool vault_handle_sign(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	const Chancery__SignRequest *ask = (const Chancery__SignRequest *)request->payload;
	int64_t deadline_us = vault_deadline_us(state, request);
	struct vault *vault = state;
	Chancery__SignReply *answer;
	struct work *works;

	/* 1. A batch of a size that one message should have. */
	if (ask->n_items < 1 || ask->n_items > VAULT_ITEMS_CAP)
		return ch_fail(err, CH_INVALID, "%zu items to sign, 1 to %d allowed", ask->n_items,
			       VAULT_ITEMS_CAP);
	works = ch_alloc(ask->n_items * sizeof(*works));

	/* 2. Each item by itself: who asks, which key, what the bytes say; then what must be recorded first.
	 */
	for (size_t i = 0; i < ask->n_items; i++) {
		struct work *work = &works[i];

		work->item = ask->items[i];
		work->allowed = find_purpose(work, request, &work->why_not) &&
				allow(vault, work, request, &work->why_not) &&
				prepare_hsm(vault, work, deadline_us, &work->why_not);
	}

	/* 3. The HSMs sign what was allowed, and only that. */
	run_allowed(vault, works, ask->n_items);

	/* 4. Recorded before it leaves; each item has its own result. */
	answer = CH_PROTO_NEW(Chancery__SignReply, chancery__sign_reply__init);
	answer->results = ch_alloc_pointers(ask->n_items);
	answer->n_results = ask->n_items;
	for (size_t i = 0; i < ask->n_items; i++) {
		answer->results[i] = CH_PROTO_NEW(Chancery__SignResult, chancery__sign_result__init);
		finish(vault, &works[i], request, answer->results[i]);
		free_work(&works[i]);
	}
	free(works);
	*reply = &answer->base;
	return true;
}

/* --- listing --- */

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
