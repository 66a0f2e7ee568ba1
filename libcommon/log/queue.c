/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c: lines on their way to standard error. Whoever logs only adds to a bounded buffer; one thread
 * writes, so that a log that takes nothing (a full disk behind the supervisor's logger) stops that thread and
 * no request. Standard error is left blocking: its flags belong to every process that shares it.
 */
#include "log/internal.h"

#include "clock/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_CAP  (1024 * 1024) /* octets that wait; some 4,000 lines */
#define AGAIN      CH_SECOND     /* after a write failed */
#define LAST_WORDS CH_SECOND     /* how long the process's end waits for what is queued */

/* Lines that nobody will read. */
struct loss {
	uint64_t lines;
	int64_t since_us; /* wall clock: of the first */
};

/* The process's one queue, as it has one standard error. */
static struct {
	pthread_mutex_t lock; /* guards all below but `total` */
	pthread_cond_t changed;
	bool running; /* the thread was started */
	bool writing; /* it has lines that wait no more and are not written yet */
	struct ch_buffer waiting;
	struct loss loss; /* not told yet */
	atomic_uint_fast64_t total;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER };

static size_t count_lines(struct ch_view text)
{
	size_t lines = 0;

	for (size_t i = 0; i < text.size; i++)
		lines += text.data[i] == '\n';
	return lines;
}

/* The caller holds the lock. */
static void note_loss(uint64_t lines)
{
	if (!queue.loss.lines)
		queue.loss.since_us = ch_clock_now_us(ch_clock_system());
	queue.loss.lines += lines;
	atomic_fetch_add(&queue.total, lines);
}

/* --- writing --- */

/* Octets of the whole lines at the start of `text` that go in one write: up to PIPE_BUF a pipe that several
 * processes share takes in one piece; a longer line goes alone. */
static size_t piece_size(struct ch_view text)
{
	size_t size = 0;

	while (size < text.size) {
		const uint8_t *end = memchr(text.data + size, '\n', text.size - size);
		size_t next = end ? (size_t)(end - text.data) + 1 : text.size;

		if (size && next > PIPE_BUF)
			break;
		size = next;
	}
	return size;
}

/* May block. False: standard error does not take it (a full disk, a reader that went away); *torn: a part of
 * a line is out. */
static bool write_piece(struct ch_view piece, bool *torn)
{
	while (piece.size) {
		ssize_t written = write(STDERR_FILENO, piece.data, piece.size);

		if (written < 0 && errno == EAGAIN) { /* another process made it non-blocking */
			struct pollfd wait = { .fd = STDERR_FILENO, .events = POLLOUT };

			poll(&wait, 1, -1);
			continue;
		}
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		*torn = piece.data[written - 1] != '\n';
		piece = ch_view(piece.data + written, piece.size - (size_t)written);
	}
	return true;
}

/* Gives the lines that were not written. */
static uint64_t write_lines(struct ch_view text, bool *torn)
{
	uint64_t lost = 0;

	if (text.size && *torn)
		*torn = !write_piece(ch_view_text("\n"), &(bool){ false });
	while (text.size) {
		struct ch_view piece = ch_view(text.data, piece_size(text));

		if (!write_piece(piece, torn))
			lost += count_lines(piece);
		text = ch_view(text.data + piece.size, text.size - piece.size);
	}
	return lost;
}

static bool tell_loss(const struct loss *loss, bool *torn)
{
	CH_AUTO(ch_buffer) line = CH_NONE;
	char since[CH_TIME_TEXT_SIZE], message[128];

	snprintf(message, sizeof(message), "%" PRIu64 " lines dropped since %s: the log took nothing",
		 loss->lines, ch_time_text(loss->since_us, since));
	ch_log_add_line(&line, CH_LOG_WARN, NULL, message);
	return write_lines(ch_buffer_view(&line), torn) == 0;
}

static void wait_for(int64_t until_us)
{
	struct timespec until = { until_us / CH_SECOND, until_us % CH_SECOND * 1000 };

	pthread_cond_timedwait(&queue.changed, &queue.lock, &until);
}

/* Until there is something to write; a loss whose telling failed is tried again after a while. */
static void wait_for_lines(bool failed)
{
	int64_t until_us = ch_monotonic_us() + AGAIN;

	while (!queue.waiting.used && (failed ? ch_monotonic_us() < until_us : !queue.loss.lines)) {
		if (failed)
			wait_for(until_us);
		else
			pthread_cond_wait(&queue.changed, &queue.lock);
	}
}

static void *write_queued(void *unused)
{
	struct ch_buffer batch = CH_NONE;
	bool torn = false, failed = false;

	pthread_mutex_lock(&queue.lock);
	for (;;) {
		struct ch_buffer empty = batch;
		struct loss loss;
		uint64_t lost;

		wait_for_lines(failed);
		/* What was dropped came after all that waits. */
		batch = queue.waiting;
		queue.waiting = empty;
		queue.waiting.used = 0;
		loss = queue.loss;
		queue.loss = (struct loss)CH_NONE;
		queue.writing = true;
		pthread_mutex_unlock(&queue.lock);
		lost = write_lines(ch_buffer_view(&batch), &torn);
		failed = lost > 0 || (loss.lines && !tell_loss(&loss, &torn));
		pthread_mutex_lock(&queue.lock);
		queue.writing = false;
		if (failed && loss.lines) { /* not told: with the next */
			loss.lines += queue.loss.lines;
			queue.loss = loss;
		}
		if (lost)
			note_loss(lost);
		pthread_cond_broadcast(&queue.changed);
	}
	return unused;
}

/* --- adding --- */

void ch_log_pass(struct ch_view line)
{
	bool running;

	pthread_mutex_lock(&queue.lock);
	running = queue.running;
	if (running && queue.waiting.used + line.size > QUEUE_CAP) {
		note_loss(1);
	} else if (running) {
		ch_buffer_add_view(&queue.waiting, line);
		pthread_cond_broadcast(&queue.changed);
	}
	pthread_mutex_unlock(&queue.lock);
	if (!running)
		(void)write_lines(line, &(bool){ false });
}

uint64_t ch_log_dropped(void)
{
	return atomic_load(&queue.total);
}

bool ch_log_flush(int64_t timeout_us)
{
	int64_t until_us = ch_monotonic_us() + timeout_us;
	bool flushed;

	pthread_mutex_lock(&queue.lock);
	while (queue.running && (queue.waiting.used || queue.writing) && ch_monotonic_us() < until_us)
		wait_for(until_us);
	flushed = !queue.running || (!queue.waiting.used && !queue.writing);
	pthread_mutex_unlock(&queue.lock);
	return flushed;
}

static void flush_at_exit(void)
{
	(void)ch_log_flush(LAST_WORDS);
}

/* --- starting --- */

static void lock_queue(void)
{
	pthread_mutex_lock(&queue.lock);
}

static void unlock_queue(void)
{
	pthread_mutex_unlock(&queue.lock);
}

/* A child has no writing thread, and what waits is its parent's. */
static void forget_queue(void)
{
	queue.running = queue.writing = false;
	queue.waiting.used = 0;
	queue.loss = (struct loss)CH_NONE;
	atomic_store(&queue.total, 0);
	pthread_mutex_unlock(&queue.lock);
}

bool ch_log_start(struct ch_error *err)
{
	pthread_condattr_t monotonic;
	sigset_t all, before;
	pthread_t thread;
	int failed;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&queue.changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&thread, NULL, write_queued, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		return ch_fail_errno(err, CH_INTERNAL, failed, "log thread");
	pthread_detach(thread);
	pthread_mutex_lock(&queue.lock);
	queue.running = true;
	pthread_mutex_unlock(&queue.lock);
	pthread_atfork(lock_queue, unlock_queue, forget_queue);
	atexit(flush_at_exit);
	return true;
}
