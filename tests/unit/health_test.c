/* SPDX-License-Identifier: Apache-2.0 */
/* health_test.c: what a daemon needs and lacks shows on /readyz within seconds, and goes away by itself. Run
 * in tests/unit. */
#include "health/health.h"

#include "daemon/internal.h"
#include "system_ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>
#include <cjson/cJSON.h>

#include "postgres.h"

#define PATIENCE (20 * CH_SECOND)

struct fixture {
	struct ch_daemon daemon;
	struct ch_health *health;
	char url[512];
	struct ch_database_config database;
};

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	pthread_condattr_t monotonic;

	f->daemon.metrics = ch_metrics_new();
	atomic_store(&f->daemon.opened, true);
	pthread_mutex_init(&f->daemon.lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&f->daemon.wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_health_stop(f->health);
	while (f->daemon.conditions) {
		struct ch_readiness *next = f->daemon.conditions->next;

		free(f->daemon.conditions->name);
		free(f->daemon.conditions);
		f->daemon.conditions = next;
	}
	ch_metrics_free(f->daemon.metrics);
	free(f);
	return 0;
}

/* What /readyz answers has `text` in it, within PATIENCE. */
static void wait_for(struct fixture *f, const char *text, bool ready)
{
	int64_t until = ch_monotonic_us() + PATIENCE;

	for (;;) {
		bool is_ready;
		char *answer = ch_daemon_readiness_text(&f->daemon, &is_ready);
		bool found = strstr(answer, text) && is_ready == ready;

		if (!found && ch_monotonic_us() > until)
			fail_msg("waited for %s, got %s", text, answer);
		cJSON_free(answer);
		if (found)
			return;
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
}

static void watch_database(struct fixture *f, enum ch_ready without)
{
	struct ch_health_options options = { .daemon = &f->daemon,
					     .instance = "ocsp-1",
					     .database = &f->database,
					     .without_database = { without, "serving cached" } };
	struct ch_error err = CH_NONE;

	postgres_url("chancery_ocsp", f->url);
	f->database = (struct ch_database_config){ f->url, 4 };
	if (!ch_health_start(&options, &f->health, &err))
		fail_msg("%s", err.message);
	wait_for(f, "{\"name\":\"database\",\"state\":\"ok\",\"why\":\"\"}", true);
}

static void shut_out(bool with_connections)
{
	postgres_does("ALTER ROLE chancery_ocsp NOLOGIN");
	if (with_connections)
		postgres_does("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = "
			      "'chancery_ocsp'");
}

static void a_role_that_may_not_log_in_shows_and_its_return_too(void **state)
{
	struct fixture *f = *state;

	watch_database(f, CH_READY_DEGRADED);
	shut_out(true);
	wait_for(f, "\"state\":\"degraded\",\"summary\":\"database: away, serving cached: ", true);
	postgres_does("ALTER ROLE chancery_ocsp LOGIN");
	wait_for(f, "\"state\":\"ok\"", true);
}

/* Connections that are open go on: whoever asks only them finds out when it is too late. */
static void a_role_that_may_not_log_in_shows_though_its_connections_live(void **state)
{
	struct fixture *f = *state;

	watch_database(f, CH_READY_FAILED);
	shut_out(false);
	wait_for(f, "database: away, serving cached: ", false);
	postgres_does("ALTER ROLE chancery_ocsp LOGIN");
	wait_for(f, "\"state\":\"ok\"", true);
}

static void a_server_that_is_stopped_shows_and_its_return_too(void **state)
{
	struct fixture *f = *state;

	watch_database(f, CH_READY_FAILED);
	postgres_shell("%s stop %s >/dev/null", POSTGRES_TOOL, postgres_scratch);
	wait_for(f, "database: away, serving cached: ", false);
	postgres_shell("%s restart %s >/dev/null", POSTGRES_TOOL, postgres_scratch);
	wait_for(f, "\"state\":\"ok\"", true);
}

static bool nobody_takes(void *state, const Chancery__AppendEventsRequest *request,
			 Chancery__AppendEventsReply **reply, struct ch_error *err)
{
	return ch_fail(err, CH_UNAVAILABLE, "collector is down");
}

static void a_full_spool_and_a_peer_that_nobody_is_show(void **state)
{
	struct fixture *f = *state;
	const struct ch_audit_event event = { .type = "daemon.started", .outcome = "success" };
	char *nobody[] = { (char *)"127.0.0.1:9" };
	struct ch_conf_named_list addresses = { (char *)(uintptr_t) "vault", { nobody, 1 } };
	static const struct ch_bus_peer row = { "vault", CH_READY_DEGRADED, "serving cached", NULL };
	const struct ch_daemon_config config = { .peers = { &addresses, 1 } };
	struct ch_bus_peers_options wanted = {
		.rows = &row, .count = 1, .config = &config, .clock = ch_clock_system()
	};
	struct ch_identity_config files;
	struct ch_audit_options audit = { .clock = ch_clock_system(),
					  .deliver = nobody_takes,
					  .spool_cap = 5000 };
	struct ch_health_options options = { .daemon = &f->daemon,
					     .without_spool = { CH_READY_FAILED, "cannot sign" } };
	struct ch_bus_peers *peers = NULL;
	struct ch_audit_client *spool = NULL;
	struct system_ca ca;
	struct ch_error err = CH_NONE;

	system_ca_make(&ca);
	system_ca_issue(&ca, "issuer", "issuer-1", -60, 3600, &files);
	audit.state_directory = ca.directory;
	assert_true(ch_identity_load(&files, NULL, NULL, &audit.identity, &err));
	assert_true(ch_audit_open(&audit, &spool, &err));
	wanted.identity = audit.identity;
	assert_true(ch_bus_peers_open(&wanted, &peers, &err));
	options.audit = spool;
	options.peers = peers;
	assert_true(ch_health_start(&options, &f->health, &err));
	wait_for(f, "\"summary\":\"vault: away, serving cached\"", true);
	while (ch_audit_record(spool, &event, &err))
		;
	wait_for(f, "spool: takes no events, cannot sign: audit spool is full", false);
	ch_health_stop(CH_STEAL(f->health));
	ch_bus_peers_close(peers);
	ch_audit_close(spool, 0);
	ch_identity_free(audit.identity);
	system_ca_forget(&files);
	system_ca_remove(&ca);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_role_that_may_not_log_in_shows_and_its_return_too),
		TEST(a_role_that_may_not_log_in_shows_though_its_connections_live),
		TEST(a_server_that_is_stopped_shows_and_its_return_too),
		TEST(a_full_spool_and_a_peer_that_nobody_is_show),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
