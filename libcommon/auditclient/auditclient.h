/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditclient.h: audit events of a daemon: signed with its identity, spooled durably before the action is
 * acknowledged, sent to the audit daemon in the background. If an event cannot be spooled, the caller must
 * not acknowledge the action.
 */
#ifndef CH_AUDITCLIENT_H
#define CH_AUDITCLIENT_H

#include "audit.pb-c.h"
#include "bus/bus.h"

#define CH_EVENT_DOMAIN "chancery/event/v1" /* what the signature of an event covers begins with it */

struct ch_audit_detail {
	const char *name;
	const char *value;
};

struct ch_audit_event {
	const char *type;    /* a row of docs/audit-events.md */
	const char *outcome; /* "success", "refused", "failure" */
	const char *tenant;  /* NULL: none */
	const char *actor;
	const char *subject;
	const char *message_id;
	const char *trace_id;
	const struct ch_audit_detail *details;
	size_t detail_count;
};

struct ch_audit_client;
struct ch_audit_options {
	struct ch_identity *identity;
	const struct ch_clock *clock;
	const char *state_directory; /* the spool is <state_directory>/spool/ */
	struct ch_bus_client
		*bus; /* of service "audit"; NULL for the audit daemon itself, which passes `deliver` */
	bool (*deliver)(void *state, const Chancery__AppendEventsRequest *request,
			struct ch_error *err); /* instead of bus */
	void *deliver_state;
	struct ch_metrics *metrics;
	int64_t spool_cap; /* octets; 0: 256 MiB. A full spool refuses: CH_UNAVAILABLE */
};
/* Continues the spool of an earlier run (a torn last record is cut off and logged). Starts the sending
 * thread. */
CH_MUST_USE bool ch_audit_open(const struct ch_audit_options *options, struct ch_audit_client **client,
			       struct ch_error *err);
/* Sends what it can within drain_us; the rest stays in the spool. NULL is fine. */
void ch_audit_close(struct ch_audit_client *client, int64_t drain_us);

/* Returns when the event is on disk (fdatasync, shared between callers at the same time). Thread-safe. */
CH_MUST_USE bool ch_audit_record(struct ch_audit_client *client, const struct ch_audit_event *event,
				 struct ch_error *err);

/* "daemon.started" or "daemon.stopped"; a failure is logged: no action waits for it. NULL client is fine. */
void ch_audit_lifecycle(struct ch_audit_client *client, const char *type);

/* For an action that is a database transaction: the encoded SignedEvent to insert into audit_outbox in that
 * transaction. */
CH_MUST_USE bool ch_audit_seal(struct ch_audit_client *client, const struct ch_audit_event *event,
			       struct ch_bytes *signed_event, struct ch_error *err);
/* Sends outbox rows at once, without the spool: returns when the audit daemon has stored them. */
CH_MUST_USE bool ch_audit_send(struct ch_audit_client *client, const struct ch_view *signed_events,
			       size_t count, struct ch_error *err);

/* A ch_bus_refusal that records "bus.refused" events, at most 10 a second and sender in full, the rest summed
 * up in one event a second; state is the struct ch_audit_client. */
void ch_audit_bus_refusal(void *state, const struct ch_peer *sender, const struct ch_message *message_or_null,
			  const struct ch_error *why);

#endif
