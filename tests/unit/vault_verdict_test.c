/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_verdict_test.c: what is a verdict of the vault's on the bytes, on which the issuer cancels a
 * certificate for ever, and what only could not be done; and that an action's approvals count for that action
 * alone. Real HSMs and a private PostgreSQL.
 */
#include "action_store.h"
#include "approval.h"
#include "hsm_fixture.h"
#include "marks.h"
#include "policy.h"
#include "sign.h"
#include "vault.h"
#include "worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

#define ACTION "00112233445566778899aabbccddeeff"
#define OTHER  "ffeeddccbbaa99887766554433221100"

/* As much of a vault as decides on an item. */
struct bare {
	struct vault_config config;
	struct vault vault;
	struct ch_peer sender;
	Chancery__Body body;
	struct ch_bus_request request;
};

static void open_bare(struct bare *bare, struct fixture *fixture)
{
	memset(bare, 0, sizeof(*bare));
	bare->config.common.instance = (char *)(uintptr_t) "vault-1";
	bare->vault.config = &bare->config;
	bare->vault.clock = ch_clock_system();
	bare->vault.metrics = ch_metrics_new();
	bare->vault.hsms = fixture->pool;
	bare->vault.db = postgres_open("chancery_vault", 2);
	bare->vault.seals = vault_seals_new();
	bare->vault.quotas = vault_quotas_new();
	bare->vault.keys = vault_keys_new(&bare->vault);
	bare->vault.ca_names = vault_ca_names_new(&bare->vault);
	snprintf(bare->sender.service, sizeof(bare->sender.service), "issuer");
	snprintf(bare->sender.instance, sizeof(bare->sender.instance), "issuer-1");
	chancery__body__init(&bare->body);
	bare->body.tenant = (char *)(uintptr_t) "default";
	bare->request = (struct ch_bus_request){ .sender = &bare->sender, .body = &bare->body };
}

static void close_bare(struct bare *bare)
{
	vault_keys_free(bare->vault.keys);
	vault_ca_names_free(bare->vault.ca_names);
	vault_quotas_free(bare->vault.quotas);
	vault_seals_free(bare->vault.seals);
	ch_db_close(bare->vault.db);
	ch_metrics_free(bare->vault.metrics);
}

/* A CA key of the tenant, sealed by the HSMs. */
static void insert_key(struct bare *bare, const char *subject, struct test_key *made)
{
	static char *residency[] = { "a", "b" };
	CH_AUTO(X509_NAME) name = X509_NAME_new();
	uint8_t number_seal[VAULT_SEAL_SIZE], hash[64];
	struct vault_key key = { .tenant = "default",
				 .label = (char *)(uintptr_t) "CA",
				 .algorithm = ch_algorithm_find("ecdsa-p256"),
				 .purposes = 1u << CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE,
				 .residency = residency,
				 .residency_count = 2,
				 .state = "active",
				 .ca_path_length = -1,
				 .checkpoint_origin = NULL,
				 .policy_version = 1,
				 .created_at_us = ch_clock_now_us(ch_clock_system()) };
	struct ch_error err = CH_NONE;
	uint8_t *der = NULL;
	size_t size;
	int length;

	make_on_both(bare->vault.hsms, "ecdsa-p256", made);
	memcpy(key.key_id, made->id, sizeof(key.key_id));
	assert_int_equal(
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)subject, -1, -1, 0),
		1);
	length = i2d_X509_NAME(name, &der);
	assert_true(length > 0);
	key.subject_der = (struct ch_bytes){ .data = der, .size = (size_t)length };
	key.public_key_info = made->public_key_info;
	key.request_id = ch_bytes_copy(ch_view(made->id, 16));
	assert_true(ch_digest("sha256", ch_view_of(&key.public_key_info), hash, &size, &err));
	memcpy(key.public_key_sha256, hash, sizeof(key.public_key_sha256));
	if (!vault_key_seal(&bare->vault, &key, &err) ||
	    !vault_number_seal_first(&bare->vault, key.key_id, number_seal, &err) ||
	    !store_insert_key(bare->vault.db, &key, (struct ch_view)CH_NONE,
			      ch_view(number_seal, sizeof(number_seal)), &err))
		fail_msg("%s", err.message);
	ch_bytes_free(&key.seal);
	ch_bytes_free(&key.request_id);
	OPENSSL_free(der);
}

static bool allow(struct bare *bare, const char *key_id, struct work *work, Chancery__SignItem *item)
{
	chancery__sign_item__init(item);
	item->key_id = (char *)(uintptr_t)key_id;
	item->purpose = CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE;
	item->to_be_signed = (ProtobufCBinaryData){ .len = 3, .data = (uint8_t *)(uintptr_t) "tbs" };
	*work = (struct work){ .item = item };
	return vault_sign_allow(&bare->vault, work, &bare->request, &work->why_not);
}

