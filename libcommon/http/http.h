/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h: an HTTP server on libmicrohttpd: epoll with a thread pool, body caps, idle and total time-outs,
 * connection limits, problem+json errors (RFC 9457). A route's fast handler runs on the event thread and must
 * not wait; a slow one runs on a worker thread while its connection is suspended. The gateway, ocsp, tsa, crl
 * and the operations port use it.
 */
#ifndef CH_HTTP_H
#define CH_HTTP_H

#include "conf/conf.h"
#include "metrics/metrics.h"
#include "mem/mem.h"

struct ch_http_request; /* borrowed for the length of the handler's call */

const char *ch_http_method(const struct ch_http_request *request);
const char *ch_http_path(const struct ch_http_request *request);
/* What stood at {name} of the route's path; percent-decoded. "" where the route has none of that name. */
const char *ch_http_parameter(const struct ch_http_request *request, const char *name);
const char *ch_http_query(const struct ch_http_request *request, const char *name); /* NULL: absent */
/* The name of the query's member `index`, for refusing unknown ones; NULL past the end. */
const char *ch_http_query_name(const struct ch_http_request *request, size_t index);
const char *ch_http_header(const struct ch_http_request *request, const char *name); /* NULL: absent */
struct ch_view ch_http_body(const struct ch_http_request *request);
/* "192.0.2.7": from the PROXY header on a listener that takes one, else the last hop that X-Forwarded-For of
 * a trusted proxy names, else the peer. */
const char *ch_http_client_address(const struct ch_http_request *request);
/* The verified TLS client certificate, DER; empty where there is none (plain HTTP, or none was presented). */
struct ch_view ch_http_client_certificate(const struct ch_http_request *request);
/* With handlers_refuse_certificates: why the certificate that was presented is not accepted; else NULL. */
const struct ch_error *ch_http_client_certificate_error(const struct ch_http_request *request);
/* Which of ch_http_options.routes it came in by. */
size_t ch_http_route_index(const struct ch_http_request *request);
const char *
ch_http_trace_id(const struct ch_http_request *request); /* from traceparent, or made; 32 hex digits */

struct ch_http_response; /* filled by a handler; zero status means 500 */
void ch_http_respond(struct ch_http_response *response, int status, const char *content_type,
		     struct ch_bytes body); /* takes body */
/* The body outlives the response by itself (a cache entry): `release(context)` is called when it was sent. No
 * copy is made. */
void ch_http_respond_shared(struct ch_http_response *response, int status, const char *content_type,
			    struct ch_view body, void (*release)(void *context), void *context);
void ch_http_respond_text(struct ch_http_response *response, int status, const char *content_type,
			  const char *text);
/* application/problem+json of an error: type "about:blank", title, status, detail, "code", "trace_id",
 * retry-after. */
void ch_http_respond_error(struct ch_http_response *response, const struct ch_http_request *request,
			   const struct ch_error *err);
/* The same for what has no enum ch_code of its own (405, 406, 415, …). */
void ch_http_respond_problem(struct ch_http_response *response, const struct ch_http_request *request,
			     int status, const char *code, const char *detail);
void ch_http_add_header(struct ch_http_response *response, const char *name, const char *value);

/* A fast handler returns CH_HTTP_LATER to be called again through `slow` on a worker thread. */
enum ch_http_result { CH_HTTP_DONE, CH_HTTP_LATER };
typedef enum ch_http_result (*ch_http_fast)(void *state, struct ch_http_request *request,
					    struct ch_http_response *response);
typedef void (*ch_http_slow)(void *state, struct ch_http_request *request, struct ch_http_response *response);

/*
 * method "GET", "POST", …; path with {name} for one segment and a trailing {name...} for the rest
 * ("/ocsp/{request...}"); a {name} may end in a fixed text ("/crl/{ca}.crl"). HEAD is answered from GET. A
 * path that exists with another method gives 405 with Allow; none, 404.
 */
struct ch_http_route {
	const char *method;
	const char *path;
	size_t body_cap;   /* octets; more gives 413 (through `oversized` where set) */
	ch_http_fast fast; /* may be NULL */
	ch_http_slow slow; /* may be NULL where fast never says LATER */
	/* Where a protocol has its own error body (OCSP malformedRequest, TSA badDataFormat): called instead
	 * of the 413. May be NULL */
	ch_http_fast oversized;
};

struct ch_http_config {  /* a section "http" of a daemon's configuration */
	char *listen;    /* "127.0.0.1:8080"; port 0 picks a free one */
	int64_t threads; /* event threads */
	int64_t workers; /* for slow handlers */
	int64_t queue;   /* slow requests waiting at the most; more gives 503 with Retry-After */
	int64_t connection_limit;
	int64_t connections_per_address;        /* 0: no limit (behind HAProxy all come from one) */
	int64_t idle_us;                        /* a connection without progress is closed */
	int64_t request_us;                     /* a request must be whole by then */
	bool proxy_protocol;                    /* PROXY v1/v2 header is required before anything else */
	struct ch_conf_strings trusted_proxies; /* addresses and networks whose PROXY header is taken, or
						 * whose X-Forwarded-For is believed */
	char *tls_certificate;                  /* paths; set: HTTPS */
	char *tls_key;
	char *tls_client_ca; /* set: client certificates are asked for, and verified against it when presented
			      */
};
extern const struct ch_conf_schema ch_http_schema;

struct ch_http_server;
struct ch_http_options {
	const struct ch_http_config *config;
	const struct ch_http_route *routes;
	size_t route_count;
	void *state;
	struct ch_metrics *metrics;
	const char *name; /* label of its metrics: "outside", "operations" */
	/* A client certificate that does not verify is answered 401 before any handler; set, handlers ask
	 * ch_http_client_certificate_error and refuse (and audit) it themselves. */
	bool handlers_refuse_certificates;
};
/* Metrics: chancery_http_requests_total{listener,method,route,status}, chancery_http_request_seconds,
 * …connections, …refused_total{reason}. */
CH_MUST_USE bool ch_http_start(const struct ch_http_options *options, struct ch_http_server **server,
			       struct ch_error *err);
const char *
ch_http_address(const struct ch_http_server *server); /* "127.0.0.1:41234": what it really listens on */
/* Stops listening, lets requests in flight end within drain_us; answers say Connection: close, and
 * connections that are kept have half a second to hear it. NULL is fine. */
void ch_http_stop(struct ch_http_server *server, int64_t drain_us);

/* Conditional requests: conditional.c, pure. */
#define CH_HTTP_DATE_SIZE 40
/* IMF-fixdate (RFC 9110 §5.6.7), whatever the locale. */
void ch_http_date(int64_t time_us, char text[CH_HTTP_DATE_SIZE]);
/* Does the list of entity tags name this one, or any ("*")? Weak comparison (RFC 9110 §13.1.2): W/ does not
 * matter on either side. */
bool ch_http_names_tag(const char *if_none_match, const char *etag);

/* Media types: does `Accept` (NULL: anything) prefer `a` over `b`? Chooses by q and specificity; "" where it
 * takes neither. */
const char *ch_http_choose(const char *accept, const char *a, const char *b);

#endif
