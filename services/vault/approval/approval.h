/* SPDX-License-Identifier: Apache-2.0 */
/*
 * approval.h: actions that need officers: proposed, approved by M of N, used once. check.c is pure (documents
 * and signatures), actions.c and quorum.c keep them in the database, handlers.c answers the bus.
 */
#ifndef VAULT_APPROVAL_H
#define VAULT_APPROVAL_H

#include "action/action.h"
#include "clock/clock.h"

#include <openssl/x509.h>

#define VAULT_OFFICERS_CAP 16

struct vault_officer {
	char name[64];
	uint8_t public_key_sha256[32];
};
/* A row of `quorums` whose seal verified. */
struct vault_quorum {
	uint64_t version;
	uint32_t required;
	struct vault_officer officers[VAULT_OFFICERS_CAP];
	size_t count;
};

/* An action as the database has it: nothing in it is believed before vault_approvals_check. */
struct vault_action {
	struct ch_bytes document;
	struct {
		struct ch_bytes certificate, signature;
	} approvals[VAULT_OFFICERS_CAP];
	size_t approval_count;
};
void vault_action_free(struct vault_action *action);

/* M distinct officers must have signed: the quorum's number, or a key's where that is higher. */
uint32_t vault_approvals_required(const struct vault_quorum *quorum, uint32_t of_key);

/*
 * One signature: of an officer of the quorum (name and key), whose certificate chains to the operators' CA
 * and is valid at now_us, has the role officer and the tenant, over these octets. Pure. *officer points into
 * the quorum. reason  "approval-officer", "approval-signature" Errors  CH_DENIED; CH_INVALID where the
 * certificate does not decode
 */
CH_MUST_USE bool vault_approval_verify(struct ch_view document, struct ch_view certificate,
				       struct ch_view signature, const char *tenant, int64_t now_us,
				       const struct vault_quorum *quorum, X509_STORE *operators_ca,
				       const struct vault_officer **officer, const char **reason,
				       struct ch_error *err);

/* What is about to be done, as the vault itself sees it. */
struct vault_approval_ask {
	const char *tenant;
	Chancery__ActionKind kind;
	const struct ch_action_field
		*fields; /* what the document must say: all fields of the kind, in order */
	size_t field_count;
	uint32_t required; /* a key's approvals_required; the quorum's number counts where it is higher */
	int64_t now_us;
};

/*
 * M distinct officers of the quorum signed this document, it is of this tenant, kind and content, and in its
 * time. Pure. names   receives "alice bob"; the caller frees it reason  for metrics and events:
 * "approval-content", "approval-expired", "approval-signature", "approval-officer", "approval-count" Errors
 * CH_DENIED, each with its own words; CH_EXPIRED
 */
CH_MUST_USE bool vault_approvals_check(const struct vault_approval_ask *ask,
				       const struct vault_action *action, const struct vault_quorum *quorum,
				       X509_STORE *operators_ca, char **names, const char **reason,
				       struct ch_error *err);

struct vault;
struct ch_bus_request;
/*
 * The whole for a handler: loads the action and the quorum, vault_approvals_check, and marks the action used
 * by this message (the same message again is no replay). Counts, logs and records what it refuses
 * (vault.refused with the reason). Errors  as above; CH_NOT_FOUND no such action; CH_REPLAYED used by another
 * message ("approval-used")
 */
CH_MUST_USE bool vault_action_use(struct vault *vault, const struct ch_bus_request *request,
				  const char *action_id, const struct vault_approval_ask *ask, char **names,
				  struct ch_error *err);

CH_DEFINE_AUTO_VALUE(vault_action, struct vault_action, vault_action_free)

#endif
