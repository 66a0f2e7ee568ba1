/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscalls.c: the system calls that remain. What is not listed fails with EPERM. The lists are what glibc's
 * threads, nng, libmicrohttpd, GnuTLS, OpenSSL, libpq and PKCS#11 modules use; files are Landlock's matter,
 * not this one's. What only a process with somebody else's code gets stands in foreign.c.
 */
#include "sandbox/internal.h"

#include "mem/mem.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>

static const int process_calls[] = {
	SCMP_SYS(arch_prctl),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(futex),
	SCMP_SYS(getcpu),
	SCMP_SYS(getegid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getgroups),
	SCMP_SYS(getpgrp),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(getrandom),
	SCMP_SYS(getresgid),
	SCMP_SYS(getresuid),
	SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(membarrier),
	SCMP_SYS(pause),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigpending),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigsuspend),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sched_get_priority_max),
	SCMP_SYS(sched_get_priority_min),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler),
	SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(signalfd4),
	SCMP_SYS(sysinfo),
	SCMP_SYS(times),
	SCMP_SYS(uname),
};

static const int memory_calls[] = {
	SCMP_SYS(brk),    SCMP_SYS(madvise),  SCMP_SYS(mincore), SCMP_SYS(mlock),
	SCMP_SYS(mlock2), SCMP_SYS(mlockall), SCMP_SYS(mmap),    SCMP_SYS(mprotect),
	SCMP_SYS(mremap), SCMP_SYS(msync),    SCMP_SYS(munlock), SCMP_SYS(munmap),
};

/* The adjtimex pair is for reading the clock's state: setting needs CAP_SYS_TIME, which no daemon has. */
static const int time_calls[] = {
	SCMP_SYS(adjtimex),        SCMP_SYS(clock_adjtime),
	SCMP_SYS(clock_getres),    SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(gettimeofday),
	SCMP_SYS(nanosleep),       SCMP_SYS(time),
	SCMP_SYS(timerfd_create),  SCMP_SYS(timerfd_gettime),
	SCMP_SYS(timerfd_settime),
};

static const int file_calls[] = {
	SCMP_SYS(access),     SCMP_SYS(close),      SCMP_SYS(close_range), SCMP_SYS(copy_file_range),
	SCMP_SYS(dup),        SCMP_SYS(dup2),       SCMP_SYS(dup3),        SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(fadvise64),  SCMP_SYS(fallocate),   SCMP_SYS(fchmod),
	SCMP_SYS(fcntl),      SCMP_SYS(fdatasync),  SCMP_SYS(flock),       SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),    SCMP_SYS(fsync),      SCMP_SYS(ftruncate),   SCMP_SYS(getcwd),
	SCMP_SYS(getdents),   SCMP_SYS(getdents64), SCMP_SYS(link),        SCMP_SYS(linkat),
	SCMP_SYS(lseek),      SCMP_SYS(lstat),      SCMP_SYS(mkdir),       SCMP_SYS(mkdirat),
	SCMP_SYS(newfstatat), SCMP_SYS(open),       SCMP_SYS(openat),      SCMP_SYS(pipe),
	SCMP_SYS(pipe2),      SCMP_SYS(pread64),    SCMP_SYS(preadv),      SCMP_SYS(preadv2),
	SCMP_SYS(pwrite64),   SCMP_SYS(pwritev),    SCMP_SYS(pwritev2),    SCMP_SYS(read),
	SCMP_SYS(readlink),   SCMP_SYS(readlinkat), SCMP_SYS(readv),       SCMP_SYS(rename),
	SCMP_SYS(renameat),   SCMP_SYS(renameat2),  SCMP_SYS(rmdir),       SCMP_SYS(sendfile),
	SCMP_SYS(stat),       SCMP_SYS(statfs),     SCMP_SYS(statx),       SCMP_SYS(sync_file_range),
	SCMP_SYS(truncate),   SCMP_SYS(umask),      SCMP_SYS(unlink),      SCMP_SYS(unlinkat),
	SCMP_SYS(write),      SCMP_SYS(writev),
};

