/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c: metrics of a listener. Labels are the routes' patterns, never what a client sent, so they are
 * bounded. */
#include "http/internal.h"

#include <stdlib.h>
#include <string.h>

static const char *route_label(const struct ch_http_route *route)
{
	return route ? route->path : "none";
}

static size_t route_index(const struct ch_http_server *server, const struct ch_http_route *route)
{
	return route ? (size_t)(route - server->routes) : server->route_count;
}

void http_stats_open(struct http_stats *stats, struct ch_metrics *metrics, const char *listener,
		     const struct ch_http_route *routes, size_t count)
{
	stats->metrics = metrics;
	stats->listener = ch_strdup(listener ? listener : "outside");
	stats->routes = ch_alloc((count + 1) * sizeof(*stats->routes));
	for (size_t i = 0; i <= count; i++) {
		CH_AUTO(ch_string)
		labels = ch_format("listener=\"%s\",route=\"%s\"", stats->listener,
				   route_label(i < count ? &routes[i] : NULL));

		stats->routes[i].seconds =
			ch_metrics_histogram(metrics, "chancery_http_request_seconds",
					     "From a request's first line to the end of its answer.", labels);
	}
	CH_AUTO(ch_string) labels = ch_format("listener=\"%s\"", stats->listener);
	stats->connections =
		ch_metrics_gauge(metrics, "chancery_http_connections", "Open connections.", labels);
}

void http_stats_close(struct http_stats *stats)
{
	free(stats->listener);
	free(stats->routes);
}

static struct ch_metric *make_counter(struct ch_http_server *server, const struct ch_http_request *request,
				      int status)
{
	CH_AUTO(ch_string)
	labels = ch_format("listener=\"%s\",method=\"%s\",route=\"%s\",status=\"%d\"", server->stats.listener,
			   request->route ? request->route->method : "other", route_label(request->route),
			   status);

	return ch_metrics_counter(server->stats.metrics, "chancery_http_requests_total",
				  "Requests answered, by route and status.", labels);
}

/* The counter of (route, status): found in a small table without a lock, made on its first use. Two threads
 * that make it at once get the same one from the registry. */
void http_stats_answered(struct ch_http_server *server, const struct ch_http_request *request, int status)
{
	struct http_route_stats *stats = &server->stats.routes[route_index(server, request->route)];

	for (size_t i = 0; i < HTTP_STATUSES_MAX; i++) {
		int expected = 0;
		struct ch_metric *metric;

		if (atomic_load(&stats->requests[i].status) != status &&
		    !atomic_compare_exchange_strong(&stats->requests[i].status, &expected, status) &&
		    expected != status)
			continue;
		metric = atomic_load(&stats->requests[i].metric);
		if (!metric) {
			metric = make_counter(server, request, status);
			atomic_store(&stats->requests[i].metric, metric);
		}
		ch_metric_add(metric, 1);
		return;
	}
}

void http_stats_finished(struct ch_http_server *server, const struct ch_http_request *request)
{
	ch_metric_observe(server->stats.routes[route_index(server, request->route)].seconds,
			  ch_monotonic_us() - request->began_us);
}

void http_stats_refused(struct ch_http_server *server, const char *reason)
{
	CH_AUTO(ch_string)
	labels = ch_format("listener=\"%s\",reason=\"%s\"", server->stats.listener, reason);

	ch_metric_add(ch_metrics_counter(server->stats.metrics, "chancery_http_refused_total",
					 "Connections and requests refused before a handler saw them.",
					 labels),
		      1);
}
