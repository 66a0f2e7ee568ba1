/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quarantine.c: what is not genuine is kept as it came, apart from the log, so that nothing that somebody
 * signed is lost and nobody's trail stops at it. Each sender has room of its own. append.c brings it, bus.c
 * lists it.
 */
#include "audit.h"
#include "unpack/unpack.h"

#include <stdlib.h>

#define DEFAULT_LIMIT 50
#define LONGEST_LIMIT 100
#define TOLD_SINGLY   10 /* of an hour */

static unsigned bits(uint64_t number)
{
	unsigned count = 0;

	for (; number; number >>= 1)
		count++;
	return count;
}

bool quarantine_tells(uint64_t before, uint64_t after)
{
	return after > before && (before < TOLD_SINGLY || bits(after) > bits(before));
}

/* --- keeping -----------------------------------------------------------------------------------------------
 */

/* Takes the room of one event, or says what is full. */
static bool take_room(struct quarantine_room *room, int64_t size, struct ch_error *err)
{
	if (room->events >= QUARANTINE_EVENTS || room->octets + size > QUARANTINE_OCTETS)
		return ch_fail(err, CH_EXHAUSTED, "the sender's quarantine is full: %lld events, %lld octets",
			       (long long)room->events, (long long)room->octets);
	if (room->hour_events >= QUARANTINE_HOUR_EVENTS || room->hour_octets + size > QUARANTINE_HOUR_OCTETS)
		return ch_fail(err, CH_EXHAUSTED,
			       "the sender's quarantine has taken %lld events, %lld octets, in an hour",
			       (long long)room->hour_events, (long long)room->hour_octets);
	room->events++;
	room->octets += size;
	room->hour_events++;
	room->hour_octets += size;
	return true;
}

/* Those that find room; the others are to be sent again. */
static size_t choose(struct arrival *arrivals, size_t count, struct quarantine_room room,
		     struct quarantine_row *rows, struct quarantined *told)
{
	size_t chosen = 0;

	for (size_t i = 0; i < count; i++) {
		struct arrival *arrival = &arrivals[i];

		if (arrival->fate != CHANCERY__EVENT_FATE__EVENT_QUARANTINED)
			continue;
		if (!told->why)
			told->why = &arrival->why;
		if (take_room(&room, (int64_t)arrival->encoded.size, &arrival->why)) {
			rows[chosen++] =
				(struct quarantine_row){ &arrival->why, ch_view_of(&arrival->encoded) };
		} else {
			arrival->fate = CHANCERY__EVENT_FATE__EVENT_LATER;
			told->refused++;
		}
	}
	return chosen;
}

static bool is_any(const struct arrival *arrivals, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (arrivals[i].fate == CHANCERY__EVENT_FATE__EVENT_QUARANTINED)
			return true;
	return false;
}

bool quarantine_keep(struct audit *audit, const struct ch_peer *sender, struct arrival *arrivals,
		     size_t count, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct quarantine_row rows[EVENTS_PER_REQUEST];
	struct quarantined told = { .sender = sender };
	struct quarantine_room room;
	uint64_t before;
	size_t chosen;

	if (!is_any(arrivals, count))
		return true;
	if (!ch_db_begin(audit->db, NULL, &transaction, err) ||
	    !store_quarantine_room(transaction, sender, &room, err))
		return false;
	before = (uint64_t)(room.hour_events + room.hour_refused);
	chosen = choose(arrivals, count, room, rows, &told);
	if (!store_quarantine(transaction, audit, sender, rows, chosen, &told, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	ch_metric_add(audit->quarantined, told.kept);
	ch_metric_add(audit->no_room, told.refused);
	told.hour_kept = (uint64_t)room.hour_events + told.kept;
	told.hour_refused = (uint64_t)room.hour_refused + told.refused;
	if (quarantine_tells(before, told.hour_kept + told.hour_refused))
		watch_tell_quarantined(audit, &told);
	return true;
}

/* --- listing -----------------------------------------------------------------------------------------------
 */

/* What the octets say of themselves: of a signed event, or of an event alone. */
static Chancery__Event *claims_of(struct ch_view octets)
{
	Chancery__SignedEvent *signed_event =
		(Chancery__SignedEvent *)ch_unpack(&chancery__signed_event__descriptor, octets);
	Chancery__Event *event = NULL;

	if (signed_event)
		event = (Chancery__Event *)ch_unpack(
			&chancery__event__descriptor,
			ch_view(signed_event->event.data, signed_event->event.len));
	if (event && !ch_proto_check_text(&event->base, NULL)) {
		chancery__event__free_unpacked(event, NULL);
		event = NULL;
	}
	if (signed_event)
		chancery__signed_event__free_unpacked(signed_event, NULL);
	return event;
}

static Chancery__QuarantinedEvent *read_row(const struct ch_rows *rows, size_t row)
{
	Chancery__QuarantinedEvent *made =
		CH_PROTO_NEW(Chancery__QuarantinedEvent, chancery__quarantined_event__init);
	struct ch_bytes octets = ch_bytes_copy(ch_rows_bytes(rows, row, 7));

	made->id = (uint64_t)ch_rows_int64(rows, row, 0);
	made->received_us = ch_rows_time(rows, row, 1);
	made->received_by = ch_strdup(ch_rows_text(rows, row, 2));
	made->service = ch_strdup(ch_rows_text(rows, row, 3));
	made->instance = ch_strdup(ch_rows_text(rows, row, 4));
	made->code = ch_strdup(ch_rows_text(rows, row, 5));
	made->reason = ch_strdup(ch_rows_text(rows, row, 6));
	made->octets = (ProtobufCBinaryData){ octets.size, octets.data };
	made->claimed = claims_of(ch_view_of(&octets));
	return made;
}

bool quarantine_list(struct audit *audit, const Chancery__ListQuarantineRequest *request,
		     Chancery__ListQuarantineReply *reply, struct ch_error *err)
{
	size_t limit = request->limit ? request->limit : DEFAULT_LIMIT;
	CH_AUTO(ch_rows) rows = NULL;
	size_t count;

	if (limit > LONGEST_LIMIT)
		return ch_fail(err, CH_INVALID, "limit is %zu, at most %d", limit, LONGEST_LIMIT);
	if (request->after_id > INT64_MAX)
		return ch_fail(err, CH_INVALID, "after_id is out of range");
	if (!store_list_quarantine(audit->db, request->after_id, (int64_t)limit + 1, &rows, err))
		return false;
	count = ch_rows_count(rows);
	reply->n_events = count < limit ? count : limit;
	reply->events = ch_alloc_pointers(reply->n_events);
	for (size_t i = 0; i < reply->n_events; i++)
		reply->events[i] = read_row(rows, i);
	if (count > limit)
		reply->next_after_id = reply->events[limit - 1]->id;
	return true;
}
