/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quorum.c: which officers of a tenant approve, and how many: read, sealed, loaded. handlers.c changes it
 * with the approvals of the old one; setup/init_quorum.c makes the first.
 */
#include "action_store.h"
#include "approval.h"

#include "marks.h"
#include "policy.h"
#include "vault.h"
#include "unpack/unpack.h"

#include <stdlib.h>
#include <string.h>

#define SEAL_DOMAIN "chancery/quorum/v1"

/* --- reading --- */

static bool check_name(const char *name, struct ch_error *err)
{
	size_t size = strlen(name);

	return (size >= 1 && size <= 63 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == size) ||
	       ch_fail(err, CH_INVALID, "officer '%.64s': a name is 1 to 63 of a-z 0-9 . _ -", name);
}

static bool read_officer(const Chancery__QuorumOfficer *message, struct vault_quorum *quorum,
			 struct ch_error *err)
{
	struct vault_officer *officer = &quorum->officers[quorum->count];

	if (!check_name(message->name, err))
		return false;
	if (message->public_key_sha256.len != sizeof(officer->public_key_sha256))
		return ch_fail(err, CH_INVALID, "officer '%s': a public key's SHA-256 of %zu octets",
			       message->name, message->public_key_sha256.len);
	for (size_t i = 0; i < quorum->count; i++) {
		if (strcmp(quorum->officers[i].name, message->name) == 0)
			return ch_fail(err, CH_INVALID, "officer '%s' is named twice", message->name);
		if (memcmp(quorum->officers[i].public_key_sha256, message->public_key_sha256.data,
			   sizeof(officer->public_key_sha256)) == 0)
			return ch_fail(err, CH_INVALID, "officers '%s' and '%s' have the same key",
				       quorum->officers[i].name, message->name);
	}
	memcpy(officer->name, message->name, strlen(message->name) + 1);
	memcpy(officer->public_key_sha256, message->public_key_sha256.data,
	       sizeof(officer->public_key_sha256));
	quorum->count++;
	return true;
}

bool vault_quorum_read(const Chancery__Quorum *message, struct vault_quorum *quorum, struct ch_error *err)
{
	*quorum = (struct vault_quorum){ .version = message->version, .required = message->required };
	if (message->n_officers < 1 || message->n_officers > VAULT_OFFICERS_CAP)
		return ch_fail(err, CH_INVALID, "a quorum of %zu officers, 1 to %d allowed",
			       message->n_officers, VAULT_OFFICERS_CAP);
	if (message->required < 1 || message->required > message->n_officers)
		return ch_fail(err, CH_INVALID, "%u approvals required of %zu officers", message->required,
			       message->n_officers);
	if (message->version < 1 || message->version > INT64_MAX)
		return ch_fail(err, CH_INVALID, "quorum of version %llu",
			       (unsigned long long)message->version);
	for (size_t i = 0; i < message->n_officers; i++)
		if (!read_officer(message->officers[i], quorum, err))
			return false;
	return true;
}

void vault_quorum_fields(const struct vault_quorum *quorum, struct ch_action_field fields[3])
{
	CH_AUTO(ch_buffer) officers = CH_NONE;

	for (size_t i = 0; i < quorum->count; i++) {
		CH_AUTO(ch_string) digest = ch_hex(ch_view(quorum->officers[i].public_key_sha256, 32));

		ch_buffer_printf(&officers, "%s%s=%s", i ? "," : "", quorum->officers[i].name, digest);
	}
	fields[0] = (struct ch_action_field){ (char *)(uintptr_t) "version",
					      ch_format("%llu", (unsigned long long)quorum->version) };
	fields[1] =
		(struct ch_action_field){ (char *)(uintptr_t) "required", ch_format("%u", quorum->required) };
	fields[2] =
		(struct ch_action_field){ (char *)(uintptr_t) "officers", ch_buffer_steal_text(&officers) };
}

/* --- sealing --- */

/* What the seal covers: the tenant with its zero, then the encoded quorum. */
static struct ch_bytes sealed_content(const char *tenant, struct ch_view encoded)
{
	CH_AUTO(ch_buffer) content = CH_NONE;

	ch_buffer_add(&content, tenant, strlen(tenant) + 1);
	ch_buffer_add_view(&content, encoded);
	return ch_buffer_steal(&content);
}

static struct ch_bytes encode(const struct vault_quorum *quorum)
{
	Chancery__QuorumOfficer officers[VAULT_OFFICERS_CAP], *list[VAULT_OFFICERS_CAP];
	Chancery__Quorum message = CHANCERY__QUORUM__INIT;
	struct ch_bytes encoded;

	for (size_t i = 0; i < quorum->count; i++) {
		chancery__quorum_officer__init(&officers[i]);
		officers[i].name = (char *)(uintptr_t)quorum->officers[i].name;
		officers[i].public_key_sha256 = (ProtobufCBinaryData){
			.len = 32, .data = (uint8_t *)(uintptr_t)quorum->officers[i].public_key_sha256
		};
		list[i] = &officers[i];
	}
	message.version = quorum->version;
	message.required = quorum->required;
	message.officers = list;
	message.n_officers = quorum->count;
	encoded.size = chancery__quorum__get_packed_size(&message);
	encoded.data = ch_alloc(encoded.size);
	chancery__quorum__pack(&message, encoded.data);
	return encoded;
}

