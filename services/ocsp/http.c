/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c: OCSP over HTTP (RFC 6960 §A, RFC 5019 §5 and §6). Both methods become octets; what the cache has is
 * answered on the event thread, the rest on a worker. Every answer is HTTP 200: what went wrong is said in
 * OCSP.
 */
#include "ocsp.h"

#include "log/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MEDIA_TYPE          "application/ocsp-response"
#define REQUEST_MEDIA_TYPE  "application/ocsp-request"
#define GET_CAP             4096            /* octets of a request in a path */
#define RENEWAL_TIME        (2 * CH_SECOND) /* one request tries to renew an answer; others have this long off */
#define WARNINGS_PER_SECOND 10

static void release_nothing(void *context)
{
	(void)context;
}

static void release_answer(void *context)
{
	ocsp_answer_release(context);
}

/* Bad requests are counted each, and told as far as a log should. */
static bool may_warn(struct ocsp *ocsp)
{
	int64_t now_us = ch_monotonic_us();
	bool may;

	pthread_mutex_lock(&ocsp->lock);
	if (now_us - ocsp->warned_at_us >= CH_SECOND) {
		ocsp->warned_at_us = now_us;
		ocsp->warnings = 0;
	}
	may = ocsp->warnings++ < WARNINGS_PER_SECOND;
	pthread_mutex_unlock(&ocsp->lock);
	return may;
}

static void warn(struct ocsp *ocsp, const struct ch_http_request *request, const char *what,
		 const struct ch_error *err)
{
	const struct ch_log_scope scope = { .trace_id = ch_http_trace_id(request) };

	if (may_warn(ocsp))
		ch_log(CH_LOG_WARN, &scope, "%s from %s: %s", what, ch_http_client_address(request),
		       err->message);
}

static void respond_error(struct ocsp *ocsp, struct ch_http_response *response,
			  enum ocsp_response_status status)
{
	ch_metric_add(ocsp->metrics.responses[status], 1);
	ch_http_respond_shared(response, 200, MEDIA_TYPE, ocsp_response_error(status), release_nothing, NULL);
	ch_http_add_header(response, "Cache-Control", "no-store");
}

static void respond_malformed(struct ocsp *ocsp, const struct ch_http_request *request,
			      struct ch_http_response *response, const char *reason,
			      const struct ch_error *err)
{
	char label[64];

	snprintf(label, sizeof(label), "reason=\"%s\"", reason);
	ch_metric_add(ch_metrics_counter(ocsp->registry, "chancery_ocsp_malformed_total",
					 "Requests that were malformedRequest, by reason.", label),
		      1);
	warn(ocsp, request, "malformed OCSP request", err);
	respond_error(ocsp, response, OCSP_MALFORMED_REQUEST);
}

/* RFC 5019 §6.2: what lets HTTP caches keep a GET answer, until then and no longer. */
static void add_cache_headers(struct ocsp *ocsp, struct ch_http_response *response,
			      const struct ocsp_answer *answer, int64_t now_us)
{
	int64_t age_us = answer->window.next_update_us - now_us;
	char text[80];

	if (age_us > ocsp->config->http_max_age_us)
		age_us = ocsp->config->http_max_age_us;
	snprintf(text, sizeof(text), "max-age=%lld, public, no-transform, must-revalidate",
		 (long long)(age_us > 0 ? age_us / CH_SECOND : 0));
	ch_http_add_header(response, "Cache-Control", text);
	ch_http_add_header(response, "ETag", answer->etag);
	ch_http_add_header(response, "Last-Modified", answer->last_modified);
	ch_http_add_header(response, "Expires", answer->expires);
}

/* May others be given this answer too? */
static bool is_shareable(const struct ocsp_request *asked, const struct ocsp_answer *answer)
{
	return asked->count == 1 && !asked->nonce.data && answer->status != OCSP_UNKNOWN;
}

/* Takes the caller's use of `answer`. */
static void respond_answer(struct ocsp *ocsp, const struct ch_http_request *request,
			   struct ch_http_response *response, const struct ocsp_request *asked,
			   struct ocsp_answer *answer)
{
	bool get = strcmp(ch_http_method(request), "POST") != 0;
	const char *known = get ? ch_http_header(request, "If-None-Match") : NULL;

