/* SPDX-License-Identifier: Apache-2.0 */
/* store_signers.c: every statement about the suite's own signers. What makes one unfit to sign is the view
 * service_signers (proto/schema/0004_signers.sql), which the responders read too. */
#include "issuer.h"

/*
 * Per tenant: signers (a kind of a CA) of which no certificate may sign though the CA may certify another
 * (one whose key was stopped or is retired certifies OCSP responders: signer_may_be_made), and certificates
 * whose stopping or resuming nobody told yet. Cheap: every issuer asks twice a second. Only what is asked for
 * once (a document's section) and was never made is not here: renew_signers sees to that.
 */
static const struct ch_statement watch_signers = {
	"issuer_watch_signers",
	"WITH live AS ("
	"  SELECT kind, ca_id, bool_or(obstacle IS NULL) AS can_sign,"
	"    count(*) FILTER (WHERE (obstacle IS NULL) = (stopped_at IS NOT NULL)) AS untold"
	"  FROM service_signers WHERE not_after > now() GROUP BY kind, ca_id),"
	" judged AS ("
	"  SELECT s.tenant_id, coalesce(l.untold, 0) AS untold,"
	"    CASE WHEN coalesce(l.can_sign, false) THEN false WHEN ca_obstacle(s.ca_id) IS NULL THEN true"
	"    ELSE s.kind = 'ocsp' AND k.state IN ('stopped', 'retired') AND c.not_after > now() END AS "
	"missing"
	"  FROM (SELECT DISTINCT tenant_id, kind, ca_id FROM service_certificates) s"
	"  JOIN cas c USING (ca_id) JOIN keys k USING (key_id)"
	"  LEFT JOIN live l USING (kind, ca_id))"
	" SELECT tenant_id, count(*) FILTER (WHERE missing), sum(untold)::bigint FROM judged"
	" WHERE missing OR untold > 0 GROUP BY tenant_id",
};

static const struct ch_statement signer_life = {
	"issuer_signer_life",
	"SELECT count(*), max(not_before) FILTER (WHERE obstacle IS NULL),"
	"  max(not_after) FILTER (WHERE obstacle IS NULL), ca_obstacle($2)"
	" FROM service_signers WHERE kind = $1 AND ca_id = $2",
};

static const struct ch_statement untold_signers = {
	"issuer_untold_signers",
	"SELECT kind, ca_id, ca_name, key_id, serial, not_before, coalesce(obstacle, '')"
	" FROM service_signers WHERE tenant_id = $1 AND not_after > now()"
	"  AND (obstacle IS NULL) = (stopped_at IS NOT NULL) ORDER BY created_at LIMIT 64",
};

static const struct ch_statement told_signer = {
	"issuer_told_signer",
	"WITH told AS ("
	"  UPDATE service_certificates SET stopped_at = CASE WHEN $5::boolean THEN now() END"
	"  WHERE kind = $1 AND ca_id = $2 AND key_id = $3 AND not_before = $4 RETURNING 1)"
	" INSERT INTO audit_outbox (service, signed_event) SELECT 'issuer', $6::bytea FROM told",
};

static const struct ch_statement service_certificate = {
	"issuer_service_certificate",
	"INSERT INTO service_certificates (tenant_id, kind, ca_id, key_id, certificate_der, not_before, "
	"not_after)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
};

/* Another CA than this one: at most one in use is the default (cas_timestamp_default). */
static const struct ch_statement timestamp_default = {
	"issuer_timestamp_default",
	"SELECT CASE WHEN tenant_id = $1 THEN name ELSE '' END FROM cas"
	" WHERE timestamp_default AND state NOT IN ('retired', 'revoked') AND (tenant_id, name) <> ($1, $2)",
};

bool store_watch_signers(struct ch_db *db, struct ch_rows **rows, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &watch_signers, CH_NO_PARAMETERS, rows, err) &&
	       ch_db_commit(&transaction, err);
}

bool store_signer_life(struct ch_transaction *transaction, const char *kind, int64_t ca_id,
		       struct signer_life *life, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &signer_life, CH_PARAMETERS(ch_param_text(kind), ch_param_int64(ca_id)),
			 &rows, err))
		return false;
	*life = (struct signer_life){
		.made = ch_rows_int64(rows, 0, 0),
		.not_before_us = ch_rows_time(rows, 0, 1),
		.not_after_us = ch_rows_time(rows, 0, 2),
	};
	if (!ch_rows_null(rows, 0, 3))
		life->ca_obstacle = ch_strdup(ch_rows_text(rows, 0, 3));
	return true;
}

bool store_untold_signers(struct ch_transaction *transaction, const char *tenant, struct ch_rows **rows,
			  struct ch_error *err)
{
	return ch_db_query(transaction, &untold_signers, CH_PARAMETERS(ch_param_text(tenant)), rows, err);
}

bool store_told_signer(struct ch_transaction *transaction, const struct signer_change *change,
		       struct ch_view event, struct ch_error *err)
{
	return ch_db_query(transaction, &told_signer,
			   CH_PARAMETERS(ch_param_text(change->kind), ch_param_int64(change->ca_id),
					 ch_param_text(change->key_id), ch_param_time(change->not_before_us),
					 ch_param_bool(change->obstacle[0] != '\0'), ch_param_bytes(event)),
			   NULL, err);
}

bool store_service_certificate(struct ch_transaction *transaction, const char *tenant, const char *kind,
			       int64_t ca_id, const char *key_id, const struct certificate_row *row,
			       struct ch_error *err)
{
	return ch_db_query(transaction, &service_certificate,
			   CH_PARAMETERS(ch_param_text(tenant), ch_param_text(kind), ch_param_int64(ca_id),
					 ch_param_text(key_id), ch_param_bytes(ch_view_of(&row->der)),
					 ch_param_time(row->not_before_us), ch_param_time(row->not_after_us)),
			   NULL, err);
}

bool store_timestamp_default(struct ch_transaction *transaction, const char *tenant, const char *name,
			     bool *found, char **other, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &timestamp_default,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_text(name)), &rows, err))
		return false;
	*found = ch_rows_count(rows) > 0;
	if (*found)
		*other = ch_strdup(ch_rows_text(rows, 0, 0));
	return true;
}
