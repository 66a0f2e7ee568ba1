/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: every statement about certificates: reserve, issue, cancel, find, list, change status. The
 * statements about CAs, profiles and upkeep are in store_catalog.c. All run in the caller's transaction,
 * which has set the tenant. */
#include "issuer.h"

#include <stdlib.h>
#include <string.h>

/* Columns that read_row takes, in its order. */
#define ROW_COLUMNS                                                                                          \
	"expiry_period, ca_id, serial, status, profile, profile_version, subject, subject_alt_names::text, " \
	"not_before, not_after, created_at, tbs_certificate, certificate_der, requested_by, "                \
	"cancelled_reason, "                                                                                 \
	"reserved_at, revoked_at, invalidity_date, revocation_reason, public_key_sha256"

static const struct ch_statement look_up = {
	"issuer_look_up",
	"SELECT r.request_sha256, r.expiry_period, r.ca_id, r.serial,"
	"       coalesce((SELECT max(version) FROM profiles WHERE tenant_id = $1 AND name = $4), 0),"
	"       (SELECT " STORE_CATALOG_VERSION ")"
	" FROM (VALUES (1)) AS one"
	" LEFT JOIN issue_requests r ON r.tenant_id = $1 AND r.client = $2 AND r.idempotency_key = $3",
};

/* One statement: the serial is reserved exactly when the idempotency key is new and the public key is not one
 * that is known to be compromised. A second request with the same idempotency key waits in the first INSERT
 * until this transaction ends. */
static const struct ch_statement reserve = {
	"issuer_reserve",
	"WITH blocked AS ("
	"  SELECT 1 FROM compromised_keys WHERE public_key_sha256 = $13 AND tenant_id IN ('', $1)),"
	" claimed AS ("
	"  INSERT INTO issue_requests (tenant_id, client, idempotency_key, request_sha256, expiry_period, "
	"ca_id, serial)"
	"  SELECT $1, $2::text, $3::text, $4::bytea, $5::int, $6::bigint, $7::bytea WHERE NOT EXISTS (SELECT "
	"FROM "
	"blocked) ON CONFLICT DO NOTHING RETURNING 1),"
	" reserved AS ("
	" INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
	"profile_version, subject,"
	"   subject_alt_names, san_text, public_key_sha256, not_before, not_after, tbs_certificate, "
	"requested_by, reserved_by,"
	"   reserved_at)"
	" SELECT $5, $6, $7, $1, 'pending', $8::text, $9::int, $10::text, $11::text::jsonb, $12::text, "
	"$13::bytea,"
	"   $14::timestamptz, $15::timestamptz, $16::bytea, $2, $17::text, $18::timestamptz FROM claimed "
	"RETURNING 1)"
	" SELECT EXISTS (SELECT FROM reserved), EXISTS (SELECT FROM blocked)",
};

static const struct ch_statement issued = {
	"issuer_issued",
	"WITH saved AS ("
	"  UPDATE certificates SET status = 'issued', certificate_der = $4, tbs_certificate = NULL, "
	"issued_at = $5"
	"  WHERE expiry_period = $1 AND ca_id = $2 AND serial = $3 AND status = 'pending' RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $6::bytea FROM saved",
};

static const struct ch_statement cancelled = {
	"issuer_cancelled",
	"WITH saved AS ("
	"  UPDATE certificates SET status = 'cancelled', cancelled_reason = $4, tbs_certificate = NULL"
	"  WHERE expiry_period = $1 AND ca_id = $2 AND serial = $3 AND status = 'pending' RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $5::bytea FROM saved",
};

static const struct ch_statement find = {
	"issuer_find",
	"SELECT " ROW_COLUMNS " FROM certificates WHERE expiry_period = $1 AND ca_id = $2 AND serial = $3",
};

static const struct ch_statement find_for_update = {
	"issuer_find_for_update",
	"SELECT " ROW_COLUMNS
	" FROM certificates WHERE expiry_period = $1 AND ca_id = $2 AND serial = $3 FOR UPDATE",
};

