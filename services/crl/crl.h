/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl.h: the CRL daemon. Each CA's full CRL (RFC 5280 §5) is made on schedule and on demand, by whichever
 * instance holds the CA's lease, and served from memory by every instance.
 *
 *   schedule.c  what is due at time t (pure)    generate.c  one CRL in numbered steps
 *   lease.c     who may make it                 contain.c   what the last one had stays in it
 *   store.c     every SQL statement             publish.c   what is served, in memory
 *   follow.c    the database's newest there     upkeep.c    threads: follow, generate
 *   event.c     audit events of a list
 *   bus.c       GenerateCrl, GetCrl             http.c      /crl/{ca}.crl, /ca/{ca}.cer
 *   libcommon/issuance/crl.c: TBSCertList, entry by entry
 */
#ifndef CHANCERY_CRL_H
#define CHANCERY_CRL_H

#include "auditclient/auditclient.h"
#include "bus/bus.h"
#include "crl.pb-c.h"
#include "daemon/daemon.h"
#include "db/db.h"
#include "db/lease.h"
#include "http/http.h"
#include "issuance/crl.h"
#include "outbox/outbox.h"
#include "vaultclient/vaultclient.h"
#include "x509/x509.h"

#include <pthread.h>

struct crl_config {
	struct ch_daemon_config common;
	struct ch_http_config http;
	int64_t follow_interval_us;
	int64_t lease_us;
};
extern const struct ch_conf_schema crl_config_schema;

/* A CA as far as its CRLs need it. Owned strings and bytes. */
struct crl_ca {
	int64_t ca_id;
	char *tenant;
	char *name;
	char *key_id;
	const struct ch_algorithm *algorithm; /* NULL: one that this build does not know */
	struct ch_bytes subject_der;
	struct ch_bytes key_identifier;
	struct ch_bytes public_key_info;
	struct ch_bytes certificate_der;
	int64_t not_before_us;
	int64_t not_after_us;
	int64_t interval_us; /* a new CRL at least this often */
	int64_t validity_us; /* nextUpdate - thisUpdate */
};
void crl_ca_free(struct crl_ca *ca);
CH_DEFINE_AUTO_VALUE(crl_ca, struct crl_ca, crl_ca_free)

/* A row of the table crls. */
struct crl_record {
	uint64_t number; /* 0: none */
	int64_t this_update_us;
	int64_t next_update_us;
	int64_t log_sequence; /* revocation_log up to here is in it */
	uint64_t entries;
	bool scheduled;
	char made_by[64];
	struct ch_bytes der;
};
void crl_record_free(struct crl_record *record);
CH_DEFINE_AUTO_VALUE(crl_record, struct crl_record, crl_record_free)

/* A CA and its newest published CRL (number 0: none yet; without der). */
struct crl_state {
	struct crl_ca ca;
	struct crl_record newest;
};
struct crl_states {
	struct crl_state *items;
	size_t count;
};
void crl_state_free(struct crl_state *state);
CH_DEFINE_AUTO_VALUE(crl_state, struct crl_state, crl_state_free)
void crl_states_free(struct crl_states *states);
CH_DEFINE_AUTO_VALUE(crl_states, struct crl_states, crl_states_free)

struct crl_board;  /* publish.c: what is served */
struct crl_upkeep; /* upkeep.c: the threads */

/* The daemon's dependencies: filled by main(), read by everybody, changed by nobody afterwards. */
struct crl {
	const struct crl_config *config;
	const struct ch_clock *clock;
	struct ch_daemon *daemon;
	struct ch_db *db;
	struct ch_vault_client *vault;
	struct ch_audit_client *audit;
	struct ch_outbox *outbox;
	struct crl_board *board;
	struct crl_upkeep *upkeep;
	struct ch_metrics *metrics;
};

/* --- schedule.c --- */

/* When the CA's next CRL is to be made; INT64_MAX: never again (its certificate has expired). A CRL that is
 * due was due at once where none exists. */
int64_t crl_due_at(const struct crl_ca *ca, const struct crl_record *newest);
/* How long to wait after `failures` failures in a row before trying again. */
int64_t crl_retry_delay(unsigned failures);
/* thisUpdate of a new CRL: now, in whole seconds, but never before the last one's. */
int64_t crl_this_update(int64_t now_us, const struct crl_record *newest);

/* --- lease.c --- */

/*
 * The right to make one CA's CRL. What makes a number twice impossible is the primary key of crls. Waits
 * until it is free, up to wait_us; *lease stays NULL where another holds it still. The daemon stopping ends
 * the wait too.
 */
CH_MUST_USE bool crl_lease_take(struct crl *crl, int64_t ca_id, int64_t wait_us, struct ch_lease **lease,
				struct ch_error *err);

/* --- generate.c --- */

