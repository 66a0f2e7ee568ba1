/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c: the nonces of messages that are still inside the clock window, in one hash set for each second of
 * sent_at. A set whose second has left the window is dropped whole, and its second stays shut: wherever the
 * clock steps to, what was sent in it is not taken again, and what was never dropped is not refused for it.
 */
#include "envelope/envelope.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RING 128 /* seconds: more than twice the clock window, so that two live seconds never share a set */
_Static_assert(RING > 2 * CH_ENVELOPE_WINDOW / CH_SECOND + 2, "the ring holds the whole window");

#define SPANS 16 /* one as long as the clock runs on; each step and each empty second can begin another */

struct nonce {
	uint64_t half[2];
};

struct second {
	int64_t number;       /* seconds since 1970 */
	size_t count, room;   /* room: a power of two, 0 or at least 16 */
	struct nonce *nonces; /* all zero: free */
};

/* Seconds whose nonces were dropped, the first to the last. */
struct span {
	int64_t first, last;
};

struct ch_replay {
	const struct ch_clock *clock;
	size_t capacity;
	uint64_t key[2];      /* so that a peer cannot choose nonces that collide */
	pthread_mutex_t lock; /* guards all below */
	size_t count;
	int64_t floor_us; /* when it began, by the clock as it is: what was sent at or before it is refused */
	int64_t began_us; /* the same by the monotonic clock */
	int64_t last_purge; /* second */
	struct second ring[RING];
	struct span shut[SPANS]; /* ascending, apart from each other */
	size_t shut_count;
};

struct ch_replay *ch_replay_new(size_t capacity, const struct ch_clock *clock)
{
	struct ch_replay *replay = ch_alloc(sizeof(*replay));

	replay->clock = clock;
	replay->capacity = capacity;
	replay->floor_us = ch_clock_now_us(clock);
	replay->began_us = ch_monotonic_us();
	ch_random(replay->key, sizeof(replay->key));
	pthread_mutex_init(&replay->lock, NULL);
	return replay;
}

/* Closes the smallest gap between two neighbours, and with it what lies between: they become one. */
static void merge_closest(struct ch_replay *replay)
{
	size_t at = 0;

	for (size_t i = 1; i + 1 < replay->shut_count; i++)
		if (replay->shut[i + 1].first - replay->shut[i].last <
		    replay->shut[at + 1].first - replay->shut[at].last)
			at = i;
	replay->shut[at].last = replay->shut[at + 1].last;
	replay->shut_count--;
	memmove(&replay->shut[at + 1], &replay->shut[at + 2],
		(replay->shut_count - at - 1) * sizeof(replay->shut[0]));
}

static void shut_second(struct ch_replay *replay, int64_t number)
{
	size_t at = 0;

	while (at < replay->shut_count && replay->shut[at].last < number - 1)
		at++;
	if (at < replay->shut_count && replay->shut[at].first <= number + 1) { /* beside or in this one */
		if (number < replay->shut[at].first)
			replay->shut[at].first = number;
		if (number > replay->shut[at].last)
			replay->shut[at].last = number;
		return;
	}
	memmove(&replay->shut[at + 1], &replay->shut[at],
		(replay->shut_count - at) * sizeof(replay->shut[0]));
	replay->shut[at] = (struct span){ number, number };
	if (++replay->shut_count == SPANS)
		merge_closest(replay);
}

static bool is_shut(const struct ch_replay *replay, int64_t number)
{
	for (size_t i = 0; i < replay->shut_count; i++)
		if (number >= replay->shut[i].first && number <= replay->shut[i].last)
			return true;
	return false;
}

static void drop(struct ch_replay *replay, struct second *second)
{
	if (second->count)
		shut_second(replay, second->number);
	replay->count -= second->count;
	free(second->nonces);
	*second = (struct second)CH_NONE;
}

void ch_replay_free(struct ch_replay *replay)
{
	if (!replay)
		return;
	for (size_t i = 0; i < RING; i++)
		drop(replay, &replay->ring[i]);
	pthread_mutex_destroy(&replay->lock);
	free(replay);
}

