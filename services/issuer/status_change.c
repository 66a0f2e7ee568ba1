/* SPDX-License-Identifier: Apache-2.0 */
/* status_change.c: revoke, suspend, reinstate. docs/paths/revocation.md draws it. Called from the bus
 * dispatch table. */
#include "stopping.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define REASON_HOLD       6 /* certificateHold */
#define REASON_REINSTATED 8 /* removeFromCRL */

/* The state machine (RFC 5280 §5.3.1). What is not here is refused; `log_action` NULL: already so, nothing
 * changes. */
static const struct transition {
	Chancery__StatusAction action;
	const char *from, *to;
	const char *log_action;
} transitions[] = {
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE, "issued", "revoked", "revoked" },
	/* the vault may have signed it: what may exist can be revoked */
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE, "pending", "revoked", "revoked" },
	/* its no was one vault's answer, and another may have been asked before */
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE, "cancelled", "revoked", "revoked" },
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE, "suspended", "revoked", "revoked" },
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE, "revoked", "revoked", NULL },
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_SUSPEND, "issued", "suspended", "suspended" },
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_SUSPEND, "suspended", "suspended", NULL },
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_REINSTATE, "suspended", "issued", "reinstated" },
	{ CHANCERY__STATUS_ACTION__STATUS_ACTION_REINSTATE, "issued", "issued", NULL },
};

static const char *action_name(Chancery__StatusAction action)
{
	switch (action) {
	case CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE:
		return "revoked";
	case CHANCERY__STATUS_ACTION__STATUS_ACTION_SUSPEND:
		return "suspended";
	case CHANCERY__STATUS_ACTION__STATUS_ACTION_REINSTATE:
		return "reinstated";
	default:
		return NULL;
	}
}

/* What was asked for, after its own rules. */
struct wish {
	Chancery__StatusAction action;
	int reason;
};

/* A revocation for certificateHold is a suspension by another name (RFC 5280 §5.3.1). */
static bool read_wish(const Chancery__ChangeStatusRequest *payload, int64_t now_us, struct wish *wish,
		      struct ch_error *err)
{
	wish->action = payload->action;
	wish->reason = REASON_HOLD;
	if (!action_name(payload->action))
		return ch_fail(err, CH_INVALID, "status action %d is not known", (int)payload->action);
	if (payload->invalidity_date_us < 0 || payload->invalidity_date_us > now_us + 5 * CH_MINUTE)
		return ch_fail(err, CH_INVALID, "invalidity date lies in the future or before 1970");
	if (payload->action == CHANCERY__STATUS_ACTION__STATUS_ACTION_REINSTATE)
		wish->reason = REASON_REINSTATED;
	if (payload->action != CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE)
		return true;
	wish->reason = payload->reason[0] ? ch_reason_number(payload->reason) : 0;
	if (wish->reason < 0)
		return ch_fail(err, CH_INVALID,
			       "revocation reason '%.64s' is not one of RFC 5280 §5.3.1 (keyCompromise, "
			       "superseded, …)",
			       payload->reason);
	if (wish->reason == REASON_REINSTATED)
		return ch_fail(err, CH_INVALID,
			       "revocation reason removeFromCRL: reinstate the certificate instead");
	if (wish->reason == REASON_HOLD)
		wish->action = CHANCERY__STATUS_ACTION__STATUS_ACTION_SUSPEND;
	return true;
}

/* *transition NULL: nothing is to change. */
static bool find_transition(const struct wish *wish, const struct certificate_row *row, const char *serial,
			    const struct transition **transition, struct ch_error *err)
{
	for (size_t i = 0; i < CH_COUNT(transitions); i++) {
		if (transitions[i].action != wish->action || strcmp(transitions[i].from, row->status) != 0)
			continue;
		*transition = transitions[i].log_action ? &transitions[i] : NULL;
		if (strcmp(row->status, "revoked") == 0 && row->revocation_reason != wish->reason)
			return ch_fail(err, CH_CONFLICT, "certificate %s is revoked already, for %s", serial,
				       ch_reason_name(row->revocation_reason));
		return true;
	}
	return ch_fail(err, CH_CONFLICT, "certificate %s is %s: it cannot be %s", serial, row->status,
		       action_name(wish->action));
}

