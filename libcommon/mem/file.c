/* SPDX-License-Identifier: Apache-2.0 */
/* file.c: whole files, read under a cap and replaced atomically. */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum ch_code code_of(int number)
{
	if (number == ENOENT)
		return CH_NOT_FOUND;
	return number == EACCES || number == EPERM ? CH_DENIED : CH_INTERNAL;
}

bool ch_read_file(const char *path, size_t cap, struct ch_bytes *out, struct ch_error *err)
{
	CH_AUTO(ch_fd) fd = open(path, O_RDONLY | O_CLOEXEC);
	CH_AUTO(ch_buffer) content = CH_NONE;

	if (fd < 0)
		return ch_fail_errno(err, code_of(errno), errno, "file '%s'", path);
	for (;;) {
		uint8_t *room = ch_buffer_reserve(&content, 4096);
		ssize_t got = read(fd, room, 4096);

		if (got < 0)
			return ch_fail_errno(err, code_of(errno), errno, "file '%s'", path);
		if (got == 0)
			break;
		content.used += (size_t)got;
		if (content.used > cap)
			return ch_fail(err, CH_TOO_LARGE, "file '%s' is over %zu bytes", path, cap);
	}
	*out = ch_buffer_steal(&content);
	return true;
}

static bool write_all(int fd, struct ch_view content)
{
	while (content.size) {
		ssize_t done = write(fd, content.data, content.size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		content.data += done;
		content.size -= (size_t)done;
	}
	return true;
}

static bool sync_directory_of(const char *path)
{
	CH_AUTO(ch_string) copy = ch_strdup(path);
	CH_AUTO(ch_fd) fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0;
}

bool ch_write_file(const char *path, struct ch_view content, unsigned mode, struct ch_error *err)
{
	CH_AUTO(ch_string) temporary = ch_format("%s.XXXXXX", path);
	CH_AUTO(ch_fd) fd = mkostemp(temporary, O_CLOEXEC);

	if (fd < 0)
		return ch_fail_errno(err, code_of(errno), errno, "file '%s' cannot be written", path);
	if (!write_all(fd, content) || fchmod(fd, mode) != 0 || fsync(fd) != 0 ||
	    rename(temporary, path) != 0 || !sync_directory_of(path)) {
		int number = errno;

		unlink(temporary);
		return ch_fail_errno(err, code_of(number), number, "file '%s' cannot be written", path);
	}
	return true;
}
