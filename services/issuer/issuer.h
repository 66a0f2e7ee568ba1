/* SPDX-License-Identifier: Apache-2.0 */
/*
 * issuer.h: the certificate authority. main.c wires; peers.c says which message goes where;
 * libcommon/issuance holds the pure parts.
 *
 * A request to issue goes issue.c → policy.c → template.c → lint.c → store.c (commit 1: pending) → finish.c
 * (vault signs, signature verified, commit 2: issued with its audit event). recovery.c takes up what a crash
 * left between the two.
 */
#ifndef ISSUER_H
#define ISSUER_H

#define ISSUER_SANS_CAP 1000 /* subject alternative names of one request */

#include "auditclient/auditclient.h"
#include "bus/bus.h"
#include "daemon/daemon.h"
#include "db/db.h"
#include "db/lease.h"
#include "outbox/outbox.h"
#include "issuer.pb-c.h"
#include "issuance/issuance.h"
#include "vaultclient/vaultclient.h"
#include "x509/serial.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- configuration (config.c)
 * ---------------------------------------------------------------------------------------- */
struct issuer_config {
	struct ch_daemon_config common;
	int64_t sign_timeout_us;
	int64_t takeover_us;
	int64_t recovery_interval_us;
	int64_t recovery_age_us;
	int64_t recovery_give_up_us;
	int64_t renewal_interval_us;
	int64_t partitions_ahead;
	int64_t outbox_interval_us;
};
extern const struct ch_conf_schema issuer_config_schema;

struct ch_identities; /* libcommon/identities */

/* --- the daemon's dependencies; set once by main.c before any thread starts, then only read
 * --------------------------- */
struct issuer {
	const struct issuer_config *config;
	struct ch_daemon *daemon;
	const struct ch_clock *clock;
	struct ch_metrics *metrics;
	struct ch_identity *identity;
	struct ch_db *db;
	struct ch_bus_peers *peers;
	struct ch_bus_client *vault_bus, *audit_bus; /* of peers */
	struct ch_vault_client *vault;
	struct ch_audit_client *audit;
	struct ch_bus_server *server;
	struct ch_identities *identities;
	struct issuer_cache *cache;
	struct ch_readiness *partitions_ready, *signers_ready;
	struct ch_health *health;
	int64_t started_at_us;
	atomic_bool partitions_wanted, signers_wanted; /* upkeep_want */
	pthread_t upkeep_thread, signers_thread;
	bool upkeep_runs, signers_run;
	struct ch_outbox *outbox;
};

/* Who may ask it for what, and whom it calls (peers.c). */
extern const struct ch_bus_route issuer_routes[];
extern const size_t issuer_route_count;
extern const struct ch_bus_peer issuer_peers[];
extern const size_t issuer_peer_count;

/* --- small shared steps (request.c, reply.c, audit.c)
 * ----------------------------------------------------------------- */
/* CH_DENIED unless the requester has the role; the gateway checked already. CH_INVALID without a client name.
 */
CH_MUST_USE bool require_role(const Chancery__Requester *requester, const char *role, struct ch_error *err);
bool has_role(const Chancery__Requester *requester, const char *role);
/* The message's tenant; CH_INVALID where it has none. */
CH_MUST_USE bool request_tenant(const struct ch_bus_request *request, const char **tenant,
				struct ch_error *err);
/* What is left until the caller gives up, at most `limit_us`. */
int64_t time_left(const struct issuer *issuer, const struct ch_bus_request *request, int64_t limit_us);
/* Adds 1 to chancery_issuer_<name>_total{<labels>}. */
void count(const struct issuer *issuer, const char *name, const char *help, const char *labels_format, ...)
	CH_PRINTF(4, 5);

/* An event of this service, ready for the outbox. Details end with a NULL name. */
struct event {
	const char *type, *outcome, *tenant, *actor, *subject, *message_id, *trace_id;
	struct ch_audit_detail details[8];
};
CH_MUST_USE bool event_seal(struct issuer *issuer, const struct event *event, struct ch_bytes *sealed,
			    struct ch_error *err);

