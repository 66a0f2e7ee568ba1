/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signers.c: CAs and their responder certificates, read again: who may sign no more (its key compromised, its
 * certificate revoked) signs no more, and what it signed is served no more. Called by follow.c each second,
 * and by respond.c where the vault refuses or nobody fits.
 */
#include "ocsp.h"

#include "log/log.h"

#include <stdatomic.h>
#include <stdio.h>

struct losing {
	struct ocsp *ocsp;
	int64_t version;
	int64_t now_us;
};

/* A certificate that ended takes its answers with it: they say no more than its end. */
static void lose(void *context, const struct ocsp_authority *authority,
		 const struct ocsp_responder *responder)
{
	const struct losing *losing = context;

	ocsp_cache_drop_signed(losing->ocsp->cache, losing->version, authority->ca_id,
			       responder ? responder->certificate_sha256 : NULL);
	if (!responder) {
		ch_log_error("CA '%s' is compromised: all that it issued is answered revoked (RFC 6960 2.7)",
			     authority->name);
	} else if (responder->not_after_us > losing->now_us) {
		ch_log_error("responder key %s of CA '%s' may sign no more; its answers are dropped",
			     responder->key_id, authority->name);
		ch_metric_add(losing->ocsp->metrics.signers_lost, 1);
	}
}

/* Ready as long as one CA is answered for: HAProxy must not lose all for one. */
static void tell_silent(struct ocsp *ocsp, const struct ocsp_authorities *authorities, int64_t now_us)
{
	char why[320];
	size_t served;
	size_t silent = ocsp_authorities_silent(authorities, now_us, &served, why, sizeof(why));

	ch_metric_set(ocsp->metrics.silent, (int64_t)silent);
	ch_readiness_set(ocsp->signers_ready,
			 silent == 0  ? CH_READY_OK
			 : served > 0 ? CH_READY_DEGRADED
				      : CH_READY_FAILED,
			 why);
}

/* Puts `fresh` in place, and only then drops: an answer that is chosen from it meanwhile is a good one. */
static void replace(struct ocsp *ocsp, struct ocsp_authorities *fresh)
{
	struct losing losing = { .ocsp = ocsp, .now_us = ch_clock_now_us(ocsp->clock) };
	struct ocsp_authorities *before = ocsp_authorities_get(ocsp);

	fresh->signers_version = before ? before->signers_version : 0;
	if (before && ocsp_authorities_lost(before, fresh, NULL, NULL) > 0)
		fresh->signers_version++;
	losing.version = fresh->signers_version;
	ch_metric_set(ocsp->metrics.authorities, (int64_t)fresh->count);
	pthread_mutex_lock(&ocsp->lock);
	ocsp->authorities = fresh;
	pthread_mutex_unlock(&ocsp->lock);
	if (!before)
		return;
	ocsp_authorities_lost(before, fresh, lose, &losing);
	ocsp_authorities_release(before); /* the one that ocsp->authorities had */
	ocsp_authorities_release(before);
}

static bool is_due(struct ocsp *ocsp, int64_t interval_us)
{
	int64_t now_us = ch_monotonic_us();
	bool due;

	pthread_mutex_lock(&ocsp->lock);
	due = !ocsp->authorities_at_us || now_us - ocsp->authorities_at_us >= interval_us;
	if (due)
		ocsp->authorities_at_us = now_us;
	pthread_mutex_unlock(&ocsp->lock);
	return due;
}

static bool read_now(struct ocsp *ocsp, struct ch_db *db, struct ch_error *err)
{
	struct ocsp_authorities *fresh = NULL;

	if (!ocsp_store_authorities(db, &fresh, err)) {
		pthread_mutex_lock(&ocsp->lock);
		ocsp->authorities_at_us = 0;
		pthread_mutex_unlock(&ocsp->lock);
		return false;
	}
	replace(ocsp, fresh);
	tell_silent(ocsp, fresh, ch_clock_now_us(ocsp->clock));
	return true;
}

/* Who waited for another's reading takes what came of it: else a database that answers late would be waited
 * for by one worker after the other. */
bool ocsp_authorities_read(struct ocsp *ocsp, struct ch_db *db, int64_t interval_us, struct ch_error *err)
{
	unsigned before = atomic_load(&ocsp->readings);
	bool read = true;

	pthread_mutex_lock(&ocsp->reading);
	if (atomic_load(&ocsp->readings) == before && is_due(ocsp, interval_us)) {
		read = read_now(ocsp, db, err);
		atomic_fetch_add(&ocsp->readings, 1);
	}
	pthread_mutex_unlock(&ocsp->reading);
	return read;
}
