/* SPDX-License-Identifier: Apache-2.0 */
/* content.h: what kind of thing a file holds, told before anything of it leaves the machine: a private key
 * never does, and of a file with a certification request nothing but the request. */
#ifndef CHANCERY_CLI_CONTENT_H
#define CHANCERY_CLI_CONTENT_H

#include "err/err.h"
#include "mem/mem.h"

enum content_class {
	CONTENT_OTHER,
	CONTENT_REQUEST, /* PKCS#10 */
	CONTENT_CERTIFICATE,
	CONTENT_PUBLIC_KEY,
	CONTENT_PRIVATE_KEY, /* whatever else is in the file */
};

struct content_kind {
	enum content_class class;
	char text[80]; /* "a private key (PKCS#8, encrypted)", "a certificate", …; for people */
};

/* Of a whole file, PEM or DER. Pure; reads no password and decodes no key. */
void content_kind_of(struct ch_view content, struct content_kind *kind);

/* The PKCS#10 request in a file, PEM or DER, as PEM with nothing around it; the caller frees it. CH_INVALID
 * says what the file holds instead. */
CH_MUST_USE bool content_read_request(const char *path, char **pem, struct ch_error *err);

/* CH_INVALID where a private key is in what was read from that path; what it should be is for the message. */
CH_MUST_USE bool content_is_no_private_key(const char *path, struct ch_view content, const char *wanted,
					   struct ch_error *err);

#endif
