/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h: strict reading of JSON bodies (RFC 8259, as I-JSON RFC 7493 asks). A text is first checked against
 * the grammar within bounds, then parsed; handlers take the members they know and refuse the rest.
 */
#ifndef GATEWAY_JSON_H
#define GATEWAY_JSON_H

#include "mem/mem.h"

#include <cjson/cJSON.h>

CH_DEFINE_AUTO_POINTER(cJSON, cJSON, cJSON_Delete)

#define JSON_DEPTH_MAX  16
#define JSON_VALUES_MAX 4096 /* of all kinds, in one text */

/* Well-formed UTF-8, the grammar to the letter, no \u0000, nesting and number of values bounded, no octet
 * after the value. CH_INVALID says what is wrong at which octet. Allocates nothing. */
CH_MUST_USE bool json_check(struct ch_view text, struct ch_error *err);

/* json_check, then a tree of an object. */
CH_MUST_USE bool json_read_object(struct ch_view text, cJSON **object, struct ch_error *err);

/* CH_INVALID where `object` (named `where` in the error) has a member that `known` (ends with NULL) does not
 * name, or one twice. */
CH_MUST_USE bool json_only(const cJSON *object, const char *where, const char *const *known,
			   struct ch_error *err);

/* A member of a type; an absent one (or null) leaves *value NULL and is an error only where it is required. A
 * string is borrowed from the tree and at most `cap` octets. */
enum json_need { JSON_OPTIONAL, JSON_REQUIRED };
CH_MUST_USE bool json_string(const cJSON *object, const char *name, enum json_need need, size_t cap,
			     const char **value, struct ch_error *err);
CH_MUST_USE bool json_array(const cJSON *object, const char *name, enum json_need need, size_t cap,
			    const cJSON **value, struct ch_error *err);

#endif
