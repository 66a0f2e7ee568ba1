/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm.c: `chancery vault hsm status|add|replace|disable|enable`: the HSMs of the vaults. Each vault has its
 * own workers: status asks all of them, the others are given to each (--vault).
 */
#include "client.h"
#include "output.h"
#include "vault_action.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_US   (5 * CH_SECOND)  /* of a vault that is asked how its HSMs are */
#define PATIENCE_US (60 * CH_SECOND) /* of one message; what is left then is asked for again */
#define ROUNDS_CAP  1000

/* --- status --- */

static void add_status(cJSON *rows, const Chancery__VaultStatusReply *status)
{
	for (size_t i = 0; i < status->n_hsms; i++) {
		const Chancery__HsmStatus *hsm = status->hsms[i];
		cJSON *row = cJSON_CreateObject();

		cJSON_AddStringToObject(row, "vault", status->instance);
		cJSON_AddStringToObject(row, "hsm", hsm->name);
		cJSON_AddStringToObject(row, "state", hsm->flapping ? "flapping" : hsm->state);
		cJSON_AddStringToObject(row, "breaker", hsm->breaker);
		cJSON_AddNumberToObject(row, "sessions", hsm->sessions);
		cJSON_AddNumberToObject(row, "keys", hsm->keys_present);
		cJSON_AddNumberToObject(row, "of", hsm->keys_total);
		cJSON_AddNumberToObject(row, "signatures", (double)hsm->signatures);
		cJSON_AddNumberToObject(row, "restarts", hsm->restarts);
		cJSON_AddStringToObject(row, "last_error", hsm->last_error);
		cJSON_AddItemToArray(rows, row);
	}
}

static void print_rows(struct cli *cli, const cJSON *rows)
{
	static const struct cli_column columns[] = {
		{ "VAULT", "vault" },
		{ "HSM", "hsm" },
		{ "STATE", "state" },
		{ "BREAKER", "breaker" },
		{ "SESSIONS", "sessions" },
		{ "KEYS", "keys" },
		{ "OF", "of" },
		{ "SIGNATURES", "signatures" },
		{ "RESTARTS", "restarts" },
		{ "LAST ERROR", "last_error" },
	};

	if (cli_flag(cli, "json"))
		cli_print_json(rows);
	else
		cli_print_table(cli, rows, columns, CH_COUNT(columns));
}

static void print_status(struct cli *cli, const ProtobufCMessage *reply)
{
	CH_AUTO(cJSON) rows = cJSON_CreateArray();

	add_status(rows, (const Chancery__VaultStatusReply *)reply);
	print_rows(cli, rows);
}

static bool call_status(struct vault_connection *connection, Chancery__PayloadType type,
			const ProtobufCMessage *request, int64_t timeout_us, ProtobufCMessage **reply,
			struct ch_error *err)
{
	const struct ch_bus_call call = { .request_type = type,
					  .request = request,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_VAULT_STATUS_REPLY,
					  .reply_descriptor = &chancery__vault_status_reply__descriptor,
					  .timeout_us = timeout_us };

	return vault_connection_call(connection, &call, reply, err);
}

/* A vault that does not answer is a row too. */
static void add_silent(struct cli *cli, cJSON *rows, const char *address, const char *why)
{
	cJSON *row = cJSON_CreateObject();

	cJSON_AddStringToObject(row, "vault", address);
	cJSON_AddStringToObject(row, "state", "no answer");
	cJSON_AddStringToObject(row, "last_error", why);
	cJSON_AddItemToArray(rows, row);
	cli->exit_code = CLI_EXIT_FINDINGS;
}

/* Each vault has workers and an opinion of its own: all are asked. */
bool cli_hsm_status(struct cli *cli, struct ch_error *err)
{
	const Chancery__VaultStatusRequest request = CHANCERY__VAULT_STATUS_REQUEST__INIT;
	CH_AUTO(cJSON) rows = cJSON_CreateArray();

	for (size_t i = 0;; i++) {
		CH_AUTO(vault_connection) connection = NULL;
		CH_AUTO(ch_string) address = NULL;
		CH_AUTO(ch_proto) reply = NULL;
		struct ch_error why = CH_NONE;

		if (!vault_connection_open_one(cli, i, &address, &connection, err))
			return false;
		if (!connection)
			break;
		if (call_status(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_VAULT_STATUS, &request.base,
				ANSWER_US, &reply, &why))
			add_status(rows, (const Chancery__VaultStatusReply *)reply);
		else
			add_silent(cli, rows, address, why.message);
	}
	print_rows(cli, rows);
	return true;
}

