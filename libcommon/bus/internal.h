/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share and nobody else needs. */
#ifndef CH_BUS_INTERNAL_H
#define CH_BUS_INTERNAL_H

#include "bus/bus.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>

#define ENVELOPE_OVERHEAD (64 * 1024) /* certificate, signature and the other members of a body */

typedef nng_tls_config *ch_auto_tls_config;
void ch_cleanup_tls_config(nng_tls_config **config);

/* Mutual TLS with the identity's certificate and key. server_name NULL: for a server, which demands a client
 * certificate. (tls.c) */
CH_MUST_USE bool ch_bus_tls_config(struct ch_identity *identity, const char *server_name,
				   nng_tls_config **config, struct ch_error *err);

/* TLS of the identity as it is now, in place of the one that was set. nng may be about to use the one before,
 * so that is kept until the next renewal. (renew.c) */
struct ch_bus_tls {
	nng_tls_config *current, *before;
};
void ch_bus_tls_free(struct ch_bus_tls *tls);
/* ch_identity_changed of a client: new TLS for connections that are made from now on. (renew.c) */
void ch_bus_client_renew(void *client);
/* ch_identity_changed of a server: new TLS for connections that come from now on. (server.c) */
void ch_bus_server_renew(void *server);
/* False: nng does not end it in time, and may still call what was set for it: that must stay as long as the
 * process. (close.c) */
CH_MUST_USE bool ch_bus_close_socket(nng_socket socket);
/* Once for the process, after nng_tls_register: most of nng's threads sleep. (threads.c) */
void ch_bus_limit_threads(void);
bool ch_bus_fail_nng(struct ch_error *err, int result, const char *format, ...) CH_PRINTF(3, 4);

/* --- dispatch.c: from the octets of a request to those of its reply, without a socket ---------------------
 */
struct ch_bus_dispatcher;
struct ch_bus_dispatcher *ch_bus_dispatcher_new(const struct ch_bus_server_options *options);
void ch_bus_dispatcher_free(struct ch_bus_dispatcher *dispatcher);
/* The largest envelope that any route takes. */
size_t ch_bus_dispatcher_cap(const struct ch_bus_dispatcher *dispatcher);
/* Thread-safe. False where not even an error reply could be sealed. */
CH_MUST_USE bool ch_bus_dispatch(struct ch_bus_dispatcher *dispatcher, struct ch_view request,
				 const char *address, struct ch_bytes *reply, struct ch_error *err);
/* From now on every request is refused (CH_UNAVAILABLE of the transport: its caller goes to another replica);
 * waits up to drain_us for the handlers that are at work. Returns how many still are. */
size_t ch_bus_dispatcher_drain(struct ch_bus_dispatcher *dispatcher, int64_t drain_us);

/* --- replica.c: one connection of a client ----------------------------------------------------------------
 */
struct slot;
struct replica {
	struct ch_bus_client *client;
	char *address;
	bool open;
	nng_socket socket;
	nng_dialer dialer;
	/* guarded by client->lock: */
	int pipe; /* nng's id of the connection; 0: none */
	int in_flight;
	bool suspect;      /* did not answer in time, nor a ping; last choice until it is heard again */
	bool distrusted;   /* its replies do not count (its clock, its identity), or it stops; until a ping's
			      does */
	int64_t heard_us;  /* monotonic: when it answered last */
	int64_t probed_us; /* monotonic: when the ping under way began */
	int unanswered;    /* pings since it was heard last */
	int64_t away_us;   /* monotonic: when `pipe` changed, or the dialer was made */
	int64_t patience_us; /* with that dialer */
	struct slot *idle;
	struct slot *probe; /* sends pings */
	bool probing;
	uint8_t probe_digest[32]; /* of the ping under way; its sender's, then its callback's */
};

struct ch_bus_client {
	char service[sizeof(((struct ch_peer *)0)->service)];
	struct ch_identity *identity;
	const struct ch_clock *clock;
	struct ch_metrics *metrics;
	struct ch_metric *resends, *connected, *dropped;
	pthread_mutex_t tls_lock; /* taken before `lock` */
	struct ch_bus_tls tls;    /* guarded by tls_lock once it is open */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a replica connected, or a call ended */
	bool closing;
	int in_flight;
	unsigned turn;
	struct replica *replicas;
	size_t count;
};

