/* SPDX-License-Identifier: Apache-2.0 */
/* store_stopping.c: every statement about CAs that are stopped, started, retired and revoked, and about keys
 * that are known to be compromised. All run in the caller's transaction, which has set the tenant. */
#include "stopping.h"

static const struct ch_statement change_ca = {
	"issuer_change_ca",
	"WITH changed AS ("
	"  UPDATE cas SET state = $3, state_reason = $4 WHERE ca_id = $1 AND state = $2 RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $5::bytea FROM changed",
};

static const struct ch_statement block_key = {
	"issuer_block_key",
	"INSERT INTO compromised_keys (public_key_sha256, tenant_id, source) VALUES ($1, $2, $3)"
	" ON CONFLICT DO NOTHING",
};

/* Of the suite's own signer ($2, $3: its CA and serial; the key was made by the vault), for everybody; else
 * for $4. What is blocked for everybody already needs no more. */
static const struct ch_statement block_revoked_key = {
	"issuer_block_revoked_key",
	"INSERT INTO compromised_keys (public_key_sha256, tenant_id, source)"
	" SELECT $1, CASE WHEN EXISTS (SELECT 1 FROM service_certificates WHERE ca_id = $2 AND serial = $3)"
	"  THEN '' ELSE $4 END, 'revocation'"
	" WHERE NOT EXISTS (SELECT 1 FROM compromised_keys WHERE public_key_sha256 = $1 AND tenant_id = '')"
	" ON CONFLICT DO NOTHING",
};

static const struct ch_statement is_blocked = {
	"issuer_is_blocked",
	"SELECT 1 FROM compromised_keys WHERE public_key_sha256 = $1 AND tenant_id IN ('', $2)",
};

static const struct ch_statement lock_log = {
	"issuer_lock_log",
	"SELECT r.revoked_at, r.reason FROM revocation_log_head h"
	" LEFT JOIN revocations r ON r.ca_id = $1 AND r.serial = $2 AND r.action = 'revoked' FOR UPDATE OF h",
};

static const struct ch_statement log_unknown = {
	"issuer_log_unknown",
	"WITH head AS (UPDATE revocation_log_head SET sequence = sequence + 1 RETURNING sequence),"
	" logged AS ("
	"  INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, revoked_at,"
	"   invalidity_date)"
	"  SELECT sequence, $1, $2, $3, 'revoked', $4::int, $5, $6 FROM head RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $7::bytea FROM logged",
};

static const struct ch_statement add_event = {
	"issuer_add_event",
	"INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', $1)",
};

/*
 * What is out for a key, and CAs whose key may still sign: a CA's own certificate is for officers to revoke.
 * Without a key: for those of the last day, since a certificate may have been on its way when its key was
 * blocked.
 */
#define CERTIFICATES_OF_KEY                                                                                \
	"SELECT c.expiry_period, c.ca_id, c.serial, a.ca_id IS NOT NULL, coalesce(a.ca_id, 0)"             \
	" FROM compromised_keys k JOIN certificates c ON c.public_key_sha256 = k.public_key_sha256"        \
	" LEFT JOIN LATERAL (SELECT cas.ca_id FROM cas JOIN keys ON keys.key_id = cas.key_id"              \
	"   WHERE cas.tenant_id = $1 AND cas.certificate_der = c.certificate_der"                          \
	"   AND cas.state IN ('active', 'suspended') AND keys.state = 'active' LIMIT 1) a ON c.profile = " \
	"'ca'"                                                                                             \
	" WHERE c.tenant_id = $1 AND k.tenant_id IN ('', $1) AND c.status IN ('pending', 'issued', "       \
	"'suspended')"                                                                                     \
	" AND (a.ca_id IS NOT NULL OR c.profile <> 'ca' OR c.profile_version <> 0)"

static const struct ch_statement certificates_of_key = {
	"issuer_certificates_of_key",
	CERTIFICATES_OF_KEY " AND k.public_key_sha256 = $2 LIMIT $3::int",
};

static const struct ch_statement certificates_of_new_keys = {
	"issuer_certificates_of_new_keys",
	CERTIFICATES_OF_KEY " AND k.blocked_at > now() - interval '1 day' LIMIT $2::int",
};

