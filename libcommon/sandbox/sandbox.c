/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.c: the steps in their order. Called by ch_daemon_enter_sandbox and by the vault's HSM workers. */
#include "sandbox/internal.h"

#include <errno.h>
#include <sys/prctl.h>

bool ch_sandbox_enter(const struct ch_sandbox_rules *rules, struct ch_error *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: no_new_privs");
	if (!CH_SANDBOX_LEAK_CHECK && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "sandbox: PR_SET_DUMPABLE");
	/* Files first: making the rules needs system calls that the filter then forbids. */
	return ch_sandbox_limit_files(rules, err) &&
	       ch_sandbox_limit_syscalls(rules->may_start_programs, err);
}
