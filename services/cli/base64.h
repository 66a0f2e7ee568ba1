/* SPDX-License-Identifier: Apache-2.0 */
/* base64.h: octets in members of JSON (RFC 4648 §4). */
#ifndef CHANCERY_CLI_BASE64_H
#define CHANCERY_CLI_BASE64_H

#include "err/err.h"
#include "mem/mem.h"

#define CLI_BASE64_CAP ((size_t)2 * 1024 * 1024) /* characters */

/* "" is no octets, without data. CH_INVALID, with the member's name; the caller frees *octets. */
CH_MUST_USE bool cli_unbase64(const char *text, const char *member, struct ch_bytes *octets,
			      struct ch_error *err);

#endif
