/* SPDX-License-Identifier: Apache-2.0 */
/* store_catalog.c: every statement about CAs, profiles and partitions. A CA's row is
 * visible to the issuer in every tenant (upkeep needs that), so these statements name the tenant themselves.
 */
#include "issuer.h"

#include <stdlib.h>
#include <string.h>

static const struct ch_statement catalog_version = {
	"issuer_catalog_version",
	"SELECT " STORE_CATALOG_VERSION,
};

static const struct ch_statement load_cas = {
	"issuer_load_cas",
	"SELECT c.ca_id, coalesce(c.parent_id, 0), c.state, c.document, c.subject_der, c.subject, c.key_id, "
	"  c.key_algorithm, c.public_key_info, c.key_identifier, c.tbs_certificate, c.certificate_der, "
	"  c.not_before, c.not_after, c.serial_tag_key, c.state_reason, k.state, k.policy_version, "
	"  k.compromised_at IS NOT NULL, t.status, c.timestamp_default"
	" FROM cas c JOIN keys k ON k.key_id = c.key_id"
	" LEFT JOIN certificates t ON t.expiry_period = serial_period(certificate_serial(c.certificate_der))"
	"  AND t.ca_id = coalesce(c.parent_id, c.ca_id) AND t.serial = certificate_serial(c.certificate_der)"
	" WHERE c.tenant_id = $1 ORDER BY c.ca_id",
};

static const struct ch_statement same_ca = {
	"issuer_same_ca",
	"SELECT 1 FROM cas WHERE tenant_id = $1 AND name = $2 AND document_sha256 = $3",
};

/* A document corrected before its approval replaces the pending one, key and all. */
static const struct ch_statement prepare_ca = {
	"issuer_prepare_ca",
	"WITH saved AS ("
	"  INSERT INTO cas (tenant_id, name, parent_id, state, document, document_sha256, subject_der, "
	"subject, key_id,"
	"    key_algorithm, public_key_info, key_identifier, tbs_certificate, not_before, not_after, "
	"serial_tag_key, ocsp_url,"
	"    crl_url, ca_issuers_url, crl_interval_s, crl_validity_s, timestamp_default)"
	"  VALUES ($1, $2, nullif($3::bigint, 0), 'pending', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
	"$14, $15, $16, $17,"
	"    $18, $19, $20, $22)"
	"  ON CONFLICT (tenant_id, name) DO UPDATE SET parent_id = excluded.parent_id, document = "
	"excluded.document,"
	"    document_sha256 = excluded.document_sha256, subject_der = excluded.subject_der, subject = "
	"excluded.subject,"
	"    key_id = excluded.key_id, key_algorithm = excluded.key_algorithm, public_key_info = "
	"excluded.public_key_info,"
	"    key_identifier = excluded.key_identifier, tbs_certificate = excluded.tbs_certificate,"
	"    not_before = excluded.not_before, not_after = excluded.not_after, serial_tag_key = "
	"excluded.serial_tag_key,"
	"    ocsp_url = excluded.ocsp_url, crl_url = excluded.crl_url, ca_issuers_url = "
	"excluded.ca_issuers_url,"
	"    crl_interval_s = excluded.crl_interval_s, crl_validity_s = excluded.crl_validity_s,"
	"    timestamp_default = excluded.timestamp_default"
	"  WHERE cas.state = 'pending' RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $21::bytea FROM saved",
};

static const struct ch_statement activate_ca = {
	"issuer_activate_ca",
	"WITH saved AS ("
	"  UPDATE cas SET state = 'active', certificate_der = $3"
	"  WHERE ca_id = $1 AND state = 'pending' AND tbs_certificate = $2"
	"  RETURNING tenant_id, coalesce(parent_id, ca_id) AS issuing_id, subject, not_before, not_after),"
	" listed AS ("
	"  INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, "
	"profile_version, subject,"
	"    public_key_sha256, not_before, not_after, certificate_der, requested_by, reserved_by, "
	"reserved_at, issued_at)"
	"  SELECT $4::int, issuing_id, $5::bytea, tenant_id, 'issued', 'ca', 0, subject, $6::bytea, "
	"not_before, not_after, $3,"
	"    $7::text, $8::text, $9::timestamptz, $9 FROM saved RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $10::bytea FROM listed",
};

