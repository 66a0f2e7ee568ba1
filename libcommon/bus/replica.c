/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replica.c: a client's exchanges with one replica: many in flight, each with its own nng context; notices
 * when the replica is connected but answers nothing. Called from client.c; the connection is connection.c's.
 */
#include "bus/internal.h"

#include <nng/protocol/reqrep0/req.h>

#include <stdlib.h>
#include <string.h>

#define PATIENCE       (250 * CH_MILLISECOND) /* silence before a ping, and before the ping is given up */
#define PATIENCE_SHARE 8                      /* or this part of the time left, when that is less */
#define PROBE_TIMEOUT  (2 * CH_SECOND)
#define GLANCE         (20 * CH_MILLISECOND) /* how often a waiting exchange looks after its connection */

/* One exchange: send, then receive, both on one aio whose callback goes on by itself. */
struct slot {
	struct replica *replica;
	struct slot *next;
	int pipe; /* the connection when the exchange began; 0: none */
	nng_ctx context;
	nng_aio *aio;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t finished;
	bool receiving, done;
	int result;
	nng_msg *reply;
};

/* --- slots -------------------------------------------------------------------------------------------------
 */

static void finish(struct slot *slot, int result, nng_msg *reply)
{
	pthread_mutex_lock(&slot->lock);
	slot->done = true;
	slot->result = result;
	slot->reply = reply;
	pthread_cond_signal(&slot->finished);
	pthread_mutex_unlock(&slot->lock);
}

static void advance(void *context)
{
	struct slot *slot = context;
	int result = nng_aio_result(slot->aio);

	if (result != 0) {
		if (!slot->receiving)
			nng_msg_free(nng_aio_get_msg(slot->aio));
		nng_aio_set_msg(slot->aio, NULL);
		finish(slot, result, NULL);
		return;
	}
	if (slot->receiving) {
		finish(slot, 0, nng_aio_get_msg(slot->aio));
		return;
	}
	slot->receiving = true;
	nng_ctx_recv(slot->context, slot->aio);
}

static void free_slot(struct slot *slot)
{
	if (!slot)
		return;
	nng_aio_free(slot->aio);
	nng_ctx_close(slot->context);
	nng_msg_free(slot->reply);
	pthread_cond_destroy(&slot->finished);
	pthread_mutex_destroy(&slot->lock);
	free(slot);
}

static struct slot *new_slot(struct replica *replica)
{
	struct slot *slot = ch_alloc(sizeof(*slot));

	slot->replica = replica;
	pthread_mutex_init(&slot->lock, NULL);
	ch_bus_condition_init(&slot->finished);
	slot->done = true;
	if (nng_ctx_open(&slot->context, replica->socket) != 0 ||
	    nng_aio_alloc(&slot->aio, advance, slot) != 0) {
		free_slot(slot);
		return NULL;
	}
	return slot;
}

static struct slot *take_slot(struct replica *replica)
{
	struct slot *slot;
	int pipe;

	pthread_mutex_lock(&replica->client->lock);
	slot = replica->idle;
	if (slot)
		replica->idle = slot->next;
	replica->in_flight++;
	pipe = replica->pipe;
	pthread_mutex_unlock(&replica->client->lock);
	if (!slot)
		slot = new_slot(replica);
	if (slot)
		slot->pipe = pipe;
	return slot;
}

static void give_slot(struct replica *replica, struct slot *slot)
{
	pthread_mutex_lock(&replica->client->lock);
	replica->in_flight--;
	if (slot) {
		slot->next = replica->idle;
		replica->idle = slot;
	}
	pthread_mutex_unlock(&replica->client->lock);
}

static int milliseconds_until(int64_t deadline_us)
{
	int64_t left = (deadline_us - ch_monotonic_us()) / 1000 + 1;

	return left < 1 ? 1 : left > 3600 * 1000 ? 3600 * 1000 : (int)left;
}

static bool begin(struct slot *slot, struct ch_view request, int64_t deadline_us)
{
	nng_msg *message = NULL;

	if (nng_msg_alloc(&message, 0) != 0)
		return false;
	if (nng_msg_append(message, request.data, request.size) != 0) {
		nng_msg_free(message);
		return false;
	}
	nng_aio_wait(slot->aio); /* until the callback of the exchange before has returned */
	slot->receiving = slot->done = false;
	slot->result = 0;
	slot->reply = NULL;
	nng_aio_set_timeout(slot->aio, milliseconds_until(deadline_us));
	nng_aio_set_msg(slot->aio, message);
	nng_ctx_send(slot->context, slot->aio);
	return true;
}

