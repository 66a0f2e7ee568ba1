/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init_quorum.c: `chancery-vault --config FILE --init-quorum QUORUM`: a tenant's first quorum of officers.
 * Who may run this has the HSMs' PINs; the running vault never makes a first quorum, so that a row that was
 * deleted opens nothing.
 */
#include "local.h"

#include "approval.h"
#include "marks.h"
#include "x509/operator.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct quorum_file {
	char *tenant;
	int64_t required;
	struct ch_conf_list officers; /* struct officer_file */
};

struct officer_file {
	char *certificate;
};

static const struct ch_conf_field officer_fields[] = {
	CH_CONF_FIELD(struct officer_file, certificate, CH_CONF_PATH, .required = true,
		      .help = "PEM: who the officer is, and the key that they sign with"),
};
static const struct ch_conf_schema officer_schema = { "officers", officer_fields, CH_COUNT(officer_fields) };

static const struct ch_conf_field fields[] = {
	CH_CONF_FIELD(struct quorum_file, tenant, CH_CONF_STRING, .default_text = "default",
		      .help = "whose actions they approve"),
	CH_CONF_FIELD(struct quorum_file, required, CH_CONF_INTEGER, .required = true, .min = 1,
		      .max = VAULT_OFFICERS_CAP, .help = "how many of them must approve"),
	CH_CONF_NAMED("officers", struct quorum_file, officers, CH_CONF_SECTION_LIST, .required = true,
		      .min = 1, .max = VAULT_OFFICERS_CAP, .schema = &officer_schema,
		      .element_size = sizeof(struct officer_file), .help = "one item for each officer"),
};
static const struct ch_conf_schema quorum_schema = { "quorum", fields, CH_COUNT(fields) };

/* A certificate says who the officer is, and with which key they sign. */
static bool add_officer(const char *path, const char *tenant, struct vault_quorum *quorum,
			struct ch_error *err)
{
	struct vault_officer *officer = &quorum->officers[quorum->count];
	CH_AUTO(X509) certificate = NULL;
	struct ch_operator named;

	if (!ch_certificate_read_pem_file(path, &certificate, err) ||
	    !ch_operator_read(certificate, &named, err))
		return ch_fail_in(err, "'%s'", path);
	if (!(named.roles & CH_ROLE_OFFICER))
		return ch_fail(err, CH_INVALID, "'%s': operator '%s' is no officer", path, named.name);
	if (strcmp(named.tenant, tenant) != 0)
		return ch_fail(err, CH_INVALID, "'%s': officer '%s' is of tenant '%s', not '%s'", path,
			       named.name, named.tenant, tenant);
	if (!ch_operator_key_sha256(certificate, officer->public_key_sha256, err))
		return ch_fail_in(err, "'%s'", path);
	memcpy(officer->name, named.name, sizeof(officer->name));
	quorum->count++;
	return true;
}

static bool make(struct vault *vault, const struct quorum_file *file, struct ch_error *err)
{
	struct vault_quorum quorum = { .version = 1, .required = (uint32_t)file->required };

	const struct officer_file *officers = file->officers.items;
	uint64_t before;

	/* Where one was deleted, the next one follows it: the vaults refuse what was in force before. */
	if (!vault_mark_read_number(vault, VAULT_MARK_QUORUM, file->tenant, &before, err))
		return false;
	quorum.version = before + 1;

	for (size_t i = 0; i < file->officers.count; i++)
		if (!add_officer(officers[i].certificate, file->tenant, &quorum, err))
			return false;
	if (!vault_quorum_save(vault, file->tenant, &quorum, 0, err))
		return false;
	printf("tenant '%s': %u of %zu officers approve:", file->tenant, quorum.required, quorum.count);
	for (size_t i = 0; i < quorum.count; i++)
		printf(" %s", quorum.officers[i].name);
	printf("\n");
	return true;
}

bool vault_init_quorum(struct vault *vault, const char *path, struct ch_error *err)
{
	struct quorum_file file = CH_NONE;
	bool done;

	if (!ch_conf_read_file(&quorum_schema, path, &file, err))
		return false;
	done = make(vault, &file, err);
	ch_conf_free(&quorum_schema, &file);
	return done;
}
