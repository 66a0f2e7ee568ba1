/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener.h: serves one HSM's token to the vault from under a user of its own: a Unix socket, and a worker
 * process (worker.h) for each connection. It loads no vendor's code and reads no PIN. setup/listen.c is the
 * command.
 */
#ifndef VAULT_LISTENER_H
#define VAULT_LISTENER_H

#include "hsm.h"

#define LISTENER_CONNECTIONS_MAX 32 /* vaults of one machine, each with one, and as many that end */

struct listener_options {
	const struct hsm_config *hsm; /* borrowed */
	uid_t vault;                  /* who may connect */
	const char *program;          /* as struct hsm_pool_options has it */
	bool sandbox;                 /* around the workers */
};

/*
 * The socket to listen on: the one that the service manager has opened (LISTEN_FDS), else one made at the
 * HSM's `listener` with mode 0660. The caller closes it. CH_CONFLICT where somebody listens there already;
 * CH_INVALID where the service manager gave something else than that socket.
 */
CH_MUST_USE bool listener_open(const struct hsm_config *hsm, int *fd, struct ch_error *err);

/* May who connected be served? CH_DENIED names who it is. */
CH_MUST_USE bool listener_check_peer(int fd, uid_t vault, struct ch_error *err);

/*
 * Serves until SIGTERM or SIGINT, which the caller has blocked, as SIGCHLD; then ends all workers. A worker
 * is killed when its vault hangs up. CH_INTERNAL where it cannot go on.
 */
CH_MUST_USE bool listener_serve(const struct listener_options *options, int fd, struct ch_error *err);

/* Blocks what listener_serve waits for; before any thread is started. */
void listener_block_signals(void);

#endif
