/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_queue.h: from the vault's socket to the session threads of an HSM worker. There is no thread that
 * only reads: a session that has nothing to do waits for the socket itself, and starts on what it read at
 * once. worker.c uses it.
 */
#ifndef VAULT_WORKER_QUEUE_H
#define VAULT_WORKER_QUEUE_H

#include "hsm_channel.h"

#define WORKER_AT_ONCE 8 /* requests that a session takes in one go */

struct worker_queue;
/* Before any session thread is. Takes what *reader holds already; then listens to HSM_WORKER_FD. */
CH_MUST_USE bool worker_queue_open(struct hsm_reader *reader, struct worker_queue **queue,
				   struct ch_error *err);
/*
 * Waits for requests, and takes a fair part of them, so that no other idle session is left without. The
 * caller frees them. 0: none came for keep_alive_us (0: it waits for ever). Thread-safe. Ends the process
 * where the vault closed the socket: other threads may be inside the module, which may never return.
 */
size_t worker_queue_take(struct worker_queue *queue, int64_t keep_alive_us,
			 Chancery__HsmRequest *requests[WORKER_AT_ONCE]);

#endif
