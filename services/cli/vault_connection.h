/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_connection.h: the vaults' bus as the `chancery` command uses it: signed messages over mutual TLS with
 * an identity of service "operator". Commands whose row says `.vault = true` have the options it needs.
 */
#ifndef CHANCERY_CLI_VAULT_CONNECTION_H
#define CHANCERY_CLI_VAULT_CONNECTION_H

#include "cli.h"

#include "bus/bus.h"
#include "vault.pb-c.h"
#include "vaultclient/vaultclient.h"

struct vault_connection;

/* From --vault, --identity and --system-ca. CH_INVALID names what is missing, CH_NOT_FOUND the file. */
CH_MUST_USE bool vault_connection_open(struct cli *cli, struct vault_connection **connection,
				       struct ch_error *err);
/* The same for the `index`th of the addresses alone, which *address names (the caller frees it). There is
 * none: true, and *connection is NULL. */
CH_MUST_USE bool vault_connection_open_one(struct cli *cli, size_t index, char **address,
					   struct vault_connection **connection, struct ch_error *err);
/* Typed calls over the same bus; the connection's own. */
struct ch_vault_client *vault_connection_client(const struct vault_connection *connection);
void vault_connection_close(struct vault_connection *connection); /* NULL is fine */

/*
 * ch_bus_call for the tenant of --tenant; `call` says types, request and, where it needs longer than 15 s,
 * timeout_us. Repeats are safe only where the vault makes them so (by message id).
 * reply    free it with protobuf_c_message_free_unpacked, or CH_AUTO(ch_proto)
 */
CH_MUST_USE bool vault_connection_call(struct vault_connection *connection, const struct ch_bus_call *call,
				       ProtobufCMessage **reply, struct ch_error *err);

CH_DEFINE_AUTO_POINTER(vault_connection, struct vault_connection, vault_connection_close)

#endif
