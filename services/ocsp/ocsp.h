/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ocsp.h: the OCSP responder (RFC 6960, RFC 5019, RFC 9654): its state and what its files offer each other.
 *
 *   http.c     -> request.c    octets become a request
 *              -> cache.c      is the answer there already? (event thread)
 *              -> respond.c    else (worker thread): authority.c finds CA and responder, status.c the status,
 *                              window.c its times, response.c writes ResponseData, the vault signs it
 *   follow.c   drops cached answers as revocations are logged
 *   signers.c  reads CAs and responder certificates again, and drops what was signed with one that is not to
 * be believed any more
 */
#ifndef OCSP_H
#define OCSP_H

#include "auditclient/auditclient.h"
#include "daemon/daemon.h"
#include "db/db.h"
#include "http/http.h"
#include "vaultclient/vaultclient.h"
#include "x509/cert_id.h"
#include "x509/x509.h"

#include <pthread.h>

#define OCSP_REQUEST_CAP  (16 * 1024) /* octets of an OCSPRequest */
#define OCSP_CERT_IDS_MAX 32          /* what `max_requests` can be set to */
#define OCSP_NONCE_MAX    128         /* RFC 9654 §2.1 */
#define OCSP_SERIAL_MAX   20          /* RFC 5280 §4.1.2.2 */
#define OCSP_CERT_ID_MAX  160         /* octets of a CertID that is cached: SHA-256 takes 104 */

struct ocsp_config {
	struct ch_daemon_config common;
	struct ch_http_config http;
	int64_t response_validity_us; /* nextUpdate - thisUpdate */
	int64_t http_max_age_us;
	int64_t cache_octets;
	int64_t max_requests;
	int64_t poll_interval_us;
};
extern const struct ch_conf_schema ocsp_config_schema;
/* Whom it calls (peers.c). */
extern const struct ch_bus_peer ocsp_peers[];
extern const size_t ocsp_peer_count;

/* --- request.c: OCSPRequest (RFC 6960 §4.1)
 * ------------------------------------------------------------------ */

struct ocsp_request { /* fixed size: nothing is allocated while reading */
	struct ch_cert_id cert_ids[OCSP_CERT_IDS_MAX];
	size_t count;         /* at least 1 */
	struct ch_view nonce; /* its octets; data NULL where there is none */
};

/*
 * Reads a DER OCSPRequest with at most `most` CertIDs. A signature is passed over (RFC 6960 §4.1.2: a
 * responder may ignore it). *reason receives a word for the metric. CH_INVALID, CH_TOO_LARGE.
 */
CH_MUST_USE bool ocsp_request_read(struct ch_view der, size_t most, struct ocsp_request *request,
				   const char **reason, struct ch_error *err);

/* Base64 or base64url, padded or not, of at most `room` octets (RFC 6960 §A.1: what follows the path of a
 * GET). */
CH_MUST_USE bool ocsp_request_decode(const char *text, uint8_t *out, size_t room, size_t *size,
				     struct ch_error *err);

/* --- authority.c: the CAs that are answered for
 * --------------------------------------------------------------- */

struct ocsp_responder {
	char key_id[64];
	struct ch_bytes certificate; /* DER */
	uint8_t certificate_sha256[32];
	uint8_t key_hash[20]; /* ResponderID byKey: SHA-1 of the public key bits */
	const struct ch_algorithm *algorithm;
	int64_t not_before_us;
	int64_t not_after_us;
};

struct ocsp_authority {
	int64_t ca_id;
	char tenant[64];
	char name[64];
	bool has_url;                    /* its certificates name an OCSP URL */
	bool had_responder;              /* it is not over and was answered for once, or is now */
	uint8_t issuer_name_hash[2][32]; /* by enum ch_cert_id_hash */
	uint8_t issuer_key_hash[2][32];
	struct ch_bytes serial_tag_key;
	struct ch_bytes *untagged; /* serials that were revoked though the suite never made them, sorted */
	size_t untagged_count;
	bool ask_always;                   /* they are too many to keep: no serial is judged by its tag */
	int64_t compromised_at_us;         /* since then anybody may have signed with its key; 0: not known */
	struct ocsp_responder *responders; /* those that may sign, newest first */
	size_t responder_count;
	char obstacle[200]; /* why its newest other responder may not sign; "": there is no other */
};

/* All of them at one time; never changed after it was made, freed with its last user. */
struct ocsp_authorities {
	struct ocsp_authority *items;
	size_t count;
	int64_t signers_version; /* grows when a responder may sign no more, or a CA was compromised */
	_Atomic int users;
};

