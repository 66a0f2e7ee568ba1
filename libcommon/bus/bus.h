/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.h: signed requests and replies over nng req/rep on tls+tcp with mutual TLS.
 *
 * A server has one dispatch table; what is not in it is refused, counted and audited. A client dials every
 * replica of one service, sends to the least busy one that answers and again to another when one is lost or
 * answers nothing, so what changes state must be idempotent by message id (each attempt has a fresh nonce).
 */
#ifndef CH_BUS_H
#define CH_BUS_H

#include "daemon/daemon.h"
#include "envelope/envelope.h"
#include "log/log.h"

/* Bits for ch_bus_route.senders. */
enum ch_bus_sender {
	CH_FROM_GATEWAY = 1 << 0,
	CH_FROM_ISSUER = 1 << 1,
	CH_FROM_OCSP = 1 << 2,
	CH_FROM_TSA = 1 << 3,
	CH_FROM_CRL = 1 << 4,
	CH_FROM_AUDIT = 1 << 5,
	CH_FROM_VAULT = 1 << 6,
	CH_FROM_OPERATOR = 1 << 7, /* an operator's tool with an identity of service "operator" */
	CH_FROM_ANY = 0xffff,
};

/* A request as a handler sees it: verified, permitted, decoded, within its caps. All borrowed for the length
 * of the call. */
struct ch_bus_request {
	const struct ch_peer *sender;
	const Chancery__Body *body;                   /* message_id, tenant, trace_id, deadline_us */
	const ProtobufCMessage *payload;              /* of the route's type: cast it */
	char message_id[2 * CH_ENVELOPE_ID_SIZE + 1]; /* hex */
	struct ch_log_scope scope;                    /* for log lines about this request */
};

/*
 * Fills *reply with a message from malloc (make it with CH_PROTO_NEW; its members from malloc too): the bus
 * encodes it and frees it with protobuf_c_message_free_unpacked. On false the caller receives *err as an
 * ErrorReply.
 */
typedef bool (*ch_bus_handler)(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			       struct ch_error *err);

struct ch_bus_route {
	Chancery__PayloadType request_type;
	const ProtobufCMessageDescriptor *request_descriptor;
	unsigned senders;   /* enum ch_bus_sender, or-ed */
	size_t payload_cap; /* octets */
	Chancery__PayloadType reply_type;
	ch_bus_handler handler; /* called from several threads at once */
};

#define CH_PROTO_NEW(type, init_function)               \
	__extension__({                                 \
		type *ch_new_ = ch_alloc(sizeof(type)); \
		init_function(ch_new_);                 \
		ch_new_;                                \
	})

/* Told of each refusal (before any handler ran): for the audit trail. `sender` may be empty when it is not
 * known. */
typedef void (*ch_bus_refusal)(void *state, const struct ch_peer *sender,
			       const struct ch_message *message_or_null, const struct ch_error *why);

struct ch_bus_server_options {
	const struct ch_bus_listen_config *listen;
	struct ch_identity *identity;                    /* borrowed, outlives the server */
	const struct ch_identity_config *identity_files; /* TLS uses the same certificate and key */
	const struct ch_clock *clock;
	const struct ch_bus_route *routes;
	size_t route_count;
	void *state;            /* handed to handlers */
	ch_bus_refusal refusal; /* may be NULL */
	void *refusal_state;
	struct ch_metrics *metrics;
};

/* Answers PAYLOAD_PING for everyone by itself. Starts listen->workers threads. */
struct ch_bus_server;
CH_MUST_USE bool ch_bus_server_start(const struct ch_bus_server_options *options,
				     struct ch_bus_server **server, struct ch_error *err);
/* Takes no more, waits up to drain_us for handlers in flight to reply, then frees. NULL is fine. */
void ch_bus_server_stop(struct ch_bus_server *server, int64_t drain_us);

/* A connection to every replica of one service. Thread-safe; many calls may be in flight. */
struct ch_bus_client;
CH_MUST_USE bool ch_bus_client_open(const char *service, const struct ch_conf_strings *addresses,
				    struct ch_identity *identity,
				    const struct ch_identity_config *identity_files,
				    const struct ch_clock *clock, struct ch_metrics *metrics,
				    struct ch_bus_client **client, struct ch_error *err);
void ch_bus_client_close(struct ch_bus_client *client); /* NULL is fine */

struct ch_bus_call {
	Chancery__PayloadType request_type;
	const ProtobufCMessage *request;
	Chancery__PayloadType reply_type;
	const ProtobufCMessageDescriptor *reply_descriptor;
	const char *tenant;        /* NULL: none */
	const char *trace_id;      /* NULL: none */
	const uint8_t *message_id; /* 16 octets; NULL: a fresh random one. Give the same again to repeat an
				      action safely */
	int64_t timeout_us;        /* whole call with all retries; 0: 5 s */
};

/*
 * Sends and waits for the verified reply that belongs to this very request. Retries (fresh nonce, same
 * message id) on a lost replica, CH_REPLAYED and CH_EXPIRED-by-restart until the deadline. reply   receives a
 * message to free with protobuf_c_message_free_unpacked(reply, NULL) Errors  what the peer answered, or
 * CH_UNAVAILABLE "no answer from vault within 5000 ms", CH_UNAUTHENTICATED for a reply that does not verify
 */
CH_MUST_USE bool ch_bus_call(struct ch_bus_client *client, const struct ch_bus_call *call,
			     ProtobufCMessage **reply, struct ch_error *err);

/* Cleans up any protobuf message: CH_AUTO(ch_proto) reply = NULL; (a ProtobufCMessage *) */
void ch_proto_free(ProtobufCMessage *message);
CH_DEFINE_AUTO_POINTER(ch_proto, ProtobufCMessage, ch_proto_free)

#endif
