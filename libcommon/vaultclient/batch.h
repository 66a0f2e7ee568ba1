/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h: gathers what many threads ask for at the same time into few messages. While as many messages are
 * under way as may be, or one that carries more than what waits, what comes next waits and goes with the next
 * one, but for 20 ms at most where one may go; a lone caller waits for nobody.
 * Knows no bus: what sends is given (vaultclient.c), so that it is tested by itself.
 */
#ifndef CH_VAULTCLIENT_BATCH_H
#define CH_VAULTCLIENT_BATCH_H

#include "err/err.h"
#include "mem/mem.h"

#include <stddef.h>
#include <stdint.h>

#define CH_BATCH_CAP 256 /* items of one message */

/* One thing that a thread asks for. The caller fills the first part and owns it. */
struct ch_batch_item {
	const char *group;   /* only items of equal groups share a message (the tenant) */
	const void *request; /* copied by `copy` before the caller may leave */
	int64_t deadline_us; /* ch_monotonic_us */

	struct ch_bytes result; /* where done is true: the caller frees it */
	bool done;
	struct ch_error err; /* where not */
};

struct ch_batch_options {
	size_t under_way; /* messages at the same time, at the most */
	/*
	 * Makes what is sent of these requests (which may not be looked at afterwards), all of one group.
	 * Called with the batcher's lock held.
	 */
	void *(*copy)(void *state, const char *group, const void *const *requests, size_t count);
	/* Sends it, waits until deadline_us at the most (that of the thread that calls it), and gives each
	 * item its result or error. Frees `message`. */
	void (*send)(void *state, void *message, int64_t deadline_us, struct ch_batch_item *results,
		     size_t count);
	void *state;
};

struct ch_batcher;
struct ch_batcher *ch_batcher_new(const struct ch_batch_options *options);
void ch_batcher_free(struct ch_batcher *batcher); /* NULL is fine; nobody may be inside ch_batcher_run */

/*
 * Returns when the item has its result, its error, or its deadline has passed (CH_UNAVAILABLE, retryable: it
 * may be done all the same). Thread-safe.
 */
CH_MUST_USE bool ch_batcher_run(struct ch_batcher *batcher, struct ch_batch_item *item, struct ch_error *err);

#endif
