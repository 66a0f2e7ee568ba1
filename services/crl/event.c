/* SPDX-License-Identifier: Apache-2.0 */
/* event.c: audit events of a list, sealed for the transaction that publishes it. Called by generate.c. */
#include "crl.h"

#include <inttypes.h>
#include <stdio.h>

void crl_events_free(struct crl_events *events)
{
	for (size_t i = 0; i < events->count; i++)
		ch_bytes_free(&events->items[i]);
}

bool crl_event_published(const struct crl_making *making, const struct crl_record *record,
			 struct crl_events *events, struct ch_error *err)
{
	const struct crl_demand *demand = making->demand;
	char number[24], entries[24], this_update[CH_TIME_TEXT_SIZE], next_update[CH_TIME_TEXT_SIZE],
		sequence[24];
	const struct ch_audit_detail details[] = {
		{ "crl_number", number },
		{ "entries", entries },
		{ "this_update", ch_time_text(record->this_update_us, this_update) },
		{ "next_update", ch_time_text(record->next_update_us, next_update) },
		{ "log_sequence", sequence },
		{ "occasion", demand ? "demand" : "schedule" },
	};
	struct ch_audit_event event = { .type = "crl.published",
					.outcome = "success",
					.tenant = making->ca->tenant,
					.actor =
						demand ? demand->actor : making->crl->config->common.instance,
					.subject = making->ca->name,
					.message_id = demand ? demand->message_id : NULL,
					.trace_id = demand ? demand->trace_id : NULL,
					.details = details,
					.detail_count = CH_COUNT(details) };

	snprintf(number, sizeof(number), "%" PRIu64, record->number);
	snprintf(entries, sizeof(entries), "%" PRIu64, record->entries);
	snprintf(sequence, sizeof(sequence), "%" PRId64, record->log_sequence);
	return ch_audit_seal(making->crl->audit, &event, &events->items[events->count++], err);
}

/* What the revocation log does not account for is counted and logged here, once. */
static void tell(struct crl_making *making, const struct crl_record *record, const char *serials)
{
	const struct crl_list *list = &making->list;

	if (!list->kept) {
		ch_log_error("ALERT: CRL %" PRIu64 " of %s was not held against CRL %" PRIu64
			     ", which cannot be read: %s",
			     record->number, making->ca->name, making->previous.number,
			     list->unreadable.message);
		return;
	}
	ch_log_error("ALERT: CRL %" PRIu64 " of %s keeps %" PRIu64 " entries of CRL %" PRIu64
		     " that the revocation log does not account for: %s%s",
		     record->number, making->ca->name, list->kept, making->previous.number, serials,
		     list->kept > CRL_KEPT_NAMED ? ", …" : "");
	ch_metric_add(ch_metrics_counter(making->crl->metrics, "chancery_crl_entries_kept_total",
					 "Entries kept from list to list though the revocation log does not "
					 "account for them",
					 ""),
		      list->kept);
}

bool crl_event_contained(struct crl_making *making, const struct crl_record *record,
			 struct crl_events *events, struct ch_error *err)
{
	struct crl_list *list = &making->list;
	CH_AUTO(ch_string) serials = ch_buffer_steal_text(&list->kept_serials);
	char number[24], previous[24], kept[24];
	const struct ch_audit_detail details[] = {
		{ "crl_number", number },
		{ "previous", previous },
		{ list->kept ? "entries" : "error", list->kept ? kept : list->unreadable.message },
		{ "serials", serials },
	};
	const struct ch_audit_event event = { .type = list->kept ? "crl.entries-kept"
								 : "crl.previous-unreadable",
					      .outcome = "failure",
					      .tenant = making->ca->tenant,
					      .actor = making->crl->config->common.instance,
					      .subject = making->ca->name,
					      .details = details,
					      .detail_count = CH_COUNT(details) - !list->kept };

	if (!list->kept && !list->unreadable.message[0])
		return true;
	snprintf(number, sizeof(number), "%" PRIu64, record->number);
	snprintf(previous, sizeof(previous), "%" PRIu64, making->previous.number);
	snprintf(kept, sizeof(kept), "%" PRIu64, list->kept);
	tell(making, record, serials);
	return ch_audit_seal(making->crl->audit, &event, &events->items[events->count++], err);
}
