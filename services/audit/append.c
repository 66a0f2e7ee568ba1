/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append.c: what is genuine of a request's events becomes rows in one transaction that alone may append
 * meanwhile; what is not goes into quarantine; each event has its own answer. Called for other daemons by
 * bus.c and for this one's own events by its audit client.
 */
#include "audit.h"
#include "text/text.h"
#include "x509/x509.h"

#include <stdlib.h>
#include <string.h>

/* The events of a request while they are on their way. */
struct arrivals {
	struct arrival items[EVENTS_PER_REQUEST];
	size_t count;
	struct new_event fresh[EVENTS_PER_REQUEST]; /* those that are to be appended */
	struct arrival *of[EVENTS_PER_REQUEST];     /* whose each is */
	size_t fresh_count, repeated;
};

static void free_arrivals(struct arrivals *arrivals)
{
	if (!arrivals)
		return;
	for (size_t i = 0; i < arrivals->count; i++)
		arrival_clear(&arrivals->items[i]);
	free(arrivals);
}
CH_DEFINE_AUTO_POINTER(arrivals, struct arrivals, free_arrivals)

static bool set_new_event(struct new_event *row, const struct arrival *arrival, struct ch_error *err)
{
	CH_AUTO(ch_string) id = ch_hex(ch_view(arrival->event->event_id.data, arrival->event->event_id.len));
	CH_AUTO(ch_string) digest_text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", ch_view_of(&arrival->encoded), digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	*row = (struct new_event){ .event = arrival->event, .encoded = ch_view_of(&arrival->encoded) };
	memcpy(row->id, id, sizeof(row->id));
	memcpy(row->digest, digest_text, sizeof(row->digest));
	return true;
}

/* A sender's own numbers stay in order: those after one that waits wait with it. Events of transactions have
 * no number and need not. */
static void wait_behind(struct arrival *arrival, const struct arrival **waits)
{
	if (*waits && arrival->event && arrival->event->sequence) {
		arrival->fate = CHANCERY__EVENT_FATE__EVENT_LATER;
		ch_fail(&arrival->why, CH_UNAVAILABLE, "an event before it waits: %.400s",
			(*waits)->why.message);
		ch_text_clean(arrival->why.message);
	}
	if (!*waits && arrival->fate == CHANCERY__EVENT_FATE__EVENT_LATER)
		*waits = arrival;
}

static bool judge_all(struct audit *audit, const struct ch_peer *sender,
		      const Chancery__AppendEventsRequest *request, struct arrivals *arrivals,
		      struct ch_error *err)
{
	const struct arrival *waits = NULL;

	if (request->n_events == 0 || request->n_events > EVENTS_PER_REQUEST)
		return ch_fail(err, CH_INVALID, "request has %zu events, 1 to %d are taken",
			       request->n_events, EVENTS_PER_REQUEST);
	for (size_t i = 0; i < request->n_events; i++) {
		struct arrival *arrival = &arrivals->items[arrivals->count++];

		if (!judge(audit, sender, request->events[i], arrival, err))
			return ch_fail_in(err, "event %zu", i);
		wait_behind(arrival, &waits);
		if (arrival->fate != CHANCERY__EVENT_FATE__EVENT_STORED)
			continue;
		if (!set_new_event(&arrivals->fresh[arrivals->fresh_count], arrival, err))
			return false;
		arrivals->of[arrivals->fresh_count++] = arrival;
	}
	return true;
}

/* Keeps what is neither in the log nor twice in this request. */
static bool drop_known(struct ch_transaction *transaction, struct arrivals *arrivals, struct ch_error *err)
{
	enum event_known known[EVENTS_PER_REQUEST] = { EVENT_NEW };
	size_t kept = 0;

	if (!store_find_known(transaction, arrivals->fresh, arrivals->fresh_count, known, err))
		return false;
	for (size_t i = 0; i < arrivals->fresh_count; i++) {
		for (size_t j = 0; known[i] == EVENT_NEW && j < kept; j++)
			known[i] = new_event_compare(&arrivals->fresh[i], &arrivals->fresh[j]);
		arrivals->repeated += known[i] == EVENT_KNOWN;
		if (known[i] == EVENT_CLASHES) {
			arrivals->of[i]->fate = CHANCERY__EVENT_FATE__EVENT_QUARANTINED;
			ch_fail(&arrivals->of[i]->why, CH_CONFLICT,
				"audit event %s: its sender has used the id %s for another event",
				arrivals->fresh[i].event->type, arrivals->fresh[i].id);
			ch_text_clean(arrivals->of[i]->why.message);
		}
		if (known[i] != EVENT_NEW)
			continue;
		arrivals->of[kept] = arrivals->of[i];
		arrivals->fresh[kept++] = arrivals->fresh[i];
	}
	arrivals->fresh_count = kept;
	return true;
}

