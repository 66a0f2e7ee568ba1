/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share and nobody else needs. */
#ifndef CH_AUDITCLIENT_INTERNAL_H
#define CH_AUDITCLIENT_INTERNAL_H

#include "auditclient/auditclient.h"

#include <pthread.h>
#include <stdatomic.h>

/* Encodes and signs an event with this sequence (0: from a transaction's outbox). (event.c) */
CH_MUST_USE bool ch_audit_sign_event(struct ch_identity *identity, const struct ch_clock *clock,
				     const struct ch_audit_event *event, uint64_t sequence,
				     struct ch_bytes *signed_event, struct ch_error *err);

/*
 * The spool: segment files, each named by the sequence number of its first record; records are
 * length (4 octets, big endian) || CRC-32 (4 octets) || signed event. <state>/audit-numbers says which
 * numbers may have been used, whatever happens to the segments. Not thread-safe: client.c has the lock.
 * (spool.c, spool_mend.c)
 */
struct ch_segment {
	uint64_t first; /* sequence number of its first record */
	int64_t size;   /* octets that are whole records */
};
#define SPOOL_NAME_SIZE 80 /* "00000000000000000001.events.damaged-2026-11-30T12:00:00.123456Z" */
struct ch_spool_damage {
	char segment[SPOOL_NAME_SIZE];
	char kept[SPOOL_NAME_SIZE];        /* the copy of what was found; "": none */
	int64_t octets;                    /* that are no records */
	uint64_t missing_from, missing_to; /* numbers of events that are or may be lost; 0, 0: none */
};
struct ch_spool {
	char *directory;
	char *numbers_path;
	int lock_fd, directory_fd;
	int active_fd;               /* of the last segment */
	struct ch_segment *segments; /* oldest first; at least one */
	size_t count;
	int64_t bytes;     /* of all */
	uint64_t next;     /* the next event's number */
	uint64_t reserved; /* numbers below are reserved on disk; used by one writer at a time */
	struct ch_spool_damage *damages; /* found, not taken yet */
	size_t damage_count;
};
#define SPOOL_FRAME        8
#define SPOOL_SEGMENT_SIZE (1024 * 1024) /* a segment is ended when it has so much */
#define SPOOL_KEPT_BACK    (128 * 1024) /* room behind that for what must be recorded (ch_audit_record_owed) */

/* Opens or makes <state_directory>/spool/. What is damaged is copied aside and noted in `damages`; each
 * record that is whole stays. CH_CONFLICT: another process has it. */
CH_MUST_USE bool ch_spool_open(const char *state_directory, struct ch_spool *spool, struct ch_error *err);
/* Notes on disk which number comes next; NULL-safe for one that did not open. */
void ch_spool_close(struct ch_spool *spool);
void ch_spool_frame(struct ch_buffer *buffer, struct ch_view record);
/* Numbers below `until` will be used: noted on disk before any is. CH_UNAVAILABLE. */
CH_MUST_USE bool ch_spool_reserve(struct ch_spool *spool, uint64_t until, struct ch_error *err);
/* Writes framed records to the active segment, which has `size` octets, and syncs; needs no lock. On failure
 * nothing was added (or nothing more can be: CH_INTERNAL). */
CH_MUST_USE bool ch_spool_write(int fd, int64_t size, struct ch_view frames, struct ch_error *err);
/* After ch_spool_write, with the lock held: `count` more records of `size` octets in all. */
void ch_spool_account(struct ch_spool *spool, uint64_t count, int64_t size);
/* Begins a new segment at the next sequence. */
CH_MUST_USE bool ch_spool_rotate(struct ch_spool *spool, struct ch_error *err);
/* Takes the room that the active segment may grow to from the disk now. CH_UNAVAILABLE. */
CH_MUST_USE bool ch_spool_take_room(const struct ch_spool *spool, struct ch_error *err);
/* Empties the only segment, whose records have all been delivered, and begins it anew at the next sequence:
 * where the disk has no room for a second one. CH_INTERNAL: the spool cannot be used any more. */
CH_MUST_USE bool ch_spool_begin_anew(struct ch_spool *spool, struct ch_error *err);
/* Removes the oldest segment; there are at least two. */
void ch_spool_drop_oldest(struct ch_spool *spool);
/* Reads framed records of the segment that begins at `first`, from `offset` to at most `end`, up to `cap`
 * octets. */
CH_MUST_USE bool ch_spool_read(const struct ch_spool *spool, uint64_t first, int64_t offset, int64_t end,
			       size_t cap, struct ch_bytes *frames, struct ch_error *err);
/* The next record in `frames`, moved past; false at the end or where one is not whole. */
bool ch_spool_next_record(struct ch_view *frames, struct ch_view *record);

/* Reads a segment whole and leaves nothing but its whole records in it; what was found is kept as a copy and
 * noted in `damages` where it had more. *next: raised over the numbers that were seen. *torn: the end is
 * damaged, so nobody knows how many events were there. (spool_mend.c) */
CH_MUST_USE bool ch_spool_mend(struct ch_spool *spool, size_t index, uint64_t *next, bool *torn,
			       struct ch_error *err);
struct ch_spool_damage *ch_spool_note_damage(struct ch_spool *spool);
/* spool.c, for spool_mend.c */
void ch_spool_segment_name(uint64_t first, char name[SPOOL_NAME_SIZE]);

/* --- the client (client.c) --- */

#define EVENTS_PER_REQUEST 256
#define SEND_SIZE          (512 * 1024) /* octets of events in a request */

/* Records that will be synced together. */
struct batch {
	int users; /* callers that look at it */
	bool owed; /* has an event of what was done already */
	bool done, stored;
	struct ch_error err;
	struct ch_buffer frames;
	uint64_t count;
};

struct ch_audit_client {
	struct ch_audit_options options;
	pthread_t sender;
	bool running;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct ch_spool spool;
	struct batch *open; /* being filled; NULL: none */
	uint64_t writing;   /* events in the batch that somebody writes without the lock; 0: nobody does */
	bool broken;        /* a sync failed */
	bool failing;       /* the last write failed, or the disk has no room for the next segment */
	bool closing;
	int64_t send_offset; /* in the oldest segment: acknowledged up to here */
	int64_t refusal_second, summary_second;
	unsigned refusals, refusals_unsent; /* in that second; those that only the summary counts */
	atomic_bool unable;                 /* what ch_audit_able looks at first; written with the lock */
	struct ch_metric *bytes, *recorded, *refused, *sent, *damaged, *quarantined;
};

/* Waits on `changed` with the lock, at most to deadline_us (monotonic). */
void ch_audit_wait(struct ch_audit_client *client, int64_t deadline_us);
/* After anything that may_record and `failing` look at has changed. With the lock. */
void ch_audit_note_state(struct ch_audit_client *client);
/* With the lock. */
bool ch_audit_all_sent(const struct ch_audit_client *client);

/* --- sender.c --- */
void *ch_audit_send_spooled(void *client);
/* Sends encoded SignedEvents, at most EVENTS_PER_REQUEST, of together little more than SEND_SIZE. done[i]: it
 * need not be sent again. False: nothing is known of any; true with one that is not done: *err says why. */
CH_MUST_USE bool ch_audit_deliver(struct ch_audit_client *client, const struct ch_view *events, size_t count,
				  bool *done, struct ch_error *err);

#endif
