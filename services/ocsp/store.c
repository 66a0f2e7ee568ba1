/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: every statement of the responder. It only reads: its database role may do no more. */
#include "ocsp.h"

#include "log/log.h"
#include "x509/serial.h"

#include <stdio.h>
#include <string.h>

/* The log's sequence comes from the same snapshot as the status, so it says which revocations the status
 * knows of. */
static const struct ch_statement find_status = {
	"ocsp_status",
	"SELECT h.sequence, c.status, c.revoked_at, c.revocation_reason "
	"FROM revocation_log_head h "
	"LEFT JOIN certificates c ON c.expiry_period = $1 AND c.ca_id = $2 AND c.serial = $3",
};

static const struct ch_statement list_authorities = {
	"ocsp_authorities",
	"SELECT ca_id, tenant_id, name, subject_der, public_key_info, serial_tag_key, ocsp_url "
	"FROM cas WHERE state <> 'pending' ORDER BY ca_id",
};

static const struct ch_statement list_responders = {
	"ocsp_responders",
	"SELECT ca_id, key_id, certificate_der, not_before, not_after "
	"FROM service_certificates WHERE kind = 'ocsp' ORDER BY ca_id, not_before DESC",
};

static const struct ch_statement follow_log = {
	"ocsp_follow",
	"SELECT h.sequence, l.sequence, l.ca_id, l.serial "
	"FROM revocation_log_head h LEFT JOIN revocation_log l ON l.sequence > $1 "
	"ORDER BY l.sequence LIMIT 1000",
};
#define FOLLOW_BATCH 1000

static enum ocsp_status status_of(const char *text)
{
	if (strcmp(text, "issued") == 0)
		return OCSP_GOOD;
	if (strcmp(text, "revoked") == 0 || strcmp(text, "suspended") == 0)
		return OCSP_REVOKED;
	return OCSP_UNKNOWN; /* pending, cancelled: nobody was given such a certificate; "": no row */
}

bool ocsp_store_status(struct ch_db *db, const struct ocsp_authority *authority, struct ch_view serial,
		       struct ocsp_certificate_status *status, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, authority->tenant, &transaction, err) ||
	    !ch_db_query(transaction, &find_status,
			 CH_PARAMETERS(ch_param_int32(ch_serial_period(serial)),
				       ch_param_int64(authority->ca_id), ch_param_bytes(serial)),
			 &rows, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_INTERNAL, "status of a certificate: %zu rows", ch_rows_count(rows));
	status->log_sequence = ch_rows_int64(rows, 0, 0);
	status->status = status_of(ch_rows_text(rows, 0, 1));
	status->revoked_at_us = ch_rows_time(rows, 0, 2);
	status->reason = (int)ch_rows_int64(rows, 0, 3);
	return ch_db_commit(&transaction, err);
}

static struct ocsp_authority *find_authority(struct ocsp_authorities *authorities, int64_t ca_id)
{
	for (size_t i = 0; i < authorities->count; i++)
		if (authorities->items[i].ca_id == ca_id)
			return &authorities->items[i];
	return NULL;
}

static bool read_authority(const struct ch_rows *rows, size_t row, struct ocsp_authority *authority,
			   struct ch_error *err)
{
	authority->ca_id = ch_rows_int64(rows, row, 0);
	snprintf(authority->tenant, sizeof(authority->tenant), "%s", ch_rows_text(rows, row, 1));
	snprintf(authority->name, sizeof(authority->name), "%s", ch_rows_text(rows, row, 2));
	authority->has_url = *ch_rows_text(rows, row, 6) != 0;
	authority->serial_tag_key = ch_bytes_copy(ch_rows_bytes(rows, row, 5));
	return ocsp_authority_identify(authority, ch_rows_bytes(rows, row, 3), ch_rows_bytes(rows, row, 4),
				       err) ||
	       ch_fail_in(err, "CA '%s'", authority->name);
}

/* A certificate that cannot be used is told and left out: the CA's older one may still serve. */
static void read_responders(const struct ch_rows *rows, struct ocsp_authorities *authorities)
{
	for (size_t row = 0; row < ch_rows_count(rows); row++) {
		struct ocsp_authority *authority = find_authority(authorities, ch_rows_int64(rows, row, 0));
		struct ch_error err = CH_NONE;

		if (authority && !ocsp_authority_add_responder(
					 authority, ch_rows_text(rows, row, 1), ch_rows_bytes(rows, row, 2),
					 ch_rows_time(rows, row, 3), ch_rows_time(rows, row, 4), &err))
			ch_log_error("%s", err.message);
	}
}

bool ocsp_store_authorities(struct ch_db *db, struct ocsp_authorities **authorities, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) cas = NULL;
	CH_AUTO(ch_rows) certificates = NULL;
	CH_AUTO(ocsp_authorities) read = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &list_authorities, CH_NO_PARAMETERS, &cas, err) ||
	    !ch_db_query(transaction, &list_responders, CH_NO_PARAMETERS, &certificates, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	read = ocsp_authorities_new(ch_rows_count(cas));
	for (size_t row = 0; row < read->count; row++)
		if (!read_authority(cas, row, &read->items[row], err))
			return false;
	read_responders(certificates, read);
	*authorities = CH_STEAL(read);
	return true;
}

bool ocsp_store_follow(struct ch_db *db, int64_t *sequence, bool *restarted,
		       void (*dropped)(void *context, int64_t sequence, int64_t ca_id, struct ch_view serial),
		       void *context, struct ch_error *err)
{
	size_t count = FOLLOW_BATCH;

	*restarted = false;
	while (count == FOLLOW_BATCH) {
		CH_AUTO(ch_transaction) transaction = NULL;
		CH_AUTO(ch_rows) rows = NULL;

		if (!ch_db_begin(db, NULL, &transaction, err) ||
		    !ch_db_query(transaction, &follow_log, CH_PARAMETERS(ch_param_int64(*sequence)), &rows,
				 err) ||
		    !ch_db_commit(&transaction, err))
			return false;
		count = ch_rows_count(rows);
		if (count && ch_rows_int64(rows, 0, 0) < *sequence) {
			*restarted = true;
			*sequence = ch_rows_int64(rows, 0, 0);
			return true;
		}
		for (size_t row = 0; row < count && !ch_rows_null(rows, row, 1); row++) {
			*sequence = ch_rows_int64(rows, row, 1);
			dropped(context, *sequence, ch_rows_int64(rows, row, 2), ch_rows_bytes(rows, row, 3));
		}
	}
	return true;
}
