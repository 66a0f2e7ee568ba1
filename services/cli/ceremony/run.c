/* SPDX-License-Identifier: Apache-2.0 */
/* run.c: `chancery ceremony run` and `chancery ceremony sign`: a ceremony from its beginning, or from where
 * an earlier run stopped, to its signed transcript. */
#include "ceremony.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

static void run_free(struct ceremony_run *run)
{
	ceremony_plan_free(&run->plan);
	ceremony_folder_close(run->folder);
	vault_connection_close(run->connection);
}
CH_DEFINE_AUTO_VALUE(run, struct ceremony_run, run_free)

/* What officers reviewed is this file: they may give the digest that `check` showed them. */
static bool check_expected(struct cli *cli, const struct ceremony_document *document, struct ch_error *err)
{
	const char *expected = cli_value(cli, "sha256"), *tenant = cli_value_or(cli, "tenant", "default");

	if (expected && strcasecmp(expected, document->sha256) != 0)
		return ch_fail(err, CH_DENIED, "the document's SHA-256 is %s, not %.80s", document->sha256,
			       expected);
	return strcmp(document->file.tenant, tenant) == 0 ||
	       ch_fail(err, CH_INVALID, "the document is for tenant '%s', the command for '%s' (--tenant)",
		       document->file.tenant, tenant);
}

/* Nothing is made before all of it is known to come out: path lengths, validities, names. */
static bool rehearse(const struct ceremony_document *document, struct ch_error *err)
{
	CH_AUTO(ceremony_plan) rehearsal = CH_NONE;

	return ceremony_rehearse(document, &rehearsal, err);
}

/* The vault's key of each CA that exists, by its public key. */
static bool find_keys(struct ceremony_run *run, struct ch_error *err)
{
	struct ch_vault_context context = { .tenant = run->document->file.tenant };
	Chancery__ListKeysReply *keys = NULL;

	if (!run->plan.existing)
		return true;
	if (!ch_vault_list_keys(vault_connection_client(run->connection), &context, &keys, err))
		return false;
	for (size_t i = 0; i < run->plan.existing; i++)
		for (size_t j = 0; j < keys->n_keys && !run->plan.cas[i].key_id; j++) {
			const ProtobufCBinaryData *info = &keys->keys[j]->public_key_info;

			if (ch_view_equal(ch_view(info->data, info->len),
					  ch_view_of(&run->plan.cas[i].public_key_info)))
				run->plan.cas[i].key_id = ch_strdup(keys->keys[j]->key_id);
		}
	chancery__list_keys_reply__free_unpacked(keys, NULL);
	for (size_t i = 0; i < run->plan.existing; i++)
		if (!run->plan.cas[i].key_id)
			return ch_fail(err, CH_NOT_FOUND, "existing CA '%s': the vault has no such key",
				       run->plan.cas[i].document.name);
	return true;
}

static bool begin(struct cli *cli, struct ceremony_run *run, struct ch_error *err)
{
	const char *directory;

	return cli_require(cli, "out", &directory, err) && check_expected(cli, run->document, err) &&
	       rehearse(run->document, err) && ceremony_plan(run->document, &run->plan, err) &&
	       vault_connection_open(cli, &run->connection, err) && find_keys(run, err) &&
	       ceremony_folder_open(directory, run->document, &run->folder, err);
}

static bool sign_as(const struct ceremony_folder *folder, const struct ceremony_officers *officers,
		    struct ch_error *err)
{
	for (size_t i = 0; i < officers->count; i++) {
		const char *name = officer_key_holder(officers->keys[i])->name;
		bool added;

		if (!ceremony_sign(folder, officers->keys[i], &added, err) ||
		    (added && !ceremony_note(folder, err, "officer '%s' signed the transcript", name)))
			return false;
	}
	return true;
}

static void print_made(const struct ceremony_run *run, const char *directory)
{
	for (size_t i = run->plan.existing; i < run->plan.count; i++)
		printf("%s: key %s, certificate %s/%s.cer\n", run->plan.cas[i].document.name,
		       run->plan.cas[i].key_id, directory, run->plan.cas[i].document.name);
	printf("published files: %s/published\ntranscript: %s/%s, signed in %s\n", directory, directory,
	       CEREMONY_TRANSCRIPT, CEREMONY_SIGNATURES);
}

bool cli_ceremony_run(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ceremony_document) document = CH_NONE;
	CH_AUTO(ceremony_officers) officers = CH_NONE;
	CH_AUTO(run) run = { .cli = cli, .document = &document, .officers = &officers };

	if (!ceremony_read(cli->arguments[0], &document, err) ||
	    !ceremony_officers_open(cli, &officers, err) || !begin(cli, &run, err) ||
	    !ceremony_note(run.folder, err, "ceremony '%s', document SHA-256 %s", document.file.name,
			   document.sha256))
		return false;
	for (size_t i = run.plan.existing; i < run.plan.count; i++)
		if (!ceremony_make(&run, i, err))
			return false;
	for (size_t i = 0; i < run.plan.crl_count; i++)
		if (!ceremony_make_crl(&run, i, err))
			return false;
	if (!ceremony_publish(&run, err) || !ceremony_transcript(&run, err) ||
	    !sign_as(run.folder, &officers, err))
		return false;
	print_made(&run, cli_value(cli, "out"));
	return true;
}

bool cli_ceremony_sign(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ceremony_officers) officers = CH_NONE;
	CH_AUTO(ceremony_folder) folder = NULL;

	if (!ceremony_officers_open(cli, &officers, err))
		return false;
	if (!officers.count)
		return ch_fail(err, CH_INVALID, "--officer-cert and --officer-key are missing");
	return ceremony_folder_open(cli->arguments[0], NULL, &folder, err) && sign_as(folder, &officers, err);
}
