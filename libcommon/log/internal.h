/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of libcommon/log share. */
#ifndef CH_LOG_INTERNAL_H
#define CH_LOG_INTERNAL_H

#include "log/log.h"

#include "mem/mem.h"

/* Adds one whole line, newline included. (log.c) */
void ch_log_add_line(struct ch_buffer *out, enum ch_log_level level, const struct ch_log_scope *scope,
		     const char *message);

/* Hands a whole line on: to the writing thread, which never makes the caller wait; where none was started,
 * writes it here. (queue.c) */
void ch_log_pass(struct ch_view line);

#endif
