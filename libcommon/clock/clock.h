/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h: time that tests can move. All times are microseconds since 1970-01-01T00:00:00Z unless a name says
 * otherwise. */
#ifndef CH_CLOCK_H
#define CH_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CH_MILLISECOND INT64_C(1000)
#define CH_SECOND      INT64_C(1000000)
#define CH_MINUTE      (60 * CH_SECOND)
#define CH_HOUR        (60 * CH_MINUTE)
#define CH_DAY         (24 * CH_HOUR)

struct ch_clock {
	int64_t (*now_us)(void *context);
	void *context;
};

/* The operating system's wall clock. Static; never freed. */
const struct ch_clock *ch_clock_system(void);
int64_t ch_clock_now_us(const struct ch_clock *clock);

/* A clock that never steps, for measuring and for deadlines inside one process. */
int64_t ch_monotonic_us(void);

/* "2026-11-21T10:00:00Z" (seconds) or with ".123456" where the microseconds are not 0. `text` holds at least
 * 32 bytes. */
#define CH_TIME_TEXT_SIZE 32
const char *ch_time_text(int64_t time_us, char text[CH_TIME_TEXT_SIZE]);
/* Of whole seconds, exactly as ch_time_text writes them. False: it is no such text; *time_us is then 0. */
bool ch_time_read(const char *text, int64_t *time_us);

#endif
