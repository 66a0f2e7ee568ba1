/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_absent.h: which keys which HSM said it does not have (a token that was wiped and is not filled yet), so
 * that not every signature goes there in vain first. Pure: the pool gives the time and guards it with its
 * lock. What it says is a hint that passes by itself: a key that no other HSM can use is asked for anyway.
 */
#ifndef VAULT_HSM_ABSENT_H
#define VAULT_HSM_ABSENT_H

#include "clock/clock.h"

#include <stdbool.h>
#include <stdint.h>

#define HSM_ABSENT_US  (30 * CH_SECOND)
#define HSM_ABSENT_CAP 4096 /* keys remembered; more are not */

/* NULL is empty. */
struct hsm_absent;
void hsm_absent_free(struct hsm_absent **absent);

/* `index`: of the HSM. */
void hsm_absent_note(struct hsm_absent **absent, const char *key_id, unsigned index, int64_t now_us);
/* Bits of the HSMs that do not have the key. */
unsigned hsm_absent_bits(struct hsm_absent **absent, const char *key_id, int64_t now_us);
/* It has this key now. */
void hsm_absent_forget_key(struct hsm_absent **absent, const char *key_id, unsigned index);
/* It may have any key now: it came up again. */
void hsm_absent_forget_hsm(struct hsm_absent **absent, unsigned index);

#endif
