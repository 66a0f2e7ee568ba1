/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signers.c: by whose word an event is genuine: a system CA of today, or one that was rolled over, whose
 * identities signed what still waited in a spool or an outbox then. The bus believes the former alone.
 * judge.c calls it.
 */
#include "audit.h"
#include "log/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

struct signers {
	struct ch_trust *today; /* borrowed */
	char *path;             /* of the retired CAs' certificates; the file need not be there */
	pthread_rwlock_t lock;  /* guards the rest */
	struct ch_trust *retired;
	struct stat seen; /* of the file, when it was read, or tried, last */
};

struct signers *signers_new(struct ch_trust *today, const char *system_ca_path)
{
	struct signers *signers = ch_alloc(sizeof(*signers));

	signers->today = today;
	signers->path = ch_audit_retired_cas(system_ca_path);
	pthread_rwlock_init(&signers->lock, NULL);
	return signers;
}

void signers_free(struct signers *signers)
{
	if (!signers)
		return;
	ch_trust_free(signers->retired);
	free(signers->path);
	pthread_rwlock_destroy(&signers->lock);
	free(signers);
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* With the lock for writing. True: there are other CAs than before. */
static bool read_again(struct signers *signers)
{
	struct ch_trust *fresh = NULL;
	struct ch_error err = CH_NONE;
	struct stat now;

	if (stat(signers->path, &now) != 0 || same(&now, &signers->seen))
		return false;
	signers->seen = now;
	if (!ch_trust_load_with(signers->path, NULL, &fresh, &err)) {
		ch_log_error("retired system CAs: %s", err.message);
		return false;
	}
	ch_trust_free(signers->retired);
	signers->retired = fresh;
	return true;
}

static bool by_retired(struct signers *signers, const Chancery__SignedEvent *signed_event,
		       Chancery__Event **event, struct ch_error *err)
{
	bool genuine;

	pthread_rwlock_rdlock(&signers->lock);
	genuine = signers->retired && ch_audit_event_open(signers->retired, signed_event, event, err);
	pthread_rwlock_unlock(&signers->lock);
	return genuine;
}

bool signers_event_open(struct signers *signers, const Chancery__SignedEvent *signed_event,
			Chancery__Event **event, struct ch_error *err)
{
	bool again;

	/* Retryable: its certificate chains to no CA that is known. Everything else is a verdict. */
	if (ch_audit_event_open(signers->today, signed_event, event, err))
		return true;
	if (err->retryable && by_retired(signers, signed_event, event, err))
		return true;
	if (!err->retryable)
		return false;
	pthread_rwlock_wrlock(&signers->lock);
	again = read_again(signers);
	pthread_rwlock_unlock(&signers->lock);
	return again && by_retired(signers, signed_event, event, err);
}
