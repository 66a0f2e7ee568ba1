/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vaultprobe.c: asks a vault as any service whose identity directory it is given. tests/integration drives
 * it; each answer is one line of JSON.
 *
 *   vaultprobe --identity DIR --system-ca FILE --service NAME --instance NAME --vault HOST:PORT… COMMAND
 *     generate ALGORITHM PURPOSE[,PURPOSE…] [--label TEXT] [--subject FILE] [--policy OID] [--origin TEXT]
 * [--message-id HEX] [--quota BURST PER-HOUR] [--allowed-caller SERVICE] [--max-validity SECONDS] [--audit
 * MODE] [--pre-active] [--approvals N] [--action ID]
 *     sign KEY PURPOSE TBS-FILE… [--content FILE] [--action ID]
 *     propose KIND NAME=VALUE… [--seconds N] [--content FILE] | approve ID CERTIFICATE SIGNATURE | action ID
 *     change-state KEY STATE | export KEY | change-policy KEY [as for generate], each [--action ID]
 *     change-ca KEY CA STATE [CERTIFICATE REASON] [--action ID]
 *     change-quorum VERSION REQUIRED NAME=DIGEST… --action ID
 *     load KEY PURPOSE TBS-FILE --seconds N --callers N --rate N | status
 */
#include "action/action.h"
#include "bus/bus.h"
#include "number.h"
#include "vault.pb-c.h"
#include "vaultprobe_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_CAP 260
#define FILE_CAP  (40 * 1024 * 1024)

/* Files read for a message; freed at the end. */
struct loaded {
	uint8_t *files[WORDS_CAP + 40];
	size_t count;
};

struct options {
	struct loaded *loaded;
	const char *identity, *system_ca, *service, *instance, *tenant;
	const char *label, *subject, *policy, *origin, *message_id, *content, *action;
	int64_t seconds, callers, rate, timeout_us;
	const char *allowed_caller, *max_validity, *audit, *approvals, *quota_burst, *quota_per_hour;
	bool pre_active;
	char *vaults[8];
	size_t vault_count;
	const char *words[WORDS_CAP];
	size_t word_count;
};

static const char *const purpose_names[] = {
	"none",   "end-entity-certificate", "ca-certificate", "crl", "ocsp", "timestamp", "audit-checkpoint",
	"ca-csr", "service-identity"
};

static int usage(const char *why)
{
	fprintf(stderr, "vaultprobe: %s\n", why);
	return 2;
}

static bool read_options(int argc, char **argv, struct options *options)
{
	const struct {
		const char *name;
		const char **value;
	} texts[] = {
		{ "--identity", &options->identity },
		{ "--system-ca", &options->system_ca },
		{ "--service", &options->service },
		{ "--instance", &options->instance },
		{ "--tenant", &options->tenant },
		{ "--label", &options->label },
		{ "--subject", &options->subject },
		{ "--policy", &options->policy },
		{ "--origin", &options->origin },
		{ "--message-id", &options->message_id },
		{ "--content", &options->content },
		{ "--allowed-caller", &options->allowed_caller },
		{ "--max-validity", &options->max_validity },
		{ "--audit", &options->audit },
		{ "--approvals", &options->approvals },
		{ "--action", &options->action },
	};

	for (int i = 1; i < argc; i++) {
		bool taken = false;

		for (size_t j = 0; j < CH_COUNT(texts) && !taken; j++)
			if (strcmp(argv[i], texts[j].name) == 0 && i + 1 < argc) {
				*texts[j].value = argv[++i];
				taken = true;
			}
		if (taken)
			continue;
		if (strcmp(argv[i], "--vault") == 0 && i + 1 < argc && options->vault_count < 8)
			options->vaults[options->vault_count++] = argv[++i];
		else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
			options->seconds = number_of(argv[++i], 0, INT32_MAX);
		else if (strcmp(argv[i], "--callers") == 0 && i + 1 < argc)
			options->callers = number_of(argv[++i], 0, INT32_MAX);
		else if (strcmp(argv[i], "--rate") == 0 && i + 1 < argc)
			options->rate = number_of(argv[++i], 0, INT32_MAX);
		else if (strcmp(argv[i], "--pre-active") == 0)
			options->pre_active = true;
		else if (strcmp(argv[i], "--quota") == 0 && i + 2 < argc) {
			options->quota_burst = argv[++i];
			options->quota_per_hour = argv[++i];
		} else if (argv[i][0] != '-' && options->word_count < WORDS_CAP)
			options->words[options->word_count++] = argv[i];
		else
			return false;
	}
	return options->identity && options->system_ca && options->service && options->instance &&
	       options->vault_count && options->word_count;
}

