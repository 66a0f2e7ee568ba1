/* SPDX-License-Identifier: Apache-2.0 */
/* body.c: what a request carries: its body's media type, JSON or document, and its query. */
#include "gateway.h"

#include "http/parse.h"
#include "json.h"
#include "text.h"

#include <string.h>
#include <strings.h>

bool body_type(const struct call *call, const struct rest_route *route, const char **type,
	       struct ch_error *err)
{
	const char *given = ch_http_header(call->request, "Content-Type");
	size_t size = given ? strcspn(given, "; \t") : 0;

	*type = "";
	if (!route->body_types)
		return true;
	if (!ch_http_body(call->request).size) /* clients name a type for no body, too (curl does) */
		return true;
	if (!size)
		return ch_fail(err, CH_INVALID, "Content-Type is missing: it must be %s",
			       route->body_types[0]);
	for (size_t i = 0; route->body_types[i]; i++) {
		if (strlen(route->body_types[i]) == size &&
		    strncasecmp(given, route->body_types[i], size) == 0) {
			*type = route->body_types[i];
			return true;
		}
	}
	return ch_fail(err, CH_INVALID, "Content-Type '%.64s' is not taken here, %s is", given,
		       route->body_types[0]);
}

bool body_object(const struct call *call, const char *const *known, bool may_be_empty, cJSON **object,
		 struct ch_error *err)
{
	struct ch_view body = ch_http_body(call->request);
	CH_AUTO(cJSON) tree = NULL;

	if (!body.size && may_be_empty) {
		*object = cJSON_CreateObject();
		return true;
	}
	if (!json_read_object(body, &tree, err) || !json_only(tree, "the body", known, err))
		return false;
	*object = CH_STEAL(tree);
	return true;
}

bool body_document(const struct call *call, char **document, struct ch_error *err)
{
	struct ch_view body = ch_http_body(call->request);

	if (!body.size)
		return ch_fail(err, CH_INVALID, "the body is empty: a YAML or JSON document is needed");
	if (memchr(body.data, 0, body.size) || !http_utf8_valid(body))
		return ch_fail(err, CH_INVALID, "the document is not UTF-8 text");
	*document = ch_strndup((const char *)body.data, body.size);
	return true;
}

bool query_text(const struct call *call, const char *name, size_t cap, char **text, struct ch_error *err)
{
	const char *value = ch_http_query(call->request, name);

	if (value && strlen(value) > cap)
		return ch_fail(err, CH_INVALID, "query member '%s' is over %zu octets", name, cap);
	*text = (char *)(uintptr_t)(value ? value : "");
	return true;
}

bool query_number(const struct call *call, const char *name, uint64_t max, uint64_t *number,
		  struct ch_error *err)
{
	const char *value = ch_http_query(call->request, name);

	*number = 0;
	return !value || text_number(value, max, number, err) || ch_fail_in(err, "query member '%s'", name);
}

bool query_time(const struct call *call, const char *name, int64_t *time_us, struct ch_error *err)
{
	const char *value = ch_http_query(call->request, name);

	*time_us = 0;
	return !value || text_time(value, time_us, err) || ch_fail_in(err, "query member '%s'", name);
}

bool path_name(const struct call *call, const char **name, struct ch_error *err)
{
	const char *given = ch_http_parameter(call->request, "name");
	size_t size = strlen(given);

	if (!size || size > 63 || *given == '-' ||
	    strspn(given, "abcdefghijklmnopqrstuvwxyz0123456789-") != size)
		return ch_fail(err, CH_NOT_FOUND, "no name '%.80s' can exist: [a-z0-9][a-z0-9-]{0,62}",
			       given);
	*name = given;
	return true;
}
