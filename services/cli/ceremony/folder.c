/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c: what a ceremony leaves behind, and goes on from when it was interrupted. Called by run.c and the
 * steps. */
#include "ceremony.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_CAP (4 * 1024 * 1024)

struct ceremony_folder {
	char *path;
	int lock;    /* of the directory itself */
	int journal; /* opened for appending */
};

void ceremony_folder_close(struct ceremony_folder *folder)
{
	if (!folder)
		return;
	if (folder->journal >= 0)
		close(folder->journal);
	if (folder->lock >= 0)
		close(folder->lock);
	free(folder->path);
	free(folder);
}

char *ceremony_path(const struct ceremony_folder *folder, const char *name)
{
	return ch_format("%s/%s", folder->path, name);
}

bool ceremony_load(const struct ceremony_folder *folder, const char *name, struct ch_bytes *content,
		   bool *found, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ceremony_path(folder, name);

	*found = access(path, F_OK) == 0;
	return !*found || ch_read_file(path, FILE_CAP, content, err);
}

bool ceremony_save(const struct ceremony_folder *folder, const char *name, struct ch_view content,
		   struct ch_error *err)
{
	CH_AUTO(ch_string) path = ceremony_path(folder, name);

	return ch_write_file(path, content, 0444, err);
}

bool ceremony_forget(const struct ceremony_folder *folder, const char *name, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ceremony_path(folder, name);

	return unlink(path) == 0 || errno == ENOENT || ch_fail_errno(err, CH_INTERNAL, errno, "'%s'", path);
}

bool ceremony_note(const struct ceremony_folder *folder, struct ch_error *err, const char *format, ...)
{
	CH_AUTO(ch_string) line = NULL;
	char now[CH_TIME_TEXT_SIZE], text[1024];
	va_list arguments;
	size_t size;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	line = ch_format("%s %s\n", ch_time_text(ch_clock_now_us(ch_clock_system()), now), text);
	size = strlen(line);
	fputs(line, stderr);
	if (write(folder->journal, line, size) != (ssize_t)size || fsync(folder->journal) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "'%s/%s' cannot be written", folder->path,
				     CEREMONY_JOURNAL);
	return true;
}

static bool make_directory(const char *path, struct ch_error *err)
{
	return mkdir(path, 0755) == 0 || errno == EEXIST ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "directory '%s'", path);
}

static bool take_lock(struct ceremony_folder *folder, struct ch_error *err)
{
	folder->lock = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder->lock < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "directory '%s'", folder->path);
	if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0)
		return ch_fail(err, CH_CONFLICT, "another ceremony works in '%s'", folder->path);
	return true;
}

static bool open_journal(struct ceremony_folder *folder, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ceremony_path(folder, CEREMONY_JOURNAL);

	folder->journal = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	return folder->journal >= 0 || ch_fail_errno(err, CH_INTERNAL, errno, "'%s'", path);
}

/* The folder holds the ceremony's own document: an interrupted one goes on by the same octets or not at all.
 */
static bool keep_document(const struct ceremony_folder *folder, const struct ceremony_document *document,
			  struct ch_error *err)
{
	CH_AUTO(ch_bytes) kept = CH_NONE;
	bool found;

	if (!ceremony_load(folder, CEREMONY_DOCUMENT, &kept, &found, err))
		return false;
	if (!found)
		return ceremony_save(folder, CEREMONY_DOCUMENT, ch_view_of(&document->octets), err);
	return ch_view_equal(ch_view_of(&kept), ch_view_of(&document->octets)) ||
	       ch_fail(err, CH_CONFLICT, "'%s' is the folder of a ceremony with another document",
		       folder->path);
}

bool ceremony_folder_open(const char *path, const struct ceremony_document *document,
			  struct ceremony_folder **folder, struct ch_error *err)
{
	CH_AUTO(ceremony_folder) made = ch_alloc(sizeof(*made));
	CH_AUTO(ch_string) published = NULL;

	made->path = ch_strdup(path);
	made->lock = made->journal = -1;
	published = ceremony_path(made, "published");
	if (document && !make_directory(path, err))
		return false;
	if (!take_lock(made, err))
		return false;
	if (document && (!keep_document(made, document, err) || !make_directory(published, err)))
		return false;
	if (!open_journal(made, err))
		return false;
	*folder = CH_STEAL(made);
	return true;
}
