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

#endif
