/* SPDX-License-Identifier: Apache-2.0 */
/* key_states.h: states of a key, and what limits it before any bytes are read (state.c, limits.c). Pure. */
#ifndef VAULT_KEY_STATES_H
#define VAULT_KEY_STATES_H

#include "purposes.h"

/* --- state.c --- */

struct vault_transition {
	const char *from, *to;
	bool needs_approval;
};
bool vault_state_known(const char *name);
/* May a key in this state sign for this purpose? */
bool vault_state_signs(const char *name, Chancery__Purpose purpose);
/* A key that is to sign, now or later: officers who certify another one overlooked something. */
bool vault_state_may_be_certified(const char *name);
/* It certifies nobody but the CA's own OCSP responders. */
bool vault_state_tells_status_alone(const char *name);
/*
 * What becomes of a CA's key in state `from` when the CA becomes `ca_state` ("suspended", "active",
 * "retired", "revoked" for this CRLReason); `from` itself: nothing is to change. Whether there is such a way
 * is vault_transition_find's. NULL: no such state of a CA.
 */
const char *vault_ca_key_state(const char *from, const char *ca_state, const char *reason);
/* NULL: there is no such way. */
const struct vault_transition *vault_transition_find(const char *from, const char *to);
/* "suspended, compromised, retired"; "nothing". The caller frees it. */
char *vault_transitions_from(const char *from);

/* --- limits.c --- */

#define VAULT_QUOTA_CAP 1000000000 /* signatures, at once or per hour */

/*
 * State, purpose, callers and algorithms of the key allow `service` to ask for this purpose. *reason receives
 * "key-state", "key-purpose", "key-caller" or "signature-algorithm". CH_CONFLICT, CH_DENIED
 */
CH_MUST_USE bool vault_limits_check(const struct vault_key *key, const struct vault_purpose *purpose,
				    const char *service, const char **reason, struct ch_error *err);
/* Whether each signature is an event of its own: the key says, else its purpose. */
bool vault_limits_each_audited(const struct vault_key *key, const struct vault_purpose *purpose);

/* CH_INVALID names the field that no key of these purposes and algorithm can have. */
CH_MUST_USE bool vault_policy_valid(const Chancery__KeyPolicy *policy, const struct vault_key *key,
				    struct ch_error *err);
/* Puts it into the key; max_validity_seconds where the key's purposes want it. */
void vault_policy_set(struct vault_key *key, const Chancery__KeyPolicy *policy);
/* The message of what the key says. The caller frees it with chancery__key_policy__free_unpacked. */
Chancery__KeyPolicy *vault_policy_message(const struct vault_key *key);

#endif
