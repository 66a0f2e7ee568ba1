/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign.c: the system calls of a process that runs somebody else's code, besides those that everybody has:
 * nothing that reaches another process, no socket but the kinds that the rules name, nothing that gets around
 * Landlock (modes and times of files are not its matter, TCP Fast Open and MPTCP are not seen by it).
 */
#include "sandbox/internal.h"

#include "mem/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALLOW(filter, call, ...) \
	(seccomp_rule_add((filter), SCMP_ACT_ALLOW, SCMP_SYS(call), __VA_ARGS__) == 0)
#define SOCKET_TYPE_BITS 0xfu /* the rest of the argument are SOCK_NONBLOCK and SOCK_CLOEXEC */

/* The second Landlock layer; both calls can only take away. */
static const int narrowing_calls[] = { SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule),
				       SCMP_SYS(landlock_restrict_self) };

static const int connecting_calls[] = { SCMP_SYS(connect), SCMP_SYS(setsockopt) };

/* Where a library forks a process in C_Initialize it is refused; abort and pthread_kill reach this process
 * alone. */
static bool allow_own_process(scmp_filter_ctx filter)
{
	scmp_datum_t self = (scmp_datum_t)getpid();

	return ALLOW(filter, kill, 1, SCMP_A0(SCMP_CMP_EQ, self, 0)) &&
	       ALLOW(filter, tgkill, 1, SCMP_A0(SCMP_CMP_EQ, self, 0)) &&
	       ALLOW(filter, prlimit64, 1, SCMP_A0(SCMP_CMP_EQ, 0, 0)) &&
	       ALLOW(filter, prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0)) &&
	       ALLOW(filter, prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_GET_NAME, 0)) &&
	       ALLOW(filter, prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_GET_DUMPABLE, 0)) &&
	       ALLOW(filter, prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_GET_NO_NEW_PRIVS, 0)) &&
	       ALLOW(filter, ioctl, 1, SCMP_A1(SCMP_CMP_NE, TIOCSTI, 0)) && /* typing for a person */
	       ALLOW(filter, utimensat, 1, SCMP_A1(SCMP_CMP_EQ, 0, 0));     /* of an open file */
}

/* What is sent goes where the socket was connected to. */
static bool allow_sending(scmp_filter_ctx filter)
{
	return ALLOW(filter, sendto, 1, SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0)) &&
	       ALLOW(filter, sendmsg, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0)) &&
	       ALLOW(filter, sendmmsg, 1, SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
}

static bool allow_socket(scmp_filter_ctx filter, int family, int type, int protocol)
{
	return ALLOW(filter, socket, 3, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family, 0),
		     SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_BITS, (scmp_datum_t)type),
		     SCMP_A2(SCMP_CMP_EQ, (scmp_datum_t)protocol, 0));
}

static bool allow_network(scmp_filter_ctx filter)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < CH_COUNT(families); i++)
		if (!allow_socket(filter, families[i], SOCK_STREAM, 0) ||
		    !allow_socket(filter, families[i], SOCK_STREAM, IPPROTO_TCP) ||
		    !allow_socket(filter, families[i], SOCK_DGRAM, 0) ||
		    !allow_socket(filter, families[i], SOCK_DGRAM, IPPROTO_UDP))
			return false;
	/* How getaddrinfo learns of interfaces: it binds this socket to itself. */
	return allow_socket(filter, AF_NETLINK, SOCK_RAW, 0) && ALLOW(filter, bind, 0);
}

bool ch_sandbox_allow_foreign(scmp_filter_ctx filter, const struct ch_sandbox_foreign *foreign)
{
	if (!allow_own_process(filter) || !allow_sending(filter) ||
	    !ch_sandbox_allow(filter, narrowing_calls, CH_COUNT(narrowing_calls)))
		return false;
	if (!foreign->network && !foreign->unix_sockets)
		return true;
	return ch_sandbox_allow(filter, connecting_calls, CH_COUNT(connecting_calls)) &&
	       (!foreign->network || allow_network(filter)) &&
	       (!foreign->unix_sockets || (allow_socket(filter, AF_UNIX, SOCK_STREAM, 0) &&
					   allow_socket(filter, AF_UNIX, SOCK_SEQPACKET, 0)));
}