/* Ends an exchange early. The callback may be between sending and receiving, where an abort finds nothing to
 * end: so again until it is done. The caller holds slot->lock. */
static void abandon(struct slot *slot)
{
	while (!slot->done) {
		pthread_mutex_unlock(&slot->lock);
		nng_aio_abort(slot->aio, NNG_ECANCELED);
		pthread_mutex_lock(&slot->lock);
		if (!slot->done)
			ch_bus_wait(&slot->finished, &slot->lock, ch_monotonic_us() + 5 * CH_MILLISECOND);
	}
	nng_msg_free(slot->reply);
	slot->reply = NULL;
}

/* --- is it alive? ------------------------------------------------------------------------------------------
 */

static void heard(struct replica *replica)
{
	pthread_mutex_lock(&replica->client->lock);
	replica->heard_us = ch_monotonic_us();
	replica->suspect = false;
	replica->unanswered = 0;
	pthread_mutex_unlock(&replica->client->lock);
}

/* A pong that counts ends distrust. */
static void weigh_pong(struct replica *replica, nng_msg *pong)
{
	static const struct ch_bus_call call = { .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PONG,
						 .reply_descriptor = &chancery__pong__descriptor };
	struct ch_bus_client *client = replica->client;
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;
	bool ended;

	if (!ch_bus_read_reply(client, &call, ch_view(nng_msg_body(pong), nng_msg_len(pong)),
			       replica->probe_digest, &reply, &err))
		return;
	pthread_mutex_lock(&client->lock);
	ended = replica->distrusted;
	replica->distrusted = false;
	pthread_mutex_unlock(&client->lock);
	if (ended)
		ch_log_info("bus: %s at %s is believed again", client->service, replica->address);
}

static void probe_finished(void *context)
{
	struct slot *slot = context;
	struct replica *replica = slot->replica;
	int result = nng_aio_result(slot->aio);

	if (result == 0 && !slot->receiving) {
		slot->receiving = true;
		nng_ctx_recv(slot->context, slot->aio);
		return;
	}
	if (result == 0) {
		heard(replica);
		weigh_pong(replica, nng_aio_get_msg(slot->aio));
	}
	nng_msg_free(nng_aio_get_msg(slot->aio)); /* the pong, or the ping that was not sent */
	nng_aio_set_msg(slot->aio, NULL);
	pthread_mutex_lock(&replica->client->lock);
	replica->probing = false;
	replica->unanswered += result == NNG_ETIMEDOUT;
	pthread_mutex_unlock(&replica->client->lock);
}

static bool seal_ping(struct ch_bus_client *client, struct ch_bytes *envelope, uint8_t digest[32])
{
	Chancery__Body body = CHANCERY__BODY__INIT;
	uint8_t id[CH_ENVELOPE_ID_SIZE];

	ch_random(id, sizeof(id));
	body.message_id = (ProtobufCBinaryData){ sizeof(id), id };
	body.to_service = client->service;
	body.deadline_us = ch_clock_now_us(client->clock) + PROBE_TIMEOUT;
	body.payload_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING;
	return ch_envelope_seal(client->identity, client->clock, &body, envelope, digest, NULL);
}

void ch_replica_probe(struct replica *replica)
{
	struct ch_bus_client *client = replica->client;
	CH_AUTO(ch_bytes) ping = CH_NONE;
	bool mine;

	pthread_mutex_lock(&client->lock);
	mine = !replica->probing && !client->closing;
	if (mine) {
		replica->probing = true;
		replica->probed_us = ch_monotonic_us();
	}
	pthread_mutex_unlock(&client->lock);
	if (!mine)
		return;
	if (!seal_ping(client, &ping, replica->probe_digest) ||
	    !begin(replica->probe, ch_view_of(&ping), ch_monotonic_us() + PROBE_TIMEOUT)) {
		pthread_mutex_lock(&client->lock);
		replica->probing = false;
		pthread_mutex_unlock(&client->lock);
	}
}

enum verdict { WAIT, PROBE, GIVE_UP };

/* Nothing comes back over a connection that is gone (its replica was killed), nor goes out before there is
 * another. */
static bool is_cut_off(const struct replica *replica, int pipe)
{
	return replica->pipe == 0 || (pipe != 0 && replica->pipe != pipe);
}

/* What to do with an exchange that has waited a while: a replica that answered anything since is only slow.
 * With the lock held. */
static enum verdict weigh(struct replica *replica, int pipe, int64_t began_us, int64_t patience_us)
{
	int64_t now = ch_monotonic_us();