	ch_metric_add(ocsp->metrics.responses[OCSP_SUCCESSFUL], 1);
	if (known && is_shareable(asked, answer) && ch_http_names_tag(known, answer->etag)) {
		ch_http_respond_shared(response, 304, MEDIA_TYPE, ch_view(NULL, 0), release_answer, answer);
	} else {
		ch_http_respond_shared(response, 200, MEDIA_TYPE, ch_view_of(&answer->response),
				       release_answer, answer);
	}
	if (get && is_shareable(asked, answer))
		add_cache_headers(ocsp, response, answer, ch_clock_now_us(ocsp->clock));
	else if (get)
		ch_http_add_header(response, "Cache-Control", "no-store");
}

static struct ocsp_answer *find_cached(struct ocsp *ocsp, const struct ocsp_request *asked)
{
	if (asked->count != 1 || asked->nonce.data)
		return NULL;
	return ocsp_cache_find(ocsp->cache, &asked->cert_ids[0], ch_clock_now_us(ocsp->clock));
}

/* The next one can be made, and nobody else is at it. Once other responders give that out already, each
 * request waits for it rather than to be told the older thisUpdate, unless it was seen that it cannot be made
 * now. */
static bool take_renewal(struct ocsp *ocsp, struct ocsp_answer *answer)
{
	int64_t renew_at_us = atomic_load(&answer->renew_at_us);
	int64_t now_us = ch_clock_now_us(ocsp->clock);

	if (!ocsp->database_up)
		return false;
	if (now_us >= answer->window.stale_at_us && !atomic_load(&answer->renewal_failed))
		return true;
	return now_us >= renew_at_us &&
	       atomic_compare_exchange_strong(&answer->renew_at_us, &renew_at_us, now_us + RENEWAL_TIME);
}

static enum ch_http_result answer_fast(struct ocsp *ocsp, struct ch_http_request *request,
				       struct ch_http_response *response, struct ch_view der)
{
	struct ocsp_request asked;
	struct ocsp_answer *answer;
	struct ch_error err = CH_NONE;
	const char *reason;

	if (!ocsp_request_read(der, (size_t)ocsp->config->max_requests, &asked, &reason, &err)) {
		respond_malformed(ocsp, request, response, reason, &err);
		return CH_HTTP_DONE;
	}
	answer = find_cached(ocsp, &asked);
	if (!answer) {
		ch_metric_add(ocsp->metrics.cache_miss, 1);
		return CH_HTTP_LATER;
	}
	if (take_renewal(ocsp, answer)) {
		ch_metric_add(ocsp->metrics.cache_renewal, 1);
		ocsp_answer_release(answer);
		return CH_HTTP_LATER;
	}
	ch_metric_add(ocsp->metrics.cache_hit, 1);
	respond_answer(ocsp, request, response, &asked, answer);
	return CH_HTTP_DONE;
}

/* The next answer is made in time beside the one that is given out until all responders give out the next.
 * False: *outcome is the error to tell, OCSP_SUCCESSFUL where `current` is still good. */
static bool renew_ahead(struct ocsp *ocsp, const struct ocsp_question *question, struct ocsp_answer *current,
			enum ocsp_response_status *outcome, struct ch_error *err)
{
	CH_AUTO(ocsp_answer) next = NULL;
	struct ocsp_question ahead = *question;

	ahead.ahead = true;
	if (ocsp_respond(ocsp, &ahead, &next, outcome, err))
		return true;
	atomic_store(&current->renewal_failed, true);
	if (*outcome != OCSP_UNAUTHORIZED)
		*outcome = OCSP_SUCCESSFUL;
	return false;
}

/* What the cache has and a request is to be told, renewed where that is due. Takes nothing of `*current`;
 * sets it to what is to be sent. False: nothing is, and *outcome says why. */
static bool find_answer(struct ocsp *ocsp, const struct ocsp_question *question, struct ocsp_answer **current,
			enum ocsp_response_status *outcome, struct ch_error *err)
{
	int64_t now_us = ch_clock_now_us(ocsp->clock);
	struct ocsp_answer *made = NULL;

	*outcome = OCSP_SUCCESSFUL;
	if (*current && now_us < (*current)->window.renew_at_us) /* another worker was faster */
		return true;
	if (*current && now_us < (*current)->window.stale_at_us)
		return renew_ahead(ocsp, question, *current, outcome, err);
	if (ocsp_respond(ocsp, question, &made, outcome, err)) {
		ocsp_answer_release(*current);
		*current = made;
		return true;
	}
	if (*current) {
		atomic_store(&(*current)->renewal_failed, true);
		if (*outcome != OCSP_UNAUTHORIZED)
			*outcome = OCSP_SUCCESSFUL;
	}
	return false;
}

