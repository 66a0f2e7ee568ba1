/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope.h: signed messages. Seals a Body into an Envelope with this instance's identity; opens one from a
 * peer: cap, decode, certificate chain (cached by digest), signature (every time), clock window, replay.
 * libcommon/bus and auditclient use it.
 */
#ifndef CH_ENVELOPE_H
#define CH_ENVELOPE_H

#include "clock/clock.h"
#include "daemon/daemon.h"
#include "envelope.pb-c.h"
#include "mem/mem.h"

#include <openssl/x509.h>

#define CH_ENVELOPE_CAP     (32 * 1024 * 1024) /* a whole envelope, octets: a TBSCertList of 500,000 entries */
#define CH_ENVELOPE_WINDOW  (30 * CH_SECOND)   /* how far sent_at may be from our clock, either way */
#define CH_ENVELOPE_ID_SIZE 16
#define CH_ENVELOPE_DOMAIN  "chancery/bus/v1"
/* + "<service>/<instance>", in a URI subject alternative name */
#define CH_IDENTITY_URI "chancery:service/"

/* Who sent it, from a verified identity certificate. */
struct ch_peer {
	char service[32];
	char instance[64];
	uint8_t names_sha256[32]; /* of its certificate's subjectAltName (GeneralNames DER) */
};

/*
 * The system CAs, the identities of theirs that are refused, and what was verified against them. Thread-safe.
 * Chain verification is cached by certificate digest (256 certificates), the signature and the refusal are
 * looked at every time. The file holds one CA, or several while one takes over from another.
 */
struct ch_trust;
#define CH_TRUST_CAS_CAP      8
#define CH_RETIRED_SYSTEM_CAS "system-ca-retired.pem" /* beside the system CA's file */
#define CH_TRUST_RETIRED_CAP  56                      /* of those that were rolled over, for events alone */
CH_MUST_USE bool ch_trust_load(const char *system_ca_path, struct ch_trust **trust, struct ch_error *err);
/* The same from two files, of as many CAs as ever were; more may be NULL. For events that identities of
 * retired CAs signed: the audit daemon, `chancery audit verify`. */
CH_MUST_USE bool ch_trust_load_with(const char *system_ca_path, const char *more, struct ch_trust **trust,
				    struct ch_error *err);
void ch_trust_free(struct ch_trust *trust);
size_t ch_trust_ca_count(struct ch_trust *trust);
/*
 * Verifies that `certificate` (DER) chains to a system CA, is in its validity, names a service, and signed
 * domain || data. at_us: the time to check validity at; an identity that is refused verifies for what was
 * before its refusal. CH_UNAUTHENTICATED says which of these failed; retryable where no CA that issued it is
 * known (yet).
 */
CH_MUST_USE bool ch_trust_verify(struct ch_trust *trust, const char *domain, struct ch_view certificate,
				 struct ch_view data, struct ch_view signature, int64_t at_us,
				 struct ch_peer *peer, struct ch_error *err);
/* The same without a signature: who is this certificate? */
CH_MUST_USE bool ch_trust_identify(struct ch_trust *trust, struct ch_view certificate, int64_t at_us,
				   struct ch_peer *peer, struct ch_error *err);

/* --- refused identities (refused.c): for each system CA one CRL (RFC 5280 §5), signed by it
 * -------------------
 */
#define CH_REFUSED_LIST_CAP    (256 * 1024) /* octets of one */
#define CH_REFUSED_ENTRIES_CAP 5000

struct ch_refused_news {
	bool taken;       /* false: it was held already */
	char number[52];  /* the cRLNumber, decimal */
	char issuer[65];  /* SHA-256 of the CA's public key, hex */
	size_t count;     /* identities that it refuses */
	size_t new_count; /* of them, those that were not refused before */
};
/*
 * Takes a list: from now on what it names is refused. It never goes back: a lower number, or the same one
 * with other content, is CH_CONFLICT. news may be NULL. CH_INVALID: not such a list; CH_UNAUTHENTICATED: no
 * system CA signed it.
 */
