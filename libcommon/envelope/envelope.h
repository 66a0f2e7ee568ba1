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
};

/*
 * The system CA and what was verified against it. Thread-safe. Chain verification is cached by certificate
 * digest (256 certificates), the signature is checked every time.
 */
struct ch_trust;
CH_MUST_USE bool ch_trust_load(const char *system_ca_path, struct ch_trust **trust, struct ch_error *err);
void ch_trust_free(struct ch_trust *trust);
/*
 * Verifies that `certificate` (DER) chains to the system CA, is in its validity, names a service, and signed
 * domain || data. at_us: the time to check validity at. CH_UNAUTHENTICATED says which of these failed.
 */
CH_MUST_USE bool ch_trust_verify(struct ch_trust *trust, const char *domain, struct ch_view certificate,
				 struct ch_view data, struct ch_view signature, int64_t at_us,
				 struct ch_peer *peer, struct ch_error *err);
/* The same without a signature: who is this certificate? */
CH_MUST_USE bool ch_trust_identify(struct ch_trust *trust, struct ch_view certificate, int64_t at_us,
				   struct ch_peer *peer, struct ch_error *err);

/* This instance's certificate, key and the system CA; thread-safe after loading. `service` and `instance`
 * must be the certificate's; NULL takes what it says. CH_INVALID, CH_NOT_FOUND, CH_DENIED name the file. */
struct ch_identity;
CH_MUST_USE bool ch_identity_load(const struct ch_identity_config *config, const char *service,
				  const char *instance, struct ch_identity **identity, struct ch_error *err);
void ch_identity_free(struct ch_identity *identity);
const struct ch_peer *ch_identity_self(const struct ch_identity *identity);
struct ch_view ch_identity_certificate_der(const struct ch_identity *identity);

/* ECDSA P-256/SHA-256 over domain || data; `domain` with its terminating zero ("chancery/bus/v1"). DER
 * signature. */
CH_MUST_USE bool ch_identity_sign(const struct ch_identity *identity, const char *domain, struct ch_view data,
				  struct ch_bytes *signature, struct ch_error *err);
/* ch_trust_verify with this identity's system CA. */
CH_MUST_USE bool ch_identity_verify(struct ch_identity *identity, const char *domain,
				    struct ch_view certificate, struct ch_view data, struct ch_view signature,
				    int64_t at_us, struct ch_peer *peer, struct ch_error *err);

/* Seals: fills in nonce and sent_at_us, encodes, signs. `digest` (may be NULL) receives SHA-256 of the body
 * bytes. */
CH_MUST_USE bool ch_envelope_seal(const struct ch_identity *identity, const struct ch_clock *clock,
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
CH_DEFINE_AUTO_VALUE(ch_message, struct ch_message, ch_message_free)

#endif
