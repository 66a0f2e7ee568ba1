/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h: what the files of this module share. */
#ifndef CH_VAULTCLIENT_INTERNAL_H
#define CH_VAULTCLIENT_INTERNAL_H

#include "vaultclient/batch.h"
#include "vaultclient/vaultclient.h"

struct ch_vault_client {
	struct ch_bus_client *bus;
	struct ch_batcher *signatures; /* sign.c */
};
void ch_vault_sign_open(struct ch_vault_client *client);

struct ch_bus_client *ch_vault_client_bus(struct ch_vault_client *client);
/* Tenant, trace id and time limit; context may be NULL. */
void ch_vault_set_context(struct ch_bus_call *call, const struct ch_vault_context *context);
/* Borrowed. */
ProtobufCBinaryData ch_vault_binary(struct ch_view view);

#endif
