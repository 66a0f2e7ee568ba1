/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ocsp_respond_test.c: who answers for whom, until when, and what is kept (services/ocsp/respond.c), which
 * CAs are served (store.c), and what a log that went back does to the cache (follow.c), on a real PostgreSQL.
 * A stand-in for the vault signs: link with -Wl,--wrap=ch_vault_sign.
 */
#include "ocsp.h"
#include "x509/serial.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

#define NOW (INT64_C(1795255200) * CH_SECOND)

static int64_t now(void *context)
{
	return NOW;
}

bool __wrap_ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
			  const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err);

bool __wrap_ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
			  const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err)
{
	*signature = ch_bytes_copy(ch_view_text("signature"));
	return true;
}

struct fixture {
	struct ocsp_config config;
	struct ch_clock clock;
	struct ocsp ocsp;
	char spki[256]; /* hex */
	uint8_t serials[4][CH_SERIAL_SIZE];
	char wholes[4][40];
};

static void add_ca(const struct fixture *f, const char *name, const char *state)
{
	postgres_does(
		"INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, "
		"public_key_sha256, residency) VALUES ('key-%s', 'default', '', 'ecdsa-p256', '{}', '', "
		"'%s', '{}')",
		name, name);
	postgres_does(
		"INSERT INTO cas (tenant_id, name, state, document, document_sha256, subject_der, subject, "
		"key_id, key_algorithm, public_key_info, key_identifier, tbs_certificate, certificate_der, "
		"not_before, not_after, serial_tag_key) VALUES ('default', '%s', '%s', '', '', '%s', '', "
		"'key-%s', 'ecdsa-p256', '\\x%s', '', '', '\\x00', '2026-01-01Z', '2036-01-01Z', "
		"decode(repeat('07', 32), 'hex'))",
		name, state, name, name, f->spki);
}

/* The CAs as store.c reads them, each with a responder until then. */
static void serve(struct fixture *f, int64_t until_us)
{
	struct ch_error err = CH_NONE;
	struct ocsp_authorities *authorities;

	ocsp_authorities_release(f->ocsp.authorities);
	if (!ocsp_store_authorities(f->ocsp.db, &f->ocsp.authorities, &err))
		fail_msg("%s", err.message);
	authorities = f->ocsp.authorities;
	for (size_t i = 0; i < authorities->count; i++) {
		struct ocsp_authority *authority = &authorities->items[i];

		authority->responders = ch_alloc(sizeof(*authority->responders));
		authority->responder_count = 1;
		*authority->responders =
			(struct ocsp_responder){ .certificate = ch_bytes_copy(ch_view("\x30", 2)),
						 .algorithm = ch_algorithm_find("ecdsa-p256"),
						 .not_before_us = NOW - CH_DAY,
						 .not_after_us = until_us };
	}
}

static void make_metrics(struct fixture *f)
{
	struct ch_metrics *registry = ch_metrics_new();

	f->ocsp.registry = registry;
	for (size_t i = 0; i < CH_COUNT(f->ocsp.metrics.statuses); i++)
		f->ocsp.metrics.statuses[i] = ch_metrics_counter(registry, "statuses", "", "");
	f->ocsp.metrics.invalid_tag = ch_metrics_counter(registry, "tag", "", "");
	f->ocsp.metrics.sign_seconds = ch_metrics_histogram(registry, "sign", "", "");
	f->ocsp.metrics.log_sequence = ch_metrics_gauge(registry, "log", "", "");
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t *der = NULL, tag_key[32];
	int size = i2d_PUBKEY(key, &der);
	CH_AUTO(ch_string) hex = ch_hex(ch_view(der, (size_t)size));

	memset(tag_key, 7, sizeof(tag_key));
	snprintf(f->spki, sizeof(f->spki), "%s", hex);
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	for (int i = 0; i < 4; i++)
		ch_serial_make(ch_view(tag_key, 32), NOW + 90 * CH_DAY, f->serials[i]);
	postgres_does("SELECT ensure_certificate_partitions(670, 700)");
	postgres_does(
		"SET session_replication_role = replica; DELETE FROM certificates; DELETE FROM cas; "
		"DELETE FROM keys; DELETE FROM revocation_log; UPDATE revocation_log_head SET sequence = 0");
	f->config.response_validity_us = CH_HOUR;
	f->clock = (struct ch_clock){ now, NULL };
	make_metrics(f);
	f->ocsp.config = &f->config;
	f->ocsp.clock = &f->clock;
	f->ocsp.db = postgres_open("chancery_ocsp", 2);
	f->ocsp.cache = ocsp_cache_new(1 << 20, f->ocsp.registry);
	f->ocsp.database_up = true;
	f->ocsp.authorities_at_us = INT64_MAX / 2; /* not again by itself */
	pthread_mutex_init(&f->ocsp.lock, NULL);
	pthread_mutex_init(&f->ocsp.reading, NULL);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ocsp_authorities_release(f->ocsp.authorities);
	ocsp_cache_free(f->ocsp.cache);
	ch_db_close(f->ocsp.db);
	ch_metrics_free(f->ocsp.registry);
	pthread_mutex_destroy(&f->ocsp.lock);
	pthread_mutex_destroy(&f->ocsp.reading);
	free(f);
	return 0;
}

