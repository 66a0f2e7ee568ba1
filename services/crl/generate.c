/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate.c: makes one CRL. Called by upkeep.c on schedule and by bus.c on demand. The order of the steps is
 * the safety argument; docs/paths/crl.md draws it.
 */
#include "crl.h"

#include <inttypes.h>
#include <stdio.h>

#define SIGN_TIMEOUT (20 * CH_SECOND)

struct collecting {
	struct ch_crl_builder builder;
	struct crl_lease *lease;
};

static bool add_entry(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	struct collecting *collecting = context;

	return ch_crl_add(&collecting->builder, entry, err);
}

static bool keep_lease(void *context, struct ch_error *err)
{
	struct collecting *collecting = context;

	return crl_lease_renew(collecting->lease, err);
}

/* The database is read after the number is reserved: what was acknowledged before this call began is in it.
 */
static bool build(struct crl *crl, const struct crl_ca *ca, struct crl_lease *lease,
		  struct crl_record *record, struct ch_bytes *tbs, struct ch_error *err)
{
	const struct ch_crl_issuer issuer = { .algorithm = ca->algorithm,
					      .subject_der = ch_view_of(&ca->subject_der),
					      .key_identifier = ch_view_of(&ca->key_identifier) };
	struct collecting collecting = { .lease = lease };
	bool read;

	ch_crl_begin(&collecting.builder, &issuer, record->this_update_us, record->next_update_us);
	read = crl_store_revoked(crl->db, ca, &record->log_sequence, add_entry, keep_lease, &collecting, err);
	if (read) {
		record->entries = collecting.builder.entries;
		*tbs = ch_crl_finish(&collecting.builder, &issuer, record->number);
	}
	ch_crl_builder_free(&collecting.builder);
	return read;
}

/* What the vault returns is checked before anybody sees it: a wrong signature would be served to everyone for
 * an hour. */
static bool sign(struct crl *crl, const struct crl_ca *ca, const struct crl_demand *demand,
		 struct ch_view tbs, struct ch_bytes *der, struct ch_error *err)
{
	struct ch_vault_context context = { .tenant = ca->tenant,
					    .trace_id = demand ? demand->trace_id : NULL,
					    .timeout_us = SIGN_TIMEOUT };
	struct ch_vault_item item = { .key_id = ca->key_id,
				      .purpose = CHANCERY__PURPOSE__PURPOSE_CRL,
				      .to_be_signed = tbs };
	CH_AUTO(ch_bytes) signature = CH_NONE;

	if (!ch_vault_sign(crl->vault, &context, &item, &signature, err))
		return ch_fail_in(err, "vault");
	if (!ch_verify_signature(ca->algorithm, ch_view_of(&ca->public_key_info), tbs, ch_view_of(&signature),
				 err))
		return ch_fail_in(err, "signature by key %s", ca->key_id);
	*der = ch_signed_assemble(tbs, ca->algorithm, ch_view_of(&signature));
	return true;
}

static bool seal_event(struct crl *crl, const struct crl_ca *ca, const struct crl_demand *demand,
		       const struct crl_record *record, struct ch_bytes *signed_event, struct ch_error *err)
{
	char number[24], entries[24], this_update[CH_TIME_TEXT_SIZE], next_update[CH_TIME_TEXT_SIZE],
		sequence[24];
	const struct ch_audit_detail details[] = {
		{ "crl_number", number },
		{ "entries", entries },
		{ "this_update", ch_time_text(record->this_update_us, this_update) },
		{ "next_update", ch_time_text(record->next_update_us, next_update) },
		{ "log_sequence", sequence },
		{ "occasion", demand ? "demand" : "schedule" },
	};
	struct ch_audit_event event = { .type = "crl.published",
					.outcome = "success",
					.tenant = ca->tenant,
					.actor = demand ? demand->actor : crl->config->common.instance,
					.subject = ca->name,
					.message_id = demand ? demand->message_id : NULL,
					.trace_id = demand ? demand->trace_id : NULL,
					.details = details,
					.detail_count = CH_COUNT(details) };

	snprintf(number, sizeof(number), "%" PRIu64, record->number);
	snprintf(entries, sizeof(entries), "%" PRIu64, record->entries);
	snprintf(sequence, sizeof(sequence), "%" PRId64, record->log_sequence);
	return ch_audit_seal(crl->audit, &event, signed_event, err);
}

