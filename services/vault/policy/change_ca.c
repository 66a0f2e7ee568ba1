/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change_ca.c: ChangeCaKey: the issuer tells that a CA is to be stopped, started again, retired or revoked,
 * and the CA's key follows. Anyone may stop; all else is what officers approved, so that an issuer that was
 * taken over starts nothing again. state.c has the ways. Called from the dispatch table (peers.c).
 */
#include "change.h"
#include "key_states.h"

#include <string.h>

#define TEXT_CAP 512

struct ca_order {
	struct key_order key;
	const Chancery__ChangeCaKeyRequest *ask;
	const char *target; /* the key's state then */
};

static bool refuse(const struct ca_order *order, const char *reason, struct ch_error *err)
{
	return key_order_refused(&order->key, reason, err);
}

static bool check_ask(const struct ca_order *order, struct ch_error *err)
{
	const Chancery__ChangeCaKeyRequest *ask = order->ask;

	if (strlen(ask->reason) > TEXT_CAP || strlen(ask->requested_by) > TEXT_CAP ||
	    strlen(ask->certificate) > TEXT_CAP)
		return ch_fail(err, CH_INVALID, "a text of the request is over %d octets", TEXT_CAP) ||
		       refuse(order, "reason", err);
	return vault_ca_key_state("active", ask->to, ask->reason) ||
	       ch_fail(err, CH_INVALID, "a CA does not become '%.32s'", ask->to) ||
	       refuse(order, "state", err);
}

/* Officers approve by the CA's name: it must be the name under which the key was made. */
static bool check_key(const struct ca_order *order, struct ch_error *err)
{
	const struct vault_key *key = &order->key.key;

	if (!(key->purposes & 1u << CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE))
		return ch_fail(err, CH_DENIED, "key '%s' is not a CA's", key->key_id) ||
		       refuse(order, "key-purpose", err);
	if (strcmp(key->label, order->ask->ca) != 0)
		return ch_fail(err, CH_DENIED, "key '%s' was made for CA '%.80s', not '%.80s'", key->key_id,
			       key->label, order->ask->ca) ||
		       refuse(order, "ca", err);
	return true;
}

/* A revocation is final and holds for whatever became of the key meanwhile; all else holds for the key as
 * officers saw it. */
static bool check_approval(struct ca_order *order, struct ch_error *err)
{
	const Chancery__ChangeCaKeyRequest *ask = order->ask;
	bool revoked = strcmp(ask->to, "revoked") == 0;
	CH_AUTO(ch_string)
	version = revoked ? ch_strdup("-")
			  : ch_format("%llu", (unsigned long long)order->key.key.policy_version);
	const struct ch_action_field fields[] = {
		ch_action_field("ca", ask->ca),
		ch_action_field("to", ask->to),
		ch_action_field("key", order->key.key.key_id),
		ch_action_field("policy-version", version),
		ch_action_field("certificate", revoked ? ask->certificate : "-"),
		ch_action_field("reason", revoked ? ask->reason : "-"),
	};

	return key_order_approved(&order->key, CHANCERY__ACTION_KIND__ACTION_CHANGE_CA_STATE, fields,
				  CH_COUNT(fields), err);
}

/* Recorded before it holds. */
static bool set_state(void *context, struct vault_key *key, struct ch_error *err)
{
	const struct ca_order *order = context;
	const struct ch_audit_detail details[] = {
		{ "from", key->state },           { "to", order->target },
		{ "ca", order->ask->ca },         { "ca_state", order->ask->to },
		{ "reason", order->ask->reason }, { "requested_by", order->ask->requested_by },
	};

	if (!key_order_unchanged(&order->key, key, err) ||
	    !key_order_record(&order->key, "key.state-changed", details, CH_COUNT(details), err))
		return false;
	memset(key->state, 0, sizeof(key->state));
	strncpy(key->state, order->target, sizeof(key->state) - 1);
	key->state_changed_at_us = ch_clock_now_us(order->key.vault->clock);
	return true;
}

static bool change(struct ca_order *order, struct vault_key *changed, struct ch_error *err)
{
	const char *from = order->key.key.state;
	bool there = strcmp(from, order->target) == 0;

	if (!there && !vault_transition_find(from, order->target))
		return ch_fail(err, CH_CONFLICT, "key '%s' is %s: its CA cannot become %s", order->key.key_id,
			       from, order->ask->to) ||
		       refuse(order, "transition", err);
	/* A revocation is shown to the vault even where the key is compromised already: the issuer publishes
	 * it when the vault says that officers wanted it. */
	if (strcmp(order->ask->to, "suspended") != 0 && (!there || strcmp(order->ask->to, "revoked") == 0) &&
	    !check_approval(order, err))
		return false;
	if (!there)
		return vault_key_change(order->key.vault, order->key.key_id, set_state, order, changed, err);
	*changed = CH_STEAL(order->key.key);
	return true;
}

bool vault_handle_change_ca_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				struct ch_error *err)
{
	const Chancery__ChangeCaKeyRequest *ask = (const Chancery__ChangeCaKeyRequest *)request->payload;
	struct ca_order order = {
		.key = { .vault = state,
			 .person = ask->requested_by,
			 .request = request,
			 .key_id = ask->key_id,
			 .action_id = ask->action_id },
		.ask = ask,
	};
	CH_AUTO(vault_key) changed = CH_NONE;
	bool done;

	done = check_ask(&order, err) && key_order_begin(&order.key, err) && check_key(&order, err);
	if (done) {
		order.target = vault_ca_key_state(order.key.key.state, ask->to, ask->reason);
		done = change(&order, &changed, err);
	}
	if (done)
		*reply = key_reply(&changed);
	key_order_free(&order.key);
	return done;
}
