/* SPDX-License-Identifier: Apache-2.0 */
/*
 * waiting.c: how long events may wait whose signer's certificate chains to no CA that is known here: this
 * host may not have the newest system CA yet. judge.c asks.
 */
#include "audit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATES 64 /* at a time; what is beyond does not wait */

struct certificate {
	uint8_t sha256[32];
	int64_t since_us, asked_us;
};

struct waiting {
	pthread_mutex_t lock; /* guards the rest */
	struct certificate items[CERTIFICATES];
	size_t count;
};

struct waiting *waiting_new(void)
{
	struct waiting *waiting = ch_alloc(sizeof(*waiting));

	pthread_mutex_init(&waiting->lock, NULL);
	return waiting;
}

void waiting_free(struct waiting *waiting)
{
	if (!waiting)
		return;
	pthread_mutex_destroy(&waiting->lock);
	free(waiting);
}

/* Those that nobody asks for any more make room. */
static void forget_old(struct waiting *waiting, int64_t now_us)
{
	size_t kept = 0;

	for (size_t i = 0; i < waiting->count; i++)
		if (now_us - waiting->items[i].asked_us <= WAITING_PATIENCE)
			waiting->items[kept++] = waiting->items[i];
	waiting->count = kept;
}

static struct certificate *find(struct waiting *waiting, const uint8_t sha256[32], int64_t now_us)
{
	struct certificate *fresh;

	for (size_t i = 0; i < waiting->count; i++)
		if (memcmp(waiting->items[i].sha256, sha256, 32) == 0)
			return &waiting->items[i];
	if (waiting->count == CERTIFICATES)
		return NULL;
	fresh = &waiting->items[waiting->count++];
	memcpy(fresh->sha256, sha256, 32);
	fresh->since_us = now_us;
	return fresh;
}

bool waiting_may(struct waiting *waiting, const uint8_t sha256[32], int64_t now_us)
{
	struct certificate *certificate;
	bool may = false;

	pthread_mutex_lock(&waiting->lock);
	forget_old(waiting, now_us);
	certificate = find(waiting, sha256, now_us);
	if (certificate) {
		certificate->asked_us = now_us;
		may = now_us - certificate->since_us < WAITING_PATIENCE;
	}
	pthread_mutex_unlock(&waiting->lock);
	return may;
}
