/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h: what limits a key: the sealed row (seal.c), its state (state.c), its quota (quota.c). ops.c asks
 * here before any bytes are read; store.c keeps the rows.
 */
#ifndef VAULT_POLICY_H
#define VAULT_POLICY_H

#include "purposes.h"

struct vault;

/* --- seal.c --- */

#define VAULT_SEAL_SIZE 32 /* HMAC-SHA-256 */
/*
 * MAC by the HSMs' seal key over domain || 0 || data. `domain` tells what is sealed
 * ("chancery/key-policy/v1", "chancery/quorum/v1", "chancery/key-number/v1"). CH_UNAVAILABLE: no HSM.
 */
CH_MUST_USE bool vault_seal_make(struct vault *vault, const char *domain, struct ch_view data,
				 uint8_t seal[VAULT_SEAL_SIZE], struct ch_error *err);
/*
 * In constant time. What verified once is remembered by its digest, so that a row read again costs no HSM
 * call. CH_DENIED "… was changed outside the vault": the caller raises the alert event.
 */
CH_MUST_USE bool vault_seal_check(struct vault *vault, const char *domain, struct ch_view data,
				  struct ch_view seal, struct ch_error *err);

#endif