bool store_change_ca(struct ch_transaction *transaction, const struct ch_ca *ca, const char *state,
		     const char *reason, struct ch_view event, bool *changed, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &change_ca,
			 CH_PARAMETERS(ch_param_int64(ca->id), ch_param_text(ca->state), ch_param_text(state),
				       ch_param_text(reason), ch_param_bytes(event)),
			 &rows, err))
		return false;
	*changed = ch_rows_affected(rows) == 1;
	return true;
}

bool store_block_key(struct ch_transaction *transaction, struct ch_view fingerprint, const char *tenant,
		     const char *source, bool *added, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(
		    transaction, &block_key,
		    CH_PARAMETERS(ch_param_bytes(fingerprint), ch_param_text(tenant), ch_param_text(source)),
		    &rows, err))
		return false;
	*added = ch_rows_affected(rows) == 1;
	return true;
}

bool store_block_revoked_key(struct ch_transaction *transaction, const struct certificate_row *row,
			     const char *tenant, struct ch_error *err)
{
	return ch_db_query(transaction, &block_revoked_key,
			   CH_PARAMETERS(ch_param_bytes(ch_view_of(&row->public_key_sha256)),
					 ch_param_int64(row->ca_id), ch_param_bytes(ch_view_of(&row->serial)),
					 ch_param_text(tenant)),
			   NULL, err);
}

bool store_key_is_blocked(struct ch_transaction *transaction, struct ch_view fingerprint, const char *tenant,
			  bool *blocked, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &is_blocked,
			 CH_PARAMETERS(ch_param_bytes(fingerprint), ch_param_text(tenant)), &rows, err))
		return false;
	*blocked = ch_rows_count(rows) > 0;
	return true;
}

bool store_event(struct ch_transaction *transaction, struct ch_view event, struct ch_error *err)
{
	return ch_db_query(transaction, &add_event, CH_PARAMETERS(ch_param_bytes(event)), NULL, err);
}

bool store_certificates_of_key(struct ch_transaction *transaction, const char *tenant,
			       struct ch_view fingerprint, struct key_certificate found[KEY_CERTIFICATES_CAP],
			       size_t *count, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	const struct ch_param limit = ch_param_int32(KEY_CERTIFICATES_CAP);
	bool queried = fingerprint.size
			       ? ch_db_query(transaction, &certificates_of_key,
					     CH_PARAMETERS(ch_param_text(tenant), ch_param_bytes(fingerprint),
							   limit),
					     &rows, err)
			       : ch_db_query(transaction, &certificates_of_new_keys,
					     CH_PARAMETERS(ch_param_text(tenant), limit), &rows, err);

	if (!queried)
		return false;
	*count = ch_rows_count(rows);
	for (size_t i = 0; i < *count; i++)
		found[i] = (struct key_certificate){ .expiry_period = (int32_t)ch_rows_int64(rows, i, 0),
						     .ca_id = ch_rows_int64(rows, i, 1),
						     .serial = ch_bytes_copy(ch_rows_bytes(rows, i, 2)),
						     .is_ca = ch_rows_bool(rows, i, 3),
						     .of_ca_id = ch_rows_int64(rows, i, 4) };
	return true;
}

bool store_lock_log(struct ch_transaction *transaction, int64_t ca_id, struct ch_view serial, bool *logged,
		    int64_t *revoked_at_us, int *reason, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &lock_log, CH_PARAMETERS(ch_param_int64(ca_id), ch_param_bytes(serial)),
			 &rows, err))
		return false;
	*logged = ch_rows_count(rows) == 1 && !ch_rows_null(rows, 0, 0);
	if (*logged) {
		*revoked_at_us = ch_rows_time(rows, 0, 0);
		*reason = (int)ch_rows_int64(rows, 0, 1);
	}
	return true;
}

bool store_log_unknown(struct ch_transaction *transaction, const char *tenant,
		       const struct unknown_serial *unknown, int64_t revoked_at_us, struct ch_view event,
		       struct ch_error *err)
{
	return ch_db_query(transaction, &log_unknown,
			   CH_PARAMETERS(ch_param_text(tenant), ch_param_int64(unknown->ca->id),
					 ch_param_bytes(unknown->serial), ch_param_int32(unknown->reason),
					 ch_param_time(revoked_at_us),
					 ch_param_time(unknown->invalidity_date_us), ch_param_bytes(event)),
			   NULL, err);
}
