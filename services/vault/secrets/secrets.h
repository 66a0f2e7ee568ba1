/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secrets.h: small secrets of the other daemons, sealed under a data key of their tenant so that they can
 * keep them at rest. box.c is the form of a sealed secret (pure), data_keys.c makes, loads and remembers data
 * keys, handlers.c answers the bus.
 */
#ifndef VAULT_SECRETS_H
#define VAULT_SECRETS_H

#include "mem/mem.h"

#define SECRET_SIZE_CAP    (64 * 1024)
#define SECRET_CONTEXT_CAP 256
#define SECRET_KEY_SIZE    32 /* AES-256 */
#define SECRET_OVERHEAD    (1 + 4 + 12 + 16)

/* Who may open it again, and as what. All of it is authenticated, none of it stored. */
struct secret_context {
	const char *tenant;
	const char *service; /* the sender's: another service cannot open it */
	const char *context; /* the sender's own words for it, 1 to SECRET_CONTEXT_CAP octets */
};

/*
 * AES-256-GCM: 0x01 || data key version (4 octets, big endian) || nonce (12) || ciphertext || tag (16). The
 * associated data is the first five octets and the context. Nonces are random: data_keys.c makes a new key
 * long before 2^32 of them (NIST SP 800-38D §8.3). The caller frees *sealed. CH_INVALID, CH_TOO_LARGE.
 */
CH_MUST_USE bool secret_box_seal(struct ch_view key, uint32_t version, const struct secret_context *context,
				 struct ch_view plaintext, struct ch_bytes *sealed, struct ch_error *err);
/* Which data key opens it. CH_INVALID where it is no sealed secret. */
CH_MUST_USE bool secret_box_version(struct ch_view sealed, uint32_t *version, struct ch_error *err);
/* CH_DENIED: altered, or of another tenant, service or context. The caller frees *plaintext. */
CH_MUST_USE bool secret_box_open(struct ch_view key, const struct secret_context *context,
				 struct ch_view sealed, struct ch_secret *plaintext, struct ch_error *err);

/* --- data_keys.c: thread-safe --- */

struct vault;
struct ch_bus_request;
struct vault_secrets;
struct vault_secrets *vault_secrets_new(struct vault *vault);
void vault_secrets_free(struct vault_secrets *secrets); /* wipes the keys; NULL is fine */

/* The version that seals now; the tenant's first one is made here. CH_NOT_FOUND: no such tenant. */
CH_MUST_USE bool data_key_newest(struct vault_secrets *secrets, const char *tenant, int64_t deadline_us,
				 uint32_t *version, struct ch_error *err);
/* Makes the next version. */
CH_MUST_USE bool data_key_rotate(struct vault_secrets *secrets, const char *tenant, int64_t deadline_us,
				 uint32_t *version, struct ch_error *err);
/* Calls `use` with the key, which is valid for the length of the call. CH_NOT_FOUND: no such version. */
CH_MUST_USE bool data_key_use(struct vault_secrets *secrets, const char *tenant, uint32_t version,
			      int64_t deadline_us,
			      bool (*use)(void *state, struct ch_view key, struct ch_error *err), void *state,
			      struct ch_error *err);
/* One more secret was sealed under it: past DATA_KEY_SEALS_CAP a new version is due. */
#define DATA_KEY_SEALS_CAP (UINT64_C(1) << 28)
bool data_key_is_worn(struct vault_secrets *secrets, const char *tenant, uint32_t version);

#endif
