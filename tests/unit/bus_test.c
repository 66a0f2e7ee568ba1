/* SPDX-License-Identifier: Apache-2.0 */
/* bus_test.c: real endpoints on loopback, with mutual TLS: what is answered, what is refused, what survives.
 */
#include "bus/bus.h"
#include "bus/internal.h"
#include "system_ca.h"
#include "vault.pb-c.h"

#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define REPLICAS 2

struct endpoint {
	struct ch_bus_listen_config listen;
	struct ch_identity_config files;
	struct ch_identity *identity;
	struct ch_bus_server *server;
	struct ch_metrics *metrics;
	atomic_int handled, slow_ms, fails_with; /* enum ch_code */
	atomic_int held;                         /* calls of threads wait in the handler until it is 0 */
	_Atomic int64_t clock_offset_us;
	struct ch_clock clock;
	atomic_int refusals;
	enum ch_code last_refusal;
	char last_sender[32];
};

struct fixture {
	struct system_ca ca;
	struct endpoint vaults[REPLICAS];
	struct ch_identity_config ocsp_files, tsa_files;
	struct ch_identity *ocsp, *tsa;
	char *addresses[REPLICAS];
	struct ch_bus_client *client;
};

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL);
}

static int free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

/* --- the service: ListKeys answers with the label that was asked for by the request's label ----------------
 */

static bool list_keys(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		      struct ch_error *err)
{
	struct endpoint *endpoint = state;
	Chancery__ListKeysReply *made;

	atomic_fetch_add(&endpoint->handled, 1);
	pause_ms(atomic_load(&endpoint->slow_ms));
	while (atomic_load(&endpoint->held) && strchr(request->body->trace_id, '/'))
		pause_ms(1);
	if (atomic_load(&endpoint->fails_with))
		return ch_fail(err, (enum ch_code)atomic_load(&endpoint->fails_with), "not now");
	made = CH_PROTO_NEW(Chancery__ListKeysReply, chancery__list_keys_reply__init);
	made->n_keys = 1;
	made->keys = ch_alloc_pointers(1);
	made->keys[0] = CH_PROTO_NEW(Chancery__Key, chancery__key__init);
	made->keys[0]->label = ch_strdup(request->body->trace_id);
	made->keys[0]->key_id = ch_strdup(request->message_id);
	*reply = &made->base;
	return true;
}

static bool generate_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	const Chancery__GenerateKeyRequest *asked = (const Chancery__GenerateKeyRequest *)request->payload;

	(void)state;
	(void)reply;
	return ch_fail(err, CH_CONFLICT, "label '%s' is taken", asked->label);
}

static void refused(void *state, const struct ch_peer *sender, const struct ch_message *message,
		    const struct ch_error *why)
{
	struct endpoint *endpoint = state;

	(void)message;
	endpoint->last_refusal = why->code;
	snprintf(endpoint->last_sender, sizeof(endpoint->last_sender), "%s", sender->service);
	atomic_fetch_add(&endpoint->refusals, 1);
}

static int64_t offset_now(void *context)
{
	struct endpoint *endpoint = context;

	return ch_clock_now_us(ch_clock_system()) + atomic_load(&endpoint->clock_offset_us);
}

static void start(struct endpoint *endpoint)
{
	static const struct ch_bus_route routes[] = {
		CH_BUS_ROUTE(LIST_KEYS, list_keys_request, "ocsp", 1024, LIST_KEYS_REPLY, list_keys, 0),
		CH_BUS_ROUTE(GENERATE_KEY, generate_key_request, "ocsp tsa", 64 * 1024, GENERATE_KEY_REPLY,
			     generate_key, 4),
	};
	struct ch_bus_server_options options = { .listen = &endpoint->listen,
						 .identity = endpoint->identity,
						 .clock = &endpoint->clock,
						 .routes = routes,
						 .route_count = CH_COUNT(routes),
						 .state = endpoint,
						 .refusal = refused,
						 .refusal_state = endpoint,
						 .metrics = endpoint->metrics };
	struct ch_error err = CH_NONE;

	endpoint->clock = (struct ch_clock){ offset_now, endpoint };
	if (!ch_bus_server_start(&options, &endpoint->server, &err))
		fail_msg("%s", err.message);
}

static void stop(struct endpoint *endpoint)
{
	ch_bus_server_stop(endpoint->server, CH_SECOND);
	endpoint->server = NULL;
}

/* --- fixture -----------------------------------------------------------------------------------------------
 */

static void open_client(struct fixture *f, size_t replicas)
{
	struct ch_conf_strings addresses = { f->addresses, replicas };
	struct ch_error err = CH_NONE;

	if (!ch_bus_client_open("vault", &addresses, f->ocsp, ch_clock_system(), NULL, &f->client, &err))
		fail_msg("%s", err.message);
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_error err = CH_NONE;

	system_ca_make(&f->ca);
	for (int i = 0; i < REPLICAS; i++) {
		struct endpoint *vault = &f->vaults[i];
		char name[16];

		snprintf(name, sizeof(name), "vault-%d", i + 1);
		system_ca_issue(&f->ca, "vault", name, -60, 3600, &vault->files);
		assert_true(ch_identity_load(&vault->files, "vault", name, &vault->identity, &err));
		f->addresses[i] = vault->listen.listen = ch_format("127.0.0.1:%d", free_port());
		vault->listen.workers = 8;
		vault->metrics = ch_metrics_new();
	}
	system_ca_issue(&f->ca, "ocsp", "ocsp-1", -60, 3600, &f->ocsp_files);
	system_ca_issue(&f->ca, "tsa", "tsa-1", -60, 3600, &f->tsa_files);
	assert_true(ch_identity_load(&f->ocsp_files, "ocsp", "ocsp-1", &f->ocsp, &err));
	assert_true(ch_identity_load(&f->tsa_files, "tsa", "tsa-1", &f->tsa, &err));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_bus_client_close(f->client);
	for (int i = 0; i < REPLICAS; i++) {
		stop(&f->vaults[i]);
		ch_identity_free(f->vaults[i].identity);
		ch_metrics_free(f->vaults[i].metrics);
		system_ca_forget(&f->vaults[i].files);
		free(f->addresses[i]);
	}
	ch_identity_free(f->ocsp);
	ch_identity_free(f->tsa);
	system_ca_forget(&f->ocsp_files);
	system_ca_forget(&f->tsa_files);
	system_ca_remove(&f->ca);
	free(f);
	return 0;
}

