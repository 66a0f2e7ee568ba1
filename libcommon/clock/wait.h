/* SPDX-License-Identifier: Apache-2.0 */
/* wait.h: waiting for a condition until a time of the monotonic clock, which nobody steps. */
#ifndef CH_WAIT_H
#define CH_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A condition whose timed waits go by the monotonic clock. */
void ch_condition_init(pthread_cond_t *condition);
/* False where `until_us` (ch_monotonic_us) passed first. With the lock held. */
bool ch_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until_us);

#endif
