/* SPDX-License-Identifier: Apache-2.0 */
/* secret.c: memory for PINs and keys: locked, left out of core dumps, wiped. */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void ch_wipe(void *memory, size_t size)
{
	OPENSSL_cleanse(memory, size);
}

bool ch_secret_new(size_t size, struct ch_secret *secret, struct ch_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t mapped = (size / page + 1) * page;
	void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return ch_fail_errno(err, CH_INTERNAL, errno, "cannot map %zu bytes for a secret", mapped);
	if (mlock(memory, mapped) != 0 || madvise(memory, mapped, MADV_DONTDUMP) != 0) {
		int number = errno;

		munmap(memory, mapped);
		return ch_fail_errno(err, CH_INTERNAL, number,
				     "cannot lock %zu bytes in memory (see RLIMIT_MEMLOCK)", mapped);
	}
	*secret = (struct ch_secret){ memory, size, mapped };
	return true;
}

bool ch_guard_memory(void)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit locked;

	setrlimit(RLIMIT_CORE, &none);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true; /* a sanitizer's shadow of the address space cannot be locked */
#endif
	/* With a limit, locking all that is to come would make an allocation fail some day. */
	if (geteuid() != 0 && (getrlimit(RLIMIT_MEMLOCK, &locked) != 0 || locked.rlim_cur != RLIM_INFINITY))
		return false;
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

void ch_secret_free(struct ch_secret *secret)
{
	if (!secret || !secret->data)
		return;
	OPENSSL_cleanse(secret->data, secret->mapped);
	munmap(secret->data, secret->mapped);
	*secret = (struct ch_secret)CH_NONE;
}

bool ch_secret_read_file(const char *path, size_t cap, struct ch_secret *secret, struct ch_error *err)
{
	CH_AUTO(ch_fd) fd = open(path, O_RDONLY | O_CLOEXEC);
	CH_AUTO(ch_secret) content = CH_NONE;
	struct stat info;
	size_t used = 0;

	if (fd < 0)
		return ch_fail_errno(err, errno == ENOENT ? CH_NOT_FOUND : CH_DENIED, errno,
				     "secret file '%s'", path);
	if (fstat(fd, &info) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "secret file '%s'", path);
	if (info.st_mode & 0077)
		return ch_fail(err, CH_DENIED,
			       "secret file '%s' has mode %03o: its group or others may read it, chmod it to "
			       "0400",
			       path, (unsigned)info.st_mode & 0777);
	if (!ch_secret_new(cap + 1, &content, err))
		return false;
	while (used <= cap) {
		ssize_t got = read(fd, content.data + used, cap + 1 - used);

		if (got < 0)
			return ch_fail_errno(err, CH_INTERNAL, errno, "secret file '%s'", path);
		if (got == 0)
			break;
		used += (size_t)got;
	}
	if (used > cap)
		return ch_fail(err, CH_TOO_LARGE, "secret file '%s' is over %zu bytes", path, cap);
	if (used && content.data[used - 1] == '\n')
		content.data[--used] = 0;
	content.size = used;
	*secret = CH_STEAL(content);
	return true;
}
