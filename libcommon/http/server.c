/* SPDX-License-Identifier: Apache-2.0 */
/* server.c: starts and stops a listener: its configuration, its threads, libmicrohttpd. */
#include "http/internal.h"

#include "log/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTION_MEMORY                                                                \
	((size_t)32 * 1024) /* request line and header together: half of it, at the most \
			     */
#define PROXY_PENDING_CAP 1024
#define AFTER_WORKERS     (1 * CH_SECOND)        /* for answers of the last slow handlers to leave */
#define GOODBYE           (500 * CH_MILLISECOND) /* for connections that are kept to be told that they close */
#define TLS_PRIORITIES    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

static const struct ch_conf_field fields[] = {
	CH_CONF_FIELD(struct ch_http_config, listen, CH_CONF_STRING, .default_text = "127.0.0.1:0",
		      .help = "host:port; port 0 picks a free one"),
	CH_CONF_FIELD(struct ch_http_config, threads, CH_CONF_INTEGER, .default_text = "2", .min = 1,
		      .max = 64, .help = "event threads"),
	CH_CONF_FIELD(struct ch_http_config, workers, CH_CONF_INTEGER, .default_text = "32", .min = 1,
		      .max = 256, .help = "threads for requests that wait for another service"),
	CH_CONF_FIELD(struct ch_http_config, queue, CH_CONF_INTEGER, .default_text = "1024", .min = 1,
		      .max = 65536, .help = "such requests waiting at the most; more gives 503"),
	CH_CONF_FIELD(struct ch_http_config, connection_limit, CH_CONF_INTEGER, .default_text = "1024",
		      .min = 1, .max = 65536, .help = "open connections at the most"),
	CH_CONF_FIELD(struct ch_http_config, connections_per_address, CH_CONF_INTEGER, .default_text = "0",
		      .min = 0, .max = 65536,
		      .help = "of one client address; 0: no limit (behind HAProxy without PROXY header all "
			      "come from one)"),
	CH_CONF_NAMED("idle", struct ch_http_config, idle_us, CH_CONF_DURATION, .default_text = "60s",
		      .min = CH_SECOND, .max = CH_HOUR, .help = "a connection without progress is closed"),
	CH_CONF_NAMED("request", struct ch_http_config, request_us, CH_CONF_DURATION, .default_text = "30s",
		      .min = CH_SECOND, .max = CH_HOUR, .help = "a request must be whole by then"),
	CH_CONF_FIELD(
		struct ch_http_config, proxy_protocol, CH_CONF_BOOLEAN, .default_text = "false",
		.help = "every connection begins with a PROXY header, version 1 or 2; takes trusted_proxies"),
	CH_CONF_FIELD(
		struct ch_http_config, trusted_proxies, CH_CONF_STRING_LIST, .max = 64,
		.help = "peers that are believed whom they speak for, in X-Forwarded-For or, with "
			"proxy_protocol, in the PROXY header (no other peer is served then): IP addresses "
			"or networks (10.0.0.0/8)"),
	CH_CONF_FIELD(struct ch_http_config, tls_certificate, CH_CONF_PATH,
		      .help = "PEM chain; set: the listener speaks HTTPS"),
	CH_CONF_FIELD(struct ch_http_config, tls_key, CH_CONF_PATH, .help = "PEM, mode 0400"),
	CH_CONF_FIELD(struct ch_http_config, tls_client_ca, CH_CONF_PATH,
		      .help = "PEM; set: client certificates are asked for, and one that is presented must "
			      "verify"),
};
const struct ch_conf_schema ch_http_schema = { "http", fields, CH_COUNT(fields) };

/* Targets are decoded where a handler's parameters are taken from them (uri.c), not by the library. */
static size_t keep_escaped(void *context, struct MHD_Connection *mhd, char *text)
{
	(void)context, (void)mhd;
	return strlen(text);
}

static void log_library(void *context, const char *format, va_list arguments)
{
	char text[300];

	(void)context;
	vsnprintf(text, sizeof(text), format, arguments);
	text[strcspn(text, "\n")] = 0;
	ch_log_debug("libmicrohttpd: %s", text);
}

