/* SPDX-License-Identifier: Apache-2.0 */
/* http.c: POST /tsa (RFC 3161 §3.4). Whatever is wrong with a request, its answer is a TimeStampResp. */
#include "tsa.h"

#include <string.h>
#include <strings.h>

static const char query_type[] = "application/timestamp-query";
static const char reply_type[] = "application/timestamp-reply";

/* The media type without its parameters. */
static bool is_query(const char *content_type)
{
	if (!content_type)
		return false;
	size_t size = strcspn(content_type, "; \t");
	return size == strlen(query_type) && !strncasecmp(content_type, query_type, size);
}

static void respond(struct ch_http_response *response, int status, struct ch_bytes body)
{
	ch_http_respond(response, status, reply_type, body);
	ch_http_add_header(response, "Cache-Control", "no-store");
}

static enum ch_http_result refuse(struct tsa *tsa, struct ch_http_request *request,
				  struct ch_http_response *response, int status, const char *why)
{
	struct ch_error err = CH_NONE;
	ch_fail(&err, CH_INVALID, "%s", why);
	respond(response, status, tsa_reject(tsa, TSA_BAD_DATA_FORMAT, ch_http_trace_id(request), &err));
	return CH_HTTP_DONE;
}

static enum ch_http_result post(void *state, struct ch_http_request *request,
				struct ch_http_response *response)
{
	if (!is_query(ch_http_header(request, "Content-Type")))
		return refuse(state, request, response, 415, "the body must be application/timestamp-query");
	return CH_HTTP_LATER;
}

static void stamp(void *state, struct ch_http_request *request, struct ch_http_response *response)
{
	respond(response, 200, tsa_stamp(state, ch_http_body(request), ch_http_trace_id(request)));
}

static enum ch_http_result oversized(void *state, struct ch_http_request *request,
				     struct ch_http_response *response)
{
	return refuse(state, request, response, 413, "the request is larger than a TimeStampReq may be");
}

const struct ch_http_route tsa_routes[] = {
	{ .method = "POST",
	  .path = "/tsa",
	  .body_cap = TSA_REQUEST_CAP,
	  .fast = post,
	  .slow = stamp,
	  .oversized = oversized },
};
const size_t tsa_route_count = CH_COUNT(tsa_routes);