enum exchange_result {
	EXCHANGE_REPLY,
	EXCHANGE_LOST, /* the connection went away: the request may or may not have been handled */
	EXCHANGE_HUNG, /* connected, but answers nothing; given up because another replica is there */
	EXCHANGE_TIMEOUT,
};
CH_MUST_USE bool ch_replica_open(struct ch_bus_client *client, const char *address, struct replica *replica,
				 struct ch_error *err);
/* False: its connections may still call it, see ch_bus_close_socket. */
CH_MUST_USE bool ch_replica_close(struct replica *replica);
/* Sends one envelope and waits for what comes back, at most until deadline_us (monotonic). */
enum exchange_result ch_replica_exchange(struct replica *replica, struct ch_view request, int64_t deadline_us,
					 struct ch_bytes *reply);
/* Sends a ping in the background unless one is under way. */
void ch_replica_probe(struct replica *replica);

/* --- connection.c: how a replica's connection is made, and made again -------------------------------------
 * Both give nng's result.
 */
CH_MUST_USE int ch_connection_set_up(struct replica *replica);
CH_MUST_USE int ch_connection_dial(struct replica *replica);
/* Closes a connection that has ended without nng's noticing, or answers no pings. */
void ch_connection_check(struct replica *replica);
/* Begins anew where there has been no connection for some seconds. */
void ch_connection_redial(struct replica *replica);

/* Has its TCP ended? nng can no longer say then whose it was. Of a pipe that is gone: true. */
bool ch_bus_has_ended(nng_pipe pipe);

/* --- callers.c: a server's connections --------------------------------------------------------------------
 */
struct ch_bus_callers;
/* idle_us: how long a caller may send no whole message. metrics may be NULL. */
struct ch_bus_callers *ch_bus_callers_new(int64_t idle_us, struct ch_metrics *metrics);
void ch_bus_callers_free(struct ch_bus_callers *callers);
/* Instead, where nng may still tell of connections: it counts no more. */
void ch_bus_callers_leave(struct ch_bus_callers *callers);
/* For nng_pipe_notify, of what is added and what is removed; context: the callers. */
void ch_bus_callers_event(nng_pipe pipe, nng_pipe_ev event, void *context);
void ch_bus_callers_heard(struct ch_bus_callers *callers, nng_pipe pipe);

/* --- reply.c ----------------------------------------------------------------------------------------------
 */
/* *reply is the answer to the request of this digest, or *err (not NULL) says who refused and why. */
CH_MUST_USE bool ch_bus_read_reply(const struct ch_bus_client *client, const struct ch_bus_call *call,
				   struct ch_view envelope, const uint8_t digest[32],
				   ProtobufCMessage **reply, struct ch_error *err);
enum ch_bus_next {
	CH_BUS_FINAL,
	CH_BUS_AGAIN,     /* a fresh envelope, any replica */
	CH_BUS_ELSEWHERE, /* until the deadline, rather another replica, after a pause */
	CH_BUS_AT_ONCE,   /* the same, without a pause where another replica is there */
	CH_BUS_OTHERS,    /* each other replica once */
	CH_BUS_DISTRUST,  /* the same, and this one is passed over from now on */
	CH_BUS_LEAVE,     /* as CH_BUS_AT_ONCE, and this one is passed over from now on: it is stopping */
};
/* What follows from an error that ch_bus_read_reply gave. */
enum ch_bus_next ch_bus_next(const struct ch_error *why);

/* --- client.c ---------------------------------------------------------------------------------------------
 */
/* Another replica that could take over from this one now. The caller holds client->lock. */
bool ch_bus_has_alternative(const struct ch_bus_client *client, const struct replica *replica);
/* Waits on `condition` with `lock` held until deadline_us (monotonic). False: timed out. */
bool ch_bus_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_us);
void ch_bus_condition_init(pthread_cond_t *condition); /* on the monotonic clock */

#endif
