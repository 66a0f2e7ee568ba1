/* SPDX-License-Identifier: Apache-2.0 */
/* paths.c: what is readable in a sandbox besides the paths that its rules name. landlock.c calls it. */
#include "sandbox/internal.h"

#include "mem/mem.h"

/* What libc, OpenSSL, libpq and the sanitizers' reports read. */
static const struct ch_sandbox_path daemon_paths[] = {
	{ "/etc", CH_SANDBOX_READ },
	{ "/usr/share/zoneinfo", CH_SANDBOX_READ },
	{ "/usr/lib", CH_SANDBOX_READ },
	{ "/usr/share/p11-kit", CH_SANDBOX_READ },
	{ "/lib", CH_SANDBOX_READ },
	{ "/lib64", CH_SANDBOX_READ },
	{ "/dev/null", CH_SANDBOX_READ | CH_SANDBOX_WRITE },
	{ "/dev/urandom", CH_SANDBOX_READ },
	{ "/dev/random", CH_SANDBOX_READ },
	{ "/proc", CH_SANDBOX_READ },
	{ "/proc/self/exe", CH_SANDBOX_READ },
	{ "/sys/devices/system/cpu", CH_SANDBOX_READ },
};

/* Programs that a daemon starts need themselves and the dynamic loader. */
static const struct ch_sandbox_path program_paths[] = {
	{ "/proc/self/exe", CH_SANDBOX_READ | CH_SANDBOX_EXECUTE },
	{ "/usr/lib", CH_SANDBOX_READ | CH_SANDBOX_EXECUTE },
	{ "/lib", CH_SANDBOX_READ | CH_SANDBOX_EXECUTE },
	{ "/lib64", CH_SANDBOX_READ | CH_SANDBOX_EXECUTE },
};

/* Of somebody else's code, for as long as it runs: libraries may load others late. Of /etc no directory:
 * identities lie below it. */
static const struct ch_sandbox_path foreign_paths[] = {
	{ "/etc/ld.so.cache", CH_SANDBOX_READ },
	{ "/etc/localtime", CH_SANDBOX_READ },
	{ "/usr/share/zoneinfo", CH_SANDBOX_READ },
	{ "/usr/lib", CH_SANDBOX_READ },
	{ "/lib", CH_SANDBOX_READ },
	{ "/lib64", CH_SANDBOX_READ },
	{ "/dev/null", CH_SANDBOX_READ | CH_SANDBOX_WRITE },
	{ "/dev/urandom", CH_SANDBOX_READ },
	{ "/dev/random", CH_SANDBOX_READ },
#if CH_SANDBOX_LEAK_CHECK
	{ "/proc/self", CH_SANDBOX_READ }, /* AddressSanitizer's reports */
#endif
};

/* While its libraries are loaded and initialised. */
static const struct ch_sandbox_path loading_paths[] = {
	{ "/etc/nsswitch.conf", CH_SANDBOX_READ },
	{ "/etc/passwd", CH_SANDBOX_READ },
	{ "/etc/group", CH_SANDBOX_READ },
	{ "/etc/ssl/openssl.cnf", CH_SANDBOX_READ },
	{ "/etc/pkcs11", CH_SANDBOX_READ },
	{ "/usr/share/p11-kit", CH_SANDBOX_READ },
	{ "/proc/self", CH_SANDBOX_READ },
	{ "/proc/cpuinfo", CH_SANDBOX_READ },
	{ "/proc/meminfo", CH_SANDBOX_READ },
	{ "/proc/sys/vm/overcommit_memory", CH_SANDBOX_READ },
	{ "/sys/devices/system/cpu", CH_SANDBOX_READ },
};

/* What getaddrinfo reads. */
static const struct ch_sandbox_path resolver_paths[] = {
	{ "/etc/resolv.conf", CH_SANDBOX_READ },   { "/etc/hosts", CH_SANDBOX_READ },
	{ "/etc/host.conf", CH_SANDBOX_READ },     { "/etc/gai.conf", CH_SANDBOX_READ },
	{ "/etc/nsswitch.conf", CH_SANDBOX_READ }, { "/etc/services", CH_SANDBOX_READ },
	{ "/etc/protocols", CH_SANDBOX_READ },
};

#define LIST(array)                      \
	(struct ch_sandbox_list)         \
	{                                \
		(array), CH_COUNT(array) \
	}

size_t ch_sandbox_lists(const struct ch_sandbox_rules *rules, enum ch_sandbox_stage stage,
			struct ch_sandbox_list lists[CH_SANDBOX_LISTS])
{
	size_t count = 0;

	lists[count++] = rules->foreign ? LIST(foreign_paths) : LIST(daemon_paths);
	if (rules->foreign && stage == CH_SANDBOX_LOADING)
		lists[count++] = LIST(loading_paths);
	if (rules->foreign && rules->foreign->network)
		lists[count++] = LIST(resolver_paths);
	if (rules->may_start_programs)
		lists[count++] = LIST(program_paths);
	return count;
}
