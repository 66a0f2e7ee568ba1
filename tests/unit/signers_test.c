/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signers_test.c: which of the suite's own signers may sign (the view service_signers of
 * proto/schema/0004_signers.sql, in a real PostgreSQL), what the issuer sees of it (store_signers.c), and
 * when it makes another (responders.c).
 */
#include "stopping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

/* --- a root, an issuing CA below it, and its OCSP responder and TSA; new ones for each call --- */

static int world;

/* Each is a statement of its own, so that a world is made on one connection. */
static const char *const makers[] = {
	/* DER up to the serial number, which is 02 a9 (the month 681), the world and a mark. */
	"CREATE FUNCTION t_serial(n int, mark text) RETURNS bytea LANGUAGE sql AS "
	"$$ SELECT decode('02a9' || lpad(to_hex(n), 24, '0') || mark, 'hex') $$",
	"CREATE FUNCTION t_der(n int, mark text) RETURNS bytea LANGUAGE sql AS "
	"$$ SELECT '\\x30193017a0030201020210'::bytea || t_serial(n, mark) $$",
	"CREATE FUNCTION t_key(n int, what text) RETURNS void LANGUAGE sql AS $$ "
	"INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, "
	"public_key_sha256, "
	"residency) VALUES (what || n, 'default', '', 'ecdsa-p256', '{}', '', (what || n)::bytea, '{}') $$",
	"CREATE FUNCTION t_certificate(n int, mark text, ca text) RETURNS void LANGUAGE sql AS $$ "
	"INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
	"profile_version, "
	"subject, public_key_sha256, not_before, not_after, requested_by, reserved_by) SELECT 681, ca_id, "
	"t_serial(n, mark), 'default', 'issued', 'p', 1, '', '', now(), now(), '', '' FROM cas "
	"WHERE name = ca || n $$",
	"CREATE FUNCTION t_ca(n int, what text, parent text, mark text) RETURNS void LANGUAGE plpgsql AS $$ "
	"BEGIN "
	"PERFORM t_key(n, what); "
	"INSERT INTO cas (tenant_id, name, parent_id, state, document, document_sha256, subject_der, "
	"subject, "
	"key_id, key_algorithm, public_key_info, key_identifier, tbs_certificate, certificate_der, "
	"not_before, "
	"not_after, serial_tag_key) VALUES ('default', what || n, (SELECT ca_id FROM cas WHERE name = parent "
	"|| "
	"n), 'active', '', '', '', '', what || n, 'ecdsa-p256', '', '', '', t_der(n, mark), now(), now() + "
	"interval '9 days', ''); "
	"PERFORM t_certificate(n, mark, parent); END $$",
	"CREATE FUNCTION t_signer(n int, what text, mark text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN "
	"PERFORM t_key(n, what); PERFORM t_certificate(n, mark, 'sub-'); "
	"INSERT INTO service_certificates (tenant_id, kind, ca_id, key_id, certificate_der, not_before, "
	"not_after) SELECT 'default', rtrim(what, '-'), ca_id, what || n, t_der(n, mark), now(), now() + "
	"interval "
	"'3 days' FROM cas WHERE name = 'sub-' || n; END $$",
	/* Nothing of the last one is left to be seen by store_watch_signers. */
	"CREATE FUNCTION t_world(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN "
	"DELETE FROM service_certificates; "
	"PERFORM t_ca(n, 'root-', 'root-', 'aaaa'), t_ca(n, 'sub-', 'root-', 'bbbb'); "
	"PERFORM t_signer(n, 'ocsp-', 'cccc'), t_signer(n, 'tsa-', 'dddd'); END $$",
	"SELECT ensure_certificate_partitions(681, 681)",
};

static int set_up(void **state)
{
	if (postgres_start(state) != 0)
		return -1;
	for (size_t i = 0; i < CH_COUNT(makers); i++)
		postgres_does("%s", makers[i]);
	return 0;
}

static void new_world(void)
{
	postgres_does("SELECT t_world(%d)", ++world);
}

