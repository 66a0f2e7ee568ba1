/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: the parts of the sandbox: files (landlock.c, paths.c) and system calls (syscalls.c, foreign.c).
 */
#ifndef CH_SANDBOX_INTERNAL_H
#define CH_SANDBOX_INTERNAL_H

#include "sandbox/sandbox.h"

#include <seccomp.h>

/*
 * Is this a build with AddressSanitizer? Its leak check at exit stops all threads from a cloned process by
 * ptrace, so such a build keeps both, and stays dumpable. Builds that people run have none of it.
 */
#if defined(__SANITIZE_ADDRESS__)
#define CH_SANDBOX_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CH_SANDBOX_LEAK_CHECK 1
#endif
#endif
#ifndef CH_SANDBOX_LEAK_CHECK
#define CH_SANDBOX_LEAK_CHECK 0
#endif

/* Of somebody else's code: whether its libraries are still to be loaded. */
enum ch_sandbox_stage { CH_SANDBOX_LOADING, CH_SANDBOX_LOADED };

struct ch_sandbox_list {
	const struct ch_sandbox_path *paths; /* those that do not exist are left out */
	size_t count;
};

/* landlock.c */
CH_MUST_USE bool ch_sandbox_limit_files(const struct ch_sandbox_rules *rules, enum ch_sandbox_stage stage,
					struct ch_error *err);
/* paths.c: what is readable besides the rules' own paths. Gives how many lists were filled, at most 4. */
#define CH_SANDBOX_LISTS 4
size_t ch_sandbox_lists(const struct ch_sandbox_rules *rules, enum ch_sandbox_stage stage,
			struct ch_sandbox_list lists[CH_SANDBOX_LISTS]);
/* syscalls.c */
CH_MUST_USE bool ch_sandbox_limit_syscalls(const struct ch_sandbox_rules *rules, struct ch_error *err);
CH_MUST_USE bool ch_sandbox_allow(scmp_filter_ctx filter, const int *calls, size_t count);
/* foreign.c: what is allowed beside the calls that everybody has. */
CH_MUST_USE bool ch_sandbox_allow_foreign(scmp_filter_ctx filter, const struct ch_sandbox_foreign *foreign);

#endif
