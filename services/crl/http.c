/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c: /crl/{ca}.crl (RFC 5280 §4.2.1.13, RFC 2585) and /ca/{ca}.cer (§4.2.2.1), from the board alone: no
 * request waits for anything. Relying parties and caches call it through HAProxy.
 */
#include "crl.h"

#include <stdio.h>
#include <string.h>

/* "example.crl" -> "example". False where the file name has another ending. */
static bool ca_name(const char *file, const char *ending, char name[64])
{
	size_t size = strlen(file), tail = strlen(ending);

	if (size <= tail || size - tail >= 64 || strcmp(file + size - tail, ending) != 0)
		return false;
	memcpy(name, file, size - tail);
	name[size - tail] = '\0';
	return true;
}

static void add_validators(const struct crl *crl, const struct crl_document *document,
			   struct ch_http_response *response)
{
	char modified[CH_HTTP_DATE_SIZE], cache[64];

	ch_http_date(document->modified_us, modified);
	snprintf(cache, sizeof(cache), "public, max-age=%lld",
		 (long long)crl_max_age(document, ch_clock_now_us(crl->clock)));
	ch_http_add_header(response, "ETag", document->etag);
	ch_http_add_header(response, "Last-Modified", modified);
	ch_http_add_header(response, "Cache-Control", cache);
}

static void not_found(const struct ch_http_request *request, struct ch_http_response *response, bool known)
{
	struct ch_error err;

	if (known)
		ch_fail(&err, CH_UNAVAILABLE, "this CA has no CRL yet");
	else
		ch_fail(&err, CH_NOT_FOUND, "nothing is at '%.200s'", ch_http_path(request));
	ch_http_respond_error(response, request, &err);
	ch_http_add_header(response, "Cache-Control", "no-store");
}

static enum ch_http_result serve(struct crl *crl, struct ch_http_request *request,
				 struct ch_http_response *response, enum crl_document_kind kind,
				 const char *ending, const char *media_type)
{
	struct crl_document *document = NULL;
	bool known = false;
	char name[64];

	if (ca_name(ch_http_parameter(request, "file"), ending, name))
		document = crl_board_get(crl->board, name, kind, &known);
	if (!document) {
		not_found(request, response, known);
		return CH_HTTP_DONE;
	}
	if (crl_not_modified(document, ch_http_header(request, "If-None-Match"),
			     ch_http_header(request, "If-Modified-Since"))) {
		ch_http_respond(response, 304, NULL, (struct ch_bytes)CH_NONE);
		add_validators(crl, document, response);
		crl_document_release(document);
		return CH_HTTP_DONE;
	}
	ch_http_respond_shared(response, 200, media_type, ch_view_of(&document->der), crl_document_release,
			       document);
	add_validators(crl, document, response);
	return CH_HTTP_DONE;
}

static enum ch_http_result serve_crl(void *state, struct ch_http_request *request,
				     struct ch_http_response *response)
{
	return serve(state, request, response, CRL_DOCUMENT_CRL, ".crl", "application/pkix-crl");
}

static enum ch_http_result serve_certificate(void *state, struct ch_http_request *request,
					     struct ch_http_response *response)
{
	return serve(state, request, response, CRL_DOCUMENT_CERTIFICATE, ".cer", "application/pkix-cert");
}

static const struct ch_http_route routes[] = {
	{ .method = "GET", .path = "/crl/{file}", .fast = serve_crl },
	{ .method = "GET", .path = "/ca/{file}", .fast = serve_certificate },
};

bool crl_http_start(struct crl *crl, struct ch_http_server **server, struct ch_error *err)
{
	struct ch_http_options options = { .config = &crl->config->http,
					   .routes = routes,
					   .route_count = CH_COUNT(routes),
					   .state = crl,
					   .metrics = crl->metrics,
					   .name = "outside" };

	return ch_http_start(&options, server, err);
}
