/* SPDX-License-Identifier: Apache-2.0 */
/* spool.c: the spool's files: scanned at start, appended to and synced, read again, removed when
 * acknowledged. */
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

#define SEGMENT_NAME_SIZE 32 /* "00000000000000000001.events" */
#define SCAN_SIZE         (1024 * 1024)

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
	if (size == 0 || size > EVENT_CAP || size > frames->size - SPOOL_FRAME ||
	    get32(frames->data + 4) != (uint32_t)crc32_z(0, frames->data + SPOOL_FRAME, size))
		return false;
	*record = ch_view(frames->data + SPOOL_FRAME, size);
	*frames = ch_view(frames->data + SPOOL_FRAME + size, frames->size - SPOOL_FRAME - size);
	return true;
}

/* --- opening -----------------------------------------------------------------------------------------------
 */

static void segment_name(uint64_t first, char name[SEGMENT_NAME_SIZE])
{
	snprintf(name, SEGMENT_NAME_SIZE, "%020" PRIu64 ".events", first);
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
		char name[SEGMENT_NAME_SIZE];
		uint64_t first = strtoull(entry->d_name, NULL, 10);

		segment_name(first, name);
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
	char name[SEGMENT_NAME_SIZE];

	segment_name(first, name);
	*fd = openat(spool->directory_fd, name, flags | O_CLOEXEC, 0600);
	return *fd >= 0 ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "audit spool file '%s/%s'", spool->directory, name);
}

/* Counts the whole records of a segment. A record is at most EVENT_CAP, so one buffer of SCAN_SIZE always
 * moves on. */
static bool scan_segment(const struct ch_spool *spool, struct ch_segment *segment, int64_t *file_size,
			 struct ch_error *err)
{
	CH_AUTO(ch_fd) fd = -1;
	struct stat info;

	if (!open_segment(spool, segment->first, O_RDONLY, &fd, err))
		return false;
	if (fstat(fd, &info) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool");
	*file_size = info.st_size;
	for (;;) {
		CH_AUTO(ch_bytes) frames = CH_NONE;
		struct ch_view rest, record;
		int64_t before = segment->size;

		if (!ch_spool_read(spool, segment->first, segment->size, info.st_size, SCAN_SIZE, &frames,
				   err))
			return false;
		rest = ch_view_of(&frames);
		while (ch_spool_next_record(&rest, &record)) {
			segment->count++;
			segment->size += (int64_t)record.size + SPOOL_FRAME;
		}
		if (segment->size == before)
			return true;
	}
}

/* The last segment ends where its last whole record does; an earlier one that is damaged keeps its file. */
static bool mend_segment(const struct ch_spool *spool, size_t index, int64_t file_size, struct ch_error *err)
{
	struct ch_segment *segment = &spool->segments[index];
	long long torn = (long long)(file_size - segment->size);
	char name[SEGMENT_NAME_SIZE], kept[SEGMENT_NAME_SIZE + 16];
	CH_AUTO(ch_fd) fd = -1;

	if (torn == 0)
		return true;
	if (index + 1 == spool->count) {
		ch_log_warn("audit spool: cut off a torn record of %lld octets after event %" PRIu64, torn,
			    segment->first + segment->count - 1);
		if (!open_segment(spool, segment->first, O_WRONLY, &fd, err))
			return false;
		return (ftruncate(fd, segment->size) == 0 && fsync(fd) == 0) ||
		       ch_fail_errno(err, CH_INTERNAL, errno, "audit spool cannot be mended");
	}
	segment_name(segment->first, name);
	snprintf(kept, sizeof(kept), "%s.damaged", name);
	(void)!linkat(spool->directory_fd, name, spool->directory_fd, kept, 0);
	ch_log_error("audit spool: %lld octets in '%s' are damaged, kept as '%s'", torn, name, kept);
	return true;
}

static bool scan(struct ch_spool *spool, struct ch_error *err)
{
	for (size_t i = 0; i < spool->count; i++) {
		int64_t file_size = 0;

		if (!scan_segment(spool, &spool->segments[i], &file_size, err) ||
		    !mend_segment(spool, i, file_size, err))
			return false;
		spool->bytes += spool->segments[i].size;
	}
	return true;
}

static bool open_directory(const char *state_directory, struct ch_spool *spool, struct ch_error *err)
{
	CH_AUTO(ch_string) lock_path = NULL;

	spool->directory = ch_format("%s/spool", state_directory);
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
	if (!open_directory(state_directory, spool, err) || !list_segments(spool, err) || !scan(spool, err))
		return false;
	if (!spool->count)
		return ch_spool_rotate(spool, err);
	return open_segment(spool, spool->segments[spool->count - 1].first, O_WRONLY | O_APPEND,
			    &spool->active_fd, err);
}

void ch_spool_close(struct ch_spool *spool)
{
	if (spool->active_fd >= 0)
		close(spool->active_fd);
	if (spool->directory_fd >= 0)
		close(spool->directory_fd);
	if (spool->lock_fd >= 0)
		close(spool->lock_fd);
	free(spool->directory);
	free(spool->segments);
	*spool = (struct ch_spool){ .lock_fd = -1, .directory_fd = -1, .active_fd = -1 };
}

/* --- appending and removing --------------------------------------------------------------------------------
 */

uint64_t ch_spool_next_sequence(const struct ch_spool *spool)
{
	const struct ch_segment *last = &spool->segments[spool->count - 1];

	return last->first + last->count;
}

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

	last->count += count;
	last->size += size;
	spool->bytes += size;
}

bool ch_spool_rotate(struct ch_spool *spool, struct ch_error *err)
{
	uint64_t first = spool->count ? ch_spool_next_sequence(spool) : 1;
	int fd = -1;

	if (spool->count && spool->segments[spool->count - 1].count == 0)
		return true;
	if (!open_segment(spool, first, O_WRONLY | O_APPEND | O_CREAT | O_EXCL, &fd, err))
		return false;
	if (fsync(spool->directory_fd) != 0) {
		close(fd);
		return ch_fail_errno(err, CH_INTERNAL, errno, "audit spool '%s'", spool->directory);
	}
	if (spool->active_fd >= 0)
		close(spool->active_fd);
	spool->active_fd = fd;
	add_segment(spool, first);
	return true;
}

void ch_spool_drop_oldest(struct ch_spool *spool)
{
	char name[SEGMENT_NAME_SIZE];

	segment_name(spool->segments[0].first, name);
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
