/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: every SQL statement of the CRL daemon. Called by generate.c, lease.c, follow.c, upkeep.c and
 * bus.c. */
#include "crl.h"
#include "x509/serial.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1000
/* How long an entry stays beyond what RFC 5280 §3.3 asks for: clocks differ, and a revocation may commit
 * while the CRL that would have been its first is being read. */
#define EXPIRED_GRACE (10 * CH_MINUTE)
/* Numbers whose DER is kept: whoever is downloading, or follows a little late, still finds it. */
#define DERS_KEPT 3

#define CA_COLUMNS                                                                                   \
	"c.ca_id, c.tenant_id, c.name, c.key_id, c.key_algorithm, c.subject_der, c.key_identifier, " \
	"c.public_key_info, c.certificate_der, c.not_before, c.not_after, c.crl_interval_s, "        \
	"c.crl_validity_s"
#define NEWEST_COLUMNS \
	"k.crl_number, k.this_update, k.next_update, k.log_sequence, k.entries, k.scheduled, k.made_by"
#define FROM_CAS                                                                                    \
	" FROM cas c LEFT JOIN LATERAL (SELECT * FROM crls WHERE crls.ca_id = c.ca_id AND state = " \
	"'published' "                                                                              \
	"ORDER BY crl_number DESC LIMIT 1) k ON true WHERE c.state <> 'pending' AND "               \
	"c.certificate_der IS NOT NULL"

static const struct ch_statement states_statement = { "crl_states",
						      "SELECT " CA_COLUMNS ", " NEWEST_COLUMNS FROM_CAS
						      " ORDER BY c.ca_id" };
static const struct ch_statement find_statement = { "crl_find",
						    "SELECT " CA_COLUMNS ", " NEWEST_COLUMNS FROM_CAS
						    " AND c.tenant_id = $1 AND c.name = $2" };
static const struct ch_statement read_statement = {
	"crl_read",
	"SELECT " NEWEST_COLUMNS ", k.der FROM crls k WHERE k.ca_id = $1 AND k.crl_number = $2 AND "
	"k.state = 'published'"
};
static const struct ch_statement of_request_statement = {
	"crl_of_request",
	"SELECT " NEWEST_COLUMNS ", k.der FROM crls k WHERE k.ca_id = $1 AND k.request_id = $2 AND "
	"k.state = 'published'"
};
const struct ch_lease_table crl_leases = CH_LEASE_TABLE("crl", "crl_leases", "ca_id");
static const struct ch_statement abandon_lost_statement = {
	"crl_abandon_lost",
	"UPDATE crls SET state = 'abandoned', der = NULL WHERE ca_id = $1 AND state = 'reserved' "
	"RETURNING crl_number, made_by"
};
static const struct ch_statement last_statement = {
	"crl_last",
	"SELECT coalesce(max(crl_number), 0), max(this_update) FILTER (WHERE state = 'published') FROM crls "
	"WHERE ca_id = $1"
};
static const struct ch_statement reserve_statement = {
	"crl_reserve",
	"INSERT INTO crls (ca_id, crl_number, tenant_id, state, scheduled, this_update, next_update, "
	"log_sequence, made_by, request_id) VALUES ($1, $2, $3, 'reserved', $4, $5, $6, 0, $7, $8)"
};
static const struct ch_statement abandon_statement = {
	"crl_abandon",
	"UPDATE crls SET state = 'abandoned' WHERE ca_id = $1 AND crl_number = $2 AND state = 'reserved'"
};
static const struct ch_statement head_statement = { "crl_log_head",
						    "SELECT sequence FROM revocation_log_head" };
static const struct ch_statement cutoff_statement = {
	"crl_cutoff",
	"SELECT max(this_update) FROM crls WHERE ca_id = $1 AND state = 'published' AND scheduled"
};
/* RFC 5280 §3.3: an entry stays until it was on one scheduled CRL beyond its certificate's end. $3 is the
 * last scheduled CRL's thisUpdate: who had expired by then was on that one. $2 passes over those of
 * certificates long gone. What is not known to have an end stays. */
