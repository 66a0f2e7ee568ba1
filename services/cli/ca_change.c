/* SPDX-License-Identifier: Apache-2.0 */
/* ca_change.c: `chancery ca suspend|activate|retire|revoke`: an officer stops a CA alone, what else becomes
 * of it is approved by the quorum: proposed, shown, approved and asked for again by one command. */
#include "actions.h"
#include "client.h"
#include "output.h"

#include <stdio.h>
#include <string.h>

static const struct cli_column details[] = {
	{ "name", "name" },           { "state", "state" },     { "why", "why" },
	{ "own state", "own_state" }, { "subject", "subject" }, { "key id", "key_id" },
};

/* Done, or with the action that waits for officers. */
static bool ask(struct cli *cli, const cJSON *body, cJSON **answer, struct ch_error *err)
{
	CH_AUTO(ch_string) encoded = cli_url_encode(cli->arguments[0]);
	CH_AUTO(ch_string) path = ch_format("/v1/cas/%s/state", encoded);
	CH_AUTO(ch_string) text = cJSON_PrintUnformatted(body);
	const struct cli_request request = {
		.method = "PUT", .path = path, .content_type = "application/json", .body = ch_view_text(text)
	};

	return cli_send_json(cli, &request, answer, err);
}

static const char *field(const struct ch_action *action, const char *name)
{
	for (size_t i = 0; i < action->field_count; i++)
		if (strcmp(action->fields[i].name, name) == 0)
			return action->fields[i].value;
	return "";
}

/* The officer signs what the suite sent: it must be about this CA and this state, and its reason. The key,
 * its version and the certificate are the suite's to know; the vault holds them against what it has. */
static bool check_action(const cJSON *action, const char *name, const char *state, const char *reason,
			 struct ch_error *err)
{
	CH_AUTO(ch_action) document = CH_NONE;
	const cJSON *text = cJSON_GetObjectItemCaseSensitive(action, "document");

	if (!action_check(action, NULL, err) ||
	    !ch_action_read(ch_view_text(cJSON_IsString(text) ? text->valuestring : ""), &document, err))
		return false;
	if (document.kind != CHANCERY__ACTION_KIND__ACTION_CHANGE_CA_STATE ||
	    strcmp(field(&document, "ca"), name) != 0 || strcmp(field(&document, "to"), state) != 0 ||
	    strcmp(field(&document, "reason"), reason) != 0)
		return ch_fail(err, CH_DENIED,
			       "the action that the suite proposes is not that CA '%s' becomes %s (%s)", name,
			       state, reason);
	return true;
}

static bool approve(struct cli *cli, cJSON **action, struct ch_error *err)
{
	cJSON *after = NULL;

	if (!action_show(*action, err))
		return false;
	if (action_is(*action, "open")) {
		if (!action_approve(cli, *action, &after, err))
			return false;
		cJSON_Delete(*action);
		*action = after;
	}
	return action_await(cli, action, err);
}

/* reason: as the action names it, "-" for none */
static bool change(struct cli *cli, const char *state, const char *reason, cJSON *body, struct ch_error *err)
{
	CH_AUTO(cJSON) answer = NULL;
	CH_AUTO(cJSON) action = NULL;
	const cJSON *proposed;

	cJSON_AddStringToObject(body, "state", state);
	if (!ask(cli, body, &answer, err))
		return false;
	proposed = cJSON_GetObjectItemCaseSensitive(answer, "action");
	if (proposed) {
		action = cJSON_Duplicate(proposed, true);
		if (!check_action(action, cli->arguments[0], state, reason, err))
			return false;
		if (cli_flag(cli, "check")) {
			if (!action_show(action, err))
				return false;
			fprintf(stderr, "Not approved: --check was given.\n");
			return true;
		}
		cJSON_Delete(answer);
		answer = NULL;
		if (!approve(cli, &action, err) || !ask(cli, body, &answer, err))
			return false;
		if (cJSON_GetObjectItemCaseSensitive(answer, "action"))
			return ch_fail(err, CH_CONFLICT,
				       "the CA or its key was changed meanwhile: run this again");
	}
	cli_print_object(cli, answer, details, CH_COUNT(details));
	return true;
}

static bool change_with_words(struct cli *cli, const char *state, struct ch_error *err)
{
	CH_AUTO(cJSON) body = cJSON_CreateObject();

	if (cli_value(cli, "reason"))
		cJSON_AddStringToObject(body, "reason", cli_value(cli, "reason"));
	return change(cli, state, "-", body, err);
}

bool cli_ca_suspend(struct cli *cli, struct ch_error *err)
{
	return change_with_words(cli, "suspended", err);
}

bool cli_ca_activate(struct cli *cli, struct ch_error *err)
{
	return change_with_words(cli, "active", err);
}

bool cli_ca_retire(struct cli *cli, struct ch_error *err)
{
	return change_with_words(cli, "retired", err);
}

bool cli_ca_revoke(struct cli *cli, struct ch_error *err)
{
	const char *reason = cli_value_or(cli, "reason", "unspecified");
	CH_AUTO(cJSON) body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "reason", reason);
	if (cli_value(cli, "invalidity-date"))
		cJSON_AddStringToObject(body, "invalidity_date", cli_value(cli, "invalidity-date"));
	return change(cli, "revoked", reason, body, err);
}
