/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_test.c: what a process can and cannot do once it is inside. Each case runs in a process of its own.
 */
#include "sandbox/sandbox.h"

#include "log/log.h"
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CHECK(condition)                                                                         \
	do {                                                                                     \
		if (!(condition)) {                                                              \
			dprintf(2, "line %d: " #condition " (%s)\n", __LINE__, strerror(errno)); \
			return 1;                                                                \
		}                                                                                \
	} while (0)

/* Runs `inside` in a child that has entered the sandbox with these rules; 0 is what it must return. */
static void inside_sandbox(const struct ch_sandbox_rules *rules, int (*inside)(const char *directory),
			   const char *directory)
{
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (child == 0) {
		struct ch_error err = CH_NONE;

		if (!ch_sandbox_enter(rules, &err)) {
			dprintf(2, "%s\n", err.message);
			_exit(99);
		}
		_exit(inside(directory));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool have_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

static int make_directories(void **state)
{
	char *directory = ch_strdup("/tmp/sandbox_test.XXXXXX");
	char path[128];

	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/in", directory);
	if (mkdir(path, 0700) != 0)
		return -1;
	snprintf(path, sizeof(path), "%s/read", directory);
	if (mkdir(path, 0700) != 0)
		return -1;
	snprintf(path, sizeof(path), "%s/read/file", directory);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	*state = directory;
	return 0;
}

static int remove_directories(void **state)
{
	char *command = ch_format("rm -rf %s", (char *)*state);
	int result = system(command);

	free(command);
	free(*state);
	return result;
}

static int open_in(const char *directory, const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, flags, 0600);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -errno : 0;
}

static int touch_files(const char *directory)
{
	char from[128];
	char to[128];

	CHECK(open_in(directory, "in/new", O_CREAT | O_WRONLY | O_TRUNC) == 0);
	snprintf(from, sizeof(from), "%s/in/new", directory);
	snprintf(to, sizeof(to), "%s/in/renamed", directory);
	CHECK(rename(from, to) == 0);
	CHECK(unlink(to) == 0);
	CHECK(open_in(directory, "read/file", O_RDONLY) == 0);
	CHECK(open_in(directory, "read/file", O_WRONLY) == -EACCES);
	CHECK(open_in(directory, "read/new", O_CREAT | O_WRONLY) == -EACCES);
	CHECK(open_in(directory, "out", O_CREAT | O_WRONLY) == -EACCES);
	CHECK(open_in("/root", "", O_RDONLY) == -EACCES);
	CHECK(open_in("/etc", "passwd", O_RDONLY) == 0);
	CHECK(open_in("/etc", "passwd", O_WRONLY) == -EACCES);
	CHECK(open_in("/dev", "null", O_WRONLY) == 0);
	CHECK(open_in("/dev", "urandom", O_RDONLY) == 0);
	CHECK(open_in("/proc/self", "statm", O_RDONLY) == 0);
	return 0;
}

static void files_are_limited_to_the_rules(void **state)
{
	char *in = ch_format("%s/in", (char *)*state);
	char *read_only = ch_format("%s/read", (char *)*state);
	const struct ch_sandbox_path paths[] = { { in, CH_SANDBOX_READ | CH_SANDBOX_WRITE },
						 { read_only, CH_SANDBOX_READ } };
	const struct ch_sandbox_rules rules = { .paths = paths, .path_count = CH_COUNT(paths) };

	if (have_landlock())
		inside_sandbox(&rules, touch_files, *state);
	free(in);
	free(read_only);
}

static void a_path_that_does_not_exist_is_an_error(void **state)
{
	const struct ch_sandbox_path paths[] = { { "/nonexistent/path", CH_SANDBOX_READ } };
	const struct ch_sandbox_rules rules = { .paths = paths, .path_count = 1 };
	pid_t child = fork();
	int status = 0;

	if (!have_landlock())
		return;
	if (child == 0) {
		struct ch_error err = CH_NONE;

		_exit(!ch_sandbox_enter(&rules, &err) && strstr(err.message, "/nonexistent/path") ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void *count_up(void *number)
{
	__atomic_add_fetch((int *)number, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int work_as_daemons_do(const char *directory)
{
	pthread_t threads[3];
	int pair[2];
	int number = 0;
	char octet = 0;
	void *memory;

	for (size_t i = 0; i < CH_COUNT(threads); i++)
		CHECK(pthread_create(&threads[i], NULL, count_up, &number) == 0);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(number == 3);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(write(pair[0], "x", 1) == 1 && read(pair[1], &octet, 1) == 1);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) >= 0);
	CHECK(socket(AF_INET6, SOCK_STREAM, 0) >= 0);
	CHECK(epoll_create1(0) >= 0);
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED && munmap(memory, 4096) == 0);
	ch_random(&octet, 1);
	return directory ? 1 : 0;
}

static void threads_sockets_and_memory_go_on_working(void **state)
{
	const struct ch_sandbox_rules rules = { .paths = NULL };

	inside_sandbox(&rules, work_as_daemons_do, NULL);
}

static int try_what_an_intruder_would(const char *directory)
{
	char *const arguments[] = { (char *)"/bin/true", NULL };

	CHECK(execve("/bin/true", arguments, NULL) == -1 && (errno == EPERM || errno == EACCES));
	CHECK(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EPERM);
	CHECK(syscall(SYS_bpf, 0, NULL, 0) == -1 && errno == EPERM);
	CHECK(syscall(SYS_unshare, 0x10000000) == -1 && errno == EPERM);
	CHECK(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == EPERM);
	CHECK(syscall(SYS_setuid, 0) == -1 && errno == EPERM);
	CHECK(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
#if !defined(__SANITIZE_ADDRESS__)
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1 && errno == EPERM);
	CHECK(fork() == -1 && errno == EPERM);
#endif
	return directory ? 1 : 0;
}

static void programs_and_privileges_are_out_of_reach(void **state)
{
	const struct ch_sandbox_rules rules = { .paths = NULL };

	inside_sandbox(&rules, try_what_an_intruder_would, NULL);
}

static void *try_bpf(void *argument)
{
	int *pipes = argument;
	char octet;

	if (read(pipes[0], &octet, 1) != 1)
		return NULL;
	errno = 0;
	return syscall(SYS_bpf, 0, NULL, 0) == -1 && errno == EPERM ? argument : NULL;
}

/* bpf(2) with these arguments gives EINVAL outside: EPERM in a thread that was there before shows that TSYNC
 * reached it. */
static void threads_that_run_already_are_inside_too(void **state)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		const struct ch_sandbox_rules rules = { .paths = NULL };
		struct ch_error err = CH_NONE;
		pthread_t thread;
		void *result = NULL;
		int pipes[2];

		if (pipe(pipes) != 0 || pthread_create(&thread, NULL, try_bpf, pipes) != 0 ||
		    !ch_sandbox_enter(&rules, &err) || write(pipes[1], "x", 1) != 1 ||
		    pthread_join(thread, &result) != 0)
			_exit(2);
		_exit(result ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int start_self(const char *directory)
{
	pid_t child = fork();
	int status = -1;

	CHECK(child >= 0);
	if (child == 0) {
		char *const arguments[] = { (char *)"sandbox_test", (char *)"--started", NULL };
		char *const environment[] = { NULL };

		execve("/proc/self/exe", arguments, environment);
		_exit(50);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	return directory ? 1 : 0;
}

/* The vault re-executes itself for its HSM workers; nothing else can be started. */
static void where_the_rules_say_so_it_can_start_itself(void **state)
{
	const struct ch_sandbox_rules rules = { .may_start_programs = true };

	inside_sandbox(&rules, start_self, NULL);
}

/* --- with somebody else's code --- */

static long landlock_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static int connect_tcp(in_port_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = port };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int result;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	result = fd < 0                                                           ? -errno
		 : connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0
										  : -errno;
	if (fd >= 0)
		close(fd);
	return result;
}

/* What is effective. */
static unsigned long long capabilities(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long long found = ~0ull;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "CapEff:", 7) == 0)
			found = strtoull(line + 7, NULL, 16);
	if (file)
		fclose(file);
	return found;
}

static int reach_out(const char *directory)
{
	char path[128];
	struct rlimit limit;
	int pair[2];

	snprintf(path, sizeof(path), "%s/read/file", directory);
	CHECK(open_in(directory, "in/new", O_CREAT | O_WRONLY) == 0);
	CHECK(open_in(directory, "read/file", O_RDONLY) == -EACCES);
	CHECK(chmod(path, 0644) == -1 && errno == EPERM);
	CHECK(open_in("/etc", "", O_RDONLY) == -EACCES);
	CHECK(open_in("/etc", "shadow", O_RDONLY) == -EACCES);
	CHECK(open_in("/etc", "passwd", O_RDONLY) == 0);
	CHECK(connect_tcp(htons(1)) == -EPERM);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EPERM);
	CHECK(socket(AF_NETLINK, SOCK_RAW, 0) == -1 && errno == EPERM);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == -1 && errno == EPERM);
	CHECK(kill(getppid(), 0) == -1 && errno == EPERM);
	CHECK(kill(getpid(), 0) == 0);
	CHECK(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit) == -1 && errno == EPERM);
	CHECK(prlimit(0, RLIMIT_NOFILE, NULL, &limit) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == -1 && errno == EPERM);
	CHECK(epoll_create1(0) >= 0);
	CHECK((capabilities() & ~(1ull << 14)) == 0); /* all but CAP_IPC_LOCK */
	return 0;
}