/* Who wants one certificate to change, and what it is. */
struct changing {
	struct issuer *issuer;
	const struct stop_order *order;
	const struct wish *wish;
	const struct ch_ca *ca;
	struct ch_view serial;
	int32_t expiry_period;
	int64_t invalidity_date_us;
};

static bool seal_change(const struct changing *c, const struct transition *transition,
			const struct certificate_row *row, const char *serial, struct ch_bytes *sealed,
			struct ch_error *err)
{
	CH_AUTO(ch_string) type = ch_format("certificate.%s", transition->log_action);
	struct event event = {
		.type = type,
		.outcome = "success",
		.tenant = c->order->tenant,
		.actor = c->order->actor,
		.subject = serial,
		.message_id = c->order->message_id,
		.trace_id = c->order->trace_id,
		.details = { { "ca", c->ca->document.name },
			     { "profile", row->profile },
			     { "reason", ch_reason_name(c->wish->reason) },
			     { "was", transition->from } },
	};

	return event_seal(c->issuer, &event, sealed, err);
}

/* One officer may stop a CA, and no more: its certificate is not one among others. */
static bool check_not_a_cas(const struct certificate_row *row, const char *serial, struct ch_error *err)
{
	if (row->profile_version != 0 || strcmp(row->profile, "ca") != 0)
		return true;
	return ch_fail(err, CH_DENIED,
		       "certificate %s is a CA's: an officer stops a CA (chancery ca suspend), the quorum "
		       "revokes or restarts it (chancery ca revoke, ca activate)",
		       serial);
}

/* A request that was copied from another's certifies as well as one's own: it proves no possession to us, so
 * an officer's word counts in the officer's tenant. */
static bool block_its_key(const struct changing *c, const struct certificate_row *row,
			  struct ch_transaction *transaction, struct ch_error *err)
{
	if (c->wish->reason != REASON_KEY_COMPROMISE && c->wish->reason != REASON_CA_COMPROMISE)
		return true;
	return store_block_revoked_key(transaction, row, c->order->tenant, err);
}

/* The date of a certificate that was on hold stays that of the hold: it has not been good since. */
static int64_t revocation_time(const struct certificate_row *row, int64_t now_us)
{
	int64_t time =
		strcmp(row->status, "suspended") == 0 && row->revoked_at_us ? row->revoked_at_us : now_us;

	return time - time % CH_SECOND;
}

