/* SPDX-License-Identifier: Apache-2.0 */
/* key_row.h: a row of the table `keys` as the vault holds it. store.c selects the columns. */
#ifndef VAULT_KEY_ROW_H
#define VAULT_KEY_ROW_H

#include "vault.h"

/* In the order in which key_row.c counts them. */
#define KEY_COLUMNS                                                                                       \
	"key_id, tenant_id, label, algorithm, purposes, subject_der, public_key_info, residency, "        \
	"single_copy_accepted, state, ca_not_before, ca_not_after, coalesce(ca_path_length, -1), "        \
	"timestamp_policies, checkpoint_origin, max_validity_seconds, created_at, request_id, "           \
	"public_key_sha256, policy_version, callers, signature_algorithms, "                              \
	"max_certificate_validity_seconds, quota_burst, quota_per_hour, approvals_required, audit_mode, " \
	"state_changed_at, seal, extra_extensions, signatures_unverified"

/* Fills *key, which the caller frees. A column that holds what the vault never writes is named in its
 * `damaged`. */
void key_row_read(const struct ch_rows *rows, size_t row, struct vault_key *key);

#endif