/* A purpose by name, or by number for what no table has. */
static Chancery__Purpose purpose_of(const char *text)
{
	for (size_t i = 0; i < CH_COUNT(purpose_names); i++)
		if (strcmp(purpose_names[i], text) == 0)
			return (Chancery__Purpose)i;
	return (Chancery__Purpose)number_of(text, 0, INT32_MAX);
}

static void put_json_text(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	putchar('"');
}

static void put_error(unsigned code, const char *message, bool retryable, uint32_t retry_after_ms)
{
	printf("{\"code\":%u,\"name\":\"%s\",\"retryable\":%s,\"retry_after_ms\":%u,\"message\":", code,
	       ch_code_name((enum ch_code)code), retryable ? "true" : "false", retry_after_ms);
	put_json_text(message);
	printf("}\n");
}

static ProtobufCBinaryData load_file(const struct options *options, const char *path)
{
	struct ch_bytes bytes = CH_NONE;
	struct ch_error err;

	if (!ch_read_file(path, FILE_CAP, &bytes, &err)) {
		fprintf(stderr, "vaultprobe: %s\n", err.message);
		exit(2);
	}
	options->loaded->files[options->loaded->count++] = bytes.data;
	return (ProtobufCBinaryData){ .len = bytes.size, .data = bytes.data };
}

static void put_hex(const char *name, const ProtobufCBinaryData *data)
{
	CH_AUTO(ch_string) hex = ch_hex(ch_view(data->data, data->len));

	printf("\"%s\":\"%s\"", name, hex);
}

static bool call(struct ch_bus_client *client, const struct options *options, Chancery__PayloadType type,
		 const ProtobufCMessage *request, Chancery__PayloadType reply_type,
		 const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **reply, struct ch_error *err)
{
	CH_AUTO(ch_bytes) id = CH_NONE;
	struct ch_bus_call ask = { .request_type = type,
				   .request = request,
				   .reply_type = reply_type,
				   .reply_descriptor = descriptor,
				   .tenant = options->tenant,
				   .timeout_us = options->timeout_us };

	if (options->message_id && !ch_unhex(options->message_id, &id, err))
		return false;
	if (id.size == CH_ENVELOPE_ID_SIZE)
		ask.message_id = id.data;
	return ch_bus_call(client, &ask, reply, err);
}

/* --- generate --- */

static void set_policy(const struct options *options, Chancery__KeyPolicy *policy,
		       Chancery__GenerateKeyRequest *request)
{
	request->pre_active = options->pre_active;
	if (options->allowed_caller) {
		policy->callers = (char **)(uintptr_t)&options->allowed_caller;
		policy->n_callers = 1;
	}
	if (options->max_validity)
		policy->max_validity_seconds = number_of(options->max_validity, INT64_MIN, INT64_MAX);
	if (options->quota_burst) {
		policy->quota_burst = (uint32_t)number_of(options->quota_burst, 0, UINT32_MAX);
		policy->quota_per_hour = (uint32_t)number_of(options->quota_per_hour, 0, UINT32_MAX);
	}
	if (options->approvals)
		policy->approvals_required = (uint32_t)number_of(options->approvals, 0, UINT32_MAX);
	if (options->audit)
		policy->audit_mode = (char *)(uintptr_t)options->audit;
	request->policy = policy;
}