static bool list(struct ch_bus_client *client, const char *label, int64_t timeout_us, struct ch_error *err)
{
	Chancery__ListKeysRequest request = CHANCERY__LIST_KEYS_REQUEST__INIT;
	struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS,
				    .request = &request.base,
				    .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS_REPLY,
				    .reply_descriptor = &chancery__list_keys_reply__descriptor,
				    .trace_id = label,
				    .timeout_us = timeout_us };
	CH_AUTO(ch_proto) reply = NULL;
	bool same;

	if (!ch_bus_call(client, &call, &reply, err))
		return false;
	same = strcmp(((Chancery__ListKeysReply *)reply)->keys[0]->label, label) == 0;
	return same || ch_fail(err, CH_INTERNAL, "another call's reply");
}

static bool generate(struct ch_bus_client *client, const char *label, struct ch_error *err)
{
	Chancery__GenerateKeyRequest request = CHANCERY__GENERATE_KEY_REQUEST__INIT;
	struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY,
				    .request = &request.base,
				    .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY_REPLY,
				    .reply_descriptor = &chancery__generate_key_reply__descriptor };
	CH_AUTO(ch_proto) reply = NULL;

	request.label = (char *)(uintptr_t)label;
	return ch_bus_call(client, &call, &reply, err);
}

static void assert_done(bool done, const struct ch_error *err)
{
	if (!done)
		fail_msg("%s: %s", ch_code_name(err->code), err->message);
}

/* --- what is answered --------------------------------------------------------------------------------------
 */

static void a_call_gets_the_reply_to_its_own_request(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	open_client(f, 1);
	for (int i = 0; i < 50; i++) {
		char label[16];

		snprintf(label, sizeof(label), "call %d", i);
		assert_done(list(f->client, label, 0, &err), &err);
	}
	assert_int_equal(atomic_load(&f->vaults[0].handled), 50);
}

static void a_handlers_error_reaches_the_caller_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	open_client(f, 1);
	assert_false(generate(f->client, "root", &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_string_equal(err.message, "label 'root' is taken");
	assert_false(err.retryable);
	assert_int_equal(err.origin, CH_ORIGIN_HANDLER);
	assert_int_equal(atomic_load(&f->vaults[0].refusals), 0);
}

static void everyone_may_ping(void **state)
{
	struct fixture *f = *state;
	Chancery__Ping ping = CHANCERY__PING__INIT;
	struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING,
				    .request = &ping.base,
				    .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PONG,
				    .reply_descriptor = &chancery__pong__descriptor };
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	open_client(f, 1);
	assert_done(ch_bus_call(f->client, &call, &reply, &err), &err);
	assert_string_equal(((Chancery__Pong *)reply)->instance, "vault-1");
}

struct caller {
	struct fixture *f;
	int number;
	atomic_int *stop;
	int calls, failures;
	int64_t slowest;
	struct ch_error err;
	pthread_t thread;
};

static void *call_until_stopped(void *context)
{
	struct caller *caller = context;

	while (!atomic_load(caller->stop)) {
		int64_t began = ch_monotonic_us(), took;
		char label[32];

		snprintf(label, sizeof(label), "%d/%d", caller->number, caller->calls);
		if (!list(caller->f->client, label, 5 * CH_SECOND, &caller->err))
			caller->failures++;
		caller->calls++;
		took = ch_monotonic_us() - began;
		caller->slowest = took > caller->slowest ? took : caller->slowest;
	}
	return NULL;
}

static void run_callers(struct fixture *f, struct caller *callers, int count, atomic_int *end)
{
	for (int i = 0; i < count; i++) {
		callers[i] = (struct caller){ .f = f, .number = i, .stop = end };
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call_until_stopped, &callers[i]),
				 0);
	}
}

static int end_callers(struct caller *callers, int count, atomic_int *end)
{
	int calls = 0;

	atomic_store(end, 1);
	for (int i = 0; i < count; i++)
		pthread_join(callers[i].thread, NULL);
	for (int i = 0; i < count; i++) {
		if (callers[i].failures)
			fail_msg("caller %d: %d of %d calls failed: %s", i, callers[i].failures,
				 callers[i].calls, callers[i].err.message);
		calls += callers[i].calls;
	}
	return calls;
}

static void a_slow_call_holds_up_no_other(void **state)
{
	struct fixture *f = *state;
	struct caller slow;
	atomic_int end = 0;
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	open_client(f, 1);
	assert_done(list(f->client, "warm", 0, &err), &err);
	atomic_store(&f->vaults[0].held, 1);
	run_callers(f, &slow, 1, &end);
	while (atomic_load(&f->vaults[0].handled) < 2)
		pause_ms(1);
	for (int i = 0; i < 20; i++)
		assert_done(list(f->client, "quick", 0, &err), &err);
	atomic_store(&end, 1);
	atomic_store(&f->vaults[0].held, 0);
	assert_int_equal(end_callers(&slow, 1, &end), 1);
}

