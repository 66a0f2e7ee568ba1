/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_mark.h: a high-water mark as the HSMs keep it: a number that only grows, under a name. The worker keeps
 * them in its token (worker_marks.c), the vault holds rows of the database against them (policy/marks.c).
 */
#ifndef VAULT_HSM_MARK_H
#define VAULT_HSM_MARK_H

#include "mem/mem.h"

#define HSM_MARK_NAME_CAP  96 /* "number/" and a key id; "quorum/" and a tenant */
#define HSM_MARK_VALUE_CAP 32 /* octets: a CRL number has 20 at most, a used action 24 */

/* Unsigned, big endian, without leading zeros; size 0: none, below all others. */
struct hsm_mark {
	uint8_t value[HSM_MARK_VALUE_CAP];
	size_t size;
};
/* Leading zeros are left out; what is over the cap is cut to the largest number that there is. Zero is kept
 * as one octet. */
void hsm_mark_set(struct hsm_mark *mark, struct ch_view value);
/* Of somebody else: false where it is over the cap. */
CH_MUST_USE bool hsm_mark_read(struct hsm_mark *mark, struct ch_view value);
void hsm_mark_of_number(struct hsm_mark *mark, uint64_t number);
int hsm_mark_compare(const struct hsm_mark *a, const struct hsm_mark *b); /* as memcmp */

/* Names and marks, the highest of each name. */
struct hsm_named_mark {
	char name[HSM_MARK_NAME_CAP + 1];
	struct hsm_mark mark;
};
struct hsm_mark_list {
	struct hsm_named_mark *items;
	size_t count, room;
};
void hsm_mark_list_add(struct hsm_mark_list *list, const char *name, const struct hsm_mark *mark);
void hsm_mark_list_free(struct hsm_mark_list *list);

CH_DEFINE_AUTO_VALUE(hsm_mark_list, struct hsm_mark_list, hsm_mark_list_free)

#endif
