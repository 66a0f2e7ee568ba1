/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sealed_key.c: the octets of a row that its seal covers. protobuf-c packs fields in the order of their
 * numbers and leaves defaults out, so one content has one form, and a column that is added later changes no
 * older seal. sealed_rows.c and number.c call it.
 */
#include "policy.h"

#include "vault_store.pb-c.h"

#include <string.h>

static ProtobufCBinaryData binary(struct ch_view view)
{
	return (ProtobufCBinaryData){ .len = view.size, .data = (uint8_t *)(uintptr_t)view.data };
}

/* Only read by the packer. */
static char *text(const char *from)
{
	return (char *)(uintptr_t)(from ? from : "");
}

static size_t purpose_numbers(unsigned purposes, int32_t numbers[32])
{
	size_t count = 0;

	for (int32_t i = 1; i < 32; i++)
		if (purposes & 1u << i)
			numbers[count++] = i;
	return count;
}

static struct ch_bytes pack(const ProtobufCMessage *message)
{
	struct ch_bytes packed = { .size = protobuf_c_message_get_packed_size(message) };

	packed.data = ch_alloc(packed.size + 1);
	protobuf_c_message_pack(message, packed.data);
	return packed;
}

static void set_policy(const struct vault_key *key, Chancery__SealedKey *sealed)
{
	sealed->policy_version = key->policy_version;
	sealed->callers = key->callers;
	sealed->n_callers = key->caller_count;
	sealed->signature_algorithms = key->signature_algorithms;
	sealed->n_signature_algorithms = key->signature_algorithm_count;
	sealed->max_validity_us = key->max_validity_us;
	sealed->max_certificate_validity_us = key->max_certificate_validity_us;
	sealed->quota_burst = key->quota_burst;
	sealed->quota_per_hour = key->quota_per_hour;
	sealed->approvals_required = key->approvals_required;
	sealed->audit_mode = text(key->audit_mode);
	sealed->extra_extensions = key->extra_extensions;
	sealed->n_extra_extensions = key->extra_extension_count;
	sealed->signatures_unverified = key->signatures_unverified;
}

struct ch_bytes vault_key_pack(const struct vault_key *key)
{
	Chancery__SealedKey sealed = CHANCERY__SEALED_KEY__INIT;
	int32_t numbers[32];

	sealed.key_id = text(key->key_id);
	sealed.tenant = text(key->tenant);
	sealed.request_id = binary(ch_view_of(&key->request_id));
	sealed.label = text(key->label);
	sealed.algorithm = text(key->algorithm ? key->algorithm->name : NULL);
	sealed.n_purposes = purpose_numbers(key->purposes, numbers);
	sealed.purposes = numbers;
	sealed.subject_der = binary(ch_view_of(&key->subject_der));
	sealed.public_key_info = binary(ch_view_of(&key->public_key_info));
	sealed.public_key_sha256 = binary(ch_view(key->public_key_sha256, sizeof(key->public_key_sha256)));
	sealed.residency = key->residency;
	sealed.n_residency = key->residency_count;
	sealed.single_copy_accepted = key->single_copy_accepted;
	sealed.state = text(key->state);
	sealed.state_changed_at_us = key->state_changed_at_us;
	sealed.ca_not_before_us = key->ca_not_before_us;
	sealed.ca_not_after_us = key->ca_not_after_us;
	sealed.ca_path_length = key->ca_path_length;
	sealed.timestamp_policies = key->timestamp_policies;
	sealed.n_timestamp_policies = key->timestamp_policy_count;
	sealed.checkpoint_origin = text(key->checkpoint_origin);
	sealed.created_at_us = key->created_at_us;
	set_policy(key, &sealed);
	return pack(&sealed.base);
}

int vault_number_compare(const char *a, const char *b)
{
	size_t a_size = strlen(a), b_size = strlen(b);

	return a_size != b_size ? (a_size < b_size ? -1 : 1) : strcmp(a, b);
}

struct ch_bytes vault_number_pack(const char *key_id, const char *number, struct ch_view tbs_sha256)
{
	Chancery__SealedNumber sealed = CHANCERY__SEALED_NUMBER__INIT;

	sealed.key_id = text(key_id);
	sealed.last_number = text(number);
	sealed.last_tbs_sha256 = binary(tbs_sha256);
	return pack(&sealed.base);
}
