/* SPDX-License-Identifier: Apache-2.0 */
/*
 * finish.c: a pending row becomes an issued certificate, or a cancelled one where the vault refused its
 * bytes when it was first asked for them, or a revoked one where it may have signed them before or nobody
 * waits for it any more. issue.c calls it for a request's own row, recovery.c for what a crash or an outage
 * left. Two issuers may sign the same bytes at the same moment; the row takes one certificate, and only what
 * the row holds is ever released.
 */
#include "issuer.h"

#define REASON_CESSATION 5 /* cessationOfOperation (RFC 5280 §5.3.1): nobody was given it */

bool assemble_verified(const struct ch_algorithm *algorithm, struct ch_view public_key_info,
		       struct ch_view tbs, struct ch_view signature, struct ch_bytes *der,
		       struct ch_error *err)
{
	if (!ch_verify_signature(algorithm, public_key_info, tbs, signature, err)) {
		ch_fail_in(err, "the vault's signature does not verify with the CA's key");
		err->code = CH_INTERNAL;
		err->retryable = true;
		return false;
	}
	*der = ch_signed_assemble(tbs, algorithm, signature);
	return true;
}

struct pending pending_from_row(const char *tenant, const struct certificate_row *row, const struct ch_ca *ca)
{
	return (struct pending){
		.tenant = tenant,
		.ca = ca,
		.profile = row->profile,
		.expiry_period = row->expiry_period,
		.serial = ch_view_of(&row->serial),
		.tbs = ch_view_of(&row->tbs),
		.requested_by = row->requested_by,
		.asked_before = true,
	};
}

bool pending_of_row(const char *tenant, const struct certificate_row *row, const struct ch_ca *ca,
		    const struct ch_profile *profile, struct ch_lint_token *lint, struct pending *pending,
		    struct ch_error *err)
{
	struct ch_template_signer signer = ch_template_signer_of(ca);
	struct ch_lint_context context = { .signer = &signer,
					   .kind = profile->kind,
					   .common_name_from_san = profile->common_name_from_san };

	*pending = pending_from_row(tenant, row, ca);
	pending->lint = lint;
	return ch_lint_tbs(pending->tbs, &context, lint, err);
}

static bool seal_outcome(struct issuer *issuer, const struct pending *pending, const char *type,
			 const char *outcome, const char *detail_name, const char *detail,
			 struct ch_bytes *sealed, struct ch_error *err)
{
	CH_AUTO(ch_string) serial = ch_hex(pending->serial);
	struct event event = {
		.type = type,
		.outcome = outcome,
		.tenant = pending->tenant,
		.actor = pending->requested_by,
		.subject = serial,
		.message_id = pending->scope ? pending->scope->message_id : NULL,
		.trace_id = pending->scope ? pending->scope->trace_id : NULL,
		.details = { { "ca", pending->ca->document.name },
			     { "profile", pending->profile },
			     { detail_name, detail } },
	};

	return event_seal(issuer, &event, sealed, err);
}

