/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_process.c: keeps one HSM's worker process running: starts it or has its listener start it, reads its
 * replies, ends it when it hangs or lost its device, starts it again with back-off. One thread per HSM,
 * started by hsm_pool.c.
 */
#include "hsm_pool.h"

#include "hsm_connect.h"
#include "hsm_spawn.h"
#include "log/log.h"
#include "unpack/unpack.h"
#include "worker_sandbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#define OPEN_LIMIT_US   (15 * CH_SECOND)
#define END_LIMIT_US    (2 * CH_SECOND)
#define BACKOFF_US      (100 * CH_MILLISECOND)
#define BACKOFF_CAP_US  (5 * CH_SECOND)
#define SETTLED_US      (2 * CH_SECOND) /* up for so long: the next loss is a first one again */
#define BUSY_TICK_MS    10
#define WATCH_US        (5 * CH_MILLISECOND) /* looking through all that is in flight is not for each reply */
#define IDLE_TICK_MS    50 /* sending does not wake the thread: so late may it notice that nothing comes */
#define OPEN_REQUEST_ID 0
#define DOWN_AFTER      3 /* failures in a row until the state is "down" */

void hsm_tell(struct hsm *hsm, enum hsm_change change, const char *why)
{
	const struct hsm_pool_options *options = &hsm->pool->options;
	unsigned bits = hsm_pool_up(hsm->pool);

	if (hsm->up_metric)
		ch_metric_set(hsm->up_metric, change == HSM_CAME_UP);
	if (hsm->pin_refused_metric)
		ch_metric_set(hsm->pin_refused_metric, change == HSM_PIN_REFUSED);
	if (options->event)
		options->event(options->event_state, hsm->config->name, change, why,
			       (size_t)__builtin_popcount(bits));
}

/* --- starting --- */

/* A listener knows better what to open, and with what: it takes no more of this than keep_alive_ms. */
static void append_open(struct hsm *hsm)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	uint32_t ports[HSM_PORTS_MAX];
	Chancery__HsmOpen open;

	chancery__hsm_open__init(&open);
	if (!hsm->config->listener)
		hsm_open_of(hsm->config, ports, &open);
	open.sandbox = hsm->pool->options.sandbox;
	open.keep_alive_ms = (uint32_t)(hsm->pool->options.keep_alive_us / CH_MILLISECOND);
	request.id = OPEN_REQUEST_ID;
	request.open = &open;
	hsm_frame_append(&hsm->out, &request.base);
}

/* A worker of our own, at the other end of a socket pair. */
static bool fork_worker(const struct hsm *hsm, int *fd, pid_t *pid, struct ch_error *err)
{
	CH_AUTO(ch_fd) theirs = -1;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "socketpair");
	theirs = ends[1];
	const struct hsm_spawn spawn = {
		.program = hsm->pool->options.program, .config = hsm->config, .fd = theirs, .open_fd = -1
	};
	if (!hsm_spawn_worker(&spawn, pid, err)) {
		close(ends[0]);
		return false;
	}
	*fd = ends[0];
	return true;
}

static bool start_worker(struct hsm *hsm, struct ch_error *err)
{
	pid_t pid = 0; /* a listener's worker tells it with its first octets */
	int fd;

	if (hsm->config->listener ? !hsm_connect(hsm->config, &fd, err) : !fork_worker(hsm, &fd, &pid, err))
		return false;
	pthread_mutex_lock(&hsm->pool->lock);
	hsm->fd = fd;
	hsm->pid = pid;
	hsm->unknown_sender = hsm->config->listener != NULL;
	hsm->open_deadline_us = ch_monotonic_us() + OPEN_LIMIT_US;
	append_open(hsm);
	hsm_flush(hsm);
	pthread_mutex_unlock(&hsm->pool->lock);
	return true;
}

/* --- losing --- */

