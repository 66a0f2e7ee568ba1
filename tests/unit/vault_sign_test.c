/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_sign_test.c: who refused a signature, as the issuer hears it: only the vault's verdict on the item
 * may cancel a certificate. A real bus, and a vault that answers what the test wants.
 */
#include "system_ca.h"
#include "vaultclient/vaultclient.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct vault {
	bool fails, refused, retryable;
	int64_t clock_offset_us;
};

static int64_t offset_now(void *context)
{
	return ch_clock_now_us(ch_clock_system()) + ((struct vault *)context)->clock_offset_us;
}

static bool sign(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		 struct ch_error *err)
{
	const Chancery__SignRequest *asked = (const Chancery__SignRequest *)request->payload;
	const struct vault *vault = state;
	Chancery__SignReply *made;

	if (vault->fails)
		return ch_fail(err, CH_DENIED, "the vault as a whole says no");
	made = CH_PROTO_NEW(Chancery__SignReply, chancery__sign_reply__init);
	made->results = ch_alloc_pointers(asked->n_items);
	made->n_results = asked->n_items;
	for (size_t i = 0; i < asked->n_items; i++) {
		made->results[i] = CH_PROTO_NEW(Chancery__SignResult, chancery__sign_result__init);
		made->results[i]->code = CH_DENIED;
		made->results[i]->message = ch_strdup("no");
		made->results[i]->refused = vault->refused;
		made->results[i]->retryable = vault->retryable;
	}
	*reply = &made->base;
	return true;
}

static const struct ch_bus_route route =
	CH_BUS_ROUTE(SIGN, sign_request, "issuer", 64 * 1024, SIGN_REPLY, sign, 0);

static char *free_address(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ch_format("127.0.0.1:%d", ntohs(address.sin_port));
}

static struct ch_error ask(struct ch_bus_client *bus)
{
	struct ch_vault_client *client = ch_vault_client_new(bus);
	const struct ch_vault_context context = { .tenant = "default", .timeout_us = 5 * CH_SECOND };
	const struct ch_vault_item item = { .key_id = "k",
					    .purpose = CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE,
					    .to_be_signed = ch_view_text("tbs") };
	CH_AUTO(ch_bytes) signature = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(ch_vault_sign(client, &context, &item, &signature, &err));
	ch_vault_client_free(client);
	return err;
}

/*
 * What went out twice may have been signed by the first who got it, whatever the second says. Two vaults, of
 * which the one whose turn it is first is a minute off: a reply that is not believed, and then a refusal.
 * `options`, `vault`: of the one that is there.
 */
static void only_of_one_asking(const struct ch_bus_server_options *options, struct vault *vault,
			       struct ch_identity *issuer)
{
	struct vault ahead = { .refused = true, .clock_offset_us = CH_MINUTE };
	const struct ch_clock clock = { offset_now, &ahead };
	struct ch_bus_listen_config listen = { .listen = free_address(), .workers = 1 };
	char *both[] = { listen.listen, options->listen->listen };
	struct ch_conf_strings addresses = { both, 2 };
	struct ch_bus_server_options other = *options;
	int64_t until = ch_monotonic_us() + 10 * CH_SECOND;
	struct ch_bus_server *server;
	struct ch_bus_client *bus;
	struct ch_error err = CH_NONE;

	*vault = (struct vault){ .refused = true };
	other.listen = &listen;
	other.clock = &clock;
	other.state = &ahead;
	assert_true(ch_bus_server_start(&other, &server, &err));
	assert_true(ch_bus_client_open("vault", &addresses, issuer, ch_clock_system(), NULL, &bus, &err));
	while (ch_bus_client_reachable(bus) < 2 && ch_monotonic_us() < until)
		usleep(5000);
	err = ask(bus);
	assert_int_equal(err.origin, CH_ORIGIN_HANDLER);
	assert_string_equal(err.message, "vault: no");
	assert_int_equal(ask(bus).origin, CH_ORIGIN_ITEM); /* the other is passed over now: asked once */
	ch_bus_client_close(bus);
	ch_bus_server_stop(server, 0);
	free(listen.listen);
}

static void only_the_verdict_on_the_item_is_final(void **state)
{
	struct vault vault = CH_NONE;
	const struct ch_clock clock = { offset_now, &vault };
	struct ch_bus_listen_config listen = { .listen = free_address(), .workers = 1 };
	struct ch_conf_strings addresses = { &listen.listen, 1 };
	struct ch_identity_config vault_files, issuer_files;
	struct ch_identity *vault_identity, *issuer_identity;
	struct ch_bus_server *server;
	struct ch_bus_client *bus;
	struct system_ca ca;
	struct ch_error err = CH_NONE;

	(void)state;
	system_ca_make(&ca);
	system_ca_issue(&ca, "vault", "vault-1", -7200, 7200, &vault_files);
	system_ca_issue(&ca, "issuer", "issuer-1", -7200, 7200, &issuer_files);
	assert_true(ch_identity_load(&vault_files, "vault", "vault-1", &vault_identity, &err));
	assert_true(ch_identity_load(&issuer_files, "issuer", "issuer-1", &issuer_identity, &err));
	const struct ch_bus_server_options options = { .listen = &listen,
						       .identity = vault_identity,
						       .clock = &clock,
						       .routes = &route,
						       .route_count = 1,
						       .state = &vault };
	assert_true(ch_bus_server_start(&options, &server, &err));
	assert_true(ch_bus_client_open("vault", &addresses, issuer_identity, ch_clock_system(), NULL, &bus,
				       &err));

	vault = (struct vault){ .refused = true };
	assert_int_equal(ask(bus).origin, CH_ORIGIN_ITEM);
	vault = (struct vault){ .retryable = true }; /* it only could not */
	assert_int_equal(ask(bus).origin, CH_ORIGIN_HANDLER);
	vault = (struct vault)CH_NONE; /* a version that does not say */
	assert_int_equal(ask(bus).origin, CH_ORIGIN_HANDLER);
	vault = (struct vault){ .fails = true };
	assert_int_equal(ask(bus).origin, CH_ORIGIN_HANDLER);
	vault = (struct vault){ .refused = true, .clock_offset_us = CH_MINUTE };
	err = ask(bus);
	assert_int_equal(err.origin, CH_ORIGIN_TRANSPORT);
	assert_true(err.retryable);

	ch_bus_client_close(bus);
	only_of_one_asking(&options, &vault, issuer_identity);
	ch_bus_server_stop(server, 0);
	ch_identity_free(vault_identity);
	ch_identity_free(issuer_identity);
	system_ca_forget(&vault_files);
	system_ca_forget(&issuer_files);
	system_ca_remove(&ca);
	free(listen.listen);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(only_the_verdict_on_the_item_is_final) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
