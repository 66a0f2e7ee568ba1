/* SPDX-License-Identifier: Apache-2.0 */
/* bus.c: the handlers of the messages that the audit daemon takes; peers.c says from whom. */
#include "audit.h"

bool audit_handle_append(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	const Chancery__AppendEventsRequest *asked = (const Chancery__AppendEventsRequest *)request->payload;
	Chancery__AppendEventsReply *made = NULL;

	if (!audit_append(state, request->sender, asked, &made, err)) {
		if (err->code != CH_UNAVAILABLE)
			ch_log(CH_LOG_WARN, &request->scope, "refused events of %s: %s",
			       request->sender->instance, err->message);
		return false;
	}
	*reply = &made->base;
	return true;
}

bool audit_handle_list(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
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

bool audit_handle_list_quarantine(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				  struct ch_error *err)
{
	const Chancery__ListQuarantineRequest *asked =
		(const Chancery__ListQuarantineRequest *)request->payload;
	Chancery__ListQuarantineReply *made =
		CH_PROTO_NEW(Chancery__ListQuarantineReply, chancery__list_quarantine_reply__init);

	*reply = &made->base;
	/* What nobody vouches for is no tenant's. */
	if (request->body->tenant[0])
		ch_fail(err, CH_DENIED, "the quarantine is not of tenant '%.64s'", request->body->tenant);
	else if (quarantine_list(state, asked, made, err))
		return true;
	ch_proto_free(*reply);
	*reply = NULL;
	return false;
}

bool audit_bus_start(struct audit *audit, struct ch_bus_server **server, struct ch_error *err)
{
	struct ch_bus_server_options options = { .listen = &audit->config->common.bus,
						 .identity = audit->identity,
						 .clock = audit->clock,
						 .routes = audit_routes,
						 .route_count = audit_route_count,
						 .state = audit,
						 .refusal = ch_audit_bus_refusal,
						 .refusal_state = audit->client,
						 .metrics = audit->metrics };

	return ch_bus_server_start(&options, server, err);
}