static const struct ch_statement count_issued = {
	"issuer_count_issued",
	"SELECT ca_id, sum(issued)::bigint FROM certificate_counts "
	"WHERE tenant_id = $1 AND ($2::bigint = 0 OR ca_id = $2) GROUP BY ca_id",
};

#define PROFILE_COLUMNS "name, version, kind, document, applied_at"

static const struct ch_statement load_profile = {
	"issuer_load_profile",
	"SELECT " PROFILE_COLUMNS
	" FROM profiles WHERE tenant_id = $1 AND name = $2 AND ($3::int = 0 OR version = $3)"
	" ORDER BY version DESC LIMIT 1",
};

static const struct ch_statement list_profiles = {
	"issuer_list_profiles",
	"SELECT DISTINCT ON (name) " PROFILE_COLUMNS
	" FROM profiles WHERE tenant_id = $1 ORDER BY name, version DESC",
};

static const struct ch_statement apply_profile = {
	"issuer_apply_profile",
	"WITH saved AS ("
	"  INSERT INTO profiles (tenant_id, name, version, kind, document, applied_by, applied_at)"
	"  VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $8::bytea FROM saved",
};

const struct ch_lease_table issuer_leases = CH_LEASE_TABLE("issuer", "issuer_leases", "name");

static const struct ch_statement tenants = {
	"issuer_tenants",
	"SELECT tenant_id FROM tenants ORDER BY tenant_id",
};

static const struct ch_statement ensure_partitions = {
	"issuer_ensure_partitions",
	"SELECT ensure_certificate_partitions($1::int, $2::int)",
};

bool store_catalog_version(struct ch_transaction *transaction, const char *tenant, char **version,
			   struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &catalog_version, CH_PARAMETERS(ch_param_text(tenant)), &rows, err))
		return false;
	*version = ch_strdup(ch_rows_text(rows, 0, 0));
	return true;
}

static bool read_ca(const struct ch_rows *rows, size_t i, struct ch_ca *ca, struct ch_error *err)
{
	struct ch_view tag_key = ch_rows_bytes(rows, i, 14);

	ca->id = ch_rows_int64(rows, i, 0);
	ca->parent_id = ch_rows_int64(rows, i, 1);
	ca->state = ch_strdup(ch_rows_text(rows, i, 2));
	if (!ch_ca_document_read(ch_view_text(ch_rows_text(rows, i, 3)), &ca->document, err))
		return ch_fail_in(err, "stored CA %lld", (long long)ca->id);
	ca->subject_der = ch_bytes_copy(ch_rows_bytes(rows, i, 4));
	ca->subject = ch_strdup(ch_rows_text(rows, i, 5));
	ca->key_id = ch_strdup(ch_rows_text(rows, i, 6));
	ca->algorithm = ch_algorithm_find(ch_rows_text(rows, i, 7));
	ca->public_key_info = ch_bytes_copy(ch_rows_bytes(rows, i, 8));
	ca->key_identifier = ch_bytes_copy(ch_rows_bytes(rows, i, 9));
	ca->tbs_certificate = ch_bytes_copy(ch_rows_bytes(rows, i, 10));
	ca->certificate_der = ch_bytes_copy(ch_rows_bytes(rows, i, 11));
	ca->not_before_us = ch_rows_time(rows, i, 12);
	ca->not_after_us = ch_rows_time(rows, i, 13);
	ca->state_reason = ch_strdup(ch_rows_text(rows, i, 15));
	ca->key_state = ch_strdup(ch_rows_text(rows, i, 16));
	ca->key_version = ch_rows_int64(rows, i, 17);
	ca->key_was_compromised = ch_rows_bool(rows, i, 18);
	ca->certificate_status = ch_strdup(ch_rows_text(rows, i, 19));
	ca->timestamp_default = ch_rows_bool(rows, i, 20);
	if (!ca->algorithm || tag_key.size != sizeof(ca->serial_tag_key))
		return ch_fail(err, CH_INTERNAL,
			       "stored CA '%s' has an unknown algorithm or no serial tag key",
			       ca->document.name);
	memcpy(ca->serial_tag_key, tag_key.data, tag_key.size);
	return true;
}

