/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_callers_test.c: connections to a server that nobody uses: half a message that is never ended, a
 * connection that has ended. The callers here speak nng's protocol over OpenSSL.
 */
#include "bus/bus.h"

#include "sp_frames.h"
#include "system_ca.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define IDLE_MS 600

struct fixture {
	struct system_ca ca;
	struct ch_identity_config vault_files, ocsp_files;
	struct ch_identity *vault;
	struct ch_bus_listen_config listen;
	struct ch_metrics *metrics;
	struct ch_bus_server *server;
	SSL_CTX *tls;
	struct sockaddr_in at;
};

struct caller {
	SSL *ssl;
	int fd;
};

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL);
}

static void take_free_port(struct fixture *f)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(f->at);

	f->at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)&f->at, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&f->at, &size), 0);
	close(fd);
	f->listen.listen = ch_format("127.0.0.1:%d", ntohs(f->at.sin_port));
	f->listen.workers = 2;
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_bus_server_options options = { .listen = &f->listen,
						 .clock = ch_clock_system(),
						 .idle_us = IDLE_MS * CH_MILLISECOND };
	struct ch_error err = CH_NONE;

	signal(SIGPIPE, SIG_IGN);
	system_ca_make(&f->ca);
	system_ca_issue(&f->ca, "vault", "vault-1", -60, 3600, &f->vault_files);
	system_ca_issue(&f->ca, "ocsp", "ocsp-1", -60, 3600, &f->ocsp_files);
	assert_true(ch_identity_load(&f->vault_files, "vault", "vault-1", &f->vault, &err));
	take_free_port(f);
	options.identity = f->vault;
	options.metrics = f->metrics = ch_metrics_new();
	if (!ch_bus_server_start(&options, &f->server, &err))
		fail_msg("%s", err.message);
	f->tls = SSL_CTX_new(TLS_client_method());
	assert_int_equal(SSL_CTX_use_certificate_chain_file(f->tls, f->ocsp_files.certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(f->tls, f->ocsp_files.key, SSL_FILETYPE_PEM), 1);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_bus_server_stop(f->server, CH_SECOND);
	SSL_CTX_free(f->tls);
	ch_identity_free(f->vault);
	ch_metrics_free(f->metrics);
	free(f->listen.listen);
	system_ca_forget(&f->vault_files);
	system_ca_forget(&f->ocsp_files);
	system_ca_remove(&f->ca);
	free(f);
	return 0;
}

static struct caller come(const struct fixture *f)
{
	struct caller caller = { SSL_new(f->tls), socket(AF_INET, SOCK_STREAM, 0) };
	struct timeval patience = { .tv_sec = 5 };

	assert_int_equal(connect(caller.fd, (const struct sockaddr *)&f->at, sizeof(f->at)), 0);
	setsockopt(caller.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	SSL_set_fd(caller.ssl, caller.fd);
	assert_int_equal(SSL_connect(caller.ssl), 1);
	assert_true(sp_greet(caller.ssl, SP_REQ));
	return caller;
}

static void go(struct caller *caller)
{
	SSL_free(caller->ssl);
	close(caller->fd);
}

static const uint8_t id[4] = { 0x80, 0, 0, 1 };

/* Any answer: what is asked is no envelope. */
static bool is_answered(struct caller *caller)
{
	uint8_t body[4096], theirs[4];
	size_t size = sizeof(body);

	return sp_write(caller->ssl, id, ch_view_text("bogus"), 9) &&
	       sp_read(caller->ssl, theirs, body, &size);
}

static bool is_closed(struct caller *caller)
{
	uint8_t octet;

	return SSL_read(caller->ssl, &octet, 1) <= 0 && SSL_get_error(caller->ssl, 0) != SSL_ERROR_WANT_READ;
}

static uint64_t dropped(const struct fixture *f)
{
	return ch_metric_value(ch_metrics_counter(f->metrics, "chancery_bus_callers_dropped_total", "", ""));
}

static void half_a_message_does_not_stay_for_ever(void **state)
{
	struct fixture *f = *state;
	struct caller half = come(f), lives = come(f), last;

	assert_true(sp_write(half.ssl, id, ch_view_text("begun"), 1000));
	for (int i = 0; i < 4; i++) {
		pause_ms(IDLE_MS / 3);
		assert_true(is_answered(&lives));
	}
	assert_int_equal(dropped(f), 0); /* nobody came */
	last = come(f);
	assert_true(is_closed(&half));
	assert_true(is_answered(&lives));
	assert_true(is_answered(&last));
	assert_int_equal(dropped(f), 1);
	go(&half);
	go(&lives);
	go(&last);
}

static int64_t connected(const struct fixture *f)
{
	return (int64_t)ch_metric_value(ch_metrics_gauge(f->metrics, "chancery_bus_callers", "", ""));
}

/* nng 1.5 now and then keeps what has ended: a request and the end of its connection, in one breath. */
static void what_has_ended_is_not_kept(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 30; i++) {
		struct caller caller = come(f);

		assert_true(sp_write(caller.ssl, id, ch_view_text("bogus"), 9));
		go(&caller);
	}
	for (int tries = 0; tries < 20; tries++) {
		struct caller caller;

		pause_ms(IDLE_MS);
		caller = come(f);
		assert_true(is_answered(&caller));
		go(&caller);
		if (connected(f) <= 2)
			return;
	}
	fail_msg("%lld connections", (long long)connected(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(half_a_message_does_not_stay_for_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_has_ended_is_not_kept, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
