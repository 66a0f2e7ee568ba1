/* SPDX-License-Identifier: Apache-2.0 */
/* generate.h: the parts of a GenerateKey message: key_kinds.c says what keys there are, make_key.c makes one
 * on the HSMs, generate.c answers and records. */
#ifndef VAULT_GENERATE_H
#define VAULT_GENERATE_H

#include "vault.h"

/* What keys there are: a key has exactly one of these sets of purposes, asked for by one service. */
struct key_kind {
	const char *name;
	const char *caller; /* and `operator`, where officers approve */
	unsigned purposes;
	bool has_subject, has_policies, has_origin;
	bool needs_approval;
};

/* May this service have such a key made? Pure. *kind is of the table. */
CH_MUST_USE bool vault_key_kind_check(const Chancery__GenerateKeyRequest *ask, const char *service,
				      const struct key_kind **kind, struct ch_error *err);
/* Waits for its turn until the deadline, and no longer than this: who waits keeps one of the bus's workers,
 * and a key may take a minute. CH_UNAVAILABLE. */
#define VAULT_TURN_US (2 * CH_SECOND)
CH_MUST_USE bool vault_turn_take(struct vault_turn *turn, int64_t deadline_us, struct ch_error *err);
void vault_turn_give(struct vault_turn *turn);

/* Makes the key on one HSM and copies it to the others, each copy proven; fills in its public key and its
 * residency. The caller frees *wrapped. What cannot be completed is destroyed. */
CH_MUST_USE bool vault_make_key(struct vault *vault, struct vault_key *key, struct ch_bytes *wrapped,
				struct ch_error *err);
/* Best effort: a key that nothing records can sign nothing. */
void vault_destroy_everywhere(struct vault *vault, struct vault_key *key);

#endif
