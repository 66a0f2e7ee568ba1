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

/* Who operators are: their certificates chain to `ca`, and no list that `lists` holds refuses them (NULL:
 * none is held). Borrowed. */
struct ch_trust; /* libcommon/envelope */
struct vault_operators {
	X509_STORE *ca;
	struct ch_trust *lists;
};

/*
 * One signature: of an officer of the quorum (name and key), whose certificate chains to the operators' CA
 * and is valid at now_us, has the role officer and the tenant, over these octets. Pure. *officer points into
 * the quorum. reason  "approval-officer", "approval-signature" Errors  CH_DENIED; CH_INVALID where the
 * certificate does not decode
 */
CH_MUST_USE bool vault_approval_verify(struct ch_view document, struct ch_view certificate,
				       struct ch_view signature, const char *tenant, int64_t now_us,
				       const struct vault_quorum *quorum,
				       const struct vault_operators *operators,
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
				       const struct vault_operators *operators, char **names,
				       const char **reason, struct ch_error *err);

struct vault;
struct ch_bus_request;

/* --- quorum.c, quorum_store.c --- */

/* CH_INVALID names what is wrong: no officer, more required than there are, a name twice, a key twice. Pure.
 */
CH_MUST_USE bool vault_quorum_read(const Chancery__Quorum *message, struct vault_quorum *quorum,
				   struct ch_error *err);
/* The fields of a change-quorum action; the caller frees the three values. */
void vault_quorum_fields(const struct vault_quorum *quorum, struct ch_action_field fields[3]);
/* The version that the tenant's row has with its seal; 0: no such row, or its seal does not fit. No alert. */
CH_MUST_USE bool vault_quorum_sealed_version(struct vault *vault, const char *tenant, uint64_t *version,
					     struct ch_error *err);
/*
 * The tenant's quorum, its seal verified.
 * Errors  CH_DENIED the tenant has none, or its row was changed outside the vault, or an older one was put
 * back
 */
CH_MUST_USE bool vault_quorum_load(struct vault *vault, const char *tenant, struct vault_quorum *quorum,
				   struct ch_error *err);
/* Seals and stores it; `old` is the version that it replaces, 0: there is none. CH_CONFLICT: another is
 * there. */
CH_MUST_USE bool vault_quorum_save(struct vault *vault, const char *tenant, const struct vault_quorum *quorum,
				   uint64_t old, struct ch_error *err);

/* --- actions.c, action_store.c --- */

/*
 * Which actions this process saw used, and by which message: a database that was set back makes none of them
 * fresh, as long as this process lives. Thread-safe.
 */
struct vault_used;
struct vault_used *vault_used_new(void);
void vault_used_free(struct vault_used *used); /* NULL is fine */
/* CH_REPLAYED: another message used it. */
CH_MUST_USE bool vault_used_check(struct vault_used *used, const char *action_id, struct ch_view message_id,
				  struct ch_error *err);
void vault_used_remember(struct vault_used *used, const char *action_id, struct ch_view message_id);

/* For people and daemons (message.c); content: with what its tbs-sha256 is the digest of. The caller frees
 * it. CH_NOT_FOUND: no such action of the tenant. */
CH_MUST_USE bool vault_action_message(struct vault *vault, const char *tenant, const char *action_id,
				      bool content, Chancery__Action **message, struct ch_error *err);
/* All of the tenant's that have not expired and are in that state ("": in any), newest first, at most 200.
 * One transaction for them and one for the quorum, however many there are. */
CH_MUST_USE bool vault_action_messages(struct vault *vault, const char *tenant, const char *state,
				       Chancery__ListActionsReply *answer, struct ch_error *err);
/* What officers are told beside what is asked for: the key that it is about, what it replaces (describe.c).
 */
CH_MUST_USE bool vault_action_describe(struct vault *vault, struct ch_action *action, struct ch_error *err);
/* What a purpose's check needs. CH_NOT_FOUND: no such action of the tenant. */
CH_MUST_USE bool vault_action_load(struct vault *vault, const char *tenant, const char *action_id,
				   struct vault_action *action, struct vault_quorum *quorum,
				   struct ch_error *err);
/* Used by this message now; the same message again is no replay. CH_REPLAYED: another message used it. */
CH_MUST_USE bool vault_action_mark_used(struct vault *vault, const struct ch_bus_request *request,
					const char *action_id, struct ch_error *err);
/*
 * The whole for a handler: loads, checks, marks used. Records, counts and logs what it refuses (vault.refused
 * with the reason). names   receives "alice bob"; the caller frees it Errors  as vault_approvals_check,
 * vault_action_load and vault_action_mark_used
 */
CH_MUST_USE bool vault_action_use(struct vault *vault, const struct ch_bus_request *request,
				  const char *action_id, const struct vault_approval_ask *ask, char **names,
				  struct ch_error *err);

CH_DEFINE_AUTO_VALUE(vault_action, struct vault_action, vault_action_free)

#endif
