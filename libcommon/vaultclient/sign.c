/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sign.c: signatures. What threads ask for at once goes in one message, so that its own signature, its TLS
 * record and the reply's are paid once. What is large, or must be a message of its own, is one.
 */
#include "vaultclient/internal.h"

#include <stdlib.h>
#include <string.h>

#define UNDER_WAY  4           /* measured: docs/performance.md */
#define TOGETHER   (16 * 1024) /* octets of an item that shares a message */
#define TIMEOUT_US (5 * CH_SECOND)

/* --- what is sent --- */

/* A SignRequest with room for its items, and behind them a copy of all that they point to. */
struct message {
	Chancery__SignRequest request;
	const char *tenant;
	Chancery__SignItem **list;
	Chancery__SignItem *items;
	uint8_t *room;
};

/* One caller's part of a batch. */
struct asked {
	const struct ch_vault_item *item;
	const char *trace_id;
};

static size_t room_of(const struct asked *asked)
{
	const struct ch_vault_item *item = asked->item;

	return item->to_be_signed.size + item->content.size + strlen(item->key_id) + 1 +
	       strlen(asked->trace_id) + 1;
}

static ProtobufCBinaryData copy_octets(uint8_t **room, struct ch_view view)
{
	ProtobufCBinaryData copied = { .len = view.size, .data = *room };

	if (view.size)
		memcpy(*room, view.data, view.size);
	*room += view.size;
	return copied;
}

static char *copy_text(uint8_t **room, const char *text)
{
	return (char *)copy_octets(room, ch_view(text, strlen(text) + 1)).data;
}

static void fill_item(Chancery__SignItem *to, const struct asked *asked, uint8_t **room)
{
	chancery__sign_item__init(to);
	to->key_id = copy_text(room, asked->item->key_id);
	to->trace_id = copy_text(room, asked->trace_id);
	to->purpose = asked->item->purpose;
	to->to_be_signed = copy_octets(room, asked->item->to_be_signed);
	to->content = copy_octets(room, asked->item->content);
}

static void *copy(void *state, const char *group, const void *const *requests, size_t count)
{
	size_t head =
		sizeof(struct message) + count * (sizeof(Chancery__SignItem *) + sizeof(Chancery__SignItem));
	size_t size = head + strlen(group) + 1;
	struct message *message;
	uint8_t *room;

	(void)state;
	for (size_t i = 0; i < count; i++)
		size += room_of(requests[i]);
	message = ch_alloc(size);
	chancery__sign_request__init(&message->request);
	message->items = (Chancery__SignItem *)(message + 1);
	message->list = (Chancery__SignItem **)(message->items + count);
	room = (uint8_t *)message + head;
	message->tenant = copy_text(&room, group);
	for (size_t i = 0; i < count; i++) {
		fill_item(&message->items[i], requests[i], &room);
		message->list[i] = &message->items[i];
	}
	message->request.items = message->list;
	message->request.n_items = count;
	return message;
}

/* --- what comes back --- */

/* A verdict on the item is final only where the vault was asked once: of two askings, the one that was not
 * answered may have signed. */
static bool take_result(Chancery__SignResult *result, bool sent_again, struct ch_bytes *signature,
			struct ch_error *err)
{
	if (result->code != CH_OK) {
		ch_fail(err, (enum ch_code)result->code, "vault: %s", result->message);
		if (err) {
			err->origin = result->refused && !sent_again ? CH_ORIGIN_ITEM : CH_ORIGIN_HANDLER;
			err->retryable = result->retryable;
			err->retry_after_ms = result->retry_after_ms;
		}
		return false;
	}
	if (result->signature.len == 0)
		return ch_fail(err, CH_INTERNAL, "vault answered an empty signature");
	*signature = (struct ch_bytes){ result->signature.data, result->signature.len };
	result->signature = (ProtobufCBinaryData){ 0, NULL };
	return true;
}

static void fail_all(struct ch_batch_item *results, size_t count, const struct ch_error *err)
{
	for (size_t i = 0; i < count; i++)
		results[i].err = *err;
}

static bool call(struct ch_vault_client *client, const Chancery__SignRequest *request,
		 const struct ch_vault_context *context, const uint8_t *message_id, bool *sent_again,
		 ProtobufCMessage **reply, struct ch_error *err)
{
	struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN,
		.request = &request->base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN_REPLY,
		.reply_descriptor = &chancery__sign_reply__descriptor,
		.message_id = message_id,
		.sent_again = sent_again,
	};
	const Chancery__SignReply *answer;

	ch_vault_set_context(&call, context);
	if (!ch_bus_call(client->bus, &call, reply, err))
		return false;
	answer = (const Chancery__SignReply *)*reply;
	return answer->n_results == request->n_items ||
	       ch_fail(err, CH_INTERNAL, "vault answered %zu results for %zu items", answer->n_results,
		       request->n_items);
}

static void send(void *state, void *sent, int64_t deadline_us, struct ch_batch_item *results, size_t count)
{
	int64_t left_us = deadline_us - ch_monotonic_us();
	struct message *message = sent;
	const struct ch_vault_context context = { .tenant = message->tenant,
						  .timeout_us = left_us > 1 ? left_us : 1 };
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;
	bool sent_again = false;

	if (call(state, &message->request, &context, NULL, &sent_again, &reply, &err)) {
		Chancery__SignReply *answer = (Chancery__SignReply *)reply;

		for (size_t i = 0; i < count; i++)
			results[i].done = take_result(answer->results[i], sent_again, &results[i].result,
						      &results[i].err);
	} else {
		fail_all(results, count, &err);
	}
	free(message);
}

/* --- asking --- */

static bool sign_alone(struct ch_vault_client *client, const struct ch_vault_context *context,
		       const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err)
{
	Chancery__SignRequest request = CHANCERY__SIGN_REQUEST__INIT;
	Chancery__SignItem asked = CHANCERY__SIGN_ITEM__INIT;
	Chancery__SignItem *items[] = { &asked };
	CH_AUTO(ch_proto) reply = NULL;
	bool sent_again = false;

	asked.key_id = (char *)(uintptr_t)item->key_id;
	asked.purpose = item->purpose;
	asked.to_be_signed = ch_vault_binary(item->to_be_signed);
	asked.content = ch_vault_binary(item->content);
	if (item->action_id)
		asked.action_id = (char *)(uintptr_t)item->action_id;
	request.items = items;
	request.n_items = 1;
	return call(client, &request, context, item->message_id, &sent_again, &reply, err) &&
	       take_result(((Chancery__SignReply *)reply)->results[0], sent_again, signature, err);
}

static bool goes_alone(const struct ch_vault_item *item)
{
	return item->message_id || item->action_id || item->to_be_signed.size + item->content.size > TOGETHER;
}

bool ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
		   const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err)
{
	struct asked asked = { item, context && context->trace_id ? context->trace_id : "" };
	int64_t timeout_us = context && context->timeout_us ? context->timeout_us : TIMEOUT_US;
	struct ch_batch_item asking = { .group = context && context->tenant ? context->tenant : "",
					.request = &asked,
					.deadline_us = ch_monotonic_us() + timeout_us };

	if (goes_alone(item))
		return sign_alone(client, context, item, signature, err);
	if (!ch_batcher_run(client->signatures, &asking, err))
		return false;
	*signature = asking.result;
	return true;
}

void ch_vault_sign_open(struct ch_vault_client *client)
{
	const struct ch_batch_options options = {
		.under_way = UNDER_WAY, .copy = copy, .send = send, .state = client
	};

	client->signatures = ch_batcher_new(&options);
}
