/* SPDX-License-Identifier: Apache-2.0 */
/* response.c: what handlers answer with, problem documents (RFC 9457), and how it reaches libmicrohttpd. */
#include "http/internal.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A reader slower than this is let go, beyond the time that any request has. */
#define SLOWEST_READER (16 * 1024) /* octets a second */

static void set_body(struct ch_http_response *response, int status, const char *content_type)
{
	if (response->release)
		response->release(response->release_context);
	response->release = NULL;
	response->shared = ch_view(NULL, 0);
	ch_bytes_free(&response->body);
	response->status = status;
	response->content_type = NULL;
	if (content_type) {
		snprintf(response->content_type_text, sizeof(response->content_type_text), "%s",
			 content_type);
		response->content_type = response->content_type_text;
	}
}

void ch_http_respond(struct ch_http_response *response, int status, const char *content_type,
		     struct ch_bytes body)
{
	set_body(response, status, content_type);
	response->body = body;
}

void ch_http_respond_shared(struct ch_http_response *response, int status, const char *content_type,
			    struct ch_view body, void (*release)(void *context), void *context)
{
	set_body(response, status, content_type);
	response->shared = body;
	response->release = release;
	response->release_context = context;
}

void ch_http_respond_text(struct ch_http_response *response, int status, const char *content_type,
			  const char *text)
{
	set_body(response, status, content_type);
	response->body = ch_bytes_copy(ch_view_text(text));
}

void ch_http_add_header(struct ch_http_response *response, const char *name, const char *value)
{
	if (response->header_count == HTTP_HEADERS_MAX || strpbrk(value, "\r\n"))
		return;
	response->headers[response->header_count].name = ch_strdup(name);
	response->headers[response->header_count].value = ch_strdup(value);
	response->header_count++;
}

/* Messages may quote what a client sent: what is not UTF-8 there must not break the document. */
static char *utf8_or_marked(const char *text)
{
	char *copy = ch_strdup(text);

	if (!http_utf8_valid(ch_view_text(copy)))
		for (char *c = copy; *c; c++)
			if ((unsigned char)*c >= 0x80)
				*c = '?';
	return copy;
}

void ch_http_respond_problem(struct ch_http_response *response, const struct ch_http_request *request,
			     int status, const char *code, const char *detail)
{
	CH_AUTO(ch_string) safe = utf8_or_marked(detail ? detail : "");
	cJSON *problem = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(problem, "type", "about:blank");
	cJSON_AddStringToObject(problem, "title", MHD_get_reason_phrase_for((unsigned)status));
	cJSON_AddNumberToObject(problem, "status", status);
	cJSON_AddStringToObject(problem, "detail", safe);
	cJSON_AddStringToObject(problem, "code", code);
	cJSON_AddStringToObject(problem, "trace_id", ch_http_trace_id(request));
	text = cJSON_PrintUnformatted(problem);
	cJSON_Delete(problem);
	ch_http_respond(response, status, "application/problem+json",
			(struct ch_bytes){ (uint8_t *)text, text ? strlen(text) : 0 });
}

void ch_http_respond_error(struct ch_http_response *response, const struct ch_http_request *request,
			   const struct ch_error *err)
{
	const struct ch_error told = ch_error_outward(err);
	char seconds[24];

	ch_http_respond_problem(response, request, ch_code_http_status(told.code), ch_code_name(told.code),
				told.message);
	if (!told.retryable && !told.retry_after_ms)
		return;
	snprintf(seconds, sizeof(seconds), "%u",
		 told.retry_after_ms ? (told.retry_after_ms + 999) / 1000 : 1);
	ch_http_add_header(response, "Retry-After", seconds);
}

void http_response_free(struct ch_http_response *response)
{
	set_body(response, 0, NULL);
	for (size_t i = 0; i < response->header_count; i++) {
		free(response->headers[i].name);
		free(response->headers[i].value);
	}
	response->header_count = 0;
}

/* Hands the body over to libmicrohttpd. */
static struct MHD_Response *make(struct ch_http_response *response)
{
	struct MHD_Response *made;

	if (response->release) {
		made = MHD_create_response_from_buffer_with_free_callback_cls(
			response->shared.size, (void *)response->shared.data, response->release,
			response->release_context);
		if (made)
			response->release = NULL;
	} else if (response->shared.size) {
		made = MHD_create_response_from_buffer(response->shared.size, (void *)response->shared.data,
						       MHD_RESPMEM_PERSISTENT);
	} else {
		made = MHD_create_response_from_buffer(response->body.size, response->body.data,
						       MHD_RESPMEM_MUST_FREE);
		if (made)
			response->body = (struct ch_bytes)CH_NONE;
	}
	return made;
}

static bool add_headers(struct MHD_Response *made, const struct ch_http_response *response, bool close)
{
	if (response->content_type &&
	    MHD_add_response_header(made, "Content-Type", response->content_type) != MHD_YES)
		return false;
	for (size_t i = 0; i < response->header_count; i++)
		if (MHD_add_response_header(made, response->headers[i].name, response->headers[i].value) !=
		    MHD_YES)
			return false;
	return !close || MHD_add_response_header(made, "Connection", "close") == MHD_YES;
}

enum MHD_Result http_response_queue(struct ch_http_request *request)
{
	struct ch_http_response *response = &request->response;
	struct MHD_Response *made;
	enum MHD_Result queued;
	size_t size;

	if (!response->status)
		ch_http_respond_problem(response, request, 500, ch_code_name(CH_INTERNAL),
					"the request was not answered");
	size = response->shared.size + response->body.size;
	made = make(response);
	if (!made)
		return MHD_NO;
	if (!add_headers(made, response, response->close || atomic_load(&request->server->draining))) {
		MHD_destroy_response(made);
		return MHD_NO;
	}
	request->stage = STAGE_SENT;
	http_stats_answered(request->server, request, response->status);
	http_connection_expect(request->connection,
			       request->server->request_us + (int64_t)(size / SLOWEST_READER) * CH_SECOND);
	queued = MHD_queue_response(request->mhd, (unsigned)response->status, made);
	MHD_destroy_response(made);
	return queued;
}