/* The text with every # the world's number; the caller frees it. */
static char *with_world(const char *text)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	for (const char *p = text; *p; p++) {
		if (*p == '#')
			ch_buffer_printf(&out, "%d", world);
		else
			ch_buffer_printf(&out, "%c", *p);
	}
	return ch_buffer_steal_text(&out);
}

static void happens(const char *sql)
{
	CH_AUTO(ch_string) text = with_world(sql);

	postgres_does("%s", text);
}

static char *ask(const char *role, const char *sql)
{
	CH_AUTO(ch_db) db = postgres_open(role, 1);
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	CH_AUTO(ch_string) text = with_world(sql);
	const struct ch_statement statement = { "test_ask", text };
	struct ch_error err;

	if (!ch_db_begin(db, NULL, &transaction, &err) ||
	    !ch_db_query(transaction, &statement, CH_NO_PARAMETERS, &rows, &err))
		fail_msg("%s: %s", text, err.message);
	assert_int_equal(ch_rows_count(rows), 1);
	return ch_strdup(ch_rows_text(rows, 0, 0));
}

static void assert_answer(const char *role, const char *sql, const char *expected)
{
	CH_AUTO(ch_string) answer = ask(role, sql);
	CH_AUTO(ch_string) wanted = with_world(expected);

	if (strcmp(answer, wanted) != 0)
		fail_msg("%s: '%s', expected '%s'", sql, answer, wanted);
}

#define OBSTACLE(kind) \
	"SELECT coalesce(obstacle, '') FROM service_signers WHERE kind = '" kind "' AND ca_name = 'sub-#'"

/* --- who may sign --- */

