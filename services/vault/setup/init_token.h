/* SPDX-License-Identifier: Apache-2.0 */
/* init_token.h: one token set up from nothing, in a process of its own with that HSM's environment.
 * init_hsms.c calls it. */
#ifndef VAULT_INIT_TOKEN_H
#define VAULT_INIT_TOKEN_H

#include "hsm.h"

struct token_state {
	bool initialised; /* a token with the label exists */
	bool has_domain;  /* all of the domain's keys */
	bool has_partial; /* some of them only: an initialisation that was cut off, or one of an older version
			   */
	uint32_t private_keys;
	uint8_t domain_check[3]; /* CKA_CHECK_VALUE of the key-encryption key */
	bool failed;
	struct ch_error err; /* where it failed */
};

/* What is to be done to one HSM's token. */
struct token_order {
	const struct hsm_config *config;
	const char *so_pin_file; /* must exist where `root` is not empty, as pin_file always must */
	struct ch_view root;     /* DOMAIN_ROOT_SIZE octets; empty: only look */
	bool sandbox;            /* around the vendor's library */
};

/*
 * Starts a process with the HSM's environment that looks at its token, and where there is a root secret makes
 * what is missing: the token with its PINs, the domain's keys. Existing ones are replaced only when the token
 * holds no private key.
 */
CH_MUST_USE bool token_set_up(const struct token_order *order, struct token_state *state,
			      struct ch_error *err);

#endif
