/* SPDX-License-Identifier: Apache-2.0 */
/* secrets.c: small secrets that a daemon keeps at rest: sealed and opened by the vault. One secret a call. */
#include "vaultclient/vaultclient.h"

#include "private_reply/private_reply.h"
#include "vaultclient/internal.h"

#include <stdlib.h>
#include <string.h>

/* What a reply of one result says. The caller frees *data. */
static bool take(ProtobufCMessage *message, bool *outdated, struct ch_bytes *data, struct ch_error *err)
{
	const Chancery__SecretReply *reply = (const Chancery__SecretReply *)message;
	Chancery__SecretResult *result;

	if (reply->n_results != 1)
		return ch_fail(err, CH_INTERNAL, "vault answered %zu results for one secret",
			       reply->n_results);
	result = reply->results[0];
	if (result->code != CH_OK) {
		ch_fail(err, (enum ch_code)result->code, "vault: %s", result->message);
		if (err)
			err->origin = CH_ORIGIN_HANDLER;
		return false;
	}
	if (outdated)
		*outdated = result->outdated;
	*data = (struct ch_bytes){ result->data.data, result->data.len };
	result->data = (ProtobufCBinaryData){ 0, NULL };
	return true;
}

static struct ch_bus_call call_of(Chancery__PayloadType type, const ProtobufCMessage *request)
{
	return (struct ch_bus_call){ .request_type = type,
				     .request = request,
				     .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_SECRET_REPLY,
				     .reply_descriptor = &chancery__secret_reply__descriptor };
}

static bool call(struct ch_vault_client *client, const struct ch_vault_context *context,
		 Chancery__PayloadType type, const ProtobufCMessage *request, struct ch_bytes *data,
		 struct ch_error *err)
{
	struct ch_bus_call ask = call_of(type, request);
	CH_AUTO(ch_proto) reply = NULL;

	ch_vault_set_context(&ask, context);
	return ch_bus_call(ch_vault_client_bus(client), &ask, &reply, err) && take(reply, NULL, data, err);
}

bool ch_vault_seal(struct ch_vault_client *client, const struct ch_vault_context *context, const char *what,
		   struct ch_view plaintext, struct ch_bytes *sealed, struct ch_error *err)
{
	Chancery__SealRequest request = CHANCERY__SEAL_REQUEST__INIT;
	Chancery__SealItem item = CHANCERY__SEAL_ITEM__INIT;
	Chancery__SealItem *items[] = { &item };

	item.context = (char *)(uintptr_t)what;
	item.plaintext = ch_vault_binary(plaintext);
	request.items = items;
	request.n_items = 1;
	return call(client, context, CHANCERY__PAYLOAD_TYPE__PAYLOAD_SEAL, &request.base, sealed, err);
}

/* What a reply to Open has, into locked memory. A vault of an older version answers the plaintext as it is.
 */
static bool take_private(Chancery__SecretReply *reply, const struct ch_reply_key *own, bool *outdated,
			 struct ch_secret *plaintext, struct ch_error *err)
{
	CH_AUTO(ch_secret) secret = CH_NONE;
	CH_AUTO(ch_bytes) data = CH_NONE;

	if (!take(&reply->base, outdated, &data, err))
		return false;
	if (reply->reply_key.len)
		return ch_reply_secret(own, ch_view(own->public_key, sizeof(own->public_key)),
				       ch_view(reply->reply_key.data, reply->reply_key.len), &secret, err) &&
		       ch_reply_open(&secret, 0, ch_view_of(&data), plaintext, err);
	if (!ch_secret_new(data.size, plaintext, err))
		return false;
	memcpy(plaintext->data, data.data, data.size);
	ch_wipe(data.data, data.size);
	return true;
}

bool ch_vault_open(struct ch_vault_client *client, const struct ch_vault_context *context, const char *what,
		   struct ch_view sealed, bool *outdated, struct ch_secret *plaintext, struct ch_error *err)
{
	Chancery__OpenRequest request = CHANCERY__OPEN_REQUEST__INIT;
	Chancery__OpenItem item = CHANCERY__OPEN_ITEM__INIT;
	Chancery__OpenItem *items[] = { &item };
	struct ch_bus_call ask = call_of(CHANCERY__PAYLOAD_TYPE__PAYLOAD_OPEN, &request.base);
	CH_AUTO(ch_reply_key) own = CH_NONE;
	CH_AUTO(ch_proto) reply = NULL;

	if (!ch_reply_key_new(&own, err))
		return false;
	item.context = (char *)(uintptr_t)what;
	item.sealed = ch_vault_binary(sealed);
	request.items = items;
	request.n_items = 1;
	request.reply_key = ch_vault_binary(ch_view(own.public_key, sizeof(own.public_key)));
	ch_vault_set_context(&ask, context);
	return ch_bus_call(ch_vault_client_bus(client), &ask, &reply, err) &&
	       take_private((Chancery__SecretReply *)reply, &own, outdated, plaintext, err);
}

bool ch_vault_reseal(struct ch_vault_client *client, const struct ch_vault_context *context, const char *what,
		     struct ch_view sealed, struct ch_bytes *resealed, struct ch_error *err)
{
	Chancery__ResealRequest request = CHANCERY__RESEAL_REQUEST__INIT;
	Chancery__OpenItem item = CHANCERY__OPEN_ITEM__INIT;
	Chancery__OpenItem *items[] = { &item };

	item.context = (char *)(uintptr_t)what;
	item.sealed = ch_vault_binary(sealed);
	request.items = items;
	request.n_items = 1;
	return call(client, context, CHANCERY__PAYLOAD_TYPE__PAYLOAD_RESEAL, &request.base, resealed, err);
}

bool ch_vault_random(struct ch_vault_client *client, const struct ch_vault_context *context, uint32_t size,
		     struct ch_bytes *random, struct ch_error *err)
{
	Chancery__RandomRequest request = CHANCERY__RANDOM_REQUEST__INIT;
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_RANDOM,
		.request = &request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_RANDOM_REPLY,
		.reply_descriptor = &chancery__random_reply__descriptor,
	};
	CH_AUTO(ch_proto) reply = NULL;
	Chancery__RandomReply *answer;

	request.size = size;
	ch_vault_set_context(&call, context);
	if (!ch_bus_call(ch_vault_client_bus(client), &call, &reply, err))
		return false;
	answer = (Chancery__RandomReply *)reply;
	if (answer->data.len != size)
		return ch_fail(err, CH_INTERNAL, "vault answered %zu random octets for %u", answer->data.len,
			       size);
	*random = (struct ch_bytes){ answer->data.data, answer->data.len };
	answer->data = (ProtobufCBinaryData){ 0, NULL };
	return true;
}
