/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: the two halves of the sandbox. */
#ifndef CH_SANDBOX_INTERNAL_H
#define CH_SANDBOX_INTERNAL_H

#include "sandbox/sandbox.h"

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

/* landlock.c */
CH_MUST_USE bool ch_sandbox_limit_files(const struct ch_sandbox_rules *rules, struct ch_error *err);
/* syscalls.c */
CH_MUST_USE bool ch_sandbox_limit_syscalls(bool may_start_programs, struct ch_error *err);

#endif