CH_MUST_USE bool ch_trust_refuse(struct ch_trust *trust, struct ch_view crl, struct ch_refused_news *news,
				 struct ch_error *err);
/* Which lists: those of system CAs, or those of the other CAs too. */
enum ch_refused_of { CH_REFUSED_OF_SYSTEM_CAS, CH_REFUSED_OF_ALL };
/* Copies of the lists that are held (DER); the caller frees each. Gives how many. */
size_t ch_trust_refused_lists(struct ch_trust *trust, enum ch_refused_of of,
			      struct ch_bytes lists[CH_TRUST_CAS_CAP]);
size_t ch_trust_refused_count(struct ch_trust *trust); /* of certificates, in all lists */

/*
 * Takes the lists of the CAs in this file (PEM) too, whose certificates the caller verifies by other means
 * and are nobody's identity on the bus: operators' CAs. Once, before other threads use the trust.
 */
CH_MUST_USE bool ch_trust_add_other_cas(struct ch_trust *trust, const char *path, struct ch_error *err);
bool ch_trust_has_other_cas(const struct ch_trust *trust);
/* True where no list of a CA with its issuer's name has this certificate; CH_UNAUTHENTICATED says since when
 * it is refused, and why. */
CH_MUST_USE bool ch_trust_accepts(struct ch_trust *trust, X509 *certificate, struct ch_error *err);

/*
 * This instance's certificate and key, and what it trusts; thread-safe after loading. `service` and
 * `instance` must be the certificate's; NULL takes what it says. CH_INVALID, CH_NOT_FOUND, CH_DENIED name the
 * file.
 */
struct ch_identity;
CH_MUST_USE bool ch_identity_load(const struct ch_identity_config *config, const char *service,
				  const char *instance, struct ch_identity **identity, struct ch_error *err);
void ch_identity_free(struct ch_identity *identity);
const struct ch_peer *ch_identity_self(const struct ch_identity *identity);
/* Of those whose messages were opened with it (envelope/peer_clocks.h). */
struct ch_peer_clocks;
struct ch_peer_clocks *ch_identity_peer_clocks(const struct ch_identity *identity);
struct ch_trust *ch_identity_trust(struct ch_identity *identity); /* lives with the identity */

/* Do the files differ from those that were loaded, or tried, last? Looks at what stat(2) says alone. */
bool ch_identity_files_changed(struct ch_identity *identity);
/*
 * Reads the files again: certificate, key and system CAs together take the place of the old, and those who
 * observe are told. Nothing changes where they do not fit each other, are of another name, out of their
 * validity, or refused: CH_INVALID, CH_UNAUTHENTICATED, CH_NOT_FOUND say why.
 */
CH_MUST_USE bool ch_identity_reload(struct ch_identity *identity, struct ch_error *err);
/* `changed` is called after each reload, from the thread that reloads, until ch_identity_ignore has
 * returned. */
typedef void (*ch_identity_changed)(void *context);
void ch_identity_observe(struct ch_identity *identity, ch_identity_changed changed, void *context);
void ch_identity_ignore(struct ch_identity *identity, void *context);

struct ch_identity_status {
	int64_t not_after_us; /* when it, or the CA above it, expires */
	char serial[42];      /* of the certificate, hex */
	bool refused;         /* a list of refused identities names it */
	char why[160];        /* what is wrong with it now; "": nothing */
};
void ch_identity_status(struct ch_identity *identity, int64_t now_us, struct ch_identity_status *status);

/* The files' content as TLS libraries take it, zero-terminated, of one moment. */
struct ch_identity_pem {
	struct ch_bytes certificate, system_ca;
	struct ch_secret key;
};
CH_MUST_USE bool ch_identity_pem(struct ch_identity *identity, struct ch_identity_pem *pem,
				 struct ch_error *err);
