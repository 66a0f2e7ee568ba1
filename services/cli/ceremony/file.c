/* SPDX-License-Identifier: Apache-2.0 */
/* file.c: the document of a key ceremony, read strictly. Called by ceremony.c. */
#include "ceremony.h"

#include <stdlib.h>
#include <string.h>

#define CAS_CAP       16
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

static const struct ch_conf_field publication_fields[] = {
	CH_CONF_FIELD(struct ceremony_publication, file, CH_CONF_STRING, .required = true,
		      .help = "its name under published/: letters, digits, '.', '_' and '-'"),
	CH_CONF_FIELD(struct ceremony_publication, ca, CH_CONF_STRING, .required = true,
		      .help = "whose certificate"),
	CH_CONF_FIELD(struct ceremony_publication, form, CH_CONF_STRING, .default_text = "pem",
		      .choices = "der|pem|chain",
		      .help = "chain: PEM, with the certificates of the CAs above it, the root last"),
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
		"cas", struct ceremony_file, cas, CH_CONF_SECTION_LIST, .required = true, .min = 1,
		.max = CAS_CAP, .schema = &ch_ca_document_schema,
		.element_size = sizeof(struct ch_ca_document),
		.help = "CA documents, in the order in which they are made: a parent before its children"),
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
		for (size_t j = 0; j < i; j++)
			if (strcmp(name, items[j].file) == 0)
				return ch_fail(err, CH_INVALID, "publish: '%s' stands twice", name);
	}
	return true;
}

bool ceremony_read(const char *path, struct ceremony_document *document, struct ch_error *err)
{
	CH_AUTO(ceremony_document) read = CH_NONE;
	CH_AUTO(ch_string) digest_text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_read_file(path, CH_CONF_DOCUMENT_CAP, &read.octets, err) ||
	    !ch_conf_read(&ceremony_schema, ch_view_of(&read.octets), path, &read.file, err))
		return false;
	if (!ch_check_name("ceremony", read.file.name, err) || !check_existing(&read.file, err) ||
	    !check_cas(&read.file, err) || !check_publications(&read.file, err))
		return ch_fail_in(err, "%s", path);
	if (!ch_digest("sha256", ch_view_of(&read.octets), digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	memcpy(read.sha256, digest_text, sizeof(read.sha256));
	read.path = ch_strdup(path);
	*document = CH_STEAL(read);
	return true;
}

void ceremony_document_free(struct ceremony_document *document)
{
	ch_conf_free(&ceremony_schema, &document->file);
	ch_bytes_free(&document->octets);
	free(document->path);
}