/* Of descriptors that are there already. */
static const int channel_calls[] = {
	SCMP_SYS(epoll_create), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_wait),    SCMP_SYS(eventfd),   SCMP_SYS(eventfd2),
	SCMP_SYS(getpeername),  SCMP_SYS(getsockname),   SCMP_SYS(poll),      SCMP_SYS(ppoll),
	SCMP_SYS(getsockopt),   SCMP_SYS(pselect6),      SCMP_SYS(recvfrom),  SCMP_SYS(recvmmsg),
	SCMP_SYS(recvmsg),      SCMP_SYS(select),        SCMP_SYS(shutdown),
};

/* What only our own code may do: reach other processes, change modes, listen. */
static const int daemon_calls[] = {
	SCMP_SYS(kill),
	SCMP_SYS(prctl),
	SCMP_SYS(prlimit64),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(tgkill),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(utimensat),
	SCMP_SYS(ioctl),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(bind),
	SCMP_SYS(connect),
	SCMP_SYS(listen),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(setsockopt),
	SCMP_SYS(socketpair),
};

static const int program_calls[] = { SCMP_SYS(clone), SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork),
				     SCMP_SYS(vfork), SCMP_SYS(setsid), SCMP_SYS(setpgid), SCMP_SYS(chdir),
				     /* What is started inherits this filter and gives up more by itself. */
				     SCMP_SYS(seccomp), SCMP_SYS(capget), SCMP_SYS(capset),
				     SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule),
				     SCMP_SYS(landlock_restrict_self) };
static const int leak_check_calls[] = { SCMP_SYS(clone), SCMP_SYS(ptrace) };

/* Netlink is how getaddrinfo and getifaddrs learn of interfaces. */
static const int socket_families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };

bool ch_sandbox_allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) != 0)
			return false;
	return true;
}

static bool allow_sockets(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < CH_COUNT(socket_families); i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)socket_families[i], 0)) != 0)
			return false;
	return true;
}

/* clone3 passes its flags in memory, where a filter cannot look: glibc falls back to clone when it does not
 * exist. */
static bool allow_threads(scmp_filter_ctx filter, bool may_start_programs)
{
	if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) != 0)
		return false;
	if (CH_SANDBOX_LEAK_CHECK && !ch_sandbox_allow(filter, leak_check_calls, CH_COUNT(leak_check_calls)))
		return false;
	if (may_start_programs)
		return ch_sandbox_allow(filter, program_calls, CH_COUNT(program_calls));
	if (CH_SANDBOX_LEAK_CHECK)
		return true;
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) == 0;
}

static bool fill(scmp_filter_ctx filter, const struct ch_sandbox_rules *rules)
{
	return seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
	       /* A tree instead of a list: this is paid at each system call. */
	       seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
	       ch_sandbox_allow(filter, process_calls, CH_COUNT(process_calls)) &&
	       ch_sandbox_allow(filter, memory_calls, CH_COUNT(memory_calls)) &&
	       ch_sandbox_allow(filter, time_calls, CH_COUNT(time_calls)) &&
	       ch_sandbox_allow(filter, file_calls, CH_COUNT(file_calls)) &&
	       ch_sandbox_allow(filter, channel_calls, CH_COUNT(channel_calls)) &&
	       allow_threads(filter, rules->may_start_programs) &&
	       (rules->foreign ? ch_sandbox_allow_foreign(filter, rules->foreign)
			       : ch_sandbox_allow(filter, daemon_calls, CH_COUNT(daemon_calls)) &&
					 allow_sockets(filter));
}

bool ch_sandbox_limit_syscalls(const struct ch_sandbox_rules *rules, struct ch_error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int result;

	if (!filter || !fill(filter, rules)) {
		seccomp_release(filter);
		return ch_fail(err, CH_INTERNAL, "sandbox: the system call filter cannot be built");
	}
	result = seccomp_load(filter);
	seccomp_release(filter);
	if (result != 0)
		return ch_fail_errno(err, CH_INTERNAL, -result,
				     "sandbox: the system call filter is not taken");
	return true;
}