static int generate(struct ch_bus_client *client, const struct options *options)
{
	Chancery__GenerateKeyRequest request = CHANCERY__GENERATE_KEY_REQUEST__INIT;
	Chancery__KeyPolicy policy = CHANCERY__KEY_POLICY__INIT;
	CH_AUTO(ch_string) list = NULL;
	CH_AUTO(ch_proto) reply = NULL;
	Chancery__Purpose purposes[16];
	char *policies[] = { (char *)options->policy };
	struct ch_error err = CH_NONE;
	char *rest, *name;

	if (options->word_count != 3)
		return usage("generate ALGORITHM PURPOSES");
	list = ch_strdup(options->words[2]);
	request.purposes = purposes;
	for (name = strtok_r(list, ",", &rest); name && request.n_purposes < 16;
	     name = strtok_r(NULL, ",", &rest))
		purposes[request.n_purposes++] = purpose_of(name);
	request.algorithm = (char *)options->words[1];
	request.action_id = (char *)(options->action ? options->action : "");
	request.label = (char *)(options->label ? options->label : "vaultprobe");
	if (options->subject)
		request.subject_der = load_file(options, options->subject);
	if (options->policy) {
		request.timestamp_policies = policies;
		request.n_timestamp_policies = 1;
	}
	set_policy(options, &policy, &request);
	if (options->origin)
		request.checkpoint_origin = (char *)options->origin;
	if (!call(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY, &request.base,
		  CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY_REPLY,
		  &chancery__generate_key_reply__descriptor, &reply, &err)) {
		put_error(err.code, err.message, err.retryable, err.retry_after_ms);
		return 1;
	}
	const Chancery__Key *key = ((const Chancery__GenerateKeyReply *)reply)->key;
	printf("{\"code\":0,\"key_id\":\"%s\",\"copies\":%zu,", key->key_id, key->n_residency);
	put_hex("public_key_info", &key->public_key_info);
	printf("}\n");
	return 0;
}

/* --- sign --- */

static void put_results(const Chancery__SignReply *reply)
{
	for (size_t i = 0; i < reply->n_results; i++) {
		const Chancery__SignResult *result = reply->results[i];

		if (result->code) {
			put_error(result->code, result->message, result->retryable, result->retry_after_ms);
			continue;
		}
		printf("{\"code\":0,");
		put_hex("signature", &result->signature);
		printf("}\n");
	}
}

static int sign(struct ch_bus_client *client, const struct options *options)
{
	Chancery__SignRequest request = CHANCERY__SIGN_REQUEST__INIT;
	Chancery__SignItem items[WORDS_CAP], *list[WORDS_CAP];
	ProtobufCBinaryData content = { 0, NULL };
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;

	if (options->word_count < 4)
		return usage("sign KEY PURPOSE TBS-FILE…");
	if (options->content)
		content = load_file(options, options->content);
	for (size_t i = 3; i < options->word_count; i++) {
		Chancery__SignItem *item = &items[i - 3];

		chancery__sign_item__init(item);
		item->key_id = (char *)options->words[1];
		item->purpose = purpose_of(options->words[2]);
		item->to_be_signed = load_file(options, options->words[i]);
		item->content = content;
		item->action_id = (char *)(options->action ? options->action : "");
		list[request.n_items++] = item;
	}
	request.items = list;
	if (!call(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN, &request.base,
		  CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN_REPLY, &chancery__sign_reply__descriptor, &reply,
		  &err)) {
		put_error(err.code, err.message, err.retryable, err.retry_after_ms);
		return 1;
	}
	put_results((const Chancery__SignReply *)reply);
	return 0;
}

/* --- officers --- */

static int put_action(const ProtobufCMessage *reply)
{
	const Chancery__Action *action = ((const Chancery__ActionReply *)reply)->action;

	printf("{\"code\":0,\"id\":\"%s\",\"state\":\"%s\",\"required\":%u,\"approved_by\":[",
	       action->action_id, action->state, action->approvals_required);
	for (size_t i = 0; i < action->n_approved_by; i++)
		printf("%s\"%s\"", i ? "," : "", action->approved_by[i]);
	printf("],");
	put_hex("document", &action->document);
	printf("}\n");
	return 0;
}

