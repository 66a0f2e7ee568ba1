/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mac.h: MACs by the HSMs' seal key, which no single HSM is believed about: one that is wrong would have the
 * vault write rows that no other HSM knows as the vault's, or call an honest row a forgery. seal.c asks here.
 */
#ifndef VAULT_MAC_H
#define VAULT_MAC_H

#include "err/err.h"
#include "mem/mem.h"

#define VAULT_MAC_SIZE 32 /* HMAC-SHA-256 */

struct vault;

/*
 * By every HSM that is up and not shut out by its breaker. CH_UNAVAILABLE: none made one, or they differ
 * (alert "seal-differs" names them: nothing says which of them is wrong).
 */
CH_MUST_USE bool vault_mac_make(struct vault *vault, struct ch_view data, uint8_t made[VAULT_MAC_SIZE],
				struct ch_error *err);
/*
 * In constant time. One HSM that says it is right is enough, for nobody guesses a MAC; whoever said otherwise
 * is then shut out as for a wrong signature. CH_DENIED: each HSM that is up says that it is wrong.
 */
CH_MUST_USE bool vault_mac_check(struct vault *vault, struct ch_view data, struct ch_view told,
				 struct ch_error *err);

#endif
