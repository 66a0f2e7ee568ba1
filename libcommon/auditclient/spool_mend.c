/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool_mend.c: a segment that is damaged (an octet changed, a record torn, an end cut off or full of zeros)
 * loses what is damaged and nothing else: reading goes on at the next record whose checksum holds. Called at
 * start for every segment, and by the sender for one that it cannot read.
 */
#include "auditclient/internal.h"
#include "unpack/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a segment was found to hold. */
struct findings {
	struct ch_bytes content;
	struct ch_buffer whole; /* its records, one behind the other */
	int64_t damaged;        /* octets that are none */
	uint64_t next;          /* the number that should come next */
	uint64_t missing_from, missing_to;
	bool torn; /* its end is damaged */
};

static void free_findings(struct findings *findings)
{
	ch_bytes_free(&findings->content);
	ch_buffer_free(&findings->whole);
}
CH_DEFINE_AUTO_VALUE(findings, struct findings, free_findings)

struct ch_spool_damage *ch_spool_note_damage(struct ch_spool *spool)
{
	size_t size = (spool->damage_count + 1) * sizeof(*spool->damages);

	spool->damages = ch_realloc(spool->damages, size);
	spool->damages[spool->damage_count] = (struct ch_spool_damage)CH_NONE;
	return &spool->damages[spool->damage_count++];
}

static bool sequence_of(struct ch_view record, uint64_t *sequence)
{
	Chancery__SignedEvent *outer =
		(Chancery__SignedEvent *)ch_unpack(&chancery__signed_event__descriptor, record);
	Chancery__Event *event =
		outer ? (Chancery__Event *)ch_unpack(&chancery__event__descriptor,
						     ch_view(outer->event.data, outer->event.len))
		      : NULL;

	*sequence = event ? event->sequence : 0;
	if (event)
		chancery__event__free_unpacked(event, NULL);
	if (outer)
		chancery__signed_event__free_unpacked(outer, NULL);
	return *sequence > 0;
}

static void note_record(struct findings *found, uint64_t sequence, bool after_hole)
{
	if (after_hole && sequence > found->next) {
		found->missing_from = found->missing_from ? found->missing_from : found->next;
		found->missing_to = sequence - 1;
	}
	if (sequence >= found->next)
		found->next = sequence + 1;
}

/* Octet by octet from where no record begins: a length of at most CH_EVENT_CAP with a checksum that holds and
 * an event behind it is no accident. */
static void read_records(struct findings *found)
{
	struct ch_view rest = ch_view_of(&found->content);

	while (rest.size) {
		struct ch_view before = rest, record;
		uint64_t sequence;

		if (ch_spool_next_record(&rest, &record) && sequence_of(record, &sequence)) {
			note_record(found, sequence, found->torn);
			ch_buffer_add(&found->whole, before.data, before.size - rest.size);
			found->torn = false;
			continue;
		}
		rest = ch_view(before.data + 1, before.size - 1);
		found->torn = true;
		found->damaged++;
	}
}

static bool write_whole(const struct ch_spool *spool, const char *name, struct ch_view whole,
			struct ch_error *err)
{
	CH_AUTO(ch_string) fresh = ch_format("%s.new", name);
	CH_AUTO(ch_fd) fd =
		openat(spool->directory_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return ch_fail_errno(err, CH_UNAVAILABLE, errno, "audit spool file '%s/%s'", spool->directory,
				     fresh);
	if (!ch_spool_write(fd, 0, whole, err))
		return ch_fail_in(err, "file '%s'", fresh);
	return (fsync(fd) == 0 && renameat(spool->directory_fd, fresh, spool->directory_fd, name) == 0 &&
		fsync(spool->directory_fd) == 0) ||
	       ch_fail_errno(err, CH_UNAVAILABLE, errno, "audit spool file '%s/%s' cannot be mended",
			     spool->directory, name);
}

/* The damaged file stays beside under another name; in its place comes one of whole records. */
static bool replace(struct ch_spool *spool, const char *name, const struct findings *found,
		    struct ch_error *err)
{
	char now[CH_TIME_TEXT_SIZE], kept[SPOOL_NAME_SIZE];
	struct ch_spool_damage *damage;

	snprintf(kept, sizeof(kept), "%.40s.damaged-%s", name,
		 ch_time_text(ch_clock_now_us(ch_clock_system()), now));
	if (linkat(spool->directory_fd, name, spool->directory_fd, kept, 0) != 0) {
		if (errno != ENOENT)
			return ch_fail_errno(err, CH_UNAVAILABLE, errno,
					     "audit spool file '%s/%s' cannot be kept", spool->directory,
					     kept);
		kept[0] = 0;
	}
	if (!write_whole(spool, name, ch_buffer_view(&found->whole), err))
		return false;
	damage = ch_spool_note_damage(spool);
	snprintf(damage->segment, sizeof(damage->segment), "%s", name);
	snprintf(damage->kept, sizeof(damage->kept), "%s", kept);
	damage->octets = found->damaged;
	damage->missing_from = found->missing_from;
	damage->missing_to = found->missing_to;
	return true;
}

/* A file that is gone held what its name and the next one's say. */
static bool read_file(const struct ch_spool *spool, const char *name, struct ch_bytes *content, bool *gone,
		      struct ch_error *err)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s", spool->directory, name);

	*gone = false;
	if (ch_read_file(path, SIZE_MAX / 2, content, err))
		return true;
	*gone = err->code == CH_NOT_FOUND;
	return *gone || ch_fail_in(err, "audit spool");
}

bool ch_spool_mend(struct ch_spool *spool, size_t index, uint64_t *next, bool *torn, struct ch_error *err)
{
	struct ch_segment *segment = &spool->segments[index];
	bool last = index + 1 == spool->count, gone, shrunk;
	CH_AUTO(findings) found = { .next = segment->first };
	char name[SPOOL_NAME_SIZE];

	ch_spool_segment_name(segment->first, name);
	if (!read_file(spool, name, &found.content, &gone, err))
		return false;
	read_records(&found);
	shrunk = segment->size >
		 (int64_t)found.content.size; /* under our hands: at start the size is not known */
	found.torn = found.torn || gone || shrunk;
	if (found.torn && !last && segment[1].first > found.next) {
		found.missing_from = found.missing_from ? found.missing_from : found.next;
		found.missing_to = segment[1].first - 1;
	}
	if ((found.damaged || gone || shrunk) && !replace(spool, name, &found, err))
		return false;
	spool->bytes += (int64_t)found.whole.used - segment->size;
	segment->size = (int64_t)found.whole.used;
	*torn = last && found.torn;
	if (found.next > *next)
		*next = found.next;
	return true;
}
