/* SPDX-License-Identifier: Apache-2.0 */
/* vault_action.c: actions that officers approve, proposed, looked at and approved at the vaults directly.
 * quorum.c, vault_key_change.c, vault_approve.c and the key ceremony call it. */
#include "vault_action.h"

#include "vaultclient/vaultclient.h"

#include <string.h>

void vault_action_free(struct vault_action *action)
{
	ch_proto_free(action->reply);
}

const Chancery__Action *vault_action_of(const ProtobufCMessage *reply)
{
	return ((const Chancery__ActionReply *)reply)->action;
}

/* A request that is answered with an action. */
static bool ask(struct vault_connection *connection, Chancery__PayloadType type,
		const ProtobufCMessage *request, ProtobufCMessage **reply, struct ch_error *err)
{
	const struct ch_bus_call call = { .request_type = type,
					  .request = request,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
					  .reply_descriptor = &chancery__action_reply__descriptor };
	CH_AUTO(ch_proto) answer = NULL;

	if (!vault_connection_call(connection, &call, &answer, err))
		return false;
	if (!vault_action_of(answer))
		return ch_fail(err, CH_INTERNAL, "the vault answered without an action");
	*reply = CH_STEAL(answer);
	return true;
}

bool vault_action_propose(struct vault_connection *connection, const struct ch_action_ask *asked,
			  ProtobufCMessage **reply, struct ch_error *err)
{
	struct ch_action_proposal proposal;

	return ch_action_propose(asked, &proposal, err) &&
	       ask(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_PROPOSE_ACTION, &proposal.request.base, reply,
		   err);
}

bool vault_action_get(struct vault_connection *connection, const char *id, ProtobufCMessage **reply,
		      struct ch_error *err)
{
	Chancery__GetActionRequest request = CHANCERY__GET_ACTION_REQUEST__INIT;

	request.action_id = (char *)(uintptr_t)id;
	return ask(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_ACTION, &request.base, reply, err);
}

bool vault_action_check(const Chancery__Action *action, struct ch_action *document, struct ch_error *err)
{
	if (!ch_action_read(ch_view(action->document.data, action->document.len), document, err))
		return ch_fail_in(err, "the document to approve");
	return strcmp(document->id, action->action_id) == 0 ||
	       ch_fail(err, CH_DENIED, "the document is of action '%s', not '%.40s'", document->id,
		       action->action_id);
}

bool vault_action_has(const Chancery__Action *action, const char *officer)
{
	for (size_t i = 0; i < action->n_approved_by; i++)
		if (strcmp(action->approved_by[i], officer) == 0)
			return true;
	return false;
}

bool vault_action_approve(struct vault_connection *connection, const Chancery__Action *action,
			  struct ch_view certificate, struct ch_view signature, ProtobufCMessage **reply,
			  struct ch_error *err)
{
	Chancery__ApproveActionRequest request = CHANCERY__APPROVE_ACTION_REQUEST__INIT;
	Chancery__Approval approval = CHANCERY__APPROVAL__INIT;

	approval.certificate = (ProtobufCBinaryData){ .len = certificate.size,
						      .data = (uint8_t *)(uintptr_t)certificate.data };
	approval.signature =
		(ProtobufCBinaryData){ .len = signature.size, .data = (uint8_t *)(uintptr_t)signature.data };
	request.action_id = action->action_id;
	request.approval = &approval;
	return ask(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPROVE_ACTION, &request.base, reply, err);
}

bool vault_action_approved(struct vault_connection *connection, Chancery__ActionKind kind,
			   const struct ch_action_field *fields, size_t count, struct vault_action *action,
			   struct ch_error *err)
{
	const Chancery__Action *answered;

	const struct ch_action_ask asked = { .kind = kind, .fields = fields, .count = count };

	if (!vault_action_propose(connection, &asked, &action->reply, err))
		return false;
	answered = vault_action_of(action->reply);
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
