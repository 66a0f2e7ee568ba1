/* SPDX-License-Identifier: Apache-2.0 */
/* approval.c: checks a CA's certificate before an officer approves it. Called by ca.c. */
#include "approval.h"

#include "output.h"

#include "x509/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_SECONDS INT64_C(86400)

bool approval_open(struct ch_view to_be_signed, X509 **certificate, struct ch_error *err)
{
	static const uint8_t nothing[1] = { 0 };
	CH_AUTO(ch_bytes)
	der = ch_signed_assemble(to_be_signed, ch_algorithm_find("ecdsa-p256"),
				 ch_view(nothing, sizeof(nothing)));

	if (!ch_certificate_read(ch_view_of(&der), certificate, err))
		return ch_fail_in(err, "the TBSCertificate to approve");
	return true;
}

static bool check_name(const char *what, const X509_NAME *name, const X509_NAME *expected,
		       struct ch_error *err)
{
	if (X509_NAME_cmp(name, expected) == 0)
		return true;
	return ch_fail(err, CH_DENIED, "the TBSCertificate's %s is not the one to be approved", what);
}

static bool check_subject(X509 *certificate, const char *expected, struct ch_error *err)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	const uint8_t *at;
	CH_AUTO(X509_NAME) name = NULL;

	if (!expected)
		return ch_fail(err, CH_INVALID, "the document has no subject");
	if (!ch_name_parse(expected, &der, err))
		return false;
	at = der.data;
	name = d2i_X509_NAME(NULL, &at, (long)der.size);
	if (!name)
		return ch_fail_openssl(err, CH_INVALID, "subject '%s'", expected);
	return check_name("subject", X509_get_subject_name(certificate), name, err);
}

static bool check_issuer(X509 *certificate, X509 *parent, struct ch_error *err)
{
	const X509_NAME *expected = X509_get_subject_name(parent ? parent : certificate);

	return check_name("issuer", X509_get_issuer_name(certificate), expected, err);
}

static bool check_key(X509 *certificate, const char *expected, struct ch_error *err)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	const struct ch_algorithm *algorithm = key ? ch_algorithm_of_key(key) : NULL;

	if (!algorithm || !expected || strcmp(algorithm->name, expected) != 0)
		return ch_fail(err, CH_DENIED, "the TBSCertificate's key is %s, the document asks for %s",
			       algorithm ? algorithm->name : "unknown", expected ? expected : "none");
	return true;
}

static bool check_constraints(X509 *certificate, const char *path_length, struct ch_error *err)
{
	long expected = path_length ? strtol(path_length, NULL, 10) : -1;

	if (!(X509_get_extension_flags(certificate) & EXFLAG_CA))
		return ch_fail(err, CH_DENIED, "the TBSCertificate is not of a CA (basicConstraints)");
	if (X509_get_key_usage(certificate) != (KU_KEY_CERT_SIGN | KU_CRL_SIGN))
		return ch_fail(err, CH_DENIED,
			       "the TBSCertificate's key usage is 0x%x, not keyCertSign and cRLSign alone",
			       X509_get_key_usage(certificate));
	if (X509_get_pathlen(certificate) != expected)
		return ch_fail(err, CH_DENIED,
			       "the TBSCertificate's path length is %ld, the document's %ld (-1: none)",
			       X509_get_pathlen(certificate), expected);
	return true;
}

static bool seconds_from_now(const ASN1_TIME *time, int64_t *seconds)
{
	int days = 0, rest = 0;

	if (!ASN1_TIME_diff(&days, &rest, NULL, time))
		return false;
	*seconds = days * DAY_SECONDS + rest;
	return true;
}

static bool check_validity(X509 *certificate, const char *validity, struct ch_error *err)
{
	int64_t asked, begin, end;

	if (!validity)
		return ch_fail(err, CH_INVALID, "the document has no validity");
	if (!document_seconds(validity, &asked, err))
		return false;
	if (!seconds_from_now(X509_get0_notBefore(certificate), &begin) ||
	    !seconds_from_now(X509_get0_notAfter(certificate), &end))
		return ch_fail(err, CH_DENIED, "the TBSCertificate's validity does not decode");
	if (begin > DAY_SECONDS || end > asked + DAY_SECONDS || end - begin > asked + DAY_SECONDS)
		return ch_fail(err, CH_DENIED,
			       "the TBSCertificate's validity is longer than %s or begins later", validity);
	return true;
}

bool approval_check(X509 *certificate, const struct document *document, X509 *parent, struct ch_error *err)
{
	return check_subject(certificate, document->subject, err) && check_issuer(certificate, parent, err) &&
	       check_key(certificate, document->key, err) &&
	       check_constraints(certificate, document->path_length, err) &&
	       check_validity(certificate, document->validity, err);
}

void approval_print(FILE *out, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	CH_AUTO(ch_string) text = NULL;
	char *data = NULL;
	long size = 0;

	if (bio && X509_print_ex(bio, certificate, XN_FLAG_RFC2253,
				 X509_FLAG_NO_HEADER | X509_FLAG_NO_VERSION | X509_FLAG_NO_SIGNAME |
					 X509_FLAG_NO_SIGDUMP | X509_FLAG_NO_PUBKEY) == 1)
		size = BIO_get_mem_data(bio, &data);
	text = ch_strndup(size > 0 ? data : "it cannot be printed\n", size > 0 ? (size_t)size : 21);
	BIO_free(bio);
	cli_print_lines(out, text);
}