static int64_t backoff_us(uint32_t failures)
{
	int64_t delay = BACKOFF_US;

	if (failures <= 1)
		return 0;
	for (uint32_t i = 2; i < failures && delay < BACKOFF_CAP_US; i++)
		delay *= 2;
	return delay < BACKOFF_CAP_US ? delay : BACKOFF_CAP_US;
}

static void end_own(struct hsm *hsm, char how[64])
{
	int status = 0;

	if (hsm->fd >= 0)
		close(hsm->fd);
	if (hsm->pid <= 0)
		return;
	kill(hsm->pid, SIGKILL);
	while (waitpid(hsm->pid, &status, 0) < 0 && errno == EINTR)
		;
	hsm_how_ended(status, how);
}

void hsm_end_process(struct hsm *hsm, char how[64])
{
	how[0] = 0;
	if (!hsm->config->listener) {
		end_own(hsm, how);
	} else if (hsm->fd >= 0) {
		hsm_connect_end(hsm->fd);
		hsm->ending_fd = hsm->fd;
	}
	hsm->fd = -1;
	hsm->pid = 0;
	hsm->out.used = 0;
	hsm->out_sent = 0;
	hsm_reader_free(&hsm->reader);
}

void hsm_await_end(struct hsm *hsm)
{
	if (hsm->ending_fd >= 0 && !hsm_connect_wait_end(hsm->ending_fd, END_LIMIT_US))
		ch_log_warn("HSM '%s': its listener did not end the worker in time", hsm->config->name);
	hsm->ending_fd = -1;
}

/* Ends the worker, gives its items to others, and plans the next start. */
static void lose(struct hsm *hsm, bool halt, const char *why)
{
	struct hsm_pool *pool = hsm->pool;
	char how[64];
	bool first;

	pthread_mutex_lock(&pool->lock);
	hsm_end_process(hsm, how);
	snprintf(hsm->last_error, sizeof(hsm->last_error), "%s%s", why, how);
	hsm->failures++;
	hsm->restarts++;
	memmove(hsm->lost_at_us + 1, hsm->lost_at_us, sizeof(hsm->lost_at_us) - sizeof(hsm->lost_at_us[0]));
	hsm->lost_at_us[0] = ch_monotonic_us();
	hsm->halted = halt;
	hsm->state = halt || hsm->failures >= DOWN_AFTER ? HSM_DOWN : HSM_RESTARTING;
	if (hsm_breaker_failure(&hsm->breaker,
				ch_monotonic_us())) /* what waits goes to another: not up any more */
		hsm_breaker_changed(hsm);
	hsm->restart_at_us = ch_monotonic_us() + backoff_us(hsm->failures);
	first = !hsm->told_down;
	hsm->told_down = true;
	hsm_reassign(hsm);
	if (halt)
		hsm_assign_waiting(pool); /* those that only this HSM could have served are told so */
	pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	hsm_await_end(hsm);
	if (hsm->restarts_metric)
		ch_metric_add(hsm->restarts_metric, 1);
	if (halt)
		ch_log_error("HSM '%s' is down until a person sees to it: %s", hsm->config->name, why);
	else if (first || hsm->failures == DOWN_AFTER)
		ch_log_warn("HSM '%s' is lost: %s%s; starting its worker again", hsm->config->name, why, how);
	if (first)
		hsm_tell(hsm, HSM_WENT_DOWN, why);
	if (halt)
		hsm_tell(hsm, HSM_PIN_REFUSED, why);
}

/* --- serving --- */

