/* SPDX-License-Identifier: Apache-2.0 */
/* daemon_test.c: a daemon's life from outside: its command line, its operations port and what signals do.
 * Each daemon is a process of its own, sandbox included. */
#include "daemon/daemon.h"

#include "log/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct sample_config {
	struct ch_daemon_config common;
	int64_t speed;
};
static const struct ch_conf_field sample_fields[] = {
	CH_DAEMON_COMMON_FIELDS(struct sample_config, "one|other"),
	CH_CONF_FIELD(struct sample_config, speed, CH_CONF_INTEGER, .default_text = "1", .min = 1, .max = 9),
};
static const struct ch_conf_schema sample_schema = { "sample", sample_fields, CH_COUNT(sample_fields) };
static const struct ch_daemon_definition definition = { "sample", "shows what daemons do", &sample_schema,
							false };

struct fixture {
	char directory[64];
	char config[96];
	pid_t pid;
	int output; /* the daemon's standard output and error */
	char said[65536];
	size_t said_size;
};

static void on_reload(void *state, const void *new_config)
{
	const struct sample_config *config = new_config;

	ch_log_info("speed is now %lld (%s)", (long long)config->speed, (const char *)state);
}

/* What a service's main() looks like; the readiness condition comes true on the first SIGHUP. */
static void reload_and_become_ready(void *state, const void *new_config)
{
	on_reload((void *)"reloaded", new_config);
	ch_readiness_set(state, CH_READY_DEGRADED, "away, serving cached");
}

static int run_daemon(int argc, char **argv)
{
	struct sample_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct ch_readiness *readiness;
	struct ch_error err = CH_NONE;
	int exit_code = 0;

	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	if (!ch_daemon_enter_sandbox(daemon, NULL, 0, false, &err))
		return ch_daemon_fail(daemon, &err);
	readiness = ch_daemon_readiness(daemon, "database");
	ch_readiness_set(readiness, CH_READY_FAILED, "no server \"answers\"");
	ch_daemon_ready(daemon);
	ch_daemon_wait(daemon, reload_and_become_ready, readiness);
	if (!ch_daemon_stopping(daemon) || !ch_daemon_sleep(daemon, CH_MINUTE))
		return 70;
	return 0;
}

static void start(struct fixture *f, const char *const *arguments, size_t count)
{
	char *argv[8] = { (char *)"chancery-sample" };
	int pipes[2];

	for (size_t i = 0; i < count; i++)
		argv[i + 1] = (char *)arguments[i];
	assert_int_equal(pipe(pipes), 0);
	fflush(stdout);
	f->said_size = 0;
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		int code;

		dup2(pipes[1], STDOUT_FILENO);
		dup2(pipes[1], STDERR_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		code = run_daemon((int)count + 1, argv);
		fflush(stdout);
		_exit(code);
	}
	close(pipes[1]);
	f->output = pipes[0];
}

/* Reads what the daemon says until `text` is in it, at most ten seconds. */
static bool wait_for(struct fixture *f, const char *text)
{
	for (;;) {
		struct pollfd ready = { .fd = f->output, .events = POLLIN };
		ssize_t got;

		f->said[f->said_size] = 0;
		if (text && strstr(f->said, text))
			return true;
		if (poll(&ready, 1, 10000) != 1)
			return false;
		got = read(f->output, f->said + f->said_size, sizeof(f->said) - 1 - f->said_size);
		if (got <= 0)
			return !text;
		f->said_size += (size_t)got;
	}
}