static void a_signer_may_sign_while_its_key_its_certificate_and_for_a_tsa_its_cas_are_good(void **state)
{
	const struct {
		const char *event, *ocsp, *tsa;
	} cases[] = {
		{ "SELECT 1", "", "" },
		{ "UPDATE keys SET state = 'compromised' WHERE key_id = 'ocsp-#'", "its key is compromised",
		  "" },
		{ "UPDATE keys SET state = 'compromised' WHERE key_id = 'tsa-#'", "",
		  "its key is compromised" },
		{ "UPDATE keys SET state = 'suspended' WHERE key_id = 'ocsp-#'", "its key is suspended", "" },
		{ "UPDATE keys SET state = 'retired' WHERE key_id = 'tsa-#'", "", "its key is retired" },
		{ "UPDATE keys SET state = 'destroyed' WHERE key_id = 'tsa-#'", "", "its key is destroyed" },
		/* RFC 6960 §2.6: status goes on being told for what a stopped CA issued; time is not stamped.
		 */
		{ "UPDATE cas SET state = 'retired' WHERE name = 'sub-#'", "", "CA 'sub-#' is retired" },
		{ "UPDATE cas SET state = 'retired' WHERE name = 'root-#'", "", "CA 'root-#' is retired" },
		{ "UPDATE cas SET not_after = now() WHERE name = 'root-#'", "", "CA 'root-#' has expired" },
		{ "UPDATE keys SET state = 'compromised' WHERE key_id = 'root-#'", "",
		  "the key of CA 'root-#' is compromised" },
		{ "UPDATE keys SET state = 'suspended' WHERE key_id = 'sub-#'", "",
		  "the key of CA 'sub-#' is suspended" },
		{ "UPDATE keys SET state = 'stopped' WHERE key_id = 'root-#'", "",
		  "the key of CA 'root-#' is stopped" },
		/* An offline root's key may rest, or be away for good: what it signed stands. */
		{ "UPDATE keys SET state = 'suspended' WHERE key_id = 'root-#'", "", "" },
		{ "UPDATE keys SET state = 'destroyed' WHERE key_id = 'root-#'", "", "" },
	};
	const struct {
		const char *mark, *status, *ocsp, *tsa;
	} certificates[] = {
		{ "cccc", "revoked", "its certificate is revoked", "" },
		{ "cccc", "suspended", "its certificate is suspended", "" },
		{ "dddd", "revoked", "", "its certificate is revoked" },
		{ "bbbb", "revoked", "", "the certificate of CA 'sub-#' is revoked" },
		{ "aaaa", "revoked", "", "the certificate of CA 'root-#' is revoked" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		new_world();
		happens(cases[i].event);
		assert_answer("chancery_ocsp", OBSTACLE("ocsp"), cases[i].ocsp);
		assert_answer("chancery_tsa", OBSTACLE("tsa"), cases[i].tsa);
	}
	for (size_t i = 0; i < CH_COUNT(certificates); i++) {
		new_world();
		postgres_does("UPDATE certificates SET status = '%s' WHERE serial = t_serial(%d, '%s')",
			      certificates[i].status, world, certificates[i].mark);
		assert_answer("chancery_ocsp", OBSTACLE("ocsp"), certificates[i].ocsp);
		assert_answer("chancery_tsa", OBSTACLE("tsa"), certificates[i].tsa);
	}
	new_world();
	happens("DELETE FROM certificates WHERE serial = t_serial(#, 'cccc')");
	assert_answer("chancery_ocsp", OBSTACLE("ocsp"), "the CA has no record of its certificate");
}

static void a_serial_number_is_read_from_any_certificate_and_from_nothing_else(void **state)
{
	const struct {
		const char *der, *serial;
	} cases[] = {
		{ "30193017a003020102021002a9000000000000000000000000000a",
		  "02a9000000000000000000000000000a" },
		{ "308201003081fda003020102020302a9ff",
		  "02a9ff" },                       /* long forms, cut short after the serial */
		{ "30073005020302a9ff", "02a9ff" }, /* version 1: none is written */
		{ "30073005020302a9", "" },
		{ "3007", "" },
		{ "", "" },
		{ "0102030405060708", "" },
		{ "30073005040302a9ff", "" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		char sql[256];

		snprintf(sql, sizeof(sql), "SELECT coalesce(encode(certificate_serial('\\x%s'), 'hex'), '')",
			 cases[i].der);
		assert_answer("owner", sql, cases[i].serial);
	}
}

/* RFC 6960 §2.7: from then on anybody may have signed with the CA's key. Destroying it changes nothing. */
static void a_cas_compromise_outlasts_its_key(void **state)
{
	const char *known =
		"SELECT (ca_compromised_at(ca_id) IS NOT NULL)::text FROM cas WHERE name = 'sub-#'";

	new_world();
	assert_answer("chancery_ocsp", known, "false");
	happens("UPDATE keys SET state = 'compromised' WHERE key_id = 'sub-#'");
	assert_answer("chancery_ocsp", known, "true");
	happens("UPDATE keys SET state = 'destroyed' WHERE key_id = 'sub-#'");
	assert_answer("chancery_ocsp", known, "true");

	new_world();
	happens("UPDATE certificates SET status = 'revoked', revoked_at = now(), revocation_reason = 4 WHERE "
		"serial = t_serial(#, 'bbbb')");
	assert_answer("chancery_ocsp", known, "false"); /* superseded: what it signed stands */
	happens("UPDATE certificates SET revocation_reason = 2 WHERE serial = t_serial(#, 'bbbb')");
	assert_answer("chancery_ocsp", known, "true");
}

/* --- what the issuer sees --- */

static int64_t watched(int column)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_error err;

	if (!store_watch_signers(db, &rows, &err))
		fail_msg("%s", err.message);
	return ch_rows_count(rows) ? ch_rows_int64(rows, 0, column) : 0;
}

static void assert_watched(int64_t missing, int64_t untold)
{
	assert_int_equal(watched(1), missing);
	assert_int_equal(watched(2), untold);
}

static void tell_all(void)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_error err;

	if (!ch_db_begin(db, "default", &transaction, &err) ||
	    !store_untold_signers(transaction, "default", &rows, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		const struct signer_change change = { .kind = ch_rows_text(rows, i, 0),
						      .ca_id = ch_rows_int64(rows, i, 1),
						      .key_id = ch_rows_text(rows, i, 3),
						      .not_before_us = ch_rows_time(rows, i, 5),
						      .obstacle = ch_rows_text(rows, i, 6) };

		if (!store_told_signer(transaction, &change, ch_view("event", 5), &err))
			fail_msg("%s", err.message);
	}
	assert_true(ch_db_commit(&transaction, &err));
}

static void a_signer_that_stops_is_missing_and_told_once(void **state)
{
	new_world();
	assert_watched(0, 0);
	happens("UPDATE keys SET state = 'suspended' WHERE key_id = 'ocsp-#'");
	assert_watched(1, 1);
	tell_all();
	assert_watched(1, 0);
	assert_answer("owner", "SELECT count(*)::text FROM audit_outbox", "1");
	happens("UPDATE keys SET state = 'active' WHERE key_id = 'ocsp-#'");
	assert_watched(0, 1); /* it may again: that is told too */
	tell_all();
	assert_watched(0, 0);
	assert_answer("owner", "SELECT count(*)::text FROM audit_outbox", "2");
}

static void an_expired_signer_is_missing_and_no_alert(void **state)
{
	new_world();
	happens("UPDATE service_certificates SET not_after = now() WHERE kind = 'tsa'");
	assert_watched(1, 0);
}

static void nothing_is_missing_of_a_ca_that_may_certify_nothing(void **state)
{
	new_world();
	happens("UPDATE keys SET state = 'compromised' WHERE key_id IN ('ocsp-#', 'tsa-#', 'root-#')");
	assert_watched(0, 2);
}

/* A stopped key certifies OCSP responders, and so does a retired one. */
static void a_stopped_cas_responder_is_missing_its_tsa_is_not(void **state)
{
	static const char *const keys[] = { "stopped", "retired" };

	for (size_t i = 0; i < CH_COUNT(keys); i++) {
		CH_AUTO(ch_string) stop =
			ch_format("UPDATE keys SET state = '%s' WHERE key_id = 'sub-#'", keys[i]);

		new_world();
		happens("UPDATE cas SET state = 'suspended' WHERE name = 'sub-#'");
		happens(stop);
		assert_watched(0, 1); /* the TSA stopped with its CA */
		happens("UPDATE keys SET state = 'compromised' WHERE key_id IN ('ocsp-#', 'tsa-#')");
		assert_watched(1, 2);
		happens("UPDATE cas SET not_after = now() WHERE name = 'sub-#'");
		assert_watched(0, 2);
	}
}

static void the_newest_certificate_that_may_sign_counts(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_string) id = NULL;
	struct signer_life life;
	struct ch_error err;

	new_world();
	id = ask("owner", "SELECT ca_id::text FROM cas WHERE name = 'sub-#'");
	happens("UPDATE keys SET state = 'compromised' WHERE key_id = 'tsa-#'");
	assert_true(ch_db_begin(db, "default", &transaction, &err));
	assert_true(store_signer_life(transaction, "ocsp", strtoll(id, NULL, 10), &life, &err));
	assert_int_equal(life.made, 1);
	assert_true(life.not_after_us > 0);
	assert_null(life.ca_obstacle);
	assert_true(store_signer_life(transaction, "tsa", strtoll(id, NULL, 10), &life, &err));
	assert_int_equal(life.made, 1); /* so that the next key is another */
	assert_int_equal(life.not_after_us, 0);
}

