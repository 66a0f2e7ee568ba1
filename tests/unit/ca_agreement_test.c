/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_agreement_test.c: whether a CA may issue is decided by ca_state.c, for the issuers, and by the function
 * ca_obstacle (proto/schema/0010_ca_obstacle.sql), for all else. Here they are asked about the same CAs, as
 * the issuer loads them from a real PostgreSQL: every state of a CA, of its key and of its certificate, of a
 * CA itself and of the one above it.
 */
#include "issuer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

#define ROOTS                                                                                              \
	840 /* 5 states of a CA, 7 of a key, compromised once or never, expired or not, 6 of a certificate \
	     */

static const char *const worlds[] = {
	/* Every combination: number n, so that the child's own is n + 10000. */
	"CREATE TABLE t_roots AS SELECT row_number() OVER () AS n, * FROM"
	" unnest('{active,pending,suspended,retired,revoked}'::text[]) AS ca_state,"
	" unnest('{active,pre-active,stopped,suspended,compromised,retired,destroyed}'::text[]) AS key_state,"
	" unnest('{false,true}'::bool[]) AS was_compromised, unnest('{false,true}'::bool[]) AS expired,"
	" unnest('{issued,none,pending,suspended,revoked,cancelled}'::text[]) AS certificate",
	/* DER up to the serial number, which is 02 a9 (the month 681) and n. */
	"CREATE FUNCTION t_serial(n bigint) RETURNS bytea LANGUAGE sql AS "
	"$$ SELECT decode('02a9' || lpad(to_hex(n), 28, '0'), 'hex') $$",
	"CREATE FUNCTION t_add(n bigint, parent bigint, ca_state text, key_state text, was_compromised bool, "
	"expired bool, "
	"certificate text) RETURNS void LANGUAGE plpgsql AS $$ DECLARE id bigint; BEGIN "
	"INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, "
	"public_key_sha256, residency, state, "
	"compromised_at) VALUES ('k' || n, 'default', '', 'ecdsa-p256', '{}', '', ('k' || n)::bytea, '{}', "
	"key_state, "
	"CASE WHEN was_compromised THEN now() END); "
	"INSERT INTO cas (tenant_id, name, parent_id, state, document, document_sha256, subject_der, "
	"subject, key_id, "
	"key_algorithm, public_key_info, key_identifier, tbs_certificate, certificate_der, not_before, "
	"not_after, serial_tag_key) "
	"VALUES ('default', 'c' || n, (SELECT ca_id FROM cas WHERE name = 'c' || parent), ca_state, "
	"'{\"name\":\"c' || n || '\",\"subject\":\"CN=c\",\"key\":\"ecdsa-p256\",\"validity\":\"5y\"}', '', "
	"'', '', 'k' || n, "
	"'ecdsa-p256', '', '', '', '\\x30193017a0030201020210'::bytea || t_serial(n), now(), "
	"now() + CASE WHEN expired THEN interval '-1 day' ELSE interval '1 day' END, decode(repeat('07', "
	"32), 'hex')) "
	"RETURNING ca_id INTO id; "
	"INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
	"profile_version, subject, "
	"public_key_sha256, not_before, not_after, requested_by, reserved_by) SELECT 681, "
	"coalesce(parent_id, ca_id), t_serial(n), "
	"'default', certificate, 'ca', 0, '', '', now(), now(), '', '' FROM cas WHERE ca_id = id AND "
	"certificate <> 'none'; END $$",
	"SELECT ensure_certificate_partitions(681, 681)",
	"SELECT t_add(n, 0, ca_state, key_state, was_compromised, expired, certificate) FROM t_roots",
	"SELECT t_add(n + 10000, n, 'active', 'active', false, false, 'issued') FROM t_roots",
	/* a circle, which is none that the issuer made */
	"SELECT t_add(20000, 0, 'active', 'active', false, false, 'issued')",
	"UPDATE cas SET parent_id = ca_id WHERE name = 'c20000'",
};

static int set_up(void **state)
{
	if (postgres_start(state) != 0)
		return -1;
	for (size_t i = 0; i < CH_COUNT(worlds); i++)
		postgres_does("%s", worlds[i]);
	return 0;
}

struct world {
	struct ch_ca *cas;
	size_t count;
	struct ch_rows *rows; /* of each, in the same order: ca_id, what SQL has against it, what of its key
				 and the like is known */
};

static void load(struct world *world)
{
	static const struct ch_statement obstacles = {
		"test_obstacles",
		"SELECT c.ca_id, coalesce(ca_obstacle(c.ca_id), ''), c.name FROM cas c ORDER BY c.ca_id",
	};
	CH_AUTO(ch_db) db = postgres_open("chancery_issuer", 1);
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_error err;

	*world = (struct world){ 0 };
	if (!ch_db_begin(db, "default", &transaction, &err) ||
	    !store_load_cas(transaction, "default", &world->cas, &world->count, &err) ||
	    !ch_db_query(transaction, &obstacles, CH_NO_PARAMETERS, &world->rows, &err))
		fail_msg("%s", err.message);
	assert_int_equal(world->count, 2 * ROOTS + 1);
	assert_int_equal(ch_rows_count(world->rows), world->count);
}

static void unload(struct world *world)
{
	for (size_t i = 0; i < world->count; i++)
		ch_ca_free(&world->cas[i]);
	free(world->cas);
	ch_rows_free(world->rows);
}

static void the_issuer_and_the_database_decide_the_same(void **state)
{
	size_t may = 0, above = 0, differ = 0;
	struct world world;

	(void)state;
	load(&world);
	for (size_t i = 0; i < world.count; i++) {
		const struct ch_ca *ca = &world.cas[i];
		const char *obstacle = ch_rows_text(world.rows, i, 1);
		struct ch_ca_effect effect;
		bool active;

		assert_int_equal(ch_rows_int64(world.rows, i, 0), ca->id);
		ch_ca_effect_of(world.cas, world.count, ca, ch_clock_now_us(ch_clock_system()), &effect);
		active = strcmp(effect.state, "active") == 0;
		may += active;
		above += active && ca->parent_id;
		if (active == !obstacle[0])
			continue;
		differ++;
		print_error("%s: '%s' (%s) here, '%s' there\n", ca->document.name, effect.state, effect.why,
			    obstacle);
	}
	assert_int_equal(differ, 0);
	/* Not because both refuse all: an active key or, above, one that is away; a certificate that is
	 * issued or that nobody knows. */
	assert_int_equal(above, 5 * 2);
	assert_int_equal(may, 1 * 2 + above);
	unload(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_issuer_and_the_database_decide_the_same) };

	return cmocka_run_group_tests(tests, set_up, postgres_stop);
}
