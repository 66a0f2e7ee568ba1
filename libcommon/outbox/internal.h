/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share and nobody else needs. */
#ifndef CH_OUTBOX_INTERNAL_H
#define CH_OUTBOX_INTERNAL_H

#include "db/lease.h"
#include "outbox/outbox.h"

#define OUTBOX_BATCH 256 /* rows of one step */

/* --- store.c --- */
/* Up to OUTBOX_BATCH rows of the service behind one: its id, the event, its age in seconds. The caller frees
 * *rows. */
CH_MUST_USE bool outbox_store_read(struct ch_db *db, const char *service, int64_t after,
				   struct ch_rows **rows, struct ch_error *err);
/* Those that are done. One that the database does not let go, for it is neither in the log nor in quarantine,
 * is told, and done no more. */
CH_MUST_USE bool outbox_store_take(struct ch_db *db, const char *service, const struct ch_rows *rows,
				   bool *done, struct ch_error *err);

#endif