static bool cancel(struct issuer *issuer, const struct pending *pending, const char *reason,
		   struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	bool saved;

	if (!seal_outcome(issuer, pending, "certificate.cancelled", "refused", "reason", reason, &sealed,
			  err) ||
	    !ch_db_begin(issuer->db, pending->tenant, &transaction, err) ||
	    !store_cancelled(transaction, pending->expiry_period, pending->ca->id, pending->serial, reason,
			     ch_view_of(&sealed), &saved, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	if (saved)
		count(issuer, "certificates", "Certificates by outcome.",
		      "profile=\"%s\",outcome=\"cancelled\"", pending->profile);
	return true;
}

/* The vault may have signed the row's bytes, so the certificate may exist: it is revoked, not cancelled. */
static bool revoke(struct issuer *issuer, const struct pending *pending, struct ch_transaction *transaction,
		   const char *why, struct ch_error *err)
{
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_string) serial = ch_hex(pending->serial);
	int64_t now_us = ch_clock_now_us(issuer->clock);
	const struct event event = {
		.type = "certificate.revoked",
		.outcome = "success",
		.tenant = pending->tenant,
		.actor = issuer->config->common.instance,
		.subject = serial,
		.details = { { "ca", pending->ca->document.name },
			     { "profile", pending->profile },
			     { "reason", ch_reason_name(REASON_CESSATION) },
			     { "was", "pending" },
			     { "why", why } },
	};
	struct status_change change = { .expiry_period = pending->expiry_period,
					.ca_id = pending->ca->id,
					.serial = pending->serial,
					.old_status = "pending",
					.new_status = "revoked",
					.log_action = "revoked",
					.reason = REASON_CESSATION,
					.revoked = true,
					.revoked_at_us = now_us - now_us % CH_SECOND };

	if (!event_seal(issuer, &event, &sealed, err))
		return false;
	change.event = ch_view_of(&sealed);
	return store_change_status(transaction, &change, err);
}

bool finish_give_up(struct issuer *issuer, const struct pending *pending, const char *why,
		    struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(certificate_row) row = CH_NONE;

	if (!ch_db_begin(issuer->db, pending->tenant, &transaction, err) ||
	    !store_find(transaction, pending->expiry_period, pending->ca->id, pending->serial, true, &row,
			err))
		return false;
	if (strcmp(row.status, "pending") != 0) /* somebody else decided */
		return true;
	if (!revoke(issuer, pending, transaction, why, err) || !ch_db_commit(&transaction, err))
		return false;
	count(issuer, "certificates", "Certificates by outcome.", "profile=\"%s\",outcome=\"given-up\"",
	      pending->profile);
	return true;
}

/* The vault's no is final for these bytes: the row must not wait for a yes. Where the vault was asked for it
 * before, it may have signed then: a no of now (its policy has changed, say) takes nothing back. `err` stays
 * the vault's. */
static bool refused(struct issuer *issuer, const struct pending *pending, struct ch_error *err)
{
	CH_AUTO(ch_string) reason = ch_format("%s: %s", ch_code_name(err->code), err->message);
	struct ch_error why;

	if (pending->asked_before ? !finish_give_up(issuer, pending, reason, &why)
				  : !cancel(issuer, pending, reason, &why))
		ch_log(CH_LOG_ERROR, pending->scope, "refused by the vault (%s), but not %s: %s",
		       err->message, pending->asked_before ? "revoked" : "cancelled", why.message);
	return false;
}

static bool sign(struct issuer *issuer, struct pending *pending, struct ch_bytes *signature,
		 struct ch_error *err)
{
	struct ch_vault_context context = {
		.tenant = pending->tenant,
		.trace_id = pending->scope ? pending->scope->trace_id : NULL,
		.timeout_us = pending->timeout_us,
	};
	struct ch_vault_item item = {
		.key_id = pending->ca->key_id,
		.purpose = CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE,
		.to_be_signed = pending->tbs,
	};

	return ch_lint_spend(pending->lint, pending->tbs, err) &&
	       ch_vault_sign(issuer->vault, &context, &item, signature, err);
}

static bool save(struct issuer *issuer, const struct pending *pending, struct ch_view der,
		 struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_string) fingerprint = NULL;
	uint8_t digest[64];
	size_t size;
	bool saved;

	if (!ch_digest("sha256", der, digest, &size, err))
		return false;
	fingerprint = ch_hex(ch_view(digest, size));
	if (!seal_outcome(issuer, pending, "certificate.issued", "success", "sha256", fingerprint, &sealed,
			  err) ||
	    !ch_db_begin(issuer->db, pending->tenant, &transaction, err) ||
	    !store_issued(transaction, pending->expiry_period, pending->ca->id, pending->serial, der,
			  ch_clock_now_us(issuer->clock), ch_view_of(&sealed), &saved, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	if (saved)
		count(issuer, "certificates", "Certificates by outcome.", "profile=\"%s\",outcome=\"issued\"",
		      pending->profile);
	return true;
}

bool finish_pending(struct issuer *issuer, struct pending *pending, struct ch_error *err)
{
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_bytes) der = CH_NONE;

	if (!sign(issuer, pending, &signature, err)) {
		if (err->origin == CH_ORIGIN_ITEM)
			return refused(issuer, pending, err);
		err->retryable = true; /* it may have signed: the row stays, the same request finishes it */
		return false;
	}
	pending->was_signed = true;
	return assemble_verified(pending->ca->algorithm, ch_view_of(&pending->ca->public_key_info),
				 pending->tbs, ch_view_of(&signature), &der, err) &&
	       save(issuer, pending, ch_view_of(&der), err);
}
