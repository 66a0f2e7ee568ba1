/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h: the HSM worker process: this program re-executed as `chancery-vault --hsm-worker NAME`, its
 * socket at HSM_WORKER_FD. It alone loads its HSM's PKCS#11 module. Started by the vault, or by the HSM's
 * listener (`--from-listener`), which then says at HSM_OPEN_FD what is opened; the vault does not.
 */
#ifndef VAULT_WORKER_H
#define VAULT_WORKER_H

#include <stdbool.h>

#define HSM_WORKER_OPTION        "--hsm-worker"
#define HSM_FROM_LISTENER_OPTION "--from-listener"

/* Whether the command line asks for a worker. */
bool hsm_worker_asked(int argc, char **argv);
/* Serves requests until the vault closes the socket. Returns the exit code. main() calls it. */
int hsm_worker_main(int argc, char **argv);

#endif