struct crl_demand {
	const char *actor;         /* who asked; NULL: the schedule */
	const uint8_t *request_id; /* 16 octets; NULL: the schedule */
	const char *message_id;    /* hex, for the audit event */
	const char *trace_id;
	int64_t wait_us; /* for the lease */
};
/*
 * Makes, signs and publishes the next CRL of a CA. On schedule (demand NULL): does nothing, with success,
 * where it is not due any more. A demand with a request id seen before gives what that made.
 *
 * made    receives the record with its DER; the caller frees it. May be NULL
 * Errors  CH_UNAVAILABLE lease, vault or database; the number that was reserved is abandoned and not used
 * again Source  RFC 5280 §5.1, §5.2.3
 */
CH_MUST_USE bool crl_generate(struct crl *crl, const struct crl_ca *ca, const struct crl_demand *demand,
			      struct crl_record *made, struct ch_error *err);

/* --- contain.c: CRL n+1 has the entries of CRL n but for those that may leave --- */

#define CRL_KEPT_NAMED 20 /* serials of kept entries that an event names */
/* The list that is being made. */
struct crl_list {
	struct ch_crl_builder builder;
	struct crl_serial *listed; /* what is in it, where there is a list before; sorted by crl_contain */
	size_t count, room;
	uint64_t kept; /* entries that stay though the log does not, or not any more, say "revoked" */
	struct ch_buffer kept_serials; /* hex, the first CRL_KEPT_NAMED of them */
	struct ch_error unreadable;    /* why the list before could not be held against it; or no message */
};
CH_MUST_USE bool crl_list_add(struct crl_list *list, const struct ch_crl_entry *entry, struct ch_error *err);
void crl_list_free(struct crl_list *list);
CH_DEFINE_AUTO_VALUE(crl_list, struct crl_list, crl_list_free)

/* What goes into making one list. */
struct crl_making {
	struct crl *crl;
	const struct crl_ca *ca;         /* borrowed */
	const struct crl_demand *demand; /* borrowed; NULL: the schedule */
	struct ch_lease *lease;
	struct crl_record previous; /* number 0: none */
	struct crl_list list;
};
void crl_making_free(struct crl_making *making);
CH_DEFINE_AUTO_VALUE(crl_making, struct crl_making, crl_making_free)

/* The newest list that this instance or the database knows (number 0: none), whichever is newer: a database
 * that was set back does not know what was published since. */
CH_MUST_USE bool crl_previous(struct crl *crl, const struct crl_ca *ca, struct crl_record *previous,
			      struct ch_error *err);
/*
 * Adds to the list those entries of the one before that are not in it and may not leave. An entry may leave
 * where the log says that the hold was lifted, or where it was on a scheduled list beyond its certificate's
 * end (RFC 5280 §3.3). What the log does not know, and a revocation that it has turned into something else,
 * stay.
 */
CH_MUST_USE bool crl_contain(struct crl_making *making, struct ch_error *err);

/* --- event.c: sealed for the transaction that publishes --- */
struct crl_events { /* encoded SignedEvents; owned */
	struct ch_bytes items[2];
	size_t count;
};
void crl_events_free(struct crl_events *events);
CH_DEFINE_AUTO_VALUE(crl_events, struct crl_events, crl_events_free)
CH_MUST_USE bool crl_event_published(const struct crl_making *making, const struct crl_record *record,
				     struct crl_events *events, struct ch_error *err);
/* None where all entries of the list before are in it, or may leave. */
CH_MUST_USE bool crl_event_contained(struct crl_making *making, const struct crl_record *record,
				     struct crl_events *events, struct ch_error *err);

/* --- store.c --- */

CH_MUST_USE bool crl_store_states(struct ch_db *db, struct crl_states *states, struct ch_error *err);
/* CH_NOT_FOUND. `state` is filled with CH_NONE-initialised members. */
CH_MUST_USE bool crl_store_find(struct ch_db *db, const char *tenant, const char *name,
				struct crl_state *state, struct ch_error *err);
CH_MUST_USE bool crl_store_read(struct ch_db *db, int64_t ca_id, uint64_t number, struct crl_record *record,
				struct ch_error *err);
/* number 0 where no CRL was made for that request. */
CH_MUST_USE bool crl_store_of_request(struct ch_db *db, int64_t ca_id, const uint8_t request_id[16],
				      struct crl_record *record, struct ch_error *err);
extern const struct ch_lease_table crl_leases;

/* Fills in number, this_update, next_update, made_by: above those that are there on entry, and those of the
 * database. Abandons what a lost holder had reserved. */
CH_MUST_USE bool crl_store_reserve(struct crl *crl, const struct ch_lease *lease, const struct crl_ca *ca,
				   const uint8_t *request_id, struct crl_record *record,
				   struct ch_error *err);
