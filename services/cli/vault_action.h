/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_action.h: what a command that asks the vaults directly needs officers for: proposed the first time it
 * runs, found again and used when enough of them approved (`chancery approve`).
 */
#ifndef CHANCERY_CLI_VAULT_ACTION_H
#define CHANCERY_CLI_VAULT_ACTION_H

#include "vault_connection.h"

#include "action/action.h"

struct vault_action { /* approved */
	ProtobufCMessage *reply;
	const char *id;         /* points into reply */
	uint8_t message_id[16]; /* of the message that uses it: the same at every attempt */
};
void vault_action_free(struct vault_action *action);
CH_DEFINE_AUTO_VALUE(vault_action, struct vault_action, vault_action_free)

/* CH_UNAVAILABLE where it is not approved yet: says by how many it was, and what the others run. */
CH_MUST_USE bool vault_action_approved(struct vault_connection *connection, Chancery__ActionKind kind,
				       const struct ch_action_field *fields, size_t count,
				       struct vault_action *action, struct ch_error *err);
/* --- the parts of it. Each answers an ActionReply, which has an action; the caller frees it. --- */

const Chancery__Action *vault_action_of(const ProtobufCMessage *reply); /* borrowed from the reply */

/* A new action, or the one that is open already. */
CH_MUST_USE bool vault_action_propose(struct vault_connection *connection, const struct ch_action_ask *asked,
				      ProtobufCMessage **reply, struct ch_error *err);
CH_MUST_USE bool vault_action_get(struct vault_connection *connection, const char *id,
				  ProtobufCMessage **reply, struct ch_error *err);
/* Reads the document that officers sign. CH_DENIED: it is another action's. The caller frees *document. */
CH_MUST_USE bool vault_action_check(const Chancery__Action *action, struct ch_action *document,
				    struct ch_error *err);
bool vault_action_has(const Chancery__Action *action, const char *officer); /* this officer's approval */
CH_MUST_USE bool vault_action_approve(struct vault_connection *connection, const Chancery__Action *action,
				      struct ch_view certificate, struct ch_view signature,
				      ProtobufCMessage **reply, struct ch_error *err);

#endif