/* --- replicas ----------------------------------------------------------------------------------------------
 */

static void a_replica_that_is_down_at_start_is_no_error(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	open_client(f, 2);
	assert_false(list(f->client, "nobody", 200 * CH_MILLISECOND, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "no answer from vault within 200 ms"));
	assert_true(err.retryable);
	start(&f->vaults[1]);
	assert_done(list(f->client, "there", 0, &err), &err);
	start(&f->vaults[0]);
	for (int i = 0; i < 1000 && !atomic_load(&f->vaults[0].handled); i++) {
		assert_done(list(f->client, "there", 0, &err), &err);
		pause_ms(5);
	}
	assert_true(atomic_load(&f->vaults[0].handled) > 0);
}

static void replicas_that_restart_under_load_cost_no_call(void **state)
{
	struct fixture *f = *state;
	struct caller callers[8];
	atomic_int end = 0;
	int calls;

	start(&f->vaults[0]);
	start(&f->vaults[1]);
	open_client(f, 2);
	run_callers(f, callers, 8, &end);
	for (int i = 0; i < 6; i++) {
		pause_ms(150);
		stop(&f->vaults[i % 2]);
		pause_ms(150);
		start(&f->vaults[i % 2]);
	}
	calls = end_callers(callers, 8, &end);
	print_message("%d calls over 6 restarts\n", calls);
	assert_true(calls > 100);
	assert_true(atomic_load(&f->vaults[0].handled) > 50);
	assert_true(atomic_load(&f->vaults[1].handled) > 50);
}

static void put_file(const char *from, const char *more, const char *to)
{
	CH_AUTO(ch_bytes) first = CH_NONE, second = CH_NONE;
	CH_AUTO(ch_buffer) content = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(ch_read_file(from, 65536, &first, &err));
	assert_true(!more || ch_read_file(more, 65536, &second, &err));
	ch_buffer_add_view(&content, ch_view_of(&first));
	ch_buffer_add_view(&content, ch_view_of(&second));
	assert_true(ch_write_file(to, ch_buffer_view(&content), 0400, &err));
}

static void renew(struct system_ca *by, const struct ch_identity_config *files, const char *service,
		  const char *instance, struct ch_identity *identity)
{
	struct ch_identity_config fresh;
	struct ch_error err = CH_NONE;

	system_ca_issue(by, service, instance, -60, 3600, &fresh);
	put_file(fresh.certificate, NULL, files->certificate);
	put_file(fresh.key, NULL, files->key);
	assert_done(ch_identity_reload(identity, &err), &err);
	system_ca_forget(&fresh);
}

static void reload_all(struct fixture *f)
{
	struct ch_error err = CH_NONE;

	assert_done(ch_identity_reload(f->vaults[0].identity, &err), &err);
	assert_done(ch_identity_reload(f->vaults[1].identity, &err), &err);
	assert_done(ch_identity_reload(f->ocsp, &err), &err);
}

/* Until each of both vaults answered so many more. */
static void wait_handled(struct fixture *f, int more)
{
	int64_t until = ch_monotonic_us() + 20 * CH_SECOND;

	for (size_t i = 0; i < 2; i++) {
		int wanted = atomic_load(&f->vaults[i].handled) + more;

		while (atomic_load(&f->vaults[i].handled) < wanted) {
			assert_true(ch_monotonic_us() < until);
			pause_ms(1);
		}
	}
}

/* Both CAs are trusted, then all identities are of the young one, then the old one is gone: TLS and messages
 * follow, on connections that stand and on new ones. */
static void the_system_ca_is_rolled_over_under_load_at_no_call(void **state)
{
	struct fixture *f = *state;
	struct caller callers[4];
	struct system_ca young;
	struct ch_conf_strings addresses = { f->addresses, 1 };
	struct ch_bus_client *late = NULL;
	atomic_int end = 0;
	struct ch_error err = CH_NONE;

	system_ca_make(&young);
	start(&f->vaults[0]);
	start(&f->vaults[1]);
	open_client(f, 2);
	run_callers(f, callers, 4, &end);
	put_file(f->ca.path, young.path, f->ca.path);
	reload_all(f);
	renew(&young, &f->vaults[0].files, "vault", "vault-1", f->vaults[0].identity);
	renew(&young, &f->vaults[1].files, "vault", "vault-2", f->vaults[1].identity);
	renew(&young, &f->ocsp_files, "ocsp", "ocsp-1", f->ocsp);
	put_file(young.path, NULL, f->ca.path);
	reload_all(f);
	wait_handled(f, 20);
	assert_true(end_callers(callers, 4, &end) > 20);
	/* A connection that is made now has the new identity on both sides; nng had set up the one that comes
	 * next before. */
	ch_bus_client_close(f->client);
	open_client(f, 2);
	for (int i = 0; i < 4; i++)
		assert_done(list(f->client, "again", 0, &err), &err);
	/* tsa-1 has an identity of the old CA: it does not get as far as a message. */
	assert_done(ch_bus_client_open("vault", &addresses, f->tsa, ch_clock_system(), NULL, &late, &err),
		    &err);
	assert_false(list(late, "old", 500 * CH_MILLISECOND, &err));
	ch_bus_client_close(late);
	system_ca_remove(&young);
}

