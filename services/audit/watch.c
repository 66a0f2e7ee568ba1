/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c: alerts: what arrives is kept in any case, but somebody should look. */
#include "audit.h"

#include <inttypes.h>
#include <stdio.h>

static void record(struct audit *audit, const char *type, const char *subject, uint64_t expected,
		   uint64_t found)
{
	char expected_text[24], found_text[24];
	const struct ch_audit_detail details[] = { { "expected", expected_text }, { "found", found_text } };
	struct ch_audit_event event = { .type = type,
					.outcome = "failure",
					.actor = audit->config->common.instance,
					.subject = subject,
					.details = details,
					.detail_count = CH_COUNT(details) };
	struct ch_error err = CH_NONE;

	snprintf(expected_text, sizeof(expected_text), "%" PRIu64, expected);
	snprintf(found_text, sizeof(found_text), "%" PRIu64, found);
	if (!ch_audit_record(audit->client, &event, &err))
		ch_log_error("%s", err.message);
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
		record(audit, "audit.gap", gap->sender, gap->expected, gap->found);
	}
}

void watch_tell_rewound(struct audit *audit, uint64_t known, uint64_t found)
{
	ch_log_error("alert: the log has %" PRIu64 " events where this instance saw %" PRIu64
		     ", or another event in that place: run chancery audit verify",
		     found, known);
	record(audit, "audit.rewound", "audit_log", known, found);
}
