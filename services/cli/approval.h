/* SPDX-License-Identifier: Apache-2.0 */
/* approval.h: what an officer does before a CA certificate is signed: read the very bytes and hold them
 * against the document. */
#ifndef CHANCERY_CLI_APPROVAL_H
#define CHANCERY_CLI_APPROVAL_H

#include "document.h"

#include <openssl/x509.h>
#include <stdio.h>

/* The TBSCertificate as a certificate with an empty signature, for looking into. The caller frees it with
 * X509_free. */
CH_MUST_USE bool approval_open(struct ch_view to_be_signed, X509 **certificate, struct ch_error *err);

/*
 * Holds a CA's TBSCertificate against its document: subject, key, CA, key usage, path length, validity, and
 * the issuer. parent  the parent's certificate; NULL for a root Errors  CH_DENIED names what differs
 */
CH_MUST_USE bool approval_check(X509 *certificate, const struct document *document, X509 *parent,
				struct ch_error *err);

/* Names, validity, key and extensions as OpenSSL writes them, escaped. */
void approval_print(FILE *out, X509 *certificate);

#endif
