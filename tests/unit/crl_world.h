/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl_world.h: a crl daemon without its threads, on a real PostgreSQL (postgres.h) as the role chancery_crl,
 * for the unit tests of its files: one active CA, whose key the test holds.
 */
#ifndef CRL_WORLD_H
#define CRL_WORLD_H

#include "crl.h"

#define T0 (INT64_C(1795219200) * CH_SECOND) /* 2026-11-21T00:00:00Z */

struct fixture {
	struct crl_config config;
	struct crl crl;
	struct crl_state ca; /* of a CA of its own for each test */
	EVP_PKEY *key;
};
int set_up(void **state); /* a CA of its own for each test */
int tear_down(void **state);
/* The CertificateList of this TBSCertList, signed with that key; the caller frees it. */
struct ch_bytes signed_list(const struct fixture *fixture, struct ch_view tbs);
/* The signature alone. */
struct ch_bytes signature_of(EVP_PKEY *key, struct ch_view tbs);

#endif