static const struct ch_statement revoked_statement = {
	"crl_revoked",
	"SELECT serial, action = 'suspended', revoked_at, reason, invalidity_date FROM revocations"
	" WHERE ca_id = $1 AND action <> 'reinstated' AND expiry_period >= $2"
	"  AND ($3 IS NULL OR not_after IS NULL OR not_after >= $3 OR revoked_at >= $3)"
	" ORDER BY expiry_period, serial"
};
static const struct ch_statement standing_statement = {
	"crl_standing",
	"SELECT r.action, r.not_after, r.revoked_at FROM unnest($2::text[]) WITH ORDINALITY w (serial, place)"
	" LEFT JOIN revocations r ON r.ca_id = $1 AND r.serial = decode(w.serial, 'hex') ORDER BY w.place"
};
static const struct ch_statement publish_statement = {
	"crl_publish",
	"UPDATE crls SET state = 'published', der = $3, entries = $4, log_sequence = $5 WHERE ca_id = $1 "
	"AND crl_number = $2 AND state = 'reserved'"
};
static const struct ch_statement prune_statement = {
	"crl_prune", "UPDATE crls SET der = NULL WHERE ca_id = $1 AND crl_number <= $2 AND der IS NOT NULL"
};
static const struct ch_statement outbox_insert_statement = {
	"crl_outbox_insert", "INSERT INTO audit_outbox (service, signed_event) VALUES ('crl', $1)"
};
void crl_ca_free(struct crl_ca *ca)
{
	free(CH_STEAL(ca->tenant));
	free(CH_STEAL(ca->name));
	free(CH_STEAL(ca->key_id));
	ch_bytes_free(&ca->subject_der);
	ch_bytes_free(&ca->key_identifier);
	ch_bytes_free(&ca->public_key_info);
	ch_bytes_free(&ca->certificate_der);
}

void crl_record_free(struct crl_record *record)
{
	ch_bytes_free(&record->der);
}

void crl_state_free(struct crl_state *state)
{
	crl_ca_free(&state->ca);
	crl_record_free(&state->newest);
}

void crl_states_free(struct crl_states *states)
{
	for (size_t i = 0; i < states->count; i++)
		crl_state_free(&states->items[i]);
	free(CH_STEAL(states->items));
	states->count = 0;
}

static void read_ca(const struct ch_rows *rows, size_t row, struct crl_ca *ca)
{
	ca->ca_id = ch_rows_int64(rows, row, 0);
	ca->tenant = ch_strdup(ch_rows_text(rows, row, 1));
	ca->name = ch_strdup(ch_rows_text(rows, row, 2));
	ca->key_id = ch_strdup(ch_rows_text(rows, row, 3));
	ca->algorithm = ch_algorithm_find(ch_rows_text(rows, row, 4));
	ca->subject_der = ch_bytes_copy(ch_rows_bytes(rows, row, 5));
	ca->key_identifier = ch_bytes_copy(ch_rows_bytes(rows, row, 6));
	ca->public_key_info = ch_bytes_copy(ch_rows_bytes(rows, row, 7));
	ca->certificate_der = ch_bytes_copy(ch_rows_bytes(rows, row, 8));
	ca->not_before_us = ch_rows_time(rows, row, 9);
	ca->not_after_us = ch_rows_time(rows, row, 10);
	ca->interval_us = ch_rows_int64(rows, row, 11) * CH_SECOND;
	ca->validity_us = ch_rows_int64(rows, row, 12) * CH_SECOND;
}

static void read_record(const struct ch_rows *rows, size_t row, int first, struct crl_record *record)
{
	record->number = (uint64_t)ch_rows_int64(rows, row, first);
	record->this_update_us = ch_rows_time(rows, row, first + 1);
	record->next_update_us = ch_rows_time(rows, row, first + 2);
	record->log_sequence = ch_rows_int64(rows, row, first + 3);
	record->entries = (uint64_t)ch_rows_int64(rows, row, first + 4);
	record->scheduled = ch_rows_bool(rows, row, first + 5);
	snprintf(record->made_by, sizeof(record->made_by), "%s", ch_rows_text(rows, row, first + 6));
}

/* One statement in a transaction of its own. */
static bool run(struct ch_db *db, const char *tenant, const struct ch_statement *statement,
		const struct ch_param *parameters, size_t count, struct ch_rows **rows, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, statement, parameters, count, rows, err))
		return false;
	return ch_db_commit(&transaction, err);
}

bool crl_store_states(struct ch_db *db, struct crl_states *states, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!run(db, NULL, &states_statement, CH_NO_PARAMETERS, &rows, err))
		return false;
	states->count = ch_rows_count(rows);
	states->items = ch_alloc((states->count + 1) * sizeof(states->items[0]));
	for (size_t i = 0; i < states->count; i++) {
		read_ca(rows, i, &states->items[i].ca);
		read_record(rows, i, 13, &states->items[i].newest);
	}
	return true;
}

bool crl_store_find(struct ch_db *db, const char *tenant, const char *name, struct crl_state *state,
		    struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!run(db, tenant, &find_statement, CH_PARAMETERS(ch_param_text(tenant), ch_param_text(name)),
		 &rows, err))
		return false;
	if (ch_rows_count(rows) == 0)
		return ch_fail(err, CH_NOT_FOUND, "no active CA '%s'", name);
	read_ca(rows, 0, &state->ca);
	read_record(rows, 0, 13, &state->newest);
	return true;
}

