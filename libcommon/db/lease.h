/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.h: the right of one instance to do something for a while, as a row with an end by the database's
 * clock: the instances' own clocks do not matter, a holder that died loses it by itself, and no transaction
 * stays open while its holder works. It saves work and orders who is first; what must not happen twice needs
 * a key of its own, or ch_lease_hold in the transaction that does it.
 *
 *   static const struct ch_lease_table leases = CH_LEASE_TABLE("crl", "crl_leases", "ca_id");
 *   CH_AUTO(ch_lease) lease = NULL;
 *   if (!ch_lease_take(db, &leases, ch_param_int64(ca_id), instance, 20 * CH_SECOND, &lease, err))
 *           return false;
 *   if (!lease) … another instance is at it
 */
#ifndef CH_LEASE_H
#define CH_LEASE_H

#include "db/db.h"

/* A table (KEY, holder text, expires_at timestamptz) of the service's own, which no other role may write. */
struct ch_lease_table {
	struct ch_statement take, hold, end, end_all;
};
#define CH_LEASE_TABLE(service, table, key)                                                           \
	{                                                                                             \
		.take = { service "_take_lease",                                                      \
			  "INSERT INTO " table " AS l (" key ", holder, expires_at)"                  \
			  " VALUES ($1, $2, clock_timestamp() + $3 * interval '1 microsecond')"       \
			  " ON CONFLICT (" key ") DO UPDATE"                                          \
			  " SET holder = excluded.holder, expires_at = excluded.expires_at"           \
			  " WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp()" }, \
		.hold = { service "_hold_lease",                                                      \
			  "SELECT 1 FROM " table " WHERE " key " = $1 AND holder = $2 FOR UPDATE" },  \
		.end = { service "_end_lease",                                                        \
			 "UPDATE " table " SET expires_at = '-infinity' WHERE " key " = $1"           \
			 " AND holder = $2" },                                                        \
		.end_all = {                                                                          \
			service "_end_leases",                                                        \
			"UPDATE " table " SET expires_at = '-infinity'"                               \
			" WHERE starts_with(holder, $1 || '/')"                                       \
		}                                                                                     \
	}

struct ch_lease;

/* *lease stays NULL, with success, where another holds it. `key`'s data is borrowed until the release; so are
 * `db` and `table`. CH_UNAVAILABLE. */
CH_MUST_USE bool ch_lease_take(struct ch_db *db, const struct ch_lease_table *table, struct ch_param key,
			       const char *instance, int64_t length_us, struct ch_lease **lease,
			       struct ch_error *err);
/* Call now and then: renews when a third of its length has passed. CH_UNAVAILABLE: it was lost. */
CH_MUST_USE bool ch_lease_renew(struct ch_lease *lease, struct ch_error *err);
/* Until that transaction ends it stays this holder's, however late it got. CH_UNAVAILABLE: it was lost. */
CH_MUST_USE bool ch_lease_hold(const struct ch_lease *lease, struct ch_transaction *transaction,
			       struct ch_error *err);
/* Free for others at once; where the database is away it ends by itself. */
void ch_lease_release(struct ch_lease *lease); /* NULL is fine */
CH_DEFINE_AUTO_POINTER(ch_lease, struct ch_lease, ch_lease_release)

/* At start: what an earlier run of this instance held is free at once. Logs where that cannot be. */
void ch_lease_end_all(struct ch_db *db, const struct ch_lease_table *table, const char *instance);

#endif
