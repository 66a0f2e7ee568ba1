/* SPDX-License-Identifier: Apache-2.0 */
/*
 * revoke_unknown.c: a serial of a CA that no row of certificates has is revoked all the same: what was signed
 * outside of the suite, or before the database was restored. The revocation log has it then, and OCSP and
 * CRLs say what the log says. Called by status_change.c.
 */
#include "stopping.h"

#include <stdlib.h>
#include <string.h>

#define SERIAL_CAP 20 /* octets (RFC 5280 §4.1.2.2), whoever made it */

bool named_serial(const char *text, struct ch_bytes *serial, struct ch_error *err)
{
	CH_AUTO(ch_string) even = ch_format("%s%s", strlen(text) % 2 ? "0" : "", text);
	CH_AUTO(ch_bytes) octets = CH_NONE;
	CH_AUTO(ch_buffer) integer = CH_NONE;
	size_t zeros = 0;

	if (!ch_unhex(even, &octets, err))
		return ch_fail_in(err, "serial '%.64s'", text);
	while (zeros < octets.size && octets.data[zeros] == 0)
		zeros++;
	/* As DER has it: positive, and no octet more than that takes (X.690 §8.3.2). */
	if (zeros < octets.size && octets.data[zeros] & 0x80)
		ch_buffer_add(&integer, "", 1);
	ch_buffer_add(&integer, octets.data + zeros, octets.size - zeros);
	if (integer.used < 1 || integer.used > SERIAL_CAP)
		return ch_fail(err, CH_INVALID,
			       "serial '%.64s' is not a positive number of at most %d octets", text,
			       SERIAL_CAP);
	*serial = ch_bytes_copy(ch_buffer_view(&integer));
	return true;
}

static bool seal(struct issuer *issuer, const struct stop_order *order, const struct unknown_serial *unknown,
		 struct ch_bytes *sealed, struct ch_error *err)
{
	CH_AUTO(ch_string) hex = ch_hex(unknown->serial);

	return event_seal(issuer,
			  &(struct event){ .type = "certificate.revoked",
					   .outcome = "success",
					   .tenant = order->tenant,
					   .actor = order->actor,
					   .subject = hex,
					   .message_id = order->message_id,
					   .trace_id = order->trace_id,
					   .details = { { "ca", unknown->ca->document.name },
							{ "reason", ch_reason_name(unknown->reason) },
							{ "was", "unknown" } } },
			  sealed, err);
}

/* As the answer tells it: there is nothing to know but its status. */
static void describe(const struct unknown_serial *unknown, int64_t revoked_at_us, int reason,
		     struct certificate_row *row)
{
	certificate_row_free(row);
	*row = (struct certificate_row){
		.ca_id = unknown->ca->id,
		.serial = ch_bytes_copy(unknown->serial),
		.status = ch_strdup("revoked"),
		.profile = ch_strdup(""),
		.subject = ch_strdup(""),
		.sans_json = ch_strdup("[]"),
		.requested_by = ch_strdup(""),
		.cancelled_reason = ch_strdup(""),
		.revoked_at_us = revoked_at_us,
		.invalidity_date_us = unknown->invalidity_date_us,
		.revocation_reason = reason,
	};
}

bool revoke_unknown(struct issuer *issuer, const struct stop_order *order,
		    const struct unknown_serial *unknown, struct certificate_row *row, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_string) hex = ch_hex(unknown->serial);
	int64_t now_us = ch_clock_now_us(issuer->clock), revoked_at_us = now_us - now_us % CH_SECOND;
	int reason = unknown->reason;
	bool logged;

	/* 1. As it stands: repeating changes nothing. The log's head is locked from here on. */
	if (!ch_db_begin(issuer->db, order->tenant, &transaction, err) ||
	    !store_lock_log(transaction, unknown->ca->id, unknown->serial, &logged, &revoked_at_us, &reason,
			    err))
		return false;
	if (logged && reason != unknown->reason)
		return ch_fail(err, CH_CONFLICT, "certificate %s is revoked already, for %s", hex,
			       ch_reason_name(reason));
	if (!logged && (!seal(issuer, order, unknown, &sealed, err) ||
			!store_log_unknown(transaction, order->tenant, unknown, revoked_at_us,
					   ch_view_of(&sealed), err) ||
			!ch_db_commit(&transaction, err)))
		return false;
	describe(unknown, revoked_at_us, reason, row);
	if (!logged)
		count(issuer, "status_changes", "Certificates revoked, suspended and reinstated.",
		      "action=\"%s\"", "revoked");
	return true;
}
