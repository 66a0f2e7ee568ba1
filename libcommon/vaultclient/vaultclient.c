/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vaultclient.c: requests to the key vault as typed calls. Each call is one message; the struct is where
 * calls of several threads will be gathered into batches.
 */
#include "vaultclient/vaultclient.h"

#include "vaultclient/internal.h"

#include <stdlib.h>

struct ch_vault_client {
	struct ch_bus_client *bus;
};

struct ch_vault_client *ch_vault_client_new(struct ch_bus_client *bus)
{
	struct ch_vault_client *client = ch_alloc(sizeof(*client));

	client->bus = bus;
	return client;
}

void ch_vault_client_free(struct ch_vault_client *client)
{
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

/* What a reply of one result says. */
static bool take_result(const Chancery__SignReply *reply, struct ch_bytes *signature, struct ch_error *err)
{
	const Chancery__SignResult *result;

	if (reply->n_results != 1)
		return ch_fail(err, CH_INTERNAL, "vault answered %zu results for one item", reply->n_results);
	result = reply->results[0];
	if (result->code != CH_OK) {
		ch_fail(err, (enum ch_code)result->code, "vault: %s", result->message);
		if (err) {
			err->retryable = result->retryable;
			err->retry_after_ms = result->retry_after_ms;
		}
		return false;
	}
	if (result->signature.len == 0)
		return ch_fail(err, CH_INTERNAL, "vault answered an empty signature");
	*signature = ch_bytes_copy(ch_view(result->signature.data, result->signature.len));
	return true;
}

bool ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
		   const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err)
{
	Chancery__SignRequest request = CHANCERY__SIGN_REQUEST__INIT;
	Chancery__SignItem asked = CHANCERY__SIGN_ITEM__INIT;
	Chancery__SignItem *items[] = { &asked };
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN,
		.request = &request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN_REPLY,
		.reply_descriptor = &chancery__sign_reply__descriptor,
		.message_id = item->message_id,
	};
	CH_AUTO(ch_proto) reply = NULL;

	asked.key_id = (char *)item->key_id;
	asked.purpose = item->purpose;
	asked.to_be_signed = ch_vault_binary(item->to_be_signed);
	asked.content = ch_vault_binary(item->content);
	if (item->action_id)
		asked.action_id = (char *)(uintptr_t)item->action_id;
	request.items = items;
	request.n_items = 1;
	ch_vault_set_context(&call, context);
	return ch_bus_call(client->bus, &call, &reply, err) &&
	       take_result((const Chancery__SignReply *)reply, signature, err);
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