	if (!ch_bus_has_alternative(replica->client, replica))
		return WAIT;
	if (is_cut_off(replica, pipe))
		return GIVE_UP;
	if (now - began_us < patience_us || replica->heard_us > now - patience_us)
		return WAIT;
	if (replica->suspect && replica->heard_us < began_us)
		return GIVE_UP;
	if (!replica->probing)
		return PROBE;
	if (now - replica->probed_us < patience_us)
		return WAIT;
	replica->suspect = true;
	return GIVE_UP;
}

static enum verdict judge(struct replica *replica, int pipe, int64_t began_us, int64_t patience_us)
{
	enum verdict verdict;

	pthread_mutex_lock(&replica->client->lock);
	verdict = weigh(replica, pipe, began_us, patience_us);
	pthread_mutex_unlock(&replica->client->lock);
	return verdict;
}

/* --- an exchange -------------------------------------------------------------------------------------------
 */

/* Waits for the reply with slot->lock held. */
static enum exchange_result wait_for_reply(struct replica *replica, struct slot *slot, int64_t deadline_us)
{
	int64_t began = ch_monotonic_us();
	int64_t share = (deadline_us - began) / PATIENCE_SHARE;
	int64_t patience = share < PATIENCE ? share : PATIENCE;
	int64_t pause = patience < GLANCE ? patience : GLANCE;

	while (!slot->done) {
		int64_t now = ch_monotonic_us();
		int64_t until = now + pause < deadline_us ? now + pause : deadline_us;
		enum verdict verdict;

		if (now >= deadline_us)
			return EXCHANGE_TIMEOUT;
		if (ch_bus_wait(&slot->finished, &slot->lock, until) || slot->done)
			continue;
		pthread_mutex_unlock(&slot->lock);
		ch_connection_check(replica);
		verdict = judge(replica, slot->pipe, began, patience);
		if (verdict == PROBE)
			ch_replica_probe(replica);
		pthread_mutex_lock(&slot->lock);
		if (verdict == GIVE_UP && !slot->done)
			return EXCHANGE_HUNG;
	}
	if (slot->result == 0)
		return EXCHANGE_REPLY;
	return slot->result == NNG_ETIMEDOUT ? EXCHANGE_TIMEOUT : EXCHANGE_LOST;
}

enum exchange_result ch_replica_exchange(struct replica *replica, struct ch_view request, int64_t deadline_us,
					 struct ch_bytes *reply)
{
	struct slot *slot = take_slot(replica);
	enum exchange_result result = EXCHANGE_LOST;

	if (slot && begin(slot, request, deadline_us)) {
		pthread_mutex_lock(&slot->lock);
		result = wait_for_reply(replica, slot, deadline_us);
		if (result == EXCHANGE_REPLY) {
			*reply = ch_bytes_copy(ch_view(nng_msg_body(slot->reply), nng_msg_len(slot->reply)));
			nng_msg_free(slot->reply);
			slot->reply = NULL;
		} else {
			abandon(slot);
		}
		pthread_mutex_unlock(&slot->lock);
	}
	give_slot(replica, slot);
	if (result == EXCHANGE_REPLY)
		heard(replica);
	return result;
}

/* --- open and close ----------------------------------------------------------------------------------------
 */

static bool new_probe(struct replica *replica)
{
	replica->probe = new_slot(replica);
	if (!replica->probe)
		return false;
	nng_aio_free(replica->probe->aio);
	replica->probe->aio = NULL;
	return nng_aio_alloc(&replica->probe->aio, probe_finished, replica->probe) == 0;
}

bool ch_replica_open(struct ch_bus_client *client, const char *address, struct replica *replica,
		     struct ch_error *err)
{
	int result = nng_req0_open(&replica->socket);

	replica->client = client;
	replica->address = ch_strdup(address);
	replica->open = result == 0;
	if (result == 0)
		result = ch_connection_set_up(replica);
	if (result == 0 && !new_probe(replica))
		result = NNG_ENOMEM;
	if (result == 0)
		result = ch_connection_dial(replica);
	return result == 0 || ch_bus_fail_nng(err, result, "bus peer %s at '%s'", client->service, address);
}

bool ch_replica_close(struct replica *replica)
{
	if (replica->probe) {
		nng_aio_stop(replica->probe->aio);
		free_slot(replica->probe);
	}
	while (replica->idle) {
		struct slot *slot = replica->idle;

		replica->idle = slot->next;
		free_slot(slot);
	}
	if (replica->open && !ch_bus_close_socket(replica->socket))
		return false;
	free(replica->address);
	return true;
}
