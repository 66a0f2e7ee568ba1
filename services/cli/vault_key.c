/* SPDX-License-Identifier: Apache-2.0 */
/* vault_key.c: `chancery vault key …`: keys, their states and policies, asked of the vaults directly. */
#include "client.h"
#include "output.h"
#include "vault_key.h"

#include "clock/clock.h"
#include "x509/x509.h"

#include <ctype.h>
#include <string.h>

static const struct cli_column list_columns[] = {
	{ "KEY", "key_id" },        { "LABEL", "label" }, { "ALGORITHM", "algorithm" },
	{ "PURPOSES", "purposes" }, { "STATE", "state" }, { "HSMS", "residency" },
};
static const struct cli_column show_columns[] = {
	{ "Key", "key_id" },
	{ "Tenant", "tenant" },
	{ "Label", "label" },
	{ "Algorithm", "algorithm" },
	{ "Purposes", "purposes" },
	{ "Subject", "subject" },
	{ "State", "state" },
	{ "HSMs", "residency" },
	{ "Created", "created_at" },
	{ "CA certificate until", "ca_not_after" },
	{ "Policy version", "policy_version" },
	{ "Callers", "callers" },
	{ "Signature algorithms", "signature_algorithms" },
	{ "Longest validity (s)", "max_validity_seconds" },
	{ "Quota at once", "quota_burst" },
	{ "Quota per hour", "quota_per_hour" },
	{ "Approvals required", "approvals_required" },
	{ "Audit", "audit_mode" },
	{ "Extra extensions", "extra_extensions" },
	{ "Signatures unverified", "signatures_unverified" },
};

/* PURPOSE_CA_CERTIFICATE → "ca-certificate" */
static void add_purposes(const Chancery__Key *key, cJSON *object)
{
	cJSON *list = cJSON_AddArrayToObject(object, "purposes");

	for (size_t i = 0; i < key->n_purposes; i++) {
		const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
			&chancery__purpose__descriptor, (int)key->purposes[i]);
		CH_AUTO(ch_string) name = value ? ch_strdup(value->name + strlen("PURPOSE_"))
						: ch_format("%d", (int)key->purposes[i]);

		for (char *at = name; *at; at++)
			*at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
		cJSON_AddItemToArray(list, cJSON_CreateString(name));
	}
}

static void add_texts(cJSON *object, const char *name, char *const *texts, size_t count)
{
	cJSON *list = cJSON_AddArrayToObject(object, name);

	for (size_t i = 0; i < count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(texts[i]));
}

static void add_time(cJSON *object, const char *name, int64_t time_us)
{
	char text[CH_TIME_TEXT_SIZE];

	if (time_us)
		cJSON_AddStringToObject(object, name, ch_time_text(time_us, text));
}

/* A limit that is not set stays out. */
static void add_limit(cJSON *object, const char *name, int64_t value)
{
	if (value)
		cJSON_AddNumberToObject(object, name, (double)value);
}

static void add_policy(cJSON *object, const Chancery__KeyPolicy *policy)
{
	add_texts(object, "callers", policy->callers, policy->n_callers);
	add_texts(object, "signature_algorithms", policy->signature_algorithms,
		  policy->n_signature_algorithms);
	add_limit(object, "max_validity_seconds", policy->max_validity_seconds);
	add_limit(object, "quota_burst", policy->quota_burst);
	add_limit(object, "quota_per_hour", policy->quota_per_hour);
	add_limit(object, "approvals_required", policy->approvals_required);
	if (policy->audit_mode[0])
		cJSON_AddStringToObject(object, "audit_mode", policy->audit_mode);
	if (policy->n_extra_extensions)
		add_texts(object, "extra_extensions", policy->extra_extensions, policy->n_extra_extensions);
	if (policy->signatures_unverified)
		cJSON_AddBoolToObject(object, "signatures_unverified", true);
}

static cJSON *key_object(const Chancery__Key *key)
{
	CH_AUTO(ch_string) subject = ch_name_text(ch_view(key->subject_der.data, key->subject_der.len));
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "key_id", key->key_id);
	cJSON_AddStringToObject(object, "tenant", key->tenant);
	cJSON_AddStringToObject(object, "label", key->label);
	cJSON_AddStringToObject(object, "algorithm", key->algorithm);
	add_purposes(key, object);
	if (subject[0])
		cJSON_AddStringToObject(object, "subject", subject);
	cJSON_AddStringToObject(object, "state", key->state);
	add_texts(object, "residency", key->residency, key->n_residency);
	add_time(object, "created_at", key->created_at_us);
	add_time(object, "ca_not_after", key->ca_not_after_us);
	add_limit(object, "policy_version", (int64_t)key->policy_version);
	if (key->policy)
		add_policy(object, key->policy);
	return object;
}

bool vault_key_list(struct vault_connection *connection, ProtobufCMessage **keys, struct ch_error *err)
{
	const Chancery__ListKeysRequest request = CHANCERY__LIST_KEYS_REQUEST__INIT;
	const struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS,
					  .request = &request.base,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS_REPLY,
					  .reply_descriptor = &chancery__list_keys_reply__descriptor };

	return vault_connection_call(connection, &call, keys, err);
}

bool vault_key_find(const ProtobufCMessage *keys, const char *key_id, const Chancery__Key **key,
		    struct ch_error *err)
{
	const Chancery__ListKeysReply *list = (const Chancery__ListKeysReply *)keys;

	for (size_t i = 0; i < list->n_keys; i++)
		if (strcmp(list->keys[i]->key_id, key_id) == 0) {
			*key = list->keys[i];
			return true;
		}
	return ch_fail(err, CH_NOT_FOUND, "key '%s': no such key", key_id);
}

void vault_key_print(struct cli *cli, const Chancery__Key *key)
{
	CH_AUTO(cJSON) object = key_object(key);

	cli_print_object(cli, object, show_columns, CH_COUNT(show_columns));
}

static bool list_keys(struct cli *cli, ProtobufCMessage **reply, struct ch_error *err)
{
	CH_AUTO(vault_connection) connection = NULL;

	return vault_connection_open(cli, &connection, err) && vault_key_list(connection, reply, err);
}

bool cli_vault_key_list(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_proto) reply = NULL;
	CH_AUTO(cJSON) rows = cJSON_CreateArray();
	const Chancery__ListKeysReply *keys;

	if (!list_keys(cli, &reply, err))
		return false;
	keys = (const Chancery__ListKeysReply *)reply;
	for (size_t i = 0; i < keys->n_keys; i++)
		cJSON_AddItemToArray(rows, key_object(keys->keys[i]));
	cli_print_table(cli, rows, list_columns, CH_COUNT(list_columns));
	return true;
}

bool cli_vault_key_show(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_proto) reply = NULL;
	const Chancery__Key *key;

	if (!list_keys(cli, &reply, err) || !vault_key_find(reply, cli->arguments[0], &key, err))
		return false;
	vault_key_print(cli, key);
	return true;
}
