/* SPDX-License-Identifier: Apache-2.0 */
/* call.c: a handler's one message to a peer. */
#include "gateway.h"

bool call_peer(const struct call *call, struct ch_bus_client *peer, const struct exchange *exchange,
	       const ProtobufCMessage *request, ProtobufCMessage **reply, struct ch_error *err)
{
	struct ch_bus_call message = {
		.request_type = exchange->request_type,
		.request = request,
		.reply_type = exchange->reply_type,
		.reply_descriptor = exchange->reply_descriptor,
		.tenant = call->whole_suite ? NULL : call->client.tenant,
		.trace_id = ch_http_trace_id(call->request),
		.timeout_us = exchange->timeout_us,
	};

	return ch_bus_call(peer, &message, reply, err);
}
