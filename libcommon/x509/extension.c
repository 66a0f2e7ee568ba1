/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extension.c: writes certificate extensions (RFC 5280 §4.2) into an open SEQUENCE OF Extension. The issuer's
 * template and the crl builder call it. Object identifiers of their own are constants, so writing them cannot
 * fail.
 */
#include "x509/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_oid(struct ch_der_writer *writer, const char *oid)
{
	struct ch_error err;
	if (!ch_der_put_oid(writer, oid, &err)) { /* a constant of the program is wrong */
		fprintf(stderr, "%s\n", err.message);
		abort();
	}
}

void ch_extension_put(struct ch_der_writer *writer, const char *oid, bool critical, struct ch_view value)
{
	ch_der_begin(writer, CH_DER_SEQUENCE);
	put_oid(writer, oid);
	if (critical) /* DEFAULT FALSE is not written (X.690 §11.5) */
		ch_der_put_boolean(writer, true);
	ch_der_put_octet_string(writer, value);
	ch_der_finish(writer);
}

/* Ends `value` and puts it as the extension's content. */
static void put_done(struct ch_der_writer *writer, const char *oid, bool critical,
		     struct ch_der_writer *value)
{
	CH_AUTO(ch_bytes) content = ch_der_done(value);
	ch_extension_put(writer, oid, critical, ch_view_of(&content));
}

void ch_extension_basic_constraints(struct ch_der_writer *writer, bool ca, int path_length)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_begin(&value, CH_DER_SEQUENCE);
	if (ca)
		ch_der_put_boolean(&value, true);
	if (ca && path_length >= 0)
		ch_der_put_uint64(&value, CH_DER_INTEGER, (uint64_t)path_length);
	ch_der_finish(&value);
	put_done(writer, "2.5.29.19", true, &value);
}

/* OpenSSL's KU_ numbers are the BIT STRING's octets, first one lowest; bit 0 is the most significant. */
void ch_extension_key_usage(struct ch_der_writer *writer, unsigned bits)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	uint8_t content[3] = { 0, (uint8_t)bits, (uint8_t)(bits >> 8) };
	size_t size = content[2] ? 3 : content[1] ? 2 : 1;
	while (size > 1 && !(content[size - 1] >> content[0] & 1)) /* X.690 §11.2.2: no trailing zero bits */
		content[0]++;
	ch_der_put(&value, CH_DER_BIT_STRING, ch_view(content, size));
	put_done(writer, "2.5.29.15", true, &value);
}

bool ch_extension_extended_key_usage(struct ch_der_writer *writer, bool critical, const char *const *oids,
				     size_t count, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_begin(&value, CH_DER_SEQUENCE);
	for (size_t i = 0; i < count; i++)
		if (!ch_der_put_oid(&value, oids[i], err))
			return ch_fail_in(err, "extendedKeyUsage");
	ch_der_finish(&value);
	put_done(writer, "2.5.29.37", critical, &value);
	return true;
}

void ch_extension_subject_key_identifier(struct ch_der_writer *writer, struct ch_view key_identifier)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_put_octet_string(&value, key_identifier);
	put_done(writer, "2.5.29.14", false, &value);
}

void ch_extension_authority_key_identifier(struct ch_der_writer *writer, struct ch_view key_identifier)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_begin(&value, CH_DER_SEQUENCE);
	ch_der_put(&value, CH_DER_CONTEXT(0), key_identifier);
	ch_der_finish(&value);
	put_done(writer, "2.5.29.35", false, &value);
}

static void put_access(struct ch_der_writer *value, const char *method, const char *url)
{
	if (!url)
		return;
	ch_der_begin(value, CH_DER_SEQUENCE);
	put_oid(value, method);
	ch_der_put(value, CH_DER_CONTEXT(6), ch_view_text(url));
	ch_der_finish(value);
}

void ch_extension_authority_information_access(struct ch_der_writer *writer, const char *ocsp_url,
					       const char *ca_issuers_url)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	if (!ocsp_url && !ca_issuers_url)
		return;
	ch_der_begin(&value, CH_DER_SEQUENCE);
	put_access(&value, "1.3.6.1.5.5.7.48.1", ocsp_url);
	put_access(&value, "1.3.6.1.5.5.7.48.2", ca_issuers_url);
	ch_der_finish(&value);
	put_done(writer, "1.3.6.1.5.5.7.1.1", false, &value);
}

void ch_extension_crl_distribution_points(struct ch_der_writer *writer, const char *url)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_begin(&value, CH_DER_SEQUENCE);
	ch_der_begin(&value, CH_DER_SEQUENCE);               /* DistributionPoint */
	ch_der_begin(&value, CH_DER_CONTEXT_CONSTRUCTED(0)); /* distributionPoint */
	ch_der_begin(&value, CH_DER_CONTEXT_CONSTRUCTED(0)); /* fullName */
	ch_der_put(&value, CH_DER_CONTEXT(6), ch_view_text(url));
	for (int i = 0; i < 4; i++)
		ch_der_finish(&value);
	put_done(writer, "2.5.29.31", false, &value);
}

bool ch_extension_certificate_policies(struct ch_der_writer *writer, const char *const *oids, size_t count,
				       struct ch_error *err)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_begin(&value, CH_DER_SEQUENCE);
	for (size_t i = 0; i < count; i++) {
		ch_der_begin(&value, CH_DER_SEQUENCE);
		if (!ch_der_put_oid(&value, oids[i], err))
			return ch_fail_in(err, "certificatePolicies");
		ch_der_finish(&value);
	}
	ch_der_finish(&value);
	put_done(writer, "2.5.29.32", false, &value);
	return true;
}
