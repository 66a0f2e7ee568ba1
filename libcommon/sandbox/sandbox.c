/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.c: the steps in their order. Called by ch_daemon_enter_sandbox and by the vault's HSM workers. */
#include "sandbox/internal.h"

#include "mem/mem.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where root starts it (a container): somebody else's code gets nothing of root's but its files. Locked
 * memory stays, which was locked before. */
static bool drop_capabilities(struct ch_error *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = CH_NONE, now[2] = CH_NONE;

	if (syscall(SYS_capget, &header, now) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: capget");
	data[0].effective = data[0].permitted = now[0].permitted & (1u << CAP_IPC_LOCK);
	return syscall(SYS_capset, &header, data) == 0 ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: capset");
}

bool ch_sandbox_enter(const struct ch_sandbox_rules *rules, struct ch_error *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: no_new_privs");
	if (!CH_SANDBOX_LEAK_CHECK && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: PR_SET_DUMPABLE");
	if (rules->foreign && !drop_capabilities(err))
		return false;
	/* Files first: making the rules needs system calls that the filter then forbids. */
	return ch_sandbox_limit_files(rules, CH_SANDBOX_LOADING, err) &&
	       ch_sandbox_limit_syscalls(rules, err);
}

bool ch_sandbox_narrow(const struct ch_sandbox_rules *rules, struct ch_error *err)
{
	return ch_sandbox_limit_files(rules, CH_SANDBOX_LOADED, err);
}
