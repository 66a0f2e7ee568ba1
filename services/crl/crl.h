/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl.h: the CRL daemon. Each CA's full CRL (RFC 5280 §5) is made on schedule and on demand, by whichever
 * instance holds the CA's lease, and served from memory by every instance.
 *
 *   schedule.c  what is due at time t (pure)             generate.c  one CRL in numbered steps
 *   lease.c     who may make it                          publish.c   what is served, in memory
 *   store.c     every SQL statement                      upkeep.c    threads: follow, generate, send audit
 * events follow.c    the database's newest into memory        http.c      /crl/{ca}.crl, /ca/{ca}.cer bus.c
 * GenerateCrl, GetCrl                      libcommon/issuance/crl.c  TBSCertList, entry by entry
 */
#ifndef CHANCERY_CRL_H
#define CHANCERY_CRL_H

#include "auditclient/auditclient.h"
#include "bus/bus.h"
#include "crl.pb-c.h"
#include "daemon/daemon.h"
#include "db/db.h"
#include "http/http.h"
#include "issuance/crl.h"
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

/* The right to make one CA's CRL. It only saves work and orders who is first: what makes a number twice
 * impossible is the primary key of crls. Lost when it is not renewed in time. */
struct crl_lease {
	struct ch_db *db;
	int64_t ca_id;
	int64_t length_us;
	int64_t renewed_us; /* monotonic */
	char holder[96];    /* "<instance>/<random>": another for each taking */
};
/* Waits until it is free, up to wait_us; *lease stays NULL where another holds it still. The daemon stopping
 * ends the wait too. */
CH_MUST_USE bool crl_lease_take(struct crl *crl, int64_t ca_id, int64_t wait_us, struct crl_lease **lease,
				struct ch_error *err);
/* Call now and then: renews when a third of its length has passed. CH_UNAVAILABLE: it was lost. */
CH_MUST_USE bool crl_lease_renew(struct crl_lease *lease, struct ch_error *err);
void crl_lease_release(struct crl_lease *lease); /* NULL is fine */
CH_DEFINE_AUTO_POINTER(crl_lease, struct crl_lease, crl_lease_release)

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
CH_MUST_USE bool crl_store_take_lease(struct ch_db *db, int64_t ca_id, const char *holder, int64_t length_us,
				      bool *taken, struct ch_error *err);
CH_MUST_USE bool crl_store_end_lease(struct ch_db *db, int64_t ca_id, const char *holder,
				     struct ch_error *err);
/* At start: what an earlier run of this instance held is free at once. */
CH_MUST_USE bool crl_store_end_leases_of(struct ch_db *db, const char *instance, struct ch_error *err);

/* Fills in number, this_update, next_update, made_by; abandons what a lost holder had reserved. */
CH_MUST_USE bool crl_store_reserve(struct crl *crl, const struct crl_lease *lease, const struct crl_ca *ca,
				   const uint8_t *request_id, struct crl_record *record,
				   struct ch_error *err);
CH_MUST_USE bool crl_store_abandon(struct ch_db *db, const struct crl_ca *ca, uint64_t number,
				   struct ch_error *err);
/* Reads head of the revocation log first, so that all up to it is among the entries; then every entry. */
typedef bool (*crl_store_each)(void *context, const struct ch_crl_entry *entry, struct ch_error *err);
CH_MUST_USE bool crl_store_revoked(struct ch_db *db, const struct crl_ca *ca, int64_t *log_sequence,
				   crl_store_each each, bool (*batch)(void *context, struct ch_error *err),
				   void *context, struct ch_error *err);
/* One transaction: published, its audit event in the outbox, old DERs dropped. CH_UNAVAILABLE where the lease
 * was lost. */
CH_MUST_USE bool crl_store_publish(struct ch_db *db, const struct crl_lease *lease, const struct crl_ca *ca,
				   const struct crl_record *record, struct ch_view signed_event,
				   struct ch_error *err);

/* Hands up to 100 waiting events of this service to `send`; those are deleted when it succeeded. *sent: how
 * many. */
typedef bool (*crl_store_send)(void *context, const struct ch_view *signed_events, size_t count,
			       struct ch_error *err);
CH_MUST_USE bool crl_store_outbox(struct ch_db *db, crl_store_send send, void *context, size_t *sent,
				  struct ch_error *err);

/* --- publish.c: what is served --- */

/* A body with its validators; immutable, counted. */
struct crl_document {
	unsigned references; /* under the board's lock */
	struct crl_board *board;
	struct ch_bytes der;
	char etag[96];
	int64_t modified_us;
	int64_t fresh_until_us; /* when a newer one is expected */
};
/* One CA's public face. Borrowed views of the board under its lock. */
struct crl_board *crl_board_new(struct ch_metrics *metrics);
void crl_board_free(struct crl_board *board);
/* Puts a CA and its CRL up, unless a newer number is there already. record->der NULL: only the CA (no CRL
 * yet). */
void crl_board_put(struct crl_board *board, const struct crl_ca *ca, const struct crl_record *record);
/* Drops CAs that are not among those ids (retired and expired). */
void crl_board_keep(struct crl_board *board, const struct crl_states *states);
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

/* --- upkeep.c: follows, generates what is due, sends the outbox; each on a thread of its own. --- */
CH_MUST_USE bool crl_upkeep_start(struct crl *crl, struct ch_error *err);
void crl_upkeep_wake(struct crl *crl); /* there is something in the outbox */
void crl_upkeep_stop(struct crl *crl); /* after ch_daemon_wait returned */

/* --- bus.c, http.c --- */
CH_MUST_USE bool crl_bus_start(struct crl *crl, struct ch_identity *identity, struct ch_bus_server **server,
			       struct ch_error *err);
CH_MUST_USE bool crl_http_start(struct crl *crl, struct ch_http_server **server, struct ch_error *err);

/* --- validators.c (pure): conditional requests (RFC 9110 §13) --- */
void crl_http_date(int64_t time_us, char text[40]);
/* Is a copy with these validators still the current one? Header values may be NULL. */
bool crl_not_modified(const struct crl_document *document, const char *if_none_match,
		      const char *if_modified_since);

#endif
