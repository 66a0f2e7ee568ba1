/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c: one instance at a time makes a CA's CRL. Called by generate.c. */
#include "crl.h"

#define LEASE_POLL (50 * CH_MILLISECOND)

bool crl_lease_take(struct crl *crl, int64_t ca_id, int64_t wait_us, struct ch_lease **lease,
		    struct ch_error *err)
{
	const struct crl_config *config = crl->config;
	int64_t deadline = ch_monotonic_us() + wait_us;

	for (;;) {
		if (!ch_lease_take(crl->db, &crl_leases, ch_param_int64(ca_id), config->common.instance,
				   config->lease_us, lease, err))
			return false;
		if (*lease || ch_monotonic_us() >= deadline || ch_daemon_sleep(crl->daemon, LEASE_POLL))
			return true;
	}
}
