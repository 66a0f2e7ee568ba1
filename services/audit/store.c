/* SPDX-License-Identifier: Apache-2.0 */
/* store.c: every statement of the audit daemon. Nobody but this daemon's role may write these tables. */
#include "audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who holds it appends; it ends with the transaction. A row that no other role may lock, not an advisory
 * lock, which anybody may hold. */
static const struct ch_statement lock_log = {
	"audit_lock_log", "SELECT name FROM audit_locks WHERE name = 'append' FOR UPDATE"
};
static const struct ch_statement lock_checkpoints = {
	"audit_lock_checkpoints",
	"SELECT name FROM audit_locks WHERE name = 'checkpoint' FOR UPDATE SKIP LOCKED"
};
static const struct ch_statement read_head = {
	"audit_head", "SELECT log_sequence, hash FROM audit_log ORDER BY log_sequence DESC LIMIT 1"
};
static const struct ch_statement find_known = {
	"audit_find_known", "SELECT encode(event_id, 'hex'), service, instance,"
			    " encode(sha256(signed_event), 'hex') FROM audit_log"
			    " WHERE event_id IN (SELECT decode(id, 'hex') FROM unnest($1::text[]) AS id)"
};
/* One statement for a whole request. Octets travel as hexadecimal text, numbers as text: arrays of text are
 * what libcommon/db binds. */
static const struct ch_statement append_rows = {
	"audit_append",
	"INSERT INTO audit_log (log_sequence, previous_hash, hash, signed_event, event_id, tenant_id, "
	"event_time, type,"
	" outcome, service, instance, actor, subject)"
	" SELECT sequence::bigint, decode(previous, 'hex'), decode(hash, 'hex'), decode(signed_event, 'hex'),"
	" decode(event_id, 'hex'), tenant, timestamptz 'epoch' + time_us::bigint * interval '1 microsecond', "
	"type,"
	" outcome, service, instance, actor, subject"
	" FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], "
	"$8::text[],"
	" $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])"
	" AS row (sequence, previous, hash, signed_event, event_id, tenant, time_us, type, outcome, service, "
	"instance,"
	" actor, subject)"
};
static const struct ch_statement sender_sequence = {
	"audit_sender_sequence",
	"SELECT last_sequence FROM audit_senders WHERE service = $1 AND instance = $2"
};
static const struct ch_statement set_sender_sequence = {
	"audit_set_sender_sequence",
	"INSERT INTO audit_senders (service, instance, last_sequence) VALUES ($1, $2, $3)"
	" ON CONFLICT (service, instance) DO UPDATE SET last_sequence = $3, seen_at = now()"
};
static const struct ch_statement outbox_missing = {
	"audit_outbox_missing", "SELECT service, missing FROM audit_outbox_missing() ORDER BY service"
};
#define LIST_WHERE                                                                          \
	"SELECT log_sequence, hash, signed_event FROM audit_log WHERE"                      \
	" ($2 = '' OR type = $2) AND ($3 = '' OR actor = $3) AND ($4 = '' OR subject = $4)" \
	" AND ($5::timestamptz IS NULL OR event_time >= $5) AND ($6 = '' OR tenant_id = $6)"
static const struct ch_statement list_forward = { "audit_list", LIST_WHERE
						  " AND log_sequence > $1 ORDER BY log_sequence LIMIT $7" };
static const struct ch_statement list_backward = {
	"audit_list_newest",
	LIST_WHERE " AND ($1 = 0 OR log_sequence < $1) ORDER BY log_sequence DESC LIMIT $7"
};
static const struct ch_statement last_checkpoint = {
	"audit_last_checkpoint", "SELECT coalesce(max(log_size), 0) FROM audit_checkpoints"
};
static const struct ch_statement insert_checkpoint = {
	"audit_insert_checkpoint",
	"INSERT INTO audit_checkpoints (log_size, text, key_id, signature) VALUES ($1, $2, $3, $4)"
};

/* --- the log -----------------------------------------------------------------------------------------------
 */

