/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_clocks.h: how far the clocks of the instances that this one hears are from its own: every message says
 * when it was sent. Fed with messages that cannot be old ones sent again: those that passed the replay cache,
 * and replies, which name the digest of what was just asked. libcommon/clockwatch draws conclusions.
 */
#ifndef CH_PEER_CLOCKS_H
#define CH_PEER_CLOCKS_H

#include "envelope/envelope.h"

#define CH_PEER_CLOCKS_CAP 64

struct ch_peer_clocks; /* thread-safe */
struct ch_peer_clocks *ch_peer_clocks_new(void);
void ch_peer_clocks_free(struct ch_peer_clocks *clocks);

/* A message of `peer` that said sent_at_us arrived when this clock said now_us. */
void ch_peer_clocks_note(struct ch_peer_clocks *clocks, const struct ch_peer *peer, int64_t sent_at_us,
			 int64_t now_us);

struct ch_peer_clock {
	struct ch_peer peer;
	int64_t offset_us; /* the peer's clock less ours; at most the quickest message's way too low */
};
/* Those heard in the last 10 s, as this clock, which says now_us, sees them: where it was stepped since, what
 * was heard before tells it so. Returns how many, CH_PEER_CLOCKS_CAP at the most. */
size_t ch_peer_clocks_list(struct ch_peer_clocks *clocks, int64_t now_us,
			   struct ch_peer_clock list[CH_PEER_CLOCKS_CAP]);
/* 0 where nothing is known of it. */
int64_t ch_peer_clocks_offset(struct ch_peer_clocks *clocks, const struct ch_peer *peer, int64_t now_us);

#endif
