/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c: a call: seal, choose a replica, exchange, and again with a fresh envelope, elsewhere too, where
 * what came back (reply.c) says that it can help.
 */
#include "bus/internal.h"

#include <nng/transport/tls/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_TIMEOUT (5 * CH_SECOND)
#define FIRST_PAUSE     (5 * CH_MILLISECOND)
#define LONGEST_PAUSE   (250 * CH_MILLISECOND)
#define SILENCE         (2 * CH_SECOND)
/* between pings of a replica that answers them, but not so that it counts */
#define PROBE_INTERVAL (100 * CH_MILLISECOND)

/* A call on its way. */
struct attempt_state {
	struct ch_bus_client *client;
	const struct ch_bus_call *call;
	const uint8_t *message_id;
	struct ch_view payload;
	int64_t timeout_us, deadline_us; /* monotonic */
	uint64_t tried;                  /* bit i: replica i did not give an answer that counts */
	int attempts;
	struct ch_error last; /* why the attempt before did not do */
};

/* --- waiting -----------------------------------------------------------------------------------------------
 */

void ch_bus_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

bool ch_bus_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_us)
{
	struct timespec deadline = { deadline_us / CH_SECOND, deadline_us % CH_SECOND * 1000 };

	return pthread_cond_timedwait(condition, lock, &deadline) == 0;
}

/* --- open and close ----------------------------------------------------------------------------------------
 */

static void make_metrics(struct ch_bus_client *client, struct ch_metrics *metrics)
{
	char labels[64];

	client->metrics = metrics;
	if (!metrics)
		return;
	snprintf(labels, sizeof(labels), "service=\"%s\"", client->service);
	client->resends =
		ch_metrics_counter(metrics, "chancery_bus_resends_total",
				   "Envelopes sent beyond the first of a call, by service called.", labels);
	client->connected =
		ch_metrics_gauge(metrics, "chancery_bus_replicas_connected",
				 "Replicas that this daemon is connected to, by service.", labels);
	client->dropped = ch_metrics_counter(
		metrics, "chancery_bus_connections_dropped_total",
		"Connections closed because they had ended or answered no pings, by service called.", labels);
}

bool ch_bus_client_open(const char *service, const struct ch_conf_strings *addresses,
			struct ch_identity *identity, const struct ch_clock *clock,
			struct ch_metrics *metrics, struct ch_bus_client **client, struct ch_error *err)
{
	struct ch_bus_client *made = ch_alloc(sizeof(*made));
	CH_AUTO(ch_string) server_name = ch_format("%s.chancery.internal", service);
	bool opened = addresses->count >= 1 && addresses->count <= 64;
	int result = nng_tls_register();

	snprintf(made->service, sizeof(made->service), "%s", service);
	made->identity = identity;
	made->clock = clock;
	pthread_mutex_init(&made->lock, NULL);
	pthread_mutex_init(&made->tls_lock, NULL);
	ch_bus_condition_init(&made->changed);
	make_metrics(made, metrics);
	ch_bus_limit_threads();
	made->replicas = ch_alloc(addresses->count * sizeof(*made->replicas));
	if (!opened)
		ch_fail(err, CH_INVALID, "bus peer %s has %zu addresses, 1 to 64 are possible", service,
			addresses->count);
	else if (result != 0)
		opened = ch_bus_fail_nng(err, result, "bus TLS");
	else
		opened = ch_bus_tls_config(identity, server_name, &made->tls.current, err);
	for (size_t i = 0; opened && i < addresses->count; i++) {
		made->count++;
		opened = ch_replica_open(made, addresses->items[i], &made->replicas[i], err);
	}
	if (!opened) {
		ch_bus_client_close(made);
		return false;
	}
	ch_identity_observe(identity, ch_bus_client_renew, made);
	*client = made;
	return true;
}

