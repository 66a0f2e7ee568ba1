/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_key_change.c: `chancery vault key suspend|activate|retire|compromise|destroy|set-policy|export`: what
 * changes a key, or takes a copy of it. What needs officers is proposed first; run again, it is found and,
 * when enough of them approved, done.
 */
#include "vault_action.h"
#include "vault_key.h"

#include "mem/new_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATIENCE_US (60 * CH_SECOND) /* a key is destroyed in several HSMs */

/* What a row of the command table wants of one key. */
struct order {
	struct cli *cli;
	struct vault_connection *connection;
	ProtobufCMessage *keys;     /* ListKeysReply: what `key` points into */
	const Chancery__Key *key;   /* as it is now */
	struct vault_action action; /* its id is NULL: none was needed */
};

static void order_free(struct order *order)
{
	vault_action_free(&order->action);
	ch_proto_free(order->keys);
	vault_connection_close(order->connection);
}
CH_DEFINE_AUTO_VALUE(order, struct order, order_free)

static bool begin(struct cli *cli, struct order *order, struct ch_error *err)
{
	order->cli = cli;
	return vault_connection_open(cli, &order->connection, err) &&
	       vault_key_list(order->connection, &order->keys, err) &&
	       vault_key_find(order->keys, cli->arguments[0], &order->key, err);
}

/* --- officers --- */

static bool approved(struct order *order, Chancery__ActionKind kind, const struct ch_action_field *fields,
		     size_t count, struct ch_error *err)
{
	return vault_action_approved(order->connection, kind, fields, count, &order->action, err);
}

static bool send(struct order *order, Chancery__PayloadType type, const ProtobufCMessage *request,
		 Chancery__PayloadType reply_type, const ProtobufCMessageDescriptor *descriptor,
		 ProtobufCMessage **reply, struct ch_error *err)
{
	const struct ch_bus_call call = { .request_type = type,
					  .request = request,
					  .reply_type = reply_type,
					  .reply_descriptor = descriptor,
					  .message_id = order->action.id ? order->action.message_id : NULL,
					  .timeout_us = PATIENCE_US };

	return vault_connection_call(order->connection, &call, reply, err);
}

static void print_reply(const struct order *order, const ProtobufCMessage *reply)
{
	vault_key_print(order->cli, ((const Chancery__KeyReply *)reply)->key);
}

/* --- states --- */

/* suspending and marking as compromised make a key weaker: the vault asks for no officer. */
static bool change_state(struct cli *cli, const char *to, bool needs_approval, struct ch_error *err)
{
	Chancery__ChangeKeyStateRequest request = CHANCERY__CHANGE_KEY_STATE_REQUEST__INIT;
	CH_AUTO(order) order = CH_NONE;
	CH_AUTO(ch_string) version = NULL;
	CH_AUTO(ch_proto) reply = NULL;

	if (!begin(cli, &order, err))
		return false;
	version = ch_format("%" PRIu64, order.key->policy_version);
	const struct ch_action_field fields[] = { { "key", order.key->key_id },
						  { "policy-version", version },
						  { "from", order.key->state },
						  { "to", (char *)(uintptr_t)to } };
	if (needs_approval && strcmp(order.key->state, to) != 0 &&
	    !approved(&order, CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_STATE, fields, CH_COUNT(fields), err))
		return false;
	request.key_id = order.key->key_id;
	request.state = (char *)(uintptr_t)to;
	request.action_id = (char *)(uintptr_t)(order.action.id ? order.action.id : "");
	request.reason = (char *)(uintptr_t)cli_value_or(cli, "reason", "");
	if (!send(&order, CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_KEY_STATE, &request.base,
		  CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY, &chancery__key_reply__descriptor, &reply, err))
		return false;
	print_reply(&order, reply);
	return true;
}

bool cli_vault_key_suspend(struct cli *cli, struct ch_error *err)
{
	return change_state(cli, "suspended", false, err);
}

bool cli_vault_key_compromise(struct cli *cli, struct ch_error *err)
{
	return change_state(cli, "compromised", false, err);
}

