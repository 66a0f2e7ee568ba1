/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_sandbox.h: what a process with an HSM vendor's library in it may reach: its own token's files, and
 * nothing of the vault, its identity, or another HSM. Used by the HSM worker (worker.c) and by the process
 * that sets a token up (init_token.c).
 */
#ifndef VAULT_WORKER_SANDBOX_H
#define VAULT_WORKER_SANDBOX_H

#include "hsm.h"
#include "sandbox/sandbox.h"

#define HSM_SANDBOX_PATHS 34 /* module, PIN, and as many `paths` as the configuration takes */
/* What a process needs open that starts the HSM's workers, whose own sandbox is narrower. Borrows from
 * *config. */
size_t hsm_sandbox_paths(const struct hsm_config *config, struct ch_sandbox_path paths[HSM_SANDBOX_PATHS]);

/* What a worker is told of its HSM. *open borrows from the configuration and from `ports`. */
void hsm_open_of(const struct hsm_config *config, uint32_t ports[HSM_PORTS_MAX], Chancery__HsmOpen *open);

/* Before the library is loaded: its constructors run in this already. The PIN must have been read: its file
 * is closed too, unless it lies below `paths`. CH_INTERNAL. */
CH_MUST_USE bool worker_sandbox_enter(const Chancery__HsmOpen *open, struct ch_error *err);
/* After the log-in. CH_INTERNAL. */
CH_MUST_USE bool worker_sandbox_narrow(const Chancery__HsmOpen *open, struct ch_error *err);

#endif
