/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responders.c: the keys and certificates of the suite's own OCSP responders and TSAs, made when a CA's
 * document asks for them and renewed at two thirds of their life. An advisory lock for each CA lets one
 * issuer do it while others look on. Run by upkeep.c.
 */
#include "issuer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A new kind of signer is a row here and a section of the CA document. */
static const struct signer_kind {
	const char *name;    /* service_certificates.kind */
	const char *profile; /* what its certificates are issued under */
	const char *suffix;  /* of the CA's common name, to the signer's */
	enum ch_profile_kind profile_kind;
	Chancery__Purpose purpose;
	size_t section; /* of struct ch_ca_document */
} kinds[] = {
	{ "ocsp", "ocsp-responder", "OCSP Responder", CH_KIND_OCSP_RESPONDER, CHANCERY__PURPOSE__PURPOSE_OCSP,
	  offsetof(struct ch_ca_document, ocsp_responder) },
	{ "tsa", "tsa", "Time Stamping Authority", CH_KIND_TSA, CHANCERY__PURPOSE__PURPOSE_TIMESTAMP,
	  offsetof(struct ch_ca_document, timestamp_authority) },
};

/* One signer of one CA on its way to a new certificate. */
struct renewal {
	struct issuer *issuer;
	const char *tenant;
	const struct ch_ca *ca;
	const struct signer_kind *kind;
	const struct ch_ca_signer *signer;
	int64_t made; /* how many it had before */
	struct ch_profile *profile;
	Chancery__Key *key;
	struct ch_bytes subject_der;
	char *idempotency_key;
	uint8_t digest[64]; /* of the idempotency key: nobody sent a request */
	struct candidate candidate;
};

static void renewal_free(struct renewal *renewal)
{
	candidate_free(&renewal->candidate);
	ch_bytes_free(&renewal->subject_der);
	free(renewal->idempotency_key);
	if (renewal->profile)
		profile_release(renewal->issuer, renewal->profile);
	if (renewal->key)
		chancery__key__free_unpacked(renewal->key, NULL);
}
CH_DEFINE_AUTO_VALUE(renewal, struct renewal, renewal_free)

static const struct ch_ca_signer *section_of(const struct ch_ca *ca, const struct signer_kind *kind)
{
	return (const struct ch_ca_signer *)((const char *)&ca->document + kind->section);
}

/* A certificate that ends with its CA has no better one to come. */
static bool is_due(struct renewal *renewal, struct ch_transaction *transaction, bool *due,
		   struct ch_error *err)
{
	int64_t not_before_us, not_after_us;

	if (!store_newest_service_certificate(transaction, renewal->kind->name, renewal->ca->id,
					      &not_before_us, &not_after_us, &renewal->made, err))
		return false;
	*due = renewal->made == 0 || (not_after_us < renewal->ca->not_after_us &&
				      ch_clock_now_us(renewal->issuer->clock) >=
					      not_before_us + (not_after_us - not_before_us) / 3 * 2);
	return true;
}

static bool load_profile(struct renewal *renewal, struct ch_transaction *transaction, struct ch_error *err)
{
	CH_AUTO(profile_row) row = CH_NONE;

	if (!store_load_profile(transaction, renewal->tenant, renewal->kind->profile, 0, &row, err) ||
	    !profile_get(renewal->issuer, renewal->tenant, renewal->kind->profile, row.version,
			 &renewal->profile, err))
		return false;
	if (renewal->profile->kind != renewal->kind->profile_kind)
		return ch_fail(err, CH_INVALID, "profile '%s' is of kind %s", renewal->profile->name,
			       renewal->profile->kind_name);
	if (!ch_strings_contain(&renewal->profile->keys, renewal->signer->key))
		return ch_fail(err, CH_INVALID, "profile '%s' does not accept %s keys",
			       renewal->profile->name, renewal->signer->key);
	return true;
}

/* The same CA, kind and number give the same message id, so a renewal that was cut short goes on with its
 * key. */
static bool make_key(struct renewal *renewal, struct ch_error *err)
{
	Chancery__Purpose purpose = renewal->kind->purpose;
	Chancery__GenerateKeyRequest request = CHANCERY__GENERATE_KEY_REQUEST__INIT;
	struct ch_vault_context context = { .tenant = renewal->tenant, .timeout_us = CH_MINUTE };
	CH_AUTO(ch_string) label = ch_format("%s %s", renewal->ca->document.name, renewal->kind->suffix);
	CH_AUTO(ch_string) seed =
		ch_format("chancery/signer-key/v1\n%s\n%s\n%s\n%" PRId64 "\n%s\n", renewal->tenant,
			  renewal->ca->key_id, renewal->kind->name, renewal->made, renewal->signer->key);
	uint8_t digest[64];
	size_t size;

	request.algorithm = renewal->signer->key;
	request.purposes = &purpose;
	request.n_purposes = 1;
	request.label = label;
	request.timestamp_policies = renewal->signer->policies.items;
	request.n_timestamp_policies = renewal->signer->policies.count;
	return ch_digest("sha256", ch_view_text(seed), digest, &size, err) &&
	       ch_vault_generate_key(renewal->issuer->vault, &context, &request, digest, &renewal->key, err);
}

