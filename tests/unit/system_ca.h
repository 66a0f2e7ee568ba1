/* SPDX-License-Identifier: Apache-2.0 */
/* system_ca.h: a system CA and identities made on the spot, for the tests of what is signed and verified. */
#ifndef TEST_SYSTEM_CA_H
#define TEST_SYSTEM_CA_H

#include "daemon/daemon.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

struct system_ca {
	char directory[64];
	char *path; /* of its PEM */
	EVP_PKEY *key;
	X509 *certificate;
	int issued;
};

/* Aborts when something fails: a test's own tools must work. `directory` is made below TMPDIR or /tmp. */
void system_ca_make(struct system_ca *ca);
/* The same, valid from..to seconds around now. */
void system_ca_make_between(struct system_ca *ca, long from, long to);
void system_ca_remove(struct system_ca *ca); /* with its directory */
/* An identity of service/instance, valid from..to seconds around now. Paths are freed by system_ca_forget. */
void system_ca_issue(struct system_ca *ca, const char *service, const char *instance, long from, long to,
		     struct ch_identity_config *files);
/* The same with any URI, key ("P-256", "P-384") and basicConstraints. */
void system_ca_issue_odd(struct system_ca *ca, const char *service, const char *uri, const char *group,
			 int is_ca, struct ch_identity_config *files);
/* A CRL of the CA that names these serial numbers as of `since` seconds from now (keyCompromise); `critical`:
 * with an extension that must be known. The caller frees it. */
struct ch_bytes system_ca_crl(struct system_ca *ca, long number, const int *serials, size_t count, long since,
			      bool critical);
void system_ca_forget(struct ch_identity_config *files);

#endif
