/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sign_allow.c: whether one item of a Sign message may be signed: who asks for what with which key, what the
 * bytes say, and what must be recorded first. sign.c calls it for each item.
 */
#include "sign.h"

#include "key_states.h"
#include "policy.h"

#include <stdlib.h>
#include <string.h>

/* An action that an item names, as the database has it, and the quorum that must have approved it. */
struct named_action {
	struct vault_action action;
	struct vault_quorum quorum;
};

/* --- who asks for what with which key --- */

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
	work->judged =
		!vault_limits_check(key, work->purpose, request->sender->service, &work->check.reason, err);
	if (work->judged)
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

/* --- what the bytes say --- */

/* The key that a certificate's SubjectPublicKeyInfo belongs to, and the tenant's CA names; lives until the
 * check is done. */
struct subject_finder {
	struct vault *vault;
	const char *tenant;
	struct vault_key key;
	bool could_not; /* tell: the database, an HSM or a seal; the bytes are not judged by that */
};

static const struct vault_key *find_subject(void *state, struct ch_view public_key_info, struct ch_error *err)
{
	struct subject_finder *finder = state;
	uint8_t fingerprint[CH_FINGERPRINT_SIZE];
	bool blocked;

	vault_key_free(&finder->key);
	if (!ch_public_key_fingerprint(public_key_info, fingerprint, err))
		return NULL; /* that is for the bytes to answer for */
	if (!store_find_key_by_public_key(finder->vault->db, fingerprint, &finder->key, err) ||
	    !vault_key_verify_read(finder->vault, &finder->key, err) ||
	    !store_key_is_blocked(finder->vault->db, &finder->key, &blocked, err)) {
		finder->could_not = !err || err->code != CH_NOT_FOUND;
		return NULL;
	}
	if (!blocked && vault_state_may_be_certified(finder->key.state))
		return &finder->key;
	ch_fail(err, CH_CONFLICT, "key '%s' is %s: no certificate is made for it", finder->key.key_id,
		vault_state_may_be_certified(finder->key.state) ? "known to be compromised"
								: finder->key.state);
	return NULL;
}

static bool is_ca_name(void *state, struct ch_view name, bool *is, struct ch_error *err)
{
	struct subject_finder *finder = state;

	finder->could_not = !vault_ca_names_has(finder->vault->ca_names, finder->tenant, name, is, err);
	return !finder->could_not;
}

/* A root's certificate is for the signing key itself, which no subject_finder looked at. */
static bool check_root_key(struct vault *vault, struct work *work, struct ch_error *err)
{
	bool blocked;

	if (!work->check.sets_ca_limits || strcmp(work->check.subject_key_id, work->key->key_id) != 0)
		return true;
	if (!store_key_is_blocked(vault->db, work->key, &blocked, err))
		return refuse(work, "database");
	if (!blocked)
		return true;
	ch_fail(err, CH_CONFLICT, "key '%s' is known to be compromised: no certificate is made for it",
		work->key->key_id);
	return refuse(work, "subject-key");
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
	struct subject_finder finder = { .vault = vault, .tenant = work->key->tenant };
	const Chancery__SignItem *item = work->item;
	bool allowed;

	vault_check_free(&work->check);
	work->check = (struct vault_check){
		.key = work->key,
		.policy = &vault->policy,
		.status_alone = vault_state_tells_status_alone(work->key->state),
		.now_us = ch_clock_now_us(vault->clock),
		.tenant = work->key->tenant,
		.sender_service = request->sender->service,
		.sender_instance = request->sender->instance,
		.sender_names_sha256 = request->sender->names_sha256,
		.to_be_signed = ch_view(item->to_be_signed.data, item->to_be_signed.len),
		.content = ch_view(item->content.data, item->content.len),
		.action = work->action ? &work->action->action : NULL,
		.quorum = work->action ? &work->action->quorum : NULL,
		.find_subject = find_subject,
		.is_ca_name = is_ca_name,
		.find_state = &finder,
		.reason = "malformed",
		.ca_path_length = -1,
	};
	allowed = work->purpose->check(&work->check, err);
	work->judged = !allowed && !finder.could_not;
	allowed = allowed && check_root_key(vault, work, err);
	vault_key_free(&finder.key);
	return allowed;
}

/* --- what may never go back, and what a CA certificate makes of its key --- */

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
	if (check->number.size && !vault_take_number(vault, work->key, check, err))
		return false;
	return !check->sets_ca_limits ||
	       vault_key_change(vault, check->subject_key_id, set_ca_limits, check, NULL, err) ||
	       refuse(work, "database");
}

static bool check_all(struct vault *vault, struct work *work, const struct ch_bus_request *request,
		      struct ch_error *err)
{
	work->judged = false;
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
		work->judged = false;
		if (!vault_keys_get(vault->keys, work->item->key_id, true, &work->key, err))
			return refuse(work, key_reason(err));
		if (!check_all(vault, work, request, err))
			return false;
	}
	return record_before_signing(vault, work, request, err);
}

bool vault_sign_allow(struct vault *vault, struct work *work, const struct ch_bus_request *request,
		      struct ch_error *err)
{
	return find_purpose(work, request, err) && allow(vault, work, request, err);
}

void vault_sign_forget(struct work *work)
{
	vault_keys_release(work->key);
	vault_check_free(&work->check);
	free_action(work);
}
