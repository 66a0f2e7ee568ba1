/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch.c: one request envelope becomes one reply envelope: open, find the route, may this sender, is it
 * small enough, does it decode, then the handler. Called from the server's workers; knows no socket.
 */
#include "bus/internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_CAPACITY      2000000 /* nonces: at 20,000 messages a second the whole clock window */
#define CODES                (CH_UNSUPPORTED + 1)
#define LOG_LINES_PER_SECOND 20

struct route_metrics {
	_Atomic(struct ch_metric *) outcomes[CODES];
	struct ch_metric *seconds;
};

struct ch_bus_dispatcher {
	struct ch_bus_server_options options;
	struct ch_replay *replay;
	struct route_metrics *metrics; /* one for each route, then one for pings */
	pthread_mutex_t lock;          /* guards the three below */
	int64_t log_second;
	unsigned logged, unlogged;
};

/* What came of a request: a payload for the reply. */
struct answer {
	Chancery__PayloadType type;
	ProtobufCMessage *message; /* owned */
};

static const struct {
	const char *service;
	unsigned bit;
} senders[] = {
	{ "gateway", CH_FROM_GATEWAY }, { "issuer", CH_FROM_ISSUER },     { "ocsp", CH_FROM_OCSP },
	{ "tsa", CH_FROM_TSA },         { "crl", CH_FROM_CRL },           { "audit", CH_FROM_AUDIT },
	{ "vault", CH_FROM_VAULT },     { "operator", CH_FROM_OPERATOR },
};

struct ch_bus_dispatcher *ch_bus_dispatcher_new(const struct ch_bus_server_options *options)
{
	struct ch_bus_dispatcher *dispatcher = ch_alloc(sizeof(*dispatcher));

	dispatcher->options = *options;
	dispatcher->replay = ch_replay_new(REPLAY_CAPACITY, options->clock);
	dispatcher->metrics = ch_alloc((options->route_count + 1) * sizeof(*dispatcher->metrics));
	pthread_mutex_init(&dispatcher->lock, NULL);
	return dispatcher;
}

void ch_bus_dispatcher_free(struct ch_bus_dispatcher *dispatcher)
{
	if (!dispatcher)
		return;
	ch_replay_free(dispatcher->replay);
	free(dispatcher->metrics);
	pthread_mutex_destroy(&dispatcher->lock);
	free(dispatcher);
}

size_t ch_bus_dispatcher_cap(const struct ch_bus_dispatcher *dispatcher)
{
	size_t largest = 0;

	for (size_t i = 0; i < dispatcher->options.route_count; i++)
		if (dispatcher->options.routes[i].payload_cap > largest)
			largest = dispatcher->options.routes[i].payload_cap;
	return largest + ENVELOPE_OVERHEAD < CH_ENVELOPE_CAP ? largest + ENVELOPE_OVERHEAD : CH_ENVELOPE_CAP;
}

void ch_proto_free(ProtobufCMessage *message)
{
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}

/* --- counting and telling ----------------------------------------------------------------------------------
 */

static const char *type_name(Chancery__PayloadType type)
{
	const ProtobufCEnumValue *value =
		protobuf_c_enum_descriptor_get_value(&chancery__payload_type__descriptor, (int)type);

	return value ? value->name : "unknown";
}

static void count_outcome(struct ch_bus_dispatcher *dispatcher, size_t route, Chancery__PayloadType type,
			  enum ch_code code, int64_t took_us)
{
	_Atomic(struct ch_metric *) *slot = &dispatcher->metrics[route].outcomes[code < CODES ? code : 0];
	struct ch_metric *metric = atomic_load(slot);
	char labels[128];

	if (!dispatcher->options.metrics)
		return;
	if (!metric) {
		snprintf(labels, sizeof(labels), "type=\"%s\",outcome=\"%s\"", type_name(type),
			 ch_code_name(code));
		metric = ch_metrics_counter(dispatcher->options.metrics, "chancery_bus_requests_total",
					    "Requests that a handler took, by payload type and outcome.",
					    labels);
		atomic_store(slot, metric);
	}
	ch_metric_add(metric, 1);
	snprintf(labels, sizeof(labels), "type=\"%s\"", type_name(type));
	ch_metric_observe(ch_metrics_histogram(dispatcher->options.metrics, "chancery_bus_request_seconds",
					       "Time from a request's arrival to its reply, by payload type.",
					       labels),
			  took_us);
}

