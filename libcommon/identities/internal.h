/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share. */
#ifndef CH_IDENTITIES_INTERNAL_H
#define CH_IDENTITIES_INTERNAL_H

#include "identities/identities.h"
#include "log/log.h"

#include <pthread.h>
#include <stdatomic.h>

/* All but `stop` is the thread's alone. */
struct ch_identities {
	struct ch_identities_options options;
	struct ch_readiness *ready;
	struct ch_metric *expires, *refused, *cas, *list_age;
	pthread_t thread;
	atomic_bool stop;

	unsigned reloads;      /* SIGHUPs that were followed */
	bool files_new;        /* they differ since the look before: read once they are quiet */
	int64_t exchange_us;   /* monotonic: when the next is due */
	int64_t exchanged_us;  /* monotonic: the last that succeeded */
	unsigned unrecognised; /* times in a row that the other side did not take this identity */
	char why_not[160];     /* what it said */
	bool told_stale;
	int64_t warned_us; /* when the last warning of expiry was given; 0: none */
	uint8_t kept_sha256[32];
};

/* --- expiry.c --- */
/* Metrics, /readyz, and a warning a day from 30 days before the end. */
void ch_identities_look_at_expiry(struct ch_identities *identities);
/* An event about this daemon's identity. outcome: "success", "failure". */
void ch_identities_record(struct ch_identities *identities, const char *type, const char *outcome,
			  const char *why);

/* --- kept.c --- */
/* Takes what <state_directory>/refused-identities holds. */
void ch_identities_read_kept(struct ch_identities *identities);
/* Writes it where it changed. */
void ch_identities_keep(struct ch_identities *identities);

#endif
