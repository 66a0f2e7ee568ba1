/* SPDX-License-Identifier: Apache-2.0 */
/* actions.c: an approved action is used: once, by one message. Handlers and sign_allow.c call it. */
#include "action_store.h"
#include "approval.h"

#include "vault.h"

#include <string.h>

static bool check_id(const char *action_id, struct ch_error *err)
{
	size_t size = strlen(action_id);

	if (size == 0)
		return ch_fail(err, CH_DENIED, "this needs officers' approvals: no action is named");
	return (size == CH_ACTION_ID_SIZE - 1 && strspn(action_id, "0123456789abcdef") == size) ||
	       ch_fail(err, CH_NOT_FOUND, "action '%.40s': no such action", action_id);
}

bool vault_action_load(struct vault *vault, const char *tenant, const char *action_id,
		       struct vault_action *action, struct vault_quorum *quorum, struct ch_error *err)
{
	return check_id(action_id, err) &&
	       store_load_action(vault->db, tenant, action_id, NULL, action, err) &&
	       vault_quorum_load(vault, tenant, quorum, err);
}

bool vault_action_mark_used(struct vault *vault, const struct ch_bus_request *request, const char *action_id,
			    struct ch_error *err)
{
	struct ch_view message_id = ch_view(request->body->message_id.data, request->body->message_id.len);

	if (!vault_used_check(vault->used, action_id, message_id, err) ||
	    !store_use_action(vault->db, request->body->tenant, action_id, message_id,
			      ch_clock_now_us(vault->clock), err)) {
		if (err->code == CH_REPLAYED)
			err->retryable = false; /* the same action again is used again */
		return false;
	}
	vault_used_remember(vault->used, action_id, message_id);
	return true;
}

static void note_refused(struct vault *vault, const struct ch_bus_request *request, const char *action_id,
			 const char *reason, const struct ch_error *why)
{
	struct vault_check check = { .reason = reason };
	const struct vault_event event = { .request = request, .key_id = action_id, .check = &check };

	vault_note_refused(vault, &event, why);
}

static const char *reason_of(const struct ch_error *why)
{
	switch (why->code) {
	case CH_REPLAYED:
		return "approval-used";
	case CH_NOT_FOUND:
		return "approval-missing";
	case CH_DENIED:
		return "approval-quorum";
	default:
		return "database";
	}
}

bool vault_action_use(struct vault *vault, const struct ch_bus_request *request, const char *action_id,
		      const struct vault_approval_ask *ask, char **names, struct ch_error *err)
{
	CH_AUTO(vault_action) action = CH_NONE;
	struct vault_quorum quorum;
	const char *reason = NULL;
	bool used;

	used = vault_action_load(vault, ask->tenant, action_id, &action, &quorum, err) &&
	       vault_approvals_check(ask, &action, &quorum, vault->policy.operators_ca, names, &reason,
				     err) &&
	       vault_action_mark_used(vault, request, action_id, err);
	if (used)
		return true;
	note_refused(vault, request, action_id, reason ? reason : reason_of(err), err);
	return false;
}
