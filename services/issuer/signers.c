/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signers.c: the thread that watches the suite's own OCSP responders and TSAs: twice a second whether one may
 * sign no more (its key compromised, its certificate revoked, its CA stopped), which is told as an alert and
 * has it replaced; at longer intervals whether one nears its end. Started by upkeep.c.
 */
#include "issuer.h"

#include <stdlib.h>
#include <string.h>

#define TICK           (200 * CH_MILLISECOND)
#define WATCH_INTERVAL (500 * CH_MILLISECOND)
#define RETRY_INTERVAL (2 * CH_SECOND)
#define LEASE_LENGTH   (20 * CH_SECOND)
#define TELL_INTERVAL  CH_MINUTE /* the same trouble is logged no more often */

/* Something done again and again, and what is wrong with it. */
struct pace {
	const char *what;
	int64_t next_us; /* monotonic */
	bool failing;
	struct ch_error told; /* last, while it fails */
	int64_t told_us;
};

/* Logged when it begins or changes, and now and then while it lasts. */
static void tell_trouble(struct pace *pace, const struct ch_error *err)
{
	int64_t now_us = ch_monotonic_us();

	if (pace->failing && strcmp(pace->told.message, err->message) == 0 &&
	    now_us - pace->told_us < TELL_INTERVAL)
		return;
	ch_log_error("signers: %s: %s", pace->what, err->message);
	pace->told = *err;
	pace->told_us = now_us;
}

/* After it was done, or failed with `err`. */
static void set_next(struct pace *pace, bool done, const struct ch_error *err, int64_t interval_us)
{
	if (!done)
		tell_trouble(pace, err);
	else if (pace->failing)
		ch_log_info("signers: %s: done again", pace->what);
	pace->failing = !done;
	if (!done && (err->retryable || interval_us < RETRY_INTERVAL))
		interval_us = RETRY_INTERVAL;
	pace->next_us = ch_monotonic_us() + interval_us;
}

/* --- signers that stopped or resumed --- */

static struct signer_change change_of(const struct ch_rows *rows, size_t row)
{
	return (struct signer_change){
		.kind = ch_rows_text(rows, row, 0),
		.ca_id = ch_rows_int64(rows, row, 1),
		.ca_name = ch_rows_text(rows, row, 2),
		.key_id = ch_rows_text(rows, row, 3),
		.serial = ch_rows_bytes(rows, row, 4),
		.not_before_us = ch_rows_time(rows, row, 5),
		.obstacle = ch_rows_text(rows, row, 6),
	};
}

static bool record_change(struct issuer *issuer, const char *tenant, struct ch_transaction *transaction,
			  const struct signer_change *change, struct ch_error *err)
{
	CH_AUTO(ch_string) serial = ch_hex(change->serial);
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	bool stopped = change->obstacle[0] != '\0';
	const struct event event = {
		.type = stopped ? "signer.stopped" : "signer.resumed",
		.outcome = stopped ? "failure" : "success",
		.tenant = tenant,
		.actor = issuer->config->common.instance,
		.subject = change->key_id,
		.details = { { "kind", change->kind },
			     { "ca", change->ca_name },
			     { "serial", serial },
			     { stopped ? "reason" : NULL, change->obstacle } },
	};

	return event_seal(issuer, &event, &sealed, err) &&
	       store_told_signer(transaction, change, ch_view_of(&sealed), err);
}

static void tell_change(struct issuer *issuer, const struct signer_change *change)
{
	CH_AUTO(ch_string) serial = ch_hex(change->serial);

	if (change->obstacle[0]) {
		ch_log_error("the %s signer of CA '%s' may sign no more: %s (key %s, certificate %s)",
			     change->kind, change->ca_name, change->obstacle, change->key_id, serial);
		count(issuer, "signers_stopped", "OCSP responders and TSAs that may sign no more.",
		      "kind=\"%s\"", change->kind);
	} else {
		ch_log_warn("the %s signer of CA '%s' may sign again (key %s, certificate %s)", change->kind,
			    change->ca_name, change->key_id, serial);
	}
}

/* Told once, whichever issuer sees it first: the event is in the transaction that marks the row. */
static bool tell_changes(struct issuer *issuer, const char *tenant, struct ch_error *err)
{
	CH_AUTO(ch_string) name = ch_format("signers/%s", tenant);
	CH_AUTO(ch_lease) lease = NULL;
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_lease_take(issuer->db, &issuer_leases, ch_param_text(name), issuer->config->common.instance,
			   LEASE_LENGTH, &lease, err))
		return false;
	if (!lease) /* another issuer tells */
		return true;
	if (!ch_db_begin(issuer->db, tenant, &transaction, err) || !ch_lease_hold(lease, transaction, err) ||
	    !store_untold_signers(transaction, tenant, &rows, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		struct signer_change change = change_of(rows, i);

		if (!record_change(issuer, tenant, transaction, &change, err))
			return false;
	}
	if (!ch_db_commit(&transaction, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		struct signer_change change = change_of(rows, i);

		tell_change(issuer, &change);
	}
	return true;
}

/* --- the rounds --- */

/* What stopped is told even where it cannot be replaced. */
static bool look(struct issuer *issuer, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	int64_t missing = 0;
	bool done = true;

	if (!store_watch_signers(issuer->db, &rows, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		const char *tenant = ch_rows_text(rows, i, 0);
		bool untold = ch_rows_int64(rows, i, 2) > 0;

		missing += ch_rows_int64(rows, i, 1);
		done = (!untold || tell_changes(issuer, tenant, err)) && done;
		done = (ch_rows_int64(rows, i, 1) == 0 || renew_signers(issuer, tenant, err)) && done;
	}
	ch_metric_set(ch_metrics_gauge(issuer->metrics, "chancery_issuer_signers_missing",
				       "Signers of CAs of which no certificate may sign, at the last look.",
				       ""),
		      missing);
	return done;
}

static bool renew_all(struct issuer *issuer, struct ch_error *err)
{
	char **tenants = NULL;
	size_t found = 0;
	bool done = store_tenants(issuer->db, &tenants, &found, err);

	for (size_t i = 0; i < found; i++) {
		done = renew_signers(issuer, tenants[i], err) && done;
		free(tenants[i]);
	}
	free(tenants);
	return done;
}

/* It issues all the same: degraded, with what keeps a signer from its certificate. */
static void tell_ready(struct issuer *issuer, const struct pace *looking, const struct pace *renewing)
{
	const struct pace *failing = looking->failing ? looking : renewing->failing ? renewing : NULL;

	ch_readiness_set(issuer->signers_ready, failing ? CH_READY_DEGRADED : CH_READY_OK,
			 failing ? failing->told.message : NULL);
}

void *signers_watch(void *state)
{
	struct issuer *issuer = state;
	struct pace looking = { .what = "replacing" }, renewing = { .what = "renewing" };

	do {
		bool wanted = atomic_exchange(&issuer->signers_wanted, false);
		struct ch_error err = CH_NONE;

		if (ch_monotonic_us() >= looking.next_us)
			set_next(&looking, look(issuer, &err), &err, WATCH_INTERVAL);
		if (wanted || ch_monotonic_us() >= renewing.next_us)
			set_next(&renewing, renew_all(issuer, &err), &err,
				 issuer->config->renewal_interval_us);
		tell_ready(issuer, &looking, &renewing);
	} while (!ch_daemon_sleep(issuer->daemon, TICK));
	return NULL;
}