static void an_unavailable_replica_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	start(&f->vaults[1]);
	open_client(f, 2);
	atomic_store(&f->vaults[0].fails_with, CH_UNAVAILABLE);
	for (int i = 0; i < 10; i++)
		assert_done(list(f->client, "x", 0, &err), &err);
	atomic_store(&f->vaults[1].fails_with, CH_UNAVAILABLE);
	assert_false(list(f->client, "x", 300 * CH_MILLISECOND, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_string_equal(err.message, "not now");
}

/* What a handler says of a deadline or a replay is about the request, not about the message. */
static void a_handlers_word_is_final(void **state)
{
	static const enum ch_code codes[] = { CH_EXPIRED, CH_REPLAYED, CH_EXHAUSTED, CH_UNAUTHENTICATED,
					      CH_DENIED };
	struct fixture *f = *state;

	start(&f->vaults[0]);
	open_client(f, 1);
	for (size_t i = 0; i < CH_COUNT(codes); i++) {
		struct ch_error err = CH_NONE;

		atomic_store(&f->vaults[0].handled, 0);
		atomic_store(&f->vaults[0].fails_with, (int)codes[i]);
		assert_false(list(f->client, "x", 2 * CH_SECOND, &err));
		assert_int_equal(err.code, codes[i]);
		assert_int_equal(err.origin, CH_ORIGIN_HANDLER);
		assert_int_equal(atomic_load(&f->vaults[0].handled), 1);
	}
}

static void what_follows_from_an_error_depends_on_who_refused(void **state)
{
	static const struct {
		enum ch_origin origin;
		enum ch_code code;
		bool retryable;
		enum ch_bus_next next;
	} rows[] = {
		{ CH_ORIGIN_TRANSPORT, CH_EXPIRED, true, CH_BUS_AGAIN },
		{ CH_ORIGIN_TRANSPORT, CH_REPLAYED, true, CH_BUS_AGAIN },
		{ CH_ORIGIN_TRANSPORT, CH_EXPIRED, false, CH_BUS_OTHERS },
		{ CH_ORIGIN_TRANSPORT, CH_UNSUPPORTED, false, CH_BUS_OTHERS },
		{ CH_ORIGIN_TRANSPORT, CH_DENIED, false, CH_BUS_OTHERS },
		{ CH_ORIGIN_TRANSPORT, CH_UNAUTHENTICATED, false, CH_BUS_DISTRUST },
		{ CH_ORIGIN_TRANSPORT, CH_UNAVAILABLE, true, CH_BUS_LEAVE },
		{ CH_ORIGIN_TRANSPORT, CH_TOO_LARGE, false, CH_BUS_FINAL },
		{ CH_ORIGIN_HANDLER, CH_UNAVAILABLE, true, CH_BUS_ELSEWHERE },
		{ CH_ORIGIN_HANDLER, CH_UNAVAILABLE, false, CH_BUS_FINAL },
		{ CH_ORIGIN_HANDLER, CH_EXPIRED, true, CH_BUS_FINAL },
		{ CH_ORIGIN_HANDLER, CH_REPLAYED, true, CH_BUS_FINAL },
		{ CH_ORIGIN_HANDLER, CH_UNAUTHENTICATED, true, CH_BUS_FINAL },
		/* a version that does not say who refused */
		{ CH_ORIGIN_LOCAL, CH_EXPIRED, true, CH_BUS_AGAIN },
		{ CH_ORIGIN_LOCAL, CH_REPLAYED, true, CH_BUS_AGAIN },
		{ CH_ORIGIN_LOCAL, CH_UNAVAILABLE, true, CH_BUS_ELSEWHERE },
		{ CH_ORIGIN_LOCAL, CH_EXPIRED, false, CH_BUS_FINAL },
		{ CH_ORIGIN_LOCAL, CH_UNAUTHENTICATED, false, CH_BUS_FINAL },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		const struct ch_error err = { .code = rows[i].code,
					      .origin = rows[i].origin,
					      .retryable = rows[i].retryable };

		if (ch_bus_next(&err) != rows[i].next)
			fail_msg("row %zu: %d, not %d", i, (int)ch_bus_next(&err), (int)rows[i].next);
	}
}

static void until_both_answer(struct fixture *f)
{
	struct ch_error err = CH_NONE;

	for (int i = 0;
	     i < 2000 && !(atomic_load(&f->vaults[0].handled) && atomic_load(&f->vaults[1].handled)); i++)
		assert_done(list(f->client, "x", 0, &err), &err);
	assert_true(atomic_load(&f->vaults[0].handled) && atomic_load(&f->vaults[1].handled));
}

static void a_replica_with_a_wrong_clock_costs_no_call(void **state)
{
	static const int64_t offsets[] = { 40 * CH_SECOND, -40 * CH_SECOND, CH_HOUR, -CH_HOUR };
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	int resent;

	start(&f->vaults[0]);
	start(&f->vaults[1]);
	open_client(f, 2);
	until_both_answer(f);
	for (size_t i = 0; i < CH_COUNT(offsets); i++) {
		atomic_store(&f->vaults[0].clock_offset_us, offsets[i]);
		resent = atomic_load(&f->vaults[0].refusals);
		for (int call = 0; call < 50; call++)
			assert_done(list(f->client, "x", 0, &err), &err);
		resent = atomic_load(&f->vaults[0].refusals) - resent;
		assert_in_range(resent, 1, 10); /* found out once; what comes later are pings */
		atomic_store(&f->vaults[0].clock_offset_us, 0);
		atomic_store(&f->vaults[0].handled, 0);
		for (int call = 0; call < 5000 && !atomic_load(&f->vaults[0].handled); call++) {
			assert_done(list(f->client, "x", 0, &err), &err);
			pause_ms(1);
		}
		assert_true(atomic_load(&f->vaults[0].handled) > 0);
	}
}

/* Whose own clock is wrong hears it from the first of them, not at its deadline. */
static void a_caller_with_a_wrong_clock_fails_at_once(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	int64_t began;

	start(&f->vaults[0]);
	start(&f->vaults[1]);
	open_client(f, 2);
	until_both_answer(f);
	atomic_store(&f->vaults[0].clock_offset_us, CH_HOUR);
	atomic_store(&f->vaults[1].clock_offset_us, CH_HOUR);
	began = ch_monotonic_us();
	assert_false(list(f->client, "x", 20 * CH_SECOND, &err));
	assert_true(ch_monotonic_us() - began < 10 * CH_SECOND);
	assert_int_equal(err.origin, CH_ORIGIN_TRANSPORT);
	assert_int_equal(ch_error_outward(&err).code, CH_UNAVAILABLE);
	assert_true(err.retryable);
}

static void a_slow_replica_that_lives_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	start(&f->vaults[1]);
	open_client(f, 2);
	for (int i = 0; i < 40; i++) /* until both are connected */
		assert_done(list(f->client, "x", 0, &err), &err);
	atomic_store(&f->vaults[0].handled, 0);
	atomic_store(&f->vaults[1].handled, 0);
	atomic_store(&f->vaults[0].slow_ms, 1500);
	atomic_store(&f->vaults[1].slow_ms, 1500);
	assert_done(list(f->client, "slow", 4 * CH_SECOND, &err), &err);
	assert_int_equal(atomic_load(&f->vaults[0].handled) + atomic_load(&f->vaults[1].handled), 1);
}