bool crl_store_read(struct ch_db *db, int64_t ca_id, uint64_t number, struct crl_record *record,
		    struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!run(db, NULL, &read_statement,
		 CH_PARAMETERS(ch_param_int64(ca_id), ch_param_int64((int64_t)number)), &rows, err))
		return false;
	if (ch_rows_count(rows) == 0)
		return ch_fail(err, CH_NOT_FOUND, "no CRL %" PRIu64, number);
	read_record(rows, 0, 0, record);
	record->der = ch_bytes_copy(ch_rows_bytes(rows, 0, 7));
	return true;
}

bool crl_store_of_request(struct ch_db *db, int64_t ca_id, const uint8_t request_id[16],
			  struct crl_record *record, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!run(db, NULL, &of_request_statement,
		 CH_PARAMETERS(ch_param_int64(ca_id), ch_param_bytes(ch_view(request_id, 16))), &rows, err))
		return false;
	if (ch_rows_count(rows)) {
		read_record(rows, 0, 0, record);
		record->der = ch_bytes_copy(ch_rows_bytes(rows, 0, 7));
	}
	return true;
}

/* --- numbers --- */

static bool abandon_lost(struct ch_transaction *transaction, const struct crl_ca *ca, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &abandon_lost_statement, CH_PARAMETERS(ch_param_int64(ca->ca_id)),
			 &rows, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++)
		ch_log_warn("CRL %" PRId64 " of %s, which %s had reserved, is abandoned",
			    ch_rows_int64(rows, i, 0), ca->name, ch_rows_text(rows, i, 1));
	return true;
}

static bool next_number(struct ch_transaction *transaction, const struct crl *crl, const struct crl_ca *ca,
			struct crl_record *record, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	struct crl_record last = { .number = record->number, .this_update_us = record->this_update_us };

	if (!ch_db_query(transaction, &last_statement, CH_PARAMETERS(ch_param_int64(ca->ca_id)), &rows, err))
		return false;
	if (last.number < (uint64_t)ch_rows_int64(rows, 0, 0))
		last.number = (uint64_t)ch_rows_int64(rows, 0, 0);
	if (last.this_update_us < ch_rows_time(rows, 0, 1))
		last.this_update_us = ch_rows_time(rows, 0, 1);
	record->number = last.number + 1;
	record->this_update_us = crl_this_update(ch_clock_now_us(crl->clock), &last);
	record->next_update_us = record->this_update_us + ca->validity_us;
	snprintf(record->made_by, sizeof(record->made_by), "%s", crl->config->common.instance);
	return true;
}

bool crl_store_reserve(struct crl *crl, const struct ch_lease *lease, const struct crl_ca *ca,
		       const uint8_t *request_id, struct crl_record *record, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	if (!ch_db_begin(crl->db, ca->tenant, &transaction, err) || !ch_lease_hold(lease, transaction, err) ||
	    !abandon_lost(transaction, ca, err) || !next_number(transaction, crl, ca, record, err) ||
	    !ch_db_query(transaction, &reserve_statement,
			 CH_PARAMETERS(ch_param_int64(ca->ca_id), ch_param_int64((int64_t)record->number),
				       ch_param_text(ca->tenant), ch_param_bool(record->scheduled),
				       ch_param_time(record->this_update_us),
				       ch_param_time(record->next_update_us), ch_param_text(record->made_by),
				       ch_param_bytes(ch_view(request_id, request_id ? 16 : 0))),
			 NULL, err))
		return false;
	return ch_db_commit(&transaction, err);
}

bool crl_store_abandon(struct ch_db *db, const struct crl_ca *ca, uint64_t number, struct ch_error *err)
{
	return run(db, ca->tenant, &abandon_statement,
		   CH_PARAMETERS(ch_param_int64(ca->ca_id), ch_param_int64((int64_t)number)), NULL, err);
}

/* --- entries --- */

struct reading {
	ch_crl_each each;
	bool (*batch)(void *context, struct ch_error *err);
	void *context;
};

static bool read_batch(void *context, const struct ch_rows *rows, struct ch_error *err)
{
	const struct reading *reading = context;

	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		struct ch_crl_entry entry = { .serial = ch_rows_bytes(rows, i, 0),
					      .revoked_at_us = ch_rows_time(rows, i, 2),
					      .reason = (int)ch_rows_int64(rows, i, 3),
					      .invalidity_date_us = ch_rows_time(rows, i, 4) };

		if (ch_rows_bool(rows, i, 1))
			entry.reason = ch_reason_number("certificateHold");
		if (!reading->each(reading->context, &entry, err))
			return false;
	}
	return !reading->batch || reading->batch(reading->context, err);
}

