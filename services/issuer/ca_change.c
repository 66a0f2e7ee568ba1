/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_change.c: a CA is stopped by one officer, and started again, retired or revoked by the vault's officers:
 * the issuer proposes the action and, asked again when it is approved, shows it to the vault, which alone
 * decides. Called from the bus dispatch table; stop_ca also by blocked_keys.c.
 */
#include "stopping.h"
#include "text/text.h"

#include <string.h>

/* What of a CA's own state may become what. */
static const struct change {
	const char *to, *event;
	const char *from[4];
	bool needs_officers;
} changes[] = {
	{ "suspended", "ca.suspended", { "active" }, false },
	{ "active", "ca.reactivated", { "suspended" }, true },
	{ "retired", "ca.retired", { "active", "suspended" }, true },
	{ "revoked", "ca.revoked", { "active", "suspended", "retired" }, true },
};

struct changing {
	struct issuer *issuer;
	const struct ch_bus_request *request;
	const Chancery__ChangeCaStateRequest *payload;
	const struct change *change;
	struct stop_order order;
	int reason; /* CRLReason of a revocation */
	const struct ch_ca *ca;
	struct ch_view serial; /* of the CA's certificate */
	Chancery__Action *action;
};

static bool comes_from(const struct change *change, const char *state)
{
	for (size_t i = 0; i < CH_COUNT(change->from) && change->from[i]; i++)
		if (strcmp(change->from[i], state) == 0)
			return true;
	return false;
}

/* --- asked for what --- */

static bool read_reason(struct changing *c, struct ch_error *err)
{
	const Chancery__ChangeCaStateRequest *payload = c->payload;
	int64_t now_us = ch_clock_now_us(c->issuer->clock);

	if (strlen(payload->reason) > 200)
		return ch_fail(err, CH_INVALID, "reason of %zu octets, at most 200", strlen(payload->reason));
	if (!ch_text_check("reason", ch_view_text(payload->reason), err))
		return false;
	c->order.reason = payload->reason;
	if (strcmp(c->change->to, "revoked") != 0)
		return true;
	c->reason = payload->reason[0] ? ch_reason_number(payload->reason) : 0;
	/* certificateHold is what suspending is for, removeFromCRL what starting again is. */
	if (c->reason < 0 || !strcmp(payload->reason, "certificateHold") ||
	    !strcmp(payload->reason, "removeFromCRL"))
		return ch_fail(
			err, CH_INVALID,
			"revocation reason '%.64s' is not one that ends a CA (RFC 5280 §5.3.1: cACompromise, "
			"superseded, cessationOfOperation, …)",
			payload->reason);
	if (payload->invalidity_date_us < 0 || payload->invalidity_date_us > now_us + 5 * CH_MINUTE)
		return ch_fail(err, CH_INVALID, "invalidity date lies in the future or before 1970");
	c->order.reason = ch_reason_name(c->reason);
	return true;
}

static bool read_ask(struct changing *c, struct ch_error *err)
{
	if (!request_tenant(c->request, &c->order.tenant, err) ||
	    !require_role(c->payload->requester, "officer", err))
		return false;
	for (size_t i = 0; i < CH_COUNT(changes); i++)
		if (strcmp(changes[i].to, c->payload->state) == 0)
			c->change = &changes[i];
	if (!c->change)
		return ch_fail(err, CH_INVALID,
			       "state '%.32s' is none of suspended, active, retired, revoked",
			       c->payload->state);
	c->order.actor = c->payload->requester->client;
	c->order.message_id = c->request->message_id;
	c->order.trace_id = c->request->body->trace_id;
	return read_reason(c, err);
}

/* --- the vault --- */

static bool tell_vault(struct issuer *issuer, const struct stop_order *order, const struct ch_ca *ca,
		       const char *to, const char *serial, const char *action_id, struct ch_error *err)
{
	Chancery__ChangeCaKeyRequest request = CHANCERY__CHANGE_CA_KEY_REQUEST__INIT;
	struct ch_vault_context context = { .tenant = order->tenant,
					    .trace_id = order->trace_id,
					    .timeout_us = 5 * CH_SECOND };

	request.key_id = ca->key_id;
	request.ca = ca->document.name;
	request.to = (char *)(uintptr_t)to;
	request.certificate = (char *)(uintptr_t)serial;
	request.reason = (char *)(uintptr_t)order->reason;
	request.action_id = (char *)(uintptr_t)action_id;
	request.requested_by = (char *)(uintptr_t)order->actor;
	return ch_vault_change_ca_key(issuer->vault, &context, &request, NULL, err);
}

