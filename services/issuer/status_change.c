/* SPDX-License-Identifier: Apache-2.0 */
/* status_change.c: revoke, suspend, reinstate. docs/paths/revocation.md draws it. Called from the bus
 * dispatch table. */
#include "issuer.h"

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

static bool seal_change(struct issuer *issuer, const struct ch_bus_request *request, const char *tenant,
			const struct transition *transition, const struct wish *wish,
			const struct certificate_row *row, const struct ch_ca *ca, const char *serial,
			struct ch_bytes *sealed, struct ch_error *err)
{
	const Chancery__ChangeStatusRequest *payload =
		(const Chancery__ChangeStatusRequest *)request->payload;
	CH_AUTO(ch_string) type = ch_format("certificate.%s", transition->log_action);
	struct event event = {
		.type = type,
		.outcome = "success",
		.tenant = tenant,
		.actor = payload->requester->client,
		.subject = serial,
		.message_id = request->message_id,
		.trace_id = request->body->trace_id,
		.details = { { "ca", ca->document.name },
			     { "profile", row->profile },
			     { "reason", ch_reason_name(wish->reason) },
			     { "was", transition->from } },
	};

	return event_seal(issuer, &event, sealed, err);
}

/* The date of a certificate that was on hold stays that of the hold: it has not been good since. */
static int64_t revocation_time(const struct certificate_row *row, int64_t now_us)
{
	int64_t time =
		strcmp(row->status, "suspended") == 0 && row->revoked_at_us ? row->revoked_at_us : now_us;

	return time - time % CH_SECOND;
}

static bool change(struct issuer *issuer, const struct ch_bus_request *request, const char *tenant,
		   const struct wish *wish, const struct ch_ca *ca, struct ch_view serial,
		   struct certificate_row *row, struct ch_error *err)
{
	const Chancery__ChangeStatusRequest *payload =
		(const Chancery__ChangeStatusRequest *)request->payload;
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_string) hex = ch_hex(serial);
	const struct transition *transition;
	struct status_change row_change = { .ca_id = ca->id, .serial = serial, .reason = wish->reason };

	/* 1. Hold the row, so that what is decided is still so when it is written. */
	if (!ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_find(transaction, ch_serial_period(serial), ca->id, serial, true, row, err))
		return false;

	/* 2. May it go from where it is to where it is wanted? */
	if (!find_transition(wish, row, hex, &transition, err))
		return false;
	if (!transition)
		return true;

	/* 3. Row, log entry and audit event in one transaction. */
	if (!seal_change(issuer, request, tenant, transition, wish, row, ca, hex, &sealed, err))
		return false;
	row_change.expiry_period = row->expiry_period;
	row_change.old_status = row->status;
	row_change.new_status = transition->to;
	row_change.log_action = transition->log_action;
	row_change.revoked = strcmp(transition->to, "issued") != 0;
	row_change.revoked_at_us = revocation_time(row, ch_clock_now_us(issuer->clock));
	row_change.invalidity_date_us = payload->invalidity_date_us;
	row_change.event = ch_view_of(&sealed);
	if (!store_change_status(transaction, &row_change, err) ||
	    !store_find(transaction, ch_serial_period(serial), ca->id, serial, false, row, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	count(issuer, "status_changes", "Certificates revoked, suspended and reinstated.", "action=\"%s\"",
	      transition->log_action);
	return true;
}

bool issuer_change_status(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err)
{
	struct issuer *issuer = state;
	const Chancery__ChangeStatusRequest *payload =
		(const Chancery__ChangeStatusRequest *)request->payload;
	CH_AUTO(certificate_row) row = CH_NONE;
	CH_AUTO(ch_bytes) serial = CH_NONE;
	struct ca_set *set = NULL;
	const struct ch_ca *ca;
	const char *tenant;
	struct wish wish;
	bool done;

	if (!request_tenant(request, &tenant, err) || !require_role(payload->requester, "officer", err) ||
	    !read_wish(payload, ch_clock_now_us(issuer->clock), &wish, err) ||
	    !catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	done = catalog_parse_serial(set, payload->serial, &serial, &ca, err) &&
	       change(issuer, request, tenant, &wish, ca, ch_view_of(&serial), &row, err);
	if (done)
		*reply = certificate_reply(&row, set, false);
	catalog_release(issuer, set);
	return done;
}
