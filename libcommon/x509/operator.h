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
};

struct ch_operator {
	char tenant[64];
	char name[64];
	unsigned roles; /* enum ch_role, or-ed */
};

/* CH_UNAUTHENTICATED where the certificate has no such name, two of them, an unknown role, or characters
 * outside [a-z0-9._-]. */
CH_MUST_USE bool ch_operator_read(X509 *certificate, struct ch_operator *operator_, struct ch_error *err);
const char *ch_role_name(enum ch_role role); /* "requester", "officer" */
CH_MUST_USE bool ch_role_find(const char *name, enum ch_role *role, struct ch_error *err);

/* What an officer signs to approve: SHA-256 over "chancery/approval/v1\0" || purpose_name || "\0" ||
 * to_be_signed. The 32 octets are the message that goes into the signature algorithm (ECDSA hashes them once
 * more), so ch_verify_signature takes them as `data`. The caller frees them. */
#define CH_APPROVAL_DOMAIN "chancery/approval/v1"
struct ch_bytes ch_approval_message(const char *purpose_name, struct ch_view to_be_signed);

#endif
