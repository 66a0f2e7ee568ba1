/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_listener_test.c: where an HSM's listener listens and whom it serves, which users the configuration can
 * name, and a pool whose HSM a is served by a listener (this very program in a child process). What several
 * users see of each other is tests/integration/test_hsm_listener.py's.
 */
#include "hsm_fixture.h"
#include "hsm_user.h"
#include "listener.h"
#include "worker.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct listened {
	char directory[64];
	struct hsm_config config;
};

static int make_directory(void **state)
{
	struct listened *listened = ch_alloc(sizeof(*listened));

	strcpy(listened->directory, "/tmp/chancery-listener-XXXXXX");
	assert_non_null(mkdtemp(listened->directory));
	listened->config = (struct hsm_config){ .name = (char *)"a",
						.listener = ch_format("%s/socket", listened->directory) };
	*state = listened;
	return 0;
}

static int remove_directory(void **state)
{
	struct listened *listened = *state;

	unlink(listened->config.listener);
	rmdir(listened->directory);
	free(listened->config.listener);
	free(listened);
	return 0;
}

/* --- the socket --- */

static int bound_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* In a process of its own: what a service manager gives has fixed numbers. The exit code: an ok, or its
 * error's. */
static int open_given(const struct listened *listened, const char *path, const char *count)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		CH_AUTO(ch_string) own = ch_format("%d", (int)getpid());
		struct ch_error err = CH_NONE;
		int given = bound_at(path), fd = -1;

		if (dup2(given, 3) != 3 || dup2(given, 4) != 4)
			_exit(100);
		setenv("LISTEN_PID", own, 1);
		setenv("LISTEN_FDS", count, 1);
		if (listener_open(&listened->config, &fd, &err))
			_exit(fd == 3 && !getenv("LISTEN_FDS") ? 0 : 101);
		_exit((int)err.code);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_socket_of_the_service_manager_is_taken(void **state)
{
	const struct listened *listened = *state;

	assert_int_equal(open_given(listened, listened->config.listener, "1"), 0);
}

static void another_socket_or_more_than_one_is_refused(void **state)
{
	const struct listened *listened = *state;
	CH_AUTO(ch_string) other = ch_format("%s/other", listened->directory);

	assert_int_equal(open_given(listened, other, "1"), CH_INVALID);
	assert_int_equal(open_given(listened, listened->config.listener, "2"), CH_INVALID);
	unlink(other);
}

