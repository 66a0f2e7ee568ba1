/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: `chancery status`: whether the suite answers, and each daemon's readiness where its operations
 * port is known. */
#include "client.h"
#include "operations.h"
#include "output.h"

#include <string.h>

static const struct cli_column columns[] = {
	{ "INSTANCE", "instance" },
	{ "STATE", "state" },
	{ "ADDRESS", "address" },
	{ "DETAIL", "detail" },
};

static cJSON *add_row(cJSON *rows, const char *instance, const char *address)
{
	cJSON *row = cJSON_CreateObject();

	cJSON_AddStringToObject(row, "instance", instance);
	cJSON_AddStringToObject(row, "address", address);
	cJSON_AddItemToArray(rows, row);
	return row;
}

static void set_state(struct cli *cli, cJSON *row, bool ready, const char *state, const char *detail)
{
	cJSON_AddStringToObject(row, "state", state);
	cJSON_AddStringToObject(row, "detail", detail);
	if (!ready)
		cli->exit_code = CLI_EXIT_FINDINGS;
}

/* "gateway-1; issuer-1, crl-1, audit-1 answer it" */
static char *describe(const cJSON *answer)
{
	CH_AUTO(ch_buffer) text = CH_NONE;
	CH_AUTO(ch_string) gateway = cli_text(cJSON_GetObjectItemCaseSensitive(answer, "gateway"));
	const cJSON *service;

	ch_buffer_printf(&text, "%s", gateway);
	cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(answer, "services"))
	{
		CH_AUTO(ch_string) name = cli_text(cJSON_GetObjectItemCaseSensitive(service, "service"));
		bool up = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(service, "up"));

		ch_buffer_printf(&text, ", %s %s", name, up ? "answers" : "does not answer");
	}
	return ch_buffer_steal_text(&text);
}

/* A retired CA is as its officers wanted it; any other that issues nothing is a finding. */
static void add_cas(struct cli *cli, const cJSON *answer, cJSON *rows)
{
	const cJSON *ca;

	cJSON_ArrayForEach(ca, cJSON_GetObjectItemCaseSensitive(answer, "cas_not_issuing"))
	{
		CH_AUTO(ch_string) name = cli_text(cJSON_GetObjectItemCaseSensitive(ca, "name"));
		CH_AUTO(ch_string) state = cli_text(cJSON_GetObjectItemCaseSensitive(ca, "state"));
		CH_AUTO(ch_string) why = cli_text(cJSON_GetObjectItemCaseSensitive(ca, "why"));
		CH_AUTO(ch_string) title = ch_format("CA %s", name);

		set_state(cli, add_row(rows, title, ""), strcmp(state, "retired") == 0, state, why);
	}
}

/* A whole request through the load balancer: TLS, this operator's certificate, gateway, and what the gateway
 * reaches. */
static void ask_suite(struct cli *cli, cJSON *rows)
{
	const char *url = cli_value(cli, "url"), *status;
	CH_AUTO(cJSON) answer = NULL;
	CH_AUTO(ch_string) detail = NULL;
	struct ch_error err = CH_NONE;
	cJSON *row = add_row(rows, "suite", url ? url : "");

	if (!cli_get(cli, "/v1/status", &answer, &err)) {
		set_state(cli, row, false, "fails", err.message);
		return;
	}
	status = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "status"));
	detail = describe(answer);
	set_state(cli, row, status && strcmp(status, "ok") == 0, status ? status : "unknown", detail);
	add_cas(cli, answer, rows);
}

/* The summary of what /readyz answers; where it is something else (a proxy's page), its beginning. */
static char *summary_of(struct ch_view body, bool *degraded)
{
	CH_AUTO(cJSON) answer = cJSON_ParseWithLength((const char *)body.data, body.size);
	const char *state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "state"));
	const cJSON *summary = cJSON_GetObjectItemCaseSensitive(answer, "summary");

	*degraded = state && strcmp(state, "degraded") == 0;
	if (cJSON_IsString(summary))
		return cli_text(summary);
	return ch_strndup((const char *)body.data, body.size < 200 ? body.size : 200);
}

static void ask_daemon(struct cli *cli, const struct operations_port *port, cJSON *rows)
{
	CH_AUTO(ch_bytes) body = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	struct ch_error err = CH_NONE;
	cJSON *row = add_row(rows, port->instance, port->address);
	bool degraded;
	long status = 0;

	if (!operations_get(port, "/readyz", &status, &body, &err)) {
		set_state(cli, row, false, "down", err.message);
		return;
	}
	text = summary_of(ch_view_of(&body), &degraded);
	set_state(cli, row, status == 200 && !degraded,
		  status != 200 ? "not ready"
		  : degraded    ? "degraded"
				: "ready",
		  text);
}

bool cli_status(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) rows = cJSON_CreateArray();
	CH_AUTO(operations_ports) ports = CH_NONE;
	const char *url;

	if (!cli_require(cli, "url", &url, err) ||
	    !operations_read(cli_value_or(cli, "operations", ""), &ports, err))
		return false;
	ask_suite(cli, rows);
	for (size_t i = 0; i < ports.count; i++)
		ask_daemon(cli, &ports.items[i], rows);
	cli_print_table(cli, rows, columns, CH_COUNT(columns));
	return true;
}
