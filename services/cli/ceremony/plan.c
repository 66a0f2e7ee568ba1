/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c: what a ceremony makes, and a rehearsal of it that touches no vault. Called by ceremony.c and
 * check.c. */
#include "ceremony.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STAND_IN "0000000000000000000000000000000000000000000000000000000000000000"

void ceremony_plan_free(struct ceremony_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		ch_ca_free(&plan->cas[i]);
	for (size_t i = 0; i < plan->crl_count; i++) {
		ch_bytes_free(&plan->crls[i].tbs);
		ch_bytes_free(&plan->crls[i].der);
	}
	free(plan->cas);
	free(plan->crls);
	*plan = (struct ceremony_plan)CH_NONE;
}

const struct ch_ca *ceremony_find(const struct ceremony_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->count; i++)
		if (strcmp(plan->cas[i].document.name, name) == 0)
			return &plan->cas[i];
	return NULL;
}

const struct ch_ca *ceremony_parent(const struct ceremony_plan *plan, const struct ch_ca *ca)
{
	return ca->document.parent ? ceremony_find(plan, ca->document.parent) : NULL;
}

/* --- CAs that exist --- */

static bool take_names(struct ch_ca *ca, X509 *certificate, struct ch_error *err)
{
	unsigned char *subject = NULL, *key = NULL;
	int subject_size = i2d_X509_NAME(X509_get_subject_name(certificate), &subject);
	int key_size = i2d_PUBKEY(X509_get0_pubkey(certificate), &key);

	if (subject_size > 0)
		ca->subject_der = ch_bytes_copy(ch_view(subject, (size_t)subject_size));
	if (key_size > 0)
		ca->public_key_info = ch_bytes_copy(ch_view(key, (size_t)key_size));
	OPENSSL_free(subject);
	OPENSSL_free(key);
	ca->subject = ch_name_text(ch_view_of(&ca->subject_der));
	return (subject_size > 0 && key_size > 0) ||
	       ch_fail_openssl(err, CH_INVALID, "the certificate has no subject or no public key");
}

static bool take_validity(struct ch_ca *ca, X509 *certificate, struct ch_error *err)
{
	struct tm begin, end;

	if (ASN1_TIME_to_tm(X509_get0_notBefore(certificate), &begin) != 1 ||
	    ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
		return ch_fail(err, CH_INVALID, "the certificate's validity does not decode");
	ca->not_before_us = (int64_t)timegm(&begin) * CH_SECOND;
	ca->not_after_us = (int64_t)timegm(&end) * CH_SECOND;
	return true;
}

/* The authority key identifier of what it signs is the subject key identifier that it has, if it has one. */
static bool take_key_identifier(struct ch_ca *ca, X509 *certificate, struct ch_error *err)
{
	const ASN1_OCTET_STRING *named = X509_get0_subject_key_id(certificate);
	uint8_t digest[64];
	size_t size;

	if (named) {
		ca->key_identifier = ch_bytes_copy(
			ch_view(ASN1_STRING_get0_data(named), (size_t)ASN1_STRING_length(named)));
		return true;
	}
	if (!ch_key_identifier(ch_view_of(&ca->public_key_info), "sha1", digest, &size, err))
		return false;
	ca->key_identifier = ch_bytes_copy(ch_view(digest, size));
	return true;
}

static bool take_existing(const struct ceremony_existing *existing, struct ch_ca *ca, struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;

	if (!ch_certificate_read_pem_file(existing->certificate, &certificate, err))
		return false;
	if (!(X509_get_extension_flags(certificate) & EXFLAG_CA))
		return ch_fail(err, CH_INVALID, "the certificate is not of a CA (basicConstraints)");
	ca->algorithm = ch_algorithm_of_key(X509_get0_pubkey(certificate));
	if (!ca->algorithm)
		return ch_fail(err, CH_INVALID, "the certificate's key is of no algorithm of ours");
	ca->document.path_length = X509_get_pathlen(certificate);
	ca->document.name = ch_strdup(existing->name);
	ca->document.key = ch_strdup(ca->algorithm->name);
	ca->document.urls =
		(struct ch_ca_urls){ ch_strdup(existing->urls.ocsp), ch_strdup(existing->urls.crl),
				     ch_strdup(existing->urls.ca_issuers) };
	ca->state = ch_strdup("active");
	ch_random(ca->serial_tag_key, sizeof(ca->serial_tag_key));
	return take_names(ca, certificate, err) && take_validity(ca, certificate, err) &&
	       take_key_identifier(ca, certificate, err) &&
	       ch_certificate_der(certificate, &ca->certificate_der, err);
}

/* --- all of them --- */

/* Read a second time, so that a plan owns its documents and can be made anew. */
static bool take_documents(const struct ceremony_document *document, struct ceremony_plan *plan,
			   struct ch_error *err)
{
	struct ceremony_file again = CH_NONE;
	bool read =
		ch_conf_read(&ceremony_schema, ch_view_of(&document->octets), document->path, &again, err);

	for (size_t i = 0; read && i < again.cas.count; i++) {
		struct ch_ca_document *from = (struct ch_ca_document *)again.cas.items + i;

		plan->cas[plan->count++].document = *from;
		*from = (struct ch_ca_document)CH_NONE;
	}
	ch_conf_free(&ceremony_schema, &again);
	return read;
}

bool ceremony_plan(const struct ceremony_document *document, struct ceremony_plan *plan, struct ch_error *err)
{
	const struct ceremony_existing *existing = document->file.existing.items;
	CH_AUTO(ceremony_plan) made = CH_NONE;

	made.cas =
		ch_alloc((document->file.existing.count + document->file.cas.count + 1) * sizeof(*made.cas));
	for (size_t i = 0; i < document->file.existing.count; i++) {
		made.count = i + 1;
		if (!take_existing(&existing[i], &made.cas[i], err))
			return ch_fail_in(err, "existing CA '%s' (%s)", existing[i].name,
					  existing[i].certificate);
	}
	made.existing = made.count;
	if (!take_documents(document, &made, err))
		return false;
	made.crl_count = document->file.crls.count;
	made.crls = ch_alloc((made.crl_count + 1) * sizeof(*made.crls));
	for (size_t i = 0; i < made.crl_count; i++)
		made.crls[i].asked = (const struct ceremony_crl *)document->file.crls.items + i;
	*plan = CH_STEAL(made);
	return true;
}

/* --- rehearsal --- */

static EVP_PKEY *throwaway_key(const struct ch_algorithm *algorithm)
{
	switch (algorithm->key_type) {
	case EVP_PKEY_RSA:
		return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)algorithm->bits);
	case EVP_PKEY_EC:
		return EVP_PKEY_Q_keygen(NULL, NULL, "EC", algorithm->curve);
	default:
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	}
}

