/* SPDX-License-Identifier: Apache-2.0 */
/* action_store.h: the tables `actions`, `action_approvals` and `quorums`. actions.c, quorum.c and handlers.c
 * are the callers. */
#ifndef VAULT_ACTION_STORE_H
#define VAULT_ACTION_STORE_H

#include "approval.h"
#include "db/db.h"

/* A row of `actions`. */
struct stored_action {
	char id[CH_ACTION_ID_SIZE];
	char tenant[64];
	int32_t kind;
	int64_t created_us, expires_us, used_us; /* used_us 0: not yet */
	char *proposed_by;
	struct ch_bytes document;
	struct ch_bytes content; /* what its tbs-sha256 is the digest of; empty: there is none */
};
void stored_action_free(struct stored_action *stored);

CH_MUST_USE bool store_insert_action(struct ch_db *db, const struct stored_action *stored,
				     struct ch_view fields_sha256, struct ch_error *err);
/* Where it has none yet. */
CH_MUST_USE bool store_add_action_content(struct ch_db *db, const char *tenant, const char *id,
					  struct ch_view content, struct ch_error *err);
/* An action of these fields that is neither used nor expires before until_us; *found says whether there is
 * one. */
CH_MUST_USE bool store_find_open_action(struct ch_db *db, const char *tenant, struct ch_view fields_sha256,
					int64_t until_us, char id[CH_ACTION_ID_SIZE], bool *found,
					struct ch_error *err);
/* CH_NOT_FOUND. stored may be NULL. */
CH_MUST_USE bool store_load_action(struct ch_db *db, const char *tenant, const char *id,
				   struct stored_action *stored, struct vault_action *action,
				   struct ch_error *err);
struct listed_action {
	struct stored_action stored; /* without content */
	struct vault_action action;
};
struct listed_actions {
	struct listed_action *items;
	size_t count;
};
void listed_actions_free(struct listed_actions *list);
/* The tenant's actions that expire after now_us, newest first, at most 200, with their approvals: one
 * statement. */
CH_MUST_USE bool store_list_actions(struct ch_db *db, const char *tenant, int64_t now_us,
				    struct listed_actions *list, struct ch_error *err);
/* CH_CONFLICT: the officer approved it already. */
CH_MUST_USE bool store_insert_approval(struct ch_db *db, const char *tenant, const char *id,
				       const char *officer, struct ch_view certificate,
				       struct ch_view signature, int64_t now_us, struct ch_error *err);
/* CH_REPLAYED: used by another message. */
CH_MUST_USE bool store_use_action(struct ch_db *db, const char *tenant, const char *id,
				  struct ch_view message_id, int64_t now_us, struct ch_error *err);

/* CH_NOT_FOUND. */
CH_MUST_USE bool store_find_quorum(struct ch_db *db, const char *tenant, struct ch_bytes *quorum,
				   struct ch_bytes *seal, struct ch_error *err);
/* Replaces version `old` (0: there is none yet). CH_CONFLICT: another is there. */
CH_MUST_USE bool store_put_quorum(struct ch_db *db, const char *tenant, uint64_t old, uint64_t version,
				  struct ch_view quorum, struct ch_view seal, struct ch_error *err);

CH_DEFINE_AUTO_VALUE(listed_actions, struct listed_actions, listed_actions_free)
CH_DEFINE_AUTO_VALUE(stored_action, struct stored_action, stored_action_free)

#endif
