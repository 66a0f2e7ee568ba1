/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_ca.h: small CAs whose key is a PEM file, for what stands outside the suite's own hierarchy: the
 * daemons' identities, the operators, the gateway's HTTPS certificate. system_ca*.c, public_ca.c and
 * operator.c use it.
 */
#ifndef CHANCERY_CLI_FILE_CA_H
#define CHANCERY_CLI_FILE_CA_H

#include "err/err.h"
#include "x509/x509.h"

#include <stddef.h>
#include <stdint.h>

#define OPERATORS_CA "operators-ca" /* <directory>/operators-ca.pem, .key, .issued, .crl */

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
	const char
		*subject_alt_names; /* as OpenSSL's configuration writes them: "URI:…,DNS:…"; NULL: `names` */
	X509_EXTENSION *names;      /* another certificate's subjectAltName, taken as it is */
	const char *extended_key_usage; /* "clientAuth,serverAuth" */
	int64_t days;
	const char *certificate_path;
	const char *key_path; /* mode 0400; files that exist are replaced and keep their owner and mode */
	bool listed;          /* <name>.issued in the directory says that it was issued */
};
/* Makes a P-256 key and a certificate for it. The certificate ends with the CA's at the latest. */
CH_MUST_USE bool file_ca_issue(const struct file_ca_request *request, struct ch_error *err);

/* The CA's certificate (the first of its file) and key. *key may be NULL: not asked for. The caller frees
 * both. */
CH_MUST_USE bool file_ca_load(const char *directory, const char *name, X509 **certificate, EVP_PKEY **key,
			      struct ch_error *err);
/* A fresh CA as file_ca_init makes it, not written anywhere. The caller frees both. */
CH_MUST_USE bool file_ca_make(const char *common_name, int64_t days, X509 **certificate, EVP_PKEY **key,
			      struct ch_error *err);
/* PEM; a file that exists is replaced and keeps its owner and mode. */
CH_MUST_USE bool file_ca_write_key(const char *path, EVP_PKEY *key, struct ch_error *err);
CH_MUST_USE bool file_ca_write(const char *path, struct ch_view content, unsigned mode, struct ch_error *err);

/*
 * What the CA issued, from <directory>/<name>.issued: a line for each certificate, "<serial, hex> <end, RFC
 * 3339> <URI>". Calls `each` for every line; a file that is not there has none.
 */
struct file_ca_line {
	const char *serial, *not_after, *uri; /* borrowed */
};
CH_MUST_USE bool file_ca_each_issued(const char *directory, const char *name,
				     void (*each)(void *context, const struct file_ca_line *line),
				     void *context, struct ch_error *err);

/* Names that go into subjects and URIs: 1 to 63 of [a-z0-9._-]. CH_INVALID names `what`. */
CH_MUST_USE bool file_ca_check_name(const char *what, const char *name, struct ch_error *err);

#endif