/* Everything it says until it ends; its exit code. */
static int finish(struct fixture *f)
{
	int status = 0;

	assert_true(wait_for(f, NULL));
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	close(f->output);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int run(struct fixture *f, const char *first, const char *second, const char *third)
{
	const char *const arguments[] = { first, second, third };

	start(f, arguments, third ? 3 : second ? 2 : 1);
	return finish(f);
}

static long number_after(const char *prefix, const char *text)
{
	size_t size = strlen(prefix);
	char *end;
	long number;

	assert_int_equal(strncmp(text, prefix, size), 0);
	number = strtol(text + size, &end, 10);
	assert_true(end > text + size);
	return number;
}

/* GET from the operations port; the status, with the body in `body`. */
static int get(const struct fixture *f, const char *path, char *body, size_t room)
{
	CH_AUTO(ch_string) file = ch_format("%s/operations.address", f->directory);
	CH_AUTO(ch_string) request =
		ch_format("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	CH_AUTO(ch_bytes) address = CH_NONE;
	CH_AUTO(ch_fd) fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct ch_error err = CH_NONE;
	size_t used = 0;
	ssize_t got;

	assert_true(ch_read_file(file, 64, &address, &err));
	to.sin_port = htons((uint16_t)number_after("127.0.0.1:", (const char *)address.data));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	while (used + 1 < room && (got = read(fd, body + used, room - 1 - used)) > 0)
		used += (size_t)got;
	body[used] = 0;
	return (int)number_after("HTTP/1.1 ", body);
}

static void write_config(const struct fixture *f, const char *more)
{
	FILE *file = fopen(f->config, "w");

	assert_non_null(file);
	fprintf(file,
		"instance: sample-1\nstate_directory: .\nidentity:\n  certificate: c.pem\n  key: k.pem\n"
		"  system_ca: s.pem\n%s",
		more);
	fclose(file);
}

static int make_fixture(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	strcpy(f->directory, "/tmp/daemon_test.XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	snprintf(f->config, sizeof(f->config), "%s/sample.yaml", f->directory);
	write_config(f, "");
	*state = f;
	return 0;
}

static int remove_fixture(void **state)
{
	struct fixture *f = *state;
	char *command = ch_format("rm -rf %s", f->directory);
	int result;

	if (f->pid > 0)
		kill(f->pid, SIGKILL);
	result = system(command);
	free(command);
	free(f);
	return result;
}

static void the_command_line_answers_without_a_configuration(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, "--version", NULL, NULL), 0);
	assert_string_equal(f->said, "chancery-sample " CHANCERY_VERSION "\n");
	assert_int_equal(run(f, "--help", NULL, NULL), 0);
	assert_non_null(strstr(f->said, "--check-config"));
	assert_int_equal(run(f, "--help-config", NULL, NULL), 0);
	assert_non_null(strstr(f->said, "| `identity.certificate` | path | required |"));
	assert_non_null(strstr(f->said, "| `speed` | integer | 1 | 1 to 9 |"));
	assert_int_equal(run(f, "--bogus", NULL, NULL), 2);
	assert_non_null(strstr(f->said, "'--bogus' is not an option"));
	assert_int_equal(run(f, "stray", NULL, NULL), 2);
	assert_int_equal(run(f, "--check-config", NULL, NULL), 2);
	assert_non_null(strstr(f->said, "--config FILE is missing"));
}

static void check_config_reads_and_opens_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, "--config", f->config, "--check-config"), 0);
	assert_non_null(strstr(f->said, "sample.yaml: ok\n"));
	write_config(f, "sped: 3\n");
	assert_int_equal(run(f, "--config", f->config, "--check-config"), 1);
	assert_non_null(strstr(f->said, "sample.yaml line 7: unknown key 'sped'"));
	assert_int_equal(run(f, "--config", "/nonexistent.yaml", "--check-config"), 1);
	assert_non_null(strstr(f->said, "/nonexistent.yaml"));
}

