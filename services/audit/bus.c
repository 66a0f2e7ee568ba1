/* SPDX-License-Identifier: Apache-2.0 */
/* bus.c: the messages that the audit daemon takes, and from whom. */
#include "audit.h"

static bool handle_append(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err)
{
	const Chancery__AppendEventsRequest *asked = (const Chancery__AppendEventsRequest *)request->payload;
	uint64_t log_size = 0;
	Chancery__AppendEventsReply *made;

	if (!audit_append(state, request->sender, asked, &log_size, err)) {
		if (err->code != CH_UNAVAILABLE)
			ch_log(CH_LOG_WARN, &request->scope, "refused events of %s: %s",
			       request->sender->instance, err->message);
		return false;
	}
	made = CH_PROTO_NEW(Chancery__AppendEventsReply, chancery__append_events_reply__init);
	made->log_size = log_size;
	*reply = &made->base;
	return true;
}

static bool handle_list(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			struct ch_error *err)
{
	const Chancery__ListEventsRequest *asked = (const Chancery__ListEventsRequest *)request->payload;
	Chancery__ListEventsReply *made =
		CH_PROTO_NEW(Chancery__ListEventsReply, chancery__list_events_reply__init);

	*reply = &made->base;
	if (audit_list(state, request->body->tenant, asked, made, err))
		return true;
	ch_proto_free(*reply);
	*reply = NULL;
	return false;
}

static const struct ch_bus_route routes[] = {
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPEND_EVENTS, &chancery__append_events_request__descriptor,
	  CH_FROM_ANY, 1024 * 1024, CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPEND_EVENTS_REPLY, handle_append },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_EVENTS, &chancery__list_events_request__descriptor,
	  CH_FROM_GATEWAY | CH_FROM_OPERATOR, 4096, CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_EVENTS_REPLY,
	  handle_list },
};

bool audit_bus_start(struct audit *audit, struct ch_bus_server **server, struct ch_error *err)
{
	struct ch_bus_server_options options = { .listen = &audit->config->common.bus,
						 .identity = audit->identity,
						 .identity_files = &audit->config->common.identity,
						 .clock = audit->clock,
						 .routes = routes,
						 .route_count = CH_COUNT(routes),
						 .state = audit,
						 .refusal = ch_audit_bus_refusal,
						 .refusal_state = audit->client,
						 .metrics = audit->metrics };

	return ch_bus_server_start(&options, server, err);
}