static const struct ch_statement next_pending = {
	"issuer_next_pending",
	"SELECT " ROW_COLUMNS " FROM certificates"
	" WHERE status = 'pending' AND (reserved_at, serial) > ($4::timestamptz, $5::bytea)"
	"  AND (reserved_at < $3 OR (reserved_by = $1 AND reserved_at < $2))"
	" ORDER BY reserved_at, serial LIMIT 1",
};

static const struct ch_statement pending_of_key = {
	"issuer_pending_of_key",
	"SELECT " ROW_COLUMNS " FROM certificates"
	" WHERE status = 'pending' AND ca_id = $1 AND profile = $2 AND public_key_sha256 = $3 AND not_after "
	"> now()"
	" ORDER BY reserved_at DESC LIMIT 1",
};

/* The log's head is locked by the UPDATE until commit, so sequence numbers become visible in their order. */
static const struct ch_statement change_status = {
	"issuer_change_status",
	"WITH changed AS ("
	"  UPDATE certificates SET status = $5, revoked_at = CASE WHEN $8::boolean THEN $9::timestamptz END,"
	"    revocation_reason = CASE WHEN $8 THEN $7::int END, invalidity_date = CASE WHEN $8 THEN "
	"$10::timestamptz END"
	"  WHERE expiry_period = $1 AND ca_id = $2 AND serial = $3 AND status = $4 RETURNING tenant_id),"
	" head AS ("
	"  UPDATE revocation_log_head SET sequence = sequence + 1 WHERE EXISTS (SELECT FROM changed) "
	"RETURNING sequence),"
	" logged AS ("
	"  INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, revoked_at, "
	"invalidity_date)"
	"  SELECT head.sequence, changed.tenant_id, $2, $3, $6::text, $7, $9, $10 FROM head, changed "
	"RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $11::bytea FROM logged",
};

/* A pending or cancelled row is no certificate: it is listed only where its status is asked for. */
static const struct ch_statement list = {
	"issuer_list",
	"SELECT " ROW_COLUMNS " FROM certificates WHERE tenant_id = $1"
	" AND CASE WHEN $2::text IS NULL THEN status IN ('issued', 'suspended', 'revoked') ELSE status = $2 "
	"END"
	" AND ($3::text IS NULL OR position(lower($3) IN lower(subject)) > 0)"
	" AND ($4::text IS NULL OR position(lower($4) IN lower(san_text)) > 0)"
	" AND ($5::text IS NULL OR profile = $5)"
	" AND ($6::timestamptz IS NULL OR not_after < $6)"
	" AND ($7::bigint = 0 OR ca_id = $7)"
	" AND ($8::timestamptz IS NULL OR (created_at, serial) < ($8, $9::bytea))"
	" ORDER BY created_at DESC, serial DESC LIMIT $10::int",
};

void certificate_row_free(struct certificate_row *row)
{
	ch_bytes_free(&row->serial);
	ch_bytes_free(&row->tbs);
	ch_bytes_free(&row->der);
	ch_bytes_free(&row->public_key_sha256);
	free(row->status);
	free(row->profile);
	free(row->subject);
	free(row->sans_json);
	free(row->requested_by);
	free(row->cancelled_reason);
	*row = (struct certificate_row)CH_NONE;
}

void lookup_free(struct lookup *lookup)
{
	ch_bytes_free(&lookup->serial);
	free(lookup->catalog_version);
	*lookup = (struct lookup)CH_NONE;
}