/* --- when another is made --- */

static void a_signer_is_due_at_two_thirds_of_its_life_or_when_none_may_sign(void **state)
{
	const struct {
		int64_t not_before, not_after, ca_not_after, now;
		bool due;
	} cases[] = {
		{ 0, 0, 1000, 1, true }, /* none that may sign */
		{ 100, 400, 1000, 100, false }, { 100, 400, 1000, 299, false }, { 100, 400, 1000, 300, true },
		{ 100, 400, 1000, 500, true },  { 100, 400, 400, 350, false }, /* ends with its CA */
		{ 100, 400, 300, 350, false },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		const struct signer_life life = { .not_before_us = cases[i].not_before,
						  .not_after_us = cases[i].not_after };

		assert_int_equal(signer_is_due(&life, cases[i].ca_not_after, cases[i].now), cases[i].due);
	}
}

/* Certificates outlast their CA's issuing, and so must what tells of their status (RFC 6960 §4.2.2.2). */
static void ocsp_responders_of_a_stopped_ca_are_renewed(void **state)
{
	static const struct {
		const char *state, *key;
		int64_t not_after;
		bool ocsp, tsa;
	} cases[] = {
		{ "active", "active", 1000, true, true },
		{ "active", "retired", 1000, true, true }, /* the TSA's obstacle is told (ca_obstacle) */
		{ "suspended", "stopped", 1000, true, false },
		{ "retired", "retired", 1000, true, false },
		{ "revoked", "retired", 1000, true, false }, /* superseded, for one */
		{ "revoked", "compromised", 1000, false, false },
		{ "suspended", "suspended", 1000, false, false },
		{ "retired", "destroyed", 1000, false, false },
		{ "retired", "retired", 500, false, false }, /* its certificate has ended */
		{ "pending", "active", 1000, false, false },
		{ "retired", NULL, 1000, false, false },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		const struct ch_ca ca = { .state = (char *)(uintptr_t)cases[i].state,
					  .key_state = (char *)(uintptr_t)cases[i].key,
					  .not_after_us = cases[i].not_after };

		if (signer_may_be_made(&ca, CH_KIND_OCSP_RESPONDER, 500) != cases[i].ocsp ||
		    signer_may_be_made(&ca, CH_KIND_TSA, 500) != cases[i].tsa)
			fail_msg("CA %s, key %s", cases[i].state, cases[i].key ? cases[i].key : "unknown");
	}
}