bool cli_vault_key_activate(struct cli *cli, struct ch_error *err)
{
	return change_state(cli, "active", true, err);
}

bool cli_vault_key_retire(struct cli *cli, struct ch_error *err)
{
	return change_state(cli, "retired", true, err);
}

bool cli_vault_key_destroy(struct cli *cli, struct ch_error *err)
{
	return change_state(cli, "destroyed", true, err);
}

/* --- policy --- */

/* A policy as the options make it: what they do not name stays. Strings are borrowed, the lists owned. */
struct wanted {
	Chancery__KeyPolicy policy;
	char *texts[3];
	char *items[3][16];
};

static void wanted_free(struct wanted *wanted)
{
	for (size_t i = 0; i < CH_COUNT(wanted->texts); i++)
		free(wanted->texts[i]);
}
CH_DEFINE_AUTO_VALUE(wanted, struct wanted, wanted_free)

/* "issuer,crl"; "-": none. */
static bool set_list(struct wanted *wanted, size_t which, const char *value, char ***list, size_t *count,
		     struct ch_error *err)
{
	char *rest = NULL;

	if (!value)
		return true;
	*list = wanted->items[which];
	*count = 0;
	if (strcmp(value, "-") == 0)
		return true;
	wanted->texts[which] = ch_strdup(value);
	for (char *item = strtok_r(wanted->texts[which], ",", &rest); item;
	     item = strtok_r(NULL, ",", &rest)) {
		if (*count == CH_COUNT(wanted->items[which]))
			return ch_fail(err, CH_INVALID, "'%s' lists more than %zu", value, *count);
		(*list)[(*count)++] = item;
	}
	return true;
}

static bool set_number(struct cli *cli, const char *name, uint32_t *number, struct ch_error *err)
{
	int64_t value;

	if (!cli_number(cli, name, *number, 0, UINT32_MAX, &value, err))
		return false;
	*number = (uint32_t)value;
	return true;
}

static bool read_wanted(struct cli *cli, const Chancery__Key *key, struct wanted *wanted,
			struct ch_error *err)
{
	Chancery__KeyPolicy *policy = &wanted->policy;
	const char *mode = cli_value(cli, "audit"), *verify = cli_value(cli, "verify-signatures");

	if (key->policy)
		*policy = *key->policy;
	else
		chancery__key_policy__init(policy);
	if (verify)
		policy->signatures_unverified = strcmp(verify, "no") == 0;
	if (mode)
		policy->audit_mode = (char *)(uintptr_t)(strcmp(mode, "purpose") == 0 ? "" : mode);
	return set_list(wanted, 0, cli_value(cli, "callers"), &policy->callers, &policy->n_callers, err) &&
	       set_list(wanted, 1, cli_value(cli, "signature-algorithms"), &policy->signature_algorithms,
			&policy->n_signature_algorithms, err) &&
	       set_list(wanted, 2, cli_value(cli, "extra-extensions"), &policy->extra_extensions,
			&policy->n_extra_extensions, err) &&
	       cli_number(cli, "max-validity", policy->max_validity_seconds, 0, INT64_MAX,
			  &policy->max_validity_seconds, err) &&
	       set_number(cli, "quota-burst", &policy->quota_burst, err) &&
	       set_number(cli, "quota-per-hour", &policy->quota_per_hour, err) &&
	       set_number(cli, "approvals-required", &policy->approvals_required, err);
}

/* As the vault writes it: "-" where there is nothing. */
static char *list_text(char *const *items, size_t count)
{
	CH_AUTO(ch_buffer) text = CH_NONE;

	for (size_t i = 0; i < count; i++)
		ch_buffer_printf(&text, "%s%s", i ? "," : "", items[i]);
	if (!count)
		ch_buffer_printf(&text, "-");
	return ch_buffer_steal_text(&text);
}

