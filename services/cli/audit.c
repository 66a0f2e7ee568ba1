/* SPDX-License-Identifier: Apache-2.0 */
/* audit.c: `chancery audit`: lists events, what one keeps, and what is in quarantine, through the gateway.
 * audit_verify.c verifies the log. */
#include "base64.h"
#include "client.h"
#include "output.h"

#include "mem/new_file.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

/* --- what an event keeps --- */

static bool read_sequence(const char *text, uint64_t *sequence, struct ch_error *err)
{
	char *end;

	errno = 0;
	*sequence = strtoull(text, &end, 10);
	return (isdigit((unsigned char)*text) && !*end && !errno && *sequence && *sequence <= INT64_MAX) ||
	       ch_fail(err, CH_INVALID, "'%.40s' is no event's sequence number (chancery audit list)", text);
}

static bool get_event(struct cli *cli, uint64_t sequence, cJSON **answer, const cJSON **event,
		      struct ch_error *err)
{
	CH_AUTO(ch_string) path =
		ch_format("/v1/audit/events?limit=1&with_content=true&after=%" PRIu64, sequence - 1);
	const cJSON *number;

	if (!cli_get(cli, path, answer, err))
		return false;
	*event = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(*answer, "events"), 0);
	number = cJSON_GetObjectItemCaseSensitive(*event, "log_sequence");
	return (cJSON_IsNumber(number) && (uint64_t)number->valuedouble == sequence) ||
	       ch_fail(err, CH_NOT_FOUND, "no event %" PRIu64 " that you may see", sequence);
}

bool cli_audit_content(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_new_file) out = CH_NONE;
	CH_AUTO(ch_bytes) octets = CH_NONE;
	CH_AUTO(cJSON) answer = NULL;
	const cJSON *event, *content;
	const char *path;
	uint64_t sequence;

	if (!read_sequence(cli->arguments[0], &sequence, err) || !cli_require(cli, "out", &path, err))
		return false;
	if (!ch_new_file_open(path, 0644, &out, err))
		return ch_fail_in(err, "--out");
	if (!get_event(cli, sequence, &answer, &event, err))
		return false;
	content = cJSON_GetObjectItemCaseSensitive(event, "content");
	if (!cJSON_IsString(content))
		return ch_fail(err, CH_NOT_FOUND, "event %" PRIu64 " (%s) keeps no octets", sequence,
			       cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "type")));
	if (!cli_unbase64(content->valuestring, "content", &octets, err) ||
	    !ch_new_file_finish(&out, ch_view_of(&octets), err))
		return false;
	cli_print_object(cli, event, columns, CH_COUNT(columns));
	return true;
}

/* --- quarantine --- */

/* What an event in quarantine claims of itself, where it can be read: `claimed` becomes columns. */
static void lift_claims(cJSON *events)
{
	static const char *const names[] = { "type", "actor", "sequence" };
	cJSON *event;

	cJSON_ArrayForEach(event, events)
	{
		const cJSON *claimed = cJSON_GetObjectItemCaseSensitive(event, "claimed");

		for (size_t i = 0; i < CH_COUNT(names); i++) {
			const cJSON *value = cJSON_GetObjectItemCaseSensitive(claimed, names[i]);

			if (value)
				cJSON_AddItemToObject(event, names[i], cJSON_Duplicate(value, true));
		}
	}
}

bool cli_audit_quarantine(struct cli *cli, struct ch_error *err)
{
	static const struct cli_column quarantine_columns[] = {
		{ "ID", "id" },       { "RECEIVED", "received" }, { "BROUGHT BY", "instance" },
		{ "CLAIMS", "type" }, { "NUMBER", "sequence" },   { "REASON", "reason" },
	};
	CH_AUTO(ch_buffer) buffer = CH_NONE;
	CH_AUTO(ch_string) path = NULL;
	CH_AUTO(cJSON) answer = NULL;
	cJSON *events;

	ch_buffer_printf(&buffer, "/v1/audit/quarantine?limit=%s", cli_value_or(cli, "limit", "50"));
	add_query(&buffer, "after", cli_value(cli, "after"));
	path = ch_buffer_steal_text(&buffer);
	if (!cli_get(cli, path, &answer, err))
		return false;
	if (cli_flag(cli, "json")) {
		cli_print_json(answer);
		return true;
	}
	events = cJSON_GetObjectItemCaseSensitive(answer, "events");
	lift_claims(events);
	cli_print_table(cli, events, quarantine_columns, CH_COUNT(quarantine_columns));
	return true;
}
