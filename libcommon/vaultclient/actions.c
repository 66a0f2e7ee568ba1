/* SPDX-License-Identifier: Apache-2.0 */
/* actions.c: proposes what officers must approve before the vault does it. The issuer calls it. */
#include "vaultclient/vaultclient.h"

#include "vaultclient/internal.h"

#include <openssl/evp.h>
#include <string.h>

static char *borrowed(const char *text)
{
	return (char *)(uintptr_t)(text ? text : "");
}

bool ch_action_propose(const struct ch_action_ask *ask, struct ch_action_proposal *proposal,
		       struct ch_error *err)
{
	if (ask->count > CH_ACTION_FIELDS_CAP)
		return ch_fail(err, CH_INVALID, "an action of %zu fields, at most %d allowed", ask->count,
			       CH_ACTION_FIELDS_CAP);
	chancery__propose_action_request__init(&proposal->request);
	for (size_t i = 0; i < ask->count; i++) {
		chancery__action_field__init(&proposal->fields[i]);
		proposal->fields[i].name = ask->fields[i].name;
		proposal->fields[i].value = ask->fields[i].value;
		proposal->list[i] = &proposal->fields[i];
	}
	proposal->request.kind = ask->kind;
	proposal->request.fields = proposal->list;
	proposal->request.n_fields = ask->count;
	proposal->request.proposed_by = borrowed(ask->proposed_by);
	proposal->request.proposed_from = borrowed(ask->proposed_from);
	proposal->request.content = (ProtobufCBinaryData){ .len = ask->content.size,
							   .data = (uint8_t *)(uintptr_t)ask->content.data };
	return true;
}

bool ch_vault_propose_action(struct ch_vault_client *client, const struct ch_vault_context *context,
			     const struct ch_action_ask *ask, Chancery__Action **action, struct ch_error *err)
{
	struct ch_action_proposal proposal;
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PROPOSE_ACTION,
		.request = &proposal.request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
		.reply_descriptor = &chancery__action_reply__descriptor,
	};
	CH_AUTO(ch_proto) reply = NULL;
	Chancery__ActionReply *answer;

	if (!ch_action_propose(ask, &proposal, err))
		return false;
	ch_vault_set_context(&call, context);
	if (!ch_bus_call(ch_vault_client_bus(client), &call, &reply, err))
		return false;
	answer = (Chancery__ActionReply *)reply;
	if (!answer->action)
		return ch_fail(err, CH_INTERNAL, "vault answered no action");
	*action = CH_STEAL(answer->action);
	return true;
}

void ch_vault_action_message_id(const char *action_id, uint8_t message_id[16])
{
	CH_AUTO(ch_buffer) seed = CH_NONE;
	uint8_t digest[EVP_MAX_MD_SIZE] = { 0 };

	ch_buffer_printf(&seed, "chancery/action-use/v1%s", action_id);
	EVP_Digest(seed.data, seed.used, digest, NULL, EVP_sha256(), NULL);
	memcpy(message_id, digest, 16);
}
