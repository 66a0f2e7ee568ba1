/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_verify.c: replies are verified before their item is done, by the thread that waits for them (hsm_run),
 * so that as many verify at once as have batches in hand, and each goes on while its other items are still
 * signed. An HSM whose signature is wrong is shut out for a while, and another one signs that item again.
 */
#include "hsm_pool.h"

#include "log/log.h"

#include <stdio.h>
#include <utlist.h>

/* True where that is news. */
static bool note_wrong(struct hsm *hsm, const char *why)
{
	bool news = hsm_breaker_wrong(&hsm->breaker, ch_monotonic_us());

	if (news)
		hsm_breaker_changed(hsm);
	if (hsm->wrong_metric)
		ch_metric_add(hsm->wrong_metric, 1);
	snprintf(hsm->last_error, sizeof(hsm->last_error), "%.*s", (int)sizeof(hsm->last_error) - 1, why);
	return news;
}

/* The reply is wrong: as if the HSM had refused. True where that is news. */
static bool refuse_reply(struct hsm_pool *pool, struct hsm_item *item)
{
	struct hsm *hsm = &pool->hsms[item->served_by];
	bool news = note_wrong(hsm, item->err.message);

	chancery__hsm_reply__free_unpacked(item->reply, NULL);
	item->reply = NULL;
	item->refused_by |= 1u << hsm->index;
	if (item->allowed & ~item->refused_by)
		hsm_assign(pool, item);
	else
		hsm_finish(item);
	return news;
}

/* Without the lock. */
static void tell(struct hsm_pool *pool, size_t index, const char *why)
{
	const struct hsm_pool_options *options = &pool->options;

	ch_log_error("%s; it gets nothing more to sign for now", why);
	if (options->event)
		options->event(options->event_state, options->hsms[index].name, HSM_SIGNED_WRONG, why,
			       (size_t)__builtin_popcount(hsm_pool_up(pool)));
}

void hsm_pool_wrong(struct hsm_pool *pool, size_t index, const char *why)
{
	bool news;

	pthread_mutex_lock(&pool->lock);
	news = note_wrong(&pool->hsms[index], why);
	pthread_mutex_unlock(&pool->lock);
	if (news)
		tell(pool, index, why);
}

/* Without the lock. Sets the item's error where its reply is wrong. */
static bool verify(struct hsm_pool *pool, struct hsm_item *item)
{
	struct ch_error why = CH_NONE;

	if (item->verify(item->verify_state, item->reply, &why))
		return true;
	ch_fail(&item->err, CH_UNAVAILABLE, "HSM '%s' signed wrong: %s", hsm_pool_name(pool, item->served_by),
		why.message);
	item->err.retryable = true;
	return false;
}

void hsm_verify_answered(struct hsm_pool *pool, struct hsm_batch *batch)
{
	struct hsm_item *answered = batch->answered, *item, *next;
	struct hsm_item *right = NULL, *wrong = NULL;

	batch->answered = NULL;
	pthread_mutex_unlock(&pool->lock);
	for (item = answered; item; item = next) { /* to one list or the other */
		next = item->next;
		if (verify(pool, item))
			DL_APPEND(right, item);
		else
			DL_APPEND(wrong, item);
	}
	pthread_mutex_lock(&pool->lock);
	DL_FOREACH_SAFE(right, item, next)
	{
		hsm_breaker_right(&pool->hsms[item->served_by].breaker);
		hsm_finish(item);
	}
	DL_FOREACH_SAFE(wrong, item, next)
	{
		size_t index = item->served_by;
		struct ch_error why = item->err;

		if (!refuse_reply(pool, item))
			continue;
		pthread_mutex_unlock(&pool->lock);
		tell(pool, index, why.message);
		pthread_mutex_lock(&pool->lock);
	}
	hsm_flush_all(pool);
}