void ch_identity_pem_free(struct ch_identity_pem *pem);

/* ECDSA P-256/SHA-256 over domain || data; `domain` with its terminating zero ("chancery/bus/v1"). Receives
 * the signature (DER) and the certificate (DER) that verifies it; the caller frees both. */
CH_MUST_USE bool ch_identity_sign(struct ch_identity *identity, const char *domain, struct ch_view data,
				  struct ch_bytes *signature, struct ch_bytes *certificate,
				  struct ch_error *err);
/* ch_trust_verify with what this identity trusts, but an identity that is refused is so whatever the time. */
CH_MUST_USE bool ch_identity_verify(struct ch_identity *identity, const char *domain,
				    struct ch_view certificate, struct ch_view data, struct ch_view signature,
				    int64_t at_us, struct ch_peer *peer, struct ch_error *err);

/* Seals: fills in nonce and sent_at_us, encodes, signs. `digest` (may be NULL) receives SHA-256 of the body
 * bytes. */
CH_MUST_USE bool ch_envelope_seal(struct ch_identity *identity, const struct ch_clock *clock,
				  Chancery__Body *body, struct ch_bytes *envelope, uint8_t digest[32],
				  struct ch_error *err);

/*
 * Remembers the nonces of all messages whose sent_at lies in the clock window; thread-safe, at most
 * `capacity` of them (24 octets each). A message sent before the cache began is refused as CH_EXPIRED,
 * retryable with a fresh nonce, so a restart opens no gap; a cache that is full forgets its oldest second and
 * refuses what was sent before that in the same way, so load opens none either.
 */
struct ch_replay;
struct ch_replay *ch_replay_new(size_t capacity, const struct ch_clock *clock);
void ch_replay_free(struct ch_replay *replay);
/* Remembers it. CH_REPLAYED when it is known, CH_EXPIRED (retryable) as above. sent_at_us is in the window
 * already. */
CH_MUST_USE bool ch_replay_check(struct ch_replay *replay, const uint8_t nonce[CH_ENVELOPE_ID_SIZE],
				 int64_t sent_at_us, struct ch_error *err);

struct ch_message {
	const char *address; /* where it came from, as the transport knows it; borrowed; the bus sets it */
	struct ch_peer sender;
	Chancery__Body *body;
	uint8_t digest[32]; /* SHA-256 of the body bytes, as soon as the envelope decodes; else zeroes */
};
void ch_message_free(struct ch_message *message);

/*
 * Opens an envelope addressed to this service. `sender` in *message is filled as soon as it is verified, so
 * that a refusal can name it (sender.service is "" before). Errors  CH_TOO_LARGE over CH_ENVELOPE_CAP;
 * CH_INVALID malformed; CH_UNAUTHENTICATED unknown sender or bad signature; CH_DENIED addressed to another
 * service; CH_EXPIRED clock window or deadline (retryable only where a fresh nonce can help); CH_REPLAYED.
 * replay  NULL for replies (they are bound to their request by request_digest, which the caller compares)
 */
CH_MUST_USE bool ch_envelope_open(struct ch_identity *identity, const struct ch_clock *clock,
				  struct ch_replay *replay, struct ch_view envelope,
				  struct ch_message *message, struct ch_error *err);

/* Every string in the message and in those inside it is UTF-8 (RFC 3629): protobuf-c does not look.
 * CH_INVALID names the field. */
CH_MUST_USE bool ch_proto_check_text(const ProtobufCMessage *message, struct ch_error *err);

CH_DEFINE_AUTO_POINTER(ch_trust, struct ch_trust, ch_trust_free)
CH_DEFINE_AUTO_POINTER(ch_identity, struct ch_identity, ch_identity_free)
CH_DEFINE_AUTO_VALUE(ch_identity_pem, struct ch_identity_pem, ch_identity_pem_free)
CH_DEFINE_AUTO_VALUE(ch_message, struct ch_message, ch_message_free)

#endif
