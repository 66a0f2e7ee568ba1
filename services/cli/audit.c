/* SPDX-License-Identifier: Apache-2.0 */
/* audit.c: `chancery audit`: lists events through the gateway. audit_verify.c verifies the log. */
#include "client.h"
#include "output.h"

#include <stdio.h>

static const struct cli_column columns[] = {
	{ "SEQUENCE", "log_sequence" }, { "TIME", "time" },        { "TYPE", "type" },
	{ "OUTCOME", "outcome" },       { "SERVICE", "instance" }, { "ACTOR", "actor" },
	{ "SUBJECT", "subject" },
};

static void add_query(struct ch_buffer *path, const char *name, const char *value)
{
	CH_AUTO(ch_string) encoded = value ? cli_url_encode(value) : NULL;

	if (encoded)
		ch_buffer_printf(path, "&%s=%s", name, encoded);
}

bool cli_audit_list(struct cli *cli, struct ch_error *err)
{
	static const char *const filters[] = { "type", "actor", "subject", "since", "after" };
	CH_AUTO(ch_buffer) buffer = CH_NONE;
	CH_AUTO(ch_string) path = NULL;
	CH_AUTO(cJSON) answer = NULL;

	ch_buffer_printf(&buffer, "/v1/audit/events?limit=%s", cli_value_or(cli, "limit", "100"));
	for (size_t i = 0; i < CH_COUNT(filters); i++)
		add_query(&buffer, filters[i], cli_value(cli, filters[i]));
	path = ch_buffer_steal_text(&buffer);
	if (!cli_get(cli, path, &answer, err))
		return false;
	if (cli_flag(cli, "json"))
		cli_print_json(answer);
	else
		cli_print_table(cli, cJSON_GetObjectItemCaseSensitive(answer, "events"), columns,
				CH_COUNT(columns));
	return true;
}
