/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_user.h: Unix users of HSMs and of the vault, as the configuration names them. */
#ifndef VAULT_HSM_USER_H
#define VAULT_HSM_USER_H

#include "err/err.h"

#include <sys/types.h>

struct hsm_user {
	uid_t uid;
	gid_t gid; /* its primary group; the number of the user where it has no entry */
};

/* A user's name, or a number, which needs no entry in the user database. CH_INVALID. */
CH_MUST_USE bool hsm_user_find(const char *name, struct hsm_user *user, struct ch_error *err);

/*
 * Becomes that user for good, with its groups and nobody else's. Nothing where this process is that user
 * already; CH_DENIED where it is neither that user nor root.
 */
CH_MUST_USE bool hsm_user_become(const char *name, struct ch_error *err);

/*
 * The same until hsm_user_act_as_root, where this process is root; for our own code alone, since it could go
 * back by itself. Aborts where it cannot go back.
 */
CH_MUST_USE bool hsm_user_act_as(const char *name, struct ch_error *err);
void hsm_user_act_as_root(void);

#endif
