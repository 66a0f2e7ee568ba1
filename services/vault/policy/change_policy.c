/* SPDX-License-Identifier: Apache-2.0 */
/* change_policy.c: ChangeKeyPolicy: officers give a key another policy. Called from the dispatch table
 * (peers.c). */
#include "change.h"
#include "key_states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The values of an action's document and of the event: "-" where there is nothing. */
struct texts {
	char *version, *callers, *algorithms, *validity, *burst, *per_hour, *approvals, *extensions;
};

static void texts_free(struct texts *texts)
{
	free(texts->version);
	free(texts->callers);
	free(texts->algorithms);
	free(texts->validity);
	free(texts->burst);
	free(texts->per_hour);
	free(texts->approvals);
	free(texts->extensions);
}
CH_DEFINE_AUTO_VALUE(texts, struct texts, texts_free)

static char *list(char *const *items, size_t count)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	for (size_t i = 0; i < count; i++)
		ch_buffer_printf(&out, "%s%s", i ? "," : "", items[i]);
	if (!out.used)
		ch_buffer_printf(&out, "-");
	return ch_buffer_steal_text(&out);
}

static struct texts texts_of(const Chancery__KeyPolicy *policy, uint64_t version)
{
	return (struct texts){
		.version = ch_format("%llu", (unsigned long long)version),
		.callers = list(policy->callers, policy->n_callers),
		.algorithms = list(policy->signature_algorithms, policy->n_signature_algorithms),
		.validity = ch_format("%lld", (long long)policy->max_validity_seconds),
		.burst = ch_format("%u", policy->quota_burst),
		.per_hour = ch_format("%u", policy->quota_per_hour),
		.approvals = ch_format("%u", policy->approvals_required),
		.extensions = list(policy->extra_extensions, policy->n_extra_extensions),
	};
}

static char *mode_of(const Chancery__KeyPolicy *policy)
{
	return policy->audit_mode[0] ? policy->audit_mode : (char *)(uintptr_t) "-";
}

static char *verified(const Chancery__KeyPolicy *policy)
{
	return (char *)(uintptr_t)(policy->signatures_unverified ? "no" : "yes");
}

static bool check_approval(struct key_order *order, const Chancery__KeyPolicy *policy, struct ch_error *err)
{
	CH_AUTO(texts) texts = texts_of(policy, order->key.policy_version);
	const struct ch_action_field fields[] = {
		{ "key", order->key.key_id },
		{ "policy-version", texts.version },
		{ "callers", texts.callers },
		{ "signature-algorithms", texts.algorithms },
		{ "max-validity-seconds", texts.validity },
		{ "quota-burst", texts.burst },
		{ "quota-per-hour", texts.per_hour },
		{ "approvals-required", texts.approvals },
		{ "audit-mode", mode_of(policy) },
		{ "extra-extensions", texts.extensions },
		{ "verify-signatures", verified(policy) },
	};

	return key_order_approved(order, CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_POLICY, fields,
				  CH_COUNT(fields), err);
}

struct wanted {
	const struct key_order *order;
	const Chancery__KeyPolicy *policy;
};

/* Recorded before it holds. */
static bool set_policy(void *context, struct vault_key *key, struct ch_error *err)
{
	const struct wanted *wanted = context;
	CH_AUTO(texts) texts = texts_of(wanted->policy, key->policy_version);
	const struct ch_audit_detail details[] = {
		{ "policy_version", texts.version },
		{ "callers", texts.callers },
		{ "signature_algorithms", texts.algorithms },
		{ "max_validity_seconds", texts.validity },
		{ "quota_burst", texts.burst },
		{ "quota_per_hour", texts.per_hour },
		{ "approvals_required", texts.approvals },
		{ "audit_mode", mode_of(wanted->policy) },
		{ "extra_extensions", texts.extensions },
		{ "verify_signatures", verified(wanted->policy) },
	};

	if (!key_order_unchanged(wanted->order, key, err) ||
	    !key_order_record(wanted->order, "key.policy-changed", details, CH_COUNT(details), err))
		return false;
	vault_policy_set(key, wanted->policy);
	return true;
}

/* A repeated message finds it done. */
static bool is_so_already(const struct vault_key *key, const Chancery__KeyPolicy *policy)
{
	Chancery__KeyPolicy *now = vault_policy_message(key);
	CH_AUTO(ch_buffer) a = CH_NONE, b = CH_NONE;
	bool same;

	a.used = chancery__key_policy__pack(
		now, ch_buffer_reserve(&a, chancery__key_policy__get_packed_size(now) + 1));
	b.used = chancery__key_policy__pack(
		policy, ch_buffer_reserve(&b, chancery__key_policy__get_packed_size(policy) + 1));
	same = ch_view_equal(ch_buffer_view(&a), ch_buffer_view(&b));
	chancery__key_policy__free_unpacked(now, NULL);
	return same;
}

static bool check_ask(const struct key_order *order, const Chancery__KeyPolicy *policy, struct ch_error *err)
{
	if (strcmp(order->key.state, "destroyed") == 0)
		return ch_fail(err, CH_CONFLICT, "key '%s' is destroyed", order->key_id) ||
		       key_order_refused(order, "key-state", err);
	return vault_policy_valid(policy, &order->key, err) || key_order_refused(order, "policy", err);
}

bool vault_handle_change_key_policy(void *state, const struct ch_bus_request *request,
				    ProtobufCMessage **reply, struct ch_error *err)
{
	const Chancery__ChangeKeyPolicyRequest *ask =
		(const Chancery__ChangeKeyPolicyRequest *)request->payload;
	CH_AUTO(key_order)
	order = { .vault = state, .request = request, .key_id = ask->key_id, .action_id = ask->action_id };
	struct wanted wanted = { &order, ask->policy };
	CH_AUTO(vault_key) changed = CH_NONE;

	/* 1. Which key, and a policy that it can have. */
	if (!ask->policy)
		return ch_fail(err, CH_INVALID, "the message has no policy");
	if (!key_order_begin(&order, err) || !check_ask(&order, ask->policy, err))
		return false;

	/* 2. Approved for this very version of the key; recorded, then so in the row. */
	if (is_so_already(&order.key, ask->policy))
		changed = CH_STEAL(order.key);
	else if (!check_approval(&order, ask->policy, err) ||
		 !vault_key_change(order.vault, order.key_id, set_policy, &wanted, &changed, err))
		return false;
	*reply = key_reply(&changed);
	return true;
}
