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
#include <stdint.h>

enum ch_sandbox_access {
	CH_SANDBOX_READ = 1,  /* a file, or everything below a directory */
	CH_SANDBOX_WRITE = 2, /* also create, rename, remove below a directory */
	CH_SANDBOX_EXECUTE = 4,
};

struct ch_sandbox_path {
	const char *path; /* must exist */
	unsigned access;
};

/* What somebody else's code may reach that runs in this process: an HSM vendor's library. */
struct ch_sandbox_foreign {
	bool network;              /* IP sockets, to connect with; never to listen */
	const uint16_t *tcp_ports; /* the only ones that it may connect to, where the kernel's Landlock can
				      (ABI 4); none: all */
	size_t tcp_port_count;
	bool unix_sockets; /* to connect to a daemon of this machine */
};

struct ch_sandbox_rules {
	const struct ch_sandbox_path *paths; /* besides what every daemon needs (resolver files, time zone,
						/dev/urandom, /proc/self) */
	size_t path_count;
	bool may_start_programs; /* fork and exec (the vault's workers) */
	/* NULL: only our own code runs here. Else capabilities are dropped, fewer files are readable, no
	 * other process can be reached (signals, ptrace, limits, abstract sockets), no mode of a file
	 * changed, no socket made but those said */
	const struct ch_sandbox_foreign *foreign;
};

/*
 * Must be called before threads that need it are many: it applies to all threads (seccomp TSYNC), Landlock to
 * the calling thread and those it starts later, so call it before starting threads that touch files. Where
 * the kernel has no Landlock, logs one warning and goes on with the rest; CH_INTERNAL where a step that
 * exists fails.
 */
CH_MUST_USE bool ch_sandbox_enter(const struct ch_sandbox_rules *rules, struct ch_error *err);

/*
 * A second Landlock layer over that of ch_sandbox_enter with `foreign`, once its library is loaded and
 * initialised: what only that needed is closed (accounts, /proc, the library's own configuration). Holds for
 * the calling thread and those it starts later; a thread that the library has started keeps the first layer,
 * which is why the first is the one that keeps secrets.
 */
CH_MUST_USE bool ch_sandbox_narrow(const struct ch_sandbox_rules *rules, struct ch_error *err);

#endif
