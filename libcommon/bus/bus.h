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

/* A request as a handler sees it: verified, permitted, decoded, within its caps. All borrowed for the length
 * of the call. */
struct ch_bus_request {
	const struct ch_peer *sender;
	const char *address;                          /* the sender's network address; "": not known */
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

#define CH_BUS_MOST_REPEATED 64

/* What a service takes, and from whom: each service has one table of these, in its own folder. */
struct ch_bus_route {
	Chancery__PayloadType request_type;
	const ProtobufCMessageDescriptor *request_descriptor;
	const char *senders; /* the services that may send it, separated by spaces: "one another" */
	size_t payload_cap;  /* octets */
	Chancery__PayloadType reply_type;
	ch_bus_handler handler; /* called from several threads at once */
	size_t most_repeated;   /* elements of any repeated field, at any depth; 0: CH_BUS_MOST_REPEATED */
};

/* A row: CH_BUS_ROUTE(GET_THING, get_thing_request, "one another", 4096, THING_REPLY, handle_get_thing, 0) */
#define CH_BUS_ROUTE(request, message, from, cap, reply, function, repeated)                 \
	{                                                                                    \
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_##request,                   \
		.request_descriptor = &chancery__##message##__descriptor, .senders = from,   \
		.payload_cap = (cap), .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_##reply, \
		.handler = (function), .most_repeated = (repeated),                          \
	}

/* Is that service one of the route's senders? */
bool ch_bus_route_takes(const struct ch_bus_route *route, const char *service);

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
	struct ch_identity
		*identity; /* borrowed, outlives the server; TLS uses the same certificate and key */
	const struct ch_clock *clock;
	const struct ch_bus_route *routes;
	size_t route_count;
	void *state;            /* handed to handlers */
	ch_bus_refusal refusal; /* may be NULL */
	void *refusal_state;
	struct ch_metrics *metrics;
	int64_t idle_us; /* how long a connection may bring no whole message; 0: two minutes */
};

/* Answers PAYLOAD_PING for everyone by itself. Starts listen->workers threads. */
struct ch_bus_server;
CH_MUST_USE bool ch_bus_server_start(const struct ch_bus_server_options *options,
				     struct ch_bus_server **server, struct ch_error *err);
/* Refuses what is new (CH_UNAVAILABLE of the transport: callers go to another replica), waits up to drain_us
 * for handlers in flight to reply, then closes and frees. NULL is fine. */
void ch_bus_server_stop(struct ch_bus_server *server, int64_t drain_us);

/* A connection to every replica of one service. Thread-safe; many calls may be in flight. When the identity
 * is reloaded, messages are signed with the new one at once, and connections made later have it too. */
struct ch_bus_client;
CH_MUST_USE bool ch_bus_client_open(const char *service, const struct ch_conf_strings *addresses,
				    struct ch_identity *identity, const struct ch_clock *clock,
				    struct ch_metrics *metrics, struct ch_bus_client **client,
				    struct ch_error *err);
/* Replicas that are connected and, when they were last asked, answered. */
size_t ch_bus_client_reachable(struct ch_bus_client *client);
void ch_bus_client_close(struct ch_bus_client *client); /* NULL is fine */

/* Pings the replicas that have said nothing for two seconds, without waiting: what they answer tells whether
 * they live, and their clocks (envelope/peer_clocks.h). A connection that is dead is made anew. To be called
 * every second or so. NULL is fine. */
void ch_bus_client_listen(struct ch_bus_client *client);

/* A service that a daemon calls: each daemon has one table of these, in its own folder. */
struct ch_bus_peer {
	const char *service;   /* its name, and the key of its replicas' addresses under `peers` */
	enum ch_ready without; /* what the daemon is while it reaches no replica: failed where it can do none
				  of its job */
	const char *meaning;   /* of that to who asks it: "serving cached" */
	/* NULL, or asked every two seconds while one is reached: where it fails with CH_UNAVAILABLE the
	 * daemon is degraded, as the peer is there and says itself why it cannot. (libcommon/health) */
	bool (*ask)(struct ch_bus_client *client, struct ch_error *err);
};

struct ch_bus_peers_options {
	const struct ch_bus_peer *rows; /* static */
	size_t count;
	const struct ch_daemon_config *config; /* instance, and the addresses */
	struct ch_identity *identity;          /* borrowed, outlives the clients, as the clock and metrics */
	const struct ch_clock *clock;
	struct ch_metrics *metrics;
};

/* A client of each row. CH_INVALID "peers.one is empty: this daemon calls it". (peers.c) */
struct ch_bus_peers;
CH_MUST_USE bool ch_bus_peers_open(const struct ch_bus_peers_options *options, struct ch_bus_peers **peers,
				   struct ch_error *err);
/* The client of a row; borrowed. NULL where peers is NULL or has no such row. */
struct ch_bus_client *ch_bus_peers_client(const struct ch_bus_peers *peers, const char *service);
/* The row of that index and its client, both borrowed; NULL after the last. */
const struct ch_bus_peer *ch_bus_peers_row(const struct ch_bus_peers *peers, size_t index,
					   struct ch_bus_client **client);
void ch_bus_peers_close(struct ch_bus_peers *peers); /* NULL is fine */

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
	bool *sent_again; /* NULL, or set true when the request goes out once more: whoever got it before may
			     have done it, whatever the answer says */
};

/*
 * Sends and waits for the verified reply that belongs to this very request. Retries (fresh nonce, same
 * message id) on a lost replica, CH_REPLAYED and CH_EXPIRED-by-restart until the deadline. reply   receives a
 * message to free with protobuf_c_message_free_unpacked(reply, NULL) Errors  what the peer answered, or
 * CH_UNAVAILABLE "no answer from example within 5000 ms", CH_UNAUTHENTICATED for a reply that does not verify
 */
CH_MUST_USE bool ch_bus_call(struct ch_bus_client *client, const struct ch_bus_call *call,
			     ProtobufCMessage **reply, struct ch_error *err);

/* Cleans up any protobuf message: CH_AUTO(ch_proto) reply = NULL; (a ProtobufCMessage *) */
void ch_proto_free(ProtobufCMessage *message);
CH_DEFINE_AUTO_POINTER(ch_proto, ProtobufCMessage, ch_proto_free)

#endif
