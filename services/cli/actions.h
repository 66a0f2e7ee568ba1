/* SPDX-License-Identifier: Apache-2.0 */
/* actions.h: actions that wait for officers, as ca.c and the `approve` and `action` commands handle them. */
#ifndef CHANCERY_CLI_ACTIONS_H
#define CHANCERY_CLI_ACTIONS_H

#include "client.h"

#include "action/action.h"

/* What the officer knows that an action must be. */
struct action_expected {
	Chancery__ActionKind kind;
	const struct ch_action_field *fields;
	size_t count;
};

/* The gateway's action with this id. */
CH_MUST_USE bool action_get(struct cli *cli, const char *id, cJSON **action, struct ch_error *err);
/* Its document reads, and is of this action and what is expected (NULL: not asked); CH_DENIED names what
 * differs. */
CH_MUST_USE bool action_check(const cJSON *action, const struct action_expected *expected,
			      struct ch_error *err);
/* All of it, for the officer's eyes, on standard error (action_view.h). CH_DENIED: what is to be signed is
 * not what the document names. */
CH_MUST_USE bool action_show(const cJSON *action, struct ch_error *err);
bool action_is(const cJSON *action, const char *state);
/*
 * Asks, signs the document with the command's --cert and --key and sends it, unless this officer did before
 * or enough did. after: the action as it is now; the caller deletes it.
 */
CH_MUST_USE bool action_approve(struct cli *cli, const cJSON *action, cJSON **after, struct ch_error *err);
/* Until it is open no more; --wait asks for that. CH_UNAVAILABLE says how many officers are missing. */
CH_MUST_USE bool action_await(struct cli *cli, cJSON **action, struct ch_error *err);

#endif
