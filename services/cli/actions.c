/* SPDX-License-Identifier: Apache-2.0 */
/* actions.c: `chancery action` and `chancery approve`: what waits for officers, and an officer's signature
 * over it. */
#include "actions.h"

#include "action_view.h"
#include "base64.h"
#include "officer_key.h"
#include "output.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_SECONDS 2 /* between two looks at an action */

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text ? text : "";
}

static char *action_path(const char *id, const char *rest)
{
	CH_AUTO(ch_string) encoded = cli_url_encode(id);

	return ch_format("/v1/actions/%s%s", encoded, rest);
}

bool action_get(struct cli *cli, const char *id, cJSON **action, struct ch_error *err)
{
	CH_AUTO(ch_string) path = action_path(id, "");

	return cli_get(cli, path, action, err);
}

bool action_is(const cJSON *action, const char *state)
{
	return strcmp(text_of(action, "state"), state) == 0;
}

bool action_check(const cJSON *action, const struct action_expected *expected, struct ch_error *err)
{
	CH_AUTO(ch_action) document = CH_NONE;

	if (!ch_action_read(ch_view_text(text_of(action, "document")), &document, err))
		return ch_fail_in(err, "the document to approve");
	if (strcmp(document.id, text_of(action, "id")) != 0)
		return ch_fail(err, CH_DENIED, "the document is of action '%s', not '%.40s'", document.id,
			       text_of(action, "id"));
	return !expected ||
	       ch_action_matches(&document, expected->kind, expected->fields, expected->count, err);
}

bool action_show(const cJSON *action, struct ch_error *err)
{
	const cJSON *required = cJSON_GetObjectItemCaseSensitive(action, "approvals_required");
	CH_AUTO(ch_string) names = cli_text(cJSON_GetObjectItemCaseSensitive(action, "approved_by"));
	CH_AUTO(ch_bytes) content = CH_NONE;

	if (!cli_unbase64(text_of(action, "content"), "the action's content", &content, err) ||
	    !action_view_show(stderr, ch_view_text(text_of(action, "document")), ch_view_of(&content), err))
		return false;
	fprintf(stderr, "  approvals: %d needed; so far: %s\n",
		cJSON_IsNumber(required) ? required->valueint : 0, names[0] ? names : "none");
	return true;
}

/* --- approving --- */

static char *base64(struct ch_view view)
{
	char *text = ch_alloc(4 * ((view.size + 2) / 3) + 1);

	EVP_EncodeBlock((unsigned char *)text, view.data, (int)view.size);
	return text;
}

static bool has_approved(const cJSON *action, const char *officer)
{
	const cJSON *name;

	cJSON_ArrayForEach(name, cJSON_GetObjectItemCaseSensitive(action, "approved_by"))
	{
		if (cJSON_IsString(name) && strcmp(name->valuestring, officer) == 0)
			return true;
	}
	return false;
}

static bool send_approval(struct cli *cli, struct officer_key *key, const cJSON *action, cJSON **after,
			  struct ch_error *err)
{
	CH_AUTO(ch_string) path = action_path(text_of(action, "id"), "/approvals");
	CH_AUTO(ch_string) certificate = base64(officer_key_certificate(key));
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_string) signature_text = NULL;
	CH_AUTO(cJSON) body = cJSON_CreateObject();

	if (!officer_key_sign(key, ch_view_text(text_of(action, "document")), &signature, err))
		return false;
	signature_text = base64(ch_view_of(&signature));
	cJSON_AddStringToObject(body, "certificate", certificate);
	cJSON_AddStringToObject(body, "signature", signature_text);
	return cli_post(cli, path, body, after, err);
}

bool action_approve(struct cli *cli, const cJSON *action, cJSON **after, struct ch_error *err)
{
	CH_AUTO(officer_key) key = NULL;
	const char *certificate_file, *key_file, *name;

	/* A key in a token cannot be libcurl's too: it may be another than the one that the command asks
	 * with. */
	certificate_file = cli_value(cli, "officer-cert");
	key_file = cli_value(cli, "officer-key");
	if ((!certificate_file && !cli_require(cli, "cert", &certificate_file, err)) ||
	    (!key_file && !cli_require(cli, "key", &key_file, err)) ||
	    !officer_key_open(certificate_file, key_file, &key, err))
		return false;
	name = officer_key_holder(key)->name;
	if (action_is(action, "open") && !has_approved(action, name))
		return action_view_confirm(cli, name, err) && send_approval(cli, key, action, after, err);
	fprintf(stderr, "Nothing to sign: the action is %s%s%s.\n", text_of(action, "state"),
		has_approved(action, name) ? ", approved before by " : "",
		has_approved(action, name) ? name : "");
	*after = cJSON_Duplicate(action, true);
	return true;
}