/* A server in a process of its own, so that it can be stopped and killed. */
static pid_t start_process(struct endpoint *endpoint)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* where the test fails before it kills this */
		start(endpoint);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static int64_t slowest_of(const struct caller *callers, int count)
{
	int64_t slowest = 0;

	for (int i = 0; i < count; i++)
		slowest = callers[i].slowest > slowest ? callers[i].slowest : slowest;
	return slowest;
}

static void a_replica_that_hangs_does_not_eat_the_deadline(void **state)
{
	struct fixture *f = *state;
	pid_t first = start_process(&f->vaults[0]); /* before any nng thread exists in this process */
	pid_t second = start_process(&f->vaults[1]);
	struct caller callers[4];
	atomic_int end = 0;
	int64_t slowest;

	open_client(f, 2);
	run_callers(f, callers, 4, &end);
	pause_ms(500);
	kill(first, SIGSTOP);
	pause_ms(2500);
	kill(first, SIGCONT);
	pause_ms(500);
	end_callers(callers, 4, &end);
	slowest = slowest_of(callers, 4);
	print_message("slowest call with one stopped %lld ms\n", (long long)(slowest / 1000));
	assert_true(slowest < 2 * CH_SECOND);

	atomic_store(&end, 0);
	run_callers(f, callers, 4, &end);
	pause_ms(500);
	kill(second, SIGKILL);
	pause_ms(500);
	end_callers(callers, 4, &end);
	slowest = slowest_of(callers, 4);
	print_message("slowest call with one killed %lld ms\n", (long long)(slowest / 1000));
	assert_true(slowest < 2 * CH_SECOND);
	kill(first, SIGKILL);
	waitpid(first, NULL, 0);
	waitpid(second, NULL, 0);
}

/* --- what is refused: envelopes made by hand ---------------------------------------------------------------
 */

struct raw {
	nng_socket socket;
	struct fixture *f;
};

static struct raw raw_open(struct fixture *f, struct ch_identity *identity)
{
	struct raw raw = { .f = f };
	CH_AUTO(tls_config) tls = NULL;
	CH_AUTO(ch_string) url = ch_format("tls+tcp://%s", f->addresses[0]);
	nng_dialer dialer;
	struct ch_error err = CH_NONE;

	assert_true(ch_bus_tls_config(identity, "vault.chancery.internal", &tls, &err));
	assert_int_equal(nng_req0_open(&raw.socket), 0);
	nng_socket_set_ms(raw.socket, NNG_OPT_RECVTIMEO, 3000);
	nng_socket_set_ms(raw.socket, NNG_OPT_SENDTIMEO, 3000);
	nng_dialer_create(&dialer, raw.socket, url);
	nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls);
	nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
	return raw;
}

/* Sends octets and returns the code and message of the ErrorReply; CH_OK where it is no error. */
static struct ch_error raw_send(const struct raw *raw, struct ch_view envelope)
{
	struct ch_error err = CH_NONE, failed = CH_NONE;
	CH_AUTO(ch_message) message = CH_NONE;
	nng_msg *sent, *received;
	Chancery__ErrorReply *reply;

	nng_msg_alloc(&sent, 0);
	nng_msg_append(sent, envelope.data, envelope.size);
	assert_int_equal(nng_sendmsg(raw->socket, sent, 0), 0);
	assert_int_equal(nng_recvmsg(raw->socket, &received, 0), 0);
	if (!ch_envelope_open(raw->f->ocsp, ch_clock_system(), NULL,
			      ch_view(nng_msg_body(received), nng_msg_len(received)), &message, &failed) &&
	    failed.code != CH_DENIED) /* a reply to tsa */
		fail_msg("%s", failed.message);
	nng_msg_free(received);
	assert_string_equal(message.sender.service, "vault");
	if (message.body->payload_type != CHANCERY__PAYLOAD_TYPE__PAYLOAD_ERROR_REPLY)
		return err;
	reply = chancery__error_reply__unpack(NULL, message.body->payload.len, message.body->payload.data);
	ch_fail(&err, (enum ch_code)reply->code, "%s", reply->message);
	err.retryable = reply->retryable;
	chancery__error_reply__free_unpacked(reply, NULL);
	return err;
}

