/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch.c: one request envelope becomes one reply envelope: open, find the route, may this sender, is it
 * small enough, does it decode, then the handler. Called from the server's workers; knows no socket.
 */
#include "bus/internal.h"
#include "clock/wait.h"
#include "unpack/unpack.h"

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
	pthread_mutex_t lock;          /* guards all below */
	int64_t log_second;
	unsigned logged, unlogged;
	bool stopping;
	size_t handling;        /* handlers at work */
	pthread_cond_t drained; /* stopping, and the last of them has ended */
};

/* What came of a request: a payload for the reply. */
struct answer {
	Chancery__PayloadType type;
	ProtobufCMessage *message; /* owned */
};

struct ch_bus_dispatcher *ch_bus_dispatcher_new(const struct ch_bus_server_options *options)
{
	struct ch_bus_dispatcher *dispatcher = ch_alloc(sizeof(*dispatcher));

	dispatcher->options = *options;
	dispatcher->replay = ch_replay_new(REPLAY_CAPACITY, options->clock);
	dispatcher->metrics = ch_alloc((options->route_count + 1) * sizeof(*dispatcher->metrics));
	pthread_mutex_init(&dispatcher->lock, NULL);
	ch_condition_init(&dispatcher->drained);
	return dispatcher;
}

void ch_bus_dispatcher_free(struct ch_bus_dispatcher *dispatcher)
{
	if (!dispatcher)
		return;
	ch_replay_free(dispatcher->replay);
	free(dispatcher->metrics);
	pthread_cond_destroy(&dispatcher->drained);
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

/* Counted, logged, and told to the audit trail; a refusal that only asks for a fresh nonce after a restart,
 * or for another replica before one, is counted alone. Returns false. */
static bool refuse(struct ch_bus_dispatcher *dispatcher, const struct ch_message *message,
		   struct ch_error *why)
{
	const struct ch_bus_server_options *options = &dispatcher->options;
	char labels[64];
	unsigned skipped;

	why->origin = CH_ORIGIN_TRANSPORT;
	if (options->metrics) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", ch_code_name(why->code));
		ch_metric_add(ch_metrics_counter(options->metrics, "chancery_bus_refused_total",
						 "Messages refused before any handler, by reason.", labels),
			      1);
	}
	if (why->retryable && (why->code == CH_EXPIRED || why->code == CH_UNAVAILABLE))
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

/* --- stopping ----------------------------------------------------------------------------------------------
 */

/* False once it stops. */
static bool begin_handling(struct ch_bus_dispatcher *dispatcher, struct ch_error *err)
{
	bool stopping;

	pthread_mutex_lock(&dispatcher->lock);
	stopping = dispatcher->stopping;
	dispatcher->handling += !stopping;
	pthread_mutex_unlock(&dispatcher->lock);
	if (!stopping)
		return true;
	ch_fail(err, CH_UNAVAILABLE, "instance '%s' is stopping",
		ch_identity_self(dispatcher->options.identity)->instance);
	err->retryable = true;
	return false;
}

static void end_handling(struct ch_bus_dispatcher *dispatcher)
{
	pthread_mutex_lock(&dispatcher->lock);
	if (--dispatcher->handling == 0 && dispatcher->stopping)
		pthread_cond_broadcast(&dispatcher->drained);
	pthread_mutex_unlock(&dispatcher->lock);
}

size_t ch_bus_dispatcher_drain(struct ch_bus_dispatcher *dispatcher, int64_t drain_us)
{
	int64_t until_us = ch_monotonic_us() + drain_us;
	size_t left;

	pthread_mutex_lock(&dispatcher->lock);
	dispatcher->stopping = true;
	while (dispatcher->handling && ch_condition_wait(&dispatcher->drained, &dispatcher->lock, until_us))
		;
	left = dispatcher->handling;
	pthread_mutex_unlock(&dispatcher->lock);
	return left;
}

/* --- the route and its handler -----------------------------------------------------------------------------
 */

bool ch_bus_route_takes(const struct ch_bus_route *route, const char *service)
{
	size_t length = strlen(service);

	for (const char *at = route->senders; *at;) {
		size_t word = strcspn(at, " ");

		if (word && word == length && memcmp(at, service, word) == 0)
			return true;
		at += word + (at[word] == ' ');
	}
	return false;
}

static const struct ch_bus_route *find_route(const struct ch_bus_dispatcher *dispatcher,
					     const struct ch_message *message, struct ch_error *err)
{
	const struct ch_bus_server_options *options = &dispatcher->options;

	for (size_t i = 0; i < options->route_count; i++) {
		const struct ch_bus_route *route = &options->routes[i];

		if (route->request_type != message->body->payload_type)
			continue;
		if (!ch_bus_route_takes(route, message->sender.service)) {
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
		ch_unpack(route->request_descriptor, ch_view(payload->data, payload->len));

	if (!decoded) {
		ch_fail(err, CH_INVALID, "%s of %zu octets does not decode", type_name(route->request_type),
			payload->len);
		return NULL;
	}
	if (!ch_unpack_check_counts(
		    decoded, route->most_repeated ? route->most_repeated : CH_BUS_MOST_REPEATED, err) ||
	    !ch_proto_check_text(decoded, err)) {
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
					    .address = message->address ? message->address : "",
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
	if (!done) { /* that its own calls did not get through is its caller's business only as a failure */
		*err = ch_error_outward(err);
		err->origin = CH_ORIGIN_HANDLER;
	}
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

static bool answer_opened(struct ch_bus_dispatcher *dispatcher, const struct ch_message *message,
			  struct answer *answer, struct ch_error *err)
{
	const struct ch_bus_route *route;
	CH_AUTO(ch_proto) payload = NULL;

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

static bool handle(struct ch_bus_dispatcher *dispatcher, struct ch_view envelope, struct ch_message *message,
		   struct answer *answer, struct ch_error *err)
{
	const struct ch_bus_server_options *options = &dispatcher->options;
	const char *address = message->address;
	bool opened = ch_envelope_open(options->identity, options->clock, dispatcher->replay, envelope,
				       message, err);
	bool done;

	message->address = address; /* the envelope says nothing of it */
	if (!opened || !begin_handling(dispatcher, err))
		return refuse(dispatcher, message, err);
	done = answer_opened(dispatcher, message, answer, err);
	end_handling(dispatcher);
	return done;
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
	reply->origin = why->origin == CH_ORIGIN_TRANSPORT ? CH_ORIGIN_TRANSPORT : CH_ORIGIN_HANDLER;
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

bool ch_bus_dispatch(struct ch_bus_dispatcher *dispatcher, struct ch_view request, const char *address,
		     struct ch_bytes *reply, struct ch_error *err)
{
	CH_AUTO(ch_message) message = { .address = address };
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
