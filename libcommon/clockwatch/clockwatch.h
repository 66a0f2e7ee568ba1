/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clockwatch.h: is this daemon's clock right? Compares it with those of the instances that the daemon hears
 * and with the database's. Each daemon's main starts one.
 */
#ifndef CH_CLOCKWATCH_H
#define CH_CLOCKWATCH_H

#include "auditclient/auditclient.h"
#include "db/db.h"

/* Two clocks that are further apart than this differ: below the bus's window, in which messages still pass.
 */
#define CH_CLOCK_LIMIT (20 * CH_SECOND)

struct ch_clockwatch_options {
	struct ch_daemon *daemon;
	struct ch_identity *identity;     /* knows the clocks of whom it hears */
	const struct ch_clock *clock;     /* the one in question */
	struct ch_audit_client *audit;    /* hears of what changed */
	struct ch_db *db;                 /* NULL: no database to ask */
	const struct ch_bus_peers *peers; /* pinged while they are silent; NULL: it calls nobody */
};

/*
 * Starts a thread. While most clocks, this one counted, are more than CH_CLOCK_LIMIT from it, the readiness
 * condition "clock" has failed; where as many are on either side, this one is believed. An instance whose
 * clock differs, and this one's own, are told once in the log and as an event `clock.differs`, and
 * `clock.agrees` afterwards. Metric: chancery_clock_offset_milliseconds{peer}.
 */
struct ch_clockwatch;
CH_MUST_USE bool ch_clockwatch_start(const struct ch_clockwatch_options *options,
				     struct ch_clockwatch **watch, struct ch_error *err);
void ch_clockwatch_stop(struct ch_clockwatch *watch); /* NULL is fine; before what it borrows is closed */

/* How far this clock is from the middle of these (each another's clock less this one); 0 where that is not
 * known to be over CH_CLOCK_LIMIT. Sorts `offsets`. Pure. */
int64_t ch_clockwatch_judge(int64_t *offsets, size_t count);

#endif