static uint64_t mix(const struct ch_replay *replay, const struct nonce *nonce)
{
	uint64_t hash = (nonce->half[0] ^ replay->key[0]) * ((nonce->half[1] ^ replay->key[1]) | 1);

	hash ^= hash >> 32;
	hash *= UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

/* True where it was not there before. There is room. */
static bool insert(const struct ch_replay *replay, struct second *second, const struct nonce *nonce)
{
	for (size_t i = mix(replay, nonce);; i++) {
		struct nonce *slot = &second->nonces[i & (second->room - 1)];

		if (!slot->half[0] && !slot->half[1]) {
			*slot = *nonce;
			second->count++;
			return true;
		}
		if (slot->half[0] == nonce->half[0] && slot->half[1] == nonce->half[1])
			return false;
	}
}

static void grow(const struct ch_replay *replay, struct second *second)
{
	struct second larger = { .number = second->number, .room = second->room ? 2 * second->room : 16 };

	larger.nonces = ch_alloc(larger.room * sizeof(struct nonce));
	for (size_t i = 0; i < second->room; i++)
		if (second->nonces[i].half[0] || second->nonces[i].half[1])
			insert(replay, &larger, &second->nonces[i]);
	free(second->nonces);
	*second = larger;
}

/* The clock was put back behind when it began, as where that was wrong: what was sent since counts, as after
 * a restart. What an earlier run may just have taken stays shut. */
static void follow_back(struct ch_replay *replay, int64_t now_us)
{
	int64_t began_us = now_us - (ch_monotonic_us() - replay->began_us);

	if (began_us > replay->floor_us - CH_SECOND)
		return;
	for (int64_t i = 2 * CH_ENVELOPE_WINDOW / CH_SECOND; i >= 0; i--)
		shut_second(replay, replay->floor_us / CH_SECOND - i);
	replay->floor_us = began_us;
}

/* Once a second: lets go of the seconds that have left the window. */
static void purge(struct ch_replay *replay)
{
	int64_t now_us = ch_clock_now_us(replay->clock), now = now_us / CH_SECOND;
	int64_t oldest = now - CH_ENVELOPE_WINDOW / CH_SECOND - 1;

	if (now == replay->last_purge)
		return;
	replay->last_purge = now;
	follow_back(replay, now_us);
	for (size_t i = 0; i < RING; i++)
		if (replay->ring[i].count && replay->ring[i].number < oldest)
			drop(replay, &replay->ring[i]);
}

/* Full: forgets the oldest second and from now on refuses what was sent in it. */
static void make_room(struct ch_replay *replay)
{
	struct second *oldest = NULL;

	for (size_t i = 0; i < RING; i++)
		if (replay->ring[i].count && (!oldest || replay->ring[i].number < oldest->number))
			oldest = &replay->ring[i];
	if (oldest)
		drop(replay, oldest);
}

static bool remember(struct ch_replay *replay, const struct nonce *nonce, int64_t sent_at_us,
		     struct ch_error *err)
{
	int64_t number = sent_at_us / CH_SECOND;
	struct second *second = &replay->ring[number % RING];

	purge(replay);
	if (replay->count >= replay->capacity)
		make_room(replay);
	if (sent_at_us <= replay->floor_us || is_shut(replay, number)) {
		ch_fail(err, CH_EXPIRED,
			"message was sent before this instance began to remember nonces, or in a "
			"second whose nonces it has forgotten");
		if (err)
			err->retry_after_ms = 5;
		return false;
	}
	if (second->number != number)
		drop(replay, second);
	second->number = number;
	if (second->count * 4 >= second->room * 3)
		grow(replay, second);
	if (!insert(replay, second, nonce))
		return ch_fail(err, CH_REPLAYED, "message with this nonce was received before");
	replay->count++;
	return true;
}

bool ch_replay_check(struct ch_replay *replay, const uint8_t nonce[CH_ENVELOPE_ID_SIZE], int64_t sent_at_us,
		     struct ch_error *err)
{
	struct nonce value;
	bool fresh;

	memcpy(&value, nonce, sizeof(value));
	if ((!value.half[0] && !value.half[1]) || sent_at_us < 0)
		return ch_fail(err, CH_INVALID, "message nonce is all zero");
	pthread_mutex_lock(&replay->lock);
	fresh = remember(replay, &value, sent_at_us, err);
	pthread_mutex_unlock(&replay->lock);
	return fresh;
}
