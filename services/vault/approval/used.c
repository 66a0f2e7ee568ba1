/* SPDX-License-Identifier: Apache-2.0 */
/* used.c: what this process saw of actions and quorums, beside what the database says. actions.c and quorum.c
 * ask. */
#include "approval.h"

#include "err/err.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define ACTIONS_CAP 100000 /* years of ceremonies; past it the table starts anew */

struct used_action {
	char id[CH_ACTION_ID_SIZE];
	uint8_t message_id[16];
	UT_hash_handle hh;
};

struct vault_used {
	pthread_mutex_t lock;
	struct used_action *actions; /* guarded by lock */
};

struct vault_used *vault_used_new(void)
{
	struct vault_used *used = ch_alloc(sizeof(*used));

	pthread_mutex_init(&used->lock, NULL);
	return used;
}

static void forget_actions(struct vault_used *used)
{
	struct used_action *action = NULL, *next = NULL;

	HASH_ITER(hh, used->actions, action, next)
	{
		HASH_DEL(used->actions, action);
		free(action);
	}
}

void vault_used_free(struct vault_used *used)
{
	if (!used)
		return;
	forget_actions(used);
	pthread_mutex_destroy(&used->lock);
	free(used);
}

bool vault_used_check(struct vault_used *used, const char *action_id, struct ch_view message_id,
		      struct ch_error *err)
{
	struct used_action *action;
	bool fresh;

	pthread_mutex_lock(&used->lock);
	HASH_FIND_STR(used->actions, action_id, action);
	fresh = !action || ch_view_equal(ch_view(action->message_id, sizeof(action->message_id)), message_id);
	pthread_mutex_unlock(&used->lock);
	return fresh || ch_fail(err, CH_REPLAYED, "action '%.40s' was used before: its approvals count once",
				action_id);
}

void vault_used_remember(struct vault_used *used, const char *action_id, struct ch_view message_id)
{
	struct used_action *action;

	if (message_id.size != sizeof(action->message_id) || strlen(action_id) >= CH_ACTION_ID_SIZE)
		return;
	pthread_mutex_lock(&used->lock);
	HASH_FIND_STR(used->actions, action_id, action);
	if (!action) {
		if (HASH_COUNT(used->actions) >= ACTIONS_CAP)
			forget_actions(used);
		action = ch_alloc(sizeof(*action));
		memcpy(action->id, action_id, strlen(action_id) + 1);
		memcpy(action->message_id, message_id.data, sizeof(action->message_id));
		HASH_ADD_STR(used->actions, id, action);
	}
	pthread_mutex_unlock(&used->lock);
}
