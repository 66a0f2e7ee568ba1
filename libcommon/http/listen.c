/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c: opens the listening socket. Called by ch_http_start. */
#include "http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 1024

/* "127.0.0.1:80", "[::1]:80", ":80" (every address) -> host and port, taken apart in `copy`. */
static bool split(char *copy, const char **host, const char **port)
{
	char *colon = strrchr(copy, ':');

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return false;
	*colon = 0;
	*port = colon + 1;
	*host = *copy ? copy : NULL;
	if (*copy == '[') {
		if (colon[-1] != ']')
			return false;
		colon[-1] = 0;
		*host = copy + 1;
	}
	return true;
}

static bool describe(int fd, char text[80], struct ch_error *err)
{
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);
	char host[64];
	char port[8];

	if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
	    getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return ch_fail(err, CH_INTERNAL, "cannot tell the listening socket's address");
	snprintf(text, 80, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return true;
}

static bool bind_to(int fd, const struct addrinfo *info)
{
	int one = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	       bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
}

bool http_listen(const char *address, int *fd, char text[80], struct ch_error *err)
{
	CH_AUTO(ch_string) copy = ch_strdup(address ? address : "");
	CH_AUTO(ch_fd) made = -1;
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *info;
	const char *host;
	const char *port;
	int number;
	bool bound;

	if (!split(copy, &host, &port))
		return ch_fail(err, CH_INVALID, "listen address '%s' is not host:port",
			       address ? address : "");
	number = getaddrinfo(host, port, &hints, &info);
	if (number)
		return ch_fail(err, CH_INVALID, "listen address '%s': %s", address, gai_strerror(number));
	made = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bound = made >= 0 && bind_to(made, info);
	number = errno;
	freeaddrinfo(info);
	if (!bound)
		return ch_fail_errno(err, CH_UNAVAILABLE, number, "cannot listen on '%s'", address);
	if (!describe(made, text, err))
		return false;
	*fd = made;
	made = -1;
	return true;
}
