/* SPDX-License-Identifier: Apache-2.0 */
/* change_state.c: ChangeKeyState: a key goes from one state to another (state.c has the ways), and a
 * destroyed one out of every HSM. Called from the dispatch table (peers.c). */
#include "change.h"
#include "key_states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESTROY_LIMIT_US (15 * CH_SECOND)
#define REASON_CAP       512

/* --- what is wanted, and may it be --- */

static bool check_ask(const struct key_order *order, const Chancery__ChangeKeyStateRequest *ask,
		      struct ch_error *err)
{
	if (!vault_state_known(ask->state))
		return ch_fail(err, CH_INVALID, "state '%.32s' is none of NIST SP 800-57's", ask->state) ||
		       key_order_refused(order, "state", err);
	if (strlen(ask->reason) > REASON_CAP)
		return ch_fail(err, CH_INVALID, "reason of %zu octets, at most %d", strlen(ask->reason),
			       REASON_CAP) ||
		       key_order_refused(order, "reason", err);
	return true;
}

static bool refuse_way(const struct key_order *order, const char *to, struct ch_error *err)
{
	CH_AUTO(ch_string) ways = vault_transitions_from(order->key.state);

	ch_fail(err, CH_CONFLICT, "key '%s' is %s: it may become %s, not %s", order->key_id, order->key.state,
		ways, to);
	return key_order_refused(order, "transition", err);
}

static bool check_approval(struct key_order *order, const char *to, struct ch_error *err)
{
	CH_AUTO(ch_string) version = ch_format("%llu", (unsigned long long)order->key.policy_version);
	const struct ch_action_field fields[] = { { "key", order->key.key_id },
						  { "policy-version", version },
						  { "from", order->key.state },
						  { "to", (char *)(uintptr_t)to } };

	return key_order_approved(order, CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_STATE, fields,
				  CH_COUNT(fields), err);
}

/* --- the row --- */

struct wanted {
	const struct key_order *order;
	const Chancery__ChangeKeyStateRequest *ask;
};

/* Recorded before it holds. */
static bool set_state(void *context, struct vault_key *key, struct ch_error *err)
{
	const struct wanted *wanted = context;
	const struct ch_audit_detail details[] = { { "from", key->state },
						   { "to", wanted->ask->state },
						   { "reason", wanted->ask->reason } };

	if (!key_order_unchanged(wanted->order, key, err) ||
	    !key_order_record(wanted->order, "key.state-changed", details, CH_COUNT(details), err))
		return false;
	memset(key->state, 0, sizeof(key->state));
	strncpy(key->state, wanted->ask->state, sizeof(key->state) - 1);
	key->state_changed_at_us = ch_clock_now_us(wanted->order->vault->clock);
	return true;
}

/* --- out of the HSMs --- */

/* A key is not half destroyed: all HSMs that hold it must be there. */
static bool check_holders_up(const struct key_order *order, struct ch_error *err)
{
	struct vault *vault = order->vault;
	unsigned held = vault_residency_bits(vault, &order->key), up = hsm_pool_up(vault->hsms);

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		if ((held & ~up) & 1u << i) {
			ch_fail(err, CH_UNAVAILABLE,
				"key '%s' is on HSM '%s', which is not up: it is not destroyed",
				order->key_id, hsm_pool_name(vault->hsms, i));
			err->retryable = false; /* a person is to decide when to come again */
			return false;
		}
	if ((size_t)__builtin_popcount(held) < order->key.residency_count)
		return ch_fail(err, CH_CONFLICT,
			       "key '%s' is on an HSM that this vault does not have: it is not destroyed",
			       order->key_id);
	return true;
}

static bool destroy_on(const struct key_order *order, size_t hsm, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmDestroy destroy = CHANCERY__HSM_DESTROY__INIT;

	destroy.key_id = (char *)(uintptr_t)order->key_id;
	request.destroy = &destroy;
	return vault_run_on(order->vault, hsm, &request, false, DESTROY_LIMIT_US, NULL, err) ||
	       ch_fail_in(err, "key '%s' is destroyed but for HSM '%s': repeat it", order->key_id,
			  hsm_pool_name(order->vault->hsms, hsm));
}

static bool forget_residency(void *context, struct vault_key *key, struct ch_error *err)
{
	(void)context;
	(void)err;
	for (size_t i = 0; i < key->residency_count; i++)
		free(key->residency[i]);
	key->residency_count = 0;
	return true;
}

/* *key: the destroyed row; its residency says where it still is, so that a repetition finishes this. */
static bool destroy_copies(struct key_order *order, struct vault_key *key, struct ch_error *err)
{
	unsigned held = vault_residency_bits(order->vault, key);
	struct vault_key gone = CH_NONE;
	CH_AUTO(ch_buffer) names = CH_NONE;
	CH_AUTO(ch_string) text = NULL;

	for (size_t i = 0; i < hsm_pool_count(order->vault->hsms); i++) {
		if (!(held & 1u << i))
			continue;
		if (!destroy_on(order, i, err))
			return false;
		ch_buffer_printf(&names, "%s%s", names.used ? " " : "", hsm_pool_name(order->vault->hsms, i));
	}
	text = ch_buffer_steal_text(&names);
	const struct ch_audit_detail details[] = { { "hsms", text } };
	if (!store_delete_quotas(order->vault->db, order->key_id, err) ||
	    !key_order_record(order, "key.destroyed", details, CH_COUNT(details), err) ||
	    !vault_key_change(order->vault, order->key_id, forget_residency, NULL, &gone, err))
		return false;
	vault_key_free(key);
	*key = gone;
	return true;
}

/* --- the handler --- */

static bool change(struct key_order *order, const Chancery__ChangeKeyStateRequest *ask,
		   struct vault_key *changed, struct ch_error *err)
{
	const struct vault_transition *way = vault_transition_find(order->key.state, ask->state);
	struct wanted wanted = { order, ask };

	if (!way)
		return refuse_way(order, ask->state, err);
	if (way->needs_approval && !check_approval(order, ask->state, err))
		return false;
	return vault_key_change(order->vault, order->key_id, set_state, &wanted, changed, err);
}

bool vault_handle_change_key_state(void *state, const struct ch_bus_request *request,
				   ProtobufCMessage **reply, struct ch_error *err)
{
	const Chancery__ChangeKeyStateRequest *ask =
		(const Chancery__ChangeKeyStateRequest *)request->payload;
	CH_AUTO(key_order)
	order = { .vault = state, .request = request, .key_id = ask->key_id, .action_id = ask->action_id };
	CH_AUTO(vault_key) changed = CH_NONE;
	bool destroys = strcmp(ask->state, "destroyed") == 0;

	/* 1. Which key, which state; destroying wants all HSMs that hold it. */
	if (!check_ask(&order, ask, err) || !key_order_begin(&order, err) ||
	    (destroys && !check_holders_up(&order, err)))
		return false;

	/* 2. A repeated message finds it done, or done in part. */
	if (strcmp(order.key.state, ask->state) == 0)
		changed = CH_STEAL(order.key);
	/* 3. By a way that there is, approved where it must be; recorded, then so in the row. */
	else if (!change(&order, ask, &changed, err))
		return false;

	/* 4. Out of the HSMs: nothing signs with it any more. */
	if (destroys && changed.residency_count && !destroy_copies(&order, &changed, err))
		return false;
	*reply = key_reply(&changed);
	return true;
}