static void add_certificate(const struct fixture *f, const char *ca, int number)
{
	CH_AUTO(ch_string) serial = ch_hex(ch_view(f->serials[number], CH_SERIAL_SIZE));

	postgres_does(
		"INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
		"profile_version, subject, public_key_sha256, not_before, not_after, requested_by, "
		"reserved_by, issued_at) SELECT %d, ca_id, '\\x%s', 'default', 'issued', 'p', 1, '', '', "
		"'2026-01-01Z', '2027-03-15Z', '', '', '2026-01-01Z' FROM cas WHERE name = '%s'",
		ch_serial_period(ch_view(f->serials[number], CH_SERIAL_SIZE)), serial, ca);
}

static const struct ocsp_authority *named(const struct fixture *f, const char *name)
{
	for (size_t i = 0; i < f->ocsp.authorities->count; i++)
		if (strcmp(f->ocsp.authorities->items[i].name, name) == 0)
			return &f->ocsp.authorities->items[i];
	return NULL;
}

static struct ch_cert_id cert_id(struct fixture *f, const char *ca, int number)
{
	const struct ocsp_authority *authority = named(f, ca);

	assert_non_null(authority);
	snprintf(f->wholes[number], sizeof(f->wholes[number]), "%s-%d", ca, number);
	return (struct ch_cert_id){ .whole = ch_view_text(f->wholes[number]),
				    .hash = CH_CERT_ID_SHA1,
				    .issuer_name_hash = ch_view(authority->issuer_name_hash[0], 20),
				    .issuer_key_hash = ch_view(authority->issuer_key_hash[0], 20),
				    .serial = ch_view(f->serials[number], CH_SERIAL_SIZE) };
}

static bool ask(struct fixture *f, const struct ocsp_request *request, struct ocsp_answer **answer,
		enum ocsp_response_status *outcome)
{
	const struct ocsp_question question = { .request = request };
	struct ch_error err;

	return ocsp_respond(&f->ocsp, &question, answer, outcome, &err);
}

static bool is_cached(struct fixture *f, const struct ch_cert_id *id)
{
	CH_AUTO(ocsp_answer) answer = ocsp_cache_find(f->ocsp.cache, id, NOW);

	return answer != NULL;
}

/* What was issued lives on after its CA: whoever holds it is to be told. */
static void all_cas_are_served_but_those_that_are_pending(void **state)
{
	static const char *const states[] = { "active", "suspended", "retired", "revoked" };
	struct fixture *f = *state;

	for (size_t i = 0; i < CH_COUNT(states); i++)
		add_ca(f, states[i], states[i]);
	add_ca(f, "pending", "pending");
	serve(f, NOW + CH_DAY);
	for (size_t i = 0; i < CH_COUNT(states); i++)
		assert_non_null(named(f, states[i]));
	assert_null(named(f, "pending"));
}

/* RFC 6960 §4.2.2.2: one CA's responder says nothing of another's certificates. */
static void two_cas_in_one_request_are_not_answered(void **state)
{
	struct fixture *f = *state;
	struct ocsp_request request = { .count = 2 };
	enum ocsp_response_status outcome;
	CH_AUTO(ocsp_answer) answer = NULL;

	add_ca(f, "one", "active");
	add_ca(f, "two", "active");
	add_certificate(f, "one", 0);
	add_certificate(f, "two", 1);
	serve(f, NOW + CH_DAY);
	request.cert_ids[0] = cert_id(f, "one", 0);
	request.cert_ids[1] = cert_id(f, "two", 1);
	assert_false(ask(f, &request, &answer, &outcome));
	assert_int_equal(outcome, OCSP_UNAUTHORIZED);
	request.cert_ids[1] = cert_id(f, "one", 1);
	assert_true(ask(f, &request, &answer, &outcome));
	assert_int_equal(outcome, OCSP_SUCCESSFUL);
	assert_false(is_cached(f, &request.cert_ids[0])); /* two are nobody else's question */
}