/* Holds each sender's numbering against what was seen of it before. One request has few senders: mostly one.
 */
static bool check_sequences(struct ch_transaction *transaction, const struct arrivals *arrivals,
			    struct gaps *gaps, struct ch_error *err)
{
	const Chancery__Event *of = NULL;
	uint64_t last = 0;

	for (size_t i = 0; i < arrivals->fresh_count; i++) {
		const Chancery__Event *event = arrivals->fresh[i].event;
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

/* *log_size is left as it is where there is nothing to append. */
static bool append(struct audit *audit, struct arrivals *arrivals, uint64_t *log_size, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct log_head head;
	struct gaps gaps = CH_NONE;
	uint64_t known = 0;
	bool rewound;

	if (!arrivals->fresh_count)
		return true;
	/* 1. From here on nobody else appends. An event that is in the log already was acknowledged to
	 * nobody. */
	if (!store_lock_log(audit->db, &transaction, &head, err) || !drop_known(transaction, arrivals, err))
		return false;
	rewound = head_is_rewound(audit->head, head.size, head.hash, &known);
	*log_size = head.size;
	/* 2. Chain and commit. */
	if (!check_sequences(transaction, arrivals, &gaps, err) ||
	    !store_append(transaction, arrivals->fresh, arrivals->fresh_count, &head, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	/* 3. Tell what was odd, now that it is kept. */
	if (rewound)
		watch_tell_rewound(audit, known, *log_size);
	head_advance(audit->head, head.size, head.hash);
	*log_size = head.size;
	ch_metric_add(audit->appended, arrivals->fresh_count);
	ch_metric_add(audit->repeated, arrivals->repeated);
	ch_metric_set(audit->size, (int64_t)head.size);
	watch_tell_gaps(audit, &gaps);
	return true;
}

static Chancery__AppendEventsReply *answer(struct audit *audit, const struct arrivals *arrivals,
					   uint64_t log_size)
{
	Chancery__AppendEventsReply *reply =
		CH_PROTO_NEW(Chancery__AppendEventsReply, chancery__append_events_reply__init);

	reply->log_size = log_size;
	reply->n_answers = arrivals->count;
	reply->answers = ch_alloc_pointers(arrivals->count);
	for (size_t i = 0; i < arrivals->count; i++) {
		const struct arrival *arrival = &arrivals->items[i];

		reply->answers[i] = CH_PROTO_NEW(Chancery__EventAnswer, chancery__event_answer__init);
		reply->answers[i]->fate = arrival->fate;
		if (arrival->fate != CHANCERY__EVENT_FATE__EVENT_STORED)
			reply->answers[i]->reason = ch_strdup(arrival->why.message);
		if (arrival->fate == CHANCERY__EVENT_FATE__EVENT_LATER)
			ch_metric_add(audit->later, 1);
	}
	return reply;
}

/* A sender that does not read answers takes any reply for "all are stored". */
static bool may_answer(const Chancery__AppendEventsRequest *request, const struct arrivals *arrivals,
		       struct ch_error *err)
{
	for (size_t i = 0; !request->reads_answers && i < arrivals->count; i++)
		if (arrivals->items[i].fate == CHANCERY__EVENT_FATE__EVENT_LATER)
			return ch_fail(err, CH_UNAVAILABLE, "event %zu is to be sent again: %.400s", i,
				       arrivals->items[i].why.message);
	return true;
}

bool audit_append(struct audit *audit, const struct ch_peer *sender,
		  const Chancery__AppendEventsRequest *request, Chancery__AppendEventsReply **reply,
		  struct ch_error *err)
{
	CH_AUTO(arrivals) arrivals = ch_alloc(sizeof(*arrivals));
	uint64_t log_size = 0;

	/* 1. What is genuine, 2. into the log; 3. what is not, apart from it, so that it stops nobody. Where
	 * a step fails all are sent again, and what is there already is known. */
	if (!judge_all(audit, sender, request, arrivals, err) || !append(audit, arrivals, &log_size, err) ||
	    !quarantine_keep(audit, sender, arrivals->items, arrivals->count, err) ||
	    !may_answer(request, arrivals, err)) {
		ch_metric_add(audit->refused, 1);
		return false;
	}
	*reply = answer(audit, arrivals, log_size);
	return true;
}

bool audit_deliver_own(void *state, const Chancery__AppendEventsRequest *request,
		       Chancery__AppendEventsReply **reply, struct ch_error *err)
{
	struct audit *audit = state;

	return audit_append(audit, ch_identity_self(audit->identity), request, reply, err);
}