/* Whether this refusal may have a log line; *skipped receives how many had none since the last. */
static bool may_log(struct ch_bus_dispatcher *dispatcher, unsigned *skipped)
{
	int64_t second = ch_monotonic_us() / CH_SECOND;
	bool may;

	*skipped = 0;
	pthread_mutex_lock(&dispatcher->lock);
	if (second != dispatcher->log_second) {
		*skipped = dispatcher->unlogged;
		dispatcher->log_second = second;
		dispatcher->logged = dispatcher->unlogged = 0;
	}
	may = dispatcher->logged < LOG_LINES_PER_SECOND;
	dispatcher->logged += may;
	dispatcher->unlogged += !may;
	pthread_mutex_unlock(&dispatcher->lock);
	return may;
}

/* Counted, logged, and told to the audit trail; a refusal that only asks for a fresh nonce after a restart is
 * counted alone. Returns false. */
static bool refuse(struct ch_bus_dispatcher *dispatcher, const struct ch_message *message,
		   const struct ch_error *why)
{
	const struct ch_bus_server_options *options = &dispatcher->options;
	char labels[64];
	unsigned skipped;

	if (options->metrics) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", ch_code_name(why->code));
		ch_metric_add(ch_metrics_counter(options->metrics, "chancery_bus_refused_total",
						 "Messages refused before any handler, by reason.", labels),
			      1);
	}
	if (why->code == CH_EXPIRED && why->retryable)
		return false;
	if (may_log(dispatcher, &skipped)) {
		if (skipped)
			ch_log_warn("bus: %u more refusals had no line of their own", skipped);
		ch_log_warn("bus: refused a message of %s%s%s: %s",
			    message->sender.service[0] ? message->sender.service : "an unknown sender",
			    message->sender.service[0] ? "/" : "", message->sender.instance, why->message);
	}
	if (options->refusal)
		options->refusal(options->refusal_state, &message->sender, message->body ? message : NULL,
				 why);
	return false;
}

/* --- the route and its handler -----------------------------------------------------------------------------
 */

static unsigned sender_bit(const char *service)
{
	for (size_t i = 0; i < CH_COUNT(senders); i++)
		if (strcmp(senders[i].service, service) == 0)
			return senders[i].bit;
	return 0;
}

static const struct ch_bus_route *find_route(const struct ch_bus_dispatcher *dispatcher,
					     const struct ch_message *message, struct ch_error *err)
{
	const struct ch_bus_server_options *options = &dispatcher->options;

	for (size_t i = 0; i < options->route_count; i++) {
		const struct ch_bus_route *route = &options->routes[i];

		if (route->request_type != message->body->payload_type)
			continue;
		if (!(route->senders & sender_bit(message->sender.service))) {
			ch_fail(err, CH_DENIED, "service '%s' may not send %s to '%s'",
				message->sender.service, type_name(route->request_type),
				ch_identity_self(options->identity)->service);
			return NULL;
		}
		if (message->body->payload.len > route->payload_cap) {
			ch_fail(err, CH_TOO_LARGE, "%s of %zu octets, at most %zu are taken",
				type_name(route->request_type), message->body->payload.len,
				route->payload_cap);
			return NULL;
		}
		return route;
	}
	ch_fail(err, CH_UNSUPPORTED, "service '%s' takes no payload of type %d (%s)",
		ch_identity_self(options->identity)->service, (int)message->body->payload_type,
		type_name(message->body->payload_type));
	return NULL;
}

static ProtobufCMessage *decode_payload(const struct ch_bus_route *route, const struct ch_message *message,
					struct ch_error *err)
{
	const ProtobufCBinaryData *payload = &message->body->payload;
	CH_AUTO(ch_proto) decoded =
		protobuf_c_message_unpack(route->request_descriptor, NULL, payload->len, payload->data);

	if (!decoded) {
		ch_fail(err, CH_INVALID, "%s of %zu octets does not decode", type_name(route->request_type),
			payload->len);
		return NULL;
	}
	if (!ch_proto_check_text(decoded, err)) {
		ch_fail_in(err, "%s", type_name(route->request_type));
		return NULL;
	}
	return CH_STEAL(decoded);
}

static void fill_request(struct ch_bus_request *request, const struct ch_message *message,
			 const ProtobufCMessage *payload)
{
	CH_AUTO(ch_string) id = ch_hex(ch_view(message->body->message_id.data, CH_ENVELOPE_ID_SIZE));

	*request = (struct ch_bus_request){ .sender = &message->sender,
					    .body = message->body,
					    .payload = payload };
	memcpy(request->message_id, id, sizeof(request->message_id));
	request->scope =
		(struct ch_log_scope){ request->message_id, message->body->tenant, message->body->trace_id };
}

static bool run_handler(struct ch_bus_dispatcher *dispatcher, const struct ch_bus_route *route,
			const struct ch_message *message, const ProtobufCMessage *payload,
			struct answer *answer, struct ch_error *err)
{
	int64_t began = ch_monotonic_us();
	struct ch_bus_request request;
	bool done;

