/* SPDX-License-Identifier: Apache-2.0 */
/* officer_token.h: an officer's key in a PKCS#11 token, such as a smart card. officer_key.c calls it. */
#ifndef CHANCERY_CLI_OFFICER_TOKEN_H
#define CHANCERY_CLI_OFFICER_TOKEN_H

#include "err/err.h"
#include "mem/mem.h"

#include <openssl/evp.h>

#define OFFICER_TOKEN_SCHEME "pkcs11:"

struct officer_token;
/*
 * uri     RFC 7512: pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=FILE
 * Errors  CH_INVALID names what the URI lacks; CH_NOT_FOUND the token or key that is not there;
 *         CH_DENIED the PIN was refused: it was tried once
 */
CH_MUST_USE bool officer_token_open(const char *uri, struct officer_token **token, struct ch_error *err);
void officer_token_close(struct officer_token *token); /* NULL is fine */
/* Borrowed from the token: signs inside it. */
EVP_PKEY *officer_token_key(const struct officer_token *token);

CH_DEFINE_AUTO_POINTER(officer_token, struct officer_token, officer_token_close)

#endif