static bool policy_approved(struct order *order, const Chancery__KeyPolicy *policy, struct ch_error *err)
{
	CH_AUTO(ch_string) version = ch_format("%" PRIu64, order->key->policy_version);
	CH_AUTO(ch_string) callers = list_text(policy->callers, policy->n_callers);
	CH_AUTO(ch_string)
	algorithms = list_text(policy->signature_algorithms, policy->n_signature_algorithms);
	CH_AUTO(ch_string) validity = ch_format("%" PRId64, policy->max_validity_seconds);
	CH_AUTO(ch_string) burst = ch_format("%u", policy->quota_burst);
	CH_AUTO(ch_string) per_hour = ch_format("%u", policy->quota_per_hour);
	CH_AUTO(ch_string) approvals = ch_format("%u", policy->approvals_required);
	CH_AUTO(ch_string) mode = ch_strdup(policy->audit_mode[0] ? policy->audit_mode : "-");
	CH_AUTO(ch_string) extensions = list_text(policy->extra_extensions, policy->n_extra_extensions);
	const struct ch_action_field fields[] = {
		{ "key", order->key->key_id },
		{ "policy-version", version },
		{ "callers", callers },
		{ "signature-algorithms", algorithms },
		{ "max-validity-seconds", validity },
		{ "quota-burst", burst },
		{ "quota-per-hour", per_hour },
		{ "approvals-required", approvals },
		{ "audit-mode", mode },
		{ "extra-extensions", extensions },
		{ "verify-signatures", (char *)(uintptr_t)(policy->signatures_unverified ? "no" : "yes") },
	};

	return approved(order, CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_POLICY, fields, CH_COUNT(fields),
			err);
}

bool cli_vault_key_set_policy(struct cli *cli, struct ch_error *err)
{
	Chancery__ChangeKeyPolicyRequest request = CHANCERY__CHANGE_KEY_POLICY_REQUEST__INIT;
	CH_AUTO(wanted) wanted = CH_NONE;
	CH_AUTO(order) order = CH_NONE;
	CH_AUTO(ch_proto) reply = NULL;

	if (!begin(cli, &order, err) || !read_wanted(cli, order.key, &wanted, err) ||
	    !policy_approved(&order, &wanted.policy, err))
		return false;
	request.key_id = order.key->key_id;
	request.policy = &wanted.policy;
	request.action_id = (char *)(uintptr_t)(order.action.id ? order.action.id : "");
	if (!send(&order, CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_KEY_POLICY, &request.base,
		  CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY, &chancery__key_reply__descriptor, &reply, err))
		return false;
	print_reply(&order, reply);
	return true;
}

/* --- export --- */

static bool export_to(struct cli *cli, struct ch_new_file *out, struct ch_error *err)
{
	Chancery__ExportKeyRequest request = CHANCERY__EXPORT_KEY_REQUEST__INIT;
	const Chancery__ExportKeyReply *exported;
	CH_AUTO(order) order = CH_NONE;
	CH_AUTO(ch_proto) reply = NULL;

	if (!begin(cli, &order, err))
		return false;
	const struct ch_action_field fields[] = { { "key", order.key->key_id } };
	if (!approved(&order, CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, fields, CH_COUNT(fields), err))
		return false;
	request.key_id = order.key->key_id;
	request.action_id = (char *)(uintptr_t)(order.action.id ? order.action.id : "");
	if (!send(&order, CHANCERY__PAYLOAD_TYPE__PAYLOAD_EXPORT_KEY, &request.base,
		  CHANCERY__PAYLOAD_TYPE__PAYLOAD_EXPORT_KEY_REPLY, &chancery__export_key_reply__descriptor,
		  &reply, err))
		return false;
	exported = (const Chancery__ExportKeyReply *)reply;
	if (!ch_new_file_finish(out, ch_view(exported->wrapped.data, exported->wrapped.len), err))
		return false;
	vault_key_print(cli, exported->key);
	return true;
}

/* A file that was there before is somebody's: it stays. The new one's place is taken before a key leaves the
 * vault. */
bool cli_vault_key_export(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_new_file) out = CH_NONE;
	const char *path;
	struct stat there;

	if (!cli_require(cli, "out", &path, err))
		return false;
	if (lstat(path, &there) == 0)
		return ch_fail(err, CH_CONFLICT, "--out '%s' exists already", path);
	if (!ch_new_file_open(path, 0400, &out, err))
		return ch_fail_in(err, "--out");
	return export_to(cli, &out, err);
}