static int64_t or_default(int64_t value, int64_t fallback)
{
	return value > 0 ? value : fallback;
}

struct option_list {
	struct MHD_OptionItem items[16];
	size_t count;
};

static void add_option(struct option_list *list, enum MHD_OPTION option, int64_t value, const void *pointer)
{
	list->items[list->count++] = (struct MHD_OptionItem){ option, (intptr_t)value, (void *)pointer };
}

static void list_options(const struct ch_http_server *server, const struct ch_http_config *config,
			 struct option_list *list)
{
	int64_t threads = or_default(config->threads, 1);

	/* Where they are handed over by us, we count (proxy_listener.c): the library begins them a little
	 * later, and each of its threads has its part. */
	add_option(list, MHD_OPTION_CONNECTION_LIMIT,
		   config->proxy_protocol ? 2 * server->connection_limit + 64 * threads
					  : server->connection_limit,
		   NULL);
	add_option(list, MHD_OPTION_CONNECTION_TIMEOUT, (server->idle_us + CH_SECOND - 1) / CH_SECOND, NULL);
	add_option(list, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL);
	add_option(list, MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL);
	if (config->connections_per_address > 0)
		add_option(list, MHD_OPTION_PER_IP_CONNECTION_LIMIT, config->connections_per_address, NULL);
	if (threads > 1)
		add_option(list, MHD_OPTION_THREAD_POOL_SIZE, threads, NULL);
	if (!config->proxy_protocol)
		add_option(list, MHD_OPTION_LISTEN_SOCKET, server->listen_fd, NULL);
	if (server->tls_on) {
		add_option(list, MHD_OPTION_HTTPS_MEM_CERT, 0, server->tls.certificate.data);
		add_option(list, MHD_OPTION_HTTPS_MEM_KEY, 0, server->tls.key.data);
		add_option(list, MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES);
		if (server->tls.client_ca.size)
			add_option(list, MHD_OPTION_HTTPS_MEM_TRUST, 0, server->tls.client_ca.data);
	}
	add_option(list, MHD_OPTION_END, 0, NULL);
}

static bool start_library(struct ch_http_server *server, const struct ch_http_config *config,
			  struct ch_error *err)
{
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
			 (server->tls_on ? MHD_USE_TLS : 0) |
			 (config->proxy_protocol ? MHD_USE_NO_LISTEN_SOCKET : 0);
	struct option_list list = CH_NONE;

	list_options(server, config, &list);
	server->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, http_on_request, server, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
		http_on_connection, server, MHD_OPTION_URI_LOG_CALLBACK, http_on_request_line, server,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL, MHD_OPTION_ARRAY, list.items,
		MHD_OPTION_END);
	if (!server->daemon)
		return ch_fail(err, CH_INTERNAL, "listener on %s does not start%s", server->address,
			       server->tls_on ? ": see its TLS certificate and key" : "");
	ch_secret_free(&server->tls.key);
	return true;
}

static bool has_slow_route(const struct ch_http_options *options)
{
	for (size_t i = 0; i < options->route_count; i++)
		if (options->routes[i].slow)
			return true;
	return false;
}

static bool read_proxies(struct ch_http_server *server, const struct ch_http_config *config,
			 struct ch_error *err)
{
	if (config->proxy_protocol && !config->trusted_proxies.count)
		return ch_fail(
			err, CH_INVALID,
			"proxy_protocol takes trusted_proxies: the addresses that may send its header");
	return http_networks_read(&config->trusted_proxies, &server->trusted_proxies, err) ||
	       ch_fail_in(err, "trusted_proxies");
}

