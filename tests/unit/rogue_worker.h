/* SPDX-License-Identifier: Apache-2.0 */
/* rogue_worker.h: a worker that was taken over by its vendor's module and says what it pleases, in the place
 * of HSM a's; the test program itself, whose main() asks for it. */
#ifndef ROGUE_WORKER_H
#define ROGUE_WORKER_H

#define ROGUE "ROGUE" /* in its environment: how */

/*
 * "refuse": every request is denied; "code": with a code that there is not; "sessions": it has more than
 * anybody; "up-again": it tells twice that it is up; "mac": seals are 32 octets of its own; "marks=NAME=HEX":
 * it has this mark, and no other.
 */
int rogue_worker_main(const char *how);

/* A fixture (hsm_fixture.h) of whose HSMs b is well and up, and a is such a one. */
int set_up_rogue(void **state, const char *how);

#endif