/* --- rows (store.c, store_catalog.c, store_signers.c: every SQL statement of the issuer)
 * ------------------------------------------------ */
struct certificate_row {
	int32_t expiry_period;
	int64_t ca_id;
	struct ch_bytes serial;
	char *status;
	char *profile;
	int32_t profile_version;
	char *subject;
	char *sans_json; /* [{"type":"dns","value":"…"}] */
	int64_t not_before_us, not_after_us, created_at_us;
	struct ch_bytes tbs; /* while pending */
	struct ch_bytes der;
	char *requested_by;
	char *cancelled_reason;
	int64_t reserved_at_us;
	int64_t revoked_at_us;
	int64_t invalidity_date_us;
	int revocation_reason; /* -1: none */
	struct ch_bytes public_key_sha256;
};
void certificate_row_free(struct certificate_row *row);
CH_DEFINE_AUTO_VALUE(certificate_row, struct certificate_row, certificate_row_free)

/* What is known at a request's begin, in one round trip. */
struct lookup {
	bool repeated; /* this idempotency key was seen: the members up to `serial` say what it made */
	uint8_t request_sha256[32];
	int32_t expiry_period;
	int64_t ca_id;
	struct ch_bytes serial;
	int32_t profile_version; /* 0: no such profile */
	char *catalog_version;   /* changes with every change of the tenant's CAs */
};
void lookup_free(struct lookup *lookup);
CH_DEFINE_AUTO_VALUE(lookup, struct lookup, lookup_free)
CH_MUST_USE bool store_lookup(struct ch_db *db, const char *tenant, const char *client,
			      const char *idempotency_key, const char *profile, struct lookup *lookup,
			      struct ch_error *err);

struct reservation {
	const char *tenant, *client, *idempotency_key;
	struct ch_view request_sha256;
	int32_t expiry_period;
	int64_t ca_id;
	struct ch_view serial;
	const char *profile;
	int32_t profile_version;
	const char *subject, *sans_json, *san_text;
	struct ch_view public_key_sha256;
	int64_t not_before_us, not_after_us;
	struct ch_view tbs;
	const char *reserved_by;
	int64_t reserved_at_us;
};
/* Commit 1 of 2. *reserved false: the public key is known to be compromised (*blocked), or another request
 * with this idempotency key was first (it has committed). */
CH_MUST_USE bool store_reserve(struct ch_transaction *transaction, const struct reservation *reservation,
			       bool *reserved, bool *blocked, struct ch_error *err);
/* Commit 2 of 2, with its audit event. *saved false: the row is pending no more. */
CH_MUST_USE bool store_issued(struct ch_transaction *transaction, int32_t expiry_period, int64_t ca_id,
			      struct ch_view serial, struct ch_view der, int64_t issued_at_us,
			      struct ch_view event, bool *saved, struct ch_error *err);
CH_MUST_USE bool store_cancelled(struct ch_transaction *transaction, int32_t expiry_period, int64_t ca_id,
				 struct ch_view serial, const char *reason, struct ch_view event, bool *saved,
				 struct ch_error *err);
/* CH_NOT_FOUND. for_update: holds the row until the transaction ends. */
CH_MUST_USE bool store_find(struct ch_transaction *transaction, int32_t expiry_period, int64_t ca_id,
			    struct ch_view serial, bool for_update, struct certificate_row *row,
			    struct ch_error *err);
/* The newest row that is pending for this key under this CA and profile. */
CH_MUST_USE bool store_find_pending_of_key(struct ch_transaction *transaction, int64_t ca_id,
					   const char *profile, struct ch_view public_key_sha256, bool *found,
					   struct certificate_row *row, struct ch_error *err);
struct pending_place {
	int64_t reserved_at_us;
	struct ch_view serial; /* of those that were reserved in that microsecond */
};
/* The oldest pending row after `after`, reserved by `instance` before `started_us` or by anyone before
 * `before_us`. *found false: none. */
