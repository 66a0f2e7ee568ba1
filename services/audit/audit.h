/* SPDX-License-Identifier: Apache-2.0 */
/* audit.h: the audit daemon's parts and their prototypes. */
#ifndef AUDIT_H
#define AUDIT_H

#include "auditclient/auditclient.h"
#include "auditlog/auditlog.h"
#include "bus/bus.h"
#include "daemon/daemon.h"
#include "db/db.h"
#include "vaultclient/vaultclient.h"

#define EVENTS_PER_REQUEST 256

struct audit_config {
	struct ch_daemon_config common;
	int64_t checkpoint_interval_us;
	char *origin; /* first line of each checkpoint: names this log */
};
extern const struct ch_conf_schema audit_config_schema;

struct head;         /* head.c */
struct checkpointer; /* checkpoint.c */

/* What handlers and the checkpointer share. All members are set before threads start and thread-safe
 * themselves. */
struct audit {
	const struct audit_config *config;
	const struct ch_clock *clock;
	struct ch_daemon *daemon;
	struct ch_metrics *metrics;
	struct ch_identity *identity;
	struct ch_trust *trust;
	struct ch_db *db;
	struct ch_vault_client *vault;
	struct ch_audit_client *client; /* of this daemon's own events */
	struct head *head;
	struct ch_metric *appended, *repeated, *refused, *gaps, *size, *covered;
};

/* --- append.c: signed events become rows -------------------------------------------------------------------
 */
/* Verifies and appends; all of them or none. sender: who brings them, of whose service they must be. */
CH_MUST_USE bool audit_append(struct audit *audit, const struct ch_peer *sender,
			      const Chancery__AppendEventsRequest *request, uint64_t *log_size,
			      struct ch_error *err);
/* The way of the daemon's own events: `deliver` of the audit client. state is struct audit. */
bool audit_deliver_own(void *state, const Chancery__AppendEventsRequest *request, struct ch_error *err);

/* --- list.c
 * ------------------------------------------------------------------------------------------------- */
CH_MUST_USE bool audit_list(struct audit *audit, const char *tenant,
			    const Chancery__ListEventsRequest *request, Chancery__ListEventsReply *reply,
			    struct ch_error *err);

/* --- bus.c
 * -------------------------------------------------------------------------------------------------- */
CH_MUST_USE bool audit_bus_start(struct audit *audit, struct ch_bus_server **server, struct ch_error *err);

/* --- watch.c: what is odd about what arrives
 * ------------------------------------------------------------------ */
struct gap {
	char sender[100]; /* service/instance */
	uint64_t expected, found;
};
struct gaps {
	struct gap items[8]; /* of one request; more are one alert less */
	size_t count;
};
void watch_note_gap(struct gaps *gaps, const Chancery__Event *event, uint64_t expected);
/* After the commit: log, metric and an "audit.gap" event each. */
void watch_tell_gaps(struct audit *audit, const struct gaps *gaps);
/* The log's end is before what this instance has appended: an "audit.rewound" event. */
void watch_tell_rewound(struct audit *audit, uint64_t known, uint64_t found);

/* --- head.c: what this instance appended last, in memory and in CH_AUDIT_HEAD_FILE
 * ---------------------------- */
CH_MUST_USE bool head_open(const char *state_directory, struct head **head, struct ch_error *err);
void head_close(struct head *head);
/* Forward only. */
void head_advance(struct head *head, uint64_t log_size, const uint8_t hash[CH_AUDIT_HASH_SIZE]);
/* True where the log, now at log_size, lacks what was there: told once, and the file is not written any more.
 * *known receives what was. */
bool head_is_rewound(struct head *head, uint64_t log_size, const uint8_t hash[CH_AUDIT_HASH_SIZE],
		     uint64_t *known);

/* --- checkpoint.c
 * -------------------------------------------------------------------------------------------- */
CH_MUST_USE bool checkpoint_start(struct audit *audit, struct checkpointer **checkpointer,
				  struct ch_error *err);
/* Makes a last one where the log grew, then ends. NULL is fine. */
void checkpoint_stop(struct checkpointer *checkpointer);

/* --- store.c: all SQL
 * ----------------------------------------------------------------------------------------- */
struct log_head {
	uint64_t size;
	uint8_t hash[CH_AUDIT_HASH_SIZE];
};
struct new_event { /* borrowed */
	const Chancery__Event *event;
	struct ch_view encoded; /* the SignedEvent */
	char id[33];            /* hex of event_id */
};
/* Begins a transaction that alone may append until it ends, and reads the log's end. */
CH_MUST_USE bool store_lock_log(struct ch_db *db, struct ch_transaction **transaction, struct log_head *head,
				struct ch_error *err);
/* Sets known[i] where event i is in the log already. */
CH_MUST_USE bool store_find_known(struct ch_transaction *transaction, const struct new_event *events,
				  size_t count, bool *known, struct ch_error *err);
/* Appends in order and moves *head on. */
CH_MUST_USE bool store_append(struct ch_transaction *transaction, const struct new_event *events,
			      size_t count, struct log_head *head, struct ch_error *err);
/* The last sequence number of a sender, 0: none; and writes it. */
CH_MUST_USE bool store_sender_sequence(struct ch_transaction *transaction, const char *service,
				       const char *instance, uint64_t *sequence, struct ch_error *err);
CH_MUST_USE bool store_set_sender_sequence(struct ch_transaction *transaction, const char *service,
					   const char *instance, uint64_t sequence, struct ch_error *err);
CH_MUST_USE bool store_list(struct ch_db *db, const char *tenant, const Chancery__ListEventsRequest *request,
			    int64_t limit, struct ch_rows **rows, struct ch_error *err);
CH_MUST_USE bool store_head(struct ch_transaction *transaction, struct log_head *head, struct ch_error *err);
/* False and CH_CONFLICT: another instance is making one. */
CH_MUST_USE bool store_lock_checkpoints(struct ch_db *db, struct ch_transaction **transaction,
					struct ch_error *err);
CH_MUST_USE bool store_last_checkpoint(struct ch_transaction *transaction, uint64_t *log_size,
				       struct ch_error *err);
CH_MUST_USE bool store_checkpoint(struct ch_transaction *transaction, uint64_t log_size, const char *text,
				  const char *key_id, struct ch_view signature, struct ch_error *err);

#endif
