/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify_row.c: is a row what its sender signed, and does it continue the row before? A row whose event is
 * genuine but whose hash is not of this event in this place was moved; one whose event or columns are not
 * genuine was altered.
 */
#include "auditlog/internal.h"
#include "unpack/unpack.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MISSING_NAMED 100 /* rows of one gap that get a finding each; the rest share one */

void walk_tell(struct walk *walk, uint64_t sequence, const char *kind, const char *format, ...)
{
	char text[512];
	struct ch_audit_finding finding = { sequence, kind, text };
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	walk->summary->findings++;
	if (walk->options->report)
		walk->options->report(walk->options->report_context, &finding);
}

void walk_missing(struct walk *walk, uint64_t first, uint64_t last, const char *why)
{
	uint64_t named = first;

	for (; named <= last && named - first < MISSING_NAMED; named++)
		walk_tell(walk, named, "missing", "row %" PRIu64 " is missing: %s", named, why);
	if (named <= last)
		walk_tell(walk, named, "missing", "rows %" PRIu64 " to %" PRIu64 " are missing: %s", named,
			  last, why);
}

/* --- the event ---------------------------------------------------------------------------------------------
 */

static const char *column_that_differs(const struct row *row, const Chancery__Event *event)
{
	const struct {
		const char *name, *column, *member;
	} texts[] = {
		{ "tenant_id", row->tenant, event->tenant },    { "type", row->type, event->type },
		{ "outcome", row->outcome, event->outcome },    { "service", row->service, event->service },
		{ "instance", row->instance, event->instance }, { "actor", row->actor, event->actor },
		{ "subject", row->subject, event->subject },
	};

	if (!ch_view_equal(row->event_id, ch_view(event->event_id.data, event->event_id.len)))
		return "event_id";
	if (row->event_time != event->time_us)
		return "event_time";
	for (size_t i = 0; i < CH_COUNT(texts); i++)
		if (strcmp(texts[i].column, texts[i].member) != 0)
			return texts[i].name;
	return NULL;
}

/* The event is what its sender signed and the columns repeat it. Otherwise reports the row. */
static bool is_genuine(struct walk *walk, const struct row *row)
{
	CH_AUTO(signed_event)
	stored = (Chancery__SignedEvent *)ch_unpack(&chancery__signed_event__descriptor, row->signed_event);
	CH_AUTO(event) event = NULL;
	struct ch_error why = CH_NONE;
	const char *column;

	if (!stored)
		ch_fail(&why, CH_INVALID, "signed_event does not decode");
	else if (ch_audit_event_open(walk->trust, stored, &event, &why)) {
		column = column_that_differs(row, event);
		sender_order_see(walk->senders, row->sequence, event);
		if (!column)
			return true;
		ch_fail(&why, CH_INVALID, "column %s is not what the event says", column);
	}
	if (!event)
		sender_order_skip(walk->senders, row->service, row->instance);
	walk_tell(walk, row->sequence, "altered", "row %" PRIu64 " (%.64s, %.64s) was altered: %s",
		  row->sequence, row->type, row->instance, why.message);
	return false;
}

/* --- the chain ---------------------------------------------------------------------------------------------
 */

/* The row before had a hash that its content does not give. When this row was made after the hash that it
 * does give, only that column was changed; otherwise its event is not the one that stood there. */
static void decide(struct walk *walk, const struct row *next)
{
	if (!walk->undecided)
		return;
	walk->undecided = false;
	if (!next || ch_view_equal(next->previous, ch_view(walk->computed, sizeof(walk->computed)))) {
		walk_tell(walk, walk->last, "altered",
			  "row %" PRIu64 " was altered: column hash is not of this event", walk->last);
		memcpy(walk->hash, walk->computed, sizeof(walk->hash));
	} else {
		walk_tell(walk, walk->last, "reordered",
			  "row %" PRIu64 " holds a genuine event that was not logged in this place",
			  walk->last);
	}
}

static bool check_chain(struct walk *walk, const struct row *row, bool genuine, bool after_gap,
			bool *doubtful, struct ch_error *err)
{
	struct ch_view before = ch_view(walk->hash, sizeof(walk->hash));
	bool continues = ch_view_equal(row->previous, before);
	struct ch_view computed = ch_view(walk->computed, sizeof(walk->computed));

	if (row->previous.size != CH_AUDIT_HASH_SIZE || row->hash.size != CH_AUDIT_HASH_SIZE) {
		walk_tell(walk, row->sequence, "altered",
			  "row %" PRIu64 " was altered: a hash has a wrong size", row->sequence);
		*doubtful = true;
		return true;
	}
	if (!ch_audit_hash(row->previous.data, row->sequence, row->signed_event, walk->computed, err))
		return false;
	if (ch_view_equal(row->hash, computed)) {
		if (continues || after_gap || walk->doubtful || !genuine)
			return true;
		walk_tell(walk, row->sequence, "reordered",
			  "row %" PRIu64 " does not continue row %" PRIu64 ": its chain was computed anew",
			  row->sequence, walk->last);
		*doubtful = true;
		return true;
	}
	*doubtful = true;
	if (!genuine) /* reported already */
		return true;
	if (!continues && !after_gap) {
		if (!ch_audit_hash(walk->hash, row->sequence, row->signed_event, walk->computed, err))
			return false;
		if (ch_view_equal(row->hash, computed))
			walk_tell(walk, row->sequence, "altered",
				  "row %" PRIu64
				  " was altered: column previous_hash is not the hash of row %" PRIu64,
				  row->sequence, walk->last);
		else
			walk_tell(walk, row->sequence, "reordered",
				  "row %" PRIu64 " holds a genuine event that was not logged in this place",
				  row->sequence);
		return true;
	}
	walk->undecided = true;
	return true;
}

bool walk_row(struct walk *walk, const struct row *row, struct ch_error *err)
{
	bool after_gap = row->sequence != walk->last + 1;
	bool doubtful = false, genuine;

	decide(walk, row);
	if (after_gap)
		walk_missing(walk, walk->last + 1, row->sequence - 1, "the log's own numbering has no gaps");
	genuine = is_genuine(walk, row);
	if (!check_chain(walk, row, genuine, after_gap, &doubtful, err))
		return false;
	walk->doubtful = doubtful || !genuine;
	walk->last = row->sequence;
	if (row->hash.size == CH_AUDIT_HASH_SIZE)
		memcpy(walk->hash, row->hash.data, CH_AUDIT_HASH_SIZE);
	walk->summary->events++;
	walk->summary->last_sequence = row->sequence;
	return true;
}

static void tell_jump(void *context, uint64_t row, const char *kind, const char *text)
{
	walk_tell(context, row, kind, "row %" PRIu64 ": %s", row, text);
}

void walk_end(struct walk *walk)
{
	decide(walk, NULL);
	memcpy(walk->summary->hash, walk->hash, sizeof(walk->hash));
	sender_order_finish(walk->senders, tell_jump, walk);
}
