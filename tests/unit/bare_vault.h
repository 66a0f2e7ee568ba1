/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bare_vault.h: a vault that has the HSMs of a fixture (hsm_fixture.h) and nothing else, and remembers
 * nothing of before. For vault_mac_test.c and vault_marks_test.c.
 */
#ifndef BARE_VAULT_H
#define BARE_VAULT_H

#include "hsm_fixture.h"
#include "vault.h"

struct bare {
	struct vault_config config;
	struct vault vault;
};

/* Sets up a pool with a rogue HSM a (rogue_worker.h) and waits for both. */
void set_up_both(void **state, const char *how);
/* Borrows the fixture's pool. */
void open_bare(struct bare *bare, struct fixture *fixture);
void close_bare(struct bare *bare);
/* How often it told people, for that reason. */
uint64_t alerts_of(const struct bare *bare, const char *reason);

#endif
