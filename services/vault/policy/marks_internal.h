/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks_internal.h: what marks.c (one mark) and marks_sync.c (all HSMs alike) share. A mark is backed where
 * this process raised it or saw it with a sealed row; what is higher, one HSM alone says: it refuses as long
 * as that HSM is enabled, and is taken to no other.
 */
#ifndef VAULT_MARKS_INTERNAL_H
#define VAULT_MARKS_INTERNAL_H

#include "marks.h"

#include "hsm.h"

/* --- marks.c: thread-safe; marks may be NULL: nothing is known --- */
void vault_marks_back(struct vault_marks *marks, const char *name, const struct hsm_mark *mark);
struct hsm_mark vault_marks_backed(struct vault_marks *marks, const char *name); /* size 0: nothing */
/* This HSM says so. Kept where it is higher than what is backed. */
void vault_marks_doubt(struct vault_marks *marks, const char *name, size_t hsm, struct hsm_mark *mark);
void vault_marks_forget(struct vault_marks *marks, const char *name);
void vault_marks_add_backed(struct vault_marks *marks, struct hsm_mark_list *all);
/* Sends one request to each HSM of `hsms`; how many did it. An HSM whose worker is lost meanwhile gets it
 * later. */
size_t vault_marks_run_on_each(struct vault *vault, unsigned hsms, Chancery__HsmMarks *ask,
			       struct ch_error *err);

/* --- marks_rows.c --- */
/* How high the sealed row in the database is that this mark is of; size 0: there is none, or its seal does
 * not fit, or it is of a kind without one. */
CH_MUST_USE bool vault_mark_of_row(struct vault *vault, const char *name, struct hsm_mark *mark,
				   struct ch_error *err);

#endif
