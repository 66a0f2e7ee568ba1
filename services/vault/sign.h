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
	bool judged; /* the key's limits or the purpose's check said no: the vault's verdict on these bytes */
	bool quota_asked, quota_taken; /* once, though the key's row may be read twice */
	struct ch_error why_not;
	uint8_t digest[64];
	struct verifying *verifying; /* of the message */
	Chancery__HsmRequest request;
	Chancery__HsmSign sign;
	struct hsm_item hsm;
};

/* May it be signed? True: what must be recorded before a signature is. False: work->check.reason says why
 * too. */
CH_MUST_USE bool vault_sign_allow(struct vault *vault, struct work *work,
				  const struct ch_bus_request *request, struct ch_error *err);
/* --- sign_lane.c --- */
/* How many messages of one lane may be in hand at a time, of so many bus workers. */
unsigned vault_lane_limit(unsigned workers);
/* CH_UNAVAILABLE where the message's lane has its share of the bus's workers. *lane is to be left when it is
 * done. */
CH_MUST_USE bool vault_lane_enter(struct vault *vault, const Chancery__SignRequest *ask, enum hsm_lane *lane,
				  struct ch_error *err);
void vault_lane_leave(struct vault *vault, enum hsm_lane lane);

/* What is not Sign, takes long, and comes from daemons (keys to make, secrets): as many at a time as a
 * quarter of Sign's workers, which the bus has besides them. */
unsigned vault_other_limit(unsigned sign_workers);
/* CH_UNAVAILABLE where there are so many. To be left when it is done. */
CH_MUST_USE bool vault_other_enter(struct vault *vault, struct ch_error *err);
void vault_other_leave(struct vault *vault);

/* Frees what vault_sign_allow made; the work itself is the caller's. */
void vault_sign_forget(struct work *work);

#endif