static bool decide_order(struct renewal *renewal, struct ch_error *err)
{
	struct ch_order *order = &renewal->candidate.order;
	int64_t now_us = ch_clock_now_us(renewal->issuer->clock);
	int64_t validity_us = renewal->signer->validity_us;

	if (validity_us > renewal->profile->validity.maximum_us)
		validity_us = renewal->profile->validity.maximum_us;
	if (validity_us > renewal->ca->not_after_us - now_us)
		validity_us = renewal->ca->not_after_us - now_us;
	if (!ch_policy_validity(renewal->profile, renewal->ca, validity_us, now_us, order, err) ||
	    !ch_subject_with_suffix(ch_view_of(&renewal->ca->subject_der), renewal->kind->suffix,
				    &renewal->subject_der, err))
		return false;
	order->subject_der = ch_view_of(&renewal->subject_der);
	order->public_key_info =
		ch_view(renewal->key->public_key_info.data, renewal->key->public_key_info.len);
	order->key_algorithm = ch_algorithm_find(renewal->signer->key);
	return true;
}

/* Like issue.c's steps 4 to 6; the service's row follows in the transaction that holds the lock. */
static bool issue(struct renewal *renewal, struct ch_transaction *transaction, struct ch_error *err)
{
	struct candidate *candidate = &renewal->candidate;
	CH_AUTO(certificate_row) row = CH_NONE;
	struct pending pending = { .tenant = renewal->tenant,
				   .ca = renewal->ca,
				   .profile = renewal->profile->name,
				   .requested_by = "issuer",
				   .lint = &candidate->lint,
				   .timeout_us = renewal->issuer->config->sign_timeout_us };
	size_t size;
	bool reserved;

	renewal->idempotency_key =
		ch_format("%s/%s/%" PRId64 "/%" PRId64, renewal->kind->name, renewal->ca->document.name,
			  renewal->made, ch_clock_now_us(renewal->issuer->clock));
	candidate->tenant = renewal->tenant;
	candidate->client = "issuer";
	candidate->idempotency_key = renewal->idempotency_key;
	candidate->request_sha256 = renewal->digest;
	candidate->profile = renewal->profile;
	candidate->ca = renewal->ca;
	if (!ch_digest("sha256", ch_view_text(renewal->idempotency_key), renewal->digest, &size, err) ||
	    !candidate_build(candidate, err) ||
	    !candidate_reserve(renewal->issuer, candidate, &reserved, err))
		return false;
	pending.expiry_period = ch_expiry_period(candidate->order.not_after_us);
	pending.serial = ch_view(candidate->serial, sizeof(candidate->serial));
	pending.tbs = ch_view_of(&candidate->tbs);
	if (!finish_pending(renewal->issuer, &pending, NULL, err)) {
		struct ch_error why = *err;

		/* The next round begins anew: this one's row must not wait for recovery. */
		if (why.retryable && !finish_cancel(renewal->issuer, &pending, NULL, why.message, err))
			ch_log_warn("renewal's pending row stays: %s", err->message);
		*err = why;
		return false;
	}
	return store_find(transaction, pending.expiry_period, renewal->ca->id, pending.serial, false, &row,
			  err) &&
	       store_service_certificate(transaction, renewal->tenant, renewal->kind->name, renewal->ca->id,
					 renewal->key->key_id, &row, err);
}

static bool renew(struct renewal *renewal, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	bool locked, due;

	if (!ch_db_begin(renewal->issuer->db, renewal->tenant, &transaction, err) ||
	    !store_try_lock(transaction, renewal->kind->name, renewal->ca->id, &locked, err))
		return false;
	if (!locked) /* another issuer is at it */
		return true;
	if (!is_due(renewal, transaction, &due, err))
		return false;
	if (!due)
		return true;
	if (!load_profile(renewal, transaction, err) || !make_key(renewal, err) ||
	    !decide_order(renewal, err) || !issue(renewal, transaction, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	ch_log_info("CA '%s' has a new %s certificate", renewal->ca->document.name, renewal->kind->profile);
	count(renewal->issuer, "renewals", "Certificates made for the suite's own signers.", "kind=\"%s\"",
	      renewal->kind->name);
	return true;
}

bool renew_signers(struct issuer *issuer, const char *tenant, struct ch_error *err)
{
	struct ca_set *set = NULL;
	struct ch_error first = CH_NONE;

	if (!catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	for (size_t i = 0; i < set->count; i++) {
		for (size_t k = 0; k < CH_COUNT(kinds) && strcmp(set->items[i].state, "active") == 0; k++) {
			CH_AUTO(renewal) renewal = { .issuer = issuer,
						     .tenant = tenant,
						     .ca = &set->items[i],
						     .kind = &kinds[k],
						     .signer = section_of(&set->items[i], &kinds[k]) };

			if (!renewal.signer->key || ch_daemon_stopping(issuer->daemon) ||
			    renew(&renewal, err))
				continue;
			ch_fail_in(err, "%s of CA '%s'", kinds[k].profile, renewal.ca->document.name);
			if (first.code == CH_OK)
				first = *err; /* one CA's trouble does not keep another's signer from its
						 certificate */
		}
	}
	catalog_release(issuer, set);
	if (first.code == CH_OK)
		return true;
	*err = first;
	return false;
}