bool store_head(struct ch_transaction *transaction, struct log_head *head, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_view hash;

	*head = (struct log_head)CH_NONE;
	if (!ch_db_query(transaction, &read_head, CH_NO_PARAMETERS, &rows, err))
		return false;
	if (!ch_rows_count(rows))
		return true;
	hash = ch_rows_bytes(rows, 0, 1);
	head->size = (uint64_t)ch_rows_int64(rows, 0, 0);
	if (hash.size != sizeof(head->hash))
		return ch_fail(err, CH_INTERNAL,
			       "audit_log row %" PRIu64
			       " has a hash of %zu octets: run chancery audit verify",
			       head->size, hash.size);
	memcpy(head->hash, hash.data, sizeof(head->hash));
	return true;
}

bool store_lock_log(struct ch_db *db, struct ch_transaction **transaction, struct log_head *head,
		    struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, transaction, err) ||
	    !ch_db_query(*transaction, &lock_log, CH_NO_PARAMETERS, &rows, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_INTERNAL, "audit_locks has no row 'append': see the migrations");
	return store_head(*transaction, head, err);
}

enum event_known new_event_compare(const struct new_event *event, const struct new_event *other)
{
	if (strcmp(event->id, other->id) != 0 || strcmp(event->event->service, other->event->service) != 0 ||
	    strcmp(event->event->instance, other->event->instance) != 0)
		return EVENT_NEW;
	return strcmp(event->digest, other->digest) == 0 ? EVENT_KNOWN : EVENT_CLASHES;
}

bool store_find_known(struct ch_transaction *transaction, const struct new_event *events, size_t count,
		      enum event_known *known, struct ch_error *err)
{
	const char *ids[EVENTS_PER_REQUEST];
	CH_AUTO(ch_rows) rows = NULL;

	for (size_t i = 0; i < count; i++)
		ids[i] = events[i].id;
	if (!ch_db_query(transaction, &find_known, CH_PARAMETERS(ch_param_text_array(ids, count)), &rows,
			 err))
		return false;
	for (size_t row = 0; row < ch_rows_count(rows); row++) {
		const Chancery__Event sender = { .service = (char *)(uintptr_t)ch_rows_text(rows, row, 1),
						 .instance = (char *)(uintptr_t)ch_rows_text(rows, row, 2) };
		struct new_event logged = { .event = &sender };

		snprintf(logged.id, sizeof(logged.id), "%s", ch_rows_text(rows, row, 0));
		snprintf(logged.digest, sizeof(logged.digest), "%s", ch_rows_text(rows, row, 3));
		for (size_t i = 0; i < count; i++)
			if (known[i] == EVENT_NEW)
				known[i] = new_event_compare(&events[i], &logged);
	}
	return true;
}

enum { SEQUENCE, PREVIOUS, HASH, SIGNED_EVENT, TIME, OWNED_COLUMNS };

/* The columns of an insert. */
struct columns {
	char *owned[OWNED_COLUMNS][EVENTS_PER_REQUEST];
	const char *id[EVENTS_PER_REQUEST], *tenant[EVENTS_PER_REQUEST], *type[EVENTS_PER_REQUEST];
	const char *outcome[EVENTS_PER_REQUEST], *service[EVENTS_PER_REQUEST], *instance[EVENTS_PER_REQUEST];
	const char *actor[EVENTS_PER_REQUEST], *subject[EVENTS_PER_REQUEST];
	size_t count;
};

static void free_columns(struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++)
		for (size_t j = 0; j < OWNED_COLUMNS; j++)
			free(columns->owned[j][i]);
	free(columns);
}
CH_DEFINE_AUTO_POINTER(columns, struct columns, free_columns)

static bool add_row(struct columns *columns, const struct new_event *row, struct log_head *head,
		    struct ch_error *err)
{
	size_t i = columns->count;
	uint8_t hash[CH_AUDIT_HASH_SIZE];

