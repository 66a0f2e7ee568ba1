/* SPDX-License-Identifier: Apache-2.0 */
/* vault_action.c: proposes an action to the vaults, or finds it approved. quorum.c and vault_key_change.c
 * call it. */
#include "vault_action.h"

#include "vaultclient/vaultclient.h"

#include <string.h>

void vault_action_free(struct vault_action *action)
{
	ch_proto_free(action->reply);
}

static bool propose(struct vault_connection *connection, Chancery__ActionKind kind,
		    const struct ch_action_field *fields, size_t count, ProtobufCMessage **reply,
		    struct ch_error *err)
{
	Chancery__ProposeActionRequest request = CHANCERY__PROPOSE_ACTION_REQUEST__INIT;
	Chancery__ActionField asked[CH_ACTION_FIELDS_CAP], *list[CH_ACTION_FIELDS_CAP];
	const struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PROPOSE_ACTION,
					  .request = &request.base,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
					  .reply_descriptor = &chancery__action_reply__descriptor };

	if (count > CH_ACTION_FIELDS_CAP)
		return ch_fail(err, CH_INVALID, "an action of %zu fields, at most %d allowed", count,
			       CH_ACTION_FIELDS_CAP);
	for (size_t i = 0; i < count; i++) {
		chancery__action_field__init(&asked[i]);
		asked[i].name = fields[i].name;
		asked[i].value = fields[i].value;
		list[i] = &asked[i];
	}
	request.kind = kind;
	request.fields = list;
	request.n_fields = count;
	return vault_connection_call(connection, &call, reply, err);
}

bool vault_action_approved(struct vault_connection *connection, Chancery__ActionKind kind,
			   const struct ch_action_field *fields, size_t count, struct vault_action *action,
			   struct ch_error *err)
{
	const Chancery__Action *answered;

	if (!propose(connection, kind, fields, count, &action->reply, err))
		return false;
	answered = ((const Chancery__ActionReply *)action->reply)->action;
	if (!answered)
		return ch_fail(err, CH_INTERNAL, "the vault answered without an action");
	if (strcmp(answered->state, "approved") != 0)
		return ch_fail(err, CH_UNAVAILABLE,
			       "%s waits for officers: %zu of %u approved it: chancery approve %s; then run "
			       "this again",
			       ch_action_kind_name(kind), answered->n_approved_by,
			       answered->approvals_required, answered->action_id);
	action->id = answered->action_id;
	ch_vault_action_message_id(answered->action_id, action->message_id);
	return true;
}
