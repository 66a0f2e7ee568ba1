/* SPDX-License-Identifier: Apache-2.0 */
/* data_key_store.h: the table `data_keys`. data_keys.c is the caller. */
#ifndef VAULT_DATA_KEY_STORE_H
#define VAULT_DATA_KEY_STORE_H

#include "db/db.h"

/* 0: the tenant has none yet. */
CH_MUST_USE bool store_newest_data_key(struct ch_db *db, const char *tenant, uint32_t *version,
				       struct ch_error *err);
/* CH_NOT_FOUND. */
CH_MUST_USE bool store_find_data_key(struct ch_db *db, const char *tenant, uint32_t version,
				     struct ch_bytes *wrapped, struct ch_error *err);
/* True too where the version exists already: whoever was first made it. CH_NOT_FOUND: no such tenant. */
CH_MUST_USE bool store_insert_data_key(struct ch_db *db, const char *tenant, uint32_t version,
				       struct ch_view wrapped, struct ch_error *err);

#endif
