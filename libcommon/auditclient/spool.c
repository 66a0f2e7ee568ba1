/* SPDX-License-Identifier: Apache-2.0 */
/* spool.c: the spool's files: opened at start, appended to and synced, read again, removed when acknowledged.
 * spool_mend.c reads and mends them. */
#include "auditclient/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define NUMBERS_AT_ONCE 4096 /* reserved with one write */
#define LEAST_RECORD    64   /* octets: no signed event is as small */

/* --- framing -----------------------------------------------------------------------------------------------
 */

static void put32(uint8_t out[4], uint32_t number)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(number >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t in[4])
{
	return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

void ch_spool_frame(struct ch_buffer *buffer, struct ch_view record)
{
	uint8_t head[SPOOL_FRAME];

	put32(head, (uint32_t)record.size);
	put32(head + 4, (uint32_t)crc32_z(0, record.data, record.size));
	ch_buffer_add(buffer, head, sizeof(head));
	ch_buffer_add_view(buffer, record);
}

bool ch_spool_next_record(struct ch_view *frames, struct ch_view *record)
{
	uint32_t size;

	if (frames->size < SPOOL_FRAME)
		return false;
	size = get32(frames->data);
	if (size == 0 || size > CH_EVENT_CAP || size > frames->size - SPOOL_FRAME ||
	    get32(frames->data + 4) != (uint32_t)crc32_z(0, frames->data + SPOOL_FRAME, size))
		return false;
	*record = ch_view(frames->data + SPOOL_FRAME, size);
	*frames = ch_view(frames->data + SPOOL_FRAME + size, frames->size - SPOOL_FRAME - size);
	return true;
}

/* --- opening -----------------------------------------------------------------------------------------------
 */

void ch_spool_segment_name(uint64_t first, char name[SPOOL_NAME_SIZE])
{
	snprintf(name, SPOOL_NAME_SIZE, "%020" PRIu64 ".events", first);
}

static void add_segment(struct ch_spool *spool, uint64_t first)
{
	spool->segments = ch_realloc(spool->segments, (spool->count + 1) * sizeof(*spool->segments));
	spool->segments[spool->count++] = (struct ch_segment){ .first = first };
}

static int by_first(const void *a, const void *b)
{
	uint64_t left = ((const struct ch_segment *)a)->first, right = ((const struct ch_segment *)b)->first;

	return left < right ? -1 : left > right;
}

static bool list_segments(struct ch_spool *spool, struct ch_error *err)
{
	DIR *directory = opendir(spool->directory);
	struct dirent *entry;

	if (!directory)
		return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool '%s'", spool->directory);
	while ((entry = readdir(directory))) {
		char name[SPOOL_NAME_SIZE];
		uint64_t first = strtoull(entry->d_name, NULL, 10);

		ch_spool_segment_name(first, name);
		if (first > 0 && strcmp(name, entry->d_name) == 0)
			add_segment(spool, first);
	}
	closedir(directory);
	if (spool->count)
		qsort(spool->segments, spool->count, sizeof(*spool->segments), by_first);
	return true;
}

static bool open_segment(const struct ch_spool *spool, uint64_t first, int flags, int *fd,
			 struct ch_error *err)
{
	char name[SPOOL_NAME_SIZE];

	ch_spool_segment_name(first, name);
	*fd = openat(spool->directory_fd, name, flags | O_CLOEXEC, 0600);
	return *fd >= 0 ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "audit spool file '%s/%s'", spool->directory, name);
}

/* --- numbers ---
 *
 * "<number> exact": the daemon ended in order, and this is the next. "<number> reserved": it runs or was
 * killed, and all below may have been used. Atomically replaced.
 */

static bool write_numbers(struct ch_spool *spool, uint64_t number, const char *kind, struct ch_error *err)
{
	CH_AUTO(ch_string) line = ch_format("%" PRIu64 " %s\n", number, kind);

	if (!ch_write_file(spool->numbers_path, ch_view_text(line), 0600, err)) {
		if (err)
			err->code = CH_UNAVAILABLE;
		return ch_fail_in(err, "audit spool");
	}
	spool->reserved = number;
	return true;
}

bool ch_spool_reserve(struct ch_spool *spool, uint64_t until, struct ch_error *err)
{
	return until <= spool->reserved || write_numbers(spool, until + NUMBERS_AT_ONCE, "reserved", err);
}

