/* SPDX-License-Identifier: Apache-2.0 */
/* listener_socket.c: where an HSM's listener listens, and whom it serves. setup/listen.c and listener.c call
 * it. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define BACKLOG   LISTENER_CONNECTIONS_MAX
#define NOT_OTHER 0117 /* umask for mode 0660: the directory's group is the vault's */

/* systemd's protocol: sd_listen_fds(3). */
static bool take_given(const struct hsm_config *hsm, int count, int *fd, struct ch_error *err)
{
	if (count != 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, hsm->listener, 0) <= 0)
		return ch_fail(
			err, CH_INVALID,
			"the service manager gave %d descriptors, not just the socket '%s' that HSM '%s' "
			"has as listener",
			count, hsm->listener, hsm->name);
	*fd = SD_LISTEN_FDS_START;
	return true;
}

/* One that nobody listens on any more is left from a listener that was killed. */
static bool remove_stale(int fd, const struct sockaddr_un *address, struct ch_error *err)
{
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return ch_fail(err, CH_CONFLICT, "somebody listens at '%s' already", address->sun_path);
	return errno != ECONNREFUSED || unlink(address->sun_path) == 0 ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "cannot remove '%s'", address->sun_path);
}

static bool make(const struct hsm_config *hsm, int *made, struct ch_error *err)
{
	CH_AUTO(ch_fd) probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CH_AUTO(ch_fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t before;
	int failed;

	if (strlen(hsm->listener) >= sizeof(address.sun_path))
		return ch_fail(err, CH_INVALID, "listener '%s' is too long for a Unix socket", hsm->listener);
	memcpy(address.sun_path, hsm->listener, strlen(hsm->listener) + 1);
	if (fd < 0 || probe < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "socket");
	if (!remove_stale(probe, &address, err))
		return false;
	before = umask(NOT_OTHER);
	failed = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
	umask(before);
	if (failed || listen(fd, BACKLOG) != 0)
		return ch_fail_errno(err, CH_INTERNAL, failed ? failed : errno, "cannot listen at '%s'",
				     hsm->listener);
	*made = fd;
	fd = -1;
	return true;
}

bool listener_open(const struct hsm_config *hsm, int *fd, struct ch_error *err)
{
	int given = sd_listen_fds(1);

	if (!(given > 0 ? take_given(hsm, given, fd, err) : make(hsm, fd, err)))
		return false;
	return fcntl(*fd, F_SETFL, O_NONBLOCK) == 0 || ch_fail_errno(err, CH_INTERNAL, errno, "fcntl");
}

bool listener_check_peer(int fd, uid_t vault, struct ch_error *err)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "SO_PEERCRED");
	return peer.uid == vault ||
	       ch_fail(err, CH_DENIED, "process %d of user %u is not the vault's, which is user %u", peer.pid,
		       peer.uid, vault);
}
