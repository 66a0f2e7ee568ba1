/* SPDX-License-Identifier: Apache-2.0 */
/* share_files.h: custodians' shares in files: each encrypted to its custodian's certificate, or in clear. */
#ifndef VAULT_SHARE_FILES_H
#define VAULT_SHARE_FILES_H

#include "shares.h"

/*
 * Writes one file for each share into the directory, which must exist and hold none yet: share-N.pem, a CMS
 * EnvelopedData (RFC 5652 §6) that `openssl cms -decrypt -inform PEM` opens, where custodians has `count`
 * certificates; share-N.txt, mode 0400, where it is NULL. CH_CONFLICT: there is a share already.
 */
CH_MUST_USE bool share_files_write(const char *directory, const char *const *custodians,
				   const struct share *shares, size_t count, struct ch_error *err);
/* A share in clear. Refuses a file that its group or others may read. The caller wipes *share. */
CH_MUST_USE bool share_file_read(const char *path, struct share *share, struct ch_error *err);

#endif
