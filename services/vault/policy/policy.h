/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h: what limits a key: the sealed row (seal.c, sealed_rows.c), its number that never goes back
 * (number.c), its state and policy (key_states.h), its quota and its callers' (quota.c). sign_allow.c asks
 * here before any bytes are read; store.c keeps the rows.
 */
#ifndef VAULT_POLICY_H
#define VAULT_POLICY_H

#include "db/db.h"
#include "purposes.h"

struct vault;

/* --- sealed_key.c: pure: the canonical octets of what is sealed; the caller frees them --- */

struct ch_bytes vault_key_pack(const struct vault_key *key);
/* number: decimal; tbs_sha256 is empty before the first one. */
struct ch_bytes vault_number_pack(const char *key_id, const char *number, struct ch_view tbs_sha256);
/* As strcmp, of decimal numbers without sign and leading zeros. */
int vault_number_compare(const char *a, const char *b);

/* --- seal.c --- */

#define VAULT_SEAL_SIZE   32 /* HMAC-SHA-256 */
#define VAULT_SEAL_KEY    "chancery/key-policy/v1"
#define VAULT_SEAL_NUMBER "chancery/key-number/v1"

struct vault_seals;
struct vault_seals *vault_seals_new(void);
void vault_seals_free(struct vault_seals *seals); /* NULL is fine */

/*
 * MAC by the HSMs' seal key over domain || 0 || data. `domain` tells what is sealed
 * ("chancery/key-policy/v1", "chancery/quorum/v1", "chancery/key-number/v1"). CH_UNAVAILABLE: no HSM, or they
 * do not agree (mac.h).
 */
CH_MUST_USE bool vault_seal_make(struct vault *vault, const char *domain, struct ch_view data,
				 uint8_t seal[VAULT_SEAL_SIZE], struct ch_error *err);
/*
 * In constant time. What verified once is remembered by its digest, so that a row read again costs no HSM
 * call. CH_DENIED "… was changed outside the vault": the caller raises the alert event.
 */
CH_MUST_USE bool vault_seal_check(struct vault *vault, const char *domain, struct ch_view data,
				  struct ch_view seal, struct ch_error *err);
/* True the first time it is asked about this content: an alert is raised once, not for each request. */
bool vault_seal_first_sight(struct vault *vault, struct ch_view content);
/*
 * This version of `name` was seen. Only what is sealed may be given: a made-up version would shut out the
 * real ones. What is read is held against vault_seal_highest of before it was read: meanwhile it may be
 * replaced.
 */
void vault_seal_saw(struct vault *vault, const char *name, uint64_t version);
/* False where a key's last number, decimal without leading zeros, is below the highest that was given; else
 * it is the highest. Under the row's lock. */
bool vault_seal_number_goes_on(struct vault *vault, const char *key_id, const char *number);
/* The highest version that was given for it; 0: none. */
uint64_t vault_seal_highest(struct vault *vault, const char *name);

/* --- sealed_rows.c --- */

/*
 * For a row that was just read: it is as the vault wrote it, and not one of before; where it looks like one,
 * it is read again, for another thread or vault may have written meanwhile. Raises the alert and frees *key
 * where it is not. CH_DENIED "key '…': its policy row was changed outside the vault"; CH_UNAVAILABLE: no HSM.
 */
CH_MUST_USE bool vault_key_verify_read(struct vault *vault, struct vault_key *key, struct ch_error *err);
/* Its seal alone: the row may be one of before. Raises the alert. CH_DENIED; CH_UNAVAILABLE. */
CH_MUST_USE bool vault_key_check_seal(struct vault *vault, const struct vault_key *key, struct ch_error *err);
/* Sets key->seal for what the key now says. */
CH_MUST_USE bool vault_key_seal(struct vault *vault, struct vault_key *key, struct ch_error *err);

/* The version that the key's row has with its seal; 0: no such row, or its seal does not fit. No alert. */
CH_MUST_USE bool vault_key_sealed_version(struct vault *vault, const char *key_id, uint64_t *version,
					  struct ch_error *err);

