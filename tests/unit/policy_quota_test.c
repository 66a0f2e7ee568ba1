/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_quota_test.c: what a refused signature costs: nothing. A key's quota and its callers' are spent
 * together or not at all (services/vault/policy/quota.c), on a real PostgreSQL as the role chancery_vault.
 */
#include "policy.h"
#include "vault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

/* One an hour: none comes back while a test runs. */
static struct vault_caller_quota limits[] = {
	{ (char *)(uintptr_t) "issuer", (char *)(uintptr_t) "end-entity-certificate", 4, 1 },
	{ (char *)(uintptr_t) "issuer/issuer-1", (char *)(uintptr_t) "end-entity-certificate", 2, 1 },
};

struct fixture {
	struct vault_config config;
	struct vault vault;
	struct vault_key key;
};

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	postgres_does("DELETE FROM quotas");
	f->config.caller_quotas = (struct ch_conf_list){ .items = limits, .count = CH_COUNT(limits) };
	f->vault.config = &f->config;
	f->vault.metrics = ch_metrics_new();
	f->vault.db = postgres_open("chancery_vault", 2);
	f->vault.quotas = vault_quotas_new();
	snprintf(f->key.key_id, sizeof(f->key.key_id), "%s", "11111111111111111111111111111111");
	f->key.quota_burst = 6;
	f->key.quota_per_hour = 1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	vault_quotas_free(f->vault.quotas);
	ch_db_close(f->vault.db);
	ch_metrics_free(f->vault.metrics);
	free(f);
	return 0;
}

/* "" where it may sign, else whose quota refused. */
static const char *take(struct fixture *f, const char *service, const char *instance,
			Chancery__Purpose purpose)
{
	const struct vault_quota_ask ask = { .vault = &f->vault,
					     .key = &f->key,
					     .purpose = vault_purpose_find(purpose),
					     .service = service,
					     .instance = instance };
	const char *reason = "";
	struct ch_error err = CH_NONE;

	if (vault_quota_take(&ask, &reason, &err))
		return "";
	assert_int_equal(err.code, CH_EXHAUSTED);
	assert_true(err.retry_after_ms > 0);
	return reason;
}

static const char *certificate(struct fixture *f, const char *instance)
{
	return take(f, "issuer", instance, CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE);
}

/* Of a purpose that no caller has a quota for. */
static const char *list(struct fixture *f)
{
	return take(f, "crl", "crl-1", CHANCERY__PURPOSE__PURPOSE_CRL);
}

static void a_key_makes_its_burst_and_no_more(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 6; i++)
		assert_string_equal(list(f), "");
	assert_string_equal(list(f), "key-quota");
}

static void what_a_callers_quota_refuses_costs_the_key_nothing(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(certificate(f, "issuer-1"), "");
	assert_string_equal(certificate(f, "issuer-1"), "");
	for (int i = 0; i < 10; i++)
		assert_string_equal(certificate(f, "issuer-1"), "caller-quota");
	for (int i = 0; i < 4; i++)
		assert_string_equal(list(f), "");
	assert_string_equal(list(f), "key-quota");
}

/* The quota of all instances together is asked before that of the one. */
static void what_an_instances_quota_refuses_costs_the_others_nothing(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(certificate(f, "issuer-1"), "");
	assert_string_equal(certificate(f, "issuer-1"), "");
	for (int i = 0; i < 10; i++)
		assert_string_equal(certificate(f, "issuer-1"), "caller-quota");
	assert_string_equal(certificate(f, "issuer-2"), "");
	assert_string_equal(certificate(f, "issuer-2"), "");
	assert_string_equal(certificate(f, "issuer-2"), "caller-quota"); /* 4 of all together */
}

static void what_a_key_refuses_costs_its_caller_nothing(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 6; i++)
		assert_string_equal(list(f), "");
	for (int i = 0; i < 10; i++)
		assert_string_equal(certificate(f, "issuer-1"), "key-quota");
	f->key.quota_burst = 0; /* officers lift it */
	assert_string_equal(certificate(f, "issuer-1"), "");
	assert_string_equal(certificate(f, "issuer-1"), "");
	assert_string_equal(certificate(f, "issuer-1"), "caller-quota");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_key_makes_its_burst_and_no_more),
		TEST(what_a_callers_quota_refuses_costs_the_key_nothing),
		TEST(what_an_instances_quota_refuses_costs_the_others_nothing),
		TEST(what_a_key_refuses_costs_its_caller_nothing),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
