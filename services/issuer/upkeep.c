/* SPDX-License-Identifier: Apache-2.0 */
/* upkeep.c: one thread that does at its time what no request asks for: partitions, recovery, readiness. The
 * suite's own signers have another (signers.c): they must not wait for a recovery. */
#include "stopping.h"

#include <stdlib.h>

#define TICK             (200 * CH_MILLISECOND)
#define PARTITIONS_RETRY (5 * CH_SECOND)

struct upkeep {
	struct issuer *issuer;
	char **tenants;
	size_t tenant_count;
	int64_t next_partitions_us, next_recovery_us;
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

/* Without them nothing can be reserved, so readiness waits for them. */
static void partitions(struct upkeep *upkeep)
{
	struct ch_error err;

	upkeep->next_partitions_us = ch_monotonic_us() + PARTITIONS_RETRY;
	if (!extend_partitions(upkeep->issuer, upkeep->tenants, upkeep->tenant_count, &err)) {
		ch_log_error("partitions: %s", err.message);
		return;
	}
	ch_readiness_set(upkeep->issuer->partitions_ready, CH_READY_OK, NULL);
	upkeep->next_partitions_us = ch_monotonic_us() + CH_DAY;
}

/* What was on its way when its key was blocked, or could not be ended then. */
static void sweep(struct issuer *issuer, const char *tenant)
{
	const struct stop_order order = { .tenant = tenant, .actor = "issuer", .reason = "keyCompromise" };
	CH_AUTO(key_sweep) sweep = CH_NONE;
	struct ch_error err;

	if (!sweep_keys(issuer, &order, ch_view(NULL, 0), &sweep, &err))
		ch_log_error("certificates of compromised keys in tenant %s: %s", tenant, err.message);
	else if (sweep.revoked || sweep.stopped_count)
		ch_log_warn("tenant %s: revoked %u certificates of compromised keys, stopped %zu CAs", tenant,
			    sweep.revoked, sweep.stopped_count);
}

static void recovery(struct upkeep *upkeep)
{
	struct issuer *issuer = upkeep->issuer;
	struct recovered recovered = CH_NONE;
	struct ch_error err;

	for (size_t i = 0; i < upkeep->tenant_count; i++)
		sweep(issuer, upkeep->tenants[i]);
	for (size_t i = 0; i < upkeep->tenant_count; i++)
		if (!recover_pending(issuer, upkeep->tenants[i], &recovered, &err))
			ch_log_error("recovery of tenant %s: %s", upkeep->tenants[i], err.message);
	for (unsigned i = 0; i < recovered.issued; i++)
		count(issuer, "recovered", "Pending certificates finished by recovery.",
		      "outcome=\"issued\"");
	for (unsigned i = 0; i < recovered.given_up; i++)
		count(issuer, "recovered", "Pending certificates finished by recovery.",
		      "outcome=\"given-up\"");
	ch_metric_set(ch_metrics_gauge(issuer->metrics, "chancery_issuer_recovery_left",
				       "Pending certificates that the last recovery could not finish.", ""),
		      recovered.left);
	upkeep->next_recovery_us = ch_monotonic_us() + issuer->config->recovery_interval_us;
}

static void round_of(struct upkeep *upkeep)
{
	bool wanted = atomic_exchange(&upkeep->issuer->partitions_wanted, false);
	int64_t now = ch_monotonic_us();
	bool partitions_due = wanted || now >= upkeep->next_partitions_us;
	bool recovery_due = now >= upkeep->next_recovery_us;

	if ((partitions_due || recovery_due) && !load_tenants(upkeep)) {
		if (wanted)
			atomic_store(&upkeep->issuer->partitions_wanted, true);
		return;
	}
	if (partitions_due)
		partitions(upkeep);
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

void upkeep_want(struct issuer *issuer)
{
	atomic_store(&issuer->partitions_wanted, true);
	atomic_store(&issuer->signers_wanted, true);
}

static bool start(struct issuer *issuer, pthread_t *thread, void *(*body)(void *), bool *runs,
		  struct ch_error *err)
{
	int failed = pthread_create(thread, NULL, body, issuer);

	*runs = !failed;
	return *runs || ch_fail_errno(err, CH_INTERNAL, failed, "upkeep thread");
}

bool upkeep_start(struct issuer *issuer, struct ch_error *err)
{
	return start(issuer, &issuer->upkeep_thread, run, &issuer->upkeep_runs, err) &&
	       start(issuer, &issuer->signers_thread, signers_watch, &issuer->signers_run, err) &&
	       ch_outbox_start(issuer->outbox, err);
}

void upkeep_stop(struct issuer *issuer)
{
	if (issuer->upkeep_runs)
		pthread_join(issuer->upkeep_thread, NULL);
	if (issuer->signers_run)
		pthread_join(issuer->signers_thread, NULL);
	ch_outbox_close(issuer->outbox);
}
