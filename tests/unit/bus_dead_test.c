/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_dead_test.c: a client's connections that end without nng noticing: to a replica that answers, or only
 * shakes hands, and closes in one breath, and to one that goes silent without a word (its machine lost
 * power). The replica here speaks nng's protocol over OpenSSL, so that it can.
 */
#include "bus/internal.h"

#include "sp_frames.h"
#include "system_ca.h"
#include "vault.pb-c.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CONNECTIONS 20

struct replica_server {
	SSL_CTX *tls;
	int listener;
	char *address;
	pthread_t thread;
	bool silent;         /* takes requests, and answers none */
	atomic_int leaves;   /* so many connections more are closed as soon as TLS stands */
	atomic_int accepted; /* connections over which a request came */
	atomic_bool stopping;
};

struct fixture {
	struct system_ca ca;
	struct ch_identity_config vault_files, ocsp_files;
	struct ch_identity *ocsp;
	struct replica_server server;
	struct ch_metrics *metrics;
	struct ch_bus_client *client;
};

/* --- the replica -------------------------------------------------------------------------------------------
 */

/* Something that the client takes for an answer, though not for a good one. */
static void answer(SSL *ssl, const uint8_t id[4])
{
	(void)!sp_write(ssl, id, ch_view_text("bogus"), 9);
}

static bool read_request(SSL *ssl, uint8_t id[4])
{
	uint8_t body[64 * 1024];
	size_t size = sizeof(body);

	return sp_read(ssl, id, body, &size);
}

static void serve_one(struct replica_server *server, int connection)
{
	SSL *ssl = SSL_new(server->tls);
	uint8_t id[4];

	SSL_set_fd(ssl, connection);
	if (SSL_accept(ssl) == 1 && atomic_fetch_sub(&server->leaves, 1) <= 0 && sp_greet(ssl, SP_REP) &&
	    read_request(ssl, id)) {
		atomic_fetch_add(&server->accepted, 1);
		if (!server->silent)
			answer(ssl, id);
		while (server->silent && !atomic_load(&server->stopping) && read_request(ssl, id))
			;
	}
	SSL_free(ssl);
	close(connection);
}

static void *serve(void *context)
{
	struct replica_server *server = context;

	while (!atomic_load(&server->stopping)) {
		struct pollfd comes = { .fd = server->listener, .events = POLLIN };

		if (poll(&comes, 1, 100) > 0)
			serve_one(server, accept(server->listener, NULL, NULL));
	}
	return NULL;
}

static void start(struct fixture *f, bool silent)
{
	struct replica_server *server = &f->server;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);

	server->silent = silent;
	server->tls = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate_chain_file(server->tls, f->vault_files.certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(server->tls, f->vault_files.key, SSL_FILETYPE_PEM), 1);
	server->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&at, size), 0);
	assert_int_equal(listen(server->listener, 16), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&at, &size), 0);
	server->address = ch_format("127.0.0.1:%d", ntohs(at.sin_port));
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct replica_server *server)
{
	atomic_store(&server->stopping, true);
	pthread_join(server->thread, NULL);
	close(server->listener);
	SSL_CTX_free(server->tls);
	free(server->address);
}

/* --- fixture -----------------------------------------------------------------------------------------------
 */

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_error err = CH_NONE;

	signal(SIGPIPE, SIG_IGN);
	system_ca_make(&f->ca);
	system_ca_issue(&f->ca, "vault", "vault-1", -60, 3600, &f->vault_files);
	system_ca_issue(&f->ca, "ocsp", "ocsp-1", -60, 3600, &f->ocsp_files);
	assert_true(ch_identity_load(&f->ocsp_files, "ocsp", "ocsp-1", &f->ocsp, &err));
	f->metrics = ch_metrics_new();
	*state = f;
	return 0;
}

static void open_client(struct fixture *f)
{
	struct ch_conf_strings addresses = { &f->server.address, 1 };
	struct ch_error err = CH_NONE;

	if (!ch_bus_client_open("vault", &addresses, f->ocsp, ch_clock_system(), f->metrics, &f->client,
				&err))
		fail_msg("%s", err.message);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	atomic_store(&f->server.stopping, true);
	ch_bus_client_close(f->client);
	stop(&f->server);
	ch_identity_free(f->ocsp);
	ch_metrics_free(f->metrics);
	system_ca_forget(&f->vault_files);
	system_ca_forget(&f->ocsp_files);
	system_ca_remove(&f->ca);
	free(f);
	return 0;
}

static void call(struct fixture *f, int64_t timeout_us, struct ch_error *err)
{
	Chancery__ListKeysRequest request = CHANCERY__LIST_KEYS_REQUEST__INIT;
	struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS,
				    .request = &request.base,
				    .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS_REPLY,
				    .reply_descriptor = &chancery__list_keys_reply__descriptor,
				    .timeout_us = timeout_us };
	CH_AUTO(ch_proto) reply = NULL;

	*err = (struct ch_error)CH_NONE;
	assert_false(ch_bus_call(f->client, &call, &reply, err));
}

/* nng 1.5 asks for the next message of a connection that has just ended, is told nothing, and keeps it. */
static void one_that_answers_and_closes_is_connected_to_again(void **state)
{
	struct fixture *f = *state;
	int64_t until = ch_monotonic_us() + 120 * CH_SECOND; /* where nng's reaper hangs, 3 s for each */
	struct ch_error err;

	start(f, false);
	open_client(f);
	while (atomic_load(&f->server.accepted) < CONNECTIONS) {
		call(f, CH_SECOND, &err);
		ch_bus_client_listen(f->client);
		if (ch_monotonic_us() > until)
			fail_msg("after %d connections: %s", atomic_load(&f->server.accepted), err.message);
	}
}

/* As every daemon does, until a request has come over `connections`. */
static void listen_until(struct fixture *f, int connections, int64_t within_us)
{
	int64_t until = ch_monotonic_us() + within_us;

	while (atomic_load(&f->server.accepted) < connections) {
		ch_bus_client_listen(f->client);
		nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
		if (ch_monotonic_us() > until)
			fail_msg("%d connections", atomic_load(&f->server.accepted));
	}
}

static void one_that_answers_no_ping_is_connected_to_again(void **state)
{
	struct fixture *f = *state;
	struct ch_error err;

	start(f, true);
	open_client(f);
	call(f, 100 * CH_MILLISECOND, &err);
	assert_int_equal(err.code, CH_UNAVAILABLE);
	listen_until(f, 1, 5 * CH_SECOND);
	assert_int_equal(ch_bus_client_reachable(f->client), 1);
	listen_until(f, 2, 30 * CH_SECOND);
}

/* nng 1.5 asks for the greeting of a connection that has just ended, is told nothing, and dials no more. */
static void one_that_shakes_hands_and_closes_is_dialled_again(void **state)
{
	struct fixture *f = *state;

	atomic_store(&f->server.leaves, 2);
	start(f, false);
	open_client(f);
	listen_until(f, 1, 60 * CH_SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_answers_and_closes_is_connected_to_again, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_that_answers_no_ping_is_connected_to_again, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_that_shakes_hands_and_closes_is_dialled_again, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