static int call_action(struct ch_bus_client *client, const struct options *options,
		       Chancery__PayloadType type, const ProtobufCMessage *request)
{
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;

	if (call(client, options, type, request, CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
		 &chancery__action_reply__descriptor, &reply, &err))
		return put_action(reply);
	put_error(err.code, err.message, err.retryable, err.retry_after_ms);
	return 1;
}

static int propose(struct ch_bus_client *client, const struct options *options)
{
	Chancery__ProposeActionRequest request = CHANCERY__PROPOSE_ACTION_REQUEST__INIT;
	Chancery__ActionField fields[WORDS_CAP], *list[WORDS_CAP];

	if (options->word_count < 2)
		return usage("propose KIND NAME=VALUE…");
	request.kind = ch_action_kind_find(options->words[1]);
	request.valid_seconds = options->seconds;
	request.fields = list;
	for (size_t i = 2; i < options->word_count; i++) {
		char *name = (char *)(uintptr_t)options->words[i], *value = strchr(name, '=');

		if (!value)
			return usage("a field is NAME=VALUE");
		*value = 0;
		chancery__action_field__init(&fields[i]);
		fields[i].name = name;
		fields[i].value = value + 1;
		list[request.n_fields++] = &fields[i];
	}
	if (options->content)
		request.content = load_file(options, options->content);
	return call_action(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_PROPOSE_ACTION, &request.base);
}

static int approve(struct ch_bus_client *client, const struct options *options)
{
	Chancery__ApproveActionRequest request = CHANCERY__APPROVE_ACTION_REQUEST__INIT;
	Chancery__Approval approval = CHANCERY__APPROVAL__INIT;

	if (options->word_count != 4)
		return usage("approve ID CERTIFICATE SIGNATURE");
	approval.certificate = load_file(options, options->words[2]);
	approval.signature = load_file(options, options->words[3]);
	request.action_id = (char *)(uintptr_t)options->words[1];
	request.approval = &approval;
	return call_action(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPROVE_ACTION, &request.base);
}

/* --- orders about a key, as the options have them: no proposing, no looking --- */

static int order(struct ch_bus_client *client, const struct options *options, Chancery__PayloadType type,
		 const ProtobufCMessage *request, Chancery__PayloadType reply_type,
		 const ProtobufCMessageDescriptor *descriptor)
{
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;

	if (!call(client, options, type, request, reply_type, descriptor, &reply, &err)) {
		put_error(err.code, err.message, err.retryable, err.retry_after_ms);
		return 1;
	}
	printf("{\"code\":0}\n");
	return 0;
}

static int change_state(struct ch_bus_client *client, const struct options *options)
{
	Chancery__ChangeKeyStateRequest request = CHANCERY__CHANGE_KEY_STATE_REQUEST__INIT;

	if (options->word_count != 3)
		return usage("change-state KEY STATE");
	request.key_id = (char *)(uintptr_t)options->words[1];
	request.state = (char *)(uintptr_t)options->words[2];
	request.action_id = (char *)(uintptr_t)(options->action ? options->action : "");
	return order(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_KEY_STATE, &request.base,
		     CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY, &chancery__key_reply__descriptor);
}

static int change_ca(struct ch_bus_client *client, const struct options *options)
{
	Chancery__ChangeCaKeyRequest request = CHANCERY__CHANGE_CA_KEY_REQUEST__INIT;

	if (options->word_count != 4 && options->word_count != 6)
		return usage("change-ca KEY CA STATE [CERTIFICATE REASON]");
	request.key_id = (char *)(uintptr_t)options->words[1];
	request.ca = (char *)(uintptr_t)options->words[2];
	request.to = (char *)(uintptr_t)options->words[3];
	if (options->word_count == 6) {
		request.certificate = (char *)(uintptr_t)options->words[4];
		request.reason = (char *)(uintptr_t)options->words[5];
	}
	request.action_id = (char *)(uintptr_t)(options->action ? options->action : "");
	return order(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_CA_KEY, &request.base,
		     CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY, &chancery__key_reply__descriptor);
}

