/* SPDX-License-Identifier: Apache-2.0 */
/* issuer_world.c: see issuer_world.h. */
#include "issuer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

#define PROFILE                                                                          \
	"name: example\nvalidity: { default: 90d, maximum: 398d }\nkeys: [ecdsa-p256]\n" \
	"key_usage: [digitalSignature]\nsubject: { allowed: [CN] }\n"                    \
	"subject_alt_names: { allowed: [dns] }\n"

static int64_t now_of(void *context)
{
	return ((const struct world *)context)->now_us;
}

/* --- where the vault stands --- */

static struct ch_bytes signed_with(EVP_PKEY *key, struct ch_view octets)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t size = sizeof(signature);

	assert_true(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key));
	assert_true(EVP_DigestSign(context, signature, &size, octets.data, octets.size));
	EVP_MD_CTX_free(context);
	return ch_bytes_copy(ch_view(signature, size));
}

bool __wrap_ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
			  const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err);

bool __wrap_ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
			  const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err)
{
	const struct world *world = (const void *)client;

	switch (world->vault) {
	case VAULT_IS_AWAY:
		return ch_fail(err, CH_UNAVAILABLE, "no vault answers");
	case VAULT_REFUSES:
		ch_fail(err, CH_DENIED, "the key's policy");
		err->origin = CH_ORIGIN_ITEM;
		return false;
	case VAULT_SIGNS_OTHER_BYTES:
		*signature = signed_with(world->made.ca_key, ch_view_text("other"));
		return true;
	case VAULT_SIGNS_WITH_ANOTHER_KEY:
		*signature = signed_with(world->key, item->to_be_signed);
		return true;
	default:
		*signature = signed_with(world->made.ca_key, item->to_be_signed);
		return true;
	}
}

/* --- the world --- */

static void add_ca(const struct ch_ca *ca)
{
	CH_AUTO(ch_string) subject = ch_hex(ch_view_of(&ca->subject_der));
	CH_AUTO(ch_string) key = ch_hex(ch_view_of(&ca->public_key_info));
	CH_AUTO(ch_string) identifier = ch_hex(ch_view_of(&ca->key_identifier));

	postgres_does(
		"INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, "
		"public_key_sha256, residency) VALUES ('%s', 'default', '', 'ecdsa-p256', '{}', '\\x%s', "
		"sha256('\\x%s'), '{}')",
		identifier, key, key);
	/* DER up to the serial number, 02a9 and fifteen octets of the key's identifier */
	postgres_does(
		"INSERT INTO cas (tenant_id, name, state, document, document_sha256, subject_der, subject, "
		"key_id, key_algorithm, public_key_info, key_identifier, tbs_certificate, certificate_der, "
		"not_before, not_after, serial_tag_key) VALUES ('default', 'ca-%.20s', 'active', "
		"'{\"name\":\"ca-%.20s\",\"subject\":\"CN=Example Issuing CA,O=Example,C=CH\","
		"\"key\":\"ecdsa-p256\",\"validity\":\"5y\"}', '', '\\x%s', 'CN=Example Issuing CA', '%s', "
		"'ecdsa-p256', '\\x%s', '\\x%s', '', decode('30193017a003020102021002a9%.28s', 'hex'), "
		"'2026-11-20Z', '2031-11-20Z', sha256('%s'))",
		identifier, identifier, subject, identifier, key, identifier, identifier, identifier);
	postgres_does(
		"INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
		"profile_version, subject, public_key_sha256, not_before, not_after, requested_by, "
		"reserved_by) SELECT 681, ca_id, decode('02a9%.28s', 'hex'), 'default', 'issued', 'ca', 0, "
		"'', '', not_before, not_after, '', '' FROM cas WHERE key_id = '%s'",
		identifier, identifier);
	/* which roots may be asked for only where they are named */
	postgres_does("INSERT INTO profiles (tenant_id, name, version, kind, document, applied_by) VALUES "
		      "('default', 'example', 1, 'end-entity', '" PROFILE "cas: [ca-%.20s]\n', '') "
		      "ON CONFLICT (tenant_id, name, version) DO UPDATE SET document = excluded.document",
		      identifier);
}

static void open_audit(struct world *world)
{
	struct ch_audit_options options = { .clock = ch_clock_system() };

	system_ca_make(&world->system);
	system_ca_issue(&world->system, "issuer", "issuer-1", -60, 3600, &world->files);
	assert_true(ch_identity_load(&world->files, NULL, NULL, &world->issuer.identity, NULL));
	options.identity = world->issuer.identity;
	options.state_directory = world->system.directory;
	options.deliver = NULL;
	assert_true(ch_audit_open(&options, &world->issuer.audit, NULL));
}

