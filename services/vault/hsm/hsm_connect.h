/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_connect.h: the vault's end of a worker that an HSM's listener starts. hsm_process.c uses it. */
#ifndef VAULT_HSM_CONNECT_H
#define VAULT_HSM_CONNECT_H

#include "hsm.h"
#include "hsm_channel.h"

/* A non-blocking socket on which the kernel says who sends. The caller closes it. CH_UNAVAILABLE. */
CH_MUST_USE bool hsm_connect(const struct hsm_config *config, int *fd, struct ch_error *err);

/*
 * The first octets from there: fills the reader, and *pid is the worker's. Whoever listened, or answers, must
 * be the HSM's user: CH_DENIED. NOTHING where none have come yet, and *pid is left alone.
 */
CH_MUST_USE bool hsm_connect_first(const struct hsm_config *config, int fd, struct hsm_reader *reader,
				   enum hsm_read *read, pid_t *pid, struct ch_error *err);

/*
 * Says that the worker shall end, and that nothing more comes: its listener kills it.
 */
void hsm_connect_end(int fd);
/* Waits until the worker has ended, and closes. False where it has not in `timeout_us`: nobody knows then. */
CH_MUST_USE bool hsm_connect_wait_end(int fd, int64_t timeout_us);

#endif
