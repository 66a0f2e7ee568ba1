/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c: one request from its first line to its end: framing, client certificate, route, body within its
 * cap, handler. libmicrohttpd calls http_on_request several times for one request; `stage` says where it is.
 */
#include "http/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *http_on_request_line(void *context, const char *target, struct MHD_Connection *mhd)
{
	struct ch_http_server *server = context;
	struct ch_http_request *request = ch_alloc(sizeof(*request));
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	request->server = server;
	request->mhd = mhd;
	request->connection = info ? info->socket_context : NULL;
	request->target = ch_strdup(target ? target : "");
	request->began_us = ch_monotonic_us();
	atomic_fetch_add(&server->in_flight, 1);
	if (request->connection) {
		request->connection->seen_request = true;
		http_connection_expect(request->connection, server->request_us);
	}
	return request;
}

/* --- refusing ---------------------------------------------------------------------------------------------
 */

static void refuse(struct ch_http_request *request, const char *reason, int status, const char *code,
		   const char *detail)
{
	http_stats_refused(request->server, reason);
	ch_http_respond_problem(&request->response, request, status, code, detail);
}

static bool refuse_error(struct ch_http_request *request, const char *reason, int status,
			 const struct ch_error *err)
{
	refuse(request, reason, status, ch_code_name(err->code), err->message);
	return false;
}

/* --- what is asked for
 * -------------------------------------------------------------------------------------- */

