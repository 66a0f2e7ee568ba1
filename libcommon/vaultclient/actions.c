/* SPDX-License-Identifier: Apache-2.0 */
/* actions.c: proposes what officers must approve before the vault does it. The issuer calls it. */
#include "vaultclient/vaultclient.h"

#include "vaultclient/internal.h"

#include <openssl/evp.h>
#include <string.h>

bool ch_vault_propose_action(struct ch_vault_client *client, const struct ch_vault_context *context,
			     Chancery__ActionKind kind, const struct ch_action_field *fields, size_t count,
			     const char *proposed_by, Chancery__Action **action, struct ch_error *err)
{
	Chancery__ProposeActionRequest request = CHANCERY__PROPOSE_ACTION_REQUEST__INIT;
	Chancery__ActionField asked[CH_ACTION_FIELDS_CAP], *list[CH_ACTION_FIELDS_CAP];
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PROPOSE_ACTION,
		.request = &request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
		.reply_descriptor = &chancery__action_reply__descriptor,
	};
	CH_AUTO(ch_proto) reply = NULL;
	Chancery__ActionReply *answer;

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
	request.proposed_by = (char *)(uintptr_t)proposed_by;
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