static void a_socket_made_here_is_for_owner_and_group_alone(void **state)
{
	const struct listened *listened = *state;
	struct ch_error err = CH_NONE;
	struct stat info;
	int fd = -1;

	assert_true(listener_open(&listened->config, &fd, &err));
	assert_int_equal(stat(listened->config.listener, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0660);
	close(fd);
}

static void one_that_is_left_over_is_replaced_and_a_living_one_is_not(void **state)
{
	const struct listened *listened = *state;
	struct ch_error err = CH_NONE;
	int other, fd = -1;

	close(bound_at(listened->config.listener));
	assert_true(listener_open(&listened->config, &other, &err));
	assert_false(listener_open(&listened->config, &fd, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	close(other);
}

static void a_path_too_long_for_a_socket_is_named(void **state)
{
	char path[200];
	const struct hsm_config config = { .name = (char *)"a", .listener = path };
	struct ch_error err = CH_NONE;
	int fd = -1;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_false(listener_open(&config, &fd, &err));
	assert_non_null(strstr(err.message, "too long"));
}

/* --- users --- */

static void only_the_vaults_user_is_served(void **state)
{
	struct ch_error err = CH_NONE;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_true(listener_check_peer(ends[0], geteuid(), &err));
	assert_false(listener_check_peer(ends[0], geteuid() + 1, &err));
	assert_int_equal(err.code, CH_DENIED);
	close(ends[0]);
	close(ends[1]);
}

static void users_are_found_by_name_and_by_number(void **state)
{
	struct ch_error err = CH_NONE;
	struct hsm_user user;

	(void)state;
	assert_true(hsm_user_find("root", &user, &err));
	assert_int_equal(user.uid, 0);
	assert_true(hsm_user_find("64001", &user, &err));
	assert_int_equal(user.uid, 64001);
	assert_int_equal(user.gid, 64001);
}

/* (uid_t)-1 would mean "as it is" to setresuid(2). */
static void what_is_no_user_is_refused(void **state)
{
	static const char *const names[] = {
		"chancery-nobody-has-this-name", "64001x", "4294967295", "99999999999", "-1", ""
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(names); i++) {
		struct ch_error err = CH_NONE;
		struct hsm_user user;

		assert_false(hsm_user_find(names[i], &user, &err));
		assert_int_equal(err.code, CH_INVALID);
	}
}

/* --- serving --- */

/* Serves as this user, and ends with the test. */
static pid_t start_serving(const struct hsm_config *config, const char *program)
{
	struct listener_options options = {
		.hsm = config, .vault = geteuid(), .program = program, .sandbox = true
	};
	struct ch_error err = CH_NONE;
	int fd = -1;
	pid_t pid;

	if (!listener_open(config, &fd, &err))
		fail_msg("%s", err.message);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		listener_block_signals();
		_exit(listener_serve(&options, fd, &err) ? 0 : 1);
	}
	close(fd);
	assert_true(pid > 0);
	return pid;
}

static pid_t start_listener(struct fixture *fixture)
{
	return start_serving(&fixture->configs[0], "/proc/self/exe");
}

static void end_listener(pid_t pid)
{
	int status = 1;

	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int connected_to(const struct listened *listened)
{
	struct timeval limit = { .tv_sec = 20 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", listened->config.listener);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	return fd;
}

/* A worker here says a word and waits. */
static char word_from(int fd)
{
	char word = 0;

	return recv(fd, &word, 1, 0) == 1 ? word : 0;
}

static void more_than_its_connections_are_closed_at_once_and_one_that_ends_makes_room(void **state)
{
	struct listened *listened = *state;
	CH_AUTO(ch_string) program = ch_format("%s/worker", listened->directory);
	int fds[LISTENER_CONNECTIONS_MAX], one_more;
	struct ch_error err;
	pid_t listener;

	assert_true(
		ch_write_file(program, ch_view_text("#!/bin/sh\nprintf w >&3\nexec sleep 60\n"), 0700, &err));
	listened->config.module = listened->config.token_label = listened->config.pin_file = (char *)"none";
	listener = start_serving(&listened->config, program);
	for (size_t i = 0; i < CH_COUNT(fds); i++) {
		fds[i] = connected_to(listened);
		assert_int_equal(word_from(fds[i]), 'w');
	}
	one_more = connected_to(listened);
	assert_int_equal(word_from(one_more), 0);
	close(one_more);
	shutdown(fds[0], SHUT_WR);
	assert_int_equal(word_from(fds[0]), 0); /* the end: its worker was killed and reaped */
	one_more = connected_to(listened);
	assert_int_equal(word_from(one_more), 'w');
	end_listener(listener);
	assert_int_equal(word_from(one_more), 0);
	for (size_t i = 0; i < CH_COUNT(fds); i++)
		close(fds[i]);
	close(one_more);
	unlink(program);
}

/* --- a pool with a listener --- */

static int set_up_listened(void **state)
{
	struct fixture *fixture;

	set_up_tokens(state);
	fixture = *state;
	fixture->configs[0].listener = ch_format("%s/socket", fixture->directory);
	fixture->configs[0].user = ch_format("%u", geteuid());
	return 0;
}

static int tear_down_listened(void **state)
{
	struct fixture *fixture = *state;

	hsm_pool_stop(fixture->pool);
	fixture->pool = NULL;
	free(fixture->configs[0].listener);
	free(fixture->configs[0].user);
	return tear_down(state);
}

static bool is_gone(pid_t pid)
{
	int64_t until = ch_monotonic_us() + UP_LIMIT;

	while (kill(pid, 0) == 0 && ch_monotonic_us() < until)
		usleep(1000);
	return kill(pid, 0) != 0;
}

/* The worker of the HSM that was lost in whatever way is gone, and there is another. */
static pid_t assert_replaced(struct fixture *fixture, pid_t lost)
{
	int64_t until = ch_monotonic_us() + UP_LIMIT;

	assert_true(is_gone(lost));
	while (worker_pid(fixture, 0) == lost && ch_monotonic_us() < until)
		usleep(1000); /* the pool hears of it a moment later */
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	assert_int_not_equal(worker_pid(fixture, 0), lost);
	assert_true(worker_pid(fixture, 0) > 0);
	return worker_pid(fixture, 0);
}

static void its_workers_are_killed_and_stopped_and_callers_see_no_error(void **state)
{
	struct fixture *fixture = *state;
	pid_t listener = start_listener(fixture), worker;
	struct test_key key;
	struct load load;

	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	make_on_both(fixture->pool, "ecdsa-p256", &key);
	worker = worker_pid(fixture, 0);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 20);
	assert_int_equal(kill(worker, SIGKILL), 0);
	worker = assert_replaced(fixture, worker);
	stop_worker(worker); /* hangs: the pool hangs up, the listener kills it */
	worker = assert_replaced(fixture, worker);
	wait_signatures(&load, 20);
	stop_load(&load);
	hsm_pool_stop(fixture->pool);
	fixture->pool = NULL;
	assert_true(is_gone(worker));
	end_listener(listener);
	ch_bytes_free(&key.public_key_info);
}

static void its_listener_comes_late_goes_and_comes_again(void **state)
{
	struct fixture *fixture = *state;
	pid_t listener, worker;

	start_pool(fixture);
	wait_state(fixture, 1, HSM_UP);
	wait_state(fixture, 0, HSM_DOWN);
	listener = start_listener(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	worker = worker_pid(fixture, 0);
	assert_int_equal(kill(listener, SIGKILL), 0);
	assert_int_equal(waitpid(listener, NULL, 0), listener);
	assert_true(is_gone(worker));
	listener = start_listener(fixture);
	assert_replaced(fixture, worker);
	end_listener(listener);
}

/* Whoever shuts it out may take the token away when that is done. */
static void shut_out_its_worker_has_ended_a_stopped_one_too(void **state)
{
	struct fixture *fixture = *state;
	pid_t listener = start_listener(fixture), worker;
	struct ch_error err = CH_NONE;

	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	worker = worker_pid(fixture, 0);
	stop_worker(worker);
	assert_true(hsm_pool_set_enabled(fixture->pool, 0, false, &err));
	assert_int_not_equal(kill(worker, 0), 0);
	assert_true(hsm_pool_set_enabled(fixture->pool, 0, true, &err));
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	end_listener(listener);
}

static void a_worker_of_another_user_is_not_believed(void **state)
{
	struct fixture *fixture = *state;
	pid_t listener = start_listener(fixture);
	struct hsm_status status;

	free(fixture->configs[0].user);
	fixture->configs[0].user = ch_format("%u", geteuid() + 1);
	start_pool(fixture);
	wait_state(fixture, 0, HSM_DOWN);
	hsm_pool_status(fixture->pool, 0, &status);
	assert_non_null(strstr(status.last_error, "answers a process of user"));
	end_listener(listener);
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
#define WITH_LISTENER(test)  cmocka_unit_test_setup_teardown(test, set_up_listened, tear_down_listened)

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		WITH_DIRECTORY(the_socket_of_the_service_manager_is_taken),
		WITH_DIRECTORY(another_socket_or_more_than_one_is_refused),
		WITH_DIRECTORY(a_socket_made_here_is_for_owner_and_group_alone),
		WITH_DIRECTORY(one_that_is_left_over_is_replaced_and_a_living_one_is_not),
		cmocka_unit_test(a_path_too_long_for_a_socket_is_named),
		cmocka_unit_test(only_the_vaults_user_is_served),
		cmocka_unit_test(users_are_found_by_name_and_by_number),
		cmocka_unit_test(what_is_no_user_is_refused),
		WITH_DIRECTORY(more_than_its_connections_are_closed_at_once_and_one_that_ends_makes_room),
		WITH_LISTENER(its_workers_are_killed_and_stopped_and_callers_see_no_error),
		WITH_LISTENER(its_listener_comes_late_goes_and_comes_again),
		WITH_LISTENER(shut_out_its_worker_has_ended_a_stopped_one_too),
		WITH_LISTENER(a_worker_of_another_user_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
