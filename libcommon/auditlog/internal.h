/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share and nobody else needs. */
#ifndef CH_AUDITLOG_INTERNAL_H
#define CH_AUDITLOG_INTERNAL_H

#include "auditlog/auditlog.h"

#define LATEST_TIME INT64_C(4102444800000000) /* 2100-01-01, microseconds */

void ch_audit_free_event(Chancery__Event *event);
void ch_audit_free_signed(Chancery__SignedEvent *event);
CH_DEFINE_AUTO_POINTER(event, Chancery__Event, ch_audit_free_event)
CH_DEFINE_AUTO_POINTER(signed_event, Chancery__SignedEvent, ch_audit_free_signed)

/* --- sender_order.c: each sender numbers its events without gaps -------------------------------------------
 */
struct sender_order;
/* keeper: the service that appends to the log; borrowed. */
struct sender_order *sender_order_new(const char *keeper);
void sender_order_free(struct sender_order *order);
/* The events in the log's order; alerts of the keeper ("audit.gap") excuse the jump that they tell of.
 */
void sender_order_see(struct sender_order *order, uint64_t row, const Chancery__Event *event);
/* A row of that sender whose event cannot be read: its number is one of the next. */
void sender_order_skip(struct sender_order *order, const char *service, const char *instance);
typedef void (*sender_order_told)(void *context, uint64_t row, const char *kind, const char *text);
/* At the end: every jump that no alert excuses. */
void sender_order_finish(struct sender_order *order, sender_order_told told, void *context);

/* --- verify_row.c: a row for itself and against the one before
 * ---------------------------------------------- */
struct row { /* of audit_log; borrowed from the result */
	uint64_t sequence;
	struct ch_view previous, hash, signed_event, event_id;
	const char *tenant;
	int64_t event_time;
	const char *type, *outcome, *service, *instance, *actor, *subject;
};
struct walk {
	const struct ch_audit_verify_options *options;
	struct ch_trust *trust;
	struct ch_audit_summary *summary;
	struct sender_order *senders;
	/* The row before, as stored. */
	uint64_t last;
	uint8_t hash[CH_AUDIT_HASH_SIZE];
	bool doubtful; /* something about it was reported */
	/* Its hash is not the one that its content gives in its place: what it is called depends on the row
	 * after. */
	bool undecided;
	uint8_t computed[CH_AUDIT_HASH_SIZE];
};
void walk_tell(struct walk *walk, uint64_t sequence, const char *kind, const char *format, ...)
	CH_PRINTF(4, 5);
CH_MUST_USE bool walk_row(struct walk *walk, const struct row *row, struct ch_error *err);
/* Rows first..last are not there. */
void walk_missing(struct walk *walk, uint64_t first, uint64_t last, const char *why);
void walk_end(struct walk *walk);

#endif
