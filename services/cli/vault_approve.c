/* SPDX-License-Identifier: Apache-2.0 */
/* vault_approve.c: `chancery vault approve`: an officer's approval where there is no gateway, such as at an
 * offline root. */
#include "action_view.h"
#include "client.h"
#include "officer_key.h"
#include "output.h"
#include "vault_action.h"

#include <stdio.h>
#include <string.h>

static cJSON *row_of(const Chancery__Action *action)
{
	cJSON *row = cJSON_CreateObject(), *officers;
	char expires[CH_TIME_TEXT_SIZE];

	cJSON_AddStringToObject(row, "id", action->action_id);
	cJSON_AddStringToObject(row, "kind", ch_action_kind_name(action->kind));
	cJSON_AddStringToObject(row, "state", action->state);
	cJSON_AddNumberToObject(row, "approvals_required", action->approvals_required);
	officers = cJSON_AddArrayToObject(row, "approved_by");
	for (size_t i = 0; i < action->n_approved_by; i++)
		cJSON_AddItemToArray(officers, cJSON_CreateString(action->approved_by[i]));
	cJSON_AddStringToObject(row, "proposed_by", action->proposed_by);
	cJSON_AddStringToObject(row, "expires_at", ch_time_text(action->expires_at_us, expires));
	return row;
}

static bool list_open(struct cli *cli, struct vault_connection *connection, struct ch_error *err)
{
	static const struct cli_column columns[] = {
		{ "ACTION", "id" },
		{ "KIND", "kind" },
		{ "REQUIRED", "approvals_required" },
		{ "APPROVED BY", "approved_by" },
		{ "PROPOSED BY", "proposed_by" },
		{ "EXPIRES", "expires_at" },
	};
	Chancery__ListActionsRequest request = CHANCERY__LIST_ACTIONS_REQUEST__INIT;
	const struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_ACTIONS,
					  .request = &request.base,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_ACTIONS_REPLY,
					  .reply_descriptor = &chancery__list_actions_reply__descriptor };
	CH_AUTO(cJSON) rows = cJSON_CreateArray();
	CH_AUTO(ch_proto) reply = NULL;
	const Chancery__ListActionsReply *listed;

	request.state = (char *)(uintptr_t) "open";
	if (!vault_connection_call(connection, &call, &reply, err))
		return false;
	listed = (const Chancery__ListActionsReply *)reply;
	for (size_t i = 0; i < listed->n_actions; i++)
		cJSON_AddItemToArray(rows, row_of(listed->actions[i]));
	cli_print_table(cli, rows, columns, CH_COUNT(columns));
	return true;
}

static bool open_key(struct cli *cli, struct officer_key **key, struct ch_error *err)
{
	const char *certificate_file, *key_file;

	return cli_require(cli, "officer-cert", &certificate_file, err) &&
	       cli_require(cli, "officer-key", &key_file, err) &&
	       officer_key_open(certificate_file, key_file, key, err);
}

static void print_action(struct cli *cli, const Chancery__Action *action)
{
	static const struct cli_column columns[] = {
		{ "action", "id" },
		{ "kind", "kind" },
		{ "state", "state" },
		{ "required", "approvals_required" },
		{ "approved by", "approved_by" },
	};
	CH_AUTO(cJSON) row = row_of(action);

	cli_print_object(cli, row, columns, CH_COUNT(columns));
}

static bool approve_one(struct cli *cli, struct vault_connection *connection, struct officer_key *key,
			const char *id, struct ch_error *err)
{
	CH_AUTO(ch_action) document = CH_NONE;
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_proto) reply = NULL;
	CH_AUTO(ch_proto) after = NULL;
	const Chancery__Action *action;

	if (!vault_action_get(connection, id, &reply, err) ||
	    !vault_action_check(vault_action_of(reply), &document, err))
		return false;
	action = vault_action_of(reply);
	if (!action_view_show(stderr, ch_view(action->document.data, action->document.len),
			      ch_view(action->content.data, action->content.len), err))
		return false;
	if (strcmp(action->state, "open") != 0 || vault_action_has(action, officer_key_holder(key)->name)) {
		fprintf(stderr, "Nothing to sign.\n");
		print_action(cli, action);
		return true;
	}
	if (!action_view_confirm(cli, officer_key_holder(key)->name, err) ||
	    !officer_key_sign(key, ch_view(action->document.data, action->document.len), &signature, err) ||
	    !vault_action_approve(connection, action, officer_key_certificate(key), ch_view_of(&signature),
				  &after, err))
		return false;
	print_action(cli, vault_action_of(after));
	return true;
}

bool cli_vault_approve(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(vault_connection) connection = NULL;
	CH_AUTO(officer_key) key = NULL;

	if (!vault_connection_open(cli, &connection, err))
		return false;
	if (cli->argument_count == 0)
		return list_open(cli, connection, err);
	if (!open_key(cli, &key, err))
		return false;
	for (size_t i = 0; i < cli->argument_count; i++)
		if (!approve_one(cli, connection, key, cli->arguments[i], err))
			return ch_fail_in(err, "action '%.40s'", cli->arguments[i]);
	return true;
}