static void bytes_that_are_no_certificate_are_judged(void **state)
{
	Chancery__SignItem item;
	struct test_key made;
	struct bare bare;
	struct work work;

	open_bare(&bare, *state);
	insert_key(&bare, "Judged CA", &made);
	assert_false(allow(&bare, made.id, &work, &item));
	if (!work.judged)
		fail_msg("%s", work.why_not.message);
	vault_sign_forget(&work);
	ch_bytes_free(&made.public_key_info);
	close_bare(&bare);
}

/* Whatever the code: CH_DENIED of a seal is none of the certificate's. */
static void a_row_that_was_edited_is_no_verdict_on_the_bytes(void **state)
{
	Chancery__SignItem item;
	struct test_key made;
	struct bare bare;
	struct work work;

	open_bare(&bare, *state);
	insert_key(&bare, "Edited CA", &made);
	postgres_does("UPDATE keys SET label = 'other' WHERE key_id = '%s'", made.id);
	assert_false(allow(&bare, made.id, &work, &item));
	assert_int_equal(work.why_not.code, CH_DENIED);
	assert_string_equal(work.check.reason, "policy-seal");
	assert_false(work.judged);
	vault_sign_forget(&work);
	assert_false(allow(&bare, ACTION, &work, &item)); /* nor is a key that there is not */
	assert_int_equal(work.why_not.code, CH_NOT_FOUND);
	assert_false(work.judged);
	vault_sign_forget(&work);
	postgres_does("UPDATE keys SET label = 'CA' WHERE key_id = '%s'", made.id);
	ch_bytes_free(&made.public_key_info);
	close_bare(&bare);
}

/* The name of a CA is not free because somebody edited its key's row. */
static void an_edited_row_does_not_free_a_cas_name(void **state)
{
	static const char *const edits[] = { "subject_der = '\\x00'", "subject_der = ''", "label = 'x'" };
	struct ch_error err = CH_NONE;
	struct ch_bytes subject;
	struct test_key made;
	struct bare bare;
	struct vault_key key;
	bool has;

	postgres_does("DELETE FROM keys"); /* sealed by other HSMs */
	open_bare(&bare, *state);
	insert_key(&bare, "Named CA", &made);
	assert_true(store_find_key(bare.vault.db, made.id, &key, &err));
	subject = ch_bytes_copy(ch_view_of(&key.subject_der));
	if (!vault_ca_names_has(bare.vault.ca_names, "default", ch_view_of(&subject), &has, &err))
		fail_msg("%s", err.message);
	assert_true(has);
	for (size_t i = 0; i < CH_COUNT(edits); i++) {
		struct bare fresh;

		postgres_does("CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM keys WHERE key_id = '%s'",
			      made.id);
		postgres_does("UPDATE keys SET %s WHERE key_id = '%s'", edits[i], made.id);
		open_bare(&fresh, *state);
		assert_false(vault_ca_names_has(fresh.vault.ca_names, "default", ch_view_of(&subject), &has,
						&err));
		assert_int_equal(err.code, CH_UNAVAILABLE);
		close_bare(&fresh);
		postgres_does("UPDATE keys SET subject_der = kept.subject_der, label = kept.label FROM kept "
			      "WHERE keys.key_id = kept.key_id");
	}
	postgres_does("DROP TABLE kept");
	vault_key_free(&key);
	ch_bytes_free(&subject);
	ch_bytes_free(&made.public_key_info);
	close_bare(&bare);
}

/* --- actions --- */

/* A row of ACTION with the document of another action. */
static void the_document_of_another_action_is_refused(void **state)
{
	struct ch_action_field field = { (char *)(uintptr_t) "key", (char *)(uintptr_t) "k" };
	int64_t now_us = ch_clock_now_us(ch_clock_system()) / CH_SECOND * CH_SECOND;
	struct ch_action other = { .kind = CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY,
				   .id = OTHER,
				   .tenant = "default",
				   .created_us = now_us,
				   .expires_us = now_us + CH_HOUR,
				   .fields = { field },
				   .field_count = 1 };
	struct stored_action stored = { .id = ACTION,
					.tenant = "default",
					.kind = (int32_t)other.kind,
					.created_us = now_us,
					.expires_us = now_us + CH_HOUR,
					.proposed_by = (char *)(uintptr_t) "operator" };
	CH_AUTO(vault_action) action = CH_NONE;
	struct ch_error err = CH_NONE;
	struct vault_quorum quorum;
	uint8_t digest[32] = { 0 };
	struct bare bare;

	open_bare(&bare, *state);
	if (!ch_action_format(&other, &stored.document, &err) ||
	    !store_insert_action(bare.vault.db, &stored, ch_view(digest, sizeof(digest)), &err))
		fail_msg("%s", err.message);
	assert_false(vault_action_load(&bare.vault, "default", ACTION, &action, &quorum, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, "has the document of action '" OTHER "'"));
	/* Also where the row is changed between the check and its use. */
	assert_false(vault_action_mark_used(&bare.vault, &bare.request, ACTION, &err));
	assert_int_equal(err.code, CH_DENIED);
	ch_bytes_free(&stored.document);
	close_bare(&bare);
}

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_that_are_no_certificate_are_judged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_row_that_was_edited_is_no_verdict_on_the_bytes, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_edited_row_does_not_free_a_cas_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_document_of_another_action_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