/* The fields as the vault will want them: change_ca.c there. */
static bool propose(struct changing *c, const char *serial, struct ch_error *err)
{
	bool revoked = strcmp(c->change->to, "revoked") == 0;
	CH_AUTO(ch_string)
	version = revoked ? ch_strdup("-") : ch_format("%lld", (long long)c->ca->key_version);
	const struct ch_action_field fields[] = {
		ch_action_field("ca", c->ca->document.name),
		ch_action_field("to", c->change->to),
		ch_action_field("key", c->ca->key_id),
		ch_action_field("policy-version", version),
		ch_action_field("certificate", revoked ? serial : "-"),
		ch_action_field("reason", revoked ? c->order.reason : "-"),
	};
	struct ch_vault_context context = { .tenant = c->order.tenant,
					    .trace_id = c->order.trace_id,
					    .timeout_us = time_left(c->issuer, c->request, 5 * CH_SECOND) };

	const struct ch_action_ask ask = { .kind = CHANCERY__ACTION_KIND__ACTION_CHANGE_CA_STATE,
					   .fields = fields,
					   .count = CH_COUNT(fields),
					   .proposed_by = c->order.actor,
					   .proposed_from = c->payload->requester->address };

	return ch_vault_propose_action(c->issuer->vault, &context, &ask, &c->action, err);
}

/* --- the rows --- */

static bool seal_change(struct issuer *issuer, const struct stop_order *order, const struct ch_ca *ca,
			const char *type, struct ch_bytes *sealed, struct ch_error *err)
{
	return event_seal(issuer,
			  &(struct event){ .type = type,
					   .outcome = "success",
					   .tenant = order->tenant,
					   .actor = order->actor,
					   .subject = ca->document.name,
					   .message_id = order->message_id,
					   .trace_id = order->trace_id,
					   .details = { { "was", ca->state },
							{ "reason", order->reason },
							{ "key", ca->key_id } } },
			  sealed, err);
}

static bool write_state(struct issuer *issuer, const struct stop_order *order, const struct ch_ca *ca,
			const struct change *change, struct ch_transaction *transaction, struct ch_error *err)
{
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	const char *reason = strcmp(change->to, "active") == 0 ? "" : order->reason;
	bool changed;

	if (!seal_change(issuer, order, ca, change->event, &sealed, err) ||
	    !store_change_ca(transaction, ca, change->to, reason, ch_view_of(&sealed), &changed, err))
		return false;
	if (!changed) {
		ch_fail(err, CH_CONFLICT, "CA '%s' was changed meanwhile: look at it again",
			ca->document.name);
		err->retryable = true;
		return false;
	}
	count(issuer, "ca_changes", "CAs stopped, started again, retired and revoked.", "to=\"%s\"",
	      change->to);
	return true;
}

/* A CA compromise is one of its key (RFC 5280 §5.3.1): it is never certified again, under any name. */
static bool block_its_key(const struct changing *c, struct ch_transaction *transaction, struct ch_error *err)
{
	uint8_t fingerprint[CH_FINGERPRINT_SIZE];
	bool added;

	if (c->reason != REASON_KEY_COMPROMISE && c->reason != REASON_CA_COMPROMISE)
		return true;
	return ch_public_key_fingerprint(ch_view_of(&c->ca->public_key_info), fingerprint, err) &&
	       store_block_key(transaction, ch_view(fingerprint, sizeof(fingerprint)), "", "revocation",
			       &added, err);
}

/* In the CRL of the CA above it (a root: in its own, which tells nobody who does not know already). */
static bool revoke_certificate(const struct changing *c, struct ch_transaction *transaction,
			       struct ch_error *err)
{
	int64_t issuing_id = c->ca->parent_id ? c->ca->parent_id : c->ca->id;
	int64_t now_us = ch_clock_now_us(c->issuer->clock);
	CH_AUTO(certificate_row) row = CH_NONE;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_string) hex = ch_hex(c->serial);
	struct event event = { .type = "certificate.revoked",
			       .outcome = "success",
			       .tenant = c->order.tenant,
			       .actor = c->order.actor,
			       .subject = hex,
			       .message_id = c->order.message_id,
			       .trace_id = c->order.trace_id,
			       .details = { { "ca", c->ca->document.parent ? c->ca->document.parent
									   : c->ca->document.name },
					    { "profile", "ca" },
					    { "reason", c->order.reason } } };

	if (!store_find(transaction, ch_serial_period(c->serial), issuing_id, c->serial, true, &row, err))
		return false;
	if (strcmp(row.status, "revoked") == 0)
		return true;
	if (!event_seal(c->issuer, &event, &sealed, err))
		return false;
	return store_change_status(
		transaction,
		&(struct status_change){ .expiry_period = row.expiry_period,
					 .ca_id = issuing_id,
					 .serial = c->serial,
					 .old_status = row.status,
					 .new_status = "revoked",
					 .log_action = "revoked",
					 .reason = c->reason,
					 .revoked = true,
					 .revoked_at_us = now_us - now_us % CH_SECOND,
					 .invalidity_date_us = c->payload->invalidity_date_us,
					 .event = ch_view_of(&sealed) },
		err);
}