/* 0: the file is not there (a spool of an older version), or is damaged. */
static uint64_t read_numbers(const struct ch_spool *spool, bool *exact)
{
	CH_AUTO(ch_bytes) content = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	char *end;
	uint64_t number;

	if (!ch_read_file(spool->numbers_path, 64, &content, NULL))
		return 0;
	text = ch_strndup((const char *)content.data, content.size);
	number = strtoull(text, &end, 10);
	*exact = strcmp(end, " exact\n") == 0;
	return *exact || strcmp(end, " reserved\n") == 0 ? number : 0;
}

/* No number is used twice: where the end of the spool is damaged or gone, numbering goes on above all that
 * may have been used. */
static void skip_used_numbers(struct ch_spool *spool, bool torn)
{
	bool exact = false;
	uint64_t noted = read_numbers(spool, &exact), from = spool->next;
	struct ch_spool_damage *damage;

	if (torn)
		spool->next += (uint64_t)spool->damages[spool->damage_count - 1].octets / LEAST_RECORD + 1;
	if (noted > spool->next && (exact || torn || !spool->count))
		spool->next = noted;
	if (torn && exact)
		spool->next = noted >= from ? noted : from + 1;
	if (spool->next == from)
		return;
	damage = torn ? &spool->damages[spool->damage_count - 1] : ch_spool_note_damage(spool);
	damage->missing_from = damage->missing_from ? damage->missing_from : from;
	damage->missing_to = spool->next - 1;
}

static bool scan(struct ch_spool *spool, struct ch_error *err)
{
	bool torn = false;

	spool->next = spool->count ? spool->segments[spool->count - 1].first : 1;
	for (size_t i = 0; i < spool->count; i++)
		if (!ch_spool_mend(spool, i, &spool->next, &torn, err))
			return false;
	skip_used_numbers(spool, torn);
	return true;
}

