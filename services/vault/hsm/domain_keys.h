/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain_keys.h: the three keys that every HSM of a vault holds come from one root secret, so that custodians
 * keep shares of one thing and a new HSM is made a member by it. worker_domain.c puts them into tokens.
 */
#ifndef VAULT_DOMAIN_KEYS_H
#define VAULT_DOMAIN_KEYS_H

#include "mem/mem.h"

#define DOMAIN_ROOT_SIZE 32
#define DOMAIN_KEY_SIZE  32

/*
 * HKDF-SHA-256 (RFC 5869) of the root secret, `label` (worker_pkcs11.h) in its info: knowing one of the keys
 * says nothing about another. The caller frees *key, which is locked memory.
 */
CH_MUST_USE bool domain_key_derive(struct ch_view root, const char *label, struct ch_secret *key,
				   struct ch_error *err);

#endif
