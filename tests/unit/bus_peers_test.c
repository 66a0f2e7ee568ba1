/* SPDX-License-Identifier: Apache-2.0 */
/* bus_peers_test.c: a service's two tables: who may send it what, and whom it calls. */
#include "bus/bus.h"

#include "system_ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void senders_are_whole_words(void **state)
{
	static const struct {
		const char *senders, *service;
		bool takes;
	} rows[] = {
		{ "one", "one", true },
		{ "one another", "one", true },
		{ "one another", "another", true },
		{ "one another", "on", false },
		{ "one another", "ones", false },
		{ "one another", "one another", false },
		{ "one another", "", false },
		{ "one  another ", "", false },
		{ "one  another", "another", true },
		{ "", "one", false },
		{ "", "", false },
	};

	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		const struct ch_bus_route route = { .senders = rows[i].senders };

		if (ch_bus_route_takes(&route, rows[i].service) != rows[i].takes)
			fail_msg("'%s' of '%s'", rows[i].service, rows[i].senders);
	}
}

struct fixture {
	struct system_ca ca;
	struct ch_identity_config files;
	struct ch_identity *identity;
};

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_error err = CH_NONE;

	system_ca_make(&f->ca);
	system_ca_issue(&f->ca, "new", "new-1", -60, 3600, &f->files);
	assert_true(ch_identity_load(&f->files, "new", "new-1", &f->identity, &err));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_identity_free(f->identity);
	system_ca_forget(&f->files);
	system_ca_remove(&f->ca);
	free(f);
	return 0;
}

static bool open_with(struct fixture *f, struct ch_conf_named_list *items, size_t count,
		      struct ch_bus_peers **peers, struct ch_error *err)
{
	static const struct ch_bus_peer rows[] = {
		{ "one", CH_READY_FAILED, "cannot", NULL },
		{ "another", CH_READY_DEGRADED, "can a little", NULL },
	};
	const struct ch_daemon_config config = { .peers = { items, count } };
	const struct ch_bus_peers_options options = { .rows = rows,
						      .count = CH_COUNT(rows),
						      .config = &config,
						      .identity = f->identity,
						      .clock = ch_clock_system() };

	return ch_bus_peers_open(&options, peers, err);
}

/* A service of any name, with peers of any names: the library knows none. */
static void each_row_has_a_client(void **state)
{
	char *address = (char *)(uintptr_t) "127.0.0.1:1";
	struct ch_conf_named_list items[] = { { (char *)(uintptr_t) "another", { &address, 1 } },
					      { (char *)(uintptr_t) "unused", { NULL, 0 } },
					      { (char *)(uintptr_t) "one", { &address, 1 } } };
	struct ch_bus_peers *peers = NULL;
	struct ch_error err = CH_NONE;

	if (!open_with(*state, items, CH_COUNT(items), &peers, &err))
		fail_msg("%s", err.message);
	assert_non_null(ch_bus_peers_client(peers, "one"));
	assert_non_null(ch_bus_peers_client(peers, "another"));
	assert_ptr_not_equal(ch_bus_peers_client(peers, "one"), ch_bus_peers_client(peers, "another"));
	assert_null(ch_bus_peers_client(peers, "unused"));
	assert_null(ch_bus_peers_client(NULL, "one"));
	ch_bus_peers_close(peers);
	ch_bus_peers_close(NULL);
}

static void a_peer_without_addresses_is_named(void **state)
{
	char *address = (char *)(uintptr_t) "127.0.0.1:1";
	struct ch_conf_named_list items[] = { { (char *)(uintptr_t) "one", { &address, 1 } } };
	struct ch_bus_peers *peers = NULL;
	struct ch_error err = CH_NONE;

	assert_false(open_with(*state, items, 1, &peers, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_string_equal(err.message, "peers.another is empty: this daemon calls it");
	assert_null(peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(senders_are_whole_words),
		cmocka_unit_test(each_row_has_a_client),
		cmocka_unit_test(a_peer_without_addresses_is_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
