/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local.h: what the vault's own user does at its host with the vault's configuration, beside the running
 * daemon or before it: `chancery-vault --config FILE --OPTION [ARGUMENT]`. It has the HSMs' PINs and the
 * database, and no bus.
 */
#ifndef VAULT_LOCAL_H
#define VAULT_LOCAL_H

#include "vault.h"

struct vault_local_command {
	const char *option;   /* "--init-quorum" */
	const char *argument; /* what it is called in the usage text; NULL: it takes none */
	bool (*run)(struct vault *vault, const char *argument, struct ch_error *err);
};

/* The word after `option`; NULL where there is none. */
const char *vault_word_after(int argc, char **argv, const char *option);
/* NULL where the command line asks for none. */
const struct vault_local_command *vault_local_find(int argc, char **argv);
/* Opens database and HSMs, runs it, closes. Returns the exit code: 0 done, 1 failed with a line on standard
 * error, 2 usage. */
int vault_local_run(const struct vault_local_command *command, int argc, char **argv);

/* --- the commands --- */
bool vault_init_quorum(struct vault *vault, const char *path, struct ch_error *err);   /* init_quorum.c */
bool vault_seal_keys(struct vault *vault, const char *argument, struct ch_error *err); /* seal_keys.c */
bool vault_database_restored(struct vault *vault, const char *argument,
			     struct ch_error *err); /* database_restored.c */

#endif
