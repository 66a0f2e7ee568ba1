/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks.h: how far the vaults' rows have come, kept where a database administrator cannot turn it back: in
 * the HSMs (hsm_mark.h), so that every vault of them, and one that was just started, refuses an older row
 * that was put back with its seal. A mark is read with a row, at most once a second for each key; it is
 * raised when a row changes. sealed_rows.c, number.c, the quorum, used actions and data keys ask here.
 */
#ifndef VAULT_MARKS_H
#define VAULT_MARKS_H

#include "hsm_mark.h"

#include "err/err.h"

struct vault;

#define VAULT_MARK_KEY    "key/"    /* + key id: policy_version */
#define VAULT_MARK_NUMBER "number/" /* + key id: the last number signed */
#define VAULT_MARK_QUORUM "quorum/" /* + tenant: version */
#define VAULT_MARK_ACTION \
	"action/" /* + action id: when it expires (8 octets), the message that used it (16) */
#define VAULT_MARK_DATA_KEY "data-key/" /* + tenant: the newest version */

struct vault_marks;
struct vault_marks *vault_marks_new(struct vault *vault);
void vault_marks_free(struct vault_marks *marks); /* NULL is fine */
/* A thread that brings HSMs that came up to what the others have; once there are HSMs. */
CH_MUST_USE bool vault_marks_start(struct vault_marks *marks, struct ch_error *err);
void vault_marks_stop(struct vault_marks *marks); /* NULL is fine */
/* An HSM came up, was replaced, or missed a mark: the thread looks at once. From any thread; NULL is fine. */
void vault_marks_wake(struct vault_marks *marks);
/* Now: every HSM that is up gets every mark that this process, or any of them, has, the latter as far as this
 * process or the database's sealed rows back it: else an alert "mark-unbacked" tells which HSM says so. */
CH_MUST_USE bool vault_marks_sync(struct vault *vault, struct ch_error *err);

/* What an HSM (numbers, quorums and actions: any that is up) and this process know: size 0: nothing. What one
 * HSM alone says counts until it is disabled. CH_UNAVAILABLE: no HSM. */
CH_MUST_USE bool vault_mark_read(struct vault *vault, const char *kind, const char *name,
				 struct hsm_mark *mark, struct ch_error *err);
/* Of a number; 0: none. */
CH_MUST_USE bool vault_mark_read_number(struct vault *vault, const char *kind, const char *name,
					uint64_t *number, struct ch_error *err);
/* A sealed row that is as high was just seen: the mark is believed of any HSM. */
void vault_mark_seen(struct vault *vault, const char *kind, const char *name, const struct hsm_mark *mark);
void vault_mark_seen_number(struct vault *vault, const char *kind, const char *name, uint64_t number);
/* In all HSMs that are up; those that are not get it when they come. CH_UNAVAILABLE: in none. */
CH_MUST_USE bool vault_mark_raise(struct vault *vault, const char *kind, const char *name,
				  const struct hsm_mark *mark, struct ch_error *err);
CH_MUST_USE bool vault_mark_raise_number(struct vault *vault, const char *kind, const char *name,
					 uint64_t number, struct ch_error *err);

#endif
