/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ocsp.h: the OCSP responder (RFC 6960, RFC 5019, RFC 9654): its state and what its files offer each other.
 *
 *   http.c     -> request.c    octets become a request
 *              -> cache.c      is the answer there already? (event thread)
 *              -> respond.c    else (worker thread): authority.c finds CA and responder, status.c the status,
 *                              response.c writes ResponseData, the vault signs it
 *   follow.c   drops cached answers as revocations are logged, and reads CAs and responder certificates again
 */
#ifndef OCSP_H
#define OCSP_H

#include "auditclient/auditclient.h"
#include "daemon/daemon.h"
#include "db/db.h"
#include "http/http.h"
#include "vaultclient/vaultclient.h"
#include "x509/x509.h"

#include <pthread.h>

#define OCSP_REQUEST_CAP    (16 * 1024) /* octets of an OCSPRequest */
#define OCSP_CERT_IDS_MAX   32          /* what `max_requests` can be set to */
#define OCSP_NONCE_MAX      128         /* RFC 9654 §2.1 */
#define OCSP_SERIAL_MAX     20          /* RFC 5280 §4.1.2.2 */
#define OCSP_CERT_ID_MAX    160         /* octets of a CertID that is cached: SHA-256 takes 104 */
#define OCSP_HTTP_DATE_SIZE 32

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

/* --- request.c: OCSPRequest (RFC 6960 §4.1)
 * ------------------------------------------------------------------ */

enum ocsp_hash { OCSP_SHA1, OCSP_SHA256, OCSP_HASH_OTHER };

struct ocsp_cert_id { /* views into the request */
	struct ch_view whole;
	enum ocsp_hash hash;
	struct ch_view issuer_name_hash;
	struct ch_view issuer_key_hash;
	struct ch_view serial; /* INTEGER content: two's complement, minimal */
};

struct ocsp_request { /* fixed size: nothing is allocated while reading */
	struct ocsp_cert_id cert_ids[OCSP_CERT_IDS_MAX];
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
	uint8_t key_hash[20];        /* ResponderID byKey: SHA-1 of the public key bits */
	const struct ch_algorithm *algorithm;
	int64_t not_before_us;
	int64_t not_after_us;
};

struct ocsp_authority {
	int64_t ca_id;
	char tenant[64];
	char name[64];
	bool has_url;                    /* its certificates name an OCSP URL */
	uint8_t issuer_name_hash[2][32]; /* by enum ocsp_hash */
	uint8_t issuer_key_hash[2][32];
	struct ch_bytes serial_tag_key;
	struct ocsp_responder *responders; /* newest first */
	size_t responder_count;
};