static void it_is_alive_at_once_and_ready_when_its_conditions_are(void **state)
{
	struct fixture *f = *state;
	const char *const arguments[] = { "--config", f->config };
	char body[65536];

	start(f, arguments, 2);
	assert_true(wait_for(f, "\"msg\":\"ready; operations port"));
	assert_int_equal(get(f, "/healthz", body, sizeof(body)), 200);
	assert_int_equal(get(f, "/readyz", body, sizeof(body)), 503);
	assert_non_null(
		strstr(body, "{\"ready\":false,\"state\":\"failed\",\"summary\":\"database: no server "
			     "\\\"answers\\\"\",\"conditions\":[{\"name\":\"database\",\"state\":\"failed\","
			     "\"why\":\"no server \\\"answers\\\"\"}]}"));
	assert_int_equal(get(f, "/metrics", body, sizeof(body)), 200);
	assert_non_null(strstr(body, "chancery_ready{condition=\"database\"} 0\n"));
	assert_int_equal(kill(f->pid, SIGHUP), 0);
	assert_true(wait_for(f, "\"msg\":\"configuration re-read"));
	assert_int_equal(get(f, "/readyz", body, sizeof(body)), 200);
	assert_non_null(strstr(body, "{\"ready\":true,\"state\":\"degraded\",\"summary\":\"database: away, "
				     "serving cached\",\"conditions\":[{\"name\":\"database\",\"state\":"
				     "\"degraded\",\"why\":\"away, serving cached\"}]}"));
	assert_int_equal(get(f, "/metrics", body, sizeof(body)), 200);
	assert_non_null(
		strstr(body, "chancery_build_info{service=\"sample\",version=\"" CHANCERY_VERSION "\"} 1\n"));
	assert_non_null(strstr(body, "chancery_ready{condition=\"database\"} 2\n"));
	assert_non_null(strstr(body, "process_resident_memory_bytes "));
	assert_null(strstr(body, "process_resident_memory_bytes 0\n"));
	assert_null(strstr(body, "process_open_fds 0\n"));
	assert_int_equal(get(f, "/other", body, sizeof(body)), 404);
	kill(f->pid, SIGTERM);
	assert_int_equal(finish(f), 0);
	assert_non_null(strstr(f->said, "stops on SIGTERM"));
}

static void sighup_re_reads_what_can_be_and_keeps_the_old_where_it_cannot(void **state)
{
	struct fixture *f = *state;
	const char *const arguments[] = { "--config", f->config };

	start(f, arguments, 2);
	assert_true(wait_for(f, "\"msg\":\"ready; operations port"));
	write_config(f, "speed: 70\n");
	kill(f->pid, SIGHUP);
	assert_true(wait_for(f, "configuration not re-read, the old one stays: "));
	assert_true(wait_for(f, "line 7: 'speed': 70 is out of range (1 to 9)"));
	kill(f->pid, SIGINT);
	assert_int_equal(finish(f), 0);
}

static void reload_hands_over_the_new_values(void **state)
{
	struct fixture *f = *state;
	const char *const arguments[] = { "--config", f->config };

	start(f, arguments, 2);
	assert_true(wait_for(f, "\"msg\":\"ready; operations port"));
	write_config(f, "speed: 7\n");
	kill(f->pid, SIGHUP);
	assert_true(wait_for(f, "speed is now 7 (reloaded)"));
	kill(f->pid, SIGTERM);
	assert_int_equal(finish(f), 0);
}

static void a_second_daemon_does_not_take_the_same_port(void **state)
{
	struct fixture *f = *state;
	const char *const arguments[] = { "--config", f->config };
	struct fixture second = *f;
	CH_AUTO(ch_string) file = ch_format("%s/operations.address", f->directory);
	CH_AUTO(ch_bytes) address = CH_NONE;
	CH_AUTO(ch_string) more = NULL;
	struct ch_error err = CH_NONE;

	start(f, arguments, 2);
	assert_true(wait_for(f, "\"msg\":\"ready; operations port"));
	assert_true(ch_read_file(file, 64, &address, &err));
	more = ch_format("operations: { listen: \"%.*s\" }\n", (int)address.size - 1, address.data);
	write_config(f, more);
	assert_int_equal(run(&second, "--config", f->config, NULL), 1);
	assert_non_null(strstr(second.said, "operations port: "));
	kill(f->pid, SIGTERM);
	assert_int_equal(finish(f), 0);
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, make_fixture, remove_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FIXTURE(the_command_line_answers_without_a_configuration),
		IN_FIXTURE(check_config_reads_and_opens_nothing),
		IN_FIXTURE(it_is_alive_at_once_and_ready_when_its_conditions_are),
		IN_FIXTURE(sighup_re_reads_what_can_be_and_keeps_the_old_where_it_cannot),
		IN_FIXTURE(reload_hands_over_the_new_values),
		IN_FIXTURE(a_second_daemon_does_not_take_the_same_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
