/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identities.h: what keeps a running daemon's identity current: one thread that reads the identity's files
 * again when they were replaced, tells when the identity expires, and holds the lists of refused identities
 * that the vaults have. Every daemon's main starts one.
 *
 *   watch.c (the thread) → expiry.c (warnings, readiness) · exchange.c (lists, with the vaults) · kept.c
 * (lists, on disk)
 */
#ifndef CH_IDENTITIES_H
#define CH_IDENTITIES_H

#include "auditclient/auditclient.h"
#include "daemon/daemon.h"
#include "vaultclient/vaultclient.h"

/* Brings the other side the lists of refused identities that it lacks, and takes those that it has. */
typedef bool (*ch_refused_exchange)(void *state, struct ch_trust *trust, struct ch_error *err);

struct ch_identities_options {
	struct ch_daemon *daemon;
	const struct ch_daemon_config *config;
	struct ch_identity *identity;
	struct ch_audit_client *audit;
	const struct ch_clock *clock;
	ch_refused_exchange exchange; /* ch_refused_exchange_vault; a vault has its own, with the database */
	void *exchange_state;
};

struct ch_identities;
/* Takes the lists that the state directory keeps, then starts the thread. Makes the condition "identity" of
 * /readyz. */
CH_MUST_USE bool ch_identities_start(const struct ch_identities_options *options,
				     struct ch_identities **identities, struct ch_error *err);
/* Before the audit client and the bus clients are closed. NULL is fine. */
void ch_identities_stop(struct ch_identities *identities);

/* ch_refused_exchange with the vaults. state: a struct ch_bus_client of service vault. (exchange.c) */
CH_MUST_USE bool ch_refused_exchange_vault(void *state, struct ch_trust *trust, struct ch_error *err);
/* Takes a list that another holds. What cannot be taken is logged: a list of a CA that is not trusted here,
 * or one that is older, does no harm. */
void ch_refused_take(struct ch_trust *trust, struct ch_view crl);

#endif