static bool open_directory(const char *state_directory, struct ch_spool *spool, struct ch_error *err)
{
	CH_AUTO(ch_string) lock_path = NULL;

	spool->directory = ch_format("%s/spool", state_directory);
	spool->numbers_path = ch_format("%s/audit-numbers", state_directory);
	lock_path = ch_format("%s/lock", spool->directory);
	if (mkdir(spool->directory, 0700) != 0 && errno != EEXIST)
		return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool '%s'", spool->directory);
	spool->directory_fd = open(spool->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	spool->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (spool->directory_fd < 0 || spool->lock_fd < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool '%s'", spool->directory);
	if (flock(spool->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return ch_fail_errno(err, CH_CONFLICT, errno, "audit spool '%s' is in use", spool->directory);
	return true;
}

bool ch_spool_open(const char *state_directory, struct ch_spool *spool, struct ch_error *err)
{
	*spool = (struct ch_spool){ .lock_fd = -1, .directory_fd = -1, .active_fd = -1 };
	if (!open_directory(state_directory, spool, err) || !list_segments(spool, err) || !scan(spool, err) ||
	    !ch_spool_reserve(spool, spool->next, err))
		return false;
	/* After damage in a segment of its own, whose name is its first number. */
	if (!spool->count || spool->damage_count)
		return ch_spool_rotate(spool, err);
	return open_segment(spool, spool->segments[spool->count - 1].first, O_WRONLY | O_APPEND,
			    &spool->active_fd, err);
}

void ch_spool_close(struct ch_spool *spool)
{
	struct ch_error err = CH_NONE;

	if (spool->active_fd >= 0 && !write_numbers(spool, spool->next, "exact", &err))
		ch_log_warn("%s", err.message);
	if (spool->active_fd >= 0)
		close(spool->active_fd);
	if (spool->directory_fd >= 0)
		close(spool->directory_fd);
	if (spool->lock_fd >= 0)
		close(spool->lock_fd);
	free(spool->directory);
	free(spool->numbers_path);
	free(spool->damages);
	free(spool->segments);
	*spool = (struct ch_spool){ .lock_fd = -1, .directory_fd = -1, .active_fd = -1 };
}

/* --- appending and removing --------------------------------------------------------------------------------
 */

bool ch_spool_write(int fd, int64_t size, struct ch_view frames, struct ch_error *err)
{
	while (frames.size) {
		ssize_t written = write(fd, frames.data, frames.size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0) {
			int number = errno;

			if (ftruncate(fd, size) != 0)
				return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool cannot be mended");
			return ch_fail_errno(err, CH_UNAVAILABLE, number, "audit spool cannot be written");
		}
		frames = ch_view(frames.data + written, frames.size - (size_t)written);
	}
	/* After a failed sync nobody knows what is on the disk: only a restart, which reads it, does. */
	return fdatasync(fd) == 0 || ch_fail_errno(err, CH_INTERNAL, errno, "audit spool cannot be synced");
}

void ch_spool_account(struct ch_spool *spool, uint64_t count, int64_t size)
{
	struct ch_segment *last = &spool->segments[spool->count - 1];

	spool->next += count;
	last->size += size;
	spool->bytes += size;
}

/* Blocks that are taken but not used do not show in the file's size. */
static bool take_room(int fd, struct ch_error *err)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SPOOL_SEGMENT_SIZE + SPOOL_KEPT_BACK) == 0 ||
	       errno == EOPNOTSUPP || errno == ENOSYS ||
	       ch_fail_errno(err, CH_UNAVAILABLE, errno, "audit spool has no room for a segment");
}

bool ch_spool_take_room(const struct ch_spool *spool, struct ch_error *err)
{
	return take_room(spool->active_fd, err);
}

static bool new_segment(const struct ch_spool *spool, uint64_t first, int *fd, struct ch_error *err)
{
	char name[SPOOL_NAME_SIZE];

	if (!open_segment(spool, first, O_WRONLY | O_APPEND | O_CREAT | O_EXCL, fd, err))
		return false;
	if (take_room(*fd, err) &&
	    (fsync(spool->directory_fd) == 0 ||
	     ch_fail_errno(err, CH_INTERNAL, errno, "audit spool '%s'", spool->directory)))
		return true;
	close(*fd);
	ch_spool_segment_name(first, name);
	unlinkat(spool->directory_fd, name, 0);
	return false;
}

bool ch_spool_rotate(struct ch_spool *spool, struct ch_error *err)
{
	const struct ch_segment *last = spool->count ? &spool->segments[spool->count - 1] : NULL;
	int fd = -1;

	if (last && last->size == 0 && last->first == spool->next && spool->active_fd >= 0)
		return true;
	if (last && last->first == spool->next) { /* empty, and not open yet */
		if (!open_segment(spool, spool->next, O_WRONLY | O_APPEND, &spool->active_fd, err))
			return false;
		return ch_spool_take_room(spool, err);
	}
	if (!new_segment(spool, spool->next, &fd, err))
		return false;
	if (spool->active_fd >= 0 && last) {                      /* what is open is the last one */
		if (ftruncate(spool->active_fd, last->size) != 0) /* lets go of the room not used */
			ch_log_debug("audit spool: %s", strerror(errno));
		close(spool->active_fd);
	}
	spool->active_fd = fd;
	add_segment(spool, spool->next);
	return true;
}

bool ch_spool_begin_anew(struct ch_spool *spool, struct ch_error *err)
{
	struct ch_segment *only = &spool->segments[0];
	char old[SPOOL_NAME_SIZE], name[SPOOL_NAME_SIZE];

	ch_spool_segment_name(only->first, old);
	ch_spool_segment_name(spool->next, name);
	/* Cut short after this, the numbers go on all the same. */
	if (!write_numbers(spool, spool->next, "exact", err))
		return false;
	if (ftruncate(spool->active_fd, 0) != 0 ||
	    renameat(spool->directory_fd, old, spool->directory_fd, name) != 0 ||
	    fsync(spool->directory_fd) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool '%s'", spool->directory);
	spool->bytes -= only->size;
	*only = (struct ch_segment){ .first = spool->next };
	return ch_spool_take_room(spool, err);
}

void ch_spool_drop_oldest(struct ch_spool *spool)
{
	char name[SPOOL_NAME_SIZE];

	ch_spool_segment_name(spool->segments[0].first, name);
	if (unlinkat(spool->directory_fd, name, 0) != 0)
		ch_log_warn("audit spool: cannot remove '%s': %s", name, strerror(errno));
	spool->bytes -= spool->segments[0].size;
	spool->count--;
	memmove(spool->segments, spool->segments + 1, spool->count * sizeof(*spool->segments));
}

bool ch_spool_read(const struct ch_spool *spool, uint64_t first, int64_t offset, int64_t end, size_t cap,
		   struct ch_bytes *frames, struct ch_error *err)
{
	CH_AUTO(ch_fd) fd = -1;
	CH_AUTO(ch_bytes) content = CH_NONE;
	size_t wanted = end - offset < (int64_t)cap ? (size_t)(end - offset) : cap;
	ssize_t got;

	if (!open_segment(spool, first, O_RDONLY, &fd, err))
		return false;
	content = (struct ch_bytes){ ch_alloc(wanted), wanted };
	got = pread(fd, content.data, wanted, offset);
	if (got < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool '%s'", spool->directory);
	content.size = (size_t)got;
	*frames = CH_STEAL(content);
	return true;
}
