/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.c: a daemon's life: begin, sandbox, ready, wait for signals, end. Called by each service's main().
 */
#include "daemon/internal.h"

#include "log/log.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define HAND_OVER (800 * CH_MILLISECOND)

static void waited_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/* Signals are taken by ch_daemon_wait alone; a peer that hangs up is an error of write(2), not a signal. */
static void prepare_process(void)
{
	struct rlimit files;
	sigset_t set;

	waited_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	umask(0027);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static struct ch_daemon *daemon_new(const struct ch_daemon_definition *definition, const char *config_path,
				    struct ch_daemon_config *config)
{
	struct ch_daemon *daemon = ch_alloc(sizeof(*daemon));
	pthread_condattr_t attributes;

	daemon->definition = definition;
	daemon->config = config;
	daemon->config_path = ch_strdup(config_path);
	daemon->metrics = ch_metrics_new();
	daemon->started_us = ch_clock_now_us(ch_clock_system());
	pthread_mutex_init(&daemon->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&daemon->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return daemon;
}

/* Before the log is open, to whoever typed the command. */
static bool tell(const struct ch_daemon_definition *definition, const struct ch_error *err, int code,
		 int *exit_code)
{
	fprintf(stderr, "chancery-%s: %s\n", definition->service, err->message);
	*exit_code = code;
	return false;
}

bool ch_daemon_begin(const struct ch_daemon_definition *definition, int argc, char **argv, void *config,
		     struct ch_daemon **daemon, int *exit_code)
{
	struct ch_daemon_arguments arguments = CH_NONE;
	struct ch_daemon_config *common = config;
	struct ch_error err = CH_NONE;

	if (!ch_daemon_arguments_read(argc, argv, &arguments, &err))
		return tell(definition, &err, 2, exit_code);
	*exit_code = 0;
	if (ch_daemon_arguments_answer(definition, &arguments))
		return false;
	if (!ch_conf_read_file(definition->schema, arguments.config, config, &err))
		return tell(definition, &err, 1, exit_code);
	if (arguments.check_config) {
		printf("%s: ok\n", arguments.config);
		ch_conf_free(definition->schema, config);
		return false;
	}
	prepare_process();
	ch_log_open(definition->service, common->instance);
	*daemon = daemon_new(definition, arguments.config, config);
	if (!ch_log_set_level(common->log_level, &err)) {
		*exit_code = ch_daemon_fail(*daemon, &err);
		return false;
	}
	ch_log_info("chancery-%s %s starts", definition->service, CHANCERY_VERSION);
	return true;
}

/* The directory rather than the file: files are replaced by renaming, and Landlock remembers inodes. */
static struct ch_sandbox_path directory_of(const char *file)
{
	char *copy = ch_strdup(file);
	char *directory = ch_strdup(dirname(copy));

	free(copy);
	return (struct ch_sandbox_path){ directory, CH_SANDBOX_READ };
}

bool ch_daemon_enter_sandbox(struct ch_daemon *daemon, const struct ch_sandbox_path *paths, size_t path_count,
			     bool may_start_programs, struct ch_error *err)
{
	const struct ch_daemon_config *config = daemon->config;
	struct ch_sandbox_path own[5] = {
		directory_of(daemon->config_path),
		directory_of(config->identity.certificate),
		directory_of(config->identity.key),
		directory_of(config->identity.system_ca),
		{ ch_strdup(config->state_directory), CH_SANDBOX_READ | CH_SANDBOX_WRITE },
	};
	struct ch_sandbox_path *all = ch_alloc((CH_COUNT(own) + path_count) * sizeof(*all));
	const struct ch_sandbox_rules rules = { .paths = all,
						.path_count = CH_COUNT(own) + path_count,
						.may_start_programs = may_start_programs };
	bool done = true;

	memcpy(all, own, sizeof(own));
	if (path_count)
		memcpy(all + CH_COUNT(own), paths, path_count * sizeof(*paths));
	if (config->sandbox)
		done = ch_sandbox_enter(&rules, err);
	else
		ch_log_warn("runs without a sandbox: 'sandbox: false' is configured");
	for (size_t i = 0; i < CH_COUNT(own); i++)
		free((char *)own[i].path);
	free(all);
	return done && ch_log_start(err) && ch_daemon_open_operations(daemon, err);
}

struct ch_metrics *ch_daemon_metrics(struct ch_daemon *daemon)
{
	return daemon->metrics;
}

void ch_daemon_ready(struct ch_daemon *daemon)
{
	struct ch_error err = CH_NONE;

	if (!ch_daemon_open_operations(daemon, &err))
		ch_log_error("%s", err.message);
	atomic_store(&daemon->opened, true);
	sd_notify(0, "READY=1");
	if (daemon->operations)
		ch_log_info("ready; operations port %s", ch_http_address(daemon->operations));
}

static void reload_config(struct ch_daemon *daemon, ch_daemon_reload reload, void *state)
{
	const struct ch_conf_schema *schema = daemon->definition->schema;
	struct ch_daemon_config *fresh = ch_alloc(ch_daemon_config_size(schema));
	struct ch_error err = CH_NONE;

	if (ch_conf_read_file(schema, daemon->config_path, fresh, &err) &&
	    ch_log_set_level(fresh->log_level, &err)) {
		if (reload)
			reload(state, fresh);
		ch_log_info("configuration re-read; log level %s", fresh->log_level);
	} else {
		ch_log_error("configuration not re-read, the old one stays: %s", err.message);
	}
	ch_conf_free(schema, fresh);
	free(fresh);
}

static void begin_stopping(struct ch_daemon *daemon, int signal_number)
{
	pthread_mutex_lock(&daemon->lock);
	atomic_store(&daemon->stopping, true);
	pthread_cond_broadcast(&daemon->wake);
	pthread_mutex_unlock(&daemon->lock);
	sd_notify(0, "STOPPING=1");
	ch_log_info("stops on %s", signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* HAProxy asks every 500 ms, and again after 100 ms before it believes a no (deploy/haproxy). Until then it
 * sends new connections here, which a closed listener would refuse. */
static void hand_over(const struct ch_daemon *daemon)
{
	int64_t pause_us = daemon->config->drain_us < HAND_OVER ? daemon->config->drain_us : HAND_OVER;
	struct timespec pause = { pause_us / CH_SECOND, pause_us % CH_SECOND * 1000 };

	nanosleep(&pause, NULL);
}

void ch_daemon_wait(struct ch_daemon *daemon, ch_daemon_reload reload, void *state)
{
	sigset_t set;

	waited_signals(&set);
	for (;;) {
		int signal_number = sigwaitinfo(&set, NULL);

		if (signal_number == SIGHUP) {
			atomic_fetch_add(&daemon->reloads, 1);
			reload_config(daemon, reload, state);
		} else if (signal_number > 0) {
			begin_stopping(daemon, signal_number);
			if (daemon->definition->balanced)
				hand_over(daemon);
			return;
		}
	}
}

unsigned ch_daemon_reloads(const struct ch_daemon *daemon)
{
	return atomic_load(&daemon->reloads);
}

bool ch_daemon_stopping(const struct ch_daemon *daemon)
{
	return atomic_load(&daemon->stopping);
}

bool ch_daemon_sleep(struct ch_daemon *daemon, int64_t timeout_us)
{
	int64_t until_us = ch_monotonic_us() + timeout_us;
	struct timespec until = { (time_t)(until_us / CH_SECOND), (long)(until_us % CH_SECOND) * 1000 };
	int result = 0;

	pthread_mutex_lock(&daemon->lock);
	while (!atomic_load(&daemon->stopping) && result == 0)
		result = pthread_cond_timedwait(&daemon->wake, &daemon->lock, &until);
	pthread_mutex_unlock(&daemon->lock);
	return atomic_load(&daemon->stopping);
}

int ch_daemon_fail(struct ch_daemon *daemon, const struct ch_error *err)
{
	(void)daemon;
	ch_log_error("%s", err->message);
	return 1;
}

void ch_daemon_free(struct ch_daemon *daemon)
{
	struct ch_readiness *condition = daemon ? daemon->conditions : NULL;

	if (!daemon)
		return;
	ch_http_stop(daemon->operations, CH_SECOND);
	(void)ch_log_flush(CH_SECOND);
	while (condition) {
		struct ch_readiness *next = condition->next;

		free(condition->name);
		free(condition);
		condition = next;
	}
	ch_conf_free(daemon->definition->schema, daemon->config);
	ch_metrics_free(daemon->metrics);
	pthread_cond_destroy(&daemon->wake);
	pthread_mutex_destroy(&daemon->lock);
	free(daemon->config_path);
	free(daemon);
}