/* Before when an expired certificate's entry may go: 0 where no scheduled CRL exists. */
static bool read_cutoff(struct ch_transaction *transaction, const struct crl_ca *ca, int64_t *cutoff_us,
			struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &cutoff_statement, CH_PARAMETERS(ch_param_int64(ca->ca_id)), &rows,
			 err))
		return false;
	*cutoff_us = ch_rows_null(rows, 0, 0) ? 0 : ch_rows_time(rows, 0, 0) - EXPIRED_GRACE;
	return true;
}

static bool read_head(struct ch_transaction *transaction, int64_t *log_sequence, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &head_statement, CH_NO_PARAMETERS, &rows, err))
		return false;
	*log_sequence = ch_rows_int64(rows, 0, 0);
	return true;
}

bool crl_store_revoked(struct ch_db *db, const struct crl_ca *ca, int64_t *log_sequence, ch_crl_each each,
		       bool (*batch)(void *context, struct ch_error *err), void *context,
		       struct ch_error *err)
{
	struct reading reading = { each, batch, context };
	CH_AUTO(ch_transaction) transaction = NULL;
	int64_t cutoff = 0;
	int32_t first_period;

	if (!ch_db_begin(db, ca->tenant, &transaction, err) || !read_head(transaction, log_sequence, err) ||
	    !read_cutoff(transaction, ca, &cutoff, err))
		return false;
	/* A month more, for who was revoked after the end. */
	first_period = cutoff ? (int32_t)ch_expiry_period(cutoff) - 1 : 0;
	if (!ch_db_stream(transaction, &revoked_statement,
			  CH_PARAMETERS(ch_param_int64(ca->ca_id), ch_param_int32(first_period),
					ch_param_time(cutoff)),
			  BATCH, read_batch, &reading, err))
		return false;
	return ch_db_commit(&transaction, err);
}

static enum crl_action action_of(const struct ch_rows *rows, size_t row)
{
	const char *action = ch_rows_text(rows, row, 0);

	if (ch_rows_null(rows, row, 0))
		return CRL_NOT_KNOWN;
	return strcmp(action, "reinstated") == 0 ? CRL_REINSTATED : CRL_REVOKED;
}

bool crl_store_standings(struct ch_db *db, const struct crl_ca *ca, const char *const *serials, size_t count,
			 struct crl_standing *standings, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	int64_t cutoff = 0;

	if (!ch_db_begin(db, ca->tenant, &transaction, err) || !read_cutoff(transaction, ca, &cutoff, err) ||
	    !ch_db_query(transaction, &standing_statement,
			 CH_PARAMETERS(ch_param_int64(ca->ca_id), ch_param_text_array(serials, count)), &rows,
			 err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	for (size_t i = 0; i < count; i++)
		standings[i] = (struct crl_standing){
			.action = action_of(rows, i),
			.over = !ch_rows_null(rows, i, 1) && ch_rows_time(rows, i, 1) < cutoff &&
				ch_rows_time(rows, i, 2) < cutoff,
		};
	return true;
}

/* --- publishing --- */

static bool set_published(struct ch_transaction *transaction, const struct crl_ca *ca,
			  const struct crl_record *record, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &publish_statement,
			 CH_PARAMETERS(ch_param_int64(ca->ca_id), ch_param_int64((int64_t)record->number),
				       ch_param_bytes(ch_view_of(&record->der)),
				       ch_param_int64((int64_t)record->entries),
				       ch_param_int64(record->log_sequence)),
			 &rows, err))
		return false;
	if (ch_rows_affected(rows) != 1)
		return ch_fail(err, CH_CONFLICT, "the number is not reserved any more");
	return true;
}

static bool put_events(struct ch_transaction *transaction, const struct crl_events *events,
		       struct ch_error *err)
{
	for (size_t i = 0; i < events->count; i++)
		if (!ch_db_query(transaction, &outbox_insert_statement,
				 CH_PARAMETERS(ch_param_bytes(ch_view_of(&events->items[i]))), NULL, err))
			return false;
	return true;
}

bool crl_store_publish(struct ch_db *db, const struct ch_lease *lease, const struct crl_ca *ca,
		       const struct crl_record *record, const struct crl_events *events, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	if (!ch_db_begin(db, ca->tenant, &transaction, err) || !ch_lease_hold(lease, transaction, err) ||
	    !set_published(transaction, ca, record, err) ||
	    !ch_db_query(transaction, &prune_statement,
			 CH_PARAMETERS(ch_param_int64(ca->ca_id),
				       ch_param_int64((int64_t)record->number - DERS_KEPT)),
			 NULL, err) ||
	    !put_events(transaction, events, err))
		return false;
	return ch_db_commit(&transaction, err);
}
