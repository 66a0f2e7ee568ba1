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

#define CH_EVENT_CAP    (64 * 1024)         /* an encoded SignedEvent */
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
	struct ch_view content; /* octets that an incident needs; kept compressed. No data: none */
};
#define CH_AUDIT_CONTENT_CAP (256 * 1024) /* octets; and compressed they must fit into CH_EVENT_CAP */
/* An event's content and the octets that it keeps, one way and the other; the caller frees the result.
 * CH_TOO_LARGE; CH_INVALID: no zlib stream. */
CH_MUST_USE bool ch_audit_content_pack(struct ch_view octets, struct ch_bytes *packed, struct ch_error *err);
CH_MUST_USE bool ch_audit_content_unpack(struct ch_view packed, struct ch_bytes *octets,
					 struct ch_error *err);

struct ch_audit_client;
struct ch_audit_options {
	struct ch_identity *identity;
	const struct ch_clock *clock;
	const char *state_directory; /* the spool is <state_directory>/spool/ */
	struct ch_bus_client
		*bus; /* of service "audit"; NULL for the audit daemon itself, which passes `deliver` */
	/* Instead of bus. *reply: made with CH_PROTO_NEW; left NULL: all are stored. */
	bool (*deliver)(void *state, const Chancery__AppendEventsRequest *request,
			Chancery__AppendEventsReply **reply, struct ch_error *err);
	void *deliver_state;
	struct ch_metrics *metrics;
	int64_t spool_cap; /* octets; 0: 256 MiB. A full spool refuses: CH_UNAVAILABLE */
};
/* Continues the spool of an earlier run. Where it is damaged, what is whole stays, the file is kept aside, no
 * number is used again, and an event "audit.spool-damaged" says which are missing. Starts the sending thread.
 */
CH_MUST_USE bool ch_audit_open(const struct ch_audit_options *options, struct ch_audit_client **client,
			       struct ch_error *err);
/* Sends what it can within drain_us; the rest stays in the spool. NULL is fine. */
void ch_audit_close(struct ch_audit_client *client, int64_t drain_us);

/* Returns when the event is on disk (fdatasync, shared between callers at the same time). Thread-safe. */
CH_MUST_USE bool ch_audit_record(struct ch_audit_client *client, const struct ch_audit_event *event,
				 struct ch_error *err);

/* For an event of what was done already and could not wait for it (a minute's count): takes from a room kept
 * back, on disk too, that ch_audit_able keeps others out of. On failure the caller keeps it and tries again.
 */
CH_MUST_USE bool ch_audit_record_owed(struct ch_audit_client *client, const struct ch_audit_event *event,
				      struct ch_error *err);
/* Whether an event could be recorded now, at the cost of one atomic load: asked before doing what is recorded
 * afterwards. CH_UNAVAILABLE: the spool is full, or cannot be written. */
CH_MUST_USE bool ch_audit_able(struct ch_audit_client *client, struct ch_error *err);

/* "daemon.started" or "daemon.stopped"; a failure is logged: no action waits for it. NULL client is fine. */
void ch_audit_lifecycle(struct ch_audit_client *client, const char *type);

/* For an action that is a database transaction: the encoded SignedEvent to insert into audit_outbox in that
 * transaction. */
CH_MUST_USE bool ch_audit_seal(struct ch_audit_client *client, const struct ch_audit_event *event,
			       struct ch_bytes *signed_event, struct ch_error *err);
/*
 * Sends outbox rows at once, without the spool: returns when the audit daemon has answered for each.
 * done[i]: it has the event, in its log or in quarantine, and the row can go; the others are to be sent again
 * later, and *err says why the first. A row that is no signed event is sent as it is, and quarantined. False:
 * none of those from the first whose done is false is known to be stored.
 */
CH_MUST_USE bool ch_audit_send(struct ch_audit_client *client, const struct ch_view *signed_events,
			       size_t count, bool *done, struct ch_error *err);

/* A ch_bus_refusal that records "bus.refused" events, at most 10 a second and sender in full, the rest summed
 * up in one event a second; state is the struct ch_audit_client. */
void ch_audit_bus_refusal(void *state, const struct ch_peer *sender, const struct ch_message *message_or_null,
			  const struct ch_error *why);

#endif