static bool decode(struct ch_view encoded, struct vault_quorum *quorum, struct ch_error *err)
{
	Chancery__Quorum *message = (Chancery__Quorum *)ch_unpack(&chancery__quorum__descriptor, encoded);
	bool read;

	if (!message)
		return ch_fail(err, CH_INTERNAL, "the quorum's row does not decode");
	read = vault_quorum_read(message, quorum, err);
	chancery__quorum__free_unpacked(message, NULL);
	return read;
}

bool vault_quorum_save(struct vault *vault, const char *tenant, const struct vault_quorum *quorum,
		       uint64_t old, struct ch_error *err)
{
	CH_AUTO(ch_bytes) encoded = encode(quorum);
	CH_AUTO(ch_bytes) content = sealed_content(tenant, ch_view_of(&encoded));
	uint8_t seal[VAULT_SEAL_SIZE];
	struct vault_quorum again;

	/* What could not be read back is not stored. */
	return decode(ch_view_of(&encoded), &again, err) &&
	       vault_seal_make(vault, SEAL_DOMAIN, ch_view_of(&content), seal, err) &&
	       store_put_quorum(vault->db, tenant, old, quorum->version, ch_view_of(&encoded),
				ch_view(seal, sizeof(seal)), err) &&
	       vault_mark_raise_number(vault, VAULT_MARK_QUORUM, tenant, quorum->version, err);
}

/* --- loading --- */

static bool refuse_old(struct vault *vault, const char *tenant, uint64_t version, struct ch_error *err)
{
	CH_AUTO(ch_string) content = ch_format("quorum/%s/%llu", tenant, (unsigned long long)version);

	ch_fail(err, CH_DENIED,
		"quorum of tenant '%s' was changed outside the vault: version %llu was replaced before",
		tenant, (unsigned long long)version);
	if (vault_seal_first_sight(vault, ch_view_text(content))) {
		vault_note_alert(vault, tenant, tenant, "quorum-old", err->message);
		vault_marks_wake(vault->marks); /* or an HSM is wrong: then that is told too */
	}
	return false;
}

bool vault_quorum_load(struct vault *vault, const char *tenant, struct vault_quorum *quorum,
		       struct ch_error *err)
{
	CH_AUTO(ch_bytes) encoded = CH_NONE, seal = CH_NONE, content = CH_NONE;
	CH_AUTO(ch_string) name = ch_format("quorum/%s", tenant);
	/* A row is one of before only where a newer one was seen before this one was read: officers may
	 * change it at any moment. */
	uint64_t known = vault_seal_highest(vault, name), marked;

	if (!vault_mark_read_number(vault, VAULT_MARK_QUORUM, tenant, &marked, err))
		return ch_fail_in(err, "quorum of tenant '%s'", tenant);
	known = marked > known ? marked : known;

	if (!store_find_quorum(vault->db, tenant, &encoded, &seal, err)) {
		if (err->code == CH_NOT_FOUND)
			ch_fail(err, CH_DENIED,
				"tenant '%s' has no quorum of officers, so nothing that needs approval is "
				"done: "
				"chancery-vault --init-quorum",
				tenant);
		return false;
	}
	content = sealed_content(tenant, ch_view_of(&encoded));
	if (!vault_seal_check(vault, SEAL_DOMAIN, ch_view_of(&content), ch_view_of(&seal), err))
		return ch_fail_in(err, "quorum of tenant '%s'", tenant);
	if (!decode(ch_view_of(&encoded), quorum, err))
		return false;
	if (quorum->version < known)
		return refuse_old(vault, tenant, quorum->version, err);
	vault_seal_saw(vault, name, quorum->version);
	if (quorum->version != marked)
		return vault_mark_raise_number(vault, VAULT_MARK_QUORUM, tenant, quorum->version, err);
	vault_mark_seen_number(vault, VAULT_MARK_QUORUM, tenant, marked);
	return true;
}

bool vault_quorum_sealed_version(struct vault *vault, const char *tenant, uint64_t *version,
				 struct ch_error *err)
{
	CH_AUTO(ch_bytes) encoded = CH_NONE, seal = CH_NONE, content = CH_NONE;
	struct vault_quorum quorum;

	*version = 0;
	if (!store_find_quorum(vault->db, tenant, &encoded, &seal, err))
		return err->code == CH_NOT_FOUND;
	content = sealed_content(tenant, ch_view_of(&encoded));
	if (!vault_seal_check(vault, SEAL_DOMAIN, ch_view_of(&content), ch_view_of(&seal), err))
		return err->code == CH_DENIED;
	if (!decode(ch_view_of(&encoded), &quorum, err))
		return false;
	*version = quorum.version;
	return true;
}
