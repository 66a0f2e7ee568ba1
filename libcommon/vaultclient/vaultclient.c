/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vaultclient.c: requests to the key vault as typed calls, one message each. Signatures, which many threads
 * ask for at once, are gathered into batches by sign.c.
 */
#include "vaultclient/vaultclient.h"

#include "vaultclient/internal.h"

#include <stdlib.h>

struct ch_vault_client *ch_vault_client_new(struct ch_bus_client *bus)
{
	struct ch_vault_client *client = ch_alloc(sizeof(*client));

	client->bus = bus;
	ch_vault_sign_open(client);
	return client;
}

void ch_vault_client_free(struct ch_vault_client *client)
{
	if (!client)
		return;
	ch_batcher_free(client->signatures);
	free(client);
}

struct ch_bus_client *ch_vault_client_bus(struct ch_vault_client *client)
{
	return client->bus;
}

ProtobufCBinaryData ch_vault_binary(struct ch_view view)
{
	return (ProtobufCBinaryData){ .len = view.size, .data = (uint8_t *)view.data };
}

void ch_vault_set_context(struct ch_bus_call *call, const struct ch_vault_context *context)
{
	if (!context)
		return;
	call->tenant = context->tenant;
	call->trace_id = context->trace_id;
	call->timeout_us = context->timeout_us;
}

bool ch_vault_generate_key(struct ch_vault_client *client, const struct ch_vault_context *context,
			   const Chancery__GenerateKeyRequest *request, const uint8_t message_id[16],
			   Chancery__Key **key, struct ch_error *err)
{
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY,
		.request = &request->base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY_REPLY,
		.reply_descriptor = &chancery__generate_key_reply__descriptor,
		.message_id = message_id,
	};
	CH_AUTO(ch_proto) reply = NULL;
	Chancery__GenerateKeyReply *answer;

	ch_vault_set_context(&call, context);
	if (!ch_bus_call(client->bus, &call, &reply, err))
		return false;
	answer = (Chancery__GenerateKeyReply *)reply;
	if (!answer->key)
		return ch_fail(err, CH_INTERNAL, "vault answered no key");
	*key = CH_STEAL(answer->key);
	return true;
}

bool ch_vault_change_ca_key(struct ch_vault_client *client, const struct ch_vault_context *context,
			    const Chancery__ChangeCaKeyRequest *request, char **key_state,
			    struct ch_error *err)
{
	uint8_t message_id[16];
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_CA_KEY,
		.request = &request->base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY,
		.reply_descriptor = &chancery__key_reply__descriptor,
		.message_id = request->action_id[0] ? message_id : NULL,
	};
	CH_AUTO(ch_proto) reply = NULL;
	const Chancery__KeyReply *answer;

	if (request->action_id[0])
		ch_vault_action_message_id(request->action_id, message_id);
	ch_vault_set_context(&call, context);
	if (!ch_bus_call(client->bus, &call, &reply, err))
		return false;
	answer = (const Chancery__KeyReply *)reply;
	if (!answer->key)
		return ch_fail(err, CH_INTERNAL, "vault answered no key");
	if (key_state)
		*key_state = ch_strdup(answer->key->state);
	return true;
}

bool ch_vault_list_keys(struct ch_vault_client *client, const struct ch_vault_context *context,
			Chancery__ListKeysReply **reply, struct ch_error *err)
{
	Chancery__ListKeysRequest request = CHANCERY__LIST_KEYS_REQUEST__INIT;
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS,
		.request = &request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS_REPLY,
		.reply_descriptor = &chancery__list_keys_reply__descriptor,
	};
	ProtobufCMessage *answer = NULL;

	ch_vault_set_context(&call, context);
	if (!ch_bus_call(client->bus, &call, &answer, err))
		return false;
	*reply = (Chancery__ListKeysReply *)answer;
	return true;
}