static void answer_slow(struct ocsp *ocsp, struct ch_http_request *request, struct ch_http_response *response,
			struct ch_view der)
{
	enum ocsp_response_status outcome = OCSP_INTERNAL_ERROR;
	CH_AUTO(ocsp_answer) answer = NULL;
	struct ocsp_request asked;
	struct ocsp_question question = { .request = &asked, .trace_id = ch_http_trace_id(request) };
	struct ch_error err = CH_NONE;
	const char *reason;

	if (!ocsp_request_read(der, (size_t)ocsp->config->max_requests, &asked, &reason, &err)) {
		respond_malformed(ocsp, request, response, reason, &err);
		return;
	}
	answer = find_cached(ocsp, &asked);
	if (!find_answer(ocsp, &question, &answer, &outcome, &err)) {
		warn(ocsp, request, "OCSP request not answered", &err);
		/* The answer that was to be renewed is still good until its nextUpdate. */
		if (outcome == OCSP_SUCCESSFUL)
			ch_metric_add(ocsp->metrics.cache_fallback, 1);
	}
	if (answer && outcome == OCSP_SUCCESSFUL)
		respond_answer(ocsp, request, response, &asked, CH_STEAL(answer));
	else
		respond_error(ocsp, response, outcome);
}

/* "/ocsp/{base64 of the request}". A configured URL that ends in a slash gives two of them; base64 of a
 * SEQUENCE never begins with one. */
static bool decode_get(const struct ch_http_request *request, uint8_t *octets, struct ch_view *der,
		       struct ch_error *err)
{
	const char *text = ch_http_parameter(request, "request");
	size_t size = 0;

	while (*text == '/')
		text++;
	if (!*text)
		return ch_fail(err, CH_INVALID, "no request follows the path");
	if (!ocsp_request_decode(text, octets, GET_CAP, &size, err))
		return false;
	*der = ch_view(octets, size);
	return true;
}

static enum ch_http_result get_fast(void *state, struct ch_http_request *request,
				    struct ch_http_response *response)
{
	struct ocsp *ocsp = state;
	uint8_t octets[GET_CAP];
	struct ch_view der;
	struct ch_error err = CH_NONE;

	if (!decode_get(request, octets, &der, &err)) {
		respond_malformed(ocsp, request, response, "base64", &err);
		return CH_HTTP_DONE;
	}
	return answer_fast(ocsp, request, response, der);
}

static void get_slow(void *state, struct ch_http_request *request, struct ch_http_response *response)
{
	struct ocsp *ocsp = state;
	uint8_t octets[GET_CAP];
	struct ch_view der;
	struct ch_error err = CH_NONE;

	if (!decode_get(request, octets, &der, &err))
		respond_malformed(ocsp, request, response, "base64", &err);
	else
		answer_slow(ocsp, request, response, der);
}

/* RFC 6960 §A.1. Parameters after the type change nothing. */
static bool is_ocsp_request(const char *content_type)
{
	size_t size = sizeof(REQUEST_MEDIA_TYPE) - 1;

	return content_type && strncasecmp(content_type, REQUEST_MEDIA_TYPE, size) == 0 &&
	       (!content_type[size] || strchr("; \t", content_type[size]));
}

static enum ch_http_result post_fast(void *state, struct ch_http_request *request,
				     struct ch_http_response *response)
{
	const char *content_type = ch_http_header(request, "Content-Type");
	struct ch_error err = CH_NONE;

	if (!is_ocsp_request(content_type)) {
		ch_fail(&err, CH_INVALID, "Content-Type '%.64s' is not " REQUEST_MEDIA_TYPE,
			content_type ? content_type : "");
		respond_malformed(state, request, response, "content-type", &err);
		return CH_HTTP_DONE;
	}
	return answer_fast(state, request, response, ch_http_body(request));
}

static void post_slow(void *state, struct ch_http_request *request, struct ch_http_response *response)
{
	answer_slow(state, request, response, ch_http_body(request));
}

static enum ch_http_result oversized(void *state, struct ch_http_request *request,
				     struct ch_http_response *response)
{
	struct ch_error err = CH_NONE;

	ch_fail(&err, CH_TOO_LARGE, "over %d octets", OCSP_REQUEST_CAP);
	respond_malformed(state, request, response, "too-large", &err);
	return CH_HTTP_DONE;
}

const struct ch_http_route ocsp_routes[] = {
	{ "POST", "/ocsp", OCSP_REQUEST_CAP, post_fast, post_slow, oversized },
	{ "POST", "/ocsp/", OCSP_REQUEST_CAP, post_fast, post_slow, oversized },
	{ "GET", "/ocsp/{request...}", 0, get_fast, get_slow, NULL },
};
const size_t ocsp_route_count = CH_COUNT(ocsp_routes);