static bool take_stand_in(struct ch_ca *ca, struct ch_error *err)
{
	Chancery__Key key = CHANCERY__KEY__INIT;
	CH_AUTO(EVP_PKEY) made = throwaway_key(ca->algorithm);
	unsigned char *info = NULL;
	int size = made ? i2d_PUBKEY(made, &info) : 0;
	bool taken;

	if (size <= 0)
		return ch_fail_openssl(err, CH_INTERNAL, "no %s key could be made", ca->algorithm->name);
	key.key_id = (char *)(uintptr_t)STAND_IN;
	key.algorithm = ca->document.key;
	key.public_key_info = (ProtobufCBinaryData){ .len = (size_t)size, .data = info };
	taken = ch_ca_take_key(ca, &key, err);
	OPENSSL_free(info);
	return taken;
}

static bool rehearse(struct ceremony_plan *plan, struct ch_ca *ca, struct ch_error *err)
{
	const struct ch_ca *parent = ceremony_parent(plan, ca);
	uint8_t serial[CH_SERIAL_SIZE];

	if (!ch_ca_plan(ca, parent, ch_clock_now_us(ch_clock_system()), err) || !take_stand_in(ca, err))
		return false;
	ch_ca_new_serial(ca, parent, serial);
	return ch_ca_write_certificate(ca, parent, ch_view(serial, sizeof(serial)), err);
}

bool ceremony_rehearse(const struct ceremony_document *document, struct ceremony_plan *plan,
		       struct ch_error *err)
{
	CH_AUTO(ceremony_plan) rehearsed = CH_NONE;

	if (!ceremony_plan(document, &rehearsed, err))
		return false;
	for (size_t i = rehearsed.existing; i < rehearsed.count; i++)
		if (!rehearse(&rehearsed, &rehearsed.cas[i], err))
			return ch_fail_in(err, "CA '%s'", rehearsed.cas[i].document.name);
	for (size_t i = 0; i < rehearsed.crl_count; i++)
		if (!ceremony_write_crl(&rehearsed, &rehearsed.crls[i], ch_clock_now_us(ch_clock_system()),
					err))
			return ch_fail_in(err, "CRL of '%s'", rehearsed.crls[i].asked->ca);
	*plan = CH_STEAL(rehearsed);
	return true;
}