CH_MUST_USE bool store_next_pending(struct ch_transaction *transaction, const char *instance,
				    int64_t started_us, int64_t before_us, const struct pending_place *after,
				    bool *found, struct certificate_row *row, struct ch_error *err);

struct status_change {
	int32_t expiry_period;
	int64_t ca_id;
	struct ch_view serial;
	const char *old_status, *new_status, *log_action;
	int reason;   /* in the log */
	bool revoked; /* false: the row's revocation columns become NULL */
	int64_t revoked_at_us;
	int64_t invalidity_date_us;
	struct ch_view event;
};
/* Row, revocation_log (in order of commit) and audit event in the caller's transaction, which must commit at
 * once: the log's head is locked from here on. */
CH_MUST_USE bool store_change_status(struct ch_transaction *transaction, const struct status_change *change,
				     struct ch_error *err);

struct listing {
	const char *status, *subject, *san, *profile; /* NULL: any */
	int64_t expires_before_us;                    /* 0: any */
	int64_t ca_id;                                /* 0: any */
	int64_t cursor_created_us;                    /* 0: from the newest */
	struct ch_view cursor_serial;
	int32_t limit;
};
/* Newest first. The caller frees *rows and what each holds. */
CH_MUST_USE bool store_list(struct ch_transaction *transaction, const char *tenant,
			    const struct listing *listing, struct certificate_row **rows, size_t *count,
			    struct ch_error *err);

/* CAs. What changes whenever a tenant's CAs or their keys' states do; $1 is the tenant. */
#define STORE_CATALOG_VERSION                                                                              \
	"coalesce(md5(string_agg(c.ca_id || c.state || c.state_reason || k.state || k.policy_version || "  \
	"(k.compromised_at IS NOT NULL) || encode(c.document_sha256, 'hex') || md5(c.tbs_certificate) || " \
	"coalesce(md5(c.certificate_der), ''), ',' ORDER BY c.ca_id)), '')"                                \
	" FROM cas c JOIN keys k ON k.key_id = c.key_id WHERE c.tenant_id = $1"
CH_MUST_USE bool store_catalog_version(struct ch_transaction *transaction, const char *tenant, char **version,
				       struct ch_error *err);
CH_MUST_USE bool store_load_cas(struct ch_transaction *transaction, const char *tenant, struct ch_ca **cas,
				size_t *count, struct ch_error *err);
/* Is this document stored under this name already? *found with its id. */
CH_MUST_USE bool store_same_ca(struct ch_transaction *transaction, const char *tenant, const char *name,
			       struct ch_view document_sha256, bool *found, struct ch_error *err);
/* Inserts, or replaces what is still pending. *saved false: an active CA has the name. CH_CONFLICT: another
 * tenant's has. */
CH_MUST_USE bool store_prepare_ca(struct ch_transaction *transaction, const char *tenant,
				  const struct ch_ca *ca, const char *document,
				  struct ch_view document_sha256, struct ch_view event, bool *saved,
				  struct ch_error *err);
/* *saved false: it is pending no more, or has another TBS by now. */
CH_MUST_USE bool store_activate_ca(struct ch_transaction *transaction, const struct ch_ca *ca,
				   struct ch_view der, struct ch_view serial,
				   struct ch_view public_key_sha256, const char *requested_by,
				   const char *instance, int64_t now_us, struct ch_view event, bool *saved,
				   struct ch_error *err);
/* How many certificates each CA has issued, as kept in certificate_counts: one statement for all (ca_id 0) or
 * one. CAs that issued none are left out. */
struct issued_counts {
	struct issued_count {
		int64_t ca_id;
		uint64_t issued;
	} * items;
	size_t count;
};
CH_MUST_USE bool store_count_issued(struct ch_transaction *transaction, const char *tenant, int64_t ca_id,
				    struct issued_counts *counts, struct ch_error *err);
