/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_clocks.c: one estimate for each instance heard. A message's way takes time, never less than none: so
 * the largest of sent_at - now over some seconds is the best guess of the difference between two clocks.
 * envelope.c and the bus's client note; libcommon/clockwatch reads.
 */
#include "envelope/peer_clocks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SPAN                                                                                          \
	(2 * CH_SECOND) /* of one guess; the guess before counts as well, so that one is always there \
			 */
#define MEMORY (10 * CH_SECOND) /* after a silence as long as this nothing is known */
#define STEP   (CH_SECOND / 10) /* a clock that is put right by slewing does not move so far at once */

struct entry {
	struct ch_peer peer;
	int64_t began_us, heard_us; /* monotonic: of the guess; the last message */
	int64_t guess_us, before_us;
};

struct ch_peer_clocks {
	pthread_mutex_t lock; /* guards all below */
	struct entry entries[CH_PEER_CLOCKS_CAP];
	size_t count;
	bool looked;
	int64_t ahead_us; /* this clock of the monotonic one, when it was looked at last */
};

struct ch_peer_clocks *ch_peer_clocks_new(void)
{
	struct ch_peer_clocks *clocks = ch_alloc(sizeof(*clocks));

	pthread_mutex_init(&clocks->lock, NULL);
	return clocks;
}

void ch_peer_clocks_free(struct ch_peer_clocks *clocks)
{
	if (!clocks)
		return;
	pthread_mutex_destroy(&clocks->lock);
	free(clocks);
}

static struct entry *find(struct ch_peer_clocks *clocks, const struct ch_peer *peer)
{
	for (size_t i = 0; i < clocks->count; i++)
		if (strcmp(clocks->entries[i].peer.instance, peer->instance) == 0 &&
		    strcmp(clocks->entries[i].peer.service, peer->service) == 0)
			return &clocks->entries[i];
	return NULL;
}

/* A new one, in the place of the one not heard for longest where all are taken. */
static struct entry *add(struct ch_peer_clocks *clocks, const struct ch_peer *peer)
{
	struct entry *entry = &clocks->entries[0];

	if (clocks->count < CH_PEER_CLOCKS_CAP)
		entry = &clocks->entries[clocks->count++];
	else
		for (size_t i = 1; i < clocks->count; i++)
			if (clocks->entries[i].heard_us < entry->heard_us)
				entry = &clocks->entries[i];
	*entry = (struct entry){ .peer = *peer };
	return entry;
}

/* A step of this clock moves all others' offsets. With the lock. */
static void look_at_own(struct ch_peer_clocks *clocks, int64_t now_us)
{
	int64_t ahead_us = now_us - ch_monotonic_us(), step_us = ahead_us - clocks->ahead_us;

	if (clocks->looked && llabs(step_us) > STEP)
		for (size_t i = 0; i < clocks->count; i++) {
			clocks->entries[i].guess_us -= step_us;
			clocks->entries[i].before_us -= step_us;
		}
	clocks->ahead_us = ahead_us;
	clocks->looked = true;
}

static int64_t offset_of(const struct entry *entry)
{
	return entry->guess_us > entry->before_us ? entry->guess_us : entry->before_us;
}

void ch_peer_clocks_note(struct ch_peer_clocks *clocks, const struct ch_peer *peer, int64_t sent_at_us,
			 int64_t now_us)
{
	int64_t seen_us = ch_monotonic_us(), offset_us;
	struct entry *entry;

	if (!peer->service[0] || __builtin_sub_overflow(sent_at_us, now_us, &offset_us))
		return;
	pthread_mutex_lock(&clocks->lock);
	look_at_own(clocks, now_us);
	entry = find(clocks, peer);
	if (!entry)
		entry = add(clocks, peer);
	if (seen_us - entry->heard_us > MEMORY || !entry->heard_us) {
		entry->before_us = entry->guess_us = offset_us;
		entry->began_us = seen_us;
	} else if (seen_us - entry->began_us > SPAN) {
		entry->before_us = seen_us - entry->began_us > 2 * SPAN ? offset_us : entry->guess_us;
		entry->guess_us = offset_us;
		entry->began_us = seen_us;
	} else if (offset_us > entry->guess_us) {
		entry->guess_us = offset_us;
	}
	entry->heard_us = seen_us;
	pthread_mutex_unlock(&clocks->lock);
}

size_t ch_peer_clocks_list(struct ch_peer_clocks *clocks, int64_t now_us,
			   struct ch_peer_clock list[CH_PEER_CLOCKS_CAP])
{
	int64_t at_us = ch_monotonic_us();
	size_t count = 0;

	pthread_mutex_lock(&clocks->lock);
	look_at_own(clocks, now_us);
	for (size_t i = 0; i < clocks->count; i++)
		if (at_us - clocks->entries[i].heard_us <= MEMORY)
			list[count++] = (struct ch_peer_clock){ clocks->entries[i].peer,
								offset_of(&clocks->entries[i]) };
	pthread_mutex_unlock(&clocks->lock);
	return count;
}

int64_t ch_peer_clocks_offset(struct ch_peer_clocks *clocks, const struct ch_peer *peer, int64_t now_us)
{
	struct entry *entry;
	int64_t offset_us = 0;

	pthread_mutex_lock(&clocks->lock);
	look_at_own(clocks, now_us);
	entry = find(clocks, peer);
	if (entry && ch_monotonic_us() - entry->heard_us <= MEMORY)
		offset_us = offset_of(entry);
	pthread_mutex_unlock(&clocks->lock);
	return offset_us;
}
