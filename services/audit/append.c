/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append.c: a request's events, verified, become rows in one transaction that alone may append meanwhile.
 * Called for other daemons by bus.c and for this one's own events by its audit client.
 */
#include "audit.h"

#include <stdlib.h>
#include <string.h>

/* The events of a request while they are on their way. */
struct arrivals {
	size_t count;
	Chancery__Event *decoded[EVENTS_PER_REQUEST];
	struct ch_bytes encoded[EVENTS_PER_REQUEST];
	struct new_event events[EVENTS_PER_REQUEST];
};

static void free_arrivals(struct arrivals *arrivals)
{
	if (!arrivals)
		return;
	for (size_t i = 0; i < arrivals->count; i++) {
		chancery__event__free_unpacked(arrivals->decoded[i], NULL);
		ch_bytes_free(&arrivals->encoded[i]);
	}
	free(arrivals);
}
CH_DEFINE_AUTO_POINTER(arrivals, struct arrivals, free_arrivals)

static bool verify_one(struct audit *audit, const struct ch_peer *sender,
		       const Chancery__SignedEvent *signed_event, struct arrivals *arrivals,
		       struct ch_error *err)
{
	Chancery__Event *event = NULL;
	struct new_event *row = &arrivals->events[arrivals->count];
	struct ch_bytes *encoded = &arrivals->encoded[arrivals->count];
	CH_AUTO(ch_string) id = NULL;

	if (!ch_audit_event_open(audit->trust, signed_event, &event, err))
		return false;
	arrivals->decoded[arrivals->count++] = event;
	if (strcmp(event->service, sender->service) != 0)
		return ch_fail(err, CH_DENIED, "audit event of service '%s' brought by '%s'", event->service,
			       sender->service);
	encoded->size = chancery__signed_event__get_packed_size(signed_event);
	encoded->data = ch_alloc(encoded->size);
	chancery__signed_event__pack(signed_event, encoded->data);
	id = ch_hex(ch_view(event->event_id.data, event->event_id.len));
	*row = (struct new_event){ .event = event, .encoded = ch_view_of(encoded) };
	memcpy(row->id, id, sizeof(row->id));
	return true;
}

static bool verify_all(struct audit *audit, const struct ch_peer *sender,
		       const Chancery__AppendEventsRequest *request, struct arrivals *arrivals,
		       struct ch_error *err)
{
	if (request->n_events == 0 || request->n_events > EVENTS_PER_REQUEST)
		return ch_fail(err, CH_INVALID, "request has %zu events, 1 to %d are taken",
			       request->n_events, EVENTS_PER_REQUEST);
	for (size_t i = 0; i < request->n_events; i++)
		if (!verify_one(audit, sender, request->events[i], arrivals, err)) {
			ch_metric_add(audit->refused, 1);
			return ch_fail_in(err, "event %zu", i);
		}
	return true;
}

/* Keeps what is neither in the log nor twice in this request. */
static bool drop_known(struct ch_transaction *transaction, struct arrivals *arrivals, size_t *fresh,
		       struct ch_error *err)
{
	bool known[EVENTS_PER_REQUEST] = { false };
	size_t kept = 0;

	if (!store_find_known(transaction, arrivals->events, arrivals->count, known, err))
		return false;
	for (size_t i = 0; i < arrivals->count; i++) {
		for (size_t j = 0; !known[i] && j < kept; j++)
			known[i] = strcmp(arrivals->events[i].id, arrivals->events[j].id) == 0;
		if (!known[i])
			arrivals->events[kept++] = arrivals->events[i];
	}
	*fresh = kept;
	return true;
}

/* Holds each sender's numbering against what was seen of it before. One request has few senders: mostly one.
 */
static bool check_sequences(struct ch_transaction *transaction, const struct arrivals *arrivals, size_t fresh,
			    struct gaps *gaps, struct ch_error *err)
{
	const Chancery__Event *of = NULL;
	uint64_t last = 0;

	for (size_t i = 0; i < fresh; i++) {
		const Chancery__Event *event = arrivals->events[i].event;
		bool same = of && strcmp(of->instance, event->instance) == 0 &&
			    strcmp(of->service, event->service) == 0;

		if (!event->sequence)
			continue;
		if (!same) {
			if (of &&
			    !store_set_sender_sequence(transaction, of->service, of->instance, last, err))
				return false;
			of = event;
			if (!store_sender_sequence(transaction, of->service, of->instance, &last, err))
				return false;
		}
		if (event->sequence != last + 1)
			watch_note_gap(gaps, event, last + 1);
		last = event->sequence;
	}
	return !of || store_set_sender_sequence(transaction, of->service, of->instance, last, err);
}

bool audit_append(struct audit *audit, const struct ch_peer *sender,
		  const Chancery__AppendEventsRequest *request, uint64_t *log_size, struct ch_error *err)
{
	CH_AUTO(arrivals) arrivals = ch_alloc(sizeof(*arrivals));
	CH_AUTO(ch_transaction) transaction = NULL;
	struct log_head head;
	struct gaps gaps = CH_NONE;
	uint64_t known = 0;
	size_t fresh = 0;
	bool rewound;

	/* 1. What is not genuine is not kept, and nothing that came with it. */
	if (!verify_all(audit, sender, request, arrivals, err))
		return false;
	/* 2. From here on nobody else appends. An event that is in the log already was acknowledged to
	 * nobody. */
	if (!store_lock_log(audit->db, &transaction, &head, err) ||
	    !drop_known(transaction, arrivals, &fresh, err))
		return false;
	rewound = head_is_rewound(audit->head, head.size, head.hash, &known);
	*log_size = head.size;
	/* 3. Chain and commit. */
	if (!check_sequences(transaction, arrivals, fresh, &gaps, err) ||
	    !store_append(transaction, arrivals->events, fresh, &head, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	/* 4. Tell what was odd, now that it is kept. */
	if (rewound)
		watch_tell_rewound(audit, known, *log_size);
	head_advance(audit->head, head.size, head.hash);
	*log_size = head.size;
	ch_metric_add(audit->appended, fresh);
	ch_metric_add(audit->repeated, arrivals->count - fresh);
	ch_metric_set(audit->size, (int64_t)head.size);
	watch_tell_gaps(audit, &gaps);
	return true;
}

bool audit_deliver_own(void *state, const Chancery__AppendEventsRequest *request, struct ch_error *err)
{
	struct audit *audit = state;
	uint64_t log_size;

	return audit_append(audit, ch_identity_self(audit->identity), request, &log_size, err);
}
