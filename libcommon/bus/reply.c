/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.c: what came back for a request: is it the answer to this very request, what does it say, and what
 * follows from it: an end, the same again, or another replica. Called from client.c.
 */
#include "bus/internal.h"
#include "envelope/peer_clocks.h"
#include "unpack/unpack.h"

#include <string.h>

/* A reply that proves nothing. Another replica may have a better one: what was sent may have been done. */
static bool distrust(struct ch_error *err)
{
	err->code = CH_UNAUTHENTICATED;
	err->origin = CH_ORIGIN_TRANSPORT;
	err->retryable = true;
	return false;
}

static enum ch_origin origin_of(const Chancery__ErrorReply *reply)
{
	return reply->origin == CH_ORIGIN_TRANSPORT || reply->origin == CH_ORIGIN_HANDLER
		       ? (enum ch_origin)reply->origin
		       : CH_ORIGIN_LOCAL; /* not said: ch_bus_next has its rule for it */
}

static bool read_error(const char *service, const Chancery__Body *body, struct ch_error *err)
{
	Chancery__ErrorReply *reply = (Chancery__ErrorReply *)ch_unpack(
		&chancery__error_reply__descriptor, ch_view(body->payload.data, body->payload.len));

	if (!reply) {
		ch_fail(err, CH_INVALID, "error reply from %s does not decode", service);
		return distrust(err);
	}
	ch_fail(err,
		reply->code > CH_OK && reply->code <= CH_UNSUPPORTED ? (enum ch_code)reply->code
								     : CH_INTERNAL,
		"%s", reply->message);
	err->origin = origin_of(reply);
	err->retryable = reply->retryable;
	err->retry_after_ms = reply->retry_after_ms;
	chancery__error_reply__free_unpacked(reply, NULL);
	return false;
}

/* Signed by the service that was called, about what was sent, and of a type that it may have. */
static bool belongs(const struct ch_bus_client *client, const struct ch_bus_call *call,
		    const struct ch_message *message, const uint8_t digest[32], struct ch_error *err)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a message that was opened has its body */
	Chancery__PayloadType type = message->body->payload_type;

	if (strcmp(message->sender.service, client->service) != 0)
		return ch_fail(err, CH_INVALID, "reply from %s is signed by service '%s'", client->service,
			       message->sender.service);
	if (memcmp(message->body->request_digest.data, digest, 32) != 0)
		return ch_fail(err, CH_INVALID, "reply from %s belongs to another request", client->service);
	return type == call->reply_type || type == CHANCERY__PAYLOAD_TYPE__PAYLOAD_ERROR_REPLY ||
	       ch_fail(err, CH_INVALID, "reply from %s is of type %d, not %d", client->service, (int)type,
		       (int)call->reply_type);
}

/* Of a reply to what was just asked, one outside the window too. */
static void note_clock(const struct ch_bus_client *client, const struct ch_message *message,
		       const uint8_t digest[32])
{
	const ProtobufCBinaryData *answered = &message->body->request_digest;

	if (strcmp(message->sender.service, client->service) == 0 && answered->len == 32 &&
	    memcmp(answered->data, digest, 32) == 0)
		ch_peer_clocks_note(ch_identity_peer_clocks(client->identity), &message->sender,
				    message->body->sent_at_us, ch_clock_now_us(client->clock));
}

bool ch_bus_read_reply(const struct ch_bus_client *client, const struct ch_bus_call *call,
		       struct ch_view envelope, const uint8_t digest[32], ProtobufCMessage **reply,
		       struct ch_error *err)
{
	CH_AUTO(ch_message) message = CH_NONE;
	bool opened = ch_envelope_open(client->identity, client->clock, NULL, envelope, &message, err);

	if (message.body)
		note_clock(client, &message, digest);
	if (!opened) {
		ch_fail_in(err, "reply from %s", client->service);
		return distrust(err);
	}
	if (!belongs(client, call, &message, digest, err))
		return distrust(err);
	if (message.body->payload_type == CHANCERY__PAYLOAD_TYPE__PAYLOAD_ERROR_REPLY)
		return read_error(client->service, message.body, err);
	*reply = ch_unpack(call->reply_descriptor,
			   ch_view(message.body->payload.data, message.body->payload.len));
	if (*reply)
		return true;
	ch_fail(err, CH_INVALID, "reply from %s does not decode", client->service);
	return distrust(err);
}

/* What the other end's bus refused was seen by no handler. */
static enum ch_bus_next after_transport(const struct ch_error *why)
{
	switch (why->code) {
	case CH_REPLAYED:
	case CH_EXPIRED: /* remembers no nonces that old yet: a fresh one will do. Else late, or its clock */
		return why->retryable ? CH_BUS_AGAIN : CH_BUS_OTHERS;
	case CH_UNAVAILABLE: /* it is stopping */
		return CH_BUS_LEAVE;
	case CH_UNAUTHENTICATED: /* its clock, or a system CA that it does not know yet */
		return CH_BUS_DISTRUST;
	case CH_DENIED: /* a replica of another version may take it */
	case CH_UNSUPPORTED:
		return CH_BUS_OTHERS;
	default:
		return CH_BUS_FINAL;
	}
}

enum ch_bus_next ch_bus_next(const struct ch_error *why)
{
	switch (why->origin) {
	case CH_ORIGIN_TRANSPORT:
		return after_transport(why);
	case CH_ORIGIN_LOCAL: /* a peer that does not say who refused */
		if (why->retryable && (why->code == CH_REPLAYED || why->code == CH_EXPIRED))
			return CH_BUS_AGAIN;
		break;
	case CH_ORIGIN_HANDLER:
	case CH_ORIGIN_ITEM:
		break;
	}
	/* A handler that could not, this time, says so; every other word of it is its last. */
	return why->code == CH_UNAVAILABLE && why->retryable ? CH_BUS_ELSEWHERE : CH_BUS_FINAL;
}