/* "/path?query"; also "http://host/path" (RFC 9112 §3.2.2). */
static bool split_target(struct ch_http_request *request)
{
	char *path = request->target;
	char *query;

	if (strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0) {
		path = strchr(strstr(path, "://") + 3, '/');
		if (!path)
			path = request->target + strlen(request->target);
	}
	request->path = path;
	query = strchr(path, '?');
	if (query) {
		*query = 0;
		request->query_text = query + 1;
	}
	for (const char *c = request->target; *c; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return false;
	return *path == '/' && !strchr(path, '#');
}

static bool same_method(const struct ch_http_route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
	       (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static void refuse_unrouted(struct ch_http_request *request, const char *allow)
{
	struct ch_error err;

	if (!*allow) {
		ch_fail(&err, CH_NOT_FOUND, "nothing is at '%.200s'", request->path);
		refuse_error(request, "not-found", 404, &err);
		return;
	}
	refuse(request, "method", 405, "method-not-allowed", "the method is not one that Allow names");
	ch_http_add_header(&request->response, "Allow", allow);
}

static bool take_parameters(struct ch_http_request *request, const struct http_capture *captures,
			    size_t count)
{
	struct ch_error err;

	for (size_t i = 0; i < count; i++) {
		struct http_pair *parameter = &request->parameters[i];

		parameter->name = ch_strndup(captures[i].name, captures[i].name_size);
		request->parameter_count++;
		if (!http_percent_decode(captures[i].value, captures[i].value_size, false, &parameter->value,
					 &err)) {
			ch_fail_in(&err, "{%s} of the path", parameter->name);
			return refuse_error(request, "malformed", 400, &err);
		}
	}
	return true;
}

static bool find_route(struct ch_http_request *request)
{
	const struct ch_http_server *server = request->server;
	struct http_capture captures[HTTP_PARAMETERS_MAX];
	char allow[96] = "";
	size_t count;

	for (size_t i = 0; i < server->route_count; i++) {
		const struct ch_http_route *route = &server->routes[i];

		if (!http_route_match(route->path, request->path, captures, HTTP_PARAMETERS_MAX, &count))
			continue;
		if (same_method(route, request->method)) {
			request->route = route;
			return take_parameters(request, captures, count);
		}
		size_t used = strlen(allow);
		snprintf(allow + used, sizeof(allow) - used, "%s%s%s", used ? ", " : "", route->method,
			 strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
	}
	refuse_unrouted(request, allow);
	return false;
}

static bool read_query(struct ch_http_request *request)
{
	struct ch_error err;

	if (!request->query_text || !*request->query_text ||
	    http_query_parse(request->query_text, &request->query, &request->query_count, &err))
		return true;
	return refuse_error(request, "malformed", 400, &err);
}

static void refuse_oversized(struct ch_http_request *request)
{
	char detail[96];

	if (request->route->oversized) {
		http_stats_refused(request->server, "too-large");
		(void)request->route->oversized(request->server->state, request, &request->response);
		return;
	}
	snprintf(detail, sizeof(detail), "the body is over %zu octets", request->route->body_cap);
	refuse(request, "too-large", 413, ch_code_name(CH_TOO_LARGE), detail);
}

/* Everything that can be refused before a handler. False: request->response says why. */
static bool admit(struct ch_http_request *request, struct http_framing *framing, const char *version)
{
	struct ch_error err;
	int status;

	if (!http_framing_check(request->mhd, version, framing, &status, &err)) {
		request->response.close = true;
		return refuse_error(request, "malformed", status, &err);
	}
	if (!split_target(request)) {
		refuse(request, "malformed", 400, ch_code_name(CH_INVALID),
		       "malformed request: the request target is not a path");
		return false;
	}
	if (request->server->tls_on && !http_tls_check_client(request->mhd, request->connection, &err) &&
	    !request->server->handlers_refuse_certificates)
		return refuse_error(request, "client-certificate", ch_code_http_status(err.code), &err);
	if (!find_route(request) || !read_query(request))
		return false;
	if (framing->length > request->route->body_cap) {
		refuse_oversized(request);
		return false;
	}
	return true;
}

/* --- the stages
 * ----------------------------------------------------------------------------------------------- */

static enum MHD_Result begin(struct ch_http_request *request, const char *method, const char *version)
{
	struct http_framing framing;

	request->method = method;
	if (admit(request, &framing, version)) {
		request->stage = STAGE_BODY;
		return MHD_YES;
	}
	request->stage = STAGE_REFUSED;
	/* at once, with the connection closed after it: where the rest of the request cannot or need not be
	 * read */
	if (request->response.close || framing.expects_continue || framing.length > HTTP_DISCARD_CAP) {
		request->response.close = true;
		return http_response_queue(request);
	}
	return MHD_YES;
}

static enum MHD_Result take_body(struct ch_http_request *request, const char *data, size_t size)
{
	if (request->stage == STAGE_BODY && request->body.used + size > request->route->body_cap) {
		refuse_oversized(request); /* chunked: its size was not known */
		request->stage = STAGE_REFUSED;
		ch_buffer_free(&request->body);
		request->body = (struct ch_buffer)CH_NONE;
	}
	if (request->stage == STAGE_BODY) {
		ch_buffer_add(&request->body, data, size);
		return MHD_YES;
	}
	request->discarded += size;
	return request->discarded <= HTTP_DISCARD_CAP ? MHD_YES : MHD_NO;
}

static enum MHD_Result run_slow(struct ch_http_request *request)
{
	struct ch_error err;

	http_connection_expect(request->connection, 0); /* the handler has its own deadlines */
	if (http_workers_take(&request->server->workers, request))
		return MHD_YES;
	ch_fail(&err, CH_UNAVAILABLE, "too many requests are waiting already");
	http_stats_refused(request->server, "queue-full");
	ch_http_respond_error(&request->response, request, &err);
	return http_response_queue(request);
}

static enum MHD_Result dispatch(struct ch_http_request *request)
{
	const struct ch_http_route *route = request->route;

	if (route->fast && route->fast(request->server->state, request, &request->response) == CH_HTTP_DONE)
		return http_response_queue(request);
	return route->slow ? run_slow(request) : http_response_queue(request);
}

enum MHD_Result http_on_request(void *server, struct MHD_Connection *mhd, const char *url, const char *method,
				const char *version, const char *data, size_t *size, void **context)
{
	struct ch_http_request *request = *context;
	enum MHD_Result taken;

	(void)server, (void)mhd, (void)url;
	if (!request || !request->connection)
		return MHD_NO;
	switch (request->stage) {
	case STAGE_HEADERS:
		return begin(request, method, version);
	case STAGE_BODY:
	case STAGE_REFUSED:
		if (*size) {
			taken = take_body(request, data, *size);
			*size = 0;
			return taken;
		}
		return request->stage == STAGE_BODY ? dispatch(request) : http_response_queue(request);
	case STAGE_ANSWERED:
		return http_response_queue(request);
	case STAGE_WAITING:
	case STAGE_SENT:
	default:
		return MHD_YES;
	}
}

static void request_free(struct ch_http_request *request)
{
	http_response_free(&request->response);
	http_pairs_free(request->parameters, request->parameter_count);
	http_pairs_free(request->query, request->query_count);
	free(request->query);
	ch_buffer_free(&request->body);
	free(request->target);
	free(request);
}

void http_drained(struct ch_http_server *server)
{
	if (!atomic_load(&server->draining))
		return;
	pthread_mutex_lock(&server->drain_lock);
	pthread_cond_signal(&server->drained);
	pthread_mutex_unlock(&server->drain_lock);
}

void http_on_completed(void *context, struct MHD_Connection *mhd, void **request_context,
		       enum MHD_RequestTerminationCode why)
{
	struct ch_http_server *server = context;
	struct ch_http_request *request = *request_context;

	(void)mhd;
	if (!request)
		return;
	*request_context = NULL;
	if (request->stage == STAGE_SENT)
		http_stats_finished(server, request);
	else if (request->stage == STAGE_HEADERS)
		http_stats_refused(server, "malformed"); /* libmicrohttpd answered it, or it never ended */
	else if (why == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED)
		http_stats_refused(server, "timeout");
	if (request->connection) /* the next request on this connection */
		http_connection_expect(request->connection, server->idle_us + server->request_us);
	request_free(request);
	if (atomic_fetch_sub(&server->in_flight, 1) == 1)
		http_drained(server);
}
