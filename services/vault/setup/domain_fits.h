/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain_fits.h: whether a root secret, as custodians' shares make it, is the one of this suite: asked before
 * anything is written with it. init_hsms.c asks.
 */
#ifndef VAULT_DOMAIN_FITS_H
#define VAULT_DOMAIN_FITS_H

#include "vault.h"

/* CKA_CHECK_VALUE of the key-encryption key that the root secret makes: the first octets of a block of zeros
 * encrypted with it (PKCS#11 2.40 §2.8, AES). */
CH_MUST_USE bool domain_check_value(struct ch_view root, uint8_t check[3], struct ch_error *err);

/*
 * Against the seals of the database's keys, which the domain's seal key made. *known is false where it has
 * none yet: a suite without keys. CH_CONFLICT: the seals are another domain's. CH_UNAVAILABLE: no database.
 */
CH_MUST_USE bool domain_fits_database(const struct vault_config *config, struct ch_view root, bool *known,
				      struct ch_error *err);

#endif
