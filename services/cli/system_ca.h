/* SPDX-License-Identifier: Apache-2.0 */
/* system_ca.h: what the commands of the system CA and of the public TLS CA share. system_ca.c,
 * system_ca_roll.c, refuse.c and public_ca.c use it. */
#ifndef CHANCERY_CLI_SYSTEM_CA_H
#define CHANCERY_CLI_SYSTEM_CA_H

#include "cli.h"

#include "envelope/envelope.h"

#define SYSTEM_CA          "system-ca"     /* <directory>/system-ca.pem, .key, .issued, .crl */
#define SYSTEM_CA_OLD      "system-ca-old" /* the one before, while a roll-over is under way */
#define SYSTEM_CA_RETIRED  CH_RETIRED_SYSTEM_CAS
#define SYSTEM_CA_MAX_DAYS 36500

/* Where it is not there yet. */
CH_MUST_USE bool system_ca_make_directory(const char *path, struct ch_error *err);
/* Adds the values of --dns and --ip as OpenSSL's configuration writes them. (public_ca.c) */
CH_MUST_USE bool system_ca_add_names(struct cli *cli, struct ch_buffer *names, struct ch_error *err);

#endif
