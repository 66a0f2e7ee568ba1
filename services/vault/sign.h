/* SPDX-License-Identifier: Apache-2.0 */
/* sign.h: what the two halves of a Sign message share: sign_allow.c decides on an item, sign.c has it signed.
 */
#ifndef VAULT_SIGN_H
#define VAULT_SIGN_H

#include "vault.h"

struct named_action; /* sign_allow.c */

/* One item on its way. */
struct work {
	const Chancery__SignItem *item;
	const struct vault_purpose *purpose;
	const struct vault_key *key; /* from vault_keys_get */
	struct vault_check check;
	struct named_action *action; /* where the item names one */
	bool allowed;
	bool quota_asked, quota_taken; /* once, though the key's row may be read twice */
	struct ch_error why_not;
	uint8_t digest[64];
	Chancery__HsmRequest request;
	Chancery__HsmSign sign;
	struct hsm_item hsm;
};

/* May it be signed? True: what must be recorded before a signature is. False: work->check.reason says why
 * too. */
CH_MUST_USE bool vault_sign_allow(struct vault *vault, struct work *work,
				  const struct ch_bus_request *request, struct ch_error *err);
/* Frees what vault_sign_allow made; the work itself is the caller's. */
void vault_sign_forget(struct work *work);

#endif
