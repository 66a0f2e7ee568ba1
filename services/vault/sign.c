/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sign.c: one Sign message: each item is decided on its own (sign_allow.c), all that are allowed go to the
 * HSMs at once, and what must be recorded is recorded before a signature leaves. Called from the dispatch
 * table (peers.c). docs/paths/signing.md draws it.
 */
#include "sign.h"

#include <stdlib.h>

/* --- what the HSMs made is verified before it leaves --- */

/* The last key that an item of this message was verified with: mostly it is the next one's too. */
struct verifying {
	const struct vault_key *key; /* some work's */
	struct ch_verifier *verifier;
};

static bool verify(void *state, const Chancery__HsmReply *reply, struct ch_error *err)
{
	const struct work *work = state;
	struct verifying *last = work->verifying;
	struct ch_view signature = ch_view(reply->signature.data, reply->signature.len);

	if (last->key != work->key) {
		ch_verifier_free(last->verifier);
		*last = (struct verifying)CH_NONE;
		if (!ch_verifier_new(work->key->algorithm, work->key->verify_key, &last->verifier, err))
			return ch_fail_in(err, "key '%s'", work->key->key_id);
		last->key = work->key;
	}
	return ch_verifier_verify(last->verifier, ch_view(work->sign.data.data, work->sign.data.len),
				  signature, err) ||
	       ch_fail_in(err, "key '%s'", work->key->key_id);
}

/* --- the HSMs --- */

static bool prepare_hsm(struct vault *vault, struct work *work, int64_t deadline_us, struct ch_error *err)
{
	const struct ch_algorithm *algorithm = work->key->algorithm;
	struct ch_view data = work->check.to_be_signed;

	if (algorithm->digest[0]) {
		size_t size;

		if (!ch_digest(algorithm->digest, data, work->digest, &size, err)) {
			work->check.reason = "digest";
			return false;
		}
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
				       .deadline_us = deadline_us,
				       .lane = work->purpose->for_relying_parties ? HSM_LANE_RELYING
										  : HSM_LANE_CA,
				       .verify = work->key->signatures_unverified ? NULL : verify,
				       .verify_state = work };
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

/* --- the audit trail, then the result --- */

/* "No" for good: the caller may give up what it wanted signed. Where the vault only could not (its database,
 * an HSM, a seal, a quota), that says nothing about the bytes, whatever code it has. */
static bool is_verdict(const struct work *work)
{
	const struct ch_error *why = &work->why_not;

	return work->judged && !why->retryable && why->code != CH_UNAVAILABLE && why->code != CH_INTERNAL;
}

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
		result->refused = is_verdict(work);
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
	vault_sign_forget(work);
}

/* Counted, logged and recorded as one refusal. */
static bool refuse_message(struct vault *vault, const struct ch_bus_request *request, struct ch_error *err)
{
	const struct vault_check check = { .reason = "lane" };
	const struct vault_event event = { .request = request, .key_id = "", .check = &check };

	vault_note_refused(vault, &event, err);
	return false;
}

bool vault_handle_sign(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	const Chancery__SignRequest *ask = (const Chancery__SignRequest *)request->payload;
	int64_t deadline_us = vault_deadline_us(state, request);
	struct vault *vault = state;
	struct verifying verifying = CH_NONE;
	enum hsm_lane lane;
	Chancery__SignReply *answer;
	struct work *works;

	/* 1. A batch of a size that one message should have. */
	if (ask->n_items < 1 || ask->n_items > VAULT_ITEMS_CAP)
		return ch_fail(err, CH_INVALID, "%zu items to sign, 1 to %d allowed", ask->n_items,
			       VAULT_ITEMS_CAP);
	/* What could not be recorded is not signed, and a minute's count is recorded only afterwards. */
	if (!ch_audit_able(vault->audit, err))
		return false;
	if (!vault_lane_enter(vault, ask, &lane, err))
		return refuse_message(vault, request, err);
	works = ch_alloc(ask->n_items * sizeof(*works));

	/* 2. Each item by itself: who asks, which key, what the bytes say; then what must be recorded first.
	 */
	for (size_t i = 0; i < ask->n_items; i++) {
		struct work *work = &works[i];

		work->item = ask->items[i];
		work->verifying = &verifying;
		work->allowed = vault_sign_allow(vault, work, request, &work->why_not) &&
				prepare_hsm(vault, work, deadline_us, &work->why_not);
	}

	/* 3. The HSMs sign what was allowed, and only that; what does not verify is signed by another one. */
	run_allowed(vault, works, ask->n_items);
	ch_verifier_free(verifying.verifier);

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
	vault_lane_leave(vault, lane);
	*reply = &answer->base;
	return true;
}