	fill_request(&request, message, payload);
	*err = (struct ch_error)CH_NONE;
	done = route->handler(dispatcher->options.state, &request, &answer->message, err);
	if (!done && err->code == CH_OK)
		ch_fail(err, CH_INTERNAL, "%s failed and did not say why", type_name(route->request_type));
	if (!done && err->code == CH_INTERNAL)
		ch_log(CH_LOG_ERROR, &request.scope, "%s from %s: %s", type_name(route->request_type),
		       message->sender.instance, err->message);
	count_outcome(dispatcher, (size_t)(route - dispatcher->options.routes), route->request_type,
		      done ? CH_OK : err->code, ch_monotonic_us() - began);
	answer->type = route->reply_type;
	return done;
}

static void answer_ping(struct ch_bus_dispatcher *dispatcher, struct answer *answer)
{
	const struct ch_peer *self = ch_identity_self(dispatcher->options.identity);
	Chancery__Pong *pong = CH_PROTO_NEW(Chancery__Pong, chancery__pong__init);

	pong->service = ch_strdup(self->service);
	pong->instance = ch_strdup(self->instance);
	pong->version = ch_strdup(CHANCERY_VERSION);
	*answer = (struct answer){ CHANCERY__PAYLOAD_TYPE__PAYLOAD_PONG, &pong->base };
	count_outcome(dispatcher, dispatcher->options.route_count, CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING,
		      CH_OK, 0);
}

static bool handle(struct ch_bus_dispatcher *dispatcher, struct ch_view envelope, struct ch_message *message,
		   struct answer *answer, struct ch_error *err)
{
	const struct ch_bus_server_options *options = &dispatcher->options;
	const struct ch_bus_route *route;
	CH_AUTO(ch_proto) payload = NULL;

	if (!ch_envelope_open(options->identity, options->clock, dispatcher->replay, envelope, message, err))
		return refuse(dispatcher, message, err);
	if (message->body->payload_type == CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING) {
		answer_ping(dispatcher, answer);
		return true;
	}
	route = find_route(dispatcher, message, err);
	if (route)
		payload = decode_payload(route, message, err);
	if (!payload)
		return refuse(dispatcher, message, err);
	return run_handler(dispatcher, route, message, payload, answer, err);
}

/* --- the reply ---------------------------------------------------------------------------------------------
 */

static void answer_error(const struct ch_error *why, struct answer *answer)
{
	Chancery__ErrorReply *reply = CH_PROTO_NEW(Chancery__ErrorReply, chancery__error_reply__init);

	reply->code = why->code;
	reply->message = ch_strdup(why->message);
	reply->retryable = why->retryable;
	reply->retry_after_ms = why->retry_after_ms;
	ch_proto_free(answer->message);
	*answer = (struct answer){ CHANCERY__PAYLOAD_TYPE__PAYLOAD_ERROR_REPLY, &reply->base };
}

static bool seal_answer(struct ch_bus_dispatcher *dispatcher, const struct ch_message *message,
			const struct answer *answer, struct ch_bytes *reply, struct ch_error *err)
{
	Chancery__Body body = CHANCERY__BODY__INIT;
	CH_AUTO(ch_bytes) payload = CH_NONE;

	payload.size = protobuf_c_message_get_packed_size(answer->message);
	payload.data = ch_alloc(payload.size);
	protobuf_c_message_pack(answer->message, payload.data);
	body.payload_type = answer->type;
	body.payload = (ProtobufCBinaryData){ payload.size, payload.data };
	body.to_service = (char *)(uintptr_t)message->sender.service;
	body.request_digest =
		(ProtobufCBinaryData){ sizeof(message->digest), (uint8_t *)(uintptr_t)message->digest };
	if (message->body && message->body->message_id.len == CH_ENVELOPE_ID_SIZE) {
		body.message_id = message->body->message_id;
		body.trace_id = message->body->trace_id;
	}
	return ch_envelope_seal(dispatcher->options.identity, dispatcher->options.clock, &body, reply, NULL,
				err);
}

bool ch_bus_dispatch(struct ch_bus_dispatcher *dispatcher, struct ch_view request, struct ch_bytes *reply,
		     struct ch_error *err)
{
	CH_AUTO(ch_message) message = CH_NONE;
	struct answer answer = CH_NONE;
	struct ch_error why = CH_NONE;
	bool sealed;

	if (!handle(dispatcher, request, &message, &answer, &why))
		answer_error(&why, &answer);
	else if (!answer.message) {
		ch_fail(&why, CH_INTERNAL, "handler made no reply");
		answer_error(&why, &answer);
	}
	sealed = seal_answer(dispatcher, &message, &answer, reply, err);
	if (!sealed) { /* too large: say so */
		answer_error(err, &answer);
		sealed = seal_answer(dispatcher, &message, &answer, reply, err);
	}
	ch_proto_free(answer.message);
	return sealed;
}
