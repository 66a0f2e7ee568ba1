/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_spawn.h: starts the process of an HSM worker. The vault does it itself (hsm_process.c), or the HSM's
 * listener does it for the vault (listener.c).
 */
#ifndef VAULT_HSM_SPAWN_H
#define VAULT_HSM_SPAWN_H

#include "hsm.h"

struct hsm_spawn {
	const char *program; /* what is executed with --hsm-worker NAME */
	const struct hsm_config *config;
	int fd;      /* to the vault; becomes HSM_WORKER_FD */
	int open_fd; /* where a listener says what is to be opened; becomes HSM_OPEN_FD. -1: the vault does */
};

/*
 * Its own process with nothing of ours but standard error and its descriptors, which stay open here too. With
 * open_fd both must be above HSM_OPEN_FD. CH_INTERNAL.
 */
CH_MUST_USE bool hsm_spawn_worker(const struct hsm_spawn *spawn, pid_t *pid, struct ch_error *err);

/* How a process ended, from waitpid's status: " (signal 9)" or " (exit 1)". */
void hsm_how_ended(int status, char how[64]);

#endif
