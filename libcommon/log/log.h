/* SPDX-License-Identifier: Apache-2.0 */
/* log.h: JSON lines on standard error. One line an event; an error is logged once, where it is handled. Never
 * a secret. */
#ifndef CH_LOG_H
#define CH_LOG_H

#include "err/err.h"

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

/* {"time":…,"level":…,"service":…,"instance":…,"msg":…,"message_id":…}: written with one write(2). */
void ch_log(enum ch_log_level level, const struct ch_log_scope *scope, const char *format, ...)
	CH_PRINTF(3, 4);

#define ch_log_debug(...) ch_log(CH_LOG_DEBUG, NULL, __VA_ARGS__)
#define ch_log_info(...)  ch_log(CH_LOG_INFO, NULL, __VA_ARGS__)
#define ch_log_warn(...)  ch_log(CH_LOG_WARN, NULL, __VA_ARGS__)
#define ch_log_error(...) ch_log(CH_LOG_ERROR, NULL, __VA_ARGS__)

#endif