void ch_bus_client_close(struct ch_bus_client *client)
{
	bool closed = true;

	if (!client)
		return;
	pthread_mutex_lock(&client->lock);
	client->closing = true;
	pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
	ch_identity_ignore(client->identity, client);
	pthread_mutex_lock(&client->lock);
	while (client->in_flight)
		pthread_cond_wait(&client->changed, &client->lock);
	pthread_mutex_unlock(&client->lock);
	for (size_t i = 0; i < client->count; i++)
		closed = ch_replica_close(&client->replicas[i]) && closed;
	if (!closed) { /* on_pipe may still be called: this stays, what others own is let go */
		pthread_mutex_lock(&client->lock);
		client->connected = client->dropped = NULL;
		pthread_mutex_unlock(&client->lock);
		return;
	}
	ch_bus_tls_free(&client->tls);
	pthread_cond_destroy(&client->changed);
	pthread_mutex_destroy(&client->lock);
	pthread_mutex_destroy(&client->tls_lock);
	free(client->replicas);
	free(client);
}

size_t ch_bus_client_reachable(struct ch_bus_client *client)
{
	size_t reachable = 0;

	pthread_mutex_lock(&client->lock);
	for (size_t i = 0; i < client->count; i++)
		reachable += client->replicas[i].pipe && !client->replicas[i].suspect;
	pthread_mutex_unlock(&client->lock);
	return reachable;
}

/* --- choosing a replica ------------------------------------------------------------------------------------
 */

bool ch_bus_has_alternative(const struct ch_bus_client *client, const struct replica *replica)
{
	for (size_t i = 0; i < client->count; i++)
		if (&client->replicas[i] != replica && client->replicas[i].pipe &&
		    !client->replicas[i].suspect)
			return true;
	return false;
}

/* Lower is better: one whose replies count, then one that answers, then one not tried by this call, then the
 * least busy. */
static uint64_t cost_of(const struct replica *replica, bool tried)
{
	return (uint64_t)replica->distrusted << 41 | (uint64_t)replica->suspect << 40 |
	       (uint64_t)tried << 39 | (uint64_t)(unsigned)replica->in_flight;
}

static struct replica *best_replica(struct ch_bus_client *client, uint64_t tried)
{
	struct replica *best = NULL;
	unsigned turn = client->turn++;

	for (size_t i = 0; i < client->count; i++) {
		size_t index = (i + turn) % client->count;
		struct replica *replica = &client->replicas[index];

		if (!replica->pipe)
			continue;
		if (!best || cost_of(replica, tried >> index & 1) <
				     cost_of(best, tried >> (best - client->replicas) & 1))
			best = replica;
	}
	return best;
}

/* A replica that answered nothing, or nothing that counts, is pinged until it does; no call pays for finding
 * out. */
static void probe_suspects(struct ch_bus_client *client)
{
	int64_t now = ch_monotonic_us();

	for (size_t i = 0; i < client->count; i++) {
		struct replica *replica = &client->replicas[i];
		bool due;

		pthread_mutex_lock(&client->lock);
		due = (replica->suspect || replica->distrusted) && replica->pipe && !replica->probing &&
		      now - replica->probed_us >= PROBE_INTERVAL;
		pthread_mutex_unlock(&client->lock);
		if (due)
			ch_replica_probe(replica);
	}
}

void ch_bus_client_listen(struct ch_bus_client *client)
{
	int64_t now = ch_monotonic_us();

	for (size_t i = 0; client && i < client->count; i++) {
		struct replica *replica = &client->replicas[i];
		bool silent;

		ch_connection_check(replica);
		ch_connection_redial(replica);
		pthread_mutex_lock(&client->lock);
		silent = replica->pipe && !replica->probing && now - replica->heard_us >= SILENCE &&
			 now - replica->probed_us >= SILENCE;
		pthread_mutex_unlock(&client->lock);
		if (silent)
			ch_replica_probe(replica);
	}
}

/* Waits until a replica is connected, at most to the deadline: then NULL. */
static struct replica *choose_replica(struct attempt_state *state)
{
	struct ch_bus_client *client = state->client;
	struct replica *replica;

	if (client->count > 1)
		probe_suspects(client);
	pthread_mutex_lock(&client->lock);
	for (;;) {
		replica = client->closing ? NULL : best_replica(client, state->tried);
		if (replica || client->closing || ch_monotonic_us() >= state->deadline_us)
			break;
		ch_bus_wait(&client->changed, &client->lock, state->deadline_us);
	}
	pthread_mutex_unlock(&client->lock);
	return replica;
}

