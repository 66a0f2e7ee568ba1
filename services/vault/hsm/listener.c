/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener.c: one loop over the socket, the signals and the connections: a worker for each vault that
 * connects, killed when that hangs up, also where it hangs. A connection stays open here until its worker
 * has been reaped, so that the vault sees the end of the stream only when the worker is gone. One thread.
 */
#include "listener.h"

#include "hsm_channel.h"
#include "hsm_spawn.h"
#include "log/log.h"
#include "worker_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOLD_EACH_US CH_MINUTE /* refusals are told so often at the most, with their number */

struct connection {
	int fd;
	pid_t pid;
	bool killed; /* the vault hung up, or the listener ends */
};

struct listener {
	const struct listener_options *options;
	int fd;      /* the socket; -1: it takes no more */
	int signals; /* signalfd */
	size_t count;
	struct connection connections[LISTENER_CONNECTIONS_MAX];
	uint64_t refused; /* since it was told last */
	int64_t told_us;
};

static void listener_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGCHLD);
}

void listener_block_signals(void)
{
	sigset_t set;

	listener_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* --- a connection --- */

static void refuse(struct listener *listener, const char *why)
{
	int64_t now = ch_monotonic_us();

	listener->refused++;
	if (listener->told_us && now - listener->told_us < TOLD_EACH_US)
		return;
	ch_log_warn("HSM '%s': refused a connection: %s (%llu since this was told last)",
		    listener->options->hsm->name, why, (unsigned long long)listener->refused);
	listener->refused = 0;
	listener->told_us = now;
}

/* Where no worker looks for its descriptors. -1: there is none. */
static int move_up(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, HSM_OPEN_FD + 1);

	close(fd);
	return moved;
}

/* What the worker opens, before it is there to read it: it fits into the socket. */
static bool say_open(const struct listener_options *options, int fd, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	CH_AUTO(ch_buffer) out = CH_NONE;
	uint32_t ports[HSM_PORTS_MAX];
	Chancery__HsmOpen open;

	hsm_open_of(options->hsm, ports, &open);
	open.sandbox = options->sandbox;
	request.open = &open;
	hsm_frame_append(&out, &request.base);
	return send(fd, out.data, out.used, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)out.used ||
	       ch_fail(err, CH_TOO_LARGE, "its configuration is too large: %zu octets", out.used);
}

static bool start_worker(struct listener *listener, int fd, struct ch_error *err)
{
	const struct listener_options *options = listener->options;
	CH_AUTO(ch_fd) ours = -1;
	CH_AUTO(ch_fd) theirs = -1;
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "socketpair");
	ours = ends[0];
	theirs = move_up(ends[1]);
	const struct hsm_spawn spawn = {
		.program = options->program, .config = options->hsm, .fd = fd, .open_fd = theirs
	};
	if (theirs < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "fcntl");
	if (!say_open(options, ours, err) || !hsm_spawn_worker(&spawn, &pid, err))
		return false;
	listener->connections[listener->count++] = (struct connection){ fd, pid, false };
	ch_log_info("HSM '%s': worker %d serves a vault", options->hsm->name, pid);
	return true;
}

static void take_connection(struct listener *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
	struct ch_error err;

	if (fd < 0 || (fd = move_up(fd)) < 0)
		return; /* it went away, or descriptors are short: it is tried again */
	if (!listener_check_peer(fd, listener->options->vault, &err)) {
		refuse(listener, err.message);
	} else if (listener->count == LISTENER_CONNECTIONS_MAX) {
		refuse(listener, "as many as may be are served already");
	} else if (start_worker(listener, fd, &err)) {
		return;
	} else {
		ch_log_error("HSM '%s': no worker: %s", listener->options->hsm->name, err.message);
	}
	close(fd);
}

/* Its own threads may hang in the vendor's library, or the process be stopped. */
static void kill_worker(struct connection *connection)
{
	connection->killed = true;
	kill(connection->pid, SIGKILL);
}

static void forget(struct listener *listener, pid_t pid, int status)
{
	char how[64];

	for (size_t i = 0; i < listener->count; i++) {
		struct connection *connection = &listener->connections[i];

		if (connection->pid != pid)
			continue;
		hsm_how_ended(status, how);
		if (!connection->killed)
			ch_log_warn("HSM '%s': worker %d ended%s", listener->options->hsm->name, pid, how);
		close(connection->fd);
		*connection = listener->connections[--listener->count];
		return;
	}
}

static void reap(struct listener *listener)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		forget(listener, pid, status);
}

/* --- the loop --- */

/* False: it shall end. */
static bool take_signals(struct listener *listener)
{
	struct signalfd_siginfo told;
	bool goes_on = true;

	while (read(listener->signals, &told, sizeof(told)) == (ssize_t)sizeof(told))
		if (told.ssi_signo != SIGCHLD)
			goes_on = false;
	reap(listener);
	return goes_on;
}

/* Waits for something of it, and does it. False: it shall end. */
static bool serve_once(struct listener *listener)
{
	struct pollfd polled[LISTENER_CONNECTIONS_MAX + 2];
	size_t count = listener->count;

	polled[0] = (struct pollfd){ .fd = listener->signals, .events = POLLIN };
	polled[1] = (struct pollfd){ .fd = listener->fd, .events = POLLIN };
	for (size_t i = 0; i < count; i++)
		polled[i + 2] =
			(struct pollfd){ .fd = listener->connections[i].killed ? -1
									       : listener->connections[i].fd,
					 .events = POLLRDHUP };
	if (poll(polled, count + 2, -1) < 0)
		return true;
	for (size_t i = 0; i < count; i++)
		if (polled[i + 2].revents)
			kill_worker(&listener->connections[i]);
	if (polled[1].revents)
		take_connection(listener);
	return !polled[0].revents || take_signals(listener);
}

static void end_all(struct listener *listener)
{
	for (size_t i = 0; i < listener->count; i++)
		kill_worker(&listener->connections[i]);
	while (listener->count) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid > 0)
			forget(listener, pid, status);
		else if (errno != EINTR)
			break;
	}
}

bool listener_serve(const struct listener_options *options, int fd, struct ch_error *err)
{
	struct listener listener = { .options = options, .fd = fd };
	sigset_t set;

	listener_signals(&set);
	listener.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (listener.signals < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "signalfd");
	while (serve_once(&listener))
		;
	end_all(&listener);
	close(listener.signals);
	return true;
}