bool store_load_cas(struct ch_transaction *transaction, const char *tenant, struct ch_ca **cas, size_t *count,
		    struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	size_t total;

	if (!ch_db_query(transaction, &load_cas, CH_PARAMETERS(ch_param_text(tenant)), &rows, err))
		return false;
	total = ch_rows_count(rows);
	*cas = ch_alloc((total + 1) * sizeof(**cas));
	for (*count = 0; *count < total; (*count)++)
		if (!read_ca(rows, *count, &(*cas)[*count], err)) {
			(*count)++;
			return false;
		}
	return true;
}

bool store_same_ca(struct ch_transaction *transaction, const char *tenant, const char *name,
		   struct ch_view document_sha256, bool *found, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &same_ca,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_text(name),
				       ch_param_bytes(document_sha256)),
			 &rows, err))
		return false;
	*found = ch_rows_count(rows) > 0;
	return true;
}

bool store_prepare_ca(struct ch_transaction *transaction, const char *tenant, const struct ch_ca *ca,
		      const char *document, struct ch_view document_sha256, struct ch_view event, bool *saved,
		      struct ch_error *err)
{
	const struct ch_ca_document *d = &ca->document;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &prepare_ca,
			 CH_PARAMETERS(
				 ch_param_text(tenant), ch_param_text(d->name), ch_param_int64(ca->parent_id),
				 ch_param_text(document), ch_param_bytes(document_sha256),
				 ch_param_bytes(ch_view_of(&ca->subject_der)), ch_param_text(ca->subject),
				 ch_param_text(ca->key_id), ch_param_text(ca->algorithm->name),
				 ch_param_bytes(ch_view_of(&ca->public_key_info)),
				 ch_param_bytes(ch_view_of(&ca->key_identifier)),
				 ch_param_bytes(ch_view_of(&ca->tbs_certificate)),
				 ch_param_time(ca->not_before_us), ch_param_time(ca->not_after_us),
				 ch_param_bytes(ch_view(ca->serial_tag_key, sizeof(ca->serial_tag_key))),
				 ch_param_text(d->urls.ocsp), ch_param_text(d->urls.crl),
				 ch_param_text(d->urls.ca_issuers),
				 ch_param_int64(d->crl.interval_us / CH_SECOND),
				 ch_param_int64(d->crl.validity_us / CH_SECOND), ch_param_bytes(event),
				 ch_param_bool(d->timestamp_authority.is_default)),
			 &rows, err))
		return false;
	*saved = ch_rows_affected(rows) == 1;
	return true;
}

bool store_activate_ca(struct ch_transaction *transaction, const struct ch_ca *ca, struct ch_view der,
		       struct ch_view serial, struct ch_view public_key_sha256, const char *requested_by,
		       const char *instance, int64_t now_us, struct ch_view event, bool *saved,
		       struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &activate_ca,
			 CH_PARAMETERS(ch_param_int64(ca->id),
				       ch_param_bytes(ch_view_of(&ca->tbs_certificate)), ch_param_bytes(der),
				       ch_param_int32(ch_serial_period(serial)), ch_param_bytes(serial),
				       ch_param_bytes(public_key_sha256), ch_param_text(requested_by),
				       ch_param_text(instance), ch_param_time(now_us), ch_param_bytes(event)),
			 &rows, err))
		return false;
	*saved = ch_rows_affected(rows) == 1;
	return true;
}

