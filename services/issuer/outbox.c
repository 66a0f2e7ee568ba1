/* SPDX-License-Identifier: Apache-2.0 */
/* outbox.c: takes sealed audit events out of the database to the audit daemon. A row is deleted in the
 * transaction that ends after the audit daemon has stored the event: delivered at least once, and appended
 * once by its event id. */
#include "issuer.h"

#include <string.h>

#define BATCH 256

/* *shipped -1: another issuer is at it. */
static bool ship(struct issuer *issuer, int *shipped, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_view events[BATCH];
	bool locked;

	*shipped = -1;
	/* One issuer at a time: the others' rows are the same rows. */
	if (!ch_db_begin(issuer->db, NULL, &transaction, err) ||
	    !store_try_lock(transaction, "outbox", 0, &locked, err))
		return false;
	if (!locked)
		return true;
	if (!store_take_outbox(transaction, BATCH, &rows, err))
		return false;
	*shipped = (int)ch_rows_count(rows);
	for (int i = 0; i < *shipped; i++)
		events[i] = ch_rows_bytes(rows, (size_t)i, 0);
	if (*shipped == 0)
		return true;
	return ch_audit_send(issuer->audit, events, (size_t)*shipped, err) && ch_db_commit(&transaction, err);
}

/* Once when it begins to fail, once when it works again. */
static void tell(bool sent, int shipped, bool *failing, const struct ch_error *err)
{
	if (!sent && !*failing)
		ch_log_warn("audit events wait in the outbox: %s", err->message);
	if (sent && shipped >= 0 && *failing)
		ch_log_info("audit events leave the outbox again");
	if (!sent || shipped >= 0)
		*failing = !sent;
}

void *outbox_run(void *state)
{
	struct issuer *issuer = state;
	struct ch_metric *total =
		ch_metrics_counter(issuer->metrics, "chancery_issuer_outbox_shipped_total",
				   "Audit events taken from the database to the audit daemon.", "");
	bool failing = false;

	while (!ch_daemon_stopping(issuer->daemon)) {
		struct ch_error err = CH_NONE;
		int64_t wait_us = issuer->config->outbox_interval_us;
		int shipped = -1;
		bool sent = ship(issuer, &shipped, &err);

		tell(sent, shipped, &failing, &err);
		if (sent && shipped > 0)
			ch_metric_add(total, (uint64_t)shipped);
		if (!sent && wait_us < CH_SECOND)
			wait_us = CH_SECOND;
		if (!sent || shipped < BATCH)
			ch_daemon_sleep(issuer->daemon, wait_us);
	}
	return NULL;
}