/* --- one attempt -------------------------------------------------------------------------------------------
 */

static bool seal_request(const struct attempt_state *state, struct ch_bytes *envelope, uint8_t digest[32],
			 struct ch_error *err)
{
	const struct ch_bus_call *call = state->call;
	Chancery__Body body = CHANCERY__BODY__INIT;

	body.message_id =
		(ProtobufCBinaryData){ CH_ENVELOPE_ID_SIZE, (uint8_t *)(uintptr_t)state->message_id };
	body.deadline_us = ch_clock_now_us(state->client->clock) + state->deadline_us - ch_monotonic_us();
	body.to_service = state->client->service;
	if (call->tenant)
		body.tenant = (char *)(uintptr_t)call->tenant;
	if (call->trace_id)
		body.trace_id = (char *)(uintptr_t)call->trace_id;
	body.payload_type = call->request_type;
	body.payload =
		(ProtobufCBinaryData){ state->payload.size, (uint8_t *)(uintptr_t)state->payload.data };
	return ch_envelope_seal(state->client->identity, state->client->clock, &body, envelope, digest, err);
}

/* --- a call ------------------------------------------------------------------------------------------------
 */

/* A pause that grows, or what the peer asked for. False: the deadline comes first. */
static bool pause_before_retry(const struct attempt_state *state)
{
	int64_t pause = FIRST_PAUSE << (state->attempts < 6 ? state->attempts : 6);
	int64_t left = state->deadline_us - ch_monotonic_us();
	struct timespec time;

	if (state->last.retry_after_ms)
		pause = (int64_t)state->last.retry_after_ms * CH_MILLISECOND;
	pause = pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE;
	if (pause >= left)
		return false;
	time = (struct timespec){ pause / CH_SECOND, pause % CH_SECOND * 1000 };
	nanosleep(&time, NULL);
	return true;
}

static bool failed(const struct ch_error *why, struct ch_error *err)
{
	if (err) {
		*err = *why;
		if (err->origin == CH_ORIGIN_LOCAL) /* an older version's error: whose it is stays unknown */
			err->origin = CH_ORIGIN_HANDLER;
	}
	return false;
}

static bool give_up(const struct attempt_state *state, const char *why, struct ch_error *err)
{
	if (state->last.code != CH_OK)
		return failed(&state->last, err);
	ch_fail(err, CH_UNAVAILABLE, "no answer from %s within %lld ms (%s)", state->client->service,
		(long long)(state->timeout_us / 1000), why);
	if (err)
		err->origin = CH_ORIGIN_TRANSPORT;
	return false;
}

enum attempt_end { ATTEMPT_DONE, ATTEMPT_FAILED, ATTEMPT_AGAIN };

/* Is a replica connected that this call has not tried, and that nothing is known against? */
static bool has_untried(const struct attempt_state *state)
{
	struct ch_bus_client *client = state->client;
	bool found = false;

	pthread_mutex_lock(&client->lock);
	for (size_t i = 0; i < client->count; i++)
		found = found || (client->replicas[i].pipe && !client->replicas[i].suspect &&
				  !client->replicas[i].distrusted && !(state->tried >> i & 1));
	pthread_mutex_unlock(&client->lock);
	return found;
}

static void note_distrust(struct replica *replica, const struct ch_error *why)
{
	struct ch_bus_client *client = replica->client;
	bool first;

	pthread_mutex_lock(&client->lock);
	first = !replica->distrusted;
	replica->distrusted = true;
	replica->probed_us = ch_monotonic_us();
	pthread_mutex_unlock(&client->lock);
	if (first)
		ch_log_warn("bus: %s at %s is passed over: %s", client->service, replica->address,
			    why->message);
}