struct ocsp_authorities *ocsp_authorities_new(size_t count); /* one user: the caller */
void ocsp_authorities_release(struct ocsp_authorities *authorities);
CH_DEFINE_AUTO_POINTER(ocsp_authorities, struct ocsp_authorities, ocsp_authorities_release)
/* Fills the hashes from the CA's subject and key. */
CH_MUST_USE bool ocsp_authority_identify(struct ocsp_authority *authority, struct ch_view subject_der,
					 struct ch_view public_key_info, struct ch_error *err);
/* Appends the responder of a certificate that the issuer made for `key_id`. */
CH_MUST_USE bool ocsp_authority_add_responder(struct ocsp_authority *authority, const char *key_id,
					      struct ch_view certificate, int64_t not_before_us,
					      int64_t not_after_us, struct ch_error *err);
/*
 * What of `before` is not to be believed any more by `now`: calls `lost` for each responder that may sign no
 * more, and with responder NULL for each CA whose compromise became known. Returns how often. Pure.
 */
size_t ocsp_authorities_lost(const struct ocsp_authorities *before, const struct ocsp_authorities *now,
			     void (*lost)(void *context, const struct ocsp_authority *authority,
					  const struct ocsp_responder *responder),
			     void *context);
/*
 * How many CAs have had responders and have none now that is valid at that time; *served: how many have one.
 * `why` (of `size` octets) receives the first such CA and what is wrong with its responder.
 */
size_t ocsp_authorities_silent(const struct ocsp_authorities *authorities, int64_t now_us, size_t *served,
			       char *why, size_t size);
/* Serials come sorted. */
void ocsp_authority_add_untagged(struct ocsp_authority *authority, struct ch_view serial);
bool ocsp_authority_is_untagged(const struct ocsp_authority *authority, struct ch_view serial);
/* NULL: a CA that is not served here. */
const struct ocsp_authority *ocsp_authorities_find(const struct ocsp_authorities *authorities,
						   const struct ch_cert_id *cert_id);
/* The newest that may sign and is valid at that time; NULL: none. */
const struct ocsp_responder *ocsp_authority_responder(const struct ocsp_authority *authority, int64_t now_us);

/* --- status.c: what a certificate's status is
 * ---------------------------------------------------------------------- */

enum ocsp_status { OCSP_GOOD, OCSP_REVOKED, OCSP_UNKNOWN };

struct ocsp_certificate_status {
	enum ocsp_status status;
	int64_t revoked_at_us;
	int reason;            /* CRLReason; 0 (unspecified) is left out of the response */
	int64_t changed_at_us; /* it is so since then; 0: not known, or nobody was told of the certificate */
	int64_t log_sequence;  /* the revocation log had come this far when it was read; 0: the database was
				  not asked */
};

/* RFC 6960 §2.7: all certificates that a compromised CA issued are revoked (cACompromise), unless they were
 * revoked by themselves before. Pure. */
void ocsp_status_of_compromised_ca(struct ocsp_certificate_status *status, int64_t compromised_at_us);

struct ocsp;
struct ocsp_follower;
/* What an OCSP response says of a certificate whose row and whose newest log entry are these ("": there is
 * none). The log decides; a row alone makes nothing good that it calls revoked. Pure. */
enum ocsp_status ocsp_status_of(const char *row, const char *logged);
/* Serials without a valid tag are unknown without asking the database, but for those that were revoked all
 * the same. CH_UNAVAILABLE. */
CH_MUST_USE bool ocsp_status_find(struct ocsp *ocsp, const struct ocsp_authority *authority,
				  struct ch_view serial, struct ocsp_certificate_status *status,
				  struct ch_error *err);

/* --- store.c: every statement
 * --------------------------------------------------------------------------------------- */

CH_MUST_USE bool ocsp_store_status(struct ch_db *db, const struct ocsp_authority *authority,
				   struct ch_view serial, struct ocsp_certificate_status *status,
				   struct ch_error *err);
CH_MUST_USE bool ocsp_store_authorities(struct ch_db *db, struct ocsp_authorities **authorities,
					struct ch_error *err);
/* Calls `dropped` for each entry after `*sequence` and moves it on. *restarted: the log is shorter than
 * `*sequence` (another server with less of it took over): everything cached is in doubt, and *sequence is
 * what the server has. */
CH_MUST_USE bool ocsp_store_follow(struct ch_db *db, int64_t *sequence, bool *restarted,
				   void (*dropped)(void *context, int64_t sequence, int64_t ca_id,
						   struct ch_view serial),
				   void *context, struct ch_error *err);

/* --- window.c: pure
 * ---------------------------------------------------------------------------------------------------- */

/* From when to when an answer is valid and is used. Whole seconds. */
struct ocsp_window {
	int64_t this_update_us;
	int64_t next_update_us;
	int64_t from_us;     /* responders give it out from then on */
	int64_t renew_at_us; /* from then on the next one can be made */
	int64_t stale_at_us; /* from then on responders give out the next one */
};

