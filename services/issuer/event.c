/* SPDX-License-Identifier: Apache-2.0 */
/* event.c: audit events of the issuer, sealed for the outbox, and the counting of outcomes. */
#include "issuer.h"

#include <stdarg.h>
#include <stdio.h>

bool event_seal(struct issuer *issuer, const struct event *event, struct ch_bytes *sealed,
		struct ch_error *err)
{
	struct ch_audit_event full = {
		.type = event->type,
		.outcome = event->outcome,
		.tenant = event->tenant,
		.actor = event->actor,
		.subject = event->subject,
		.message_id = event->message_id,
		.trace_id = event->trace_id,
		.details = event->details,
	};

	while (full.detail_count < CH_COUNT(event->details) && event->details[full.detail_count].name)
		full.detail_count++;
	return ch_audit_seal(issuer->audit, &full, sealed, err);
}

void count(const struct issuer *issuer, const char *name, const char *help, const char *labels_format, ...)
{
	char full_name[96], labels[256];
	va_list arguments;

	va_start(arguments, labels_format);
	vsnprintf(labels, sizeof(labels), labels_format, arguments);
	va_end(arguments);
	snprintf(full_name, sizeof(full_name), "chancery_issuer_%s_total", name);
	ch_metric_add(ch_metrics_counter(issuer->metrics, full_name, help, labels), 1);
}