struct draft {
	const char *to;
	int64_t clock_offset, deadline;
	int type;
	struct ch_view payload;
};

static int64_t moved(void *context)
{
	return *(int64_t *)context;
}

static struct ch_bytes make(struct ch_identity *identity, const struct draft *draft)
{
	Chancery__Body body = CHANCERY__BODY__INIT;
	uint8_t id[16] = "0123456789abcdef";
	struct ch_bytes envelope = CH_NONE;
	int64_t now = ch_clock_now_us(ch_clock_system()) + draft->clock_offset;
	struct ch_clock clock = { moved, &now };

	body.message_id = (ProtobufCBinaryData){ sizeof(id), id };
	body.to_service = (char *)(uintptr_t)(draft->to ? draft->to : "vault");
	body.deadline_us = now + (draft->deadline ? draft->deadline : CH_MINUTE);
	body.payload_type = (Chancery__PayloadType)draft->type;
	body.payload =
		(ProtobufCBinaryData){ draft->payload.size, (uint8_t *)(uintptr_t)draft->payload.data };
	assert_true(ch_envelope_seal(identity, &clock, &body, &envelope, NULL, NULL));
	return envelope;
}

static void assert_refused(struct fixture *f, const struct raw *raw, struct ch_view envelope,
			   enum ch_code code, const char *text, const char *sender)
{
	struct endpoint *vault = &f->vaults[0];
	int before = atomic_load(&vault->refusals), handled = atomic_load(&vault->handled);
	struct ch_error err = raw_send(raw, envelope);

	if (err.code != code || !strstr(err.message, text))
		fail_msg("%s: %s", ch_code_name(err.code), err.message);
	assert_int_equal(atomic_load(&vault->refusals), before + 1);
	assert_int_equal(vault->last_refusal, code);
	assert_string_equal(vault->last_sender, sender);
	assert_int_equal(atomic_load(&vault->handled), handled);
}

static void each_kind_of_bad_message_is_refused_and_told(void **state)
{
	struct fixture *f = *state;
	static uint8_t much[70 * 1024];
	const int list_keys_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS;
	struct draft good = { .type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS };
	struct {
		struct draft draft;
		enum ch_code code;
		const char *text;
	} rows[] = {
		{ { .type = 9999 }, CH_UNSUPPORTED, "no payload of type 9999" },
		{ { .type = list_keys_type, .to = "issuer" }, CH_DENIED, "addressed to service 'issuer'" },
		{ { .type = list_keys_type, .clock_offset = -CH_MINUTE, .deadline = CH_HOUR },
		  CH_EXPIRED,
		  "clock" },
		{ { .type = list_keys_type, .clock_offset = CH_MINUTE }, CH_EXPIRED, "clock" },
		{ { .type = list_keys_type, .deadline = -1 }, CH_EXPIRED, "deadline" },
		{ { .type = list_keys_type, .payload = ch_view(much, 1025) }, CH_TOO_LARGE, "at most 1024" },
		{ { .type = list_keys_type, .payload = ch_view_text("\x0f\xff") },
		  CH_INVALID,
		  "does not decode" },
		{ { .type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY,
		    .payload = ch_view_text("\x22\x01\xff") },
		  CH_INVALID,
		  "not UTF-8" },
	};
	struct raw raw;
	CH_AUTO(ch_bytes) envelope = make(f->ocsp, &good);
	char *text;

	start(&f->vaults[0]);
	raw = raw_open(f, f->ocsp);
	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		CH_AUTO(ch_bytes) bad = make(f->ocsp, &rows[i].draft);

		assert_refused(f, &raw, ch_view_of(&bad), rows[i].code, rows[i].text, "ocsp");
	}
	ch_bytes_free(&envelope);
	envelope = make(f->ocsp, &good);
	assert_int_equal(raw_send(&raw, ch_view_of(&envelope)).code, CH_OK);
	assert_refused(f, &raw, ch_view_of(&envelope), CH_REPLAYED, "received before", "ocsp");
	ch_bytes_free(&envelope);
	envelope = make(f->ocsp, &good);
	envelope.data[envelope.size - 4] ^= 1;
	assert_refused(f, &raw, ch_view_of(&envelope), CH_UNAUTHENTICATED, "does not verify", "");
	assert_refused(f, &raw, ch_view(envelope.data, envelope.size / 2), CH_INVALID, "not an envelope", "");
	assert_refused(f, &raw, ch_view_text("garbage"), CH_INVALID, "not an envelope", "");
	assert_true(ch_bus_close_socket(raw.socket));
	text = ch_metrics_text(f->vaults[0].metrics);
	assert_non_null(strstr(text, "chancery_bus_refused_total{reason=\"replayed\"} 1"));
	assert_non_null(strstr(text, "chancery_bus_refused_total{reason=\"expired\"} 3"));
	assert_non_null(
		strstr(text, "chancery_bus_requests_total{type=\"PAYLOAD_LIST_KEYS\",outcome=\"ok\"} 1"));
	free(text);
}