/* All of them at one time; never changed after it was made, freed with its last user. */
struct ocsp_authorities {
	struct ocsp_authority *items;
	size_t count;
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
/* NULL: a CA that is not served here. */
const struct ocsp_authority *ocsp_authorities_find(const struct ocsp_authorities *authorities,
						   const struct ocsp_cert_id *cert_id);
/* The newest that is valid at that time; NULL: none. */
const struct ocsp_responder *ocsp_authority_responder(const struct ocsp_authority *authority, int64_t now_us);

/* --- status.c: what a certificate's status is
 * ---------------------------------------------------------------------- */

enum ocsp_status { OCSP_GOOD, OCSP_REVOKED, OCSP_UNKNOWN };

struct ocsp_certificate_status {
	enum ocsp_status status;
	int64_t revoked_at_us;
	int reason;           /* CRLReason; 0 (unspecified) is left out of the response */
	int64_t log_sequence; /* the revocation log had come this far when it was read; 0: the database was
				 not asked */
};

struct ocsp;
struct ocsp_follower;
/* Serials without a valid tag are unknown without asking the database. CH_UNAVAILABLE. */
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

/* --- response.c: pure
 * -------------------------------------------------------------------------------------------------- */

struct ocsp_single_response {
	struct ch_view cert_id; /* as the request has it */
	struct ocsp_certificate_status status;
};

/* ResponseData (RFC 6960 §4.2.1), ResponderID byKey. Times in whole seconds. */
struct ch_bytes ocsp_response_data(const uint8_t responder_key_hash[20], int64_t produced_at_us,
				   int64_t this_update_us, int64_t next_update_us,
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
 * renew_at_us. */
struct ocsp_answer {
	struct ch_bytes response;
	enum ocsp_status status; /* of the (first) certificate */
	int64_t this_update_us;
	int64_t next_update_us;
	_Atomic int64_t renew_at_us; /* from then on one request at a time tries to get a newer one */
	char etag[2 + 32 + 1];
	char last_modified[OCSP_HTTP_DATE_SIZE];
	char expires[OCSP_HTTP_DATE_SIZE];
	_Atomic int users;
};
/* Takes `response`; one user: the caller. */
struct ocsp_answer *ocsp_answer_new(struct ch_bytes response, enum ocsp_status status, int64_t this_update_us,
				    int64_t next_update_us);
void ocsp_answer_release(struct ocsp_answer *answer);
CH_DEFINE_AUTO_POINTER(ocsp_answer, struct ocsp_answer, ocsp_answer_release)

struct ocsp_cache;
struct ocsp_cache *ocsp_cache_new(int64_t octets, struct ch_metrics *metrics);
void ocsp_cache_free(struct ocsp_cache *cache);
/* The answer for this CertID where it is not past its nextUpdate, with a user more; NULL: none. Allocates
 * nothing. */
struct ocsp_answer *ocsp_cache_find(struct ocsp_cache *cache, const struct ocsp_cert_id *cert_id,
				    int64_t now_us);
/*
 * Keeps an answer (adds a user), in place of an older one for the CertID. Not where the certificate's status
 * changed in the log after `log_sequence`, up to which the answer knows it: so a revocation that was logged
 * while the answer was being signed cannot be undone by it.
 */
void ocsp_cache_keep(struct ocsp_cache *cache, int64_t ca_id, const struct ocsp_cert_id *cert_id,
		     struct ocsp_answer *answer, int64_t log_sequence);
/* Entry `sequence` of the revocation log changes this certificate. */
void ocsp_cache_drop(struct ocsp_cache *cache, int64_t sequence, int64_t ca_id, struct ch_view serial);
void ocsp_cache_drop_all(struct ocsp_cache *cache, int64_t sequence);

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
	struct ocsp_follower *follower;
};

/* ocsp.c: makes the state and its metrics; frees. All borrowed arguments outlive it. */
struct ocsp *ocsp_new(const struct ocsp_config *config, const struct ch_clock *clock,
		      struct ch_daemon *daemon, struct ch_db *db, struct ch_vault_client *vault);
void ocsp_free(struct ocsp *ocsp); /* stops following first; NULL is fine */
CH_DEFINE_AUTO_POINTER(ocsp, struct ocsp, ocsp_free)
struct ocsp_authorities *ocsp_authorities_get(struct ocsp *ocsp); /* with a user more */
/* Reads them again (follow.c), unless that was done less than interval_us ago. */
CH_MUST_USE bool ocsp_authorities_read(struct ocsp *ocsp, struct ch_db *db, int64_t interval_us,
				       struct ch_error *err);

/* follow.c: starts the thread that follows the revocation log and reads CAs and responder certificates again.
 * It has a database connection of its own, so that no load of misses delays a revocation. */
CH_MUST_USE bool ocsp_follow_start(struct ocsp *ocsp, struct ch_error *err);
void ocsp_follow_stop(struct ocsp *ocsp); /* waits for at most one poll; fine where it never started */

/* respond.c: answers a request that the cache does not, and keeps the answer where it may be kept. On failure
 * *outcome says which error body the client gets. */
CH_MUST_USE bool ocsp_respond(struct ocsp *ocsp, const struct ocsp_request *request, const char *trace_id,
			      struct ocsp_answer **answer, enum ocsp_response_status *outcome,
			      struct ch_error *err);

/* http.c */
extern const struct ch_http_route ocsp_routes[];
extern const size_t ocsp_route_count;

#endif
