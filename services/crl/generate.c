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
	struct crl_list *list;
	struct ch_lease *lease;
};

static bool add_entry(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	struct collecting *collecting = context;

	return crl_list_add(collecting->list, entry, err);
}

static bool keep_lease(void *context, struct ch_error *err)
{
	struct collecting *collecting = context;

	return ch_lease_renew(collecting->lease, err);
}

/* The database is read after the number is reserved: what was acknowledged before this call began is in it.
 */
static bool build(struct crl_making *making, struct crl_record *record, struct ch_bytes *tbs,
		  struct ch_error *err)
{
	const struct crl_ca *ca = making->ca;
	const struct ch_crl_issuer issuer = { .algorithm = ca->algorithm,
					      .subject_der = ch_view_of(&ca->subject_der),
					      .key_identifier = ch_view_of(&ca->key_identifier) };
	struct collecting collecting = { .list = &making->list, .lease = making->lease };
	struct ch_crl_builder *builder = &making->list.builder;

	ch_crl_begin(builder, &issuer, record->this_update_us, record->next_update_us);
	if (!crl_store_revoked(making->crl->db, ca, &record->log_sequence, add_entry, keep_lease, &collecting,
			       err) ||
	    !crl_contain(making, err))
		return false;
	record->entries = builder->entries;
	*tbs = ch_crl_finish(builder, &issuer, record->number);
	return true;
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

/* From the reserved number to the published CRL. */
static bool make(struct crl_making *making, struct crl_record *record, struct ch_error *err)
{
	CH_AUTO(ch_bytes) tbs = CH_NONE;
	CH_AUTO(crl_events) events = CH_NONE;

	return build(making, record, &tbs, err) &&
	       sign(making->crl, making->ca, making->demand, ch_view_of(&tbs), &record->der, err) &&
	       crl_event_published(making, record, &events, err) &&
	       crl_event_contained(making, record, &events, err) &&
	       crl_store_publish(making->crl->db, making->lease, making->ca, record, &events, err);
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

void crl_making_free(struct crl_making *making)
{
	ch_lease_release(CH_STEAL(making->lease));
	crl_record_free(&making->previous);
	crl_list_free(&making->list);
}

static void abandon(struct crl *crl, const struct crl_ca *ca, uint64_t number)
{
	struct ch_error err;

	/* Whoever holds the lease next does it otherwise. */
	if (!crl_store_abandon(crl->db, ca, number, &err))
		ch_log_warn("CRL %" PRIu64 " of %s stays reserved for now: %s", number, ca->name,
			    err.message);
}

static bool reserve(struct crl_making *making, struct crl_record *record, struct ch_error *err)
{
	const struct crl_demand *demand = making->demand;

	if (!crl_previous(making->crl, making->ca, &making->previous, err))
		return false;
	record->number = making->previous.number;
	record->this_update_us = making->previous.this_update_us;
	return crl_store_reserve(making->crl, making->lease, making->ca, demand ? demand->request_id : NULL,
				 record, err);
}

bool crl_generate(struct crl *crl, const struct crl_ca *ca, const struct crl_demand *demand,
		  struct crl_record *made, struct ch_error *err)
{
	CH_AUTO(crl_record) record = CH_NONE;
	CH_AUTO(crl_making) making = { .crl = crl, .ca = ca, .demand = demand };
	int64_t began = ch_monotonic_us();

	if (!ca->algorithm)
		return ch_fail(err, CH_UNSUPPORTED,
			       "CA '%s' has a key algorithm that this build does not know", ca->name);

	/* 1. One instance at a time. */
	if (!crl_lease_take(crl, ca->ca_id, demand ? demand->wait_us : 0, &making.lease, err))
		return ch_fail_in(err, "CRL of '%s'", ca->name);
	if (!making.lease)
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
	if (!reserve(&making, &record, err))
		return ch_fail_in(err, "CRL of '%s'", ca->name);

	/* 4. Build, sign, publish with its audit events; then it may be told. A failure gives the number up.
	 */
	if (!make(&making, &record, err)) {
		abandon(crl, ca, record.number);
		count(crl, "failed", began);
		return ch_fail_in(err, "CRL %" PRIu64 " of '%s'", record.number, ca->name);
	}
	count(crl, "published", began);

	/* 5. Served here at once, elsewhere as soon as they see it in the database. */
	crl_board_put(crl->board, ca, &record);
	ch_outbox_wake(crl->outbox);
	ch_log_info("CRL %" PRIu64 " of %s: %" PRIu64 " entries, %zu octets", record.number, ca->name,
		    record.entries, record.der.size);
	if (made)
		*made = CH_STEAL(record);
	return true;
}
