/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share and nobody else needs. */
#ifndef CH_ENVELOPE_INTERNAL_H
#define CH_ENVELOPE_INTERNAL_H

#include "envelope/envelope.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/* SHA-256 over domain with its terminating zero (NULL: none) and data. */
CH_MUST_USE bool ch_envelope_digest(const char *domain, struct ch_view data, uint8_t out[32],
				    struct ch_error *err);

/* EVP_PKEY contexts ready to sign or verify with one key. They cost more to make than to use, so they are
 * kept. */
#define CH_CONTEXT_POOL_SIZE 16
struct ch_context_pool {
	EVP_PKEY_CTX *items[CH_CONTEXT_POOL_SIZE];
	size_t count;
};
EVP_PKEY_CTX *ch_context_pool_take(struct ch_context_pool *pool); /* NULL: empty */
void ch_context_pool_give(struct ch_context_pool *pool, EVP_PKEY_CTX *context);
void ch_context_pool_clear(struct ch_context_pool *pool);

/* --- peer.c -----------------------------------------------------------------------------------------------
 */
/* Reads the service and instance that a verified certificate stands for, with the digest of its names.
 * Error: CH_UNAUTHENTICATED, it names none, more than one, or one that is not well-formed. */
CH_MUST_USE bool ch_peer_read(X509 *certificate, struct ch_peer *peer, struct ch_error *err);

/* --- trust.c ----------------------------------------------------------------------------------------------
 */
/* The PEM certificates of a text, at most so many. `what` names it in errors. */
CH_MUST_USE bool ch_trust_store_read(struct ch_view pem, const char *what, size_t most, X509_STORE **store,
				     struct ch_error *err);
/* Another set of CAs from now on (the trust takes its own reference): what was verified by the old one is
 * forgotten, and so are lists of refused identities of CAs that are not in it. */
void ch_trust_replace(struct ch_trust *trust, X509_STORE *store);
/* Who a certificate stands for and whether it is valid at a time by a set of CAs that is not in use yet. */
CH_MUST_USE bool ch_trust_identify_with(struct ch_trust *trust, X509_STORE *store, struct ch_view certificate,
					int64_t at_us, struct ch_peer *peer, int64_t *not_after_us,
					struct ch_error *err);
/* ch_trust_verify; always: what is refused is so for what was before its refusal too. */
CH_MUST_USE bool ch_trust_check(struct ch_trust *trust, const char *domain, struct ch_view certificate,
				struct ch_view data, struct ch_view signature, int64_t at_us, bool always,
				struct ch_peer *peer, struct ch_error *err);

/* --- refused.c --------------------------------------------------------------------------------------------
 */
#define CH_SERIAL_ROOM 21 /* one octet of length, then at most 20 of a serial number (RFC 5280 §4.1.2.2) */
struct ch_refused_entry {
	uint8_t serial[CH_SERIAL_ROOM];
	int64_t since_us;
	int reason; /* RFC 5280 §5.3.1 */
};
struct ch_refused_list {
	uint8_t issuer[32]; /* SHA-256 of the CA's SubjectPublicKeyInfo */
	bool of_system_ca;  /* else of one of the others (ch_trust_add_other_cas) */
	uint8_t number[20]; /* cRLNumber, big endian */
	char number_text[52];
	struct ch_bytes der;
	struct ch_refused_entry *entries; /* by serial */
	size_t count;
};
void ch_refused_list_free(struct ch_refused_list *list); /* NULL is fine */
/* Reads a CRL and verifies it by one of the CAs. Errors as of ch_trust_refuse. */
CH_MUST_USE bool ch_refused_list_read(struct ch_view crl, X509_STORE *store, struct ch_refused_list **list,
				      struct ch_error *err);
/* NULL: it does not name it. */
const struct ch_refused_entry *ch_refused_list_find(const struct ch_refused_list *list,
						    const uint8_t serial[CH_SERIAL_ROOM]);
/* --- refused_set.c: the newest list of each CA; guarded by whoever has it ---------------------------------
 */
struct ch_refused_set {
	struct ch_refused_list *lists[CH_TRUST_CAS_CAP];
	size_t count;
};
/* Takes a list that is newer than the one held of its CA. *list is then that one (NULL: there was none),
 * which the caller frees; news->taken and news->new_count say what came of it. Errors as of ch_trust_refuse.
 */
CH_MUST_USE bool ch_refused_set_take(struct ch_refused_set *set, struct ch_refused_list **list,
				     struct ch_refused_news *news, struct ch_error *err);
/* Drops the lists of system CAs whose keys are not among these. */
void ch_refused_set_keep(struct ch_refused_set *set, X509_STORE *store);
/* NULL: that CA's list does not name it. */
const struct ch_refused_entry *ch_refused_set_find(const struct ch_refused_set *set, const uint8_t issuer[32],
						   const uint8_t serial[CH_SERIAL_ROOM]);
void ch_refused_set_free(struct ch_refused_set *set); /* what is in it */

/* --- refused.c, for trust.c too --- */
/* False: longer than a serial number may be, or negative. */
CH_MUST_USE bool ch_serial_take(const ASN1_INTEGER *number, uint8_t serial[CH_SERIAL_ROOM]);
CH_MUST_USE bool ch_spki_sha256(X509 *certificate, uint8_t digest[32]);
int64_t ch_asn1_time_us(const ASN1_TIME *time); /* 0: not a time */

#endif
