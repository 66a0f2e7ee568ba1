/* SPDX-License-Identifier: Apache-2.0 */
/* list.c: pages of the log, filtered. Called from the dispatch table (peers.c). */
#include "audit.h"
#include "unpack/unpack.h"

#include <stdlib.h>

#define DEFAULT_LIMIT        100
#define LONGEST_LIMIT        1000
#define LONGEST_WITH_CONTENT 100

static void drop_content(Chancery__Event *event)
{
	free(event->content.data);
	event->content = (ProtobufCBinaryData)CH_NONE;
}

static Chancery__LoggedEvent *read_row(const struct ch_rows *rows, size_t row, bool with_content)
{
	Chancery__LoggedEvent *logged = CH_PROTO_NEW(Chancery__LoggedEvent, chancery__logged_event__init);
	struct ch_view encoded = ch_rows_bytes(rows, row, 2);
	Chancery__SignedEvent *signed_event =
		(Chancery__SignedEvent *)ch_unpack(&chancery__signed_event__descriptor, encoded);
	struct ch_bytes hash = ch_bytes_copy(ch_rows_bytes(rows, row, 1));

	logged->log_sequence = (uint64_t)ch_rows_int64(rows, row, 0);
	logged->hash = (ProtobufCBinaryData){ hash.size, hash.data };
	if (signed_event) { /* a row that somebody spoilt is listed without its event */
		logged->event = (Chancery__Event *)ch_unpack(
			&chancery__event__descriptor,
			ch_view(signed_event->event.data, signed_event->event.len));
		chancery__signed_event__free_unpacked(signed_event, NULL);
	}
	if (logged->event && !with_content)
		drop_content(logged->event);
	return logged;
}

bool audit_list(struct audit *audit, const char *tenant, const Chancery__ListEventsRequest *request,
		Chancery__ListEventsReply *reply, struct ch_error *err)
{
	size_t limit = request->limit ? request->limit : DEFAULT_LIMIT;
	size_t longest = request->with_content ? LONGEST_WITH_CONTENT : LONGEST_LIMIT;
	CH_AUTO(ch_rows) rows = NULL;
	size_t count;

	if (limit > longest)
		return ch_fail(err, CH_INVALID, "limit is %zu, at most %zu%s", limit, longest,
			       request->with_content ? " with content" : "");
	if (request->after_sequence > INT64_MAX || request->since_us < 0)
		return ch_fail(err, CH_INVALID, "after_sequence or since_us is out of range");
	if (!store_list(audit->db, tenant, request, (int64_t)limit + 1, &rows, err))
		return false;
	count = ch_rows_count(rows);
	reply->n_events = count < limit ? count : limit;
	reply->events = ch_alloc_pointers(reply->n_events);
	for (size_t i = 0; i < reply->n_events; i++)
		reply->events[i] = read_row(rows, i, request->with_content);
	if (count > limit)
		reply->next_after_sequence = reply->events[limit - 1]->log_sequence;
	return true;
}
