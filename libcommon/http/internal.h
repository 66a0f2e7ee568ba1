/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of libcommon/http share: the server, a connection, a request and its response.
 */
#ifndef CH_HTTP_INTERNAL_H
#define CH_HTTP_INTERNAL_H

#include "clock/clock.h"
#include "http/http.h"
#include "http/networks.h"
#include "http/parse.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

#define HTTP_PARAMETERS_MAX 4  /* {name} segments in one route's path */
#define HTTP_HEADERS_MAX    16 /* that a handler adds to a response */
#define HTTP_STATUSES_MAX   32 /* different statuses counted for one route */

/* A refused body up to this size is read and thrown away, so that the client gets to read the answer; a
 * larger one is answered at once and its connection closed. */
#define HTTP_DISCARD_CAP ((size_t)8 * 1024 * 1024)

/* --- connections (connection.c) ------------------------------------------------------------------------- */

enum certificate_state { CERTIFICATE_UNCHECKED, CERTIFICATE_NONE, CERTIFICATE_GOOD, CERTIFICATE_BAD };

struct http_connection {
	struct http_connection *next; /* both under http_watch.lock */
	struct http_connection *previous;
	int fd;
	_Atomic int64_t
		deadline_us; /* monotonic: what is under way must have ended; 0: nothing to wait for */
	bool seen_request;
	enum certificate_state certificate_state; /* and below: this connection's event thread */
	struct ch_view certificate;
	time_t certificate_expires;
	struct ch_error certificate_error;
};

/* Closes connections that are past their deadline. `lock` guards the list. */
struct http_watch {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	struct http_connection *first;
};

/* --- metrics (stats.c) ------------------------------------------------------------------------------------
 */

struct http_route_stats {
	struct {
		_Atomic int status;
		struct ch_metric *_Atomic metric;
	} requests[HTTP_STATUSES_MAX];
	struct ch_metric *seconds;
};
struct http_stats {
	struct ch_metrics *metrics;
	char *listener;
	struct http_route_stats *routes; /* one more than routes: the last is "none" */
	struct ch_metric *connections;
};

/* --- slow handlers (workers.c) -----------------------------------------------------------------------------
 */

/* `lock` guards everything below it. */
struct http_workers {
	pthread_t *threads;
	size_t thread_count;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct ch_http_request *first;
	struct ch_http_request *last;
	size_t waiting;
	size_t capacity;
	bool stopping;
};

/* --- TLS (tls.c)
 * --------------------------------------------------------------------------------------------- */

struct http_tls {
	struct ch_bytes certificate; /* zero-terminated PEM */
	struct ch_bytes client_ca;
	struct ch_secret key; /* wiped once the server runs */
};

struct http_proxy_listener; /* proxy_listener.c */

struct ch_http_server {
	const struct ch_http_route *routes; /* borrowed */
	size_t route_count;
	void *state;
	int64_t request_us;
	int64_t idle_us;
	struct http_networks trusted_proxies;
	bool proxy_protocol;
	bool tls_on;
	bool handlers_refuse_certificates;
	struct http_tls tls;
	int listen_fd;
	char address[80];
	struct MHD_Daemon *daemon;
	struct http_proxy_listener *proxy;
	int64_t connection_limit;
	struct http_workers workers;
	struct http_watch watch;
	struct http_stats stats;
	atomic_bool draining;
	atomic_int in_flight, connections;
	pthread_mutex_t drain_lock; /* with drained: one of them reached 0 while draining */
	pthread_cond_t drained;
};

struct ch_http_response {
	int status;
	const char *content_type; /* copied: own below */
	char content_type_text[96];
	struct ch_bytes body; /* owned, or */
	struct ch_view shared;
	void (*release)(void *context);
	void *release_context;
	struct {
		char *name;
		char *value;
	} headers[HTTP_HEADERS_MAX];
	size_t header_count;
	bool close; /* the connection does not go on after it */
};