static void read_row(const struct ch_rows *rows, size_t i, struct certificate_row *row)
{
	certificate_row_free(row);
	row->expiry_period = (int32_t)ch_rows_int64(rows, i, 0);
	row->ca_id = ch_rows_int64(rows, i, 1);
	row->serial = ch_bytes_copy(ch_rows_bytes(rows, i, 2));
	row->status = ch_strdup(ch_rows_text(rows, i, 3));
	row->profile = ch_strdup(ch_rows_text(rows, i, 4));
	row->profile_version = (int32_t)ch_rows_int64(rows, i, 5);
	row->subject = ch_strdup(ch_rows_text(rows, i, 6));
	row->sans_json = ch_strdup(ch_rows_text(rows, i, 7));
	row->not_before_us = ch_rows_time(rows, i, 8);
	row->not_after_us = ch_rows_time(rows, i, 9);
	row->created_at_us = ch_rows_time(rows, i, 10);
	row->tbs = ch_bytes_copy(ch_rows_bytes(rows, i, 11));
	row->der = ch_bytes_copy(ch_rows_bytes(rows, i, 12));
	row->requested_by = ch_strdup(ch_rows_text(rows, i, 13));
	row->cancelled_reason = ch_strdup(ch_rows_text(rows, i, 14));
	row->reserved_at_us = ch_rows_time(rows, i, 15);
	row->revoked_at_us = ch_rows_time(rows, i, 16);
	row->invalidity_date_us = ch_rows_time(rows, i, 17);
	row->revocation_reason = ch_rows_null(rows, i, 18) ? -1 : (int)ch_rows_int64(rows, i, 18);
	row->public_key_sha256 = ch_bytes_copy(ch_rows_bytes(rows, i, 19));
}

bool store_lookup(struct ch_db *db, const char *tenant, const char *client, const char *idempotency_key,
		  const char *profile, struct lookup *lookup, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_view digest;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &look_up,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_text(client),
				       ch_param_text(idempotency_key), ch_param_text(profile)),
			 &rows, err))
		return false;
	lookup->repeated = !ch_rows_null(rows, 0, 0);
	digest = ch_rows_bytes(rows, 0, 0);
	if (digest.size == sizeof(lookup->request_sha256))
		memcpy(lookup->request_sha256, digest.data, digest.size);
	lookup->expiry_period = (int32_t)ch_rows_int64(rows, 0, 1);
	lookup->ca_id = ch_rows_int64(rows, 0, 2);
	lookup->serial = ch_bytes_copy(ch_rows_bytes(rows, 0, 3));
	lookup->profile_version = (int32_t)ch_rows_int64(rows, 0, 4);
	lookup->catalog_version = ch_strdup(ch_rows_text(rows, 0, 5));
	return ch_db_commit(&transaction, err);
}

bool store_reserve(struct ch_transaction *transaction, const struct reservation *r, bool *reserved,
		   bool *blocked, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &reserve,
			 CH_PARAMETERS(ch_param_text(r->tenant), ch_param_text(r->client),
				       ch_param_text(r->idempotency_key), ch_param_bytes(r->request_sha256),
				       ch_param_int32(r->expiry_period), ch_param_int64(r->ca_id),
				       ch_param_bytes(r->serial), ch_param_text(r->profile),
				       ch_param_int32(r->profile_version), ch_param_text(r->subject),
				       ch_param_text(r->sans_json), ch_param_text(r->san_text),
				       ch_param_bytes(r->public_key_sha256), ch_param_time(r->not_before_us),
				       ch_param_time(r->not_after_us), ch_param_bytes(r->tbs),
				       ch_param_text(r->reserved_by), ch_param_time(r->reserved_at_us)),
			 &rows, err))
		return false;
	*reserved = ch_rows_bool(rows, 0, 0);
	*blocked = ch_rows_bool(rows, 0, 1);
	return true;
}

bool store_issued(struct ch_transaction *transaction, int32_t expiry_period, int64_t ca_id,
		  struct ch_view serial, struct ch_view der, int64_t issued_at_us, struct ch_view event,
		  bool *saved, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &issued,
			 CH_PARAMETERS(ch_param_int32(expiry_period), ch_param_int64(ca_id),
				       ch_param_bytes(serial), ch_param_bytes(der),
				       ch_param_time(issued_at_us), ch_param_bytes(event)),
			 &rows, err))
		return false;
	*saved = ch_rows_affected(rows) == 1;
	return true;
}

