/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c: alerts: what arrives is kept in any case, but somebody should look. */
#include "audit.h"

#include <inttypes.h>
#include <stdio.h>

static void record(struct audit *audit, const char *type, const char *subject,
		   const struct ch_audit_detail *details, size_t count)
{
	struct ch_audit_event event = { .type = type,
					.outcome = "failure",
					.actor = audit->config->common.instance,
					.subject = subject,
					.details = details,
					.detail_count = count };
	struct ch_error err = CH_NONE;

	if (!ch_audit_record(audit->client, &event, &err))
		ch_log_error("%s", err.message);
}

static void record_difference(struct audit *audit, const char *type, const char *subject, uint64_t expected,
			      uint64_t found)
{
	char expected_text[24], found_text[24];
	const struct ch_audit_detail details[] = { { "expected", expected_text }, { "found", found_text } };

	snprintf(expected_text, sizeof(expected_text), "%" PRIu64, expected);
	snprintf(found_text, sizeof(found_text), "%" PRIu64, found);
	record(audit, type, subject, details, CH_COUNT(details));
}

void watch_note_gap(struct gaps *gaps, const Chancery__Event *event, uint64_t expected)
{
	struct gap *gap = &gaps->items[gaps->count];

	if (gaps->count == CH_COUNT(gaps->items))
		return;
	gaps->count++;
	*gap = (struct gap){ .expected = expected, .found = event->sequence };
	snprintf(gap->sender, sizeof(gap->sender), "%.32s/%.64s", event->service, event->instance);
}

void watch_tell_gaps(struct audit *audit, const struct gaps *gaps)
{
	for (size_t i = 0; i < gaps->count; i++) {
		const struct gap *gap = &gaps->items[i];

		ch_log_error("alert: the next event of %s should have number %" PRIu64 ", it has %" PRIu64,
			     gap->sender, gap->expected, gap->found);
		ch_metric_add(audit->gaps, 1);
		record_difference(audit, "audit.gap", gap->sender, gap->expected, gap->found);
	}
}

void watch_tell_rewound(struct audit *audit, uint64_t known, uint64_t found)
{
	ch_log_error("alert: the log has %" PRIu64 " events where this instance saw %" PRIu64
		     ", or another event in that place: run chancery audit verify",
		     found, known);
	record_difference(audit, "audit.rewound", "audit_log", known, found);
}

void watch_tell_outbox(struct audit *audit, const char *service, int64_t missing)
{
	CH_AUTO(ch_string) count = ch_format("%" PRId64, missing);
	const struct ch_audit_detail details[] = { { "missing", count } };

	ch_log_error(
		"ALERT: %s audit events of service %s were taken out of its outbox before they came into "
		"the log%s",
		count, service, missing < 0 ? " (below 0: rows that nobody numbered were put there)" : "");
	record(audit, "audit.outbox-missing", service, details, CH_COUNT(details));
}

void watch_tell_quarantined(struct audit *audit, const struct quarantined *q)
{
	CH_AUTO(ch_string) sender = ch_format("%s/%s", q->sender->service, q->sender->instance);
	CH_AUTO(ch_string) events = ch_format("%" PRIu64, q->kept);
	CH_AUTO(ch_string) last = ch_format("%" PRIu64, q->last_id);
	CH_AUTO(ch_string) hour = ch_format("%" PRIu64, q->hour_kept);
	CH_AUTO(ch_string) refused = ch_format("%" PRIu64, q->hour_refused);
	const struct ch_audit_detail details[] = {
		{ "reason", ch_code_name(q->why->code) },
		{ "message", q->why->message },
		{ "events", events },
		{ "last_id", last },
		{ "hour_events", hour },
		{ "hour_refused", refused },
	};

	ch_log_error("ALERT: %s events brought by %s are not genuine and in quarantine (the first: %s); %s "
		     "in this hour, %s times no room was left: chancery audit quarantine",
		     events, sender, q->why->message, hour, refused);
	record(audit, "audit.quarantined", sender, details, CH_COUNT(details));
}
