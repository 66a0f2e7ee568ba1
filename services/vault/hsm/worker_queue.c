/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_queue.c: idle session threads wait in one epoll for the socket, which wakes one of them at a time
 * (EPOLLONESHOT), and for `more`, which wakes as many as there is work for. Called by worker.c.
 */
#include "worker_queue.h"

#include "clock/clock.h"
#include "log/log.h"
#include "unpack/unpack.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

struct job {
	Chancery__HsmRequest *request;
	struct job *prev, *next;
};

struct worker_queue {
	int epoll;
	int more; /* eventfd, a semaphore: sessions to wake for what another read */
	pthread_mutex_t read_lock;
	struct hsm_reader reader; /* guarded by read_lock */
	pthread_mutex_t lock;     /* guards what follows */
	struct job *jobs;
	size_t count, idle; /* jobs; sessions that wait */
	size_t called;      /* of these, who were woken through `more` and have not come yet */
};

/* --- reading --- */

static void add_job(struct worker_queue *queue, struct ch_view frame)
{
	struct job *job = ch_alloc(sizeof(*job));

	job->request = (Chancery__HsmRequest *)ch_unpack(&chancery__hsm_request__descriptor, frame);
	if (!job->request) {
		ch_log_error("HSM request does not decode");
		(void)ch_log_flush(CH_SECOND);
		_exit(0); /* the vault starts another worker */
	}
	pthread_mutex_lock(&queue->lock);
	DL_APPEND(queue->jobs, job);
	queue->count++;
	pthread_mutex_unlock(&queue->lock);
}

/* All whole frames that have arrived. With read_lock held. */
static void add_jobs(struct worker_queue *queue)
{
	struct ch_view frame;
	struct ch_error err;
	bool present;

	for (;;) {
		if (!hsm_reader_next(&queue->reader, &present, &frame, &err))
			_exit(0); /* the channel cannot be used any more */
		if (!present)
			return;
		add_job(queue, frame);
	}
}

/* The next one is woken for the socket only now. */
static void listen_again(const struct worker_queue *queue, int operation)
{
	struct epoll_event socket = { .events = EPOLLIN | EPOLLONESHOT, .data.fd = HSM_WORKER_FD };

	if (epoll_ctl(queue->epoll, operation, HSM_WORKER_FD, &socket) != 0)
		_exit(1);
}

static void read_socket(struct worker_queue *queue)
{
	pthread_mutex_lock(&queue->read_lock);
	if (hsm_reader_fill(&queue->reader, HSM_WORKER_FD) == HSM_READ_CLOSED)
		_exit(0); /* the vault is gone */
	add_jobs(queue);
	pthread_mutex_unlock(&queue->read_lock);
	listen_again(queue, EPOLL_CTL_MOD);
}

static bool open_queue(struct worker_queue *queue)
{
	struct epoll_event more = { .events = EPOLLIN };

	queue->epoll = epoll_create1(EPOLL_CLOEXEC);
	queue->more = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	more.data.fd = queue->more;
	return queue->epoll >= 0 && queue->more >= 0 &&
	       epoll_ctl(queue->epoll, EPOLL_CTL_ADD, queue->more, &more) == 0;
}

bool worker_queue_open(struct hsm_reader *reader, struct worker_queue **queue, struct ch_error *err)
{
	struct worker_queue *made = ch_alloc(sizeof(*made)); /* as long as the process */

	pthread_mutex_init(&made->read_lock, NULL);
	pthread_mutex_init(&made->lock, NULL);
	if (!open_queue(made)) {
		free(made);
		return ch_fail_errno(err, CH_INTERNAL, errno, "the HSM worker's queue");
	}
	made->reader = *reader;
	*reader = (struct hsm_reader)CH_NONE;
	add_jobs(made);
	listen_again(made, EPOLL_CTL_ADD);
	*queue = made;
	return true;
}

/* --- taking --- */

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* A part of what is queued; and as many others are woken as there is left for them. */
static size_t take_part(struct worker_queue *queue, Chancery__HsmRequest *requests[WORKER_AT_ONCE])
{
	size_t part, count = 0;
	uint64_t wake = 0;

	pthread_mutex_lock(&queue->lock);
	part = smaller((queue->count + queue->idle) / (queue->idle + 1), WORKER_AT_ONCE);
	while (queue->jobs && count < part) {
		struct job *job = queue->jobs;

		DL_DELETE(queue->jobs, job);
		requests[count++] = job->request;
		free(job);
	}
	queue->count -= count;
	if (queue->idle > queue->called)
		wake = smaller(queue->count, queue->idle - queue->called);
	queue->called += wake;
	pthread_mutex_unlock(&queue->lock);
	if (wake && write(queue->more, &wake, sizeof(wake)) != sizeof(wake))
		_exit(1);
	return count;
}

/* False: there is work by now. Who queues it counts the idle with the same lock. */
static bool begin_waiting(struct worker_queue *queue)
{
	bool waits;

	pthread_mutex_lock(&queue->lock);
	waits = !queue->jobs;
	queue->idle += waits;
	pthread_mutex_unlock(&queue->lock);
	return waits;
}

static void end_waiting(struct worker_queue *queue, bool called)
{
	uint64_t one;

	called = called && read(queue->more, &one, sizeof(one)) == sizeof(one);
	pthread_mutex_lock(&queue->lock);
	queue->idle--;
	if (called)
		queue->called--;
	pthread_mutex_unlock(&queue->lock);
}

/* False: nothing came in time. */
static bool wait_event(struct worker_queue *queue, int64_t keep_alive_us)
{
	int timeout_ms = keep_alive_us ? (int)(keep_alive_us / CH_MILLISECOND) : -1;
	struct epoll_event event;
	int got;

	if (!begin_waiting(queue))
		return true;
	do
		got = epoll_wait(queue->epoll, &event, 1, timeout_ms);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		_exit(1);
	end_waiting(queue, got == 1 && event.data.fd == queue->more);
	if (got == 1 && event.data.fd == HSM_WORKER_FD)
		read_socket(queue);
	return got == 1;
}

size_t worker_queue_take(struct worker_queue *queue, int64_t keep_alive_us,
			 Chancery__HsmRequest *requests[WORKER_AT_ONCE])
{
	size_t count;

	while ((count = take_part(queue, requests)) == 0)
		if (!wait_event(queue, keep_alive_us))
			return 0;
	return count;
}