CH_MUST_USE bool crl_store_abandon(struct ch_db *db, const struct crl_ca *ca, uint64_t number,
				   struct ch_error *err);
/* Reads head of the revocation log first, so that all up to it is among the entries; then every entry. */
CH_MUST_USE bool crl_store_revoked(struct ch_db *db, const struct crl_ca *ca, int64_t *log_sequence,
				   ch_crl_each each, bool (*batch)(void *context, struct ch_error *err),
				   void *context, struct ch_error *err);
enum crl_action { CRL_NOT_KNOWN, CRL_REVOKED /* or suspended */, CRL_REINSTATED };
struct crl_standing {
	enum crl_action action;
	bool over; /* was on a scheduled list beyond its end */
};
/* What the revocation log says of each serial (hex) now. */
CH_MUST_USE bool crl_store_standings(struct ch_db *db, const struct crl_ca *ca, const char *const *serials,
				     size_t count, struct crl_standing *standings, struct ch_error *err);

/* One transaction: published, its audit events in the outbox, old DERs dropped. CH_UNAVAILABLE where the
 * lease was lost. */
CH_MUST_USE bool crl_store_publish(struct ch_db *db, const struct ch_lease *lease, const struct crl_ca *ca,
				   const struct crl_record *record, const struct crl_events *events,
				   struct ch_error *err);

/* --- publish.c: what is served --- */

/* A body with its validators; immutable, counted. */
struct crl_document {
	unsigned references; /* under the board's lock */
	struct crl_board *board;
	struct ch_bytes der;
	char etag[96];
	int64_t modified_us;
	int64_t fresh_until_us;   /* when a newer one is expected, or this one ends */
	int64_t longest_fresh_us; /* and no longer than this from any moment on */
};
/* One CA's public face. Borrowed views of the board under its lock. */
struct crl_board *crl_board_new(struct ch_metrics *metrics);
void crl_board_free(struct crl_board *board);
/* Puts a CA and its CRL up, unless a newer number is there already. record->der NULL: only the CA (no CRL
 * yet). */
void crl_board_put(struct crl_board *board, const struct crl_ca *ca, const struct crl_record *record);
/* Drops CAs that are not among those ids (retired and expired). */
void crl_board_keep(struct crl_board *board, const struct crl_states *states);
/* A copy of the list that is up, without what only the database knows; number 0 where there is none. */
void crl_board_newest(struct crl_board *board, int64_t ca_id, struct crl_record *record);
/* Is this CA up with this very certificate and this number or a newer one? */
bool crl_board_is_current(struct crl_board *board, const struct crl_ca *ca, uint64_t number);
enum crl_document_kind { CRL_DOCUMENT_CRL, CRL_DOCUMENT_CERTIFICATE };
/* *known: is there such a CA? The document is NULL where there is none (yet); release what you get. */
struct crl_document *crl_board_get(struct crl_board *board, const char *name, enum crl_document_kind kind,
				   bool *known);
void crl_document_release(void *document);
/* Age and time to the next update change by themselves. */
void crl_board_measure(struct crl_board *board, int64_t now_us);
CH_DEFINE_AUTO_POINTER(crl_board, struct crl_board, crl_board_free)

/* --- follow.c: brings the board up to what the database has; the states are for the scheduler (the caller
 * frees them). */
CH_MUST_USE bool crl_follow(struct crl *crl, struct crl_states *states, struct ch_error *err);

/* --- upkeep.c: follows, and generates what is due; each on a thread of its own. --- */
CH_MUST_USE bool crl_upkeep_start(struct crl *crl, struct ch_error *err);
void crl_upkeep_stop(struct crl *crl); /* after ch_daemon_wait returned */

/* --- peers.c: who may ask it for what, and whom it calls --- */
extern const struct ch_bus_route crl_routes[];
extern const size_t crl_route_count;
extern const struct ch_bus_peer crl_peers[];
extern const size_t crl_peer_count;

/* --- bus.c, http.c --- */
bool crl_handle_generate(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err);
bool crl_handle_get(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		    struct ch_error *err);
CH_MUST_USE bool crl_bus_start(struct crl *crl, struct ch_identity *identity, struct ch_bus_server **server,
			       struct ch_error *err);
CH_MUST_USE bool crl_http_start(struct crl *crl, struct ch_http_server **server, struct ch_error *err);

/* --- validators.c (pure): conditional requests (RFC 9110 §13), and how long a copy is fresh --- */
/* Seconds that a cache may keep the document from now on: never past its nextUpdate or notAfter. */
int64_t crl_max_age(const struct crl_document *document, int64_t now_us);
/* Is a copy with these validators still the current one? Header values may be NULL. */
bool crl_not_modified(const struct crl_document *document, const char *if_none_match,
		      const char *if_modified_since);

#endif
