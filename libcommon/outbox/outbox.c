/* SPDX-License-Identifier: Apache-2.0 */
/* outbox.c: takes sealed audit events out of the database to the audit daemon. store.c has the statements. */
#include "outbox/internal.h"

#include <stdlib.h>
#include <string.h>

#define LEASE_LENGTH (10 * CH_SECOND) /* how long events wait where its holder died */
#define LONGEST_WAIT CH_SECOND        /* after a failure */

static const struct ch_lease_table leases = CH_LEASE_TABLE("outbox", "outbox_leases", "service");

struct ch_outbox {
	struct ch_outbox_options options;
	struct ch_metric *shipped, *oldest;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopping, woken; /* guarded by lock */
	/* of the thread alone */
	struct ch_lease *held;
	int64_t after; /* where this pass over the rows has come to */
	bool failing, waiting;
};

struct ch_outbox *ch_outbox_new(const struct ch_outbox_options *options)
{
	struct ch_outbox *outbox = ch_alloc(sizeof(*outbox));
	CH_AUTO(ch_string) shipped = ch_format("chancery_%s_outbox_shipped_total", options->service);
	CH_AUTO(ch_string) oldest = ch_format("chancery_%s_outbox_oldest_seconds", options->service);
	pthread_condattr_t monotonic;

	outbox->options = *options;
	outbox->shipped = ch_metrics_counter(options->metrics, shipped,
					     "Audit events taken from the database to the audit daemon.", "");
	outbox->oldest = ch_metrics_gauge(options->metrics, oldest,
					  "Age of the oldest audit event that waits in the database and that "
					  "this instance is to send.",
					  "");
	pthread_mutex_init(&outbox->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&outbox->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	ch_lease_end_all(options->db, &leases, options->instance);
	return outbox;
}

/* --- a step --- */

/* The others' rows are the same rows, so one instance sends them, and keeps the lease while it does. */
static bool hold(struct ch_outbox *outbox, struct ch_error *err)
{
	const struct ch_outbox_options *options = &outbox->options;

	if (outbox->held && ch_lease_renew(outbox->held, err))
		return true;
	ch_lease_release(CH_STEAL(outbox->held));
	return ch_lease_take(options->db, &leases, ch_param_text(options->service), options->instance,
			     LEASE_LENGTH, &outbox->held, err);
}

static bool send(struct ch_outbox *outbox, const struct ch_rows *rows, size_t *taken, struct ch_error *err)
{
	struct ch_view events[OUTBOX_BATCH];
	bool done[OUTBOX_BATCH];
	size_t count = ch_rows_count(rows);

	for (size_t i = 0; i < count; i++)
		events[i] = ch_rows_bytes(rows, i, 1);
	if (!ch_audit_send(outbox->options.audit, events, count, done, err) ||
	    !outbox_store_take(outbox->options.db, outbox->options.service, rows, done, err))
		return false;
	for (size_t i = 0; i < count; i++)
		*taken += done[i];
	return true;
}

bool ch_outbox_step(struct ch_outbox *outbox, struct ch_outbox_pass *pass, struct ch_error *err)
{
	const struct ch_outbox_options *options = &outbox->options;
	CH_AUTO(ch_rows) rows = NULL;

	*pass = (struct ch_outbox_pass)CH_NONE;
	if (!hold(outbox, err))
		return false;
	pass->elsewhere = !outbox->held;
	if (pass->elsewhere) {
		ch_metric_set(outbox->oldest, 0);
		return true;
	}
	if (!outbox_store_read(options->db, options->service, outbox->after, &rows, err))
		return false;
	pass->looked_at = ch_rows_count(rows);
	if (!outbox->after)
		ch_metric_set(outbox->oldest, pass->looked_at ? ch_rows_int64(rows, 0, 2) : 0);
	if (pass->looked_at && !send(outbox, rows, &pass->taken, err))
		return false;
	ch_metric_add(outbox->shipped, pass->taken);
	pass->more = pass->looked_at == OUTBOX_BATCH;
	outbox->after = pass->more ? ch_rows_int64(rows, OUTBOX_BATCH - 1, 0) : 0;
	return true;
}

/* --- the thread --- */

/* Once when it begins to fail, once when it works again; and once when the audit service begins to put events
 * off: *err then says why the first. */
static void tell(struct ch_outbox *outbox, bool sent, const struct ch_outbox_pass *pass,
		 const struct ch_error *err)
{
	if (sent && pass->elsewhere)
		return;
	if (!sent && !outbox->failing)
		ch_log_warn("audit events wait in the outbox: %s", err->message);
	if (sent && outbox->failing)
		ch_log_info("audit events leave the outbox again");
	if (sent && pass->taken < pass->looked_at && !outbox->waiting)
		ch_log_warn("%zu audit events wait in the outbox: %s", pass->looked_at - pass->taken,
			    err->message);
	outbox->failing = !sent;
	outbox->waiting = sent && pass->taken < pass->looked_at;
}

/* False: it is to end. */
static bool sleep_until_woken(struct ch_outbox *outbox, int64_t wait_us)
{
	int64_t until = ch_monotonic_us() + wait_us;
	struct timespec deadline = { until / CH_SECOND, until % CH_SECOND * 1000 };
	bool stopping;

	pthread_mutex_lock(&outbox->lock);
	while (!outbox->stopping && !outbox->woken && ch_monotonic_us() < until)
		pthread_cond_timedwait(&outbox->changed, &outbox->lock, &deadline);
	outbox->woken = false;
	stopping = outbox->stopping;
	pthread_mutex_unlock(&outbox->lock);
	return !stopping;
}

static void *run(void *state)
{
	struct ch_outbox *outbox = state;
	int64_t wait_us = 0;

	while (sleep_until_woken(outbox, wait_us)) {
		struct ch_error err = CH_NONE;
		struct ch_outbox_pass pass;
		bool sent = ch_outbox_step(outbox, &pass, &err);

		if (!sent) /* another instance may reach the audit daemon */
			ch_lease_release(CH_STEAL(outbox->held));
		tell(outbox, sent, &pass, &err);
		wait_us = sent && pass.more ? 0 : outbox->options.interval_us;
		if (!sent && wait_us < LONGEST_WAIT)
			wait_us = LONGEST_WAIT;
	}
	return NULL;
}

bool ch_outbox_start(struct ch_outbox *outbox, struct ch_error *err)
{
	int failed = pthread_create(&outbox->thread, NULL, run, outbox);

	outbox->running = !failed;
	return outbox->running || ch_fail_errno(err, CH_INTERNAL, failed, "outbox thread");
}

void ch_outbox_wake(struct ch_outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	outbox->woken = true;
	pthread_cond_signal(&outbox->changed);
	pthread_mutex_unlock(&outbox->lock);
}

void ch_outbox_close(struct ch_outbox *outbox)
{
	if (!outbox)
		return;
	pthread_mutex_lock(&outbox->lock);
	outbox->stopping = true;
	pthread_cond_signal(&outbox->changed);
	pthread_mutex_unlock(&outbox->lock);
	if (outbox->running)
		pthread_join(outbox->thread, NULL);
	ch_lease_release(CH_STEAL(outbox->held));
	pthread_cond_destroy(&outbox->changed);
	pthread_mutex_destroy(&outbox->lock);
	free(outbox);
}