static void open_locks(struct ch_http_server *server)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&server->drain_lock, NULL);
	pthread_cond_init(&server->drained, &monotonic);
	pthread_mutex_init(&server->watch.lock, NULL);
	pthread_cond_init(&server->watch.wake, &monotonic);
	pthread_mutex_init(&server->workers.lock, NULL);
	pthread_cond_init(&server->workers.wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

static struct ch_http_server *server_new(const struct ch_http_options *options)
{
	struct ch_http_server *server = ch_alloc(sizeof(*server));

	server->routes = options->routes;
	server->route_count = options->route_count;
	server->state = options->state;
	server->idle_us = or_default(options->config->idle_us, 60 * CH_SECOND);
	server->connection_limit = or_default(options->config->connection_limit, 256);
	server->request_us = or_default(options->config->request_us, 30 * CH_SECOND);
	server->listen_fd = -1;
	server->proxy_protocol = options->config->proxy_protocol;
	server->tls_on = options->config->tls_certificate != NULL;
	server->handlers_refuse_certificates = options->handlers_refuse_certificates;
	open_locks(server);
	http_stats_open(&server->stats, options->metrics, options->name, options->routes,
			options->route_count);
	return server;
}

static bool start(struct ch_http_server *server, const struct ch_http_options *options, struct ch_error *err)
{
	const struct ch_http_config *config = options->config;

	if (!read_proxies(server, config, err))
		return false;
	if (server->tls_on && !http_tls_load(config, &server->tls, err))
		return false;
	if (!http_listen(config->listen, &server->listen_fd, server->address, err) ||
	    !http_watch_start(&server->watch, server, err))
		return false;
	if (has_slow_route(options) &&
	    !http_workers_start(&server->workers, (size_t)or_default(config->workers, 2),
				(size_t)or_default(config->queue, 256), err))
		return false;
	return start_library(server, config, err) &&
	       (!config->proxy_protocol || http_proxy_start(server, PROXY_PENDING_CAP, &server->proxy, err));
}

bool ch_http_start(const struct ch_http_options *options, struct ch_http_server **server,
		   struct ch_error *err)
{
	struct ch_http_server *made = server_new(options);

	if (!start(made, options, err)) {
		ch_http_stop(made, 0);
		return ch_fail_in(err, "http listener '%s'", options->name ? options->name : "outside");
	}
	*server = made;
	return true;
}

const char *ch_http_address(const struct ch_http_server *server)
{
	return server->address;
}

/* Until this count of the server's is 0, or until then (monotonic). */
static void wait_drained(struct ch_http_server *server, const atomic_int *left, int64_t until_us)
{
	struct timespec until = { .tv_sec = until_us / CH_SECOND, .tv_nsec = until_us % CH_SECOND * 1000 };

	pthread_mutex_lock(&server->drain_lock);
	while (atomic_load(left) > 0 &&
	       pthread_cond_timedwait(&server->drained, &server->drain_lock, &until) == 0)
		;
	pthread_mutex_unlock(&server->drain_lock);
}

static void server_free(struct ch_http_server *server)
{
	http_watch_stop(&server->watch);
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	http_stats_close(&server->stats);
	http_tls_free(&server->tls);
	http_networks_free(&server->trusted_proxies);
	pthread_mutex_destroy(&server->drain_lock);
	pthread_cond_destroy(&server->drained);
	pthread_mutex_destroy(&server->watch.lock);
	pthread_cond_destroy(&server->watch.wake);
	pthread_mutex_destroy(&server->workers.lock);
	pthread_cond_destroy(&server->workers.wake);
	free(server);
}

void ch_http_stop(struct ch_http_server *server, int64_t drain_us)
{
	int64_t until_us;

	if (!server)
		return;
	/* 1. Nothing new: answers from now on say Connection: close. */
	atomic_store(&server->draining, true);
	http_proxy_stop(server->proxy);
	if (server->daemon)
		MHD_quiesce_daemon(server->daemon);
	if (server->listen_fd >= 0)
		shutdown(server->listen_fd, SHUT_RDWR); /* refuses what knocks; closed below */
	/* 2. What is in flight ends, within drain_us. Who keeps a connection and asks once more hears that it
	 * closes, instead of finding it closed under its request. */
	until_us = ch_monotonic_us() + drain_us;
	wait_drained(server, &server->in_flight, until_us);
	wait_drained(server, &server->connections,
		     ch_monotonic_us() + (drain_us < GOODBYE ? drain_us : GOODBYE));
	wait_drained(server, &server->in_flight, until_us);
	/* 3. A suspended connection must be resumed before the library stops: handlers end by their own
	 * deadlines. */
	http_workers_stop(&server->workers);
	if (drain_us)
		wait_drained(server, &server->in_flight, ch_monotonic_us() + AFTER_WORKERS);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	server_free(server);
}
