/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_pkcs11.c: a PKCS#11 module that tries what a hostile vendor's would, in its constructor and again
 * in C_Initialize, writes what came of it, and else is SoftHSM2. tests/integration/test_hostile_module.py has
 * HSM workers load it. In the directory HOSTILE_PKCS11_DIRECTORY:
 *
 *   targets   lines "attempt argument", such as "read /etc/shadow"; an argument "parent" is the parent's pid
 *   findings  a line for each try: "constructor|initialize attempt argument granted|denied (errno)"
 */
#include "number.h"

#include <p11-kit/pkcs11.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAL_MODULE "/usr/lib/softhsm/libsofthsm2.so"

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST hostile;

/* --- the attempts: true where it worked --- */

static bool try_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char octet;
	bool done = fd >= 0 && read(fd, &octet, 1) == 1; /* none of them is empty */

	if (fd >= 0)
		close(fd);
	return done;
}

static bool try_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool try_list(const char *path)
{
	DIR *directory = opendir(path);

	if (directory)
		closedir(directory);
	return directory != NULL;
}

/* To the mode that it has. */
static bool try_chmod(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 && chmod(path, info.st_mode & 07777) == 0;
}

static bool try_address(int type, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)number_of(port, 0, 65535)) };
	int fd = socket(AF_INET, type, 0);
	bool done;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	done = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	if (fd >= 0)
		close(fd);
	return done;
}

static bool try_tcp(const char *port)
{
	return try_address(SOCK_STREAM, port);
}

static bool try_udp(const char *port)
{
	return try_address(SOCK_DGRAM, port);
}

/* TCP without connect(2). */
static bool try_fast_open(const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)number_of(port, 0, 65535)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool done;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	done = fd >= 0 && sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&address,
				 sizeof(address)) == 1;
	if (fd >= 0)
		close(fd);
	return done;
}

static bool try_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bool done;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	done = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	if (fd >= 0)
		close(fd);
	return done;
}

static pid_t pid_of(const char *text)
{
	return strcmp(text, "parent") == 0 ? getppid() : (pid_t)number_of(text, 1, INT32_MAX);
}

static bool try_kill(const char *pid)
{
	return kill(pid_of(pid), 0) == 0;
}

static bool try_ptrace(const char *pid)
{
	bool done = ptrace(PTRACE_SEIZE, pid_of(pid), NULL, NULL) == 0;

	if (done)
		ptrace(PTRACE_DETACH, pid_of(pid), NULL, NULL);
	return done;
}

static bool try_memory(const char *pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid_of(pid));
	return try_write(path);
}

static bool try_environment(const char *pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid_of(pid));
	return try_read(path);
}

/* The vault's own limits: to those that it has. */
static bool try_limits(const char *pid)
{
	struct rlimit limit;

	return prlimit(pid_of(pid), RLIMIT_NOFILE, NULL, &limit) == 0;
}

static bool try_program(const char *path)
{
	char *const arguments[] = { (char *)(unsigned long)path, NULL };
	pid_t child = fork();
	int status = 1;

	if (child == 0) {
		execv(path, arguments);
		_exit(1);
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static const struct {
	const char *name;
	bool (*attempt)(const char *argument);
} attempts[] = {
	{ "read", try_read },
	{ "write", try_write },
	{ "list", try_list },
	{ "chmod", try_chmod },
	{ "tcp", try_tcp },
	{ "udp", try_udp },
	{ "fast-open", try_fast_open },
	{ "unix", try_unix },
	{ "kill", try_kill },
	{ "ptrace", try_ptrace },
	{ "memory", try_memory },
	{ "limits", try_limits },
	{ "environment", try_environment },
	{ "program", try_program },
};

/* --- trying them --- */

static FILE *open_file(const char *name, const char *mode)
{
	const char *directory = getenv("HOSTILE_PKCS11_DIRECTORY");
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory ? directory : ".", name);
	return fopen(path, mode);
}

static void try_line(const char *when, char *line, FILE *findings)
{
	char *argument = strchr(line, ' ');

	if (!argument)
		return;
	*argument++ = 0;
	argument[strcspn(argument, "\n")] = 0;
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		bool done;

		if (strcmp(attempts[i].name, line) != 0)
			continue;
		errno = 0;
		done = attempts[i].attempt(argument);
		fprintf(findings, "%s %s %s %s (%d)\n", when, line, argument, done ? "granted" : "denied",
			errno);
	}
}

static void try_all(const char *when)
{
	FILE *targets = open_file("targets", "r"), *findings = open_file("findings", "a");
	char line[512];

	while (targets && findings && fgets(line, sizeof(line), targets))
		try_line(when, line, findings);
	if (targets)
		fclose(targets);
	if (findings)
		fclose(findings);
}

__attribute__((constructor)) static void when_loaded(void)
{
	try_all("constructor");
}

/* --- SoftHSM2 --- */

static CK_RV initialize(void *arguments)
{
	try_all("initialize");
	return real->C_Initialize(arguments);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
	void *library = dlopen(REAL_MODULE, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return CKR_GENERAL_ERROR;
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (!get || get(&real) != CKR_OK)
		return CKR_GENERAL_ERROR;
	hostile = *real;
	hostile.C_Initialize = initialize;
	hostile.C_GetFunctionList = C_GetFunctionList;
	*list = &hostile;
	return CKR_OK;
}
