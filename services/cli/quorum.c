/* SPDX-License-Identifier: Apache-2.0 */
/* quorum.c: `chancery quorum`: which officers approve a tenant's actions, asked of the vaults directly. */
#include "client.h"
#include "output.h"
#include "vault_action.h"

#include "conf/conf.h"
#include "x509/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFFICERS_MAX 16

static cJSON *quorum_json(const Chancery__Quorum *quorum)
{
	cJSON *tree = cJSON_CreateObject();
	cJSON *list;

	cJSON_AddNumberToObject(tree, "version", (double)quorum->version);
	cJSON_AddNumberToObject(tree, "required", quorum->required);
	list = cJSON_AddArrayToObject(tree, "officers");
	for (size_t i = 0; i < quorum->n_officers; i++) {
		const Chancery__QuorumOfficer *officer = quorum->officers[i];
		CH_AUTO(ch_string)
		digest = ch_hex(ch_view(officer->public_key_sha256.data, officer->public_key_sha256.len));
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "name", officer->name);
		cJSON_AddStringToObject(item, "public_key_sha256", digest);
		cJSON_AddItemToArray(list, item);
	}
	return tree;
}

static void print_quorum(struct cli *cli, const Chancery__Quorum *quorum)
{
	static const struct cli_column columns[] = { { "OFFICER", "name" },
						     { "SHA-256 OF THE PUBLIC KEY", "public_key_sha256" } };
	CH_AUTO(cJSON) tree = quorum_json(quorum);

	if (cli_flag(cli, "json")) {
		cli_print_json(tree);
		return;
	}
	printf("version %llu: %u of %zu officers approve\n", (unsigned long long)quorum->version,
	       quorum->required, quorum->n_officers);
	cli_print_table(cli, cJSON_GetObjectItemCaseSensitive(tree, "officers"), columns, CH_COUNT(columns));
}

/* A call that is answered with a quorum. */
static bool call_quorum(struct vault_connection *connection, Chancery__PayloadType type,
			const ProtobufCMessage *request, const uint8_t *message_id, ProtobufCMessage **reply,
			struct ch_error *err)
{
	const struct ch_bus_call call = { .request_type = type,
					  .request = request,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_QUORUM_REPLY,
					  .reply_descriptor = &chancery__quorum_reply__descriptor,
					  .message_id = message_id };

	if (!vault_connection_call(connection, &call, reply, err))
		return false;
	return ((Chancery__QuorumReply *)*reply)->quorum ||
	       ch_fail(err, CH_INTERNAL, "the vault answered without a quorum");
}

static bool get_quorum(struct vault_connection *connection, ProtobufCMessage **reply, struct ch_error *err)
{
	const Chancery__GetQuorumRequest request = CHANCERY__GET_QUORUM_REQUEST__INIT;

	return call_quorum(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_QUORUM, &request.base, NULL, reply,
			   err);
}

bool cli_quorum_show(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(vault_connection) connection = NULL;
	CH_AUTO(ch_proto) reply = NULL;

	if (!vault_connection_open(cli, &connection, err) || !get_quorum(connection, &reply, err))
		return false;
	print_quorum(cli, ((const Chancery__QuorumReply *)reply)->quorum);
	return true;
}

/* --- change: the same file as chancery-vault --init-quorum reads --- */

struct quorum_file {
	char *tenant;
	int64_t required;
	struct ch_conf_list officers; /* struct officer_file */
};
struct officer_file {
	char *certificate;
};

static const struct ch_conf_field officer_fields[] = {
	CH_CONF_FIELD(struct officer_file, certificate, CH_CONF_PATH, .required = true,
		      .help = "PEM: who the officer is, and the key that they sign with"),
};
static const struct ch_conf_schema officer_schema = { "officers", officer_fields, CH_COUNT(officer_fields) };
static const struct ch_conf_field fields[] = {
	CH_CONF_FIELD(struct quorum_file, tenant, CH_CONF_STRING, .default_text = "default",
		      .help = "whose actions they approve"),
	CH_CONF_FIELD(struct quorum_file, required, CH_CONF_INTEGER, .required = true, .min = 1,
		      .max = OFFICERS_MAX, .help = "how many of them must approve"),
	CH_CONF_NAMED("officers", struct quorum_file, officers, CH_CONF_SECTION_LIST, .required = true,
		      .min = 1, .max = OFFICERS_MAX, .schema = &officer_schema,
		      .element_size = sizeof(struct officer_file), .help = "one item for each officer"),
};
static const struct ch_conf_schema quorum_schema = { "quorum", fields, CH_COUNT(fields) };

/* The next quorum, as a message. */
struct wanted {
	Chancery__Quorum message;
	Chancery__QuorumOfficer officers[OFFICERS_MAX], *list[OFFICERS_MAX];
	struct ch_operator holders[OFFICERS_MAX];
	uint8_t digests[OFFICERS_MAX][32];
};

