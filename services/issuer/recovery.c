/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery.c: takes up what a crash or an outage left between the two commits: rows of this instance from
 * before its start, rows of any instance that are older than `recovery_age`. Each is signed over its stored
 * bytes, or cancelled with a reason. A row is held (FOR UPDATE SKIP LOCKED) while it is worked on, so several
 * issuers share the work. Run by upkeep.c.
 */
#include "issuer.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_AT_ONCE 10000 /* of one tenant before others have their turn */

struct recovery {
	struct issuer *issuer;
	const char *tenant;
	struct ca_set *set;
	struct recovered *recovered;
	int64_t after_us; /* rows up to here were tried and left */
};

/* Why the row must not be signed any more; NULL: it may. */
static char *reason_to_cancel(const struct recovery *recovery, const struct certificate_row *row,
			      const struct ch_ca *ca)
{
	int64_t now_us = ch_clock_now_us(recovery->issuer->clock);

	if (!ca || strcmp(ca->state, "active") != 0)
		return ch_strdup("its CA is not active any more");
	if (row->not_after_us <= now_us)
		return ch_strdup("its validity passed before it was signed");
	if (row->reserved_at_us < now_us - recovery->issuer->config->recovery_give_up_us)
		return ch_format("not signed within %lld s",
				 (long long)(recovery->issuer->config->recovery_give_up_us / CH_SECOND));
	return NULL;
}

static bool cancel(struct recovery *recovery, struct pending *pending, struct ch_transaction *transaction,
		   const char *reason, struct ch_error *err)
{
	if (!finish_cancel(recovery->issuer, pending, transaction, reason, err))
		return false;
	recovery->recovered->cancelled++;
	return true;
}

/* True: decided, commit. False: left for the next round, with why. */
static bool decide(struct recovery *recovery, const struct certificate_row *row,
		   struct ch_transaction *transaction, struct ch_error *err)
{
	struct issuer *issuer = recovery->issuer;
	const struct ch_ca *ca = catalog_by_id(recovery->set, row->ca_id);
	CH_AUTO(ch_string) reason = reason_to_cancel(recovery, row, ca);
	struct ch_lint_token lint = CH_NONE;
	struct ch_profile *profile = NULL;
	struct pending pending;
	bool linted;

	if (!ca || !profile_get(issuer, recovery->tenant, row->profile, row->profile_version, &profile, err))
		return ca ? false : ch_fail(err, CH_INTERNAL, "its CA is not in the database");
	linted = pending_of_row(recovery->tenant, row, ca, profile, &lint, &pending, err);
	profile_release(issuer, profile);
	if (reason || !linted)
		return cancel(recovery, &pending, transaction, reason ? reason : err->message, err);
	pending.timeout_us = issuer->config->sign_timeout_us;
	if (finish_pending(issuer, &pending, transaction, err)) {
		recovery->recovered->issued++;
		return true;
	}
	if (err->retryable)
		return false;
	recovery->recovered->cancelled++; /* the vault refused, and finish_pending has cancelled the row */
	return true;
}

/* *more false: nothing is left to do in this round. */
static bool recover_one(struct recovery *recovery, bool *more, struct ch_error *err)
{
	struct issuer *issuer = recovery->issuer;
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(certificate_row) row = CH_NONE;
	CH_AUTO(ch_string) serial = NULL;

	if (!ch_db_begin(issuer->db, recovery->tenant, &transaction, err) ||
	    !store_next_pending(transaction, issuer->config->common.instance, issuer->started_at_us,
				ch_clock_now_us(issuer->clock) - issuer->config->recovery_age_us,
				recovery->after_us, more, &row, err))
		return false;
	if (!*more)
		return true;
	serial = ch_hex(ch_view_of(&row.serial));
	if (decide(recovery, &row, transaction, err)) {
		ch_log_info("recovered pending certificate %s", serial);
		return ch_db_commit(&transaction, err);
	}
	recovery->recovered->left++;
	recovery->after_us = row.reserved_at_us;
	*more = err->code != CH_UNAVAILABLE;
	ch_log_warn("pending certificate %s stays pending: %s", serial, err->message);
	return true;
}

bool recover_pending(struct issuer *issuer, const char *tenant, struct recovered *recovered,
		     struct ch_error *err)
{
	struct recovery recovery = {
		.issuer = issuer, .tenant = tenant, .recovered = recovered, .after_us = 1
	};
	bool more = true, done = true;

	if (!catalog_get(issuer, tenant, NULL, &recovery.set, err))
		return false;
	for (unsigned i = 0; done && more && i < ROWS_AT_ONCE && !ch_daemon_stopping(issuer->daemon); i++)
		done = recover_one(&recovery, &more, err);
	catalog_release(issuer, recovery.set);
	return done;
}
