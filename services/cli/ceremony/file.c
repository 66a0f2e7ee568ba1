/* SPDX-License-Identifier: Apache-2.0 */
/* file.c: the document of a key ceremony, read strictly. Called by ceremony.c. */
#include "ceremony.h"

#include <stdlib.h>
#include <string.h>

#define CAS_CAP       16
#define REVOKED_CAP   1024
#define FILES_CAP     64
#define FILE_NAME_CAP 128

static const struct ch_conf_field existing_fields[] = {
	CH_CONF_FIELD(struct ceremony_existing, name, CH_CONF_STRING, .required = true,
		      .help = "what this document calls it"),
	CH_CONF_FIELD(struct ceremony_existing, certificate, CH_CONF_PATH, .required = true,
		      .help = "its certificate, PEM; the vault has the key"),
	CH_CONF_SUB(struct ceremony_existing, urls, &ch_ca_urls_schema,
		    .help = "what certificates issued by this CA carry"),
};
static const struct ch_conf_schema existing_schema = { "existing", existing_fields,
						       CH_COUNT(existing_fields) };

static const struct ch_conf_field revoked_fields[] = {
	CH_CONF_FIELD(struct ceremony_revoked, serial, CH_CONF_STRING, .required = true,
		      .help = "serial number, hex"),
	CH_CONF_FIELD(struct ceremony_revoked, date, CH_CONF_STRING, .required = true,
		      .help = "since when: \"2027-01-31T12:00:00Z\""),
	CH_CONF_FIELD(struct ceremony_revoked, reason, CH_CONF_STRING, .default_text = "unspecified",
		      .choices = "unspecified|keyCompromise|cACompromise|affiliationChanged|superseded|"
				 "cessationOfOperation|privilegeWithdrawn|aACompromise",
		      .help = "RFC 5280 §5.3.1"),
};
static const struct ch_conf_schema revoked_schema = { "revoked", revoked_fields, CH_COUNT(revoked_fields) };

static const struct ch_conf_field crl_fields[] = {
	CH_CONF_FIELD(struct ceremony_crl, ca, CH_CONF_STRING, .required = true, .help = "whose CRL"),
	CH_CONF_FIELD(struct ceremony_crl, number, CH_CONF_INTEGER, .required = true, .min = 1,
		      .max = INT64_C(1) << 53, .help = "cRLNumber: above that of the CA's last CRL"),
	CH_CONF_NAMED("validity", struct ceremony_crl, validity_us, CH_CONF_DURATION, .required = true,
		      .min = CH_HOUR, .max = 400 * CH_DAY,
		      .help = "nextUpdate - thisUpdate; at most crl.validity of the CA's document"),
	CH_CONF_NAMED("revoked", struct ceremony_crl, revoked, CH_CONF_SECTION_LIST, .min = 0,
		      .max = REVOKED_CAP, .schema = &revoked_schema,
		      .element_size = sizeof(struct ceremony_revoked), .help = "what it lists"),
};
static const struct ch_conf_schema crl_schema = { "crls", crl_fields, CH_COUNT(crl_fields) };

static const struct ch_conf_field publication_fields[] = {
	CH_CONF_FIELD(struct ceremony_publication, file, CH_CONF_STRING, .required = true,
		      .help = "its name under published/: letters, digits, '.', '_' and '-'"),
	CH_CONF_FIELD(struct ceremony_publication, ca, CH_CONF_STRING, .required = true,
		      .help = "of which CA"),
	CH_CONF_FIELD(struct ceremony_publication, form, CH_CONF_STRING, .default_text = "pem",
		      .choices = "der|pem|chain|crl",
		      .help = "of the certificate: der, pem, chain (PEM, the CAs above it after it); crl: "
			      "its CRL, DER"),
};
static const struct ch_conf_schema publication_schema = { "publish", publication_fields,
							  CH_COUNT(publication_fields) };

static const struct ch_conf_field fields[] = {
	CH_CONF_FIELD(struct ceremony_file, name, CH_CONF_STRING, .required = true,
		      .help = "[a-z0-9-], of the ceremony"),
	CH_CONF_FIELD(struct ceremony_file, tenant, CH_CONF_STRING, .default_text = "default",
		      .help = "whose keys are made and whose officers approve"),
	CH_CONF_NAMED("existing", struct ceremony_file, existing, CH_CONF_SECTION_LIST, .min = 0,
		      .max = CAS_CAP, .schema = &existing_schema,
		      .element_size = sizeof(struct ceremony_existing),
		      .help = "CAs of the same vault that sign here and were made before"),
	CH_CONF_NAMED(
		"cas", struct ceremony_file, cas, CH_CONF_SECTION_LIST, .min = 0, .max = CAS_CAP,
		.schema = &ch_ca_document_schema, .element_size = sizeof(struct ch_ca_document),
		.help = "CA documents, in the order in which they are made: a parent before its children"),
	CH_CONF_NAMED("crls", struct ceremony_file, crls, CH_CONF_SECTION_LIST, .min = 0, .max = CAS_CAP,
		      .schema = &crl_schema, .element_size = sizeof(struct ceremony_crl),
		      .help = "CRLs of these CAs, one each, made after all certificates"),
	CH_CONF_NAMED("publish", struct ceremony_file, publish, CH_CONF_SECTION_LIST, .min = 0,
		      .max = FILES_CAP, .schema = &publication_schema,
		      .element_size = sizeof(struct ceremony_publication), .help = "files to hand out"),
};
const struct ch_conf_schema ceremony_schema = { "ceremony", fields, CH_COUNT(fields) };