/* The window that begins at the newest point of the certificate's grid at that time. `serial` as a CertID has
 * it. */
struct ocsp_window ocsp_window_of(struct ch_view serial, int64_t validity_us, int64_t at_us);
/* The one whose answers are given out now: the same at every responder, as far as their clocks and their
 * response_validity agree. */
struct ocsp_window ocsp_window_in_force(struct ch_view serial, int64_t validity_us, int64_t now_us);
/* A status that changed after thisUpdate was not yet so then: thisUpdate is the moment of the change (RFC
 * 6960 §4.2.2.1), which all responders read from the database. */
void ocsp_window_since(struct ocsp_window *window, int64_t changed_at_us, int64_t now_us);

/* --- response.c: pure
 * -------------------------------------------------------------------------------------------------- */

struct ocsp_single_response {
	struct ch_view cert_id; /* as the request has it */
	struct ocsp_certificate_status status;
	struct ocsp_window window;
};

/* SingleResponse (RFC 6960 §4.2.1): what answers of different responders and times have in common. */
struct ch_bytes ocsp_single_response_der(const struct ocsp_single_response *single);
/* ResponseData (RFC 6960 §4.2.1), ResponderID byKey. Times in whole seconds. */
struct ch_bytes ocsp_response_data(const uint8_t responder_key_hash[20], int64_t produced_at_us,
				   const struct ocsp_single_response *singles, size_t count,
				   struct ch_view nonce);
/* OCSPResponse "successful" around BasicOCSPResponse with the responder's certificate. */
CH_MUST_USE bool ocsp_response_assemble(struct ch_view response_data, const struct ch_algorithm *algorithm,
					struct ch_view signature, struct ch_view certificate,
					struct ch_bytes *response, struct ch_error *err);

enum ocsp_response_status { /* OCSPResponseStatus */
			    OCSP_SUCCESSFUL = 0,
			    OCSP_MALFORMED_REQUEST = 1,
			    OCSP_INTERNAL_ERROR = 2,
			    OCSP_TRY_LATER = 3,
			    OCSP_UNAUTHORIZED = 6,
};
/* The five octets of an answer without a body. Static. */
struct ch_view ocsp_response_error(enum ocsp_response_status status);

/* --- cache.c
 * -------------------------------------------------------------------------------------------------------------
 */

/* An answer to be sent, shared between the cache and those who send it. Never changed after it was made, but
 * renew_at_us and renewal_failed. */
struct ocsp_answer {
	struct ch_bytes response;
	enum ocsp_status status;     /* of the (first) certificate */
	uint8_t signer[32];          /* SHA-256 of the responder's certificate */
	int64_t signers_version;     /* of the authorities that it was chosen from */
	struct ocsp_window window;   /* of the (first) certificate, as the next ones */
	_Atomic int64_t renew_at_us; /* from then on one request at a time tries to get a newer one */
	_Atomic bool renewal_failed; /* so that others do not wait for it where this one is stale */
	char etag[4 + 32 + 1]; /* weak: another responder's answer differs in producedAt and signature */
	char last_modified[CH_HTTP_DATE_SIZE];
	char expires[CH_HTTP_DATE_SIZE];
	_Atomic int users;
};
/* Takes `response`; `single` is the first in it. One user: the caller. */
struct ocsp_answer *ocsp_answer_new(struct ch_bytes response, const struct ocsp_single_response *single);
void ocsp_answer_release(struct ocsp_answer *answer);
CH_DEFINE_AUTO_POINTER(ocsp_answer, struct ocsp_answer, ocsp_answer_release)

struct ocsp_cache;
struct ocsp_cache *ocsp_cache_new(int64_t octets, struct ch_metrics *metrics);
void ocsp_cache_free(struct ocsp_cache *cache);
/* The answer for this CertID where it is not past its nextUpdate, with a user more; NULL: none. Allocates
 * nothing. */
struct ocsp_answer *ocsp_cache_find(struct ocsp_cache *cache, const struct ch_cert_id *cert_id,
				    int64_t now_us);
/*
 * Keeps an answer (adds a user), in place of an older one for the CertID; one that is not yet to be given out
 * (window.from_us) beside that until then, and not where there is none of the same status. Not where the
 * certificate's status changed in the log after `log_sequence`, up to which the answer knows it: so a
 * revocation that was logged while the answer was being signed cannot be undone by it. Not where
 * ocsp_cache_drop_signed came to a later version of the signers than the answer's, for the same reason.
 */