/* From the reserved number to the published CRL. */
static bool make(struct crl *crl, const struct crl_ca *ca, const struct crl_demand *demand,
		 struct crl_lease *lease, struct crl_record *record, struct ch_error *err)
{
	CH_AUTO(ch_bytes) tbs = CH_NONE, signed_event = CH_NONE;

	return build(crl, ca, lease, record, &tbs, err) &&
	       sign(crl, ca, demand, ch_view_of(&tbs), &record->der, err) &&
	       seal_event(crl, ca, demand, record, &signed_event, err) &&
	       crl_store_publish(crl->db, lease, ca, record, ch_view_of(&signed_event), err);
}

/* Under the lease: is there still something to do? *record is what is there already where not (its number is
 * not 0). */
static bool already_made(struct crl *crl, const struct crl_ca *ca, const struct crl_demand *demand,
			 struct crl_record *record, struct ch_error *err)
{
	struct crl_state current = CH_NONE;
	bool ok;

	if (demand)
		return crl_store_of_request(crl->db, ca->ca_id, demand->request_id, record, err);
	ok = crl_store_find(crl->db, ca->tenant, ca->name, &current, err);
	if (ok && crl_due_at(&current.ca, &current.newest) > ch_clock_now_us(crl->clock))
		*record = CH_STEAL(current.newest);
	crl_ca_free(&current.ca);
	crl_record_free(&current.newest);
	return ok;
}

static void count(struct crl *crl, const char *outcome, int64_t began_us)
{
	char label[32];

	snprintf(label, sizeof(label), "outcome=\"%s\"", outcome);
	ch_metric_add(ch_metrics_counter(crl->metrics, "chancery_crl_generated_total",
					 "CRLs made, by outcome", label),
		      1);
	ch_metric_observe(ch_metrics_histogram(crl->metrics, "chancery_crl_generate_seconds",
					       "Time to make, sign and publish a CRL", ""),
			  ch_monotonic_us() - began_us);
}

static void abandon(struct crl *crl, const struct crl_ca *ca, uint64_t number)
{
	struct ch_error err;

	/* Whoever holds the lease next does it otherwise. */
	if (!crl_store_abandon(crl->db, ca, number, &err))
		ch_log_warn("CRL %" PRIu64 " of %s stays reserved for now: %s", number, ca->name,
			    err.message);
}

bool crl_generate(struct crl *crl, const struct crl_ca *ca, const struct crl_demand *demand,
		  struct crl_record *made, struct ch_error *err)
{
	CH_AUTO(crl_lease) lease = NULL;
	CH_AUTO(crl_record) record = CH_NONE;
	int64_t began = ch_monotonic_us();

	if (!ca->algorithm)
		return ch_fail(err, CH_UNSUPPORTED,
			       "CA '%s' has a key algorithm that this build does not know", ca->name);

	/* 1. One instance at a time. */
	if (!crl_lease_take(crl, ca->ca_id, demand ? demand->wait_us : 0, &lease, err))
		return ch_fail_in(err, "CRL of '%s'", ca->name);
	if (!lease)
		return !demand ||
		       ch_fail(err, CH_UNAVAILABLE, "another instance is making the CRL of '%s'", ca->name);

	/* 2. Another may have made it while we waited. */
	if (!already_made(crl, ca, demand, &record, err))
		return false;
	if (record.number) {
		if (made)
			*made = CH_STEAL(record);
		return true;
	}

	/* 3. The database knows the number before anything is signed under it: it can never be made twice. */
	record.scheduled = !demand;
	if (!crl_store_reserve(crl, lease, ca, demand ? demand->request_id : NULL, &record, err))
		return ch_fail_in(err, "CRL of '%s'", ca->name);

	/* 4. Build, sign, publish with its audit event; then it may be told. A failure gives the number up.
	 */
	if (!make(crl, ca, demand, lease, &record, err)) {
		abandon(crl, ca, record.number);
		count(crl, "failed", began);
		return ch_fail_in(err, "CRL %" PRIu64 " of '%s'", record.number, ca->name);
	}
	count(crl, "published", began);

	/* 5. Served here at once, elsewhere as soon as they see it in the database. */
	crl_board_put(crl->board, ca, &record);
	crl_upkeep_wake(crl);
	ch_log_info("CRL %" PRIu64 " of %s: %" PRIu64 " entries, %zu octets", record.number, ca->name,
		    record.entries, record.der.size);
	if (made)
		*made = CH_STEAL(record);
	return true;
}
