/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operator.h: who a client certificate of the operators' CA stands for: a URI subject alternative name
 * "chancery:operator/<tenant>/<role>[+<role>…]/<name>". The gateway (who may revoke) and the vault (whose
 * approval counts) read it.
 */
#ifndef CH_OPERATOR_H
#define CH_OPERATOR_H

#include "x509/x509.h"

#define CH_OPERATOR_URI "chancery:operator/"

enum ch_role {
	CH_ROLE_REQUESTER = 1, /* may ask for certificates and read */
	CH_ROLE_OFFICER = 2,   /* also revokes, suspends, reinstates, makes CAs and profiles, approves */
	CH_ROLE_AUDITOR = 4,   /* reads the audit log of the whole suite: of all tenants and of none */
};

struct ch_operator {
	char tenant[64];
	char name[64];
	unsigned roles; /* enum ch_role, or-ed */
};

/* CH_UNAUTHENTICATED where the certificate has no such name, two of them, an unknown role, or characters
 * outside [a-z0-9._-]. */
CH_MUST_USE bool ch_operator_read(X509 *certificate, struct ch_operator *operator_, struct ch_error *err);
/* SHA-256 of the certificate's SubjectPublicKeyInfo: the key that a quorum pins for its officer. */
CH_MUST_USE bool ch_operator_key_sha256(X509 *certificate, uint8_t digest[32], struct ch_error *err);
const char *ch_role_name(enum ch_role role); /* "requester", "officer", "auditor" */
CH_MUST_USE bool ch_role_find(const char *name, enum ch_role *role, struct ch_error *err);

#endif
