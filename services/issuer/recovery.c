/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery.c: takes up what a crash or an outage left between the two commits: rows of this instance from
 * before its start, rows of any instance that are older than `recovery_age`. Each is signed over its stored
 * bytes, or revoked with a reason, as where the vault refuses them now: it may have been signed. One issuer
 * at a time does a tenant's (a lease; no transaction is open while the vault works). Run by upkeep.c.
 */
#include "stopping.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_AT_ONCE 10000 /* of one tenant before others have their turn */
#define LEASE_LENGTH (2 * CH_MINUTE)

struct recovery {
	struct issuer *issuer;
	const char *tenant;
	struct ca_set *set;
	struct recovered *recovered;
	int64_t after_us;             /* rows up to here and, of that moment, */
	struct ch_bytes after_serial; /* up to this serial were tried and left */
	bool vault_is_away;
};

char *reason_to_give_up(struct issuer *issuer, const char *tenant, const struct ca_set *set,
			const struct certificate_row *row)
{
	int64_t now_us = ch_clock_now_us(issuer->clock);
	struct ch_error why;

	if (!may_still_be_signed(issuer, tenant, set, row, &why) && why.code == CH_CONFLICT)
		return ch_strdup(why.message);
	if (row->not_after_us <= now_us)
		return ch_strdup("its validity passed before it was signed");
	if (row->reserved_at_us < now_us - issuer->config->recovery_give_up_us)
		return ch_format("not signed within %lld s",
				 (long long)(issuer->config->recovery_give_up_us / CH_SECOND));
	return NULL;
}

static bool give_up(struct recovery *recovery, const struct pending *pending, const char *reason,
		    struct ch_error *err)
{
	if (!finish_give_up(recovery->issuer, pending, reason, err))
		return false;
	recovery->recovered->given_up++;
	return true;
}

/* What was decided for it needs no profile and no lint. */
static bool give_up_row(struct recovery *recovery, const struct certificate_row *row, const struct ch_ca *ca,
			const char *reason, struct ch_error *err)
{
	struct pending pending = pending_from_row(recovery->tenant, row, ca);

	return give_up(recovery, &pending, reason, err);
}

/* True: decided. False: left for the next round, with why. */
static bool decide(struct recovery *recovery, const struct certificate_row *row, struct ch_error *err)
{
	struct issuer *issuer = recovery->issuer;
	const struct ch_ca *ca = catalog_by_id(recovery->set, row->ca_id);
	CH_AUTO(ch_string) reason = NULL;
	struct ch_lint_token lint = CH_NONE;
	struct ch_profile *profile = NULL;
	struct pending pending;
	bool linted;

	if (!ca)
		return ch_fail(err, CH_INTERNAL, "its CA is not in the database");
	reason = reason_to_give_up(issuer, recovery->tenant, recovery->set, row);
	if (reason)
		return give_up_row(recovery, row, ca, reason, err);
	if (!profile_get(issuer, recovery->tenant, row->profile, row->profile_version, &profile, err))
		return false;
	linted = pending_of_row(recovery->tenant, row, ca, profile, &lint, &pending, err);
	profile_release(issuer, profile);
	if (!linted)
		return give_up(recovery, &pending, err->message, err);
	pending.timeout_us = issuer->config->sign_timeout_us;
	if (finish_pending(issuer, &pending, err)) {
		recovery->recovered->issued++;
		return true;
	}
	recovery->vault_is_away = !pending.was_signed && ch_error_outward(err).code == CH_UNAVAILABLE;
	if (err->origin != CH_ORIGIN_ITEM)
		return false;
	recovery->recovered->given_up++; /* the vault refused, and finish_pending has revoked the row */
	return true;
}

static bool find_next(const struct recovery *recovery, bool *found, struct certificate_row *row,
		      struct ch_error *err)
{
	struct issuer *issuer = recovery->issuer;
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(issuer->db, recovery->tenant, &transaction, err) &&
	       store_next_pending(
		       transaction, issuer->config->common.instance, issuer->started_at_us,
		       ch_clock_now_us(issuer->clock) - issuer->config->recovery_age_us,
		       &(struct pending_place){ recovery->after_us, ch_view_of(&recovery->after_serial) },
		       found, row, err);
}

/* *more false: nothing is left to do in this round. */
static bool recover_one(struct recovery *recovery, bool *more, struct ch_error *err)
{
	CH_AUTO(certificate_row) row = CH_NONE;
	CH_AUTO(ch_string) serial = NULL;

	if (!find_next(recovery, more, &row, err))
		return false;
	if (!*more)
		return true;
	serial = ch_hex(ch_view_of(&row.serial));
	if (decide(recovery, &row, err)) {
		ch_log_info("recovered pending certificate %s", serial);
		return true;
	}
	recovery->recovered->left++;
	/* Whatever is the matter with this row, those after it have their turn; a vault that is away would
	 * keep each of them waiting. */
	recovery->after_us = row.reserved_at_us;
	ch_bytes_free(&recovery->after_serial);
	recovery->after_serial = CH_STEAL(row.serial);
	*more = !recovery->vault_is_away;
	ch_log_warn("pending certificate %s stays pending: %s", serial, err->message);
	return true;
}

bool recover_pending(struct issuer *issuer, const char *tenant, struct recovered *recovered,
		     struct ch_error *err)
{
	struct recovery recovery = {
		.issuer = issuer, .tenant = tenant, .recovered = recovered, .after_us = 1
	};
	CH_AUTO(ch_string) name = ch_format("recovery/%s", tenant);
	CH_AUTO(ch_lease) lease = NULL;
	bool more = true, done = true;

	if (!ch_lease_take(issuer->db, &issuer_leases, ch_param_text(name), issuer->config->common.instance,
			   LEASE_LENGTH, &lease, err))
		return false;
	if (!lease) /* another issuer is at it */
		return true;
	if (!catalog_get(issuer, tenant, NULL, &recovery.set, err))
		return false;
	for (unsigned i = 0; done && more && i < ROWS_AT_ONCE && !ch_daemon_stopping(issuer->daemon); i++)
		done = ch_lease_renew(lease, err) && recover_one(&recovery, &more, err);
	catalog_release(issuer, recovery.set);
	ch_bytes_free(&recovery.after_serial);
	return done;
}