bool store_cancelled(struct ch_transaction *transaction, int32_t expiry_period, int64_t ca_id,
		     struct ch_view serial, const char *reason, struct ch_view event, bool *saved,
		     struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &cancelled,
			 CH_PARAMETERS(ch_param_int32(expiry_period), ch_param_int64(ca_id),
				       ch_param_bytes(serial), ch_param_text(reason), ch_param_bytes(event)),
			 &rows, err))
		return false;
	*saved = ch_rows_affected(rows) == 1;
	return true;
}

bool store_find(struct ch_transaction *transaction, int32_t expiry_period, int64_t ca_id,
		struct ch_view serial, bool for_update, struct certificate_row *row, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, for_update ? &find_for_update : &find,
			 CH_PARAMETERS(ch_param_int32(expiry_period), ch_param_int64(ca_id),
				       ch_param_bytes(serial)),
			 &rows, err))
		return false;
	if (ch_rows_count(rows) == 0) {
		CH_AUTO(ch_string) hex = ch_hex(serial);

		return ch_fail(err, CH_NOT_FOUND, "certificate %s: no such certificate", hex);
	}
	read_row(rows, 0, row);
	return true;
}

bool store_next_pending(struct ch_transaction *transaction, const char *instance, int64_t started_us,
			int64_t before_us, const struct pending_place *after, bool *found,
			struct certificate_row *row, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &next_pending,
			 CH_PARAMETERS(ch_param_text(instance), ch_param_time(started_us),
				       ch_param_time(before_us), ch_param_time(after->reserved_at_us),
				       ch_param_bytes(after->serial)),
			 &rows, err))
		return false;
	*found = ch_rows_count(rows) == 1;
	if (*found)
		read_row(rows, 0, row);
	return true;
}

bool store_find_pending_of_key(struct ch_transaction *transaction, int64_t ca_id, const char *profile,
			       struct ch_view public_key_sha256, bool *found, struct certificate_row *row,
			       struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &pending_of_key,
			 CH_PARAMETERS(ch_param_int64(ca_id), ch_param_text(profile),
				       ch_param_bytes(public_key_sha256)),
			 &rows, err))
		return false;
	*found = ch_rows_count(rows) == 1;
	if (*found)
		read_row(rows, 0, row);
	return true;
}

bool store_change_status(struct ch_transaction *transaction, const struct status_change *c,
			 struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &change_status,
			 CH_PARAMETERS(ch_param_int32(c->expiry_period), ch_param_int64(c->ca_id),
				       ch_param_bytes(c->serial), ch_param_text(c->old_status),
				       ch_param_text(c->new_status), ch_param_text(c->log_action),
				       ch_param_int32(c->reason), ch_param_bool(c->revoked),
				       ch_param_time(c->revoked_at_us), ch_param_time(c->invalidity_date_us),
				       ch_param_bytes(c->event)),
			 &rows, err))
		return false;
	if (ch_rows_affected(rows) != 1)
		return ch_fail(err, CH_INTERNAL, "status change wrote %llu audit rows, not 1",
			       (unsigned long long)ch_rows_affected(rows));
	return true;
}

bool store_list(struct ch_transaction *transaction, const char *tenant, const struct listing *l,
		struct certificate_row **found, size_t *count, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &list,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_text(l->status),
				       ch_param_text(l->subject), ch_param_text(l->san),
				       ch_param_text(l->profile), ch_param_time(l->expires_before_us),
				       ch_param_int64(l->ca_id), ch_param_time(l->cursor_created_us),
				       ch_param_bytes(l->cursor_serial), ch_param_int32(l->limit)),
			 &rows, err))
		return false;
	*count = ch_rows_count(rows);
	*found = ch_alloc((*count + 1) * sizeof(**found));
	for (size_t i = 0; i < *count; i++)
		read_row(rows, i, &(*found)[i]);
	return true;
}
