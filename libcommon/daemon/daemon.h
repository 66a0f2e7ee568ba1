/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon.h: what is the same in every daemon: command line, configuration, log, signals, operations port
 * (/metrics, /healthz, /readyz), readiness, sandbox, drain. main() wires:
 *
 *   int main(int argc, char **argv)
 *   {
 *       struct ocsp_config config = CH_NONE;
 *       CH_AUTO(ch_daemon) daemon = NULL;
 *       struct ch_error err = CH_NONE;
 *       int exit_code;
 *
 *       if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
 *           return exit_code;       // --version, --check-config, --help, or an error already told
 *       if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err))
 *           return ch_daemon_fail(daemon, &err);
 *       … open database, bus, audit, http (on failure: return ch_daemon_fail(daemon, &err)) …
 *       ch_daemon_ready(daemon);
 *       ch_daemon_wait(daemon, on_reload, state);  // returns on SIGTERM or SIGINT
 *       … close in reverse order: stop taking, finish what is in flight within config.common.drain_us …
 *       return 0;
 *   }
 */
#ifndef CH_DAEMON_H
#define CH_DAEMON_H

#include "clock/clock.h"
#include "conf/conf.h"
#include "metrics/metrics.h"

/* Keys that every daemon's configuration file has; embedded as the first member `common` of each daemon's
 * config struct, its fields listed in the daemon's own table by CH_DAEMON_COMMON_FIELDS. */
struct ch_identity_config {
	char *certificate; /* path: PEM, this instance's identity */
	char *key;         /* path: PEM, mode 0400 */
	char *system_ca;   /* path: PEM, what peers' identities are verified against */
};
struct ch_operations_config {
	char *listen; /* "127.0.0.1:9101", "127.0.0.1:0" picks a free port */
};
struct ch_database_config {
	char *url;         /* libpq connection string, several hosts allowed, with target_session_attrs */
	int64_t pool_size; /* connections at the most */
};
struct ch_bus_listen_config {
	char *listen;    /* "127.0.0.1:7101": tls+tcp */
	int64_t workers; /* requests handled at once */
};
struct ch_daemon_config {
	char *instance;        /* "ocsp-1": must be the instance in the identity certificate */
	char *state_directory; /* path: the audit spool and whatever the daemon must keep */
	char *log_level;
	int64_t drain_us;
	bool sandbox;
	struct ch_identity_config identity;
	struct ch_operations_config operations;
	struct ch_database_config database;
	struct ch_bus_listen_config bus;
	struct ch_conf_lists peers; /* by service: "host:port" of all replicas */
};
/* The common section stands at the top level of the file under these keys: instance, state_directory,
 * log_level, drain, sandbox, identity, operations, database, bus, peers. A daemon's config struct begins with
 * `struct ch_daemon_config common;` and its table with CH_DAEMON_COMMON_FIELDS(struct example_config,
 * "one|another"): the services that may stand under `peers`. */
#define CH_DAEMON_COMMON_FIELDS(type, peer_names)                                                          \
	CH_CONF_NAMED("instance", type, common.instance, CH_CONF_STRING, .required = true,                 \
		      .help = "this instance's name, the one in its identity certificate"),                \
		CH_CONF_NAMED("state_directory", type, common.state_directory, CH_CONF_PATH,               \
			      .required = true, .help = "what the daemon keeps: its audit spool"),         \
		CH_CONF_NAMED("log_level", type, common.log_level, CH_CONF_STRING, .default_text = "info", \
			      .choices = "debug|info|warn|error", .help = "re-read on SIGHUP"),            \
		CH_CONF_NAMED("drain", type, common.drain_us, CH_CONF_DURATION, .default_text = "10s",     \
			      .min = 0, .max = 600000000,                                                  \
			      .help = "how long SIGTERM waits for requests in flight"),                    \
		CH_CONF_NAMED("sandbox", type, common.sandbox, CH_CONF_BOOLEAN, .default_text = "true",    \
			      .help = "seccomp and Landlock after opening; false only for debuggers"),     \
		CH_CONF_NAMED("identity", type, common.identity, CH_CONF_SECTION,                          \
			      .schema = &ch_identity_schema),                                              \
		CH_CONF_NAMED("operations", type, common.operations, CH_CONF_SECTION,                      \
			      .schema = &ch_operations_schema),                                            \
		CH_CONF_NAMED("database", type, common.database, CH_CONF_SECTION,                          \
			      .schema = &ch_database_schema),                                              \
		CH_CONF_NAMED("bus", type, common.bus, CH_CONF_SECTION, .schema = &ch_bus_listen_schema),  \
		CH_CONF_NAMED("peers", type, common.peers, CH_CONF_LISTS, .choices = (peer_names),         \
			      .max = 64, .help = "host:port of all replicas; empty: never called")