/* Changes *key, or refuses; may be called again with a newer row where another vault was faster. */
typedef bool (*vault_key_changer)(void *context, struct vault_key *key, struct ch_error *err);
/*
 * Reads the row, verifies it, lets `change` change it, and writes it with the next version and a new seal:
 * where another vault wrote meanwhile, all again. changed  receives the new row, to be freed; NULL is fine.
 * Errors  what `change` says; CH_NOT_FOUND; CH_DENIED its seal; CH_CONFLICT others were faster too often.
 */
CH_MUST_USE bool vault_key_change(struct vault *vault, const char *key_id, vault_key_changer change,
				  void *context, struct vault_key *changed, struct ch_error *err);

/* --- number.c --- */

/* The seal of a key that has not signed a number yet. */
CH_MUST_USE bool vault_number_seal_first(struct vault *vault, const char *key_id,
					 uint8_t seal[VAULT_SEAL_SIZE], struct ch_error *err);
/*
 * Takes the check's number for its bytes: higher than any before, by its cap at the most, or the very bytes
 * that took it last. Decided under the row's lock, so that it holds over all vaults. CH_DENIED where it goes
 * back or too far, or the row's number was changed outside the vault; check->reason says which ("number",
 * "number-seal").
 */
CH_MUST_USE bool vault_take_number(struct vault *vault, const struct vault_key *key,
				   struct vault_check *check, struct ch_error *err);

/* The last number that the key's row has with its seal; size 0: none. */
struct hsm_mark;
CH_MUST_USE bool vault_number_sealed(struct vault *vault, const char *key_id, struct hsm_mark *number,
				     struct ch_error *err);

/* --- quota.c --- */

/* An item of the configuration's list `caller_quotas`. */
struct vault_caller_quota {
	char *caller;  /* "issuer": all its instances together; "issuer/issuer-1": that one */
	char *purpose; /* or "generate-key" */
	int64_t burst, per_hour;
};

/* CH_INVALID names the item whose caller asks for no such purpose. */
CH_MUST_USE bool vault_caller_quotas_check(const struct vault_caller_quota *quotas, size_t count,
					   struct ch_error *err);

struct vault_quotas;
struct vault_quotas *vault_quotas_new(void);
void vault_quotas_free(struct vault_quotas *quotas); /* NULL is fine */

struct vault_quota_ask {
	struct vault *vault;
	const struct vault_key *key; /* NULL: it is not made yet */
	const struct vault_purpose *purpose;
	const char *service, *instance; /* who asks */
};
/*
 * Spends one signature of the key's quota and of each of the caller's. CH_EXHAUSTED names whose, the limit
 * and when there is one again (retry_after_ms), and spends nothing; *reason receives "key-quota" or
 * "caller-quota".
 */
CH_MUST_USE bool vault_quota_take(const struct vault_quota_ask *ask, const char **reason,
				  struct ch_error *err);

/* The same for one key that is to be made (`caller_quotas` of the purpose "generate-key"). */
CH_MUST_USE bool vault_quota_take_key(struct vault *vault, const char *service, const char *instance,
				      const char **reason, struct ch_error *err);

/* --- quota_store.c --- */

struct vault_quota_row {
	const char *key_id, *caller; /* one of them "" */
	int32_t purpose;
	uint32_t burst, per_hour;
	/* What store_take_quota found. */
	bool missing;
	uint32_t taken;          /* whole tokens, at most what was wanted */
	int64_t available_micro; /* what there was before, in millionths */
};
/* A full bucket, where there is none yet. */
CH_MUST_USE bool store_insert_quota(struct ch_db *db, const struct vault_quota_row *row,
				    struct ch_error *err);
/* Fills up by the time that passed, takes up to `wanted`: one statement under the row's lock. */
CH_MUST_USE bool store_take_quota(struct ch_db *db, struct vault_quota_row *row, uint32_t wanted,
				  struct ch_error *err);
CH_MUST_USE bool store_delete_quotas(struct ch_db *db, const char *key_id, struct ch_error *err);

#endif
