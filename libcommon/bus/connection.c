/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.c: the connection to one replica: nng makes it, and makes it again when it ends. Where nng does
 * not notice the end (docs/decisions/0036), this does. Called from replica.c and client.c.
 */
#include "bus/internal.h"

#include <nng/protocol/reqrep0/req.h>

#define RECONNECT_FASTEST_MS 20
#define RECONNECT_SLOWEST_MS 250
#define UNANSWERED_PINGS     5 /* each has waited two seconds */
/* Without a connection the dialer is made anew, it may wait for ever; each time it gets twice as long. */
#define SHORTEST_AWAY (3 * CH_SECOND)
#define LONGEST_AWAY  (24 * CH_SECOND)

/* A pipe that fails while it starts may be reported gone before it is reported there, or only gone: hence the
 * id, and ch_connection_check for the one of which no end will be reported any more. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *context)
{
	struct replica *replica = context;
	struct ch_bus_client *client = replica->client;
	int id = nng_pipe_id(pipe);
	bool added = event == NNG_PIPE_EV_ADD_POST;
	bool changed;

	pthread_mutex_lock(&client->lock);
	changed = added ? replica->pipe == 0 : replica->pipe == id;
	if (changed && client->connected)
		ch_metric_change(client->connected, added ? 1 : -1);
	if (added || changed)
		replica->pipe = added ? id : 0;
	replica->suspect = false;
	replica->unanswered = 0;
	replica->away_us = ch_monotonic_us();
	replica->patience_us = SHORTEST_AWAY;
	pthread_cond_broadcast(&client->changed);
	changed = changed && !client->closing;
	pthread_mutex_unlock(&client->lock);
	if (changed)
		ch_log_info("bus: %s %s at %s", added ? "connected to" : "lost", client->service,
			    replica->address);
}

int ch_connection_set_up(struct replica *replica)
{
	nng_socket socket = replica->socket;
	int result = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, CH_ENVELOPE_CAP + 1024);

	/* nng must not send again by itself: it would repeat the nonce. */
	if (result == 0)
		result = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
	if (result == 0)
		result = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, RECONNECT_FASTEST_MS);
	if (result == 0)
		result = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, RECONNECT_SLOWEST_MS);
	if (result == 0)
		result = nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, on_pipe, replica);
	if (result == 0)
		result = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_pipe, replica);
	return result;
}

static int dial(struct replica *replica, nng_tls_config *tls, nng_dialer *dialer)
{
	CH_AUTO(ch_string) url = ch_format("tls+tcp://%s", replica->address);
	int result = nng_dialer_create(dialer, replica->socket, url);

	if (result == 0)
		result = nng_dialer_set_ptr(*dialer, NNG_OPT_TLS_CONFIG, tls);
	if (result == 0)
		result = nng_dialer_start(*dialer, NNG_FLAG_NONBLOCK);
	return result;
}

int ch_connection_dial(struct replica *replica)
{
	replica->away_us = ch_monotonic_us();
	replica->patience_us = SHORTEST_AWAY;
	return dial(replica, replica->client->tls.current, &replica->dialer);
}

/* --- ends that nng does not notice -------------------------------------------------------------------------
 */

bool ch_bus_has_ended(nng_pipe pipe)
{
	nng_sockaddr at;
	int result = nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &at);

	return result != 0 && result != NNG_ENOTSUP;
}

/* on_pipe may never be told: where nng's reaper hangs (docs/decisions/0013) it reports no end any more. */
static void drop(struct replica *replica, nng_pipe pipe, const char *why)
{
	struct ch_bus_client *client = replica->client;
	bool was_there;

	pthread_mutex_lock(&client->lock);
	was_there = replica->pipe == (int)pipe.id;
	if (was_there) {
		replica->pipe = 0;
		replica->away_us = ch_monotonic_us();
		if (client->connected)
			ch_metric_change(client->connected, -1);
		if (client->dropped)
			ch_metric_add(client->dropped, 1);
	}
	pthread_mutex_unlock(&client->lock);
	if (was_there)
		ch_log_info("bus: lost %s at %s: %s", client->service, replica->address, why);
	nng_pipe_close(pipe);
}

void ch_connection_check(struct replica *replica)
{
	nng_pipe pipe = NNG_PIPE_INITIALIZER;
	bool silent;

	pthread_mutex_lock(&replica->client->lock);
	pipe.id = (uint32_t)replica->pipe;
	silent = replica->unanswered >= UNANSWERED_PINGS;
	if (silent)
		replica->unanswered = 0;
	pthread_mutex_unlock(&replica->client->lock);
	if (!pipe.id)
		return;
	if (ch_bus_has_ended(pipe))
		drop(replica, pipe, "it has ended");
	else if (silent)
		drop(replica, pipe, "no ping was answered for 10 s");
}

/* The dialer of before goes first: both would connect. */
void ch_connection_redial(struct replica *replica)
{
	struct ch_bus_client *client = replica->client;
	nng_dialer before = NNG_DIALER_INITIALIZER, made = NNG_DIALER_INITIALIZER;
	int result;
	bool due;

	pthread_mutex_lock(&client->lock);
	due = !client->closing && !replica->pipe &&
	      ch_monotonic_us() - replica->away_us >= replica->patience_us;
	if (due) {
		before = replica->dialer;
		replica->away_us = ch_monotonic_us();
		replica->patience_us *= replica->patience_us < LONGEST_AWAY ? 2 : 1;
	}
	pthread_mutex_unlock(&client->lock);
	if (!due)
		return;
	nng_dialer_close(before);
	pthread_mutex_lock(&client->tls_lock);
	result = dial(replica, client->tls.current, &made);
	pthread_mutex_lock(&client->lock);
	replica->dialer = made;
	pthread_mutex_unlock(&client->lock);
	pthread_mutex_unlock(&client->tls_lock);
	if (result != 0)
		ch_log_error("bus: no new connection to %s at %s can be begun: %s", client->service,
			     replica->address, nng_strerror(result));
}
