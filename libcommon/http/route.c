/* SPDX-License-Identifier: Apache-2.0 */
/* route.c: does a path fit a route's pattern? Called by request.c. */
#include "http/parse.h"

#include <string.h>

/* One "{name}" or "{name...}" of the pattern, whose '{' is at `at`. */
struct placeholder {
	const char *name;
	size_t name_size;
	bool rest;
	const char *after;
};

static struct placeholder placeholder_read(const char *at)
{
	size_t size = strcspn(at + 1, "}");
	bool rest = size > 3 && strncmp(at + 1 + size - 3, "...", 3) == 0;

	return (struct placeholder){ at + 1, rest ? size - 3 : size, rest, at + 1 + size + 1 };
}

bool http_route_match(const char *pattern, const char *path, struct http_capture *captures, size_t room,
		      size_t *count)
{
	*count = 0;
	while (*pattern) {
		struct placeholder hole;
		size_t size;

		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		hole = placeholder_read(pattern);
		size = hole.rest ? strlen(path) : strcspn(path, "/");
		/* what follows the placeholder in its segment: "/crl/{ca}.crl" */
		if (!hole.rest && *hole.after && *hole.after != '/') {
			size_t tail = strlen(hole.after);

			if (size <= tail || strncmp(path + size - tail, hole.after, tail) != 0 || path[size])
				return false;
			size -= tail;
		}
		if ((!size && !hole.rest) || *count == room)
			return false;
		captures[(*count)++] = (struct http_capture){ hole.name, hole.name_size, path, size };
		path += size;
		pattern = hole.after;
	}
	return !*path;
}
