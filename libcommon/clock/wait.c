/* SPDX-License-Identifier: Apache-2.0 */
/* wait.c: conditions by the monotonic clock. */
#include "clock/wait.h"

#include "clock/clock.h"

#include <errno.h>
#include <time.h>

void ch_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

bool ch_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until_us)
{
	struct timespec until = { .tv_sec = until_us / CH_SECOND, .tv_nsec = until_us % CH_SECOND * 1000 };

	return pthread_cond_timedwait(condition, lock, &until) != ETIMEDOUT;
}
