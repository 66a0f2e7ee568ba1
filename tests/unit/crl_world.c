/* SPDX-License-Identifier: Apache-2.0 */
/* crl_world.c: see crl_world.h. */
#include "crl_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

int set_up(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));
	struct crl_ca *ca = &fixture->ca.ca;
	char name[32];
	uint8_t number[4];
	uint8_t *info = NULL;
	struct ch_error err;
	int size;

	ch_random(number, sizeof(number));
	snprintf(name, sizeof(name), "ca-%02x%02x%02x%02x", number[0], number[1], number[2], number[3]);
	postgres_does(
		"INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, "
		"public_key_sha256, residency) VALUES ('key-%s', 'default', '', 'ecdsa-p256', '{}', '', "
		"'%s', '{}')",
		name, name);
	postgres_does("INSERT INTO cas (tenant_id, name, state, document, document_sha256, subject_der, "
		      "subject, key_id, key_algorithm, public_key_info, key_identifier, tbs_certificate, "
		      "certificate_der, not_before, not_after, serial_tag_key) VALUES ('default', '%s', "
		      "'active', '', '', '', '', 'key-%s', 'ecdsa-p256', '', '', '', '\\x00', '2026-01-01Z', "
		      "'2036-01-01Z', '')",
		      name, name);
	postgres_does("SELECT ensure_certificate_partitions(670, 690)");
	fixture->config.common.instance = ch_strdup("crl-1");
	fixture->crl = (struct crl){ .config = &fixture->config, .db = postgres_open("chancery_crl", 4) };
	fixture->crl.metrics = ch_metrics_new();
	fixture->crl.board = crl_board_new(fixture->crl.metrics);
	if (!crl_store_find(fixture->crl.db, "default", name, &fixture->ca, &err))
		fail_msg("%s", err.message);
	fixture->key = EVP_EC_gen("P-256");
	size = i2d_PUBKEY(fixture->key, &info);
	ch_bytes_free(&ca->public_key_info);
	ca->public_key_info = ch_bytes_copy(ch_view(info, (size_t)size));
	OPENSSL_free(info);
	ch_bytes_free(&ca->subject_der);
	assert_true(ch_name_parse("CN=Example Issuing CA 1", &ca->subject_der, &err));
	*state = fixture;
	return 0;
}

int tear_down(void **state)
{
	struct fixture *fixture = *state;

	ch_db_close(fixture->crl.db);
	crl_board_free(fixture->crl.board);
	ch_metrics_free(fixture->crl.metrics);
	crl_state_free(&fixture->ca);
	EVP_PKEY_free(fixture->key);
	free(fixture->config.common.instance);
	free(fixture);
	return 0;
}

struct ch_bytes signature_of(EVP_PKEY *key, struct ch_view tbs)
{
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t size = sizeof(signature);

	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(context, signature, &size, tbs.data, tbs.size), 1);
	return ch_bytes_copy(ch_view(signature, size));
}

struct ch_bytes signed_list(const struct fixture *fixture, struct ch_view tbs)
{
	CH_AUTO(ch_bytes) signature = signature_of(fixture->key, tbs);

	return ch_signed_assemble(tbs, fixture->ca.ca.algorithm, ch_view_of(&signature));
}
