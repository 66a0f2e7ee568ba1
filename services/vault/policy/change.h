/* SPDX-License-Identifier: Apache-2.0 */
/* change.h: what the handlers of ChangeKeyState, ChangeKeyPolicy and ExportKey share (change.c). */
#ifndef VAULT_CHANGE_H
#define VAULT_CHANGE_H

#include "policy.h"
#include "vault.h"

#include "action/action.h"

/* One message that wants something of one key. */
struct key_order {
	struct vault *vault;
	const struct ch_bus_request *request;
	const char *key_id, *action_id;
	const char *person;   /* for whom a daemon asks; NULL or "": nobody else than who asks */
	struct vault_key key; /* as it was found */
	char *approvers;      /* "alice bob"; NULL: none were needed */
};
void key_order_free(struct key_order *order);
CH_DEFINE_AUTO_VALUE(key_order, struct key_order, key_order_free)

/* Finds the key of the message's tenant. CH_NOT_FOUND; CH_DENIED its seal. */
CH_MUST_USE bool key_order_begin(struct key_order *order, struct ch_error *err);
/* Officers approved this; fields as libcommon/action has them for the kind. Tells a refusal by itself. */
CH_MUST_USE bool key_order_approved(struct key_order *order, Chancery__ActionKind kind,
				    const struct ch_action_field *fields, size_t count, struct ch_error *err);
/* The row is still the one that was found (and approved): `changing` has the next version. CH_CONFLICT. */
CH_MUST_USE bool key_order_unchanged(const struct key_order *order, const struct vault_key *changing,
				     struct ch_error *err);
/* An event about the key, by whoever sent the message; approved_by is added. */
CH_MUST_USE bool key_order_record(const struct key_order *order, const char *type,
				  const struct ch_audit_detail *details, size_t count, struct ch_error *err);
/* Counts, logs and records the refusal, and is false. */
bool key_order_refused(const struct key_order *order, const char *reason, const struct ch_error *why);
/* A Key message in a KeyReply. */
ProtobufCMessage *key_reply(const struct vault_key *key);

#endif
