/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h: gives up what a daemon no longer needs, after it has opened what it does. No new privileges, not
 * dumpable, Landlock for the file system, seccomp for system calls. Applies to the whole process and to what
 * it starts.
 */
#ifndef CH_SANDBOX_H
#define CH_SANDBOX_H

#include "err/err.h"

#include <stddef.h>

enum ch_sandbox_access {
	CH_SANDBOX_READ = 1,  /* a file, or everything below a directory */
	CH_SANDBOX_WRITE = 2, /* also create, rename, remove below a directory */
	CH_SANDBOX_EXECUTE = 4,
};

struct ch_sandbox_path {
	const char *path; /* must exist */
	unsigned access;
};

struct ch_sandbox_rules {
	const struct ch_sandbox_path *paths; /* besides what every daemon needs (resolver files, time zone,
						/dev/urandom, /proc/self) */
	size_t path_count;
	bool may_start_programs; /* fork and exec (the vault's workers) */
};

/*
 * Must be called before threads that need it are many: it applies to all threads (seccomp TSYNC), Landlock to
 * the calling thread and those it starts later, so call it before starting threads that touch files. Where
 * the kernel has no Landlock, logs one warning and goes on with the rest; CH_INTERNAL where a step that
 * exists fails.
 */
CH_MUST_USE bool ch_sandbox_enter(const struct ch_sandbox_rules *rules, struct ch_error *err);

#endif
