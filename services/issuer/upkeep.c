/* SPDX-License-Identifier: Apache-2.0 */
/* upkeep.c: one thread that does at its time what no request asks for: partitions, recovery, renewal,
 * readiness. */
#include "issuer.h"

#include <stdlib.h>

#define TICK             (200 * CH_MILLISECOND)
#define PING_INTERVAL    (2 * CH_SECOND)
#define PARTITIONS_RETRY (5 * CH_SECOND)

struct upkeep {
	struct issuer *issuer;
	char **tenants;
	size_t tenant_count;
	int64_t next_ping_us, next_partitions_us, next_recovery_us, next_renewal_us;
	bool partitions_made; /* once: then the issuer is ready */
};

static void forget_tenants(struct upkeep *upkeep)
{
	for (size_t i = 0; i < upkeep->tenant_count; i++)
		free(upkeep->tenants[i]);
	free(CH_STEAL(upkeep->tenants));
	upkeep->tenant_count = 0;
}

static bool load_tenants(struct upkeep *upkeep)
{
	struct ch_error err;

	forget_tenants(upkeep);
	if (store_tenants(upkeep->issuer->db, &upkeep->tenants, &upkeep->tenant_count, &err))
		return true;
	ch_log_warn("upkeep waits for the database: %s", err.message);
	return false;
}

/* Partitions first: without them nothing can be reserved, so readiness waits for them. */
static void ping(struct upkeep *upkeep)
{
	struct ch_error err;
	bool up = ch_db_ping(upkeep->issuer->db, &err);

	ch_readiness_set(upkeep->issuer->database_ready, up && upkeep->partitions_made,
			 up ? "partitions are being made" : err.message);
}

static void partitions(struct upkeep *upkeep)
{
	struct ch_error err;

	upkeep->next_partitions_us = ch_monotonic_us() + PARTITIONS_RETRY;
	if (!extend_partitions(upkeep->issuer, upkeep->tenants, upkeep->tenant_count, &err)) {
		ch_log_error("partitions: %s", err.message);
		return;
	}
	upkeep->partitions_made = true;
	upkeep->next_partitions_us = ch_monotonic_us() + CH_DAY;
}

static void recovery(struct upkeep *upkeep)
{
	struct issuer *issuer = upkeep->issuer;
	struct recovered recovered = CH_NONE;
	struct ch_error err;

	for (size_t i = 0; i < upkeep->tenant_count; i++)
		if (!recover_pending(issuer, upkeep->tenants[i], &recovered, &err))
			ch_log_error("recovery of tenant %s: %s", upkeep->tenants[i], err.message);
	for (unsigned i = 0; i < recovered.issued; i++)
		count(issuer, "recovered", "Pending certificates finished by recovery.",
		      "outcome=\"issued\"");
	for (unsigned i = 0; i < recovered.cancelled; i++)
		count(issuer, "recovered", "Pending certificates finished by recovery.",
		      "outcome=\"cancelled\"");
	ch_metric_set(ch_metrics_gauge(issuer->metrics, "chancery_issuer_recovery_left",
				       "Pending certificates that the last recovery could not finish.", ""),
		      recovered.left);
	upkeep->next_recovery_us = ch_monotonic_us() + issuer->config->recovery_interval_us;
}

static void renewal(struct upkeep *upkeep)
{
	struct issuer *issuer = upkeep->issuer;
	int64_t wait_us = issuer->config->renewal_interval_us;
	struct ch_error err;

	for (size_t i = 0; i < upkeep->tenant_count; i++)
		if (!renew_signers(issuer, upkeep->tenants[i], &err)) {
			ch_log_error("renewal: %s", err.message);
			if (err.retryable && wait_us > 2 * CH_SECOND)
				wait_us = 2 * CH_SECOND;
		}
	upkeep->next_renewal_us = ch_monotonic_us() + wait_us;
}

static void round_of(struct upkeep *upkeep)
{
	bool wanted = atomic_exchange(&upkeep->issuer->upkeep_wanted, false);
	int64_t now = ch_monotonic_us();
	bool partitions_due = wanted || now >= upkeep->next_partitions_us;
	bool recovery_due = now >= upkeep->next_recovery_us;
	bool renewal_due = wanted || now >= upkeep->next_renewal_us;

	if ((partitions_due || recovery_due || renewal_due) && !load_tenants(upkeep)) {
		if (wanted)
			atomic_store(&upkeep->issuer->upkeep_wanted, true);
		return;
	}
	if (partitions_due)
		partitions(upkeep);
	if (now >= upkeep->next_ping_us || partitions_due) {
		ping(upkeep);
		upkeep->next_ping_us = ch_monotonic_us() + PING_INTERVAL;
	}
	if (renewal_due)
		renewal(upkeep);
	if (recovery_due)
		recovery(upkeep);
}

static void *run(void *state)
{
	struct upkeep upkeep = { .issuer = state };

	do
		round_of(&upkeep);
	while (!ch_daemon_sleep(upkeep.issuer->daemon, TICK));
	forget_tenants(&upkeep);
	return NULL;
}

bool upkeep_start(struct issuer *issuer, struct ch_error *err)
{
	int failed = pthread_create(&issuer->upkeep_thread, NULL, run, issuer);

	issuer->upkeep_runs = !failed;
	if (!failed) {
		failed = pthread_create(&issuer->outbox_thread, NULL, outbox_run, issuer);
		issuer->outbox_runs = !failed;
	}
	return !failed || ch_fail_errno(err, CH_INTERNAL, failed, "upkeep thread");
}

void upkeep_stop(struct issuer *issuer)
{
	if (issuer->upkeep_runs)
		pthread_join(issuer->upkeep_thread, NULL);
	if (issuer->outbox_runs)
		pthread_join(issuer->outbox_thread, NULL);
}