static int change_policy(struct ch_bus_client *client, const struct options *options)
{
	Chancery__ChangeKeyPolicyRequest request = CHANCERY__CHANGE_KEY_POLICY_REQUEST__INIT;
	Chancery__GenerateKeyRequest unused = CHANCERY__GENERATE_KEY_REQUEST__INIT;
	Chancery__KeyPolicy policy = CHANCERY__KEY_POLICY__INIT;

	if (options->word_count != 2)
		return usage("change-policy KEY");
	set_policy(options, &policy, &unused);
	request.key_id = (char *)(uintptr_t)options->words[1];
	request.policy = &policy;
	request.action_id = (char *)(uintptr_t)(options->action ? options->action : "");
	return order(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_KEY_POLICY, &request.base,
		     CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY, &chancery__key_reply__descriptor);
}

static int export_key(struct ch_bus_client *client, const struct options *options)
{
	Chancery__ExportKeyRequest request = CHANCERY__EXPORT_KEY_REQUEST__INIT;

	if (options->word_count != 2)
		return usage("export KEY");
	request.key_id = (char *)(uintptr_t)options->words[1];
	request.action_id = (char *)(uintptr_t)(options->action ? options->action : "");
	return order(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_EXPORT_KEY, &request.base,
		     CHANCERY__PAYLOAD_TYPE__PAYLOAD_EXPORT_KEY_REPLY,
		     &chancery__export_key_reply__descriptor);
}

/* change-quorum VERSION REQUIRED NAME=DIGEST… --action ID */
static int change_quorum(struct ch_bus_client *client, const struct options *options)
{
	Chancery__ChangeQuorumRequest request = CHANCERY__CHANGE_QUORUM_REQUEST__INIT;
	Chancery__QuorumOfficer officers[WORDS_CAP], *list[WORDS_CAP];
	Chancery__Quorum quorum = CHANCERY__QUORUM__INIT;
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;

	if (options->word_count < 4 || !options->action)
		return usage("change-quorum VERSION REQUIRED NAME=DIGEST… --action ID");
	quorum.version = (uint64_t)number_of(options->words[1], 0, INT64_MAX);
	quorum.required = (uint32_t)number_of(options->words[2], 0, UINT32_MAX);
	quorum.officers = list;
	for (size_t i = 3; i < options->word_count; i++) {
		char *name = (char *)(uintptr_t)options->words[i], *value = strchr(name, '=');
		struct ch_bytes digest = CH_NONE;

		if (!value || !ch_unhex(value + 1, &digest, &err))
			return usage("an officer is NAME=DIGEST");
		options->loaded->files[options->loaded->count++] = digest.data;
		*value = 0;
		chancery__quorum_officer__init(&officers[i]);
		officers[i].name = name;
		officers[i].public_key_sha256 =
			(ProtobufCBinaryData){ .len = digest.size, .data = digest.data };
		list[quorum.n_officers++] = &officers[i];
	}
	request.quorum = &quorum;
	request.action_id = (char *)(uintptr_t)options->action;
	if (!call(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_QUORUM, &request.base,
		  CHANCERY__PAYLOAD_TYPE__PAYLOAD_QUORUM_REPLY, &chancery__quorum_reply__descriptor, &reply,
		  &err)) {
		put_error(err.code, err.message, err.retryable, err.retry_after_ms);
		return 1;
	}
	printf("{\"code\":0,\"version\":%llu}\n",
	       (unsigned long long)((const Chancery__QuorumReply *)reply)->quorum->version);
	return 0;
}

static int show_action(struct ch_bus_client *client, const struct options *options)
{
	Chancery__GetActionRequest request = CHANCERY__GET_ACTION_REQUEST__INIT;

	if (options->word_count != 2)
		return usage("action ID");
	request.action_id = (char *)(uintptr_t)options->words[1];
	return call_action(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_ACTION, &request.base);
}

/* --- load --- */