static void come_up(struct hsm *hsm, uint32_t told)
{
	uint32_t sessions = told < hsm->config->sessions ? told : (uint32_t)hsm->config->sessions;

	pthread_mutex_lock(&hsm->pool->lock);
	hsm->state = HSM_UP;
	hsm->told_down = false;
	hsm->sessions = sessions;
	hsm->up_since_us = hsm->last_reply_us = ch_monotonic_us();
	if (!hsm_is_flapping(hsm)) /* else it tells why this one may not be up for long either */
		hsm->last_error[0] = 0;
	hsm_breaker_fresh(&hsm->breaker, hsm->up_since_us);
	hsm_breaker_changed(hsm);
	hsm_absent_forget_hsm(&hsm->pool->absent, (unsigned)hsm->index);
	hsm_assign_waiting(hsm->pool);
	pthread_cond_broadcast(&hsm->pool->changed);
	pthread_mutex_unlock(&hsm->pool->lock);
	if (hsm->sessions_metric)
		ch_metric_set(hsm->sessions_metric, sessions);
	ch_log_info("HSM '%s' is up: token '%s', %u sessions", hsm->config->name, hsm->config->token_label,
		    sessions);
	hsm_tell(hsm, HSM_CAME_UP, "");
}

/* False: the worker was ended. */
static bool take_open_reply(struct hsm *hsm, const Chancery__HsmReply *reply)
{
	bool again;

	pthread_mutex_lock(&hsm->pool->lock);
	again = hsm->state == HSM_UP;
	pthread_mutex_unlock(&hsm->pool->lock);
	if (again) {
		lose(hsm, false, "it told again that it is up");
		return false;
	}
	if (reply->code != CH_OK) {
		lose(hsm, reply->pin_refused, reply->message);
		return false;
	}
	come_up(hsm, reply->sessions);
	return true;
}

static bool take_reply(struct hsm *hsm, Chancery__HsmReply *reply)
{
	CH_AUTO(ch_string) sick = reply->restart ? ch_strdup(reply->message) : NULL;
	struct hsm_trip *trip;

	if (reply->id == OPEN_REQUEST_ID) {
		bool serves = take_open_reply(hsm, reply);

		chancery__hsm_reply__free_unpacked(reply, NULL);
		return serves;
	}
	pthread_mutex_lock(&hsm->pool->lock);
	hsm->replies++;
	hsm->last_reply_us = ch_monotonic_us();
	DL_SEARCH_SCALAR(hsm->in_flight, trip, id, reply->id);
	if (trip && !sick)
		hsm_reply(hsm, trip, reply); /* takes it */
	else
		/* given up at its deadline, or reassigned below, or told unasked */
		chancery__hsm_reply__free_unpacked(reply, NULL);
	pthread_mutex_unlock(&hsm->pool->lock);
	if (sick)
		lose(hsm, false, sick);
	return !sick;
}

/* All whole frames that have arrived. False: the worker was ended. */
static bool take_frames(struct hsm *hsm)
{
	struct ch_error err;
	struct ch_view frame;
	bool present;

	for (;;) {
		Chancery__HsmReply *reply;

		if (!hsm_reader_next(&hsm->reader, &present, &frame, &err)) {
			lose(hsm, false, err.message);
			return false;
		}
		if (!present)
			return true;
		reply = (Chancery__HsmReply *)ch_unpack(&chancery__hsm_reply__descriptor, frame);
		if (!reply) {
			lose(hsm, false, "its reply does not decode");
			return false;
		}
		if (!take_reply(hsm, reply))
			return false;
	}
}

/* What a listener's worker sends is looked at only when it is known whose it is. False: the worker was ended.
 */
static bool fill(struct hsm *hsm, enum hsm_read *read)
{
	struct ch_error err;
	pid_t pid = 0;

	if (!hsm->unknown_sender) {
		*read = hsm_reader_fill(&hsm->reader, hsm->fd);
		return true;
	}
	if (!hsm_connect_first(hsm->config, hsm->fd, &hsm->reader, read, &pid, &err)) {
		lose(hsm, false, err.message);
		return false;
	}
	if (*read != HSM_READ_SOME)
		return true;
	hsm->unknown_sender = false;
	pthread_mutex_lock(&hsm->pool->lock);
	hsm->pid = pid;
	pthread_mutex_unlock(&hsm->pool->lock);
	return true;
}