/* It could not be verified after that. */
static void an_answer_ends_with_its_responders_certificate(void **state)
{
	static const struct {
		int64_t until_us, next_update_us;
	} rows[] = {
		{ NOW + 5 * CH_MINUTE + 1, NOW + 5 * CH_MINUTE },
		{ NOW + 5 * CH_MINUTE, NOW + 5 * CH_MINUTE },
	};
	struct fixture *f = *state;
	enum ocsp_response_status outcome;

	add_ca(f, "one", "active");
	add_certificate(f, "one", 0);
	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		struct ocsp_request request = { .count = 1 };
		CH_AUTO(ocsp_answer) answer = NULL;

		serve(f, rows[i].until_us);
		request.cert_ids[0] = cert_id(f, "one", 0);
		assert_true(ask(f, &request, &answer, &outcome));
		assert_int_equal(answer->status, OCSP_GOOD);
		assert_int_equal(answer->window.next_update_us, rows[i].next_update_us);
	}
}

/* Anybody can invent any number of serials; a nonce is for one who asks. */
static void what_others_ask_too_is_kept_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct ocsp_request request = { .count = 1 };
	CH_AUTO(ocsp_answer) good = NULL, unknown = NULL, again = NULL;
	enum ocsp_response_status outcome;

	add_ca(f, "one", "active");
	add_certificate(f, "one", 0);
	serve(f, NOW + CH_DAY);
	request.cert_ids[0] = cert_id(f, "one", 1);
	assert_true(ask(f, &request, &unknown, &outcome));
	assert_int_equal(unknown->status, OCSP_UNKNOWN);
	assert_false(is_cached(f, &request.cert_ids[0]));
	request.cert_ids[0] = cert_id(f, "one", 0);
	request.nonce = ch_view_text("nonce");
	assert_true(ask(f, &request, &good, &outcome));
	assert_int_equal(good->status, OCSP_GOOD);
	assert_false(is_cached(f, &request.cert_ids[0]));
	request.nonce = (struct ch_view)CH_NONE;
	assert_true(ask(f, &request, &again, &outcome));
	assert_true(is_cached(f, &request.cert_ids[0]));
}

/* Another server took over, and has not all that the last one had: what was answered by that is forgotten. */
static void a_log_that_goes_back_empties_the_cache(void **state)
{
	struct fixture *f = *state;
	struct ocsp_request request = { .count = 1 };
	CH_AUTO(ocsp_answer) answer = NULL;
	enum ocsp_response_status outcome;
	struct ch_error err;
	int64_t sequence = OCSP_FOLLOW_NOT_YET;

	add_ca(f, "one", "active");
	add_certificate(f, "one", 0);
	serve(f, NOW + CH_DAY);
	postgres_does("SET session_replication_role = replica; UPDATE revocation_log_head SET sequence = 7");
	assert_true(ocsp_follow_log(&f->ocsp, f->ocsp.db, &sequence, &err));
	assert_int_equal(sequence, 7);
	request.cert_ids[0] = cert_id(f, "one", 0);
	assert_true(ask(f, &request, &answer, &outcome));
	assert_true(ocsp_follow_log(&f->ocsp, f->ocsp.db, &sequence, &err));
	assert_true(is_cached(f, &request.cert_ids[0]));
	postgres_does("SET session_replication_role = replica; UPDATE revocation_log_head SET sequence = 5");
	assert_true(ocsp_follow_log(&f->ocsp, f->ocsp.db, &sequence, &err));
	assert_int_equal(sequence, 5);
	assert_false(is_cached(f, &request.cert_ids[0]));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(all_cas_are_served_but_those_that_are_pending),
		TEST(two_cas_in_one_request_are_not_answered),
		TEST(an_answer_ends_with_its_responders_certificate),
		TEST(what_others_ask_too_is_kept_and_nothing_else),
		TEST(a_log_that_goes_back_empties_the_cache),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
