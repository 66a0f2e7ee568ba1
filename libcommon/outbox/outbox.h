/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox.h: audit events of database transactions. A service inserts the signed event (ch_audit_seal) into
 * audit_outbox in the transaction that does what the event tells; this module brings it to the audit daemon,
 * and takes the row away when the audit daemon has answered for it. The database numbers each service's rows
 * and lets none go that is not in the log or in quarantine (proto/schema/0016_outbox.sql).
 *
 * Delivered at least once, and appended once by the events' ids. No transaction is open while the audit
 * daemon works.
 */
#ifndef CH_OUTBOX_H
#define CH_OUTBOX_H

#include "auditclient/auditclient.h"
#include "db/db.h"

struct ch_outbox_options {
	struct ch_db *db; /* of the role chancery_<service> */
	struct ch_audit_client *audit;
	const char *service, *instance;
	struct ch_metrics *metrics;
	int64_t interval_us; /* how often it looks without being woken */
};

struct ch_outbox;
/* Borrows what the options name, and their texts. What an earlier run of this instance held is free at once.
 */
struct ch_outbox *ch_outbox_new(const struct ch_outbox_options *options);
/* Starts the thread that sends. */
CH_MUST_USE bool ch_outbox_start(struct ch_outbox *outbox, struct ch_error *err);
void ch_outbox_wake(struct ch_outbox *outbox);  /* there is something in it */
void ch_outbox_close(struct ch_outbox *outbox); /* ends the thread; NULL is fine */

struct ch_outbox_pass {
	bool elsewhere;   /* another instance sends this service's rows */
	size_t looked_at; /* rows */
	size_t taken;     /* rows that the audit daemon has answered for, and that are gone */
	bool more;        /* there may be rows behind these */
};
/*
 * A step of the thread: the next rows, oldest first. What stays behind, each for itself, has its turn when
 * all rows behind it had theirs. Not while the thread runs.
 *
 * Errors  CH_UNAVAILABLE database, audit daemon
 */
CH_MUST_USE bool ch_outbox_step(struct ch_outbox *outbox, struct ch_outbox_pass *pass, struct ch_error *err);

#endif