static void receive(struct hsm *hsm)
{
	enum hsm_read read;

	if (!fill(hsm, &read))
		return;
	if (read == HSM_READ_CLOSED)
		lose(hsm, false, "the worker ended");
	else
		take_frames(hsm);
}

static void check_time(struct hsm *hsm)
{
	int64_t now = ch_monotonic_us();
	const char *hung;
	bool late;

	if (now - hsm->watched_at_us < WATCH_US)
		return;
	hsm->watched_at_us = now;
	pthread_mutex_lock(&hsm->pool->lock);
	hsm_expire(hsm->pool, now);
	hsm_watch(hsm, now);
	hung = hsm->fd >= 0 ? hsm_hung(hsm, now) : NULL;
	late = hsm->fd >= 0 && hsm->state != HSM_UP && now > hsm->open_deadline_us;
	if (hsm->state == HSM_UP && now - hsm->up_since_us > SETTLED_US)
		hsm->failures = 0;
	pthread_mutex_unlock(&hsm->pool->lock);
	if (late)
		lose(hsm, false, "it did not open its token in time");
	else if (hung)
		lose(hsm, false, hung);
	hsm_retire_if_drained(hsm, now);
}

/* What to poll and for how long. False: the pool is stopping. */
static bool prepare_poll(struct hsm *hsm, struct pollfd polled[2], int *timeout_ms, bool *start)
{
	int64_t now = ch_monotonic_us();
	bool running;

	pthread_mutex_lock(&hsm->pool->lock);
	running = !hsm->pool->stopping;
	*start = running && hsm->fd < 0 && !hsm->halted && !hsm->disabled && now >= hsm->restart_at_us;
	polled[0] = (struct pollfd){ .fd = hsm->wake_fd, .events = POLLIN };
	polled[1] = (struct pollfd){ .fd = hsm->fd, .events = POLLIN };
	if (hsm->out.used > hsm->out_sent)
		polled[1].events |= POLLOUT;
	*timeout_ms = hsm->in_flight || hsm->pool->waiting || hsm->state != HSM_UP || hsm->disabled ||
				      hsm->breaker.state != HSM_BREAKER_CLOSED
			      ? BUSY_TICK_MS
			      : IDLE_TICK_MS;
	if (hsm->halted || hsm->state == HSM_DISABLED)
		*timeout_ms = hsm->pool->waiting ? BUSY_TICK_MS : IDLE_TICK_MS;
	pthread_mutex_unlock(&hsm->pool->lock);
	return running;
}

static void clear_wake(struct hsm *hsm)
{
	uint64_t count;
	ssize_t ignored = read(hsm->wake_fd, &count, sizeof(count));

	(void)ignored;
}

static void send_rest(struct hsm *hsm)
{
	pthread_mutex_lock(&hsm->pool->lock);
	hsm_flush(hsm);
	pthread_mutex_unlock(&hsm->pool->lock);
}

void *hsm_serve(void *state)
{
	struct hsm *hsm = state;
	struct pollfd polled[2];
	struct ch_error err;
	int timeout_ms;
	char how[64];
	bool start;

	while (prepare_poll(hsm, polled, &timeout_ms, &start)) {
		if (start) {
			if (!start_worker(hsm, &err))
				lose(hsm, false, err.message);
			continue;
		}
		if (poll(polled, 2, timeout_ms) < 0 && errno != EINTR)
			continue;
		if (polled[0].revents)
			clear_wake(hsm);
		if (polled[1].revents & POLLOUT)
			send_rest(hsm);
		if (polled[1].revents & (POLLIN | POLLHUP | POLLERR))
			receive(hsm);
		check_time(hsm);
	}
	pthread_mutex_lock(&hsm->pool->lock);
	hsm_end_process(hsm, how);
	pthread_mutex_unlock(&hsm->pool->lock);
	hsm_await_end(hsm);
	return NULL;
}
