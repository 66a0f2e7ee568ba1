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
struct signers;      /* signers.c */
struct waiting;      /* waiting.c */
struct checkpointer; /* checkpoint.c */

/* What handlers and the checkpointer share. All members are set before threads start and thread-safe
 * themselves. */
struct audit {
	const struct audit_config *config;
	const struct ch_clock *clock;
	struct ch_daemon *daemon;
	struct ch_metrics *metrics;
	struct ch_identity *identity;
	struct signers *signers;
	struct waiting *waiting;
	struct ch_db *db;
	struct ch_vault_client *vault;
	struct ch_audit_client *client; /* of this daemon's own events */
	struct head *head;
	struct ch_metric *appended, *repeated, *refused, *gaps, *size, *covered;
	struct ch_metric *quarantined, *later, *no_room;
};

/* --- signers.c: whose signature makes an event genuine --- */
/* today: borrowed, and outlives them. The retired ones are read beside system_ca_path when they are needed.
 */
struct signers *signers_new(struct ch_trust *today, const char *system_ca_path);
void signers_free(struct signers *signers); /* NULL is fine */
/* ch_audit_event_open by today's CAs or by a retired one. Thread-safe. */
CH_MUST_USE bool signers_event_open(struct signers *signers, const Chancery__SignedEvent *signed_event,
				    Chancery__Event **event, struct ch_error *err);

/* --- waiting.c: how long it is waited for a CA that is not known yet --- */
#define WAITING_PATIENCE (10 * CH_MINUTE)
struct waiting *waiting_new(void);
void waiting_free(struct waiting *waiting); /* NULL is fine */
/* May what this certificate signed be sent again? For WAITING_PATIENCE since it was first asked. Thread-safe.
 */
bool waiting_may(struct waiting *waiting, const uint8_t sha256[32], int64_t now_us);

/* --- judge.c: is it genuine? --- */
/* One event of a request. */
struct arrival {
	Chancery__EventFate fate;
	struct ch_error why;     /* why not in the log */
	Chancery__Event *event;  /* of one that is genuine; else NULL */
	struct ch_bytes encoded; /* the SignedEvent; or what its sender could not read as one */
};
void arrival_clear(struct arrival *arrival);
/* Fills all but the fates of what comes later. False: nothing can be said of it now (CH_INTERNAL). */
CH_MUST_USE bool judge(struct audit *audit, const struct ch_peer *sender,
		       const Chancery__SignedEvent *signed_event, struct arrival *arrival,
		       struct ch_error *err);

/* --- append.c: signed events become rows -------------------------------------------------------------------
 */
/*
 * Answers for each event of the request: stored, in quarantine, or to be sent again. sender: who brings them,
 * of whose service they must be. False: nothing is said of any of them, all are to be sent again
 * (CH_UNAVAILABLE), or the request is none (CH_INVALID). *reply: the caller frees it with ch_proto_free.
 */
CH_MUST_USE bool audit_append(struct audit *audit, const struct ch_peer *sender,
			      const Chancery__AppendEventsRequest *request,
			      Chancery__AppendEventsReply **reply, struct ch_error *err);
/* The way of the daemon's own events: `deliver` of the audit client. state is struct audit. */
bool audit_deliver_own(void *state, const Chancery__AppendEventsRequest *request,
		       Chancery__AppendEventsReply **reply, struct ch_error *err);

/* --- quarantine.c: what is not genuine is kept apart --- */
#define QUARANTINE_HOUR_EVENTS 1000 /* of one sender in an hour */
#define QUARANTINE_HOUR_OCTETS (4 * 1024 * 1024)
#define QUARANTINE_EVENTS      50000 /* of one sender in all */
#define QUARANTINE_OCTETS      (128 * 1024 * 1024)
/* Keeps those whose fate is the quarantine; one that finds no room is to be sent again. Tells of it by an
 * alert. */
CH_MUST_USE bool quarantine_keep(struct audit *audit, const struct ch_peer *sender, struct arrival *arrivals,
				 size_t count, struct ch_error *err);
/* Of `before` to `after` events of a sender in an hour: is it told? The first ten one by one, then each time
 * that they have doubled. Pure. */
bool quarantine_tells(uint64_t before, uint64_t after);
CH_MUST_USE bool quarantine_list(struct audit *audit, const Chancery__ListQuarantineRequest *request,
				 Chancery__ListQuarantineReply *reply, struct ch_error *err);

