/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h: the command `chancery-vault --config FILE --hsm-listener NAME`. main.c asks here. */
#ifndef VAULT_LISTEN_H
#define VAULT_LISTEN_H

#define VAULT_LISTENER_OPTION "--hsm-listener"

/* Serves the HSM to the vault until SIGTERM. Returns the exit code. */
int vault_listen(int argc, char **argv);

#endif
