/* SPDX-License-Identifier: Apache-2.0 */
/* log_queue_test.c: a log that takes nothing makes nobody wait, and what it did not take is told. Each case
 * runs in a child, whose standard error is what the case is about. */
#include "log/log.h"

#include "clock/clock.h"
#include "mem/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY     20000
#define PATIENCE (20 * CH_SECOND)
#define PROMPT   (2 * CH_SECOND) /* for a call that waits for nothing, on a busy machine */

/* How the child and its parent take turns. */
struct turns {
	int error[2]; /* the child's standard error */
	int told[2];  /* from the child */
	int asked[2]; /* to the child */
};

static void make_turns(struct turns *t)
{
	assert_int_equal(pipe(t->error), 0);
	assert_int_equal(pipe(t->told), 0);
	assert_int_equal(pipe(t->asked), 0);
}

/* Runs `child` in a process of its own; its result is the exit code. */
static pid_t start(struct turns *t, int (*child)(struct turns *))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(t->error[1], STDERR_FILENO);
		close(t->error[0]);
		close(t->error[1]);
		close(t->told[0]);
		close(t->asked[1]);
		exit(child(t));
	}
	close(t->error[1]);
	close(t->told[1]);
	close(t->asked[0]);
	return pid;
}

static int finish(pid_t pid)
{
	int64_t until = ch_monotonic_us() + PATIENCE;
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (ch_monotonic_us() > until) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			fail_msg("the child hangs");
		}
		usleep(1000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static char *read_all(int fd)
{
	struct ch_buffer text = CH_NONE;
	char piece[65536];
	ssize_t got;

	while ((got = read(fd, piece, sizeof(piece))) > 0)
		ch_buffer_add(&text, piece, (size_t)got);
	return ch_buffer_steal_text(&text);
}

/* Lines that have `what` in them; cut out one by one, as a sanitizer's strstr reads all that follows. */
static size_t count(const char *text, const char *what)
{
	size_t found = 0;

	while (*text) {
		const char *end = text;
		size_t size;

		while (*end && *end++ != '\n')
			;
		size = (size_t)(end - text);
		CH_AUTO(ch_string) line = ch_strndup(text, size);

		found += strstr(line, what) != NULL;
		text += size;
	}
	return found;
}

static bool wait_for_dropped(uint64_t lines)
{
	int64_t until = ch_monotonic_us() + PATIENCE;

	while (ch_log_dropped() < lines && ch_monotonic_us() < until)
		usleep(1000);
	return ch_log_dropped() == lines;
}

static int begin(void)
{
	struct ch_error err;

	ch_log_open("ocsp", "ocsp-1");
	return ch_log_start(&err) ? 0 : 10;
}

/* --- a pipe that nobody reads --- */

static int log_to_a_stuck_pipe(struct turns *t)
{
	int64_t slowest = 0;
	uint64_t dropped;
	char go;

	if (begin())
		return 10;
	for (int i = 0; i < MANY; i++) {
		int64_t began = ch_monotonic_us(), took;

		ch_log_info("line number %d", i);
		took = ch_monotonic_us() - began;
		slowest = took > slowest ? took : slowest;
	}
	if (slowest > PROMPT)
		return 11;
	dropped = ch_log_dropped();
	if (write(t->told[1], &dropped, sizeof(dropped)) != sizeof(dropped) || read(t->asked[0], &go, 1) != 1)
		return 12;
	return ch_log_flush(PATIENCE) ? 0 : 13;
}

static void a_pipe_that_nobody_reads_makes_nobody_wait_and_the_loss_is_told(void **state)
{
	CH_AUTO(ch_string) text = NULL;
	CH_AUTO(ch_string) notice = NULL;
	uint64_t dropped = 0;
	struct turns t;
	pid_t pid;

	make_turns(&t);
	pid = start(&t, log_to_a_stuck_pipe);
	assert_int_equal(read(t.told[0], &dropped, sizeof(dropped)), sizeof(dropped));
	assert_true(dropped > 0 && dropped < MANY);
	assert_int_equal(write(t.asked[1], "g", 1), 1);
	text = read_all(t.error[0]);
	assert_int_equal(finish(pid), 0);
	assert_int_equal(count(text, "\"msg\":\"line number "), MANY - dropped);
	notice = ch_format(
		"\"level\":\"warn\",\"service\":\"ocsp\",\"instance\":\"ocsp-1\",\"msg\":\"%llu lines "
		"dropped since 20",
		(unsigned long long)dropped);
	assert_int_equal(count(text, notice), 1);
	assert_int_equal(count(text, "{\"time\":"), MANY - dropped + 1); /* whole lines, none mixed */
}

static int exit_with_a_stuck_pipe(struct turns *t)
{
	(void)t;
	if (begin())
		return 10;
	for (int i = 0; i < MANY; i++)
		ch_log_info("line number %d", i);
	return 7;
}

static void the_processs_end_waits_for_a_stuck_log_but_not_for_ever(void **state)
{
	struct turns t;

	make_turns(&t);
	assert_int_equal(finish(start(&t, exit_with_a_stuck_pipe)), 7);
}

/* --- what is queued at the end --- */

static int log_and_exit(struct turns *t)
{
	(void)t;
	if (begin())
		return 10;
	for (int i = 0; i < 100; i++)
		ch_log_info("line number %d", i);
	return 0;
}

static void what_is_queued_at_the_end_is_written(void **state)
{
	CH_AUTO(ch_string) text = NULL;
	struct turns t;
	pid_t pid;

	make_turns(&t);
	pid = start(&t, log_and_exit);
	text = read_all(t.error[0]);
	assert_int_equal(finish(pid), 0);
	assert_int_equal(count(text, "\"msg\":\"line number "), 100);
}

/* --- other things that standard error may be --- */

static int log_to_a_full_disk(struct turns *t)
{
	int real = dup(STDERR_FILENO), full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)t;
	dup2(full, STDERR_FILENO);
	if (begin())
		return 10;
	for (int i = 0; i < 10; i++)
		ch_log_info("lost %d", i);
	if (!wait_for_dropped(10))
		return 11;
	dup2(real, STDERR_FILENO);
	close(real);
	ch_log_info("after");
	return ch_log_flush(PATIENCE) ? 0 : 13;
}

