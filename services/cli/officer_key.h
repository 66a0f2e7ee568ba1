/* SPDX-License-Identifier: Apache-2.0 */
/* officer_key.h: the key that an officer approves with, and the certificate that says whose it is. */
#ifndef CHANCERY_CLI_OFFICER_KEY_H
#define CHANCERY_CLI_OFFICER_KEY_H

#include "err/err.h"
#include "mem/mem.h"
#include "x509/operator.h"

struct officer_key;

/*
 * certificate_file  PEM
 * key_file          PEM of its private key, or a PKCS#11 URI (officer_token.h)
 * Errors  CH_NOT_FOUND, CH_INVALID name the file; CH_DENIED the certificate is no officer's
 */
CH_MUST_USE bool officer_key_open(const char *certificate_file, const char *key_file,
				  struct officer_key **key, struct ch_error *err);
void officer_key_close(struct officer_key *key); /* NULL is fine */

const struct ch_operator *officer_key_holder(const struct officer_key *key);
/* DER; borrowed from the key. */
struct ch_view officer_key_certificate(const struct officer_key *key);
/* Borrowed; in a token it signs there. */
EVP_PKEY *officer_key_private(struct officer_key *key);
/* Over SHA-256 of the document: ECDSA (DER) or RSA PKCS#1 v1.5. The caller frees it. */
CH_MUST_USE bool officer_key_sign(struct officer_key *key, struct ch_view document,
				  struct ch_bytes *signature, struct ch_error *err);

CH_DEFINE_AUTO_POINTER(officer_key, struct officer_key, officer_key_close)

#endif