extern const struct ch_conf_schema ch_identity_schema, ch_operations_schema, ch_database_schema,
	ch_bus_listen_schema;

struct ch_daemon_definition {
	const char *service; /* "ocsp": the identity certificate must be of this service */
	const char *summary; /* one line for --help */
	const struct ch_conf_schema
		*schema; /* of the config struct, which begins with struct ch_daemon_config */
	bool balanced;   /* HAProxy asks /readyz and sends it requests: it is told before a listener closes */
};

struct ch_daemon; /* owns metrics and the operations port */

/*
 * --config FILE (required to run), --check-config (reads the file, opens nothing, exit 0 or 1), --help-config
 * (Markdown reference), --version, --help. False: the program is to end with *exit_code. Blocks the signals
 * that ch_daemon_wait takes (so call before any thread starts; a child process inherits the mask and must
 * unblock it), ignores SIGPIPE, reads the configuration into *config and opens the log.
 */
CH_MUST_USE bool ch_daemon_begin(const struct ch_daemon_definition *definition, int argc, char **argv,
				 void *config, struct ch_daemon **daemon, int *exit_code);

/*
 * Gives up what the daemon does not need (libcommon/sandbox), unless `sandbox: false` is configured; then
 * opens the operations port (healthz 200 at once, readyz 503 until ch_daemon_ready) and writes its real
 * address to <state_directory>/operations.address. Call it right after ch_daemon_begin, before the first
 * thread: Landlock holds for threads that start later. Reading stays allowed in the directories of the
 * configuration, identity and system CA files, writing in state_directory; `paths` adds what else the
 * daemon's own configuration names.
 */
struct ch_sandbox_path;
CH_MUST_USE bool ch_daemon_enter_sandbox(struct ch_daemon *daemon, const struct ch_sandbox_path *paths,
					 size_t path_count, bool may_start_programs, struct ch_error *err);

struct ch_metrics *ch_daemon_metrics(struct ch_daemon *daemon);

/*
 * A named condition of /readyz. FAILED: the daemon cannot do its job, /readyz is 503. DEGRADED: it does it
 * with what it holds, /readyz is 200 and names what is amiss. /readyz answers
 * {"ready":true,"state":"degraded","summary":"database: away, serving cached","conditions":[{"name":…,
 * "state":"ok|degraded|failed","why":…}]}; chancery_ready{condition} shows the state's number.
 */
enum ch_ready { CH_READY_FAILED = 0, CH_READY_OK = 1, CH_READY_DEGRADED = 2 };
struct ch_readiness;
/* Made FAILED ("not yet"); lives with the daemon. `name`: short, [a-z-]. */
struct ch_readiness *ch_daemon_readiness(struct ch_daemon *daemon, const char *name);
/* Any thread, as often as one likes: a change of state is logged. why: short, what is amiss and what it means
 * ("away, serving cached"); NULL where ok. */
void ch_readiness_set(struct ch_readiness *readiness, enum ch_ready state, const char *why);

/* All is open (the operations port too, where ch_daemon_enter_sandbox was not called): readyz follows the
 * conditions from now on; tells systemd READY=1 where it listens. */
void ch_daemon_ready(struct ch_daemon *daemon);

/* Blocks until SIGTERM or SIGINT (then readyz is 503 "draining" and systemd hears STOPPING=1); a balanced
 * daemon then goes on serving for as long as HAProxy may need to see that (at most `drain`). On SIGHUP
 * re-reads the file into a fresh struct, applies log_level and calls `reload` (may be NULL) with it
 * (borrowed: freed when it returns); a file that does not read is logged and the old configuration stays. */
typedef void (*ch_daemon_reload)(void *state, const void *new_config);
void ch_daemon_wait(struct ch_daemon *daemon, ch_daemon_reload reload, void *state);

/* How many SIGHUPs there were: for threads that look after files of their own. */
unsigned ch_daemon_reloads(const struct ch_daemon *daemon);

/* True once SIGTERM was seen; for loops of background threads. */
bool ch_daemon_stopping(const struct ch_daemon *daemon);
/* Sleeps up to timeout_us, returns early (true) when the daemon is stopping. */
bool ch_daemon_sleep(struct ch_daemon *daemon, int64_t timeout_us);

/* Logs the error and returns the exit code 1. */
int ch_daemon_fail(struct ch_daemon *daemon, const struct ch_error *err);
void ch_daemon_free(struct ch_daemon *daemon); /* NULL is fine; also frees what the configuration holds */

CH_DEFINE_AUTO_POINTER(ch_daemon, struct ch_daemon, ch_daemon_free)

#endif
