/* SPDX-License-Identifier: Apache-2.0 */
/* store_quarantine.c: every statement about the quarantine. */
#include "audit.h"

#include <stdlib.h>

/* The hour is over: another begins. The row stays locked for the transaction. */
static const struct ch_statement take_room = {
	"audit_quarantine_room",
	"INSERT INTO audit_quarantine_senders AS s (service, instance) VALUES ($1, $2)"
	" ON CONFLICT (service, instance) DO UPDATE SET"
	" hour_began = CASE WHEN s.hour_began > now() - interval '1 hour' THEN s.hour_began ELSE now() END,"
	" hour_events = CASE WHEN s.hour_began > now() - interval '1 hour' THEN s.hour_events ELSE 0 END,"
	" hour_octets = CASE WHEN s.hour_began > now() - interval '1 hour' THEN s.hour_octets ELSE 0 END,"
	" hour_refused = CASE WHEN s.hour_began > now() - interval '1 hour' THEN s.hour_refused ELSE 0 END"
	" RETURNING events, octets, hour_events, hour_octets, hour_refused"
};
static const struct ch_statement insert_rows = {
	"audit_quarantine_insert",
	"WITH kept AS (INSERT INTO audit_quarantine"
	"  (received_by, service, instance, code, reason, octets, octets_sha256)"
	"  SELECT $1, $2, $3, code, reason, decode(octets, 'hex'), sha256(decode(octets, 'hex'))"
	"  FROM unnest($4::text[], $5::text[], $6::text[]) AS row (code, reason, octets)"
	"  ON CONFLICT (service, octets_sha256) DO NOTHING RETURNING quarantine_id, length(octets) AS size)"
	" SELECT count(*), coalesce(sum(size), 0)::bigint, coalesce(max(quarantine_id), 0)::bigint FROM kept"
};
static const struct ch_statement count_rows = {
	"audit_quarantine_count",
	"UPDATE audit_quarantine_senders SET events = events + $3, octets = octets + $4,"
	" hour_events = hour_events + $3, hour_octets = hour_octets + $4, hour_refused = hour_refused + $5"
	" WHERE service = $1 AND instance = $2"
};
static const struct ch_statement list_rows = {
	"audit_quarantine_list",
	"SELECT quarantine_id, received_at, received_by, service, instance, code, reason, octets"
	" FROM audit_quarantine WHERE quarantine_id > $1 ORDER BY quarantine_id LIMIT $2"
};

bool store_quarantine_room(struct ch_transaction *transaction, const struct ch_peer *sender,
			   struct quarantine_room *room, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &take_room,
			 CH_PARAMETERS(ch_param_text(sender->service), ch_param_text(sender->instance)),
			 &rows, err))
		return false;
	*room = (struct quarantine_room){ .events = ch_rows_int64(rows, 0, 0),
					  .octets = ch_rows_int64(rows, 0, 1),
					  .hour_events = ch_rows_int64(rows, 0, 2),
					  .hour_octets = ch_rows_int64(rows, 0, 3),
					  .hour_refused = ch_rows_int64(rows, 0, 4) };
	return true;
}

static bool insert(struct ch_transaction *transaction, const struct ch_param *ids,
		   const struct quarantine_row *rows, size_t count, struct ch_rows **kept,
		   struct ch_error *err)
{
	const char *codes[EVENTS_PER_REQUEST], *reasons[EVENTS_PER_REQUEST];
	char *octets[EVENTS_PER_REQUEST];
	bool done;

	for (size_t i = 0; i < count; i++) {
		codes[i] = ch_code_name(rows[i].why->code);
		reasons[i] = rows[i].why->message;
		octets[i] = ch_hex(rows[i].octets);
	}
	done = ch_db_query(transaction, &insert_rows,
			   CH_PARAMETERS(ids[0], ids[1], ids[2], ch_param_text_array(codes, count),
					 ch_param_text_array(reasons, count),
					 ch_param_text_array((const char *const *)octets, count)),
			   kept, err);
	for (size_t i = 0; i < count; i++)
		free(octets[i]);
	return done;
}

bool store_quarantine(struct ch_transaction *transaction, const struct audit *audit,
		      const struct ch_peer *sender, const struct quarantine_row *rows, size_t count,
		      struct quarantined *told, struct ch_error *err)
{
	const struct ch_param ids[] = { ch_param_text(audit->config->common.instance),
					ch_param_text(sender->service), ch_param_text(sender->instance) };
	CH_AUTO(ch_rows) kept = NULL;
	int64_t octets = 0;

	if (count) {
		if (!insert(transaction, ids, rows, count, &kept, err))
			return false;
		told->kept = (uint64_t)ch_rows_int64(kept, 0, 0);
		octets = ch_rows_int64(kept, 0, 1);
		told->last_id = (uint64_t)ch_rows_int64(kept, 0, 2);
	}
	return ch_db_query(transaction, &count_rows,
			   CH_PARAMETERS(ids[1], ids[2], ch_param_int64((int64_t)told->kept),
					 ch_param_int64(octets), ch_param_int64((int64_t)told->refused)),
			   NULL, err);
}

bool store_list_quarantine(struct ch_db *db, uint64_t after_id, int64_t limit, struct ch_rows **rows,
			   struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &list_rows,
			   CH_PARAMETERS(ch_param_int64((int64_t)after_id), ch_param_int64(limit)), rows,
			   err) &&
	       ch_db_commit(&transaction, err);
}
