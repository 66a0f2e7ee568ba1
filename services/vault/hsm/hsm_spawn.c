/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_spawn.c: this very program, executed again as an HSM worker. */
#include "hsm_spawn.h"

#include "hsm_channel.h"
#include "worker.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static char **environment_of(const struct hsm_config *config)
{
	char **environment = ch_alloc((config->environment.count + 1) * sizeof(char *));

	for (size_t i = 0; i < config->environment.count; i++)
		environment[i] = config->environment.items[i];
	return environment;
}

static void give_descriptors(const struct hsm_spawn *spawn, posix_spawn_file_actions_t *actions)
{
	posix_spawn_file_actions_adddup2(actions, spawn->fd, HSM_WORKER_FD);
	if (spawn->open_fd >= 0)
		posix_spawn_file_actions_adddup2(actions, spawn->open_fd, HSM_OPEN_FD);
	posix_spawn_file_actions_addclosefrom_np(actions,
						 (spawn->open_fd >= 0 ? HSM_OPEN_FD : HSM_WORKER_FD) + 1);
}

bool hsm_spawn_worker(const struct hsm_spawn *spawn, pid_t *pid, struct ch_error *err)
{
	char *const arguments[] = { (char *)"chancery-vault", (char *)HSM_WORKER_OPTION, spawn->config->name,
				    spawn->open_fd >= 0 ? (char *)HSM_FROM_LISTENER_OPTION : NULL, NULL };
	char **environment = environment_of(spawn->config);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int failed;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	give_descriptors(spawn, &actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	failed = posix_spawn(pid, spawn->program, &actions, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	free(environment);
	return !failed || ch_fail_errno(err, CH_INTERNAL, failed, "cannot execute '%s'", spawn->program);
}

void hsm_how_ended(int status, char how[64])
{
	if (WIFSIGNALED(status))
		snprintf(how, 64, " (signal %d)", WTERMSIG(status));
	else
		snprintf(how, 64, " (exit %d)", WEXITSTATUS(status));
}
