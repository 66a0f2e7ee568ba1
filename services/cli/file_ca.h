/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_ca.h: small CAs whose key is a PEM file, for what stands outside the suite's own hierarchy: the
 * daemons' identities and the operators. system_ca.c and operator.c use it.
 */
#ifndef CHANCERY_CLI_FILE_CA_H
#define CHANCERY_CLI_FILE_CA_H

#include "err/err.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Makes a self-signed P-256 CA as <directory>/<name>.pem and <directory>/<name>.key (mode 0400).
 * Errors  CH_CONFLICT where one of them exists already.
 */
CH_MUST_USE bool file_ca_init(const char *directory, const char *name, const char *common_name, int64_t days,
			      struct ch_error *err);

struct file_ca_request {
	const char *directory; /* of the CA */
	const char *name;
	const char *common_name;
	const char *subject_alt_names;  /* as OpenSSL's configuration writes them: "URI:…,DNS:…" */
	const char *extended_key_usage; /* "clientAuth,serverAuth" */
	int64_t days;
	const char *certificate_path;
	const char *key_path; /* mode 0400; both are replaced when they exist */
};
/* Makes a P-256 key and a certificate for it. The certificate ends with the CA's at the latest. */
CH_MUST_USE bool file_ca_issue(const struct file_ca_request *request, struct ch_error *err);

/* Names that go into subjects and URIs: 1 to 63 of [a-z0-9._-]. CH_INVALID names `what`. */
CH_MUST_USE bool file_ca_check_name(const char *what, const char *name, struct ch_error *err);

#endif
