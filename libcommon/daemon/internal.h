/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of libcommon/daemon share. */
#ifndef CH_DAEMON_INTERNAL_H
#define CH_DAEMON_INTERNAL_H

#include "daemon/daemon.h"
#include "http/http.h"

#include <pthread.h>
#include <stdatomic.h>

struct ch_readiness {
	struct ch_daemon *daemon;
	char *name;
	struct ch_metric *metric;
	enum ch_ready state; /* daemon->lock */
	char why[160];       /* daemon->lock */
	struct ch_readiness *next;
};

struct ch_daemon {
	const struct ch_daemon_definition *definition;
	struct ch_daemon_config
		*config; /* the caller's struct, which begins with it; freed with the daemon */
	char *config_path;
	struct ch_metrics *metrics;
	struct ch_http_server *operations; /* NULL until it is opened */
	atomic_bool opened;                /* ch_daemon_ready was called */
	atomic_bool stopping;
	atomic_uint reloads;
	int64_t started_us;
	pthread_mutex_t lock; /* guards the readiness list and what its elements say */
	pthread_cond_t wake;  /* stopping became true */
	struct ch_readiness *conditions;
};

/* What the command line asks for. */
struct ch_daemon_arguments {
	const char *config; /* borrowed from argv */
	bool check_config;
	bool help_config;
	bool version;
	bool help;
};
/* False: the message for standard error is in *err. */
CH_MUST_USE bool ch_daemon_arguments_read(int argc, char **argv, struct ch_daemon_arguments *arguments,
					  struct ch_error *err);
/* Answers --help, --version, --help-config on standard output; false where none was asked for. */
bool ch_daemon_arguments_answer(const struct ch_daemon_definition *definition,
				const struct ch_daemon_arguments *arguments);

/* Octets of the struct that a schema describes, as far as the schema reaches. */
size_t ch_daemon_config_size(const struct ch_conf_schema *schema);

/* The JSON that /readyz answers (cJSON_free it); *ready: with 200. (readiness.c) */
char *ch_daemon_readiness_text(struct ch_daemon *daemon, bool *ready);

CH_MUST_USE bool ch_daemon_open_operations(struct ch_daemon *daemon, struct ch_error *err);

#endif