enum request_stage {
	STAGE_HEADERS,  /* nothing decided yet */
	STAGE_BODY,     /* accepted; the body is being read */
	STAGE_REFUSED,  /* the answer stands; what is left of the body is thrown away */
	STAGE_WAITING,  /* suspended: a worker has it */
	STAGE_ANSWERED, /* the answer stands and is to be queued */
	STAGE_SENT,
};

struct ch_http_request {
	struct ch_http_server *server;
	struct MHD_Connection *mhd;
	struct http_connection *connection;
	const struct ch_http_route *route; /* NULL: none matched */
	enum request_stage stage;
	char *target; /* owned copy of the request target; path and query point into it */
	char *path;
	char *query_text; /* NULL: no '?' */
	const char *method;
	struct http_pair parameters[HTTP_PARAMETERS_MAX];
	size_t parameter_count;
	struct http_pair *query;
	size_t query_count;
	struct ch_buffer body;
	size_t discarded;
	struct ch_http_response response;
	struct ch_http_request *queue_next; /* http_workers.lock */
	int64_t began_us;
	char trace_id[33];
	char address[64];
};

/* connection.c */
bool http_watch_start(struct http_watch *watch, struct ch_http_server *server, struct ch_error *err);
void http_watch_stop(struct http_watch *watch);
void http_on_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
			enum MHD_ConnectionNotificationCode code);
void http_connection_expect(struct http_connection *connection, int64_t within_us);

/* stats.c */
void http_stats_open(struct http_stats *stats, struct ch_metrics *metrics, const char *listener,
		     const struct ch_http_route *routes, size_t count);
void http_stats_close(struct http_stats *stats);
void http_stats_answered(struct ch_http_server *server, const struct ch_http_request *request, int status);
void http_stats_finished(struct ch_http_server *server, const struct ch_http_request *request);
void http_stats_refused(struct ch_http_server *server, const char *reason);

/* workers.c */
bool http_workers_start(struct http_workers *workers, size_t threads, size_t capacity, struct ch_error *err);
bool http_workers_take(struct http_workers *workers, struct ch_http_request *request); /* false: full */
void http_workers_stop(struct http_workers *workers);

/* request.c */
void *http_on_request_line(void *server, const char *target, struct MHD_Connection *mhd);
enum MHD_Result http_on_request(void *server, struct MHD_Connection *mhd, const char *url, const char *method,
				const char *version, const char *data, size_t *size, void **context);
/* in_flight or connections reached 0: who drains looks again. */
void http_drained(struct ch_http_server *server);
void http_on_completed(void *context, struct MHD_Connection *mhd, void **request_context,
		       enum MHD_RequestTerminationCode why);

/* framing.c: what would let two HTTP parsers disagree about where a request ends (RFC 9112 §11.2) */
struct http_framing {
	bool chunked;
	bool has_length;
	uint64_t length;
	bool expects_continue;
};
bool http_framing_check(struct MHD_Connection *mhd, const char *version, struct http_framing *framing,
			int *status, struct ch_error *err);

/* response.c */
void http_response_free(struct ch_http_response *response);
enum MHD_Result http_response_queue(struct ch_http_request *request);

/* tls.c */
bool http_tls_load(const struct ch_http_config *config, struct http_tls *tls, struct ch_error *err);
void http_tls_free(struct http_tls *tls);
/* Looks at the client's certificate once a connection. False: one was presented and is not accepted. */
bool http_tls_check_client(struct MHD_Connection *mhd, struct http_connection *connection,
			   struct ch_error *err);

/* proxy_listener.c */
bool http_proxy_start(struct ch_http_server *server, size_t pending_cap,
		      struct http_proxy_listener **listener, struct ch_error *err);
void http_proxy_stop(struct http_proxy_listener *listener);

/* listen.c */
bool http_listen(const char *address, int *fd, char text[80], struct ch_error *err);

#endif