static int run_load(struct ch_bus_client *client, const struct options *options)
{
	ProtobufCBinaryData to_be_signed;

	if (options->word_count != 4)
		return usage("load KEY PURPOSE TBS-FILE");
	to_be_signed = load_file(options, options->words[3]);
	const struct load_options load = {
		.tenant = options->tenant,
		.item = { .key_id = options->words[1],
			  .purpose = purpose_of(options->words[2]),
			  .to_be_signed = ch_view(to_be_signed.data, to_be_signed.len) },
		.seconds = options->seconds,
		.callers = options->callers,
		.rate = options->rate,
	};

	return load_run(client, &load);
}

/* --- status --- */

static int status(struct ch_bus_client *client, const struct options *options)
{
	Chancery__VaultStatusRequest request = CHANCERY__VAULT_STATUS_REQUEST__INIT;
	const Chancery__VaultStatusReply *answer;
	CH_AUTO(ch_proto) reply = NULL;
	struct ch_error err = CH_NONE;

	if (!call(client, options, CHANCERY__PAYLOAD_TYPE__PAYLOAD_VAULT_STATUS, &request.base,
		  CHANCERY__PAYLOAD_TYPE__PAYLOAD_VAULT_STATUS_REPLY,
		  &chancery__vault_status_reply__descriptor, &reply, &err)) {
		put_error(err.code, err.message, err.retryable, err.retry_after_ms);
		return 1;
	}
	answer = (const Chancery__VaultStatusReply *)reply;
	for (size_t i = 0; i < answer->n_hsms; i++) {
		const Chancery__HsmStatus *hsm = answer->hsms[i];

		printf("{\"code\":0,\"name\":\"%s\",\"state\":\"%s\",\"signatures\":%llu,\"restarts\":%u,"
		       "\"breaker\":\"%s\",\"sessions\":%u,\"enabled\":%s,\"last_error\":",
		       hsm->name, hsm->state, (unsigned long long)hsm->signatures, hsm->restarts,
		       hsm->breaker, hsm->sessions, hsm->enabled ? "true" : "false");
		put_json_text(hsm->last_error);
		printf("}\n");
	}
	return 0;
}

static int run(struct ch_bus_client *client, const struct options *options)
{
	static const struct {
		const char *name;
		int (*run)(struct ch_bus_client *client, const struct options *options);
	} commands[] = {
		{ "generate", generate },
		{ "sign", sign },
		{ "load", run_load },
		{ "status", status },
		{ "propose", propose },
		{ "approve", approve },
		{ "action", show_action },
		{ "change-quorum", change_quorum },
		{ "change-state", change_state },
		{ "change-ca", change_ca },
		{ "change-policy", change_policy },
		{ "export", export_key },
	};

	for (size_t i = 0; i < CH_COUNT(commands); i++)
		if (strcmp(commands[i].name, options->words[0]) == 0)
			return commands[i].run(client, options);
	return usage("no such command");
}

int main(int argc, char **argv)
{
	struct loaded loaded = CH_NONE;
	struct options options = { .loaded = &loaded, .tenant = "default", .timeout_us = 60 * CH_SECOND };
	struct ch_bus_client *client = NULL;
	CH_AUTO(ch_identity) identity = NULL;
	struct ch_error err = CH_NONE;
	int exit_code;

	if (!read_options(argc, argv, &options))
		return usage("see the head of vaultprobe.c");
	CH_AUTO(ch_string) certificate = ch_format("%s/certificate.pem", options.identity);
	CH_AUTO(ch_string) key = ch_format("%s/key.pem", options.identity);
	const struct ch_identity_config files = { certificate, key, (char *)options.system_ca };
	const struct ch_conf_strings vaults = { options.vaults, options.vault_count };
	struct ch_metrics *metrics = ch_metrics_new();

	if (!ch_identity_load(&files, options.service, options.instance, &identity, &err) ||
	    !ch_bus_client_open("vault", &vaults, identity, ch_clock_system(), metrics, &client, &err)) {
		ch_metrics_free(metrics);
		return usage(err.message);
	}
	exit_code = run(client, &options);
	for (size_t i = 0; i < loaded.count; i++)
		free(loaded.files[i]);
	ch_bus_client_close(client);
	ch_metrics_free(metrics);
	return exit_code;
}