uint64_t issued_by(const struct issued_counts *counts, int64_t ca_id);
void issued_counts_free(struct issued_counts *counts);
CH_DEFINE_AUTO_VALUE(issued_counts, struct issued_counts, issued_counts_free)

/* profiles */
struct profile_row {
	char *name;
	int32_t version;
	char *kind;
	char *document;
	int64_t applied_at_us;
};
void profile_row_free(struct profile_row *row);
CH_DEFINE_AUTO_VALUE(profile_row, struct profile_row, profile_row_free)
/* version 0: the newest. CH_NOT_FOUND. */
CH_MUST_USE bool store_load_profile(struct ch_transaction *transaction, const char *tenant, const char *name,
				    int32_t version, struct profile_row *row, struct ch_error *err);
CH_MUST_USE bool store_list_profiles(struct ch_transaction *transaction, const char *tenant,
				     struct profile_row **rows, size_t *count, struct ch_error *err);
/* CH_CONFLICT, retryable: another issuer stored this version at the same moment. */
CH_MUST_USE bool store_apply_profile(struct ch_transaction *transaction, const char *tenant,
				     const struct profile_row *row, const char *applied_by,
				     struct ch_view event, struct ch_error *err);

/* the suite's own signers (store_signers.c) */
/* Rows (tenant, signers of which no certificate may sign, certificates whose stopping or resuming was not
 * told): tenants that have either. The caller frees *rows. */
CH_MUST_USE bool store_watch_signers(struct ch_db *db, struct ch_rows **rows, struct ch_error *err);
struct signer_life {           /* one kind of signer of one CA */
	int64_t made;          /* certificates that it had */
	int64_t not_before_us; /* of the newest of them that may sign; 0: there is none */
	int64_t not_after_us;
	char *ca_obstacle; /* why the CA may not certify another; NULL: it may */
};
CH_MUST_USE bool store_signer_life(struct ch_transaction *transaction, const char *kind, int64_t ca_id,
				   struct signer_life *life, struct ch_error *err);
struct signer_change { /* borrowed from a row of store_untold_signers */
	const char *kind;
	int64_t ca_id;
	const char *ca_name, *key_id;
	struct ch_view serial;
	int64_t not_before_us;
	const char *obstacle; /* why it may not sign; "": it may again */
};
/* Rows in the order of struct signer_change's members. The caller frees *rows. */
CH_MUST_USE bool store_untold_signers(struct ch_transaction *transaction, const char *tenant,
				      struct ch_rows **rows, struct ch_error *err);
/* Marks it as told, with its audit event. */
CH_MUST_USE bool store_told_signer(struct ch_transaction *transaction, const struct signer_change *change,
				   struct ch_view event, struct ch_error *err);
CH_MUST_USE bool store_service_certificate(struct ch_transaction *transaction, const char *tenant,
					   const char *kind, int64_t ca_id, const char *key_id,
					   const struct certificate_row *row, struct ch_error *err);
/* Is another CA than `name` stated to be the default timestamp authority? *other: its name, "" where it is
 * another tenant's; the caller frees it. */
CH_MUST_USE bool store_timestamp_default(struct ch_transaction *transaction, const char *tenant,
					 const char *name, bool *found, char **other, struct ch_error *err);
/* What one issuer at a time does: "recovery/TENANT", "signers/TENANT", "ocsp/CA", "tsa/CA" (CA: its
 * number). */
extern const struct ch_lease_table issuer_leases;

/* upkeep */
CH_MUST_USE bool store_tenants(struct ch_db *db, char ***tenants, size_t *count, struct ch_error *err);
CH_MUST_USE bool store_ensure_partitions(struct ch_db *db, int first, int last, int *made,
					 struct ch_error *err);
/* --- what is known of CAs and profiles, kept by version (cache.c)
 * -------------------------------------------------------- */
