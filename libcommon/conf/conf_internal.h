/* SPDX-License-Identifier: Apache-2.0 */
/* conf_internal.h: what the files of libcommon/conf share: values as text on one side, members of a struct on
 * the other. */
#ifndef CH_CONF_INTERNAL_H
#define CH_CONF_INTERNAL_H

#include "conf/conf.h"

#define CH_CONF_FIELDS_MAX 64    /* keys of one section */
#define CH_CONF_DEPTH_MAX  16    /* nesting of a document */
#define CH_CONF_LIST_MAX   10000 /* elements of one list where the schema says nothing */

/* A scalar as the document has it. */
struct ch_conf_scalar {
	const char *text; /* zero-terminated, without zeros inside */
	bool quoted;
};

/*
 * Converts a scalar and stores it in `member`, which points to the field's type. `source` is what a relative
 * path starts from. CH_INVALID without the place: the reader adds it.
 */
CH_MUST_USE bool ch_conf_store_scalar(const struct ch_conf_field *field, struct ch_conf_scalar scalar,
				      const char *source, void *member, struct ch_error *err);

/* Is `text` one of "a|b|c"? */
bool ch_conf_is_choice(const char *choices, const char *text);
/* "a, b, c" */
void ch_conf_put_choices(struct ch_buffer *out, const char *choices);

/* Checks one element of a string list against .choices and gives a copy. */
CH_MUST_USE bool ch_conf_store_element(const struct ch_conf_field *field, struct ch_conf_scalar scalar,
				       char **element, struct ch_error *err);

/* Checks the number of elements of a list against min..max. */
CH_MUST_USE bool ch_conf_check_count(const struct ch_conf_field *field, size_t count, struct ch_error *err);

/* "5s", "64KiB", "12": as it would be written in a file. The caller frees it. */
char *ch_conf_number_text(enum ch_conf_type type, int64_t number);

#endif
