/* SPDX-License-Identifier: Apache-2.0 */
/* file.c: whole files, read under a cap and replaced atomically. */
#include "mem/new_file.h"

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

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return "a symbolic link";
	case S_IFDIR:
		return "a folder";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "no regular file";
	}
}

/* A rename would put a file in the place of a device or a pipe that others use, or of a link that somebody
 * set. */
static bool may_be_replaced(const char *path, struct ch_error *err)
{
	struct stat there;

	if (lstat(path, &there) != 0)
		return errno == ENOENT || ch_fail_errno(err, code_of(errno), errno, "file '%s'", path);
	return S_ISREG(there.st_mode) ||
	       ch_fail(err, CH_INVALID, "'%s' is %s, which is not replaced: name a regular file", path,
		       kind_of(there.st_mode));
}

bool ch_new_file_open(const char *path, unsigned mode, struct ch_new_file *file, struct ch_error *err)
{
	int number;

	if (!may_be_replaced(path, err))
		return false;
	file->path = ch_strdup(path);
	file->temporary = ch_format("%s.XXXXXX", path);
	file->fd = mkostemp(file->temporary, O_CLOEXEC);
	number = errno;
	if (file->fd >= 0 && fchmod(file->fd, mode) == 0)
		return true;
	if (file->fd < 0)
		file->fd = 0;
	else
		number = errno;
	ch_new_file_free(file);
	return ch_fail_errno(err, code_of(number), number, "file '%s' cannot be written", path);
}

bool ch_new_file_finish(struct ch_new_file *file, struct ch_view content, struct ch_error *err)
{
	if (!may_be_replaced(file->path, err))
		return false;
	if (!write_all(file->fd, content) || fsync(file->fd) != 0 || rename(file->temporary, file->path) != 0)
		return ch_fail_errno(err, code_of(errno), errno, "file '%s' cannot be written", file->path);
	free(file->temporary);
	file->temporary = NULL;
	return sync_directory_of(file->path) ||
	       ch_fail_errno(err, code_of(errno), errno, "file '%s' cannot be written", file->path);
}

void ch_new_file_free(struct ch_new_file *file)
{
	if (file->fd > 0)
		close(file->fd);
	if (file->temporary && file->fd > 0)
		unlink(file->temporary);
	free(file->temporary);
	free(file->path);
	*file = (struct ch_new_file)CH_NONE;
}

bool ch_write_file(const char *path, struct ch_view content, unsigned mode, struct ch_error *err)
{
	CH_AUTO(ch_new_file) file = CH_NONE;

	return ch_new_file_open(path, mode, &file, err) && ch_new_file_finish(&file, content, err);
}