static void foreign_code_reaches_no_process_no_socket_and_no_mode(void **state)
{
	char *in = ch_format("%s/in", (char *)*state);
	const struct ch_sandbox_path paths[] = { { in, CH_SANDBOX_READ | CH_SANDBOX_WRITE } };
	const struct ch_sandbox_foreign foreign = CH_NONE;
	const struct ch_sandbox_rules rules = { .paths = paths, .path_count = 1, .foreign = &foreign };

	if (have_landlock())
		inside_sandbox(&rules, reach_out, *state);
	free(in);
}

static int narrow_further(const char *directory)
{
	const struct ch_sandbox_foreign foreign = CH_NONE;
	const struct ch_sandbox_rules rules = { .foreign = &foreign };
	struct ch_error err = CH_NONE;

	CHECK(open_in("/etc", "passwd", O_RDONLY) == 0);
	CHECK(ch_sandbox_narrow(&rules, &err));
	CHECK(open_in("/etc", "passwd", O_RDONLY) == -EACCES);
	CHECK(open_in("/dev", "urandom", O_RDONLY) == 0);
	return directory ? 1 : 0;
}

static void a_second_layer_closes_what_only_loading_needs(void **state)
{
	const struct ch_sandbox_foreign foreign = CH_NONE;
	const struct ch_sandbox_rules rules = { .foreign = &foreign };

	if (have_landlock())
		inside_sandbox(&rules, narrow_further, NULL);
}