bool store_count_issued(struct ch_transaction *transaction, const char *tenant, int64_t ca_id,
			struct issued_counts *counts, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &count_issued,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_int64(ca_id)), &rows, err))
		return false;
	counts->items = ch_alloc((ch_rows_count(rows) + 1) * sizeof(*counts->items));
	for (size_t row = 0; row < ch_rows_count(rows); row++) {
		counts->items[row].ca_id = ch_rows_int64(rows, row, 0);
		counts->items[row].issued = (uint64_t)ch_rows_int64(rows, row, 1);
	}
	counts->count = ch_rows_count(rows);
	return true;
}

uint64_t issued_by(const struct issued_counts *counts, int64_t ca_id)
{
	for (size_t i = 0; i < counts->count; i++)
		if (counts->items[i].ca_id == ca_id)
			return counts->items[i].issued;
	return 0;
}

void issued_counts_free(struct issued_counts *counts)
{
	free(counts->items);
	*counts = (struct issued_counts)CH_NONE;
}

void profile_row_free(struct profile_row *row)
{
	free(row->name);
	free(row->kind);
	free(row->document);
	*row = (struct profile_row)CH_NONE;
}

static void read_profile(const struct ch_rows *rows, size_t i, struct profile_row *row)
{
	row->name = ch_strdup(ch_rows_text(rows, i, 0));
	row->version = (int32_t)ch_rows_int64(rows, i, 1);
	row->kind = ch_strdup(ch_rows_text(rows, i, 2));
	row->document = ch_strdup(ch_rows_text(rows, i, 3));
	row->applied_at_us = ch_rows_time(rows, i, 4);
}

bool store_load_profile(struct ch_transaction *transaction, const char *tenant, const char *name,
			int32_t version, struct profile_row *row, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &load_profile,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_text(name), ch_param_int32(version)),
			 &rows, err))
		return false;
	if (ch_rows_count(rows) == 0)
		return ch_fail(err, CH_NOT_FOUND, "profile '%.80s': no such profile", name);
	read_profile(rows, 0, row);
	return true;
}

bool store_list_profiles(struct ch_transaction *transaction, const char *tenant, struct profile_row **found,
			 size_t *count, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &list_profiles, CH_PARAMETERS(ch_param_text(tenant)), &rows, err))
		return false;
	*count = ch_rows_count(rows);
	*found = ch_alloc((*count + 1) * sizeof(**found));
	for (size_t i = 0; i < *count; i++)
		read_profile(rows, i, &(*found)[i]);
	return true;
}

bool store_apply_profile(struct ch_transaction *transaction, const char *tenant,
			 const struct profile_row *row, const char *applied_by, struct ch_view event,
			 struct ch_error *err)
{
	return ch_db_query(transaction, &apply_profile,
			   CH_PARAMETERS(ch_param_text(tenant), ch_param_text(row->name),
					 ch_param_int32(row->version), ch_param_text(row->kind),
					 ch_param_text(row->document), ch_param_text(applied_by),
					 ch_param_time(row->applied_at_us), ch_param_bytes(event)),
			   NULL, err);
}

bool store_tenants(struct ch_db *db, char ***found, size_t *count, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &tenants, CH_NO_PARAMETERS, &rows, err))
		return false;
	*count = ch_rows_count(rows);
	*found = ch_alloc((*count + 1) * sizeof(**found));
	for (size_t i = 0; i < *count; i++)
		(*found)[i] = ch_strdup(ch_rows_text(rows, i, 0));
	return true;
}

bool store_ensure_partitions(struct ch_db *db, int first, int last, int *made, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &ensure_partitions,
			 CH_PARAMETERS(ch_param_int32(first), ch_param_int32(last)), &rows, err))
		return false;
	*made = (int)ch_rows_int64(rows, 0, 0);
	return ch_db_commit(&transaction, err);
}