/* After an attempt without the reply. False: the call has failed with *err. */
static bool try_again(struct attempt_state *state, struct replica *replica, enum ch_bus_next next,
		      const struct ch_error *why, struct ch_error *err)
{
	state->last = *why;
	if (next == CH_BUS_FINAL)
		return failed(why, err);
	if (next == CH_BUS_DISTRUST || next == CH_BUS_LEAVE)
		note_distrust(replica, why);
	if (next != CH_BUS_AGAIN)
		state->tried |= UINT64_C(1) << (replica - state->client->replicas);
	if (next == CH_BUS_DISTRUST || next == CH_BUS_OTHERS)
		return has_untried(state) || failed(why, err);
	if ((next == CH_BUS_AT_ONCE || next == CH_BUS_LEAVE) && has_untried(state))
		return true;
	return pause_before_retry(state) || give_up(state, "connection lost", err);
}

static enum ch_bus_next after_exchange(enum exchange_result result, const struct ch_error *why)
{
	return result == EXCHANGE_REPLY ? ch_bus_next(why) : CH_BUS_AT_ONCE;
}

static enum attempt_end attempt(struct attempt_state *state, ProtobufCMessage **reply, struct ch_error *err)
{
	struct replica *replica = choose_replica(state);
	CH_AUTO(ch_bytes) request = CH_NONE, answer = CH_NONE;
	uint8_t digest[32];
	struct ch_error why = CH_NONE;
	enum exchange_result result;

	if (!replica) {
		give_up(state, "no replica is connected", err);
		return ATTEMPT_FAILED;
	}
	if (!seal_request(state, &request, digest, err))
		return ATTEMPT_FAILED;
	if (state->attempts++) {
		if (state->client->resends)
			ch_metric_add(state->client->resends, 1);
		if (state->call->sent_again)
			*state->call->sent_again = true;
	}
	result = ch_replica_exchange(replica, ch_view_of(&request), state->deadline_us, &answer);
	if (result == EXCHANGE_TIMEOUT) {
		give_up(state, "connected, but no reply", err);
		return ATTEMPT_FAILED;
	}
	if (result == EXCHANGE_REPLY &&
	    ch_bus_read_reply(state->client, state->call, ch_view_of(&answer), digest, reply, &why))
		return ATTEMPT_DONE;
	return try_again(state, replica, after_exchange(result, &why), &why, err) ? ATTEMPT_AGAIN
										  : ATTEMPT_FAILED;
}

static void count_call(struct ch_bus_client *client, bool done, const struct ch_error *err)
{
	char labels[96];

	if (!client->metrics)
		return;
	snprintf(labels, sizeof(labels), "service=\"%s\",outcome=\"%s\"", client->service,
		 ch_code_name(done ? CH_OK : err->code));
	ch_metric_add(ch_metrics_counter(client->metrics, "chancery_bus_calls_total",
					 "Calls made to other services, by service and outcome.", labels),
		      1);
}

static void enter(struct ch_bus_client *client, int change)
{
	pthread_mutex_lock(&client->lock);
	client->in_flight += change;
	if (client->closing)
		pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
}

bool ch_bus_call(struct ch_bus_client *client, const struct ch_bus_call *call, ProtobufCMessage **reply,
		 struct ch_error *err)
{
	CH_AUTO(ch_bytes) payload = CH_NONE;
	uint8_t fresh_id[CH_ENVELOPE_ID_SIZE];
	struct ch_error why = CH_NONE;
	struct attempt_state state = { .client = client, .call = call };
	enum attempt_end end;

	ch_random(fresh_id, sizeof(fresh_id));
	payload.size = protobuf_c_message_get_packed_size(call->request);
	payload.data = ch_alloc(payload.size);
	protobuf_c_message_pack(call->request, payload.data);
	state.message_id = call->message_id ? call->message_id : fresh_id;
	state.payload = ch_view_of(&payload);
	state.timeout_us = call->timeout_us > 0 ? call->timeout_us : DEFAULT_TIMEOUT;
	state.deadline_us = ch_monotonic_us() + state.timeout_us;
	enter(client, 1);
	do {
		end = attempt(&state, reply, &why);
	} while (end == ATTEMPT_AGAIN);
	count_call(client, end == ATTEMPT_DONE, &why);
	enter(client, -1);
	if (end != ATTEMPT_DONE && err)
		*err = why;
	return end == ATTEMPT_DONE;
}
