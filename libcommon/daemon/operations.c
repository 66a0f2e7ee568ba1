/* SPDX-License-Identifier: Apache-2.0 */
/* operations.c: /metrics, /healthz and /readyz on a port of their own. readiness.c says what /readyz answers.
 */
#include "daemon/internal.h"

#include "log/log.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static enum ch_http_result serve_readyz(void *state, struct ch_http_request *request,
					struct ch_http_response *response)
{
	bool ready;
	char *text = ch_daemon_readiness_text(state, &ready);

	(void)request;
	ch_http_respond_text(response, ready ? 200 : 503, "application/json", text ? text : "{}");
	cJSON_free(text);
	return CH_HTTP_DONE;
}

static enum ch_http_result serve_healthz(void *state, struct ch_http_request *request,
					 struct ch_http_response *response)
{
	(void)state;
	(void)request;
	ch_http_respond_text(response, 200, "text/plain", "ok\n");
	return CH_HTTP_DONE;
}

/* The second number of statm (proc(5)); 0 where it cannot be read. */
static int64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	char line[256] = "";
	const char *second;
	char *end;
	long long pages;

	if (!file)
		return 0;
	second = fgets(line, sizeof(line), file) ? strchr(line, ' ') : NULL;
	fclose(file);
	if (!second)
		return 0;
	pages = strtoll(second, &end, 10);
	return end != second && pages > 0 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

static int64_t open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int64_t count = -3; /* ".", "..", the directory itself */

	if (!directory)
		return 0;
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Prometheus's own names for what a process uses. */
static void add_process(const struct ch_daemon *daemon, struct ch_buffer *out)
{
	struct rusage usage = CH_NONE;
	double cpu;

	getrusage(RUSAGE_SELF, &usage);
	cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	ch_buffer_printf(
		out,
		"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n"
		"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %lld\n"
		"# TYPE process_open_fds gauge\nprocess_open_fds %lld\n"
		"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n"
		"# TYPE chancery_log_dropped_total counter\nchancery_log_dropped_total %llu\n"
		"# TYPE chancery_build_info gauge\nchancery_build_info{service=\"%s\",version=\"%s\"} 1\n",
		cpu, (long long)resident_bytes(), (long long)open_descriptors(),
		(double)daemon->started_us / 1e6, (unsigned long long)ch_log_dropped(),
		daemon->definition->service, CHANCERY_VERSION);
}

static enum ch_http_result serve_metrics(void *state, struct ch_http_request *request,
					 struct ch_http_response *response)
{
	struct ch_daemon *daemon = state;
	CH_AUTO(ch_string) registered = ch_metrics_text(daemon->metrics);
	struct ch_buffer out = CH_NONE;

	(void)request;
	ch_buffer_add(&out, registered, strlen(registered));
	add_process(daemon, &out);
	ch_http_respond(response, 200, "text/plain; version=0.0.4", ch_buffer_steal(&out));
	return CH_HTTP_DONE;
}

static bool write_address(struct ch_daemon *daemon, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ch_format("%s/operations.address", daemon->config->state_directory);
	CH_AUTO(ch_string) line = ch_format("%s\n", ch_http_address(daemon->operations));

	return ch_write_file(path, ch_view_text(line), 0644, err);
}

bool ch_daemon_open_operations(struct ch_daemon *daemon, struct ch_error *err)
{
	static const struct ch_http_route routes[] = {
		{ .method = "GET", .path = "/metrics", .fast = serve_metrics },
		{ .method = "GET", .path = "/healthz", .fast = serve_healthz },
		{ .method = "GET", .path = "/readyz", .fast = serve_readyz },
	};
	const struct ch_http_config config = {
		.listen = daemon->config->operations.listen,
		.threads = 1,
		.workers = 1,
		.queue = 16,
		.connection_limit = 64,
		.idle_us = 30 * CH_SECOND,
		.request_us = 10 * CH_SECOND,
	};
	const struct ch_http_options options = {
		.config = &config,
		.routes = routes,
		.route_count = CH_COUNT(routes),
		.state = daemon,
		.metrics = daemon->metrics,
		.name = "operations",
	};

	if (daemon->operations)
		return true;
	if (!ch_http_start(&options, &daemon->operations, err) || !write_address(daemon, err))
		return ch_fail_in(err, "operations port");
	return true;
}
