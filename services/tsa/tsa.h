/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsa.h: the timestamp authority (RFC 3161, RFC 5816): its state and what its files offer each other.
 *
 *   http.c -> stamp.c -> request.c     octets become a request, or a rejection
 *                     -> authority.c   the certificate and key that stamp under the wanted policy
 *                     -> timesource.c  the time, or why there is none
 *                     -> token.c       TSTInfo and signed attributes; the vault signs them; the token around
 * them
 *                     -> response.c    TimeStampResp
 */
#ifndef TSA_H
#define TSA_H

#include "daemon/daemon.h"
#include "db/db.h"
#include "http/http.h"
#include "vaultclient/vaultclient.h"
#include "x509/x509.h"

#include <pthread.h>
#include <stdatomic.h>

#define TSA_REQUEST_CAP (16 * 1024) /* octets of a TimeStampReq */
#define TSA_NONCE_MAX   64          /* octets; RFC 3161 §2.4.1 speaks of 64 bits */

struct tsa_config {
	struct ch_daemon_config common;
	struct ch_http_config http;
	char *ca;                        /* NULL: the one whose document states that it is the default */
	struct ch_conf_strings policies; /* empty: all that the key may name */
	int64_t accuracy_us;             /* 0: not stated in tokens */
	bool ordering;
	bool require_synchronised_clock;
	int64_t maximum_clock_error_us;
	int64_t reload_interval_us;
	int64_t vault_timeout_us;
};
extern const struct ch_conf_schema tsa_config_schema;
/* Whom it calls (peers.c). */
extern const struct ch_bus_peer tsa_peers[];
extern const size_t tsa_peer_count;

/* --- failures (RFC 3161 §2.4.2, PKIFailureInfo bits)
 * ------------------------------------------------------------ */

enum tsa_failure {
	TSA_BAD_ALG = 0,
	TSA_BAD_REQUEST = 2,
	TSA_BAD_DATA_FORMAT = 5,
	TSA_TIME_NOT_AVAILABLE = 14,
	TSA_UNACCEPTED_POLICY = 15,
	TSA_UNACCEPTED_EXTENSION = 16,
	TSA_SYSTEM_FAILURE = 25,
};
#define TSA_FAILURE_BITS 26
const char *tsa_failure_name(enum tsa_failure failure); /* "badAlg": as the RFC spells it */

/* --- request.c: TimeStampReq (RFC 3161 §2.4.1); pure
 * ------------------------------------------------------------- */

struct tsa_request {                    /* views into the request's octets */
	struct ch_view message_imprint; /* whole, as it goes into the token */
	struct ch_view policy;          /* OID content; data NULL: any */
	struct ch_view nonce;           /* INTEGER content; data NULL: none */
	bool certificate_requested;
};
/* False: *failure says what to answer, err->message why. */
CH_MUST_USE bool tsa_request_read(struct ch_view der, struct tsa_request *request, enum tsa_failure *failure,
				  struct ch_error *err);

/* --- timesource.c
 * -------------------------------------------------------------------------------------------------- */

struct tsa_clock_status { /* what the kernel knows about its clock, adjtimex(2) */
	bool synchronised;
	int64_t maximum_error_us;
};
bool tsa_kernel_clock_status(struct tsa_clock_status *status); /* false: the kernel does not say */

struct tsa_timesource {
	pthread_mutex_t lock; /* guards given_us */
	const struct ch_clock *clock;
	bool (*status)(struct tsa_clock_status *status);
	bool require_synchronised;
	int64_t maximum_error_us;
	int64_t given_us;                               /* the latest time in a token that was given out */
	struct ch_readiness *ready;                     /* may be NULL */
	struct ch_metric *synchronised, *maximum_error; /* gauges; may be NULL */
};
/*
 * The time to put into a token, in whole milliseconds. CH_UNAVAILABLE (retryable) while the clock is behind a
 * time that was given out, or where synchronisation is required and the kernel does not vouch for it.
 */
CH_MUST_USE bool tsa_time_now(struct tsa_timesource *source, int64_t *gen_time_us, struct ch_error *err);
/* A token with this time was signed: none is given an earlier one from now on. */
void tsa_time_given(struct tsa_timesource *source, int64_t gen_time_us);
/* Looks at the clock without using it: sets the gauges, and readiness to what a request would be told. Called
 * about each second. */
void tsa_time_observe(struct tsa_timesource *source);

/* --- authority.c: who stamps
 * --------------------------------------------------------------------------------------- */

struct tsa_authority {
	char tenant[64];
	char key_id[64];
	int64_t ca_id;
	bool is_default;             /* of the default CA */
	char obstacle[200];          /* why it may not sign; "": it may */
	struct ch_bytes certificate; /* DER */
	uint8_t certificate_sha256[32];
	struct ch_bytes issuer_der, subject_der; /* Names */
	struct ch_bytes serial;                  /* INTEGER, whole */
	const struct ch_algorithm *algorithm;
	int64_t not_before_us, not_after_us;
	struct ch_bytes *chain; /* certificates of the CAs above, without the root */
	size_t chain_count;
	struct ch_bytes *policies; /* OID content octets; the first is for requests that name none */
	size_t policy_count;
};
void tsa_authority_free(struct tsa_authority *authority);
/* Takes apart the certificate. CH_INVALID: not a timestamp certificate (RFC 3161 §2.3), or of an unknown
 * algorithm. */
CH_MUST_USE bool tsa_authority_set_certificate(struct tsa_authority *authority, struct ch_view der,
					       struct ch_error *err);
