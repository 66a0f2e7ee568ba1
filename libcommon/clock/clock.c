/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c: the system clock and time as text. */
#include "clock/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * CH_SECOND + now.tv_nsec / 1000;
}

static int64_t system_now(void *context)
{
	(void)context;
	return read_clock(CLOCK_REALTIME);
}

const struct ch_clock *ch_clock_system(void)
{
	static const struct ch_clock clock = { system_now, NULL };

	return &clock;
}

int64_t ch_clock_now_us(const struct ch_clock *clock)
{
	return clock->now_us(clock->context);
}

int64_t ch_monotonic_us(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

const char *ch_time_text(int64_t time_us, char text[CH_TIME_TEXT_SIZE])
{
	time_t seconds = (time_t)(time_us / CH_SECOND);
	int64_t rest = time_us % CH_SECOND;
	struct tm parts;
	size_t used;

	if (rest < 0) {
		rest += CH_SECOND;
		seconds--;
	}
	gmtime_r(&seconds, &parts);
	used = strftime(text, CH_TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
	if (rest)
		snprintf(text + used, CH_TIME_TEXT_SIZE - used, ".%06dZ", (int)rest);
	else
		snprintf(text + used, CH_TIME_TEXT_SIZE - used, "Z");
	return text;
}

bool ch_time_read(const char *text, int64_t *time_us)
{
	struct tm parts = { 0 };
	char again[CH_TIME_TEXT_SIZE];
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);

	*time_us = 0;
	if (!rest || *rest || rest - text != 20) /* strptime takes a year of two digits */
		return false;
	*time_us = (int64_t)timegm(&parts) * CH_SECOND;
	if (strcmp(ch_time_text(*time_us, again), text) == 0)
		return true;
	*time_us = 0; /* such as 30 February, or a year of three digits */
	return false;
}
