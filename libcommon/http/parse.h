/* SPDX-License-Identifier: Apache-2.0 */
/* parse.h: the pure parts of libcommon/http: targets, queries, routes' paths. No socket, no state. */
#ifndef CH_HTTP_PARSE_H
#define CH_HTTP_PARSE_H

#include "mem/mem.h"

struct http_pair {
	char *name;  /* owned */
	char *value; /* owned */
};

#define HTTP_QUERY_MAX 32 /* members of one query string */

/* Well-formed UTF-8 (RFC 3629: no overlong form, no surrogate, at most U+10FFFF). */
bool http_utf8_valid(struct ch_view text);

/* Percent-decodes (RFC 3986 §2.1) `size` octets; `plus`: '+' is a space, as in queries. CH_INVALID for a
 * broken escape, for %00 and other control characters, and where the result is not UTF-8. */
CH_MUST_USE bool http_percent_decode(const char *text, size_t size, bool plus, char **out,
				     struct ch_error *err);

/* "a=1&b=2" into at most HTTP_QUERY_MAX pairs; a name that stands twice is refused. */
CH_MUST_USE bool http_query_parse(const char *text, struct http_pair **pairs, size_t *count,
				  struct ch_error *err);
void http_pairs_free(struct http_pair *pairs, size_t count); /* the members, not the array */

/* A span of the raw path that stands at a {name} of the pattern. */
struct http_capture {
	const char *name;
	size_t name_size;
	const char *value;
	size_t value_size;
};
/* "/v1/cas/{name}" against a raw path. A {name} takes one segment that is not empty, {name...} the rest,
 * which may be empty. */
bool http_route_match(const char *pattern, const char *path, struct http_capture *captures, size_t room,
		      size_t *count);

/* The trace id of a traceparent header (W3C Trace Context §3.2): false where it is malformed or all zero. */
bool http_traceparent_read(const char *header, char trace_id[33]);

#endif