bool action_await(struct cli *cli, cJSON **action, struct ch_error *err)
{
	CH_AUTO(ch_string) id = ch_strdup(text_of(*action, "id"));
	struct timespec pause = { .tv_sec = WAIT_SECONDS };

	while (action_is(*action, "open") && cli_flag(cli, "wait")) {
		nanosleep(&pause, NULL);
		cJSON_Delete(*action);
		*action = NULL;
		if (!action_get(cli, id, action, err))
			return false;
	}
	if (action_is(*action, "expired"))
		return ch_fail(err, CH_EXPIRED, "action '%s' expired before enough officers approved it", id);
	if (!action_is(*action, "open"))
		return true;
	CH_AUTO(ch_string) names = cli_text(cJSON_GetObjectItemCaseSensitive(*action, "approved_by"));
	return ch_fail(
		err, CH_UNAVAILABLE,
		"%s waits for officers: %d of %d approved it (%s). Others: chancery approve %s; then run "
		"this again",
		text_of(*action, "kind"),
		cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(*action, "approved_by")),
		cJSON_GetObjectItemCaseSensitive(*action, "approvals_required")->valueint, names, id);
}

/* --- the commands --- */

static bool list(struct cli *cli, const char *state, struct ch_error *err)
{
	static const struct cli_column columns[] = {
		{ "ACTION", "id" },
		{ "KIND", "kind" },
		{ "STATE", "state" },
		{ "REQUIRED", "approvals_required" },
		{ "APPROVED BY", "approved_by" },
		{ "PROPOSED BY", "proposed_by" },
		{ "EXPIRES", "expires_at" },
	};
	CH_AUTO(ch_string) path = ch_format("/v1/actions%s%s", *state ? "?state=" : "", state);
	CH_AUTO(cJSON) answer = NULL;

	if (!cli_get(cli, path, &answer, err))
		return false;
	cli_print_table(cli, cJSON_GetObjectItemCaseSensitive(answer, "actions"), columns, CH_COUNT(columns));
	return true;
}

bool cli_action_list(struct cli *cli, struct ch_error *err)
{
	return list(cli, cli_value_or(cli, "state", ""), err);
}

static void print_action(struct cli *cli, const cJSON *action)
{
	static const struct cli_column columns[] = {
		{ "action", "id" },
		{ "kind", "kind" },
		{ "state", "state" },
		{ "required", "approvals_required" },
		{ "approved by", "approved_by" },
		{ "proposed by", "proposed_by" },
		{ "expires", "expires_at" },
	};

	cli_print_object(cli, action, columns, CH_COUNT(columns));
}

bool cli_action_show(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) action = NULL;

	if (!action_get(cli, cli->arguments[0], &action, err) || !action_check(action, NULL, err))
		return false;
	print_action(cli, action);
	if (!cli_flag(cli, "json")) {
		putchar('\n');
		cli_print_lines(stdout, text_of(action, "document"));
	}
	return true;
}

static bool approve_one(struct cli *cli, const char *id, struct ch_error *err)
{
	CH_AUTO(cJSON) action = NULL;
	CH_AUTO(cJSON) after = NULL;

	if (!action_get(cli, id, &action, err) || !action_check(action, NULL, err) ||
	    !action_show(action, err))
		return false;
	if (cli_flag(cli, "check")) {
		fprintf(stderr, "Not approved: --check was given.\n");
		print_action(cli, action);
		return true;
	}
	if (!action_approve(cli, action, &after, err))
		return false;
	print_action(cli, after);
	return true;
}

bool cli_approve(struct cli *cli, struct ch_error *err)
{
	if (cli->argument_count == 0)
		return list(cli, "open", err);
	for (size_t i = 0; i < cli->argument_count; i++)
		if (!approve_one(cli, cli->arguments[i], err))
			return ch_fail_in(err, "action '%.40s'", cli->arguments[i]);
	return true;
}