static in_port_t listening_port; /* set before the sandboxed child is made */

static int connect_around(const char *directory)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = listening_port };
	int fd;

	CHECK(connect_tcp(listening_port) == 0);
	CHECK(connect_tcp(htons(1)) == (landlock_abi() >= 4 ? -EACCES : -ECONNREFUSED));
	CHECK(socket(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP, which Landlock does not see */) == -1 &&
	      errno == EPERM);
	CHECK(socket(AF_INET, SOCK_RAW, 0) == -1 && errno == EPERM);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EPERM);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(fd >= 0 &&
	      sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof(address)) == -1 &&
	      errno == EPERM);
	CHECK(listen(fd, 1) == -1 && errno == EPERM);
	return directory ? 1 : 0;
}

static void foreign_code_with_network_connects_to_its_ports_alone(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	uint16_t port;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	listening_port = address.sin_port;
	port = ntohs(address.sin_port);
	const struct ch_sandbox_foreign foreign = { .network = true,
						    .tcp_ports = &port,
						    .tcp_port_count = 1 };
	const struct ch_sandbox_rules rules = { .foreign = &foreign };

	inside_sandbox(&rules, connect_around, NULL);
	close(fd);
}

static int connect_locally(const char *directory)
{
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM);
	return directory ? 1 : 0;
}

static void foreign_code_with_unix_sockets_has_no_others(void **state)
{
	const struct ch_sandbox_foreign foreign = { .unix_sockets = true };
	const struct ch_sandbox_rules rules = { .foreign = &foreign };

	inside_sandbox(&rules, connect_locally, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_are_limited_to_the_rules, make_directories,
						remove_directories),
		cmocka_unit_test(a_path_that_does_not_exist_is_an_error),
		cmocka_unit_test(threads_sockets_and_memory_go_on_working),
		cmocka_unit_test(programs_and_privileges_are_out_of_reach),
		cmocka_unit_test(threads_that_run_already_are_inside_too),
		cmocka_unit_test(where_the_rules_say_so_it_can_start_itself),
		cmocka_unit_test_setup_teardown(foreign_code_reaches_no_process_no_socket_and_no_mode,
						make_directories, remove_directories),
		cmocka_unit_test(a_second_layer_closes_what_only_loading_needs),
		cmocka_unit_test(foreign_code_with_network_connects_to_its_ports_alone),
		cmocka_unit_test(foreign_code_with_unix_sockets_has_no_others),
	};

	if (argc == 2 && strcmp(argv[1], "--started") == 0)
		return 7;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
