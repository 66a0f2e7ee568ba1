/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h: the HSM worker process: this program re-executed as `chancery-vault --hsm-worker NAME`, its
 * socket at HSM_WORKER_FD. It alone loads its HSM's PKCS#11 module.
 */
#ifndef VAULT_WORKER_H
#define VAULT_WORKER_H

#define HSM_WORKER_OPTION "--hsm-worker"

/* Serves requests until the vault closes the socket. Returns the exit code. main() calls it. */
int hsm_worker_main(const char *name);

#endif
