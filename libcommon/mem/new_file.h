/* SPDX-License-Identifier: Apache-2.0 */
/*
 * new_file.h: a file whose place is taken before what it will hold is made, so that nothing is issued,
 * exported or signed that then cannot be written. Until it is finished, what stood at the path stays.
 */
#ifndef CH_NEW_FILE_H
#define CH_NEW_FILE_H

#include "mem/mem.h"

struct ch_new_file { /* zero-initialised: none */
	char *path;
	char *temporary; /* beside it */
	int fd;          /* of the temporary file; 0: none */
};

/*
 * Makes an empty file of that mode beside `path`. CH_INVALID where something stands at `path` that is no
 * regular file: a device, FIFO, socket, folder or symbolic link is never replaced. CH_NOT_FOUND, CH_DENIED,
 * CH_INTERNAL where it cannot be made.
 */
CH_MUST_USE bool ch_new_file_open(const char *path, unsigned mode, struct ch_new_file *file,
				  struct ch_error *err);
/* Writes, fsyncs and renames it to its path, which a reader sees with the old or the new content and a crash
 * loses neither. */
CH_MUST_USE bool ch_new_file_finish(struct ch_new_file *file, struct ch_view content, struct ch_error *err);
void ch_new_file_free(struct ch_new_file *file); /* removes one that was not finished */
CH_DEFINE_AUTO_VALUE(ch_new_file, struct ch_new_file, ch_new_file_free)

#endif
