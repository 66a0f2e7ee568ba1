/* SPDX-License-Identifier: Apache-2.0 */
/* outbox.c: takes sealed audit events out of the database to the audit daemon. A row is deleted in the
 * transaction that ends after the audit daemon has stored the event: delivered at least once, and appended
 * once by its event id. */
#include "issuer.h"

#include <string.h>

#define BATCH 256

static bool ship(struct issuer *issuer, size_t *shipped, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_view events[BATCH];
	bool locked;

	*shipped = 0;
	/* One issuer at a time: the others' rows are the same rows. */
	if (!ch_db_begin(issuer->db, NULL, &transaction, err) ||
	    !store_try_lock(transaction, "outbox", 0, &locked, err))
		return false;
	if (!locked)
		return true;
	if (!store_take_outbox(transaction, BATCH, &rows, err))
		return false;
	for (*shipped = 0; *shipped < ch_rows_count(rows); (*shipped)++)
		events[*shipped] = ch_rows_bytes(rows, *shipped, 0);
	if (*shipped == 0)
		return true;
	return ch_audit_send(issuer->audit, events, *shipped, err) && ch_db_commit(&transaction, err);
}

void *outbox_run(void *state)
{
	struct issuer *issuer = state;
	struct ch_metric *total =
		ch_metrics_counter(issuer->metrics, "chancery_issuer_outbox_shipped_total",
				   "Audit events taken from the database to the audit daemon.", "");
	bool failing = false;

	for (;;) {
		struct ch_error err = CH_NONE;
		size_t shipped = 0;
		bool sent = ship(issuer, &shipped, &err);

		if (sent)
			ch_metric_add(total, shipped);
		if (!sent && !failing)
			ch_log_warn("audit events wait in the outbox: %s", err.message);
		if (sent && failing)
			ch_log_info("audit events leave the outbox again");
		failing = !sent;
		if ((!sent || shipped < BATCH) &&
		    ch_daemon_sleep(issuer->daemon, issuer->config->outbox_interval_us))
			return NULL;
		if (ch_daemon_stopping(issuer->daemon))
			return NULL;
	}
}
