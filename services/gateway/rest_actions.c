/* SPDX-License-Identifier: Apache-2.0 */
/* rest_actions.c: /v1/actions: what waits for officers' approvals, and their approvals. The vault verifies
 * each signature, not the gateway. Called by rest_dispatch. */
#include "gateway.h"

#include "json.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

#define APPROVAL_CAP ((size_t)16 * 1024) /* base64 of a certificate or a signature */

static const struct exchange list_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_ACTIONS,
					       CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_ACTIONS_REPLY,
					       &chancery__list_actions_reply__descriptor, 5 * CH_SECOND };
static const struct exchange get_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_ACTION,
					      CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
					      &chancery__action_reply__descriptor, 5 * CH_SECOND };
static const struct exchange approve_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPROVE_ACTION,
						  CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
						  &chancery__action_reply__descriptor, 5 * CH_SECOND };

cJSON *action_json(const Chancery__Action *action)
{
	CH_AUTO(ch_string) document = ch_strndup((const char *)action->document.data, action->document.len);
	const char *kind = ch_action_kind_name(action->kind);
	cJSON *tree = cJSON_CreateObject();
	cJSON *approved_by;

	add_text(tree, "id", action->action_id);
	add_text(tree, "kind", kind ? kind : "");
	add_text(tree, "state", action->state);
	add_text(tree, "document", document);
	add_number(tree, "approvals_required", action->approvals_required);
	approved_by = cJSON_AddArrayToObject(tree, "approved_by");
	for (size_t i = 0; i < action->n_approved_by; i++)
		cJSON_AddItemToArray(approved_by, cJSON_CreateString(action->approved_by[i]));
	add_text(tree, "proposed_by", action->proposed_by);
	if (action->content.len) {
		CH_AUTO(ch_string) content =
			text_to_base64(ch_view(action->content.data, action->content.len));

		add_text(tree, "content", content);
	}
	add_time(tree, "created_at", action->created_at_us);
	add_time(tree, "expires_at", action->expires_at_us);
	return tree;
}

static bool answer_action(struct call *call, const ProtobufCMessage *message, struct ch_error *err)
{
	const Chancery__Action *action = ((const Chancery__ActionReply *)message)->action;

	if (!action)
		return ch_fail(err, CH_INTERNAL, "the vault answered without an action");
	answer_json(call, 200, action_json(action));
	return true;
}

static bool path_action(const struct call *call, char **id, struct ch_error *err)
{
	const char *given = ch_http_parameter(call->request, "id");

	if (strlen(given) != CH_ACTION_ID_SIZE - 1 || strspn(given, "0123456789abcdef") != strlen(given))
		return ch_fail(err, CH_NOT_FOUND, "no action '%.40s' can exist: 32 lower-case hex digits",
			       given);
	*id = (char *)(uintptr_t)given;
	return true;
}

bool rest_action_list(struct call *call, struct ch_error *err)
{
	Chancery__ListActionsRequest request = CHANCERY__LIST_ACTIONS_REQUEST__INIT;
	const Chancery__ListActionsReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	cJSON *tree;
	cJSON *list;

	if (!query_text(call, "state", 16, &request.state, err))
		return false;
	if (*request.state && strcmp(request.state, "open") != 0 && strcmp(request.state, "approved") != 0 &&
	    strcmp(request.state, "used") != 0)
		return ch_fail(err, CH_INVALID, "query member 'state' is '%s', not open, approved or used",
			       request.state);
	if (!call_peer(call, call->gateway->vault, &list_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ListActionsReply *)message;
	tree = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(tree, "actions");
	for (size_t i = 0; i < reply->n_actions; i++)
		cJSON_AddItemToArray(list, action_json(reply->actions[i]));
	answer_json(call, 200, tree);
	return true;
}

bool rest_action_get(struct call *call, struct ch_error *err)
{
	Chancery__GetActionRequest request = CHANCERY__GET_ACTION_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;

	return path_action(call, &request.action_id, err) &&
	       call_peer(call, call->gateway->vault, &get_exchange, &request.base, &message, err) &&
	       answer_action(call, message, err);
}

/* --- approving --- */

static void approval_free(Chancery__Approval *approval)
{
	free(approval->certificate.data);
	free(approval->signature.data);
}
CH_DEFINE_AUTO_VALUE(approval, Chancery__Approval, approval_free)

static bool take_octets(const cJSON *object, const char *name, ProtobufCBinaryData *octets,
			struct ch_error *err)
{
	struct ch_bytes decoded;
	const char *text;

	if (!json_string(object, name, JSON_REQUIRED, APPROVAL_CAP, &text, err))
		return false;
	if (!text_base64(ch_view_text(text), &decoded, err))
		return ch_fail_in(err, "member '%s'", name);
	*octets = (ProtobufCBinaryData){ decoded.size, decoded.data };
	return decoded.size || ch_fail(err, CH_INVALID, "member '%s' is empty", name);
}

bool rest_action_approve(struct call *call, struct ch_error *err)
{
	static const char *const known[] = { "certificate", "signature", NULL };
	Chancery__ApproveActionRequest request = CHANCERY__APPROVE_ACTION_REQUEST__INIT;
	CH_AUTO(approval) approval = CHANCERY__APPROVAL__INIT;
	CH_AUTO(ch_proto) message = NULL;
	CH_AUTO(cJSON) body = NULL;

	if (!path_action(call, &request.action_id, err) || !body_object(call, known, false, &body, err) ||
	    !take_octets(body, "certificate", &approval.certificate, err) ||
	    !take_octets(body, "signature", &approval.signature, err))
		return false;
	request.approval = &approval;
	return call_peer(call, call->gateway->vault, &approve_exchange, &request.base, &message, err) &&
	       answer_action(call, message, err);
}
