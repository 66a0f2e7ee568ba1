/* SPDX-License-Identifier: Apache-2.0 */
/* message.c: an action as the bus shows it: who approved it, how many must, how far it is. handlers.c calls
 * it. */
#include "action_store.h"
#include "approval.h"

#include "vault.h"

#include <string.h>

static const char *state_of(const struct stored_action *stored, size_t approvals, uint32_t required,
			    int64_t now_us)
{
	if (stored->used_us)
		return "used";
	if (stored->expires_us <= now_us)
		return "expired";
	return required && approvals >= required ? "approved" : "open";
}

/* Names of the officers whose signatures verify now; the caller frees texts and list. */
static size_t approvers(struct vault *vault, const struct stored_action *stored,
			const struct vault_action *action, const struct vault_quorum *quorum, char ***names)
{
	size_t count = 0;

	*names = ch_alloc((action->approval_count + 1) * sizeof(char *));
	for (size_t i = 0; i < action->approval_count; i++) {
		const struct vault_officer *officer;
		struct ch_error ignored;
		const char *reason;

		if (vault_approval_verify(ch_view_of(&action->document),
					  ch_view_of(&action->approvals[i].certificate),
					  ch_view_of(&action->approvals[i].signature), stored->tenant,
					  ch_clock_now_us(vault->clock), quorum, &vault->policy.operators,
					  &officer, &reason, &ignored))
			(*names)[count++] = ch_strdup(officer->name);
	}
	return count;
}

/* Of the quorum, or of the key that it is about, where that wants more: what will be asked when it is used.
 */
static uint32_t required_of(struct vault *vault, const struct stored_action *stored,
			    const struct vault_action *action, const struct vault_quorum *quorum)
{
	CH_AUTO(ch_action) document = CH_NONE;
	const struct vault_key *key = NULL;
	struct ch_error ignored;
	uint32_t required = quorum->required;
	const char *key_id;

	if (!ch_action_read(ch_view_of(&action->document), &document, &ignored) ||
	    !(key_id = ch_action_value(&document, "key")) ||
	    !vault_keys_get(vault->keys, key_id, false, &key, &ignored))
		return required;
	if (strcmp(key->tenant, stored->tenant) == 0)
		required = vault_approvals_required(quorum, key->approvals_required);
	vault_keys_release(key);
	return required;
}

static void fill_message(struct vault *vault, const struct stored_action *stored,
			 const struct vault_action *action, const struct vault_quorum *quorum, bool content,
			 Chancery__Action *message)
{
	struct ch_bytes document = ch_bytes_copy(ch_view_of(&action->document));

	message->action_id = ch_strdup(stored->id);
	message->kind = (Chancery__ActionKind)stored->kind;
	message->tenant = ch_strdup(stored->tenant);
	message->document = (ProtobufCBinaryData){ .len = document.size, .data = document.data };
	message->created_at_us = stored->created_us;
	message->expires_at_us = stored->expires_us;
	message->proposed_by = ch_strdup(stored->proposed_by);
	if (content) {
		struct ch_bytes copy = ch_bytes_copy(ch_view_of(&stored->content));

		message->content = (ProtobufCBinaryData){ .len = copy.size, .data = copy.data };
	}
	message->approvals_required = required_of(vault, stored, action, quorum);
	message->n_approved_by = approvers(vault, stored, action, quorum, &message->approved_by);
	message->state = ch_strdup(state_of(stored, message->n_approved_by, message->approvals_required,
					    ch_clock_now_us(vault->clock)));
}

bool vault_action_message(struct vault *vault, const char *tenant, const char *id, bool content,
			  Chancery__Action **message, struct ch_error *err)
{
	CH_AUTO(stored_action) stored = CH_NONE;
	CH_AUTO(vault_action) action = CH_NONE;
	struct vault_quorum quorum;

	if (!store_load_action(vault->db, tenant, id, &stored, &action, err) ||
	    !vault_quorum_load(vault, tenant, &quorum, err))
		return false;
	*message = CH_PROTO_NEW(Chancery__Action, chancery__action__init);
	fill_message(vault, &stored, &action, &quorum, content, *message);
	return true;
}

bool vault_action_messages(struct vault *vault, const char *tenant, const char *state,
			   Chancery__ListActionsReply *answer, struct ch_error *err)
{
	CH_AUTO(listed_actions) list = CH_NONE;
	struct vault_quorum quorum = CH_NONE;

	if (!store_list_actions(vault->db, tenant, ch_clock_now_us(vault->clock), &list, err) ||
	    (list.count && !vault_quorum_load(vault, tenant, &quorum, err)))
		return false;
	answer->actions = ch_alloc_pointers(list.count);
	for (size_t i = 0; i < list.count; i++) {
		const struct listed_action *item = &list.items[i];
		Chancery__Action *message = CH_PROTO_NEW(Chancery__Action, chancery__action__init);

		fill_message(vault, &item->stored, &item->action, &quorum, false, message);
		if (state[0] && strcmp(message->state, state) != 0)
			chancery__action__free_unpacked(message, NULL);
		else
			answer->actions[answer->n_actions++] = message;
	}
	return true;
}
