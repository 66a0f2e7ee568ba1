/* SPDX-License-Identifier: Apache-2.0 */
/* issuer_fixture.h: a CA with a key of its own, profiles and CSRs for the issuer's unit tests. */
#ifndef ISSUER_FIXTURE_H
#define ISSUER_FIXTURE_H

#include "issuance/issuance.h"

/* 2026-11-21T10:00:00Z */
#define NOW (INT64_C(1795255200) * CH_SECOND)

struct fixture {
	EVP_PKEY *ca_key;
	struct ch_ca ca; /* "Example Issuing CA", ecdsa-p256, from a day before NOW for 5 years */
};
void fixture_begin(struct fixture *fixture);
void fixture_end(struct fixture *fixture);

/* "ecdsa-p256", "rsa-2048", "rsa-1024", "ed25519", "secp256k1" */
EVP_PKEY *fixture_key(const char *name);
/* DER of a CSR: subject "CN=a,O=b" with plain values ("" for none), SAN in openssl's text form
 * ("DNS:a,IP:1.2.3.4") or NULL. */
struct ch_bytes fixture_csr(EVP_PKEY *key, const char *subject, const char *sans, bool ca_true);
/* Reads a profile that must read: the text after a base of name, validity (90d, 398d), keys and key usage. */
void fixture_profile(struct ch_profile *profile, const char *more);
#endif