/* write(2) fails at once where the disk is full: the lines are lost all the same, and told. */
static void lines_that_a_full_disk_refuses_are_told_when_it_has_room(void **state)
{
	CH_AUTO(ch_string) text = NULL;
	struct turns t;
	pid_t pid;

	make_turns(&t);
	pid = start(&t, log_to_a_full_disk);
	text = read_all(t.error[0]);
	assert_int_equal(finish(pid), 0);
	assert_int_equal(count(text, "\"msg\":\"lost "), 0);
	assert_int_equal(count(text, "\"msg\":\"after\""), 1);
	assert_int_equal(count(text, "\"msg\":\"10 lines dropped since 20"), 1);
}

static int log_to_a_pipe_that_somebody_made_non_blocking(struct turns *t)
{
	char go;

	fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
	if (begin())
		return 10;
	for (int i = 0; i < 2000; i++) /* more than the pipe holds, less than the queue */
		ch_log_info("line number %d", i);
	if (write(t->told[1], "1", 1) != 1 || read(t->asked[0], &go, 1) != 1)
		return 11;
	if (!(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK))
		return 12; /* not ours to change */
	return ch_log_flush(PATIENCE) && ch_log_dropped() == 0 ? 0 : 13;
}

static void a_pipe_that_another_process_made_non_blocking_loses_nothing(void **state)
{
	CH_AUTO(ch_string) text = NULL;
	struct turns t;
	pid_t pid;
	char told;

	make_turns(&t);
	pid = start(&t, log_to_a_pipe_that_somebody_made_non_blocking);
	assert_int_equal(read(t.told[0], &told, 1), 1);
	assert_int_equal(write(t.asked[1], "g", 1), 1);
	text = read_all(t.error[0]);
	assert_int_equal(finish(pid), 0);
	assert_int_equal(count(text, "\"msg\":\"line number "), 2000);
}

static int log_in_a_child(struct turns *t)
{
	pid_t pid;
	int status;

	(void)t;
	if (begin())
		return 10;
	ch_log_info("from the parent");
	pid = fork();
	if (pid == 0) {
		ch_log_info("from the child");
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 11;
}

static void a_forked_child_writes_its_lines_and_not_its_parents(void **state)
{
	CH_AUTO(ch_string) text = NULL;
	struct turns t;
	pid_t pid;

	make_turns(&t);
	pid = start(&t, log_in_a_child);
	text = read_all(t.error[0]);
	assert_int_equal(finish(pid), 0);
	assert_int_equal(count(text, "from the parent"), 1);
	assert_int_equal(count(text, "from the child"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pipe_that_nobody_reads_makes_nobody_wait_and_the_loss_is_told),
		cmocka_unit_test(the_processs_end_waits_for_a_stuck_log_but_not_for_ever),
		cmocka_unit_test(what_is_queued_at_the_end_is_written),
		cmocka_unit_test(lines_that_a_full_disk_refuses_are_told_when_it_has_room),
		cmocka_unit_test(a_pipe_that_another_process_made_non_blocking_loses_nothing),
		cmocka_unit_test(a_forked_child_writes_its_lines_and_not_its_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
