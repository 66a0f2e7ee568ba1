/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share and nobody else needs. */
#ifndef CH_AUDITCLIENT_INTERNAL_H
#define CH_AUDITCLIENT_INTERNAL_H

#include "auditclient/auditclient.h"

#define EVENT_CAP (64 * 1024) /* an encoded SignedEvent */

/* Encodes and signs an event with this sequence (0: from a transaction's outbox). (event.c) */
CH_MUST_USE bool ch_audit_sign_event(const struct ch_identity *identity, const struct ch_clock *clock,
				     const struct ch_audit_event *event, uint64_t sequence,
				     struct ch_bytes *signed_event, struct ch_error *err);

/*
 * The spool: segment files, each named by the sequence number of its first record; records are
 * length (4 octets, big endian) || CRC-32 (4 octets) || signed event. Not thread-safe: client.c has the lock.
 * (spool.c)
 */
struct ch_segment {
	uint64_t first; /* sequence number of its first record */
	uint64_t count;
	int64_t size; /* octets that are whole records */
};
struct ch_spool {
	char *directory;
	int lock_fd, directory_fd;
	int active_fd;               /* of the last segment */
	struct ch_segment *segments; /* oldest first; at least one */
	size_t count;
	int64_t bytes; /* of all */
};
#define SPOOL_FRAME 8

/* Opens or makes <state_directory>/spool/ and cuts off a torn record. CH_CONFLICT: another process has it. */
CH_MUST_USE bool ch_spool_open(const char *state_directory, struct ch_spool *spool, struct ch_error *err);
void ch_spool_close(struct ch_spool *spool);
uint64_t ch_spool_next_sequence(const struct ch_spool *spool);
void ch_spool_frame(struct ch_buffer *buffer, struct ch_view record);
/* Writes framed records to the active segment, which has `size` octets, and syncs; needs no lock. On failure
 * nothing was added (or nothing more can be: CH_INTERNAL). */
CH_MUST_USE bool ch_spool_write(int fd, int64_t size, struct ch_view frames, struct ch_error *err);
/* After ch_spool_write, with the lock held: `count` more records of `size` octets in all. */
void ch_spool_account(struct ch_spool *spool, uint64_t count, int64_t size);
/* Begins a new segment at the next sequence. */
CH_MUST_USE bool ch_spool_rotate(struct ch_spool *spool, struct ch_error *err);
/* Removes the oldest segment; there are at least two. */
void ch_spool_drop_oldest(struct ch_spool *spool);
/* Reads framed records of the segment that begins at `first`, from `offset` to at most `end`, up to `cap`
 * octets. */
CH_MUST_USE bool ch_spool_read(const struct ch_spool *spool, uint64_t first, int64_t offset, int64_t end,
			       size_t cap, struct ch_bytes *frames, struct ch_error *err);
/* The next record in `frames`, moved past; false at the end or where one is not whole. */
bool ch_spool_next_record(struct ch_view *frames, struct ch_view *record);

#endif