/* --- list.c
 * ------------------------------------------------------------------------------------------------- */
CH_MUST_USE bool audit_list(struct audit *audit, const char *tenant,
			    const Chancery__ListEventsRequest *request, Chancery__ListEventsReply *reply,
			    struct ch_error *err);

/* --- peers.c: who may send it what, and whom it calls --- */
extern const struct ch_bus_route audit_routes[];
extern const size_t audit_route_count;
extern const struct ch_bus_peer audit_peers[];
extern const size_t audit_peer_count;

/* --- bus.c
 * -------------------------------------------------------------------------------------------------- */
bool audit_handle_append(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err);
bool audit_handle_list(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err);
bool audit_handle_list_quarantine(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				  struct ch_error *err);
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
/* Rows of a service's outbox are missing (below 0: too many): an "audit.outbox-missing" event. */
void watch_tell_outbox(struct audit *audit, const char *service, int64_t missing);
/* What a request brought into quarantine, or could not for want of room: an "audit.quarantined" event. */
struct quarantined {
	const struct ch_peer *sender;
	const struct ch_error *why; /* of the first */
	uint64_t kept, refused;     /* of this request */
	uint64_t hour_kept, hour_refused;
	uint64_t last_id; /* of those that were kept */
};
void watch_tell_quarantined(struct audit *audit, const struct quarantined *quarantined);

/* --- outbox_watch.c: each service's outbox loses nothing unseen --- */
struct outbox_watch;
struct outbox_watch *outbox_watch_new(void);
void outbox_watch_free(struct outbox_watch *watch); /* NULL is fine */
/* Looks, and tells what is other than the last time. */
void outbox_watch_look(struct audit *audit, struct outbox_watch *watch);

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
	char digest[65];        /* hex of SHA-256 of `encoded` */
};
enum event_known {
	EVENT_NEW,
	EVENT_KNOWN,   /* this very event is in the log */
	EVENT_CLASHES, /* that sender has used its id for another event */
};
/* Begins a transaction that alone may append until it ends, and reads the log's end. */
CH_MUST_USE bool store_lock_log(struct ch_db *db, struct ch_transaction **transaction, struct log_head *head,
				struct ch_error *err);
/* How event i stands to one that has its sender and id: in another place of this array, or in the log. */
enum event_known new_event_compare(const struct new_event *event, const struct new_event *other);
CH_MUST_USE bool store_find_known(struct ch_transaction *transaction, const struct new_event *events,
				  size_t count, enum event_known *known, struct ch_error *err);
/* Appends in order and moves *head on. */
CH_MUST_USE bool store_append(struct ch_transaction *transaction, const struct new_event *events,
			      size_t count, struct log_head *head, struct ch_error *err);
/* The last sequence number of a sender, 0: none; and writes it. */
CH_MUST_USE bool store_sender_sequence(struct ch_transaction *transaction, const char *service,
				       const char *instance, uint64_t *sequence, struct ch_error *err);
CH_MUST_USE bool store_set_sender_sequence(struct ch_transaction *transaction, const char *service,
					   const char *instance, uint64_t sequence, struct ch_error *err);
/* Of each service that has an outbox: its name, how many of its events are missing. The caller frees *rows.
 */
CH_MUST_USE bool store_outbox_missing(struct ch_db *db, struct ch_rows **rows, struct ch_error *err);
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

/* --- store_quarantine.c --- */
struct quarantine_room { /* what a sender has */
	int64_t events, octets, hour_events, hour_octets, hour_refused;
};
struct quarantine_row { /* borrowed */
	const struct ch_error *why;
	struct ch_view octets;
};
/* Locks the sender's row until the transaction ends. */
CH_MUST_USE bool store_quarantine_room(struct ch_transaction *transaction, const struct ch_peer *sender,
				       struct quarantine_room *room, struct ch_error *err);
/* Inserts those that are not there yet, at most EVENTS_PER_REQUEST; counts them, and what was refused.
 * *kept, *last_id: of those inserted. */
CH_MUST_USE bool store_quarantine(struct ch_transaction *transaction, const struct audit *audit,
				  const struct ch_peer *sender, const struct quarantine_row *rows,
				  size_t count, struct quarantined *told, struct ch_error *err);
CH_MUST_USE bool store_list_quarantine(struct ch_db *db, uint64_t after_id, int64_t limit,
				       struct ch_rows **rows, struct ch_error *err);

#endif