/* --- the default timestamp authority --- */

static void at_most_one_ca_in_use_is_the_default(void **state)
{
	new_world();
	happens("UPDATE cas SET timestamp_default = true WHERE name = 'root-#'");
	assert_answer("chancery_tsa", "SELECT name FROM cas WHERE timestamp_default", "root-#");
	happens("DO $$ BEGIN UPDATE cas SET timestamp_default = true WHERE name = 'sub-#'; RAISE 'two "
		"defaults'; "
		"EXCEPTION WHEN unique_violation THEN NULL; END $$");
	happens("UPDATE cas SET state = 'retired' WHERE name = 'root-#'"); /* makes room */
	happens("UPDATE cas SET timestamp_default = true WHERE name = 'sub-#'");
	happens("UPDATE cas SET timestamp_default = false WHERE name IN ('root-#', 'sub-#')");
}

static void the_issuer_sees_another_cas_claim(void **state)
{
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_string) root = NULL;
	char *other = NULL;
	struct ch_error err;
	bool found;

	new_world();
	happens("UPDATE cas SET timestamp_default = true WHERE name = 'root-#'");
	root = with_world("root-#");
	assert_true(ch_db_begin(db, "default", &transaction, &err));
	assert_true(store_timestamp_default(transaction, "default", root, &found, &other, &err));
	assert_false(found); /* its own */
	assert_true(store_timestamp_default(transaction, "default", "new", &found, &other, &err));
	assert_true(found);
	assert_string_equal(other, root);
	free(other);
	assert_true(store_timestamp_default(transaction, "other", "new", &found, &other, &err));
	assert_true(found);
	assert_string_equal(other, ""); /* no tenant reads another's names */
	free(other);
	happens("UPDATE cas SET timestamp_default = false WHERE name = 'root-#'");
}

/* --- a key that is revoked for its compromise --- */

static void assert_blocked_for(const char *mark, uint8_t fill, const char *tenants)
{
	uint8_t serial[16] = { 0x02, 0xa9, [12] = (uint8_t)(world >> 8), [13] = (uint8_t)world };
	uint8_t fingerprint[32];
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_string) id = ask("owner", "SELECT ca_id::text FROM cas WHERE name = 'sub-#'");
	struct ch_error err;
	char sql[256];

	memset(serial + 14, mark[0] == 'd' ? 0xdd : 0xee, 2);
	memset(fingerprint, fill, sizeof(fingerprint));
	const struct certificate_row row = { .ca_id = strtoll(id, NULL, 10),
					     .serial = { serial, sizeof(serial) },
					     .public_key_sha256 = { fingerprint, sizeof(fingerprint) } };

	if (!ch_db_begin(db, "default", &transaction, &err) ||
	    !store_block_revoked_key(transaction, &row, "default", &err) ||
	    !store_block_revoked_key(transaction, &row, "default", &err) || /* again: nothing more */
	    !ch_db_commit(&transaction, &err))
		fail_msg("%s", err.message);
	snprintf(sql, sizeof(sql),
		 "SELECT string_agg('<' || tenant_id || '>' || source, ' ') FROM compromised_keys WHERE "
		 "public_key_sha256 = decode(repeat('%02x', 32), 'hex')",
		 fill);
	assert_answer("owner", sql, tenants);
}