int world_begin(void **state)
{
	struct world *world = ch_alloc(sizeof(*world));

	world->now_us = NOW;
	world->clock = (struct ch_clock){ now_of, world };
	fixture_begin(&world->made);
	world->key = fixture_key("ecdsa-p256");
	world->csr = fixture_csr(world->key, "CN=a.example", "DNS:a.example", false);
	postgres_does("SELECT ensure_certificate_partitions(670, 700)");
	postgres_does("UPDATE cas SET state = 'retired'"); /* of the worlds before */
	add_ca(&world->made.ca);
	open_audit(world);
	world->config.common.instance = (char *)(uintptr_t) "issuer-1";
	world->config.sign_timeout_us = CH_SECOND;
	world->config.recovery_give_up_us = CH_DAY;
	world->config.recovery_age_us = CH_MINUTE;
	world->issuer.config = &world->config;
	world->issuer.clock = &world->clock;
	world->issuer.metrics = ch_metrics_new();
	world->issuer.cache = cache_new();
	world->issuer.db = postgres_open("chancery_issuer", 4);
	world->issuer.vault = (struct ch_vault_client *)(void *)world;
	*state = world;
	return 0;
}

int world_end(void **state)
{
	struct world *world = *state;
	CH_AUTO(ch_string) remove = ch_format("rm -rf '%s'/spool '%s'/audit-numbers", world->system.directory,
					      world->system.directory);

	ch_audit_close(world->issuer.audit, 0);
	ch_db_close(world->issuer.db);
	cache_free(world->issuer.cache);
	ch_metrics_free(world->issuer.metrics);
	assert_int_equal(system(remove), 0);
	ch_identity_free(world->issuer.identity);
	system_ca_forget(&world->files);
	system_ca_remove(&world->system);
	ch_bytes_free(&world->csr);
	EVP_PKEY_free(world->key);
	fixture_end(&world->made);
	free(world);
	return 0;
}

const struct ch_ca *world_ca(struct world *world, struct ca_set **set)
{
	struct ch_error err = CH_NONE;

	if (!catalog_get(&world->issuer, WORLD_TENANT, NULL, set, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < (*set)->count; i++)
		if (ch_view_equal(ch_view_of(&(*set)->items[i].public_key_info),
				  ch_view_of(&world->made.ca.public_key_info)))
			return &(*set)->items[i];
	fail_msg("the CA is not there");
	return NULL;
}

/* --- orders --- */

void world_order(struct world *world, struct ordered *ordered)
{
	static const uint8_t digest[32];
	CH_AUTO(ch_string) idempotency_key = NULL; /* worlds share a database */
	uint8_t chance[16];
	struct ch_policy_request asked = { .csr = &ordered->csr };
	struct candidate *candidate = &ordered->candidate;
	struct ch_error err = CH_NONE;
	bool reserved = false;

	ch_random(chance, sizeof(chance));
	idempotency_key = ch_hex(ch_view(chance, sizeof(chance)));
	ordered->world = world;
	candidate->ca = world_ca(world, &ordered->set);
	candidate->tenant = WORLD_TENANT;
	candidate->client = "alice";
	candidate->idempotency_key = idempotency_key;
	candidate->request_sha256 = digest;
	candidate->profile = &ordered->profile;
	if (!ch_profile_read(ch_view_text(PROFILE), &ordered->profile, &err))
		fail_msg("%s", err.message);
	ordered->profile.version = 1;
	if (!ch_csr_read(ch_view_of(&world->csr), &ordered->csr, &err) ||
	    !ch_policy_check(&ordered->profile, candidate->ca, &asked, world->now_us, &candidate->order,
			     &err) ||
	    !candidate_build(candidate, &err) ||
	    !candidate_reserve(&world->issuer, candidate, &reserved, &err))
		fail_msg("%s", err.message);
	assert_true(reserved);
	candidate->idempotency_key = NULL;
	ordered->pending = (struct pending){
		.tenant = WORLD_TENANT,
		.ca = candidate->ca,
		.profile = "example",
		.expiry_period = ch_expiry_period(candidate->order.not_after_us),
		.serial = ch_view(candidate->serial, sizeof(candidate->serial)),
		.tbs = ch_view_of(&candidate->tbs),
		.lint = &candidate->lint,
		.requested_by = "alice",
		.timeout_us = CH_SECOND,
	};
}

void ordered_free(struct ordered *ordered)
{
	candidate_free(&ordered->candidate);
	ch_csr_free(&ordered->csr);
	ch_profile_free(&ordered->profile);
	catalog_release(&ordered->world->issuer, ordered->set);
}

void world_row(struct world *world, const struct ordered *ordered, struct certificate_row *row)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_error err = CH_NONE;

	if (!ch_db_begin(world->issuer.db, WORLD_TENANT, &transaction, &err) ||
	    !store_find(transaction, ordered->pending.expiry_period, ordered->pending.ca->id,
			ordered->pending.serial, false, row, &err))
		fail_msg("%s", err.message);
}

void assert_status(struct world *world, const struct ordered *ordered, const char *status)
{
	CH_AUTO(certificate_row) row = CH_NONE;

	world_row(world, ordered, &row);
	assert_string_equal(row.status, status);
}

uint64_t world_count(const struct world *world, const char *outcome)
{
	CH_AUTO(ch_string) labels = ch_format("profile=\"example\",outcome=\"%s\"", outcome);

	return ch_metric_value(
		ch_metrics_counter(world->issuer.metrics, "chancery_issuer_certificates_total", "", labels));
}

struct ch_bus_request world_request(const Chancery__Body *body, const ProtobufCMessage *payload)
{
	return (struct ch_bus_request){ .body = body, .payload = payload, .message_id = "00", .address = "" };
}
