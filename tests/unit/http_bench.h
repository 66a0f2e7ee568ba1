/* SPDX-License-Identifier: Apache-2.0 */
/* http_bench.h: a listener on loopback with some handlers, spoken to with plain sockets. For the tests of
 * libcommon/http. */
#ifndef CH_HTTP_BENCH_H
#define CH_HTTP_BENCH_H

#include "http/http.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

/* What the handlers of this test share. `gate` is held while slow handlers shall not end. */
struct bench {
	struct ch_http_server *server;
	struct ch_metrics *metrics;
	pthread_mutex_t gate;
	atomic_int slow_started;
	atomic_int released;
};

#define BENCH_ROUTES 8
extern const struct ch_http_route bench_routes[BENCH_ROUTES];

/* `adjust` (may be NULL) changes the configuration before the listener starts. */
struct bench *bench_start(void (*adjust)(struct ch_http_config *config));
void bench_stop(struct bench *bench);

int dial_from(const struct bench *bench, in_addr_t from); /* in host byte order; -1: nobody listens */
int dial(const struct bench *bench);
void put(int fd, const void *data, size_t size);
/* Reads until the peer closes, or `until` is found; at most 10 s. The caller frees it. */
char *get(int fd, const char *until);
/* One request on a connection of its own. */
char *ask(const struct bench *bench, const char *request);
uint64_t refused(const struct bench *bench, const char *reason); /* chancery_http_refused_total */

#define CLOSING "Host: a\r\nConnection: close\r\n\r\n"

#define assert_answer(text, status, part)                                                  \
	do {                                                                               \
		if (strncmp((text), "HTTP/1.1 " status, 12) != 0 || !strstr((text), part)) \
			fail_msg("wanted %s with '%s', got: %s", status, part, text);      \
	} while (0)

#endif