static bool add_officer(struct wanted *wanted, const char *path, const char *tenant, struct ch_error *err)
{
	size_t i = wanted->message.n_officers;
	CH_AUTO(X509) certificate = NULL;
	struct ch_operator *holder = &wanted->holders[i];

	if (!ch_certificate_read_pem_file(path, &certificate, err) ||
	    !ch_operator_read(certificate, holder, err))
		return ch_fail_in(err, "'%s'", path);
	if (!(holder->roles & CH_ROLE_OFFICER) || strcmp(holder->tenant, tenant) != 0)
		return ch_fail(err, CH_INVALID, "'%s': operator '%s' is no officer of tenant '%s'", path,
			       holder->name, tenant);
	if (!ch_operator_key_sha256(certificate, wanted->digests[i], err))
		return ch_fail_in(err, "'%s'", path);
	for (size_t j = 0; j < i; j++)
		if (strcmp(wanted->holders[j].name, holder->name) == 0 ||
		    memcmp(wanted->digests[j], wanted->digests[i], 32) == 0)
			return ch_fail(err, CH_INVALID, "'%s': officer '%s' is named twice", path,
				       holder->name);
	chancery__quorum_officer__init(&wanted->officers[i]);
	wanted->officers[i].name = holder->name;
	wanted->officers[i].public_key_sha256 =
		(ProtobufCBinaryData){ .len = 32, .data = wanted->digests[i] };
	wanted->list[i] = &wanted->officers[i];
	wanted->message.n_officers++;
	return true;
}

static bool read_wanted(struct cli *cli, const struct quorum_file *file, struct wanted *wanted,
			struct ch_error *err)
{
	const struct officer_file *officers = file->officers.items;
	const char *tenant = cli_value_or(cli, "tenant", "default");

	if (strcmp(file->tenant, tenant) != 0)
		return ch_fail(err, CH_INVALID,
			       "the file is for tenant '%s', the command for '%s' (--tenant)", file->tenant,
			       tenant);
	chancery__quorum__init(&wanted->message);
	wanted->message.required = (uint32_t)file->required;
	wanted->message.officers = wanted->list;
	for (size_t i = 0; i < file->officers.count; i++)
		if (!add_officer(wanted, officers[i].certificate, tenant, err))
			return false;
	return wanted->message.required <= wanted->message.n_officers ||
	       ch_fail(err, CH_INVALID, "%u approvals required of %zu officers", wanted->message.required,
		       wanted->message.n_officers);
}

/* "alice=9a1f…,bob=…", as the action's document has it. */
static char *officers_text(const Chancery__Quorum *quorum)
{
	CH_AUTO(ch_buffer) text = CH_NONE;

	for (size_t i = 0; i < quorum->n_officers; i++) {
		const ProtobufCBinaryData *digest = &quorum->officers[i]->public_key_sha256;
		CH_AUTO(ch_string) hex = ch_hex(ch_view(digest->data, digest->len));

		ch_buffer_printf(&text, "%s%s=%s", i ? "," : "", quorum->officers[i]->name, hex);
	}
	return ch_buffer_steal_text(&text);
}

/* With the approvals of the officers of the one in force. */
static bool put_in_force(struct vault_connection *connection, struct wanted *wanted, char *officers,
			 ProtobufCMessage **reply, struct ch_error *err)
{
	Chancery__ChangeQuorumRequest request = CHANCERY__CHANGE_QUORUM_REQUEST__INIT;
	CH_AUTO(ch_string) version = ch_format("%llu", (unsigned long long)wanted->message.version);
	CH_AUTO(ch_string) required = ch_format("%u", wanted->message.required);
	CH_AUTO(vault_action) action = CH_NONE;
	const struct ch_action_field changed[] = { { "version", version },
						   { "required", required },
						   { "officers", officers } };

	if (!vault_action_approved(connection, CHANCERY__ACTION_KIND__ACTION_CHANGE_QUORUM, changed,
				   CH_COUNT(changed), &action, err))
		return false;
	request.quorum = &wanted->message;
	request.action_id = (char *)(uintptr_t)action.id;
	return call_quorum(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_QUORUM, &request.base,
			   action.message_id, reply, err);
}

static bool change(struct cli *cli, struct wanted *wanted, struct ch_error *err)
{
	CH_AUTO(vault_connection) connection = NULL;
	CH_AUTO(ch_proto) before = NULL;
	CH_AUTO(ch_proto) after = NULL;
	CH_AUTO(ch_string) officers = officers_text(&wanted->message);
	const Chancery__Quorum *old;

	/* 1. Something to change? */
	if (!vault_connection_open(cli, &connection, err) || !get_quorum(connection, &before, err))
		return false;
	old = ((const Chancery__QuorumReply *)before)->quorum;
	CH_AUTO(ch_string) old_officers = officers_text(old);
	if (old->required == wanted->message.required && strcmp(old_officers, officers) == 0) {
		fprintf(stderr, "This quorum is in force already.\n");
		print_quorum(cli, old);
		return true;
	}
	wanted->message.version = old->version + 1;
	if (cli_flag(cli, "check")) {
		print_quorum(cli, &wanted->message);
		return true;
	}

	/* 2. Proposed to the old one, and in force with its approvals. */
	if (!put_in_force(connection, wanted, officers, &after, err))
		return false;
	print_quorum(cli, ((const Chancery__QuorumReply *)after)->quorum);
	return true;
}

bool cli_quorum_change(struct cli *cli, struct ch_error *err)
{
	struct quorum_file file = CH_NONE;
	struct wanted wanted = CH_NONE;
	bool done;

	if (!ch_conf_read_file(&quorum_schema, cli->arguments[0], &file, err))
		return false;
	done = read_wanted(cli, &file, &wanted, err) && change(cli, &wanted, err);
	ch_conf_free(&quorum_schema, &file);
	return done;
}
