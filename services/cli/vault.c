/* SPDX-License-Identifier: Apache-2.0 */
/* vault.c: `chancery vault status`: each vault's HSMs, from the metrics of its operations port. */
#include "client.h"
#include "operations.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX "chancery_vault_hsm_"

static const struct cli_column columns[] = {
	{ "VAULT", "vault" },           { "HSM", "hsm" },           { "STATE", "state" },
	{ "SIGNATURES", "signatures" }, { "RESTARTS", "restarts" }, { "IN FLIGHT", "in_flight" },
};

static cJSON *row_of(cJSON *rows, const char *vault, const char *hsm)
{
	cJSON *row;

	cJSON_ArrayForEach(
		row,
		rows) if (strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(row, "vault")), vault) == 0 &&
			  strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(row, "hsm")), hsm) == 0) return row;
	row = cJSON_CreateObject();
	cJSON_AddStringToObject(row, "vault", vault);
	cJSON_AddStringToObject(row, "hsm", hsm);
	cJSON_AddItemToArray(rows, row);
	return row;
}

/* Sums up: a name may have several series that differ in other labels. */
static void add_number(cJSON *row, const char *name, double value)
{
	cJSON *number = cJSON_GetObjectItemCaseSensitive(row, name);

	if (number)
		cJSON_SetNumberValue(number, number->valuedouble + value);
	else
		cJSON_AddNumberToObject(row, name, value);
}

/* chancery_vault_hsm_<what>[_total]{…hsm="a"…} <value> */
static void read_line(cJSON *rows, const char *vault, char *line)
{
	char *what = line + strlen(PREFIX), *labels = strchr(line, '{'), *hsm, *end,
	     *value = strrchr(line, ' ');

	if (strncmp(line, PREFIX, strlen(PREFIX)) != 0 || !labels || !value)
		return;
	hsm = strstr(labels, "hsm=\"");
	if (!hsm)
		return;
	hsm += strlen("hsm=\"");
	end = strchr(hsm, '"');
	if (!end)
		return;
	*end = '\0';
	*labels = '\0';
	if (labels - what > 6 && strcmp(labels - 6, "_total") == 0)
		labels[-6] = '\0';
	if (!strstr(what, "_bucket") && !strstr(what, "_seconds"))
		add_number(row_of(rows, vault, hsm), what, strtod(value + 1, NULL));
}

static bool ask(const struct operations_port *port, cJSON *rows, struct ch_error *err)
{
	CH_AUTO(ch_bytes) body = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	char *rest = NULL;
	long status = 0;

	if (!operations_get(port, "/metrics", &status, &body, err))
		return ch_fail_in(err, "%s", port->instance);
	text = ch_strndup((const char *)body.data, body.size);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		read_line(rows, port->instance, line);
	return true;
}

bool cli_vault_status(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) rows = cJSON_CreateArray();
	CH_AUTO(operations_ports) ports = CH_NONE;
	const char *operations;
	cJSON *row;

	if (!cli_require(cli, "operations", &operations, err) || !operations_read(operations, &ports, err))
		return false;
	for (size_t i = 0; i < ports.count; i++)
		if (strncmp(ports.items[i].instance, "vault", 5) == 0 && !ask(&ports.items[i], rows, err))
			return false;
	cJSON_ArrayForEach(row, rows)
	{
		const cJSON *up = cJSON_GetObjectItemCaseSensitive(row, "up");
		bool is_up = up && up->valuedouble > 0;

		cJSON_AddStringToObject(row, "state", is_up ? "up" : "down");
		if (!is_up)
			cli->exit_code = CLI_EXIT_FINDINGS;
	}
	if (cJSON_GetArraySize(rows) == 0)
		return ch_fail(err, CH_NOT_FOUND, "no vault tells of an HSM (--operations '%s')", operations);
	cli_print_table(cli, rows, columns, CH_COUNT(columns));
	return true;
}
