/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_breaker.h: a circuit breaker for one HSM, so that an HSM that fails or answers late is not tried anew
 * on every request. Pure: the caller gives the time (ch_monotonic_us) and guards it with its own lock. The
 * pool asks it before it gives an HSM an item, and tells it what became of each.
 *
 *   closed ──failures in a row, or lateness──▶ open ──interval over──▶ half-open ──success──▶ closed
 *                                              ▲                          │
 *                                              └──failure: interval × 2───┘
 */
#ifndef VAULT_HSM_BREAKER_H
#define VAULT_HSM_BREAKER_H

#include "clock/clock.h"

#include <stdbool.h>
#include <stdint.h>

#define HSM_BREAKER_FAILURES    5                      /* in a row, until it opens */
#define HSM_BREAKER_INTERVAL_US (100 * CH_MILLISECOND) /* from opening to the first probe */
#define HSM_BREAKER_LONGEST_US  (10 * CH_SECOND)       /* between two probes */
#define HSM_BREAKER_SETTLED_US  (10 * CH_SECOND) /* closed for so long: the interval is the first again */
#define HSM_BREAKER_WRONG_US    (1 * CH_MINUTE)  /* from the first wrong signature to the next try */
#define HSM_BREAKER_WRONGEST_US (1 * CH_HOUR)    /* between two tries, where each gave a wrong one */
#define HSM_BREAKER_FORGIVEN_US (1 * CH_HOUR)    /* right since the last try: the next is a first one */

enum hsm_breaker_state { HSM_BREAKER_CLOSED, HSM_BREAKER_OPEN, HSM_BREAKER_HALF_OPEN };
const char *hsm_breaker_name(enum hsm_breaker_state state);

/* Zero-initialised is closed. */
struct hsm_breaker {
	enum hsm_breaker_state state;
	uint32_t failures;   /* in a row, while closed */
	int64_t interval_us; /* that the open state lasts; 0: never opened */
	int64_t wrong_us;    /* that it stays open for a wrong signature; 0: there was none */
	int64_t wrong_at_us;
	bool is_wrong;       /* made one, and no right one since it was probed: while open, only time helps */
	int64_t probe_at_us; /* while open */
	int64_t closed_at_us;
	uint64_t openings;
};

/* Each returns whether the state changed. */

/* An item was answered. While open that is one sent before: a sign of life, so the probe is due at once. */
bool hsm_breaker_success(struct hsm_breaker *breaker, int64_t now_us);
/* An error that is the HSM's own fault and that another may not give, or a lost worker. */
bool hsm_breaker_failure(struct hsm_breaker *breaker, int64_t now_us);
/* The HSM is late: opens without counting. */
bool hsm_breaker_late(struct hsm_breaker *breaker, int64_t now_us);
/*
 * A signature that the public key does not verify: opens at once, longer each time. No sign of life or fresh
 * worker brings the probe forward: the HSM lives, and errs.
 */
bool hsm_breaker_wrong(struct hsm_breaker *breaker, int64_t now_us);
/* A signature of it was verified: after the probe, it is believed again. */
void hsm_breaker_right(struct hsm_breaker *breaker);
/* A fresh worker opened its token: what is known of the old one says little, so the probe is due at once. */
void hsm_breaker_fresh(struct hsm_breaker *breaker, int64_t now_us);
/* True when one probe may be sent now; the breaker is half-open then, until success or failure is told. */
bool hsm_breaker_probe(struct hsm_breaker *breaker, int64_t now_us);

#endif