/* Whoever copies another's certification request has a certificate for that key, and may have it revoked. */
static void a_revocation_blocks_a_key_for_its_tenant_and_a_signers_for_everybody(void **state)
{
	(void)state;
	new_world();
	assert_blocked_for("dddd", 1, "<>revocation"); /* the TSA's */
	assert_blocked_for("eeee", 2, "<default>revocation");
	assert_blocked_for("eeee", 1, "<>revocation"); /* blocked for everybody already */
}

/* --- upgrading --- */

/* A database of before 0004, with TSAs of two CAs, of which the newer one served last. */
static void an_upgrade_states_what_had_been_first_and_finds_old_certificates(void **state)
{
	char directory[128], url[512];
	struct ch_error err;

	postgres_url("schema_owner", url);
	snprintf(directory, sizeof(directory), "%s/before", postgres_scratch);
	postgres_shell("mkdir %s && cp %s/000[123]_*.sql %s", directory, POSTGRES_SCHEMA, directory);
	postgres_shell("psql -qX -h %s/run -U owner postgres -c 'ALTER DATABASE chancery RENAME TO migrated' "
		       "-c 'CREATE DATABASE chancery OWNER schema_owner'",
		       postgres_scratch);
	if (!ch_db_migrate(url, directory, NULL, NULL, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < CH_COUNT(makers); i++)
		postgres_does("%s", makers[i]);
	postgres_does("SELECT t_world(1000)");
	postgres_does("INSERT INTO service_certificates (tenant_id, kind, ca_id, key_id, certificate_der, "
		      "not_before, "
		      "not_after, created_at) SELECT 'default', 'tsa', ca_id, 'tsa-1000', t_der(1000, "
		      "'eeee'), now(), "
		      "now(), now() + interval '1 hour' FROM cas WHERE name = 'root-1000'");
	if (!ch_db_migrate(url, POSTGRES_SCHEMA, NULL, NULL, &err))
		fail_msg("%s", err.message);
	assert_answer("chancery_tsa", "SELECT name FROM cas WHERE timestamp_default", "sub-1000");
	assert_answer("chancery_ocsp",
		      "SELECT coalesce(obstacle, 'none') FROM service_signers WHERE kind = 'ocsp'", "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_signer_may_sign_while_its_key_its_certificate_and_for_a_tsa_its_cas_are_good),
		cmocka_unit_test(a_serial_number_is_read_from_any_certificate_and_from_nothing_else),
		cmocka_unit_test(a_cas_compromise_outlasts_its_key),
		cmocka_unit_test(a_signer_that_stops_is_missing_and_told_once),
		cmocka_unit_test(an_expired_signer_is_missing_and_no_alert),
		cmocka_unit_test(nothing_is_missing_of_a_ca_that_may_certify_nothing),
		cmocka_unit_test(the_newest_certificate_that_may_sign_counts),
		cmocka_unit_test(ocsp_responders_of_a_stopped_ca_are_renewed),
		cmocka_unit_test(a_stopped_cas_responder_is_missing_its_tsa_is_not),
		cmocka_unit_test(a_signer_is_due_at_two_thirds_of_its_life_or_when_none_may_sign),
		cmocka_unit_test(at_most_one_ca_in_use_is_the_default),
		cmocka_unit_test(the_issuer_sees_another_cas_claim),
		cmocka_unit_test(a_revocation_blocks_a_key_for_its_tenant_and_a_signers_for_everybody),
		cmocka_unit_test(an_upgrade_states_what_had_been_first_and_finds_old_certificates),
	};

	return cmocka_run_group_tests(tests, set_up, postgres_stop);
}