/* Appends a policy: dotted text. */
CH_MUST_USE bool tsa_authority_add_policy(struct tsa_authority *authority, const char *dotted,
					  struct ch_error *err);

/* All of them at one time, of each CA the newest first; never changed after it was made, freed with its last
 * user. */
struct tsa_authorities {
	struct tsa_authority *items;
	size_t count, unusable;
	char default_ca[64]; /* the one that is stated to be the default; "": none is */
	char obstacle[200];  /* why that CA may certify no TSA now; "": it may */
	atomic_int users;
};
struct tsa_authorities *tsa_authorities_new(size_t count); /* one user: the caller */
void tsa_authorities_release(struct tsa_authorities *authorities);
CH_DEFINE_AUTO_POINTER(tsa_authorities, struct tsa_authorities, tsa_authorities_release)
/*
 * Who stamps under `policy` (data NULL: none was named). The default CA does wherever it stamps under that
 * policy or none was named; under a policy that it does not have, the only CA that has it. Never another in
 * its place. Of that CA the newest certificate that may sign and is valid then; *chosen receives the policy.
 * False: *failure says whether it is the policy or that there is no certificate.
 */
CH_MUST_USE bool tsa_authorities_choose(const struct tsa_authorities *authorities, struct ch_view policy,
					int64_t now_us, const struct tsa_authority **authority,
					struct ch_view *chosen, enum tsa_failure *failure,
					struct ch_error *err);
/* What people should know of them. READY: the default CA stamps, or there is no TSA yet. */
enum tsa_state { TSA_READY, TSA_NO_DEFAULT, TSA_WAITS_FOR_FIRST, TSA_STOPPED };
/* `why` (of `size` octets): "" where READY. */
enum tsa_state tsa_authorities_state(const struct tsa_authorities *authorities, int64_t now_us, char *why,
				     size_t size);

/* --- store.c: every statement
 * ---------------------------------------------------------------------------------------- */

CH_MUST_USE bool tsa_store_authorities(struct ch_db *db, const struct tsa_config *config,
				       struct tsa_authorities **authorities, struct ch_error *err);

/* --- token.c: pure
 * -------------------------------------------------------------------------------------------------------- */

#define TSA_SERIAL_SIZE 16
struct tsa_stamp_facts { /* what a token says */
	const struct tsa_authority *authority;
	const struct tsa_request *request;
	struct ch_view policy;
	uint8_t serial[TSA_SERIAL_SIZE];
	int64_t gen_time_us;
	int64_t accuracy_us;
	bool ordering;
};
struct ch_bytes tsa_tst_info(const struct tsa_stamp_facts *facts);
/* SignedAttributes as SET OF (RFC 5652 §5.4): contentType, messageDigest, signingCertificateV2. */
CH_MUST_USE bool tsa_signed_attributes(const struct tsa_authority *authority, struct ch_view tst_info,
				       struct ch_bytes *attributes, struct ch_error *err);
/* ContentInfo with SignedData (RFC 5652 §5). */
struct ch_bytes tsa_token(const struct tsa_authority *authority, struct ch_view tst_info,
			  struct ch_view signed_attributes, struct ch_view signature, bool with_certificates);

/* --- response.c: pure
 * ------------------------------------------------------------------------------------------------------ */

struct ch_bytes tsa_response_granted(struct ch_view token);
/* `text` may be NULL. */
struct ch_bytes tsa_response_rejected(enum tsa_failure failure, const char *text);

/* --- stamp.c
 * ------------------------------------------------------------------------------------------------------------------
 */

struct tsa {
	const struct tsa_config *config;
	struct ch_db *db;
	struct ch_vault_client *vault;
	struct ch_daemon *daemon;
	struct tsa_timesource time;
	struct ch_readiness *authorities_known, *signer_ready;

	/* Held while authorities are read, so that an older reading never replaces a newer. */
	pthread_mutex_t reading;
	atomic_uint readings; /* that ended */
	pthread_mutex_t lock; /* guards authorities, read_at_us and last_serial_time */
	struct tsa_authorities *authorities;
	int64_t read_at_us; /* monotonic: when reading them last began */
	uint64_t last_serial_time;
	uint8_t instance_random[8]; /* fresh at each start */

	struct ch_metrics *metrics;
	struct ch_metric *tokens, *made_anew, *seconds, *not_after, *signers_lost;
};

/* Everything but db and vault. `config` and `daemon` are borrowed. */
void tsa_init(struct tsa *tsa, const struct tsa_config *config, struct ch_daemon *daemon);
/* One request, whatever it holds, becomes one TimeStampResp. Waits for the vault. */
struct ch_bytes tsa_stamp(struct tsa *tsa, struct ch_view request, const char *trace_id);
/* Counts, logs and builds a rejection. */
struct ch_bytes tsa_reject(struct tsa *tsa, enum tsa_failure failure, const char *trace_id,
			   const struct ch_error *why);

/* --- reload.c: the thread that follows certificates and the clock
 * ------------------------------------------------------------- */

CH_MUST_USE bool tsa_reload_start(struct tsa *tsa, pthread_t *thread, struct ch_error *err);
/* The present authorities with a user more; NULL: they could not be read yet. */
struct tsa_authorities *tsa_authorities_now(struct tsa *tsa);
/* The same, read from the database now: for who found none that is valid, or was refused by the vault. At
 * most once in 200 ms; then as above. */
struct tsa_authorities *tsa_authorities_fresh(struct tsa *tsa);

/* --- http.c
 * ------------------------------------------------------------------------------------------------------------------------
 */

extern const struct ch_http_route tsa_routes[];
extern const size_t tsa_route_count;

#endif