static bool change(const struct changing *c, struct certificate_row *row, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_string) hex = ch_hex(c->serial);
	const struct transition *transition;
	struct status_change row_change = { .ca_id = c->ca->id,
					    .serial = c->serial,
					    .reason = c->wish->reason };

	/* 1. Hold the row, so that what is decided is still so when it is written. */
	if (!ch_db_begin(c->issuer->db, c->order->tenant, &transaction, err) ||
	    !store_find(transaction, c->expiry_period, c->ca->id, c->serial, true, row, err))
		return false;

	/* 2. May it go from where it is to where it is wanted? */
	if (!check_not_a_cas(row, hex, err) || !find_transition(c->wish, row, hex, &transition, err))
		return false;
	if (!transition)
		return true;

	/* 3. Its key, row, log entry and audit event in one transaction. */
	if (!seal_change(c, transition, row, hex, &sealed, err) || !block_its_key(c, row, transaction, err))
		return false;
	row_change.expiry_period = row->expiry_period;
	row_change.old_status = row->status;
	row_change.new_status = transition->to;
	row_change.log_action = transition->log_action;
	row_change.revoked = strcmp(transition->to, "issued") != 0;
	row_change.revoked_at_us = revocation_time(row, ch_clock_now_us(c->issuer->clock));
	row_change.invalidity_date_us = c->invalidity_date_us;
	row_change.event = ch_view_of(&sealed);
	if (!store_change_status(transaction, &row_change, err) ||
	    !store_find(transaction, c->expiry_period, c->ca->id, c->serial, false, row, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	count(c->issuer, "status_changes", "Certificates revoked, suspended and reinstated.", "action=\"%s\"",
	      transition->log_action);
	return true;
}

bool revoke_for_key(struct issuer *issuer, const struct stop_order *order, const struct ch_ca *ca,
		    int32_t expiry_period, struct ch_view serial, struct ch_error *err)
{
	const struct wish wish = { CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE, REASON_KEY_COMPROMISE };
	CH_AUTO(certificate_row) row = CH_NONE;
	const struct changing changing = { .issuer = issuer,
					   .order = order,
					   .wish = &wish,
					   .ca = ca,
					   .serial = serial,
					   .expiry_period = expiry_period };

	if (change(&changing, &row, err))
		return true;
	return err->code == CH_CONFLICT && row.status && strcmp(row.status, "revoked") == 0;
}

/* The other certificates of a compromised key are as bad as this one. Upkeep tries again what fails here. */
static void end_others(struct issuer *issuer, const struct stop_order *order,
		       const struct certificate_row *row)
{
	CH_AUTO(key_sweep) sweep = CH_NONE;
	struct ch_error err;

	if (!row->public_key_sha256.size) /* no row, no key */
		return;
	if (row->revocation_reason != REASON_KEY_COMPROMISE && row->revocation_reason != REASON_CA_COMPROMISE)
		return;
	if (!sweep_keys(issuer, order, ch_view_of(&row->public_key_sha256), &sweep, &err))
		ch_log_warn("other certificates of a compromised key are left for later: %s", err.message);
}

/* Whose serial it is: the named CA's, whatever the serial, or that of the CA whose tag it has. */
static bool find_serial(const Chancery__ChangeStatusRequest *payload, const struct ca_set *set,
			struct ch_bytes *serial, const struct ch_ca **ca, struct ch_error *err)
{
	if (!payload->ca[0])
		return catalog_parse_serial(set, payload->serial, serial, ca, err);
	if (payload->action != CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE)
		return ch_fail(err, CH_INVALID, "a CA is named for a revocation alone");
	*ca = catalog_find(set, payload->ca);
	if (!*ca)
		return ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such CA", payload->ca);
	return named_serial(payload->serial, serial, err);
}

/* A row, or where there is none the log alone: what may exist can be revoked. */
static bool change_or_log(const struct changing *c, struct certificate_row *row, struct ch_error *err)
{
	const struct unknown_serial unknown = { .ca = c->ca,
						.serial = c->serial,
						.reason = c->wish->reason,
						.invalidity_date_us = c->invalidity_date_us };

	if (change(c, row, err))
		return true;
	return err->code == CH_NOT_FOUND &&
	       c->wish->action == CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE &&
	       revoke_unknown(c->issuer, c->order, &unknown, row, err);
}

bool issuer_change_status(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err)
{
	struct issuer *issuer = state;
	const Chancery__ChangeStatusRequest *payload =
		(const Chancery__ChangeStatusRequest *)request->payload;
	struct stop_order order = { .message_id = request->message_id, .trace_id = request->body->trace_id };
	struct wish wish;
	struct changing changing = { .issuer = issuer,
				     .order = &order,
				     .wish = &wish,
				     .invalidity_date_us = payload->invalidity_date_us };
	CH_AUTO(certificate_row) row = CH_NONE;
	CH_AUTO(ch_bytes) serial = CH_NONE;
	struct ca_set *set = NULL;
	bool done;

	if (!request_tenant(request, &order.tenant, err) ||
	    !require_role(payload->requester, "officer", err) ||
	    !read_wish(payload, ch_clock_now_us(issuer->clock), &wish, err) ||
	    !catalog_get(issuer, order.tenant, NULL, &set, err))
		return false;
	order.actor = payload->requester->client;
	done = find_serial(payload, set, &serial, &changing.ca, err);
	if (done) {
		changing.serial = ch_view_of(&serial);
		changing.expiry_period = ch_serial_period(changing.serial);
		done = change_or_log(&changing, &row, err);
	}
	if (done) {
		end_others(issuer, &order, &row);
		*reply = certificate_reply(&row, set, false);
	}
	catalog_release(issuer, set);
	return done;
}