struct ca_set { /* immutable */
	char *tenant;
	char *version;
	struct ch_ca *items;
	size_t count;
	int references; /* guarded by the cache's lock */
};
struct issuer_cache *cache_new(void);
void cache_free(struct issuer_cache *cache);
/* version NULL: asks the database for it. The caller gives it back with catalog_release. */
CH_MUST_USE bool catalog_get(struct issuer *issuer, const char *tenant, const char *version,
			     struct ca_set **set, struct ch_error *err);
void catalog_release(struct issuer *issuer, struct ca_set *set); /* NULL is fine */
CH_MUST_USE bool profile_get(struct issuer *issuer, const char *tenant, const char *name, int32_t version,
			     struct ch_profile **profile, struct ch_error *err);
void profile_release(struct issuer *issuer, struct ch_profile *profile); /* NULL is fine */

const struct ch_ca *catalog_find(const struct ca_set *set, const char *name); /* NULL: none */
const struct ch_ca *catalog_by_id(const struct ca_set *set, int64_t id);
/* Whose tag is in the serial: NULL, none of these CAs made it. */
const struct ch_ca *catalog_by_serial(const struct ca_set *set, struct ch_view serial);
/* Now, by its own state, its key's, its validity and all that of those above it: CH_CONFLICT says why not. */
CH_MUST_USE bool catalog_issues(const struct issuer *issuer, const struct ca_set *set, const struct ch_ca *ca,
				struct ch_error *err);
/* The CA that a request names, or the only one that may use the profile; one that issues. */
CH_MUST_USE bool catalog_choose(const struct issuer *issuer, const struct ca_set *set,
				const struct ch_profile *profile, const char *name, const struct ch_ca **ca,
				struct ch_error *err);
/* Hex, upper or lower case, to octets. CH_NOT_FOUND where no CA of the set can have made it. */
CH_MUST_USE bool catalog_parse_serial(const struct ca_set *set, const char *text, struct ch_bytes *serial,
				      const struct ch_ca **ca, struct ch_error *err);

/* --- a certificate on its way (candidate.c)
 * ------------------------------------------------------------------------------ */
struct candidate {
	/* borrowed, set by the caller */
	const char *tenant, *client, *idempotency_key;
	const uint8_t *request_sha256; /* 32 octets */
	const struct ch_profile *profile;
	const struct ch_ca *ca;
	struct ch_order order;
	/* made by candidate_build */
	uint8_t serial[CH_SERIAL_SIZE];
	struct ch_bytes tbs;
	struct ch_lint_token lint;
};
void candidate_free(struct candidate *candidate);
CH_DEFINE_AUTO_VALUE(candidate, struct candidate, candidate_free)
CH_MUST_USE bool candidate_build(struct candidate *candidate, struct ch_error *err);
CH_MUST_USE bool candidate_reserve(struct issuer *issuer, const struct candidate *candidate, bool *reserved,
				   struct ch_error *err);

/* --- from pending to issued or cancelled (finish.c)
 * ----------------------------------------------------------------------- */
struct pending {
	const char *tenant;
	const struct ch_ca *ca;
	const char *profile;
	int32_t expiry_period;
	struct ch_view serial, tbs;
	struct ch_lint_token *lint;
	const char *requested_by;
	const struct ch_log_scope *scope; /* may be NULL */
	int64_t timeout_us;
	bool was_signed;   /* by finish_pending: the vault has signed, whatever came then */
	bool asked_before; /* the vault may have been asked for these bytes, and have signed them */
};
/*
 * Signs, verifies what the vault answered, and stores in a transaction of its own, which begins after the
 * vault has answered. A row that somebody else finished meanwhile is no error.
 * Errors  of origin CH_ORIGIN_ITEM: the vault refused these bytes, and the row is cancelled, or revoked where
 * it was asked before. All others (retryable, where the vault was asked): the row stays pending, because the
 * vault may have signed.
 */
