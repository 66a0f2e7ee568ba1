/* SPDX-License-Identifier: Apache-2.0 */
/* system_ca.c: see system_ca.h. */
#include "system_ca.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "system_ca: %s failed\n", what);
	abort();
}

static void add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	must(extension != NULL && X509_add_ext(certificate, extension, -1), value);
	X509_EXTENSION_free(extension);
}

static X509 *new_certificate(const char *name, EVP_PKEY *key, int serial, long from, long to)
{
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), to);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
	X509_set_pubkey(certificate, key);
	return certificate;
}

static void write_pem(const char *path, X509 *certificate, EVP_PKEY *key)
{
	FILE *file = fopen(path, "w");

	must(file != NULL, path);
	must(key ? PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)
		 : PEM_write_X509(file, certificate),
	     path);
	fclose(file);
	must(chmod(path, 0400) == 0, path);
}

void system_ca_make(struct system_ca *ca)
{
	system_ca_make_between(ca, -86400L * 3650, 86400L * 3650);
}

void system_ca_make_between(struct system_ca *ca, long from, long to)
{
	const char *parent = getenv("TMPDIR");

	memset(ca, 0, sizeof(*ca));
	snprintf(ca->directory, sizeof(ca->directory), "%.40s/chancery-XXXXXX", parent ? parent : "/tmp");
	must(mkdtemp(ca->directory) != NULL, "mkdtemp");
	ca->path = ch_format("%s/system-ca.pem", ca->directory);
	ca->key = EVP_EC_gen("P-256");
	ca->certificate = new_certificate("Test System CA", ca->key, 1, from, to);
	X509_set_issuer_name(ca->certificate, X509_get_subject_name(ca->certificate));
	add(ca->certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
	add(ca->certificate, ca->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
	add(ca->certificate, ca->certificate, NID_subject_key_identifier, "hash");
	must(X509_sign(ca->certificate, ca->key, EVP_sha256()), "signing");
	write_pem(ca->path, ca->certificate, NULL);
	ca->issued = 1;
}

static void issue(struct system_ca *ca, const char *service, const char *uri, const char *group, int is_ca,
		  long from, long to, struct ch_identity_config *files)
{
	EVP_PKEY *key = EVP_EC_gen(group);
	X509 *certificate = new_certificate(service, key, ++ca->issued, from, to);
	CH_AUTO(ch_string) names = ch_format("URI:%s,DNS:%s.chancery.internal", uri, service);

	X509_set_issuer_name(certificate, X509_get_subject_name(ca->certificate));
	add(certificate, ca->certificate, NID_basic_constraints,
	    is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	add(certificate, ca->certificate, NID_key_usage,
	    is_ca ? "critical,keyCertSign" : "critical,digitalSignature");
	add(certificate, ca->certificate, NID_subject_key_identifier, "hash");
	add(certificate, ca->certificate, NID_authority_key_identifier, "keyid");
	add(certificate, ca->certificate, NID_ext_key_usage, "clientAuth,serverAuth");
	add(certificate, ca->certificate, NID_subject_alt_name, names);
	must(X509_sign(certificate, ca->key, EVP_sha256()), "signing");
	files->certificate = ch_format("%s/%d.pem", ca->directory, ca->issued);
	files->key = ch_format("%s/%d.key", ca->directory, ca->issued);
	files->system_ca = ch_strdup(ca->path);
	write_pem(files->certificate, certificate, NULL);
	write_pem(files->key, NULL, key);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

void system_ca_issue(struct system_ca *ca, const char *service, const char *instance, long from, long to,
		     struct ch_identity_config *files)
{
	CH_AUTO(ch_string) uri = ch_format("chancery:service/%s/%s", service, instance);

	issue(ca, service, uri, "P-256", 0, from, to, files);
}

void system_ca_issue_odd(struct system_ca *ca, const char *service, const char *uri, const char *group,
			 int is_ca, struct ch_identity_config *files)
{
	issue(ca, service, uri, group, is_ca, -60, 3600, files);
}

static void add_revoked(X509_CRL *crl, int serial, long since)
{
	X509_REVOKED *revoked = X509_REVOKED_new();
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	ASN1_TIME *time = X509_gmtime_adj(NULL, since);
	ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();

	ASN1_INTEGER_set(number, serial);
	ASN1_ENUMERATED_set(reason, 1);
	must(X509_REVOKED_set_serialNumber(revoked, number) &&
		     X509_REVOKED_set_revocationDate(revoked, time) &&
		     X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, reason, 0, 0) == 1 &&
		     X509_CRL_add0_revoked(crl, revoked),
	     "revoking");
	ASN1_ENUMERATED_free(reason);
	ASN1_TIME_free(time);
	ASN1_INTEGER_free(number);
}

struct ch_bytes system_ca_crl(struct system_ca *ca, long number, const int *serials, size_t count, long since,
			      bool critical)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0), *end = X509_gmtime_adj(NULL, 86400);
	ASN1_INTEGER *value = ASN1_INTEGER_new();
	unsigned char *der = NULL;
	struct ch_bytes made;
	int size;

	ASN1_INTEGER_set(value, number);
	must(X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
		     X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->certificate)) &&
		     X509_CRL_set1_lastUpdate(crl, now) && X509_CRL_set1_nextUpdate(crl, end) &&
		     X509_CRL_add1_ext_i2d(crl, NID_crl_number, value, 0, 0) == 1,
	     "CRL");
	if (critical)
		must(X509_CRL_add1_ext_i2d(crl, NID_delta_crl, value, 1, 0) == 1, "critical extension");
	for (size_t i = 0; i < count; i++)
		add_revoked(crl, serials[i], since);
	X509_CRL_sort(crl);
	must(X509_CRL_sign(crl, ca->key, EVP_sha256()), "signing");
	size = i2d_X509_CRL(crl, &der);
	must(size > 0, "encoding");
	made = ch_bytes_copy(ch_view(der, (size_t)size));
	OPENSSL_free(der);
	X509_CRL_free(crl);
	ASN1_TIME_free(now);
	ASN1_TIME_free(end);
	ASN1_INTEGER_free(value);
	return made;
}

void system_ca_forget(struct ch_identity_config *files)
{
	unlink(files->certificate);
	unlink(files->key);
	free(files->certificate);
	free(files->key);
	free(files->system_ca);
	memset(files, 0, sizeof(*files));
}

void system_ca_remove(struct system_ca *ca)
{
	unlink(ca->path);
	rmdir(ca->directory);
	free(ca->path);
	EVP_PKEY_free(ca->key);
	X509_free(ca->certificate);
}