static bool known(const struct ceremony_file *file, const char *name, size_t made)
{
	const struct ceremony_existing *existing = file->existing.items;
	const struct ch_ca_document *cas = file->cas.items;

	for (size_t i = 0; i < file->existing.count; i++)
		if (strcmp(existing[i].name, name) == 0)
			return true;
	for (size_t i = 0; i < made; i++)
		if (strcmp(cas[i].name, name) == 0)
			return true;
	return false;
}

static bool check_existing(const struct ceremony_file *file, struct ch_error *err)
{
	const struct ceremony_existing *existing = file->existing.items;

	for (size_t i = 0; i < file->existing.count; i++) {
		if (!ch_check_name("existing CA", existing[i].name, err) ||
		    !ch_ca_urls_check(&existing[i].urls, err))
			return false;
		for (size_t j = 0; j < i; j++)
			if (strcmp(existing[i].name, existing[j].name) == 0)
				return ch_fail(err, CH_INVALID, "CA '%s' stands twice", existing[i].name);
	}
	return true;
}

static bool check_cas(const struct ceremony_file *file, struct ch_error *err)
{
	const struct ch_ca_document *cas = file->cas.items;

	for (size_t i = 0; i < file->cas.count; i++) {
		if (!ch_ca_document_check(&cas[i], err))
			return false;
		if (known(file, cas[i].name, i))
			return ch_fail(err, CH_INVALID, "CA '%s' stands twice", cas[i].name);
		if (cas[i].parent && !known(file, cas[i].parent, i))
			return ch_fail(err, CH_INVALID,
				       "CA '%s': parent '%s' is neither made before it nor one of `existing`",
				       cas[i].name, cas[i].parent);
	}
	return true;
}

static const struct ceremony_crl *find_crl(const struct ceremony_file *file, const char *ca, size_t before)
{
	const struct ceremony_crl *crls = file->crls.items;

	for (size_t i = 0; i < before; i++)
		if (strcmp(crls[i].ca, ca) == 0)
			return &crls[i];
	return NULL;
}

static bool check_crls(const struct ceremony_file *file, struct ch_error *err)
{
	const struct ceremony_crl *crls = file->crls.items;

	for (size_t i = 0; i < file->crls.count; i++) {
		if (!known(file, crls[i].ca, file->cas.count))
			return ch_fail(err, CH_INVALID, "crls: CA '%.80s' is not here", crls[i].ca);
		if (find_crl(file, crls[i].ca, i))
			return ch_fail(err, CH_INVALID, "crls: CA '%s' stands twice", crls[i].ca);
	}
	return file->cas.count + file->crls.count > 0 ||
	       ch_fail(err, CH_INVALID, "the document makes nothing: neither cas nor crls");
}

static bool check_publications(const struct ceremony_file *file, struct ch_error *err)
{
	const struct ceremony_publication *items = file->publish.items;

	for (size_t i = 0; i < file->publish.count; i++) {
		const char *name = items[i].file;

		if (name[0] == '.' || strlen(name) > FILE_NAME_CAP || !name[0] ||
		    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
			    strlen(name))
			return ch_fail(
				err, CH_INVALID,
				"publish: '%.140s' is no file name of letters, digits, '.', '_' and '-'",
				name);
		if (!known(file, items[i].ca, file->cas.count))
			return ch_fail(err, CH_INVALID, "publish: '%s' is of CA '%.80s', which is not here",
				       name, items[i].ca);
		if (strcmp(items[i].form, "crl") == 0 && !find_crl(file, items[i].ca, file->crls.count))
			return ch_fail(err, CH_INVALID,
				       "publish: '%s' is a CRL of '%s', which crls does not make", name,
				       items[i].ca);
		for (size_t j = 0; j < i; j++)
			if (strcmp(name, items[j].file) == 0)
				return ch_fail(err, CH_INVALID, "publish: '%s' stands twice", name);
	}
	return true;
}

bool ceremony_parse(struct ch_view octets, const char *path, struct ceremony_document *document,
		    struct ch_error *err)
{
	CH_AUTO(ceremony_document) read = CH_NONE;
	CH_AUTO(ch_string) digest_text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_conf_read(&ceremony_schema, octets, path, &read.file, err))
		return false;
	if (!ch_check_name("ceremony", read.file.name, err) || !check_existing(&read.file, err) ||
	    !check_cas(&read.file, err) || !check_crls(&read.file, err) ||
	    !check_publications(&read.file, err))
		return ch_fail_in(err, "%s", path);
	if (!ch_digest("sha256", octets, digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	memcpy(read.sha256, digest_text, sizeof(read.sha256));
	read.octets = ch_bytes_copy(octets);
	read.path = ch_strdup(path);
	*document = CH_STEAL(read);
	return true;
}

bool ceremony_read(const char *path, struct ceremony_document *document, struct ch_error *err)
{
	CH_AUTO(ch_bytes) octets = CH_NONE;

	return ch_read_file(path, CH_CONF_DOCUMENT_CAP, &octets, err) &&
	       ceremony_parse(ch_view_of(&octets), path, document, err);
}

void ceremony_document_free(struct ceremony_document *document)
{
	ch_conf_free(&ceremony_schema, &document->file);
	ch_bytes_free(&document->octets);
	free(document->path);
}
