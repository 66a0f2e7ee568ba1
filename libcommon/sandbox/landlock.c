/* SPDX-License-Identifier: Apache-2.0 */
/* landlock.c: which files, TCP ports and processes may be touched. The kernel's ABI is asked for, so that an
 * older one limits what it can. */
#include "sandbox/internal.h"

#include "log/log.h"
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's header. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

#define READ_FILE  (LANDLOCK_ACCESS_FS_READ_FILE)
#define READ       (READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_FILE (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define WRITE                                                                                       \
	(WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |              \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)
#define EVERYTHING                                                                  \
	(READ | WRITE | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_IOCTL_DEV)

/* Newer than Debian 12's header: kernels that do not know the last members take them while they are 0. */
struct ruleset {
	uint64_t files, network, scopes;
};
struct port_rule {
	uint64_t allowed_access, port;
};
#define RULE_NET_PORT          2
#define BIND_TCP               (1ULL << 0)
#define CONNECT_TCP            (1ULL << 1)
#define SCOPE_ABSTRACT_SOCKETS (1ULL << 0)
#define SCOPE_SIGNALS          (1ULL << 1)

static uint64_t handled_by_abi(long abi)
{
	uint64_t handled = EVERYTHING;

	if (abi < 2)
		handled &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
	if (abi < 3)
		handled &= ~LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi < 5)
		handled &= ~LANDLOCK_ACCESS_FS_IOCTL_DEV;
	return handled;
}

static uint64_t rights_of(unsigned access, bool directory)
{
	uint64_t rights = 0;

	if (access & CH_SANDBOX_READ)
		rights |= directory ? READ : READ_FILE;
	if (access & CH_SANDBOX_WRITE)
		rights |= directory ? WRITE | READ : WRITE_FILE;
	if (access & CH_SANDBOX_EXECUTE)
		rights |= LANDLOCK_ACCESS_FS_EXECUTE;
	return rights;
}

static bool add_path(int ruleset, uint64_t handled, const struct ch_sandbox_path *path, bool must_exist,
		     struct ch_error *err)
{
	CH_AUTO(ch_fd) fd = open(path->path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = CH_NONE;
	struct stat info;

	if (fd < 0 && !must_exist)
		return true;
	if (fd < 0 || fstat(fd, &info) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: path '%s'", path->path);
	rule.allowed_access = handled & rights_of(path->access, S_ISDIR(info.st_mode));
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: rule for '%s'", path->path);
	return true;
}

static bool add_paths(int ruleset, uint64_t handled, const struct ch_sandbox_path *paths, size_t count,
		      bool must_exist, struct ch_error *err)
{
	for (size_t i = 0; i < count; i++)
		if (!add_path(ruleset, handled, &paths[i], must_exist, err))
			return false;
	return true;
}

static bool add_lists(int ruleset, uint64_t handled, const struct ch_sandbox_rules *rules,
		      enum ch_sandbox_stage stage, struct ch_error *err)
{
	struct ch_sandbox_list lists[CH_SANDBOX_LISTS];
	size_t count = ch_sandbox_lists(rules, stage, lists);

	for (size_t i = 0; i < count; i++)
		if (!add_paths(ruleset, handled, lists[i].paths, lists[i].count, false, err))
			return false;
	return add_paths(ruleset, handled, rules->paths, rules->path_count, true, err);
}

static bool add_ports(int ruleset, const struct ch_sandbox_foreign *foreign, struct ch_error *err)
{
	for (size_t i = 0; i < foreign->tcp_port_count; i++) {
		const struct port_rule rule = { CONNECT_TCP, foreign->tcp_ports[i] };

		if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) != 0)
			return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: rule for TCP port %u",
					     foreign->tcp_ports[i]);
	}
	return true;
}

/* Without IP sockets there is nothing to limit; without a list of ports all may be connected to. */
static uint64_t network_by_abi(long abi, const struct ch_sandbox_foreign *foreign)
{
	if (abi < 4 || !foreign)
		return 0;
	return foreign->network && !foreign->tcp_port_count ? BIND_TCP : BIND_TCP | CONNECT_TCP;
}

bool ch_sandbox_limit_files(const struct ch_sandbox_rules *rules, enum ch_sandbox_stage stage,
			    struct ch_error *err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	const struct ch_sandbox_foreign *foreign = rules->foreign;
	struct ruleset attributes = CH_NONE;
	CH_AUTO(ch_fd) ruleset = -1;

	if (abi < 1) {
		ch_log_warn("the kernel has no Landlock: files are limited by their owners and modes alone");
		return true;
	}
	if (abi < 4 && foreign && foreign->tcp_port_count)
		ch_log_warn("the kernel's Landlock (ABI %ld) cannot limit TCP ports", abi);
	attributes.files = handled_by_abi(abi);
	attributes.network = network_by_abi(abi, foreign);
	attributes.scopes = foreign && abi >= 6 ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
	if (ruleset < 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: Landlock ruleset");
	if (!add_lists(ruleset, attributes.files, rules, stage, err) ||
	    (attributes.network && foreign->network && !add_ports(ruleset, foreign, err)))
		return false;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: Landlock");
	return true;
}