static void a_service_that_may_not_send_it_is_refused(void **state)
{
	struct fixture *f = *state;
	struct draft draft = { .type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS };
	CH_AUTO(ch_bytes) envelope = CH_NONE;
	struct ch_conf_strings addresses = { f->addresses, 1 };
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	envelope = make(f->tsa, &draft);
	assert_true(
		ch_bus_client_open("vault", &addresses, f->tsa, ch_clock_system(), NULL, &f->client, &err));
	assert_false(list(f->client, "x", 0, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_int_equal(err.origin, CH_ORIGIN_TRANSPORT);
	assert_non_null(strstr(err.message, "service 'tsa' may not send PAYLOAD_LIST_KEYS to 'vault'"));
	assert_int_equal(atomic_load(&f->vaults[0].refusals), 1);
	assert_string_equal(f->vaults[0].last_sender, "tsa");
}

static void a_certificate_of_another_system_ca_does_not_even_connect(void **state)
{
	struct fixture *f = *state;
	struct system_ca other;
	struct ch_identity_config files;
	struct ch_identity *stranger = NULL;
	struct ch_conf_strings addresses = { f->addresses, 1 };
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	system_ca_make(&other);
	system_ca_issue(&other, "ocsp", "ocsp-1", -60, 3600, &files);
	assert_true(ch_identity_load(&files, NULL, NULL, &stranger, &err));
	assert_true(
		ch_bus_client_open("vault", &addresses, stranger, ch_clock_system(), NULL, &f->client, &err));
	assert_false(list(f->client, "x", 300 * CH_MILLISECOND, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_int_equal(atomic_load(&f->vaults[0].handled), 0);
	ch_bus_client_close(f->client);
	f->client = NULL;
	ch_identity_free(stranger);
	system_ca_forget(&files);
	system_ca_remove(&other);
}

static void a_server_of_another_service_is_not_spoken_to(void **state)
{
	struct fixture *f = *state;
	struct ch_conf_strings addresses = { f->addresses, 1 };
	struct ch_error err = CH_NONE;

	start(&f->vaults[0]);
	assert_true(
		ch_bus_client_open("issuer", &addresses, f->ocsp, ch_clock_system(), NULL, &f->client, &err));
	assert_false(list(f->client, "x", 300 * CH_MILLISECOND, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
}

/* --- replies that are not the answer
 * ------------------------------------------------------------------------ */

/* A server that has the vault's TLS identity and answers one request with what the test wants. */
struct liar {
	struct fixture *f;
	struct ch_identity *signs;
	bool other_digest, other_type, garbage;
	nng_socket socket;
	pthread_t thread;
};

static void *lie(void *context)
{
	struct liar *liar = context;
	CH_AUTO(ch_message) request = CH_NONE;
	CH_AUTO(ch_bytes) envelope = CH_NONE;
	Chancery__Body body = CHANCERY__BODY__INIT;
	nng_msg *message;

	assert_int_equal(nng_recvmsg(liar->socket, &message, 0), 0);
	(void)!ch_envelope_open(liar->f->vaults[0].identity, ch_clock_system(), NULL,
				ch_view(nng_msg_body(message), nng_msg_len(message)), &request, NULL);
	request.digest[7] ^= liar->other_digest;
	body.request_digest = (ProtobufCBinaryData){ sizeof(request.digest), request.digest };
	body.to_service = (char *)(uintptr_t) "ocsp";
	body.payload_type = liar->other_type ? CHANCERY__PAYLOAD_TYPE__PAYLOAD_PONG
					     : CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS_REPLY;
	assert_true(ch_envelope_seal(liar->signs, ch_clock_system(), &body, &envelope, NULL, NULL));
	if (liar->garbage)
		ch_random(envelope.data, envelope.size);
	nng_msg_clear(message);
	nng_msg_append(message, envelope.data, envelope.size);
	assert_int_equal(nng_sendmsg(liar->socket, message, 0), 0);
	return NULL;
}

static void assert_not_believed(struct liar liar, const char *text)
{
	struct fixture *f = liar.f;
	Chancery__ListKeysRequest request = CHANCERY__LIST_KEYS_REQUEST__INIT;
	struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS,
				    .request = &request.base,
				    .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS_REPLY,
				    .reply_descriptor = &chancery__list_keys_reply__descriptor };
	CH_AUTO(ch_string) url = ch_format("tls+tcp://%s", f->addresses[0]);
	CH_AUTO(tls_config) tls = NULL;
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;
	nng_listener listener;

	assert_true(ch_bus_tls_config(f->vaults[0].identity, NULL, &tls, &err));
	assert_int_equal(nng_rep0_open(&liar.socket), 0);
	assert_int_equal(nng_listener_create(&listener, liar.socket, url), 0);
	assert_int_equal(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, tls), 0);
	assert_int_equal(nng_listener_start(listener, 0), 0);
	pthread_create(&liar.thread, NULL, lie, &liar);
	open_client(f, 1);
	if (!text) {
		assert_done(ch_bus_call(f->client, &call, &reply, &err), &err);
	} else {
		assert_false(ch_bus_call(f->client, &call, &reply, &err));
		assert_int_equal(err.code, CH_UNAUTHENTICATED);
		assert_int_equal(err.origin, CH_ORIGIN_TRANSPORT);
		if (!strstr(err.message, text))
			fail_msg("%s", err.message);
	}
	pthread_join(liar.thread, NULL);
	ch_bus_client_close(f->client);
	f->client = NULL;
	assert_true(ch_bus_close_socket(liar.socket));
}

static void a_reply_counts_only_if_it_answers_this_very_request(void **state)
{
	struct fixture *f = *state;
	struct ch_identity *vault = f->vaults[0].identity;

	assert_not_believed((struct liar){ .f = f, .signs = vault }, NULL); /* the truth, to compare */
	assert_not_believed((struct liar){ .f = f, .signs = vault, .other_digest = true },
			    "belongs to another request");
	assert_not_believed((struct liar){ .f = f, .signs = vault, .other_type = true }, "is of type 3");
	assert_not_believed((struct liar){ .f = f, .signs = f->tsa }, "is signed by service 'tsa'");
	assert_not_believed((struct liar){ .f = f, .signs = vault, .garbage = true }, "reply from vault");
}

static void stopping_lets_the_request_in_flight_finish(void **state)
{
	struct fixture *f = *state;
	struct caller caller;
	atomic_int end = 0;

	start(&f->vaults[0]);
	open_client(f, 1);
	atomic_store(&f->vaults[0].slow_ms, 400);
	run_callers(f, &caller, 1, &end);
	while (atomic_load(&f->vaults[0].handled) < 1)
		pause_ms(1);
	atomic_store(&end, 1);
	stop(&f->vaults[0]);
	assert_int_equal(end_callers(&caller, 1, &end), 1);
	assert_int_equal(atomic_load(&f->vaults[0].handled), 1);
}

static void *stop_first(void *fixture)
{
	struct fixture *f = fixture;

	ch_bus_server_stop(f->vaults[0].server, 20 * CH_SECOND);
	f->vaults[0].server = NULL;
	return NULL;
}

static uint64_t refused_while_stopping(struct fixture *f)
{
	return ch_metric_value(ch_metrics_counter(f->vaults[0].metrics, "chancery_bus_refused_total", "",
						  "reason=\"unavailable\""));
}

/* What it has it finishes; who asks meanwhile is sent elsewhere at once, not kept waiting until it closes. */
static void one_that_stops_finishes_what_it_has_and_sends_others_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct caller held;
	struct ch_error err = CH_NONE;
	atomic_int end = 0;
	pthread_t stopping;
	int64_t until;

	start(&f->vaults[0]);
	open_client(f, 2);
	assert_done(list(f->client, "warm", 0, &err), &err);
	atomic_store(&f->vaults[0].held, 1);
	run_callers(f, &held, 1, &end); /* to the first, as there is no other */
	while (atomic_load(&f->vaults[0].handled) < 2)
		pause_ms(1);
	atomic_store(&end, 1);
	start(&f->vaults[1]);
	pthread_create(&stopping, NULL, stop_first, f);
	until = ch_monotonic_us() + 10 * CH_SECOND;
	while (!refused_while_stopping(f) && ch_monotonic_us() < until)
		assert_done(list(f->client, "others", CH_SECOND, &err), &err);
	assert_true(refused_while_stopping(f) > 0);
	atomic_store(&f->vaults[1].handled, 0);
	for (int i = 0; i < 20; i++)
		assert_done(list(f->client, "others", CH_SECOND, &err), &err);
	assert_int_equal(atomic_load(&f->vaults[1].handled), 20);
	assert_int_equal(atomic_load(&f->vaults[0].refusals), 0); /* nobody is told: that is no attack */
	atomic_store(&f->vaults[0].held, 0);
	assert_int_equal(end_callers(&held, 1, &end), 1);
	pthread_join(stopping, NULL);
	assert_null(f->vaults[0].server);
}

static void many_calls_are_in_flight_at_once(void **state)
{
	struct fixture *f = *state;
	struct caller callers[32];
	atomic_int end = 0;
	int64_t began;
	int calls;

	start(&f->vaults[0]);
	open_client(f, 1);
	atomic_store(&f->vaults[0].slow_ms, 20); /* 8 workers: 400 a second at the most */
	began = ch_monotonic_us();
	run_callers(f, callers, 32, &end);
	pause_ms(1000);
	calls = end_callers(callers, 32, &end);
	print_message("%.0f signed calls a second, client and server in one process\n",
		      calls * 1e6 / (double)(ch_monotonic_us() - began));
	assert_true(calls > 200); /* one after the other on a busy machine is 50 */
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_replica_that_hangs_does_not_eat_the_deadline), /* first: it forks */
		TEST(a_call_gets_the_reply_to_its_own_request),
		TEST(a_handlers_error_reaches_the_caller_as_it_was),
		TEST(everyone_may_ping),
		TEST(a_slow_call_holds_up_no_other),
		TEST(a_replica_that_is_down_at_start_is_no_error),
		TEST(replicas_that_restart_under_load_cost_no_call),
		TEST(the_system_ca_is_rolled_over_under_load_at_no_call),
		TEST(an_unavailable_replica_is_passed_over),
		TEST(a_handlers_word_is_final),
		cmocka_unit_test(what_follows_from_an_error_depends_on_who_refused),
		TEST(a_replica_with_a_wrong_clock_costs_no_call),
		TEST(a_caller_with_a_wrong_clock_fails_at_once),
		TEST(a_slow_replica_that_lives_is_waited_for),
		TEST(each_kind_of_bad_message_is_refused_and_told),
		TEST(a_service_that_may_not_send_it_is_refused),
		TEST(a_certificate_of_another_system_ca_does_not_even_connect),
		TEST(a_server_of_another_service_is_not_spoken_to),
		TEST(a_reply_counts_only_if_it_answers_this_very_request),
		TEST(stopping_lets_the_request_in_flight_finish),
		TEST(one_that_stops_finishes_what_it_has_and_sends_others_elsewhere),
		TEST(many_calls_are_in_flight_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
