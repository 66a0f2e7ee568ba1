/* SPDX-License-Identifier: Apache-2.0 */
/*
 * officers.h: people with certificates of an operators' CA, a quorum of them, and what they sign, for the
 * tests of approvals (approval_check_test.c) and of the purposes that need them (purpose_fixture.c).
 */
#ifndef OFFICERS_H
#define OFFICERS_H

#include "approval.h"

struct person {
	X509 *certificate;
	EVP_PKEY *key;
};

/* A certificate of `issuer` (NULL: self-signed CA) for a year around now_us. uri: SAN, or NULL. Takes the
 * key.
 */
struct person make_person(const struct person *issuer, EVP_PKEY *key, const char *cn, const char *uri,
			  int64_t now_us);
void free_person(struct person *person);
void appoint(struct vault_quorum *quorum, const char *name, const struct person *person);
/* Puts this document in the place of what the action had, approved by nobody. */
void write_document(struct vault_action *action, const struct ch_action *content);
void approve(struct vault_action *action, const struct person *person);

#endif
