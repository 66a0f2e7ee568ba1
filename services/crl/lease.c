/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.c: one instance at a time makes a CA's CRL. The lease is a row with an end by the database's clock,
 * so the instances' own clocks do not matter; a holder that died loses it by itself. Called by generate.c.
 */
#include "crl.h"

#include <stdio.h>
#include <stdlib.h>

#define LEASE_POLL (50 * CH_MILLISECOND)

static struct crl_lease *new_lease(const struct crl *crl, int64_t ca_id)
{
	struct crl_lease *lease = ch_alloc(sizeof(*lease));
	uint8_t nonce[8];
	CH_AUTO(ch_string) hex = NULL;

	ch_random(nonce, sizeof(nonce));
	hex = ch_hex(ch_view(nonce, sizeof(nonce)));
	lease->db = crl->db;
	lease->ca_id = ca_id;
	lease->length_us = crl->config->lease_us;
	snprintf(lease->holder, sizeof(lease->holder), "%.63s/%s", crl->config->common.instance, hex);
	return lease;
}

bool crl_lease_take(struct crl *crl, int64_t ca_id, int64_t wait_us, struct crl_lease **lease,
		    struct ch_error *err)
{
	struct crl_lease *wanted = new_lease(crl, ca_id);
	int64_t deadline = ch_monotonic_us() + wait_us;
	bool taken = false, asked;

	for (;;) {
		wanted->renewed_us = ch_monotonic_us();
		asked = crl_store_take_lease(crl->db, ca_id, wanted->holder, wanted->length_us, &taken, err);
		if (!asked || taken)
			break;
		if (ch_monotonic_us() >= deadline || ch_daemon_sleep(crl->daemon, LEASE_POLL))
			break;
	}
	if (taken)
		*lease = CH_STEAL(wanted);
	free(wanted);
	return asked;
}

bool crl_lease_renew(struct crl_lease *lease, struct ch_error *err)
{
	int64_t now = ch_monotonic_us();
	bool taken = false;

	if (now - lease->renewed_us < lease->length_us / 3)
		return true;
	if (!crl_store_take_lease(lease->db, lease->ca_id, lease->holder, lease->length_us, &taken, err))
		return false;
	if (!taken)
		return ch_fail(err, CH_UNAVAILABLE,
			       "the lease on this CA's CRL was lost to another instance");
	lease->renewed_us = now;
	return true;
}

void crl_lease_release(struct crl_lease *lease)
{
	struct ch_error err;

	if (!lease)
		return;
	if (!crl_store_end_lease(lease->db, lease->ca_id, lease->holder, &err))
		ch_log_warn("lease of CA %lld ends by itself: %s", (long long)lease->ca_id, err.message);
	free(lease);
}
