/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responders.c: the keys and certificates of the suite's own OCSP responders and TSAs, made when a CA's
 * document asks for them, renewed at two thirds of their life, and replaced when they may sign no more. A
 * lease for each lets one issuer do it while others look on; no transaction is open while the vault works.
 * Run by signers.c.
 */
#include "issuer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Keys of one renewal that were compromised before they had a certificate; more, and somebody should look. */
#define KEY_ATTEMPTS 16

/* Longer than a renewal takes: the vault has a minute for the key. */
#define LEASE_LENGTH (2 * CH_MINUTE)

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
	struct signer_life life;
	struct ch_lease *lease;
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
	free(renewal->life.ca_obstacle);
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

/* Its key signs CRLs and certificates of OCSP responders alone (vault/policy/state.c): it was stopped or is
 * retired, not compromised. */
static bool tells_status_alone(const struct ch_ca *ca)
{
	return ca->key_state &&
	       (strcmp(ca->key_state, "stopped") == 0 || strcmp(ca->key_state, "retired") == 0);
}

bool signer_may_be_made(const struct ch_ca *ca, enum ch_profile_kind kind, int64_t now_us)
{
	if (strcmp(ca->state, "pending") == 0)
		return false;
	if (strcmp(ca->state, "active") == 0)
		return true;
	return kind == CH_KIND_OCSP_RESPONDER && tells_status_alone(ca) && ca->not_after_us > now_us;
}

bool signer_is_due(const struct signer_life *life, int64_t ca_not_after_us, int64_t now_us)
{
	if (life->not_after_us == 0)
		return true;
	return life->not_after_us < ca_not_after_us &&
	       now_us >= life->not_before_us + (life->not_after_us - life->not_before_us) / 3 * 2;
}

static bool read_life(struct renewal *renewal, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(renewal->issuer->db, renewal->tenant, &transaction, err) &&
	       store_signer_life(transaction, renewal->kind->name, renewal->ca->id, &renewal->life, err);
}

static bool is_due(struct renewal *renewal, bool *due, struct ch_error *err)
{
	if (!read_life(renewal, err))
		return false;
	*due = signer_is_due(&renewal->life, renewal->ca->not_after_us,
			     ch_clock_now_us(renewal->issuer->clock));
	if (*due && renewal->life.ca_obstacle &&
	    !(renewal->kind->profile_kind == CH_KIND_OCSP_RESPONDER && tells_status_alone(renewal->ca)))
		return ch_fail(err, CH_DENIED, "no certificate can be made: %s", renewal->life.ca_obstacle);
	return true;
}

static bool newest_version(const struct renewal *renewal, int32_t *version, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(profile_row) row = CH_NONE;

	if (!ch_db_begin(renewal->issuer->db, renewal->tenant, &transaction, err) ||
	    !store_load_profile(transaction, renewal->tenant, renewal->kind->profile, 0, &row, err))
		return false;
	*version = row.version;
	return true;
}

static bool load_profile(struct renewal *renewal, struct ch_error *err)
{
	int32_t version;

	if (!newest_version(renewal, &version, err) ||
	    !profile_get(renewal->issuer, renewal->tenant, renewal->kind->profile, version, &renewal->profile,
			 err))
		return false;
	if (renewal->profile->kind != renewal->kind->profile_kind)
		return ch_fail(err, CH_INVALID, "profile '%s' is of kind %s", renewal->profile->name,
			       renewal->profile->kind_name);
	if (!ch_strings_contain(&renewal->profile->keys, renewal->signer->key))
		return ch_fail(err, CH_INVALID, "profile '%s' does not accept %s keys",
			       renewal->profile->name, renewal->signer->key);
	return true;
}

/* The same CA, kind, number and attempt give the same message id, so a renewal that was cut short goes on
 * with its key. */
static bool ask_key(struct renewal *renewal, int attempt, struct ch_error *err)
{
	Chancery__Purpose purpose = renewal->kind->purpose;
	Chancery__GenerateKeyRequest request = CHANCERY__GENERATE_KEY_REQUEST__INIT;
	struct ch_vault_context context = { .tenant = renewal->tenant, .timeout_us = CH_MINUTE };
	CH_AUTO(ch_string) label = ch_format("%s %s", renewal->ca->document.name, renewal->kind->suffix);
	CH_AUTO(ch_buffer) seed = CH_NONE;
	uint8_t digest[64];
	size_t size;

	ch_buffer_printf(&seed, "chancery/signer-key/v1\n%s\n%s\n%s\n%" PRId64 "\n%s\n", renewal->tenant,
			 renewal->ca->key_id, renewal->kind->name, renewal->life.made, renewal->signer->key);
	if (attempt > 0)
		ch_buffer_printf(&seed, "%d\n", attempt);
	request.algorithm = renewal->signer->key;
	request.purposes = &purpose;
	request.n_purposes = 1;
	request.label = label;
	request.timestamp_policies = renewal->signer->policies.items;
	request.n_timestamp_policies = renewal->signer->policies.count;
	return ch_digest("sha256", ch_buffer_view(&seed), digest, &size, err) &&
	       ch_vault_generate_key(renewal->issuer->vault, &context, &request, digest, &renewal->key, err);
}