	if (!ch_audit_hash(head->hash, head->size + 1, row->encoded, hash, err))
		return false;
	columns->count++;
	columns->owned[SEQUENCE][i] = ch_format("%" PRIu64, head->size + 1);
	columns->owned[PREVIOUS][i] = ch_hex(ch_view(head->hash, sizeof(head->hash)));
	columns->owned[HASH][i] = ch_hex(ch_view(hash, sizeof(hash)));
	columns->owned[SIGNED_EVENT][i] = ch_hex(row->encoded);
	columns->owned[TIME][i] = ch_format("%" PRId64, row->event->time_us);
	columns->id[i] = row->id;
	columns->tenant[i] = row->event->tenant;
	columns->type[i] = row->event->type;
	columns->outcome[i] = row->event->outcome;
	columns->service[i] = row->event->service;
	columns->instance[i] = row->event->instance;
	columns->actor[i] = row->event->actor;
	columns->subject[i] = row->event->subject;
	head->size++;
	memcpy(head->hash, hash, sizeof(hash));
	return true;
}

bool store_append(struct ch_transaction *transaction, const struct new_event *events, size_t count,
		  struct log_head *head, struct ch_error *err)
{
	CH_AUTO(columns) columns = ch_alloc(sizeof(*columns));

	if (count == 0)
		return true;
	for (size_t i = 0; i < count; i++)
		if (!add_row(columns, &events[i], head, err))
			return false;
#define OWNED(column) ch_param_text_array((const char *const *)columns->owned[column], count)
#define ARRAY(member) ch_param_text_array(columns->member, count)
	return ch_db_query(transaction, &append_rows,
			   CH_PARAMETERS(OWNED(SEQUENCE), OWNED(PREVIOUS), OWNED(HASH), OWNED(SIGNED_EVENT),
					 ARRAY(id), ARRAY(tenant), OWNED(TIME), ARRAY(type), ARRAY(outcome),
					 ARRAY(service), ARRAY(instance), ARRAY(actor), ARRAY(subject)),
			   NULL, err);
}

bool store_sender_sequence(struct ch_transaction *transaction, const char *service, const char *instance,
			   uint64_t *sequence, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &sender_sequence,
			 CH_PARAMETERS(ch_param_text(service), ch_param_text(instance)), &rows, err))
		return false;
	*sequence = ch_rows_count(rows) ? (uint64_t)ch_rows_int64(rows, 0, 0) : 0;
	return true;
}

bool store_set_sender_sequence(struct ch_transaction *transaction, const char *service, const char *instance,
			       uint64_t sequence, struct ch_error *err)
{
	return ch_db_query(transaction, &set_sender_sequence,
			   CH_PARAMETERS(ch_param_text(service), ch_param_text(instance),
					 ch_param_int64((int64_t)sequence)),
			   NULL, err);
}

bool store_outbox_missing(struct ch_db *db, struct ch_rows **rows, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &outbox_missing, CH_NO_PARAMETERS, rows, err);
}

bool store_list(struct ch_db *db, const char *tenant, const Chancery__ListEventsRequest *request,
		int64_t limit, struct ch_rows **rows, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, request->newest_first ? &list_backward : &list_forward,
			   CH_PARAMETERS(ch_param_int64((int64_t)request->after_sequence),
					 ch_param_text(request->type), ch_param_text(request->actor),
					 ch_param_text(request->subject), ch_param_time(request->since_us),
					 ch_param_text(tenant), ch_param_int64(limit)),
			   rows, err) &&
	       ch_db_commit(&transaction, err);
}

/* --- checkpoints -------------------------------------------------------------------------------------------
 */

bool store_lock_checkpoints(struct ch_db *db, struct ch_transaction **transaction, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, NULL, transaction, err) ||
	    !ch_db_query(*transaction, &lock_checkpoints, CH_NO_PARAMETERS, &rows, err))
		return false;
	return ch_rows_count(rows) == 1 ||
	       ch_fail(err, CH_CONFLICT, "another instance is making a checkpoint");
}

bool store_last_checkpoint(struct ch_transaction *transaction, uint64_t *log_size, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &last_checkpoint, CH_NO_PARAMETERS, &rows, err))
		return false;
	*log_size = (uint64_t)ch_rows_int64(rows, 0, 0);
	return true;
}

bool store_checkpoint(struct ch_transaction *transaction, uint64_t log_size, const char *text,
		      const char *key_id, struct ch_view signature, struct ch_error *err)
{
	return ch_db_query(transaction, &insert_checkpoint,
			   CH_PARAMETERS(ch_param_int64((int64_t)log_size), ch_param_text(text),
					 ch_param_text(key_id), ch_param_bytes(signature)),
			   NULL, err);
}
