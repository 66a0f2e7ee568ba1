/* SPDX-License-Identifier: Apache-2.0 */
/* audit_verify.c: `chancery audit verify`: reads the whole log from the database, past the daemons that wrote
 * it. */
#include "client.h"
#include "output.h"
#include "system_ca.h"

#include "auditlog/auditlog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_DIRECTORIES 64
#define MOST_FINDINGS    10000 /* named one by one; all are counted */

struct directories {
	const char *items[MOST_DIRECTORIES];
	size_t count;
	char *from_environment; /* owned: what some of the items point into */
};

static void free_directories(struct directories *directories)
{
	free(directories->from_environment);
}
CH_DEFINE_AUTO_VALUE(directories, struct directories, free_directories)

/* --state-directory, as often as it is given, else the words of CHANCERY_AUDIT_STATE. */
static void find_directories(const struct cli *cli, struct directories *directories)
{
	const char *environment = getenv("CHANCERY_AUDIT_STATE");
	const char *value;
	char *rest = NULL;

	while (directories->count < MOST_DIRECTORIES &&
	       (value = cli_value_at(cli, "state-directory", directories->count)))
		directories->items[directories->count++] = value;
	if (directories->count || !environment)
		return;
	directories->from_environment = ch_strdup(environment);
	for (char *word = strtok_r(directories->from_environment, " ", &rest);
	     word && directories->count < MOST_DIRECTORIES; word = strtok_r(NULL, " ", &rest))
		directories->items[directories->count++] = word;
}

static void note(void *context, const struct ch_audit_finding *finding)
{
	cJSON *findings = context;
	cJSON *row;

	if (cJSON_GetArraySize(findings) >= MOST_FINDINGS)
		return;
	row = cJSON_CreateObject();
	cJSON_AddNumberToObject(row, "sequence", (double)finding->sequence);
	cJSON_AddStringToObject(row, "kind", finding->kind);
	cJSON_AddStringToObject(row, "text", finding->text);
	cJSON_AddItemToArray(findings, row);
}

static void print_json(const struct ch_audit_summary *summary, const cJSON *findings)
{
	CH_AUTO(ch_string) hash = ch_hex(ch_view(summary->hash, sizeof(summary->hash)));
	cJSON *answer = cJSON_CreateObject();

	cJSON_AddNumberToObject(answer, "events", (double)summary->events);
	cJSON_AddNumberToObject(answer, "last_sequence", (double)summary->last_sequence);
	cJSON_AddStringToObject(answer, "hash", hash);
	cJSON_AddNumberToObject(answer, "checkpoints", (double)summary->checkpoints);
	cJSON_AddNumberToObject(answer, "covered_by_checkpoint", (double)summary->covered);
	cJSON_AddNumberToObject(answer, "finding_count", (double)summary->findings);
	cJSON_AddItemToObject(answer, "findings", cJSON_Duplicate(findings, true));
	cli_print_json(answer);
	cJSON_Delete(answer);
}

static void print_text(const struct ch_audit_summary *summary, const cJSON *findings)
{
	const cJSON *row;

	cJSON_ArrayForEach(row, findings)
	{
		const char *kind = cJSON_GetObjectItemCaseSensitive(row, "kind")->valuestring;
		const char *text = cJSON_GetObjectItemCaseSensitive(row, "text")->valuestring;

		printf("%-10s %s\n", kind, text);
	}
	printf("%" PRIu64 " events, %" PRIu64 " checkpoints (the newest covers %" PRIu64 "): ",
	       summary->events, summary->checkpoints, summary->covered);
	if (summary->findings)
		printf("%" PRIu64 " findings\n", summary->findings);
	else
		puts("unbroken");
}

/* What system-ca roll --finish left beside the system CA; NULL: none. The caller frees it. */
static char *find_retired(const char *system_ca)
{
	char *path = ch_audit_retired_cas(system_ca);

	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

bool cli_audit_verify(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(directories) directories = CH_NONE;
	CH_AUTO(ch_db) db = NULL;
	struct ch_database_config database = { .pool_size = 1 };
	struct ch_audit_verify_options options = { .keeper = "audit", .report = note };
	struct ch_audit_summary summary = CH_NONE;
	CH_AUTO(cJSON) findings = cJSON_CreateArray();
	CH_AUTO(ch_string) retired = NULL;
	const char *url;

	if (!cli_require(cli, "database", &url, err) ||
	    !cli_require(cli, "system-ca", &options.system_ca, err))
		return false;
	retired = find_retired(options.system_ca);
	options.retired_system_cas = retired;
	find_directories(cli, &directories);
	database.url = (char *)(uintptr_t)url; /* only read */
	if (!ch_db_open(&database, "chancery-audit-verify", NULL, &db, err))
		return false;
	options.db = db;
	options.state_directories = directories.items;
	options.state_directory_count = directories.count;
	options.checkpoint_key_file = cli_value(cli, "checkpoint-key");
	options.checkpoint_file = cli_value(cli, "checkpoint");
	options.report_context = findings;
	if (!ch_audit_verify(&options, &summary, err))
		return false;
	if (cli_flag(cli, "json"))
		print_json(&summary, findings);
	else
		print_text(&summary, findings);
	if (summary.findings)
		cli->exit_code = CLI_EXIT_FINDINGS;
	return true;
}