void ocsp_cache_keep(struct ocsp_cache *cache, int64_t ca_id, const struct ch_cert_id *cert_id,
		     struct ocsp_answer *answer, int64_t log_sequence, int64_t now_us);
/* Entry `sequence` of the revocation log changes this certificate. */
void ocsp_cache_drop(struct ocsp_cache *cache, int64_t sequence, int64_t ca_id, struct ch_view serial);
void ocsp_cache_drop_all(struct ocsp_cache *cache, int64_t sequence);
/* The signers are at `version` now: drops the CA's answers that `signer` (32 octets; NULL: anyone) signed. */
void ocsp_cache_drop_signed(struct ocsp_cache *cache, int64_t version, int64_t ca_id, const uint8_t *signer);

/* --- the daemon
 * --------------------------------------------------------------------------------------------------------------
 */

struct ocsp_metrics {
	struct ch_metric *responses[7]; /* by enum ocsp_response_status */
	struct ch_metric *statuses[3];  /* by enum ocsp_status */
	struct ch_metric *cache_hit, *cache_miss, *cache_renewal, *cache_fallback;
	struct ch_metric *invalid_tag;
	struct ch_metric *sign_seconds;
	struct ch_metric *log_sequence;
	struct ch_metric *authorities;
	struct ch_metric *signers_lost;
	struct ch_metric *silent;
};

struct ocsp {
	const struct ocsp_config *config; /* borrowed, as all here but the last */
	const struct ch_clock *clock;
	struct ch_daemon *daemon;
	struct ch_db *db;
	struct ch_vault_client *vault;
	struct ch_metrics *registry;
	struct ocsp_metrics metrics;
	struct ocsp_cache *cache; /* owned */
	pthread_mutex_t lock;     /* guards the four below */
	struct ocsp_authorities *authorities;
	int64_t authorities_at_us; /* monotonic: when they were read last; 0: never */
	int64_t warned_at_us;
	int warnings;             /* in the second that began at warned_at_us */
	_Atomic bool database_up; /* the last poll of the revocation log was answered */
	/* Held while authorities are read, so that an older reading never replaces a newer. */
	pthread_mutex_t reading;
	_Atomic unsigned readings; /* that ended */
	struct ch_readiness *signers_ready;
	struct ocsp_follower *follower;
};

/* ocsp.c: makes the state and its metrics; frees. All borrowed arguments outlive it. */
struct ocsp *ocsp_new(const struct ocsp_config *config, const struct ch_clock *clock,
		      struct ch_daemon *daemon, struct ch_db *db, struct ch_vault_client *vault);
void ocsp_free(struct ocsp *ocsp); /* stops following first; NULL is fine */
CH_DEFINE_AUTO_POINTER(ocsp, struct ocsp, ocsp_free)
struct ocsp_authorities *ocsp_authorities_get(struct ocsp *ocsp); /* with a user more */
/* signers.c: reads them again, unless that was done less than interval_us ago; what is lost by it is told,
 * and no answer of it is served any more. */
CH_MUST_USE bool ocsp_authorities_read(struct ocsp *ocsp, struct ch_db *db, int64_t interval_us,
				       struct ch_error *err);
/* signers.c: how often authorities are read without anybody asking. */
#define OCSP_AUTHORITIES_INTERVAL CH_SECOND

/* follow.c: starts the thread that follows the revocation log and has CAs and responder certificates read
 * again. It has a database connection of its own, so that no load of misses delays a revocation. */
CH_MUST_USE bool ocsp_follow_start(struct ocsp *ocsp, struct ch_error *err);
/* One poll: entries of the log after *sequence drop what is cached of their certificates; a log that went
 * back drops all. */
CH_MUST_USE bool ocsp_follow_log(struct ocsp *ocsp, struct ch_db *db, int64_t *sequence,
				 struct ch_error *err);
/* *sequence before the first poll, which reads on from wherever the server is: the cache was empty before. No
 * server has reached it, so that poll looks like one of a server with less of the log. */
#define OCSP_FOLLOW_NOT_YET INT64_MAX
void ocsp_follow_stop(struct ocsp *ocsp); /* waits for at most one poll; fine where it never started */

struct ocsp_question {
	const struct ocsp_request *request;
	const char *trace_id;
	bool ahead; /* for the next window, whose answers are given out soon; else for the one in force */
};
/* respond.c: answers a request that the cache does not, and keeps the answer where it may be kept. On failure
 * *outcome says which error body the client gets. */
CH_MUST_USE bool ocsp_respond(struct ocsp *ocsp, const struct ocsp_question *question,
			      struct ocsp_answer **answer, enum ocsp_response_status *outcome,
			      struct ch_error *err);

/* http.c */
extern const struct ch_http_route ocsp_routes[];
extern const size_t ocsp_route_count;

#endif
