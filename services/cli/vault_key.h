/* SPDX-License-Identifier: Apache-2.0 */
/* vault_key.h: keys as the `chancery vault key` commands find and show them. */
#ifndef CHANCERY_CLI_VAULT_KEY_H
#define CHANCERY_CLI_VAULT_KEY_H

#include "vault_connection.h"

/* A ListKeysReply; the caller frees it. */
CH_MUST_USE bool vault_key_list(struct vault_connection *connection, ProtobufCMessage **keys,
				struct ch_error *err);
/* *key points into `keys`. CH_NOT_FOUND. */
CH_MUST_USE bool vault_key_find(const ProtobufCMessage *keys, const char *key_id, const Chancery__Key **key,
				struct ch_error *err);
void vault_key_print(struct cli *cli, const Chancery__Key *key);

#endif