/* --- maintenance --- */

static bool control(struct cli *cli, bool enabled, struct ch_error *err)
{
	Chancery__HsmControlRequest request = CHANCERY__HSM_CONTROL_REQUEST__INIT;
	CH_AUTO(vault_connection) connection = NULL;
	CH_AUTO(ch_proto) reply = NULL;

	request.hsm = (char *)(uintptr_t)cli->arguments[0];
	request.enabled = enabled;
	if (!vault_connection_open(cli, &connection, err) ||
	    !call_status(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_HSM_CONTROL, &request.base, PATIENCE_US,
			 &reply, err))
		return false;
	if (!cli_flag(cli, "json"))
		printf("%s: HSM '%s' is %s\n", ((const Chancery__VaultStatusReply *)reply)->instance,
		       request.hsm, enabled ? "let in again" : "shut out: its token may be taken out");
	print_status(cli, reply);
	return true;
}

bool cli_hsm_disable(struct cli *cli, struct ch_error *err)
{
	return control(cli, false, err);
}

bool cli_hsm_enable(struct cli *cli, struct ch_error *err)
{
	return control(cli, true, err);
}

/* --- add, replace --- */

static bool approve(struct vault_connection *connection, const char *hsm, struct vault_action *action,
		    struct ch_error *err)
{
	const struct ch_action_field fields[] = { { (char *)(uintptr_t) "hsm", (char *)(uintptr_t)hsm } };

	return vault_action_approved(connection, CHANCERY__ACTION_KIND__ACTION_REPLACE_HSM, fields,
				     CH_COUNT(fields), action, err);
}

/* One message; the vault says how far it came. */
static bool fill_on(struct vault_connection *connection, const char *hsm, const struct vault_action *action,
		    ProtobufCMessage **reply, struct ch_error *err)
{
	Chancery__ReplaceHsmRequest request = CHANCERY__REPLACE_HSM_REQUEST__INIT;
	const struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_REPLACE_HSM,
					  .request = &request.base,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_REPLACE_HSM_REPLY,
					  .reply_descriptor = &chancery__replace_hsm_reply__descriptor,
					  .message_id = action->message_id,
					  .timeout_us = PATIENCE_US };

	request.hsm = (char *)(uintptr_t)hsm;
	request.action_id = (char *)(uintptr_t)action->id;
	return vault_connection_call(connection, &call, reply, err);
}

static bool is_done(const Chancery__ReplaceHsmReply *filled)
{
	return filled->copied + filled->present + filled->n_failed >= filled->total;
}

static bool report(const char *hsm, const Chancery__ReplaceHsmReply *filled, uint32_t copied,
		   struct ch_error *err)
{
	for (size_t i = 0; i < filled->n_failed; i++) {
		cli_print_lines(stderr, filled->failed[i]);
		fputc('\n', stderr);
	}
	printf("HSM '%s' holds %u of %u keys: %u copied now, each proven by a signature that its public key "
	       "verifies\n",
	       hsm, filled->copied + filled->present, filled->total, copied);
	return filled->n_failed == 0 ||
	       ch_fail(err, CH_UNAVAILABLE, "%zu keys could not be brought to HSM '%s'", filled->n_failed,
		       hsm);
}

bool cli_hsm_replace(struct cli *cli, struct ch_error *err)
{
	const char *hsm = cli->arguments[0];
	CH_AUTO(vault_connection) connection = NULL;
	CH_AUTO(vault_action) action = CH_NONE;
	uint32_t copied = 0;

	if (!vault_connection_open(cli, &connection, err) || !approve(connection, hsm, &action, err))
		return false;
	for (int round = 0; round < ROUNDS_CAP; round++) {
		CH_AUTO(ch_proto) reply = NULL;
		const Chancery__ReplaceHsmReply *filled;

		if (!fill_on(connection, hsm, &action, &reply, err))
			return false;
		filled = (const Chancery__ReplaceHsmReply *)reply;
		copied += filled->copied;
		if (is_done(filled))
			return report(hsm, filled, copied, err);
		fprintf(stderr, "%u of %u keys …\n", filled->copied + filled->present, filled->total);
	}
	return ch_fail(err, CH_UNAVAILABLE, "HSM '%s' does not get full: see the vault's log", hsm);
}
