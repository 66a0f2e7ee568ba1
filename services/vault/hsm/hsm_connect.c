/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_connect.c: connects to an HSM's listener (listener.c), makes sure whose worker answers, and ends it.
 * Who bound the path says nothing here: with a service manager that is root. What counts is who sends.
 */
#include "hsm_connect.h"

#include "hsm_user.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool hsm_connect(const struct hsm_config *config, int *fd, struct ch_error *err)
{
	CH_AUTO(ch_fd) made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int on = 1;

	if (strlen(config->listener) >= sizeof(address.sun_path))
		return ch_fail(err, CH_INVALID, "listener '%s' is too long for a Unix socket",
			       config->listener);
	memcpy(address.sun_path, config->listener, strlen(config->listener) + 1);
	/* Before it is connected: the worker may be quick. */
	if (made < 0 || setsockopt(made, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "socket");
	if (connect(made, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return ch_fail_errno(err, CH_UNAVAILABLE, errno, "its listener '%s'", config->listener);
	*fd = made;
	made = -1;
	return true;
}

bool hsm_connect_first(const struct hsm_config *config, int fd, struct hsm_reader *reader,
		       enum hsm_read *read, pid_t *pid, struct ch_error *err)
{
	const int off = 0;
	struct ucred sender = CH_NONE;
	struct hsm_user user;

	*read = hsm_reader_fill_from(reader, fd, &sender);
	if (*read != HSM_READ_SOME)
		return true;
	if (!hsm_user_find(config->user, &user, err))
		return false;
	if (sender.uid != user.uid)
		return ch_fail(err, CH_DENIED,
			       "at its listener '%s' answers a process of user %u, not of its user %u (%s)",
			       config->listener, sender.uid, user.uid, config->user);
	*pid = sender.pid;
	return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off)) == 0 ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "SO_PASSCRED");
}

void hsm_connect_end(int fd)
{
	shutdown(fd, SHUT_WR);
}

/* The listener keeps its descriptor until it has reaped the worker: the end of the stream is the worker's. */
bool hsm_connect_wait_end(int fd, int64_t timeout_us)
{
	int64_t until_us = ch_monotonic_us() + timeout_us, left_us;
	char lost[4096]; /* replies that come too late */
	ssize_t got = 1;

	while (got != 0 && (left_us = until_us - ch_monotonic_us()) > 0) {
		struct pollfd polled = { .fd = fd, .events = POLLIN };

		if (poll(&polled, 1, (int)(left_us / CH_MILLISECOND) + 1) <= 0)
			continue;
		got = recv(fd, lost, sizeof(lost), MSG_DONTWAIT);
		if (got < 0 && errno == ECONNRESET)
			got = 0;
	}
	close(fd);
	return got == 0;
}
