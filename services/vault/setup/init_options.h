/* SPDX-License-Identifier: Apache-2.0 */
/* init_options.h: the command lines that set HSMs up, as init_hsms.c sees them. */
#ifndef VAULT_INIT_OPTIONS_H
#define VAULT_INIT_OPTIONS_H

#include "shares.h"

struct init_options {
	const char *config;
	const char *hsm; /* --init-hsm NAME; NULL: --init-hsms, all of them */
	uint8_t threshold, count;
	const char *share_directory;
	const char *custodians[SHARES_MAX]; /* PEM certificates, one for each share; none: shares in clear */
	size_t custodian_count;
	const char *shares[SHARES_MAX]; /* files, for --init-hsm */
	size_t share_count;
};

/* CH_INVALID names the option; the usage text follows from INIT_USAGE. */
CH_MUST_USE bool init_options_read(int argc, char **argv, struct init_options *options, struct ch_error *err);

#define INIT_USAGE                                                                                           \
	"usage: chancery-vault --config FILE --init-hsms --share-directory DIR [--threshold M] [--shares N " \
	"| "                                                                                                 \
	"--custodian CERTIFICATE…]\n"                                                                      \
	"       chancery-vault --config FILE --init-hsm NAME --share FILE…\n"

#endif