/* The log's head is locked by the last statement, so it stands right before the commit. */
static bool write_rows(const struct changing *c, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	bool revoked = strcmp(c->change->to, "revoked") == 0;

	return ch_db_begin(c->issuer->db, c->order.tenant, &transaction, err) &&
	       write_state(c->issuer, &c->order, c->ca, c->change, transaction, err) &&
	       (!revoked ||
		(block_its_key(c, transaction, err) && revoke_certificate(c, transaction, err))) &&
	       ch_db_commit(&transaction, err);
}

/* --- the ways --- */

bool stop_ca(struct issuer *issuer, const struct stop_order *order, const struct ch_ca *ca,
	     struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	const struct change *change = &changes[0];

	if (strcmp(ca->state, change->to) != 0) {
		if (!comes_from(change, ca->state))
			return ch_fail(err, CH_CONFLICT, "CA '%s' is %s: there is nothing to stop",
				       ca->document.name, ca->state);
		if (!ch_db_begin(issuer->db, order->tenant, &transaction, err) ||
		    !write_state(issuer, order, ca, change, transaction, err) ||
		    !ch_db_commit(&transaction, err))
			return false;
		ch_log_warn("CA '%s' is stopped by %s", ca->document.name, order->actor);
	}
	/* The issuers issue nothing from here on; the vault makes that hold whoever asks it. */
	return tell_vault(issuer, order, ca, change->to, "", "", err) ||
	       ch_fail_in(err, "CA '%s' is stopped, but its key is not yet", ca->document.name);
}

/* *done false: officers must approve c->action first. */
static bool change_with_officers(struct changing *c, bool *done, struct ch_error *err)
{
	CH_AUTO(ch_string) serial = NULL;
	bool already = strcmp(c->ca->state, c->change->to) == 0;

	*done = already;
	/* A key that an operator stopped or suspended in the vault is started again in the same way. */
	if (already && (strcmp(c->change->to, "active") != 0 || strcmp(c->ca->key_state, "active") == 0))
		return true;
	if (!already && !comes_from(c->change, c->ca->state))
		return ch_fail(err, CH_CONFLICT, "CA '%s' is %s: it cannot become %s", c->ca->document.name,
			       c->ca->state, c->change->to);
	if (!ca_serial(c->ca, &c->serial, err))
		return false;
	serial = ch_hex(c->serial);
	if (!propose(c, serial, err))
		return false;
	*done = strcmp(c->action->state, "approved") == 0;
	if (!*done)
		return true;
	return tell_vault(c->issuer, &c->order, c->ca, c->change->to, serial, c->action->action_id, err) &&
	       (already || write_rows(c, err));
}

static bool reply_changed(struct changing *c, bool done, ProtobufCMessage **reply, struct ch_error *err)
{
	Chancery__ChangeCaStateReply *message;
	struct ca_set *set = NULL;
	const struct ch_ca *ca;

	if (!catalog_get(c->issuer, c->order.tenant, NULL, &set, err))
		return false;
	ca = catalog_find(set, c->payload->name);
	if (ca) {
		message = CH_PROTO_NEW(Chancery__ChangeCaStateReply, chancery__change_ca_state_reply__init);
		message->ca = ca_message(c->issuer, ca, set, 0);
		if (!done)
			message->action = CH_STEAL(c->action);
		*reply = &message->base;
	}
	catalog_release(c->issuer, set);
	return ca || ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such CA", c->payload->name);
}

static bool change_ca(struct changing *c, const struct ca_set *set, bool *done, struct ch_error *err)
{
	c->ca = catalog_find(set, c->payload->name);
	if (!c->ca)
		return ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such CA", c->payload->name);
	if (strcmp(c->ca->state, "pending") == 0)
		return ch_fail(err, CH_CONFLICT, "CA '%s' is pending: it has no certificate yet",
			       c->ca->document.name);
	*done = true;
	if (!c->change->needs_officers)
		return stop_ca(c->issuer, &c->order, c->ca, err);
	return change_with_officers(c, done, err);
}

bool issuer_change_ca_state(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			    struct ch_error *err)
{
	struct changing c = {
		.issuer = state,
		.request = request,
		.payload = (const Chancery__ChangeCaStateRequest *)request->payload,
	};
	struct ca_set *set = NULL;
	bool done = false, changed;

	/* 1. An officer, who wants what can be. */
	if (!read_ask(&c, err) || !catalog_get(c.issuer, c.order.tenant, NULL, &set, err))
		return false;

	/* 2. Stopped at once; all else when officers approved it, first by the vault, then in the rows. */
	changed = change_ca(&c, set, &done, err);
	catalog_release(c.issuer, set);

	/* 3. What it is now, or what is to be approved. */
	if (changed && done)
		atomic_store(&c.issuer->signers_wanted, true);
	changed = changed && reply_changed(&c, done, reply, err);
	if (c.action)
		chancery__action__free_unpacked(c.action, NULL);
	return changed;
}
