/* SPDX-License-Identifier: Apache-2.0 */
/* refused_identities.h: the lists of refused identities of services. vault.c, which wires, uses it. */
#ifndef VAULT_REFUSED_IDENTITIES_H
#define VAULT_REFUSED_IDENTITIES_H

#include "vault.h"

/* The largest request: a list of each CA. */
#define VAULT_REFUSED_CAP (CH_TRUST_CAS_CAP * (CH_REFUSED_LIST_CAP + 64))

/* Rows of the dispatch table (peers.c). */
bool vault_handle_get_refused_identities(void *state, const struct ch_bus_request *request,
					 ProtobufCMessage **reply, struct ch_error *err);
bool vault_handle_put_refused_identities(void *state, const struct ch_bus_request *request,
					 ProtobufCMessage **reply, struct ch_error *err);
/* A ch_refused_exchange (identities.h) with the database; state is the struct vault. */
CH_MUST_USE bool vault_refused_exchange(void *state, struct ch_trust *trust, struct ch_error *err);

#endif
