/* SPDX-License-Identifier: Apache-2.0 */
/* log.h: JSON lines on standard error. One line an event; an error is logged once, where it is handled. Never
 * a secret. */
#ifndef CH_LOG_H
#define CH_LOG_H

#include "err/err.h"

#include <stdint.h>

enum ch_log_level { CH_LOG_DEBUG, CH_LOG_INFO, CH_LOG_WARN, CH_LOG_ERROR };

/* What a line is about; any member may be NULL. Passed where a request is being handled, else NULL. */
struct ch_log_scope {
	const char *message_id;
	const char *tenant;
	const char *trace_id;
};

/* Names the process on every line. Called once by libcommon/daemon before any thread starts; both are copied.
 */
void ch_log_open(const char *service, const char *instance);
/* May be called at any time (SIGHUP). Accepts "debug", "info", "warn", "error". */
CH_MUST_USE bool ch_log_set_level(const char *name, struct ch_error *err);

/*
 * From here on a thread writes the lines, and ch_log never waits for standard error, whatever that is and
 * however full: at most 1 MiB of lines wait, what comes beyond is dropped, counted, and told in the log when
 * it takes lines again. Once, after the sandbox was entered (the thread shall be in it) and before what must
 * not wait. The process's end (exit, not _exit or abort) waits a second for what is queued. A child that is
 * forked writes its lines itself.
 */
CH_MUST_USE bool ch_log_start(struct ch_error *err);
/* Lines dropped since the start. */
uint64_t ch_log_dropped(void);
/* Waits at most timeout_us until all is written; true: it is. For who ends the process without exit(3). */
bool ch_log_flush(int64_t timeout_us);

/* {"time":…,"level":…,"service":…,"instance":…,"msg":…,"message_id":…} */
void ch_log(enum ch_log_level level, const struct ch_log_scope *scope, const char *format, ...)
	CH_PRINTF(3, 4);

#define ch_log_debug(...) ch_log(CH_LOG_DEBUG, NULL, __VA_ARGS__)
#define ch_log_info(...)  ch_log(CH_LOG_INFO, NULL, __VA_ARGS__)
#define ch_log_warn(...)  ch_log(CH_LOG_WARN, NULL, __VA_ARGS__)
#define ch_log_error(...) ch_log(CH_LOG_ERROR, NULL, __VA_ARGS__)

#endif