CH_MUST_USE bool finish_pending(struct issuer *issuer, struct pending *pending, struct ch_error *err);
/* Revokes a row that is still pending and that nobody waits for: the vault may have signed its bytes, so the
 * certificate may exist. `why` is for the audit event. */
CH_MUST_USE bool finish_give_up(struct issuer *issuer, const struct pending *pending, const char *why,
				struct ch_error *err);
/* Checks a signature with the CA's key and assembles the certificate: nothing unverified leaves the issuer.
 */
CH_MUST_USE bool assemble_verified(const struct ch_algorithm *algorithm, struct ch_view public_key_info,
				   struct ch_view tbs, struct ch_view signature, struct ch_bytes *der,
				   struct ch_error *err);
/* `row` as pending, to be given up: not linted. */
struct pending pending_from_row(const char *tenant, const struct certificate_row *row,
				const struct ch_ca *ca);
/* `row` as pending; `profile` (its version) and `ca` are the row's. Lints the stored bytes anew. */
CH_MUST_USE bool pending_of_row(const char *tenant, const struct certificate_row *row, const struct ch_ca *ca,
				const struct ch_profile *profile, struct ch_lint_token *lint,
				struct pending *pending, struct ch_error *err);

/* --- replies (reply.c)
 * ----------------------------------------------------------------------------------------------------- */
Chancery__Certificate *certificate_message(const struct certificate_row *row, const struct ca_set *set,
					   bool with_chain);
ProtobufCMessage *certificate_reply(const struct certificate_row *row, const struct ca_set *set,
				    bool repeated);
Chancery__Ca *ca_message(const struct issuer *issuer, const struct ch_ca *ca, const struct ca_set *set,
			 uint64_t issued);
char *sans_to_json(const struct ch_sans *sans);
char *sans_to_text(const struct ch_sans *sans); /* values joined by newlines */

/* --- bus handlers
 * ------------------------------------------------------------------------------------------------------------
 */
bool issuer_issue(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		  struct ch_error *err);
bool issuer_change_status(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err);
bool issuer_get_certificate(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			    struct ch_error *err);
bool issuer_list_certificates(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			      struct ch_error *err);
bool issuer_prepare_ca(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err);
bool issuer_approve_ca(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err);
bool issuer_get_ca(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		   struct ch_error *err);
bool issuer_list_cas(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		     struct ch_error *err);
bool issuer_apply_profile(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err);
bool issuer_list_profiles(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err);

/* --- upkeep (upkeep.c runs them on a thread of its own; signers.c has another)
 * -------------------------------------------------- */
CH_MUST_USE bool upkeep_start(struct issuer *issuer, struct ch_error *err);
void upkeep_stop(struct issuer *issuer); /* after the daemon is stopping: joins the threads */
/* A CA or a profile changed: look after partitions and signers now. */
void upkeep_want(struct issuer *issuer);
/* How many were finished, revoked and left. */
struct recovered {
	unsigned issued, given_up, left;
};
CH_MUST_USE bool recover_pending(struct issuer *issuer, const char *tenant, struct recovered *recovered,
				 struct ch_error *err);
/* signers.c: the thread that watches the suite's own signers. */
void *signers_watch(void *issuer);
/* responders.c: makes what is due. The error is the first one's; the others were tried too. */
CH_MUST_USE bool renew_signers(struct issuer *issuer, const char *tenant, struct ch_error *err);
/* Pure: a CA that issues has all its signers; one that was stopped or retired goes on telling of the status
 * of what it issued, so its OCSP responders are renewed as long as it is valid. */
bool signer_may_be_made(const struct ch_ca *ca, enum ch_profile_kind kind, int64_t now_us);
/* Pure: none of its certificates may sign, or the newest that may is past two thirds of its life. One that
 * ends with its CA has no better one to come. */
bool signer_is_due(const struct signer_life *life, int64_t ca_not_after_us, int64_t now_us);
CH_MUST_USE bool extend_partitions(struct issuer *issuer, char *const *tenants, size_t count,
				   struct ch_error *err);

#endif
