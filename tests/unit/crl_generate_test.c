/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl_generate_test.c: one CRL in its numbered steps (services/crl/generate.c) on a real PostgreSQL, with a
 * vault that signs or does not do as it should: link with -Wl,--wrap=ch_vault_sign.
 */
#include "crl_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"
#include "system_ca.h"

enum mood { SIGNS, SIGNS_OTHER_BYTES, SIGNS_WITH_ANOTHER_KEY, REFUSES };

struct house {
	struct fixture *fixture;
	struct system_ca system;
	struct ch_identity_config files;
	struct ch_identity *identity;
	enum mood vault;
	EVP_PKEY *other;
};

static bool takes_nothing(void *state, const Chancery__AppendEventsRequest *request,
			  Chancery__AppendEventsReply **reply, struct ch_error *err)
{
	return ch_fail(err, CH_UNAVAILABLE, "nobody listens");
}

bool __wrap_ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
			  const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err);

bool __wrap_ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
			  const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err)
{
	const struct house *house = (const void *)client;

	if (house->vault == REFUSES)
		return ch_fail(err, CH_DENIED, "the key's policy");
	*signature =
		signature_of(house->vault == SIGNS_WITH_ANOTHER_KEY ? house->other : house->fixture->key,
			     house->vault == SIGNS_OTHER_BYTES ? ch_view_text("other") : item->to_be_signed);
	return true;
}

static int open_house(void **state)
{
	struct house *house = ch_alloc(sizeof(*house));
	struct ch_audit_options audit = { .clock = ch_clock_system(), .deliver = takes_nothing };
	struct ch_outbox_options outbox = { .service = "crl", .instance = "crl-1", .interval_us = CH_HOUR };
	struct crl *crl;

	if (set_up((void **)&house->fixture) != 0)
		return -1;
	crl = &house->fixture->crl;
	system_ca_make(&house->system);
	system_ca_issue(&house->system, "crl", "crl-1", -60, 3600, &house->files);
	assert_true(ch_identity_load(&house->files, NULL, NULL, &house->identity, NULL));
	audit.identity = house->identity;
	audit.state_directory = house->system.directory;
	assert_true(ch_audit_open(&audit, &crl->audit, NULL));
	outbox.db = crl->db;
	outbox.audit = crl->audit;
	outbox.metrics = crl->metrics;
	crl->outbox = ch_outbox_new(&outbox);
	crl->clock = ch_clock_system();
	crl->vault = (void *)house;
	house->fixture->config.lease_us = 20 * CH_SECOND;
	house->other = EVP_EC_gen("P-256");
	*state = house;
	return 0;
}

static int close_house(void **state)
{
	struct house *house = *state;
	CH_AUTO(ch_string) remove = ch_format("rm -rf '%s'/spool '%s'/audit-numbers", house->system.directory,
					      house->system.directory);

	ch_outbox_close(house->fixture->crl.outbox);
	ch_audit_close(house->fixture->crl.audit, 0);
	assert_int_equal(system(remove), 0);
	ch_identity_free(house->identity);
	system_ca_forget(&house->files);
	system_ca_remove(&house->system);
	EVP_PKEY_free(house->other);
	tear_down((void **)&house->fixture);
	free(house);
	return 0;
}

static bool generate(struct house *house, struct crl_record *made, struct ch_error *err)
{
	return crl_generate(&house->fixture->crl, &house->fixture->ca.ca, NULL, made, err);
}

/* How many numbers are in that state. */
static void assert_numbers(const struct house *house, const char *state, int count)
{
	postgres_does("SELECT 1 / (count(*) = %d)::int FROM crls WHERE ca_id = %lld AND state = '%s'", count,
		      (long long)house->fixture->ca.ca.ca_id, state);
}

static bool is_served(const struct house *house)
{
	CH_AUTO(crl_record) served = CH_NONE;

	crl_board_newest(house->fixture->crl.board, house->fixture->ca.ca.ca_id, &served);
	return served.number != 0;
}

static void a_list_is_signed_served_and_told(void **state)
{
	struct house *house = *state;
	const struct crl_ca *ca = &house->fixture->ca.ca;
	const struct ch_crl_issuer issuer = { .algorithm = ca->algorithm };
	CH_AUTO(crl_record) made = CH_NONE;
	struct ch_view tbs;
	struct ch_error err;

	postgres_does("TRUNCATE audit_outbox");
	if (!generate(house, &made, &err))
		fail_msg("%s", err.message);
	assert_int_equal(made.number, 1);
	assert_true(
		ch_crl_verify(ch_view_of(&made.der), &issuer, ch_view_of(&ca->public_key_info), &tbs, &err));
	assert_true(is_served(house));
	assert_numbers(house, "published", 1);
	postgres_does("SELECT 1 / (count(*) = 1)::int FROM audit_outbox");
}

/* A vault, or who stands between, may lie: everyone would be served the list for as long as it is fresh. */
static void a_wrong_signature_is_published_to_nobody(void **state)
{
	static const enum mood lies[] = { SIGNS_OTHER_BYTES, SIGNS_WITH_ANOTHER_KEY };
	struct house *house = *state;
	struct ch_error err;

	postgres_does("TRUNCATE audit_outbox");
	for (size_t i = 0; i < CH_COUNT(lies); i++) {
		CH_AUTO(crl_record) made = CH_NONE;

		house->vault = lies[i];
		assert_false(generate(house, &made, &err));
		assert_int_equal(err.code, CH_UNAUTHENTICATED);
		assert_non_null(strstr(err.message, "signature by key"));
		assert_int_equal(made.number, 0);
	}
	assert_false(is_served(house));
	assert_numbers(house, "abandoned", 2);
	assert_numbers(house, "published", 0);
	postgres_does("SELECT 1 / (count(*) = 0)::int FROM audit_outbox");
}

/* Nobody knows whether a list of that number has left the house. */
static void a_number_that_was_not_published_is_given_up(void **state)
{
	struct house *house = *state;
	CH_AUTO(crl_record) none = CH_NONE, made = CH_NONE;
	struct ch_error err;

	house->vault = REFUSES;
	assert_false(generate(house, &none, &err));
	assert_non_null(strstr(err.message, "the key's policy"));
	house->vault = SIGNS;
	assert_true(generate(house, &made, &err));
	assert_int_equal(made.number, 2);
	assert_numbers(house, "abandoned", 1);
}

static void what_is_not_due_is_not_made_again(void **state)
{
	struct house *house = *state;
	CH_AUTO(crl_record) first = CH_NONE, second = CH_NONE;
	struct ch_error err;

	assert_true(generate(house, &first, &err));
	assert_true(generate(house, &second, &err));
	assert_int_equal(second.number, 1);
	assert_numbers(house, "published", 1);
}

static void a_key_algorithm_that_is_not_known_is_refused(void **state)
{
	struct house *house = *state;
	CH_AUTO(crl_record) made = CH_NONE;
	struct ch_error err;

	house->fixture->ca.ca.algorithm = NULL;
	assert_false(generate(house, &made, &err));
	assert_int_equal(err.code, CH_UNSUPPORTED);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, open_house, close_house)
	const struct CMUnitTest tests[] = {
		TEST(a_list_is_signed_served_and_told),
		TEST(a_wrong_signature_is_published_to_nobody),
		TEST(a_number_that_was_not_published_is_given_up),
		TEST(what_is_not_due_is_not_made_again),
		TEST(a_key_algorithm_that_is_not_known_is_refused),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