/* A key that was compromised, suspended or destroyed before it had a certificate is passed over. */
static bool make_key(struct renewal *renewal, struct ch_error *err)
{
	for (int attempt = 0; attempt < KEY_ATTEMPTS; attempt++) {
		if (!ask_key(renewal, attempt, err))
			return false;
		if (strcmp(renewal->key->state, "active") == 0)
			return true;
		ch_log_warn("key %s for the %s of CA '%s' is %s before it was certified: passed over",
			    renewal->key->key_id, renewal->kind->profile, renewal->ca->document.name,
			    renewal->key->state);
		chancery__key__free_unpacked(CH_STEAL(renewal->key), NULL);
	}
	return ch_fail(err, CH_CONFLICT, "%d keys in turn may not sign", KEY_ATTEMPTS);
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

/* What an earlier round reserved for this key and could not get signed: the vault may have signed it all the
 * same, so it is finished rather than left for another. */
static bool find_of_key(const struct renewal *renewal, bool *found, struct certificate_row *row,
			struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	uint8_t key_digest[64];
	size_t size;

	return ch_digest("sha256", renewal->candidate.order.public_key_info, key_digest, &size, err) &&
	       ch_db_begin(renewal->issuer->db, renewal->tenant, &transaction, err) &&
	       store_find_pending_of_key(transaction, renewal->ca->id, renewal->profile->name,
					 ch_view(key_digest, size), found, row, err);
}

static bool find_unfinished(struct renewal *renewal, struct certificate_row *row, struct pending *pending,
			    struct ch_error *err)
{
	struct ch_lint_token *lint = &renewal->candidate.lint;
	struct ch_profile *profile = NULL;
	bool found, usable;

	if (!find_of_key(renewal, &found, row, err))
		return false;
	if (!found ||
	    !profile_get(renewal->issuer, renewal->tenant, row->profile, row->profile_version, &profile, err))
		return !found;
	usable = pending_of_row(renewal->tenant, row, renewal->ca, profile, lint, pending, err);
	profile_release(renewal->issuer, profile);
	if (!usable) { /* by today's rules: recovery gives it up */
		certificate_row_free(row);
		*pending = (struct pending)CH_NONE;
	}
	return true;
}

static bool reserve(struct renewal *renewal, struct pending *pending, struct ch_error *err)
{
	struct candidate *candidate = &renewal->candidate;
	size_t size;
	bool reserved;

	renewal->idempotency_key =
		ch_format("%s/%s/%" PRId64 "/%" PRId64, renewal->kind->name, renewal->ca->document.name,
			  renewal->life.made, ch_clock_now_us(renewal->issuer->clock));
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
	*pending = (struct pending){ .tenant = renewal->tenant,
				     .ca = renewal->ca,
				     .profile = renewal->profile->name,
				     .expiry_period = ch_expiry_period(candidate->order.not_after_us),
				     .serial = ch_view(candidate->serial, sizeof(candidate->serial)),
				     .tbs = ch_view_of(&candidate->tbs),
				     .lint = &candidate->lint,
				     .requested_by = "issuer" };
	return true;
}

/* The service's row follows the certificate's. */
static bool put_to_use(const struct renewal *renewal, const struct pending *pending, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(certificate_row) row = CH_NONE;

	return ch_db_begin(renewal->issuer->db, renewal->tenant, &transaction, err) &&
	       ch_lease_hold(renewal->lease, transaction, err) &&
	       store_find(transaction, pending->expiry_period, renewal->ca->id, pending->serial, false, &row,
			  err) &&
	       store_service_certificate(transaction, renewal->tenant, renewal->kind->name, renewal->ca->id,
					 renewal->key->key_id, &row, err) &&
	       ch_db_commit(&transaction, err);
}

/* Like issue.c's steps 4 to 6. */
static bool issue(struct renewal *renewal, struct ch_error *err)
{
	CH_AUTO(certificate_row) unfinished = CH_NONE;
	struct pending pending = CH_NONE;

	if (!find_unfinished(renewal, &unfinished, &pending, err) ||
	    (!pending.tbs.size && !reserve(renewal, &pending, err)))
		return false;
	pending.timeout_us = renewal->issuer->config->sign_timeout_us;
	return finish_pending(renewal->issuer, &pending, err) && put_to_use(renewal, &pending, err);
}

static bool renew(struct renewal *renewal, struct ch_error *err)
{
	CH_AUTO(ch_string) name = ch_format("%s/%" PRId64, renewal->kind->name, renewal->ca->id);
	CH_AUTO(ch_lease) lease = NULL;
	bool due;

	if (!ch_lease_take(renewal->issuer->db, &issuer_leases, ch_param_text(name),
			   renewal->issuer->config->common.instance, LEASE_LENGTH, &lease, err))
		return false;
	if (!lease) /* another issuer is at it */
		return true;
	renewal->lease = lease;
	if (!is_due(renewal, &due, err))
		return false;
	if (!due)
		return true;
	if (!load_profile(renewal, err) || !make_key(renewal, err) || !decide_order(renewal, err) ||
	    !issue(renewal, err))
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
		for (size_t k = 0; k < CH_COUNT(kinds); k++) {
			CH_AUTO(renewal) renewal = { .issuer = issuer,
						     .tenant = tenant,
						     .ca = &set->items[i],
						     .kind = &kinds[k],
						     .signer = section_of(&set->items[i], &kinds[k]) };

			if (!renewal.signer->key || ch_daemon_stopping(issuer->daemon) ||
			    !signer_may_be_made(renewal.ca, kinds[k].profile_kind,
						ch_clock_now_us(issuer->clock)) ||
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
