/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: every statement of the responder. It only reads: its database role may do no more. */
#include "ocsp.h"

#include "log/log.h"
#include "x509/serial.h"

#include <stdio.h>
#include <string.h>

/* The log's sequence comes from the same snapshot as the status, so it says which revocations the status
 * knows of. The last column is since when the status is what it is. */
static const struct ch_statement find_status = {
	"ocsp_status",
	"SELECT h.sequence, c.status, r.action, coalesce(r.revoked_at, c.revoked_at),"
	"  coalesce(r.reason, c.revocation_reason), greatest(c.issued_at, c.revoked_at, r.logged_at)"
	" FROM revocation_log_head h"
	" LEFT JOIN certificates c ON c.expiry_period = $1 AND c.ca_id = $2 AND c.serial = $3"
	" LEFT JOIN revocations r ON r.ca_id = $2 AND r.serial = $3",
};

/* Few or none: what was revoked though no row says that the suite issued it. */
#define UNTAGGED_CAP 10000
static const struct ch_statement list_untagged = {
	"ocsp_untagged",
	"SELECT ca_id, serial FROM revocations WHERE NOT known ORDER BY ca_id, serial LIMIT $1",
};

static const struct ch_statement list_authorities = {
	"ocsp_authorities",
	"SELECT ca_id, tenant_id, name, subject_der, public_key_info, serial_tag_key, ocsp_url, "
	"ca_compromised_at(ca_id), not_after > now() AND "
	"EXISTS (SELECT FROM service_certificates s WHERE s.kind = 'ocsp' AND s.ca_id = cas.ca_id) "
	"FROM cas WHERE state <> 'pending' ORDER BY ca_id",
};

/* Those that ended are left out, but for a clock that differs from the database's. Where one may not sign,
 * what hinders the CA from certifying another is told with it. */
static const struct ch_statement list_responders = {
	"ocsp_responders",
	"SELECT ca_id, key_id, certificate_der, not_before, not_after, "
	"CASE WHEN obstacle IS NOT NULL THEN concat_ws('; ', obstacle, ca_obstacle(ca_id)) END "
	"FROM service_signers WHERE kind = 'ocsp' AND not_after > now() - interval '1 hour' "
	"ORDER BY ca_id, not_before DESC",
};

static const struct ch_statement follow_log = {
	"ocsp_follow",
	"SELECT h.sequence, l.sequence, l.ca_id, l.serial "
	"FROM revocation_log_head h LEFT JOIN revocation_log l ON l.sequence > $1 "
	"ORDER BY l.sequence LIMIT 1000",
};
#define FOLLOW_BATCH 1000

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
	status->status = ocsp_status_of(ch_rows_text(rows, 0, 1), ch_rows_text(rows, 0, 2));
	status->revoked_at_us = ch_rows_time(rows, 0, 3);
	status->reason = (int)ch_rows_int64(rows, 0, 4);
	status->changed_at_us = ch_rows_time(rows, 0, 5);
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
	authority->compromised_at_us = ch_rows_time(rows, row, 7);
	authority->had_responder = ch_rows_bool(rows, row, 8);
	authority->serial_tag_key = ch_bytes_copy(ch_rows_bytes(rows, row, 5));
	return ocsp_authority_identify(authority, ch_rows_bytes(rows, row, 3), ch_rows_bytes(rows, row, 4),
				       err) ||
	       ch_fail_in(err, "CA '%s'", authority->name);
}

/* A certificate that cannot be used is told and left out: the CA's older one may still serve. */
static void read_responder(const struct ch_rows *rows, size_t row, struct ocsp_authority *authority)
{
	struct ch_error err = CH_NONE;

	if (!ch_rows_null(rows, row, 5)) {
		if (!authority->obstacle[0])
			snprintf(authority->obstacle, sizeof(authority->obstacle), "%s",
				 ch_rows_text(rows, row, 5));
		return;
	}
	if (!ocsp_authority_add_responder(authority, ch_rows_text(rows, row, 1), ch_rows_bytes(rows, row, 2),
					  ch_rows_time(rows, row, 3), ch_rows_time(rows, row, 4), &err))
		ch_log_error("%s", err.message);
}

static void read_responders(const struct ch_rows *rows, struct ocsp_authorities *authorities)
{
	for (size_t row = 0; row < ch_rows_count(rows); row++) {
		struct ocsp_authority *authority = find_authority(authorities, ch_rows_int64(rows, row, 0));

		if (authority)
			read_responder(rows, row, authority);
	}
}

static void read_untagged(const struct ch_rows *rows, struct ocsp_authorities *authorities)
{
	bool too_many = ch_rows_count(rows) > UNTAGGED_CAP;
	struct ocsp_authority *authority = NULL;

	for (size_t i = 0; i < authorities->count; i++)
		authorities->items[i].ask_always = too_many;
	for (size_t row = 0; !too_many && row < ch_rows_count(rows); row++) {
		if (!authority || authority->ca_id != ch_rows_int64(rows, row, 0))
			authority = find_authority(authorities, ch_rows_int64(rows, row, 0));
		if (authority)
			ocsp_authority_add_untagged(authority, ch_rows_bytes(rows, row, 1));
	}
}

bool ocsp_store_authorities(struct ch_db *db, struct ocsp_authorities **authorities, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) cas = NULL;
	CH_AUTO(ch_rows) certificates = NULL;
	CH_AUTO(ch_rows) untagged = NULL;
	CH_AUTO(ocsp_authorities) read = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &list_authorities, CH_NO_PARAMETERS, &cas, err) ||
	    !ch_db_query(transaction, &list_responders, CH_NO_PARAMETERS, &certificates, err) ||
	    !ch_db_query(transaction, &list_untagged, CH_PARAMETERS(ch_param_int64(UNTAGGED_CAP + 1)),
			 &untagged, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	read = ocsp_authorities_new(ch_rows_count(cas));
	for (size_t row = 0; row < read->count; row++)
		if (!read_authority(cas, row, &read->items[row], err))
			return false;
	read_responders(certificates, read);
	read_untagged(untagged, read);
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
