/* SPDX-License-Identifier: Apache-2.0 */
/* profile.c: `chancery profile`: certificate profiles of the suite. */
#include "client.h"
#include "content.h"
#include "document.h"
#include "output.h"

#include <stdio.h>
#include <string.h>

#define DOCUMENT_CAP (256 * 1024)

static const struct cli_column columns[] = {
	{ "NAME", "name" },       { "VERSION", "version" },    { "KIND", "kind" },
	{ "CHANGED", "changed" }, { "APPLIED", "applied_at" },
};

static bool apply(struct cli *cli, const char *file, cJSON *applied, struct ch_error *err)
{
	CH_AUTO(ch_bytes) text = CH_NONE;
	CH_AUTO(document) document = CH_NONE;
	CH_AUTO(ch_string) name = NULL;
	CH_AUTO(ch_string) path = NULL;
	struct cli_request request = { .method = "PUT", .content_type = "application/yaml" };
	cJSON *answer = NULL;

	if (!ch_read_file(file, DOCUMENT_CAP, &text, err) ||
	    !content_is_no_private_key(file, ch_view_of(&text), "a profile", err) ||
	    !document_read(ch_view_of(&text), file, &document, err))
		return false;
	name = cli_url_encode(document.name);
	path = ch_format("/v1/profiles/%s", name);
	request.path = path;
	request.body = ch_view_of(&text);
	if (!cli_send_json(cli, &request, &answer, err))
		return ch_fail_in(err, "%s", file);
	cJSON_AddItemToArray(applied, answer);
	return true;
}

bool cli_profile_apply(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) applied = cJSON_CreateArray();

	for (size_t i = 0; i < cli->argument_count; i++)
		if (!apply(cli, cli->arguments[i], applied, err))
			return false;
	cli_print_table(cli, applied, columns, CH_COUNT(columns));
	return true;
}

bool cli_profile_list(struct cli *cli, struct ch_error *err)
{
	static const struct cli_column listed[] = {
		{ "NAME", "name" }, { "VERSION", "version" }, { "KIND", "kind" }, { "APPLIED", "applied_at" }
	};
	CH_AUTO(cJSON) answer = NULL;

	if (!cli_get(cli, "/v1/profiles", &answer, err))
		return false;
	cli_print_table(cli, cJSON_GetObjectItemCaseSensitive(answer, "profiles"), listed, CH_COUNT(listed));
	return true;
}

bool cli_profile_show(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) answer = NULL;
	const cJSON *profile;

	if (!cli_get(cli, "/v1/profiles", &answer, err))
		return false;
	cJSON_ArrayForEach(profile, cJSON_GetObjectItemCaseSensitive(answer, "profiles"))
	{
		const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(profile, "name"));

		if (name && strcmp(name, cli->arguments[0]) == 0) {
			cli_print_object(cli, profile, columns, CH_COUNT(columns));
			if (cli_flag(cli, "json"))
				return true;
			putchar('\n');
			cli_print_lines(stdout, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(
							profile, "document")));
			return true;
		}
	}
	return ch_fail(err, CH_NOT_FOUND, "there is no profile '%s'", cli->arguments[0]);
}
