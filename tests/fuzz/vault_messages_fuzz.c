/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_messages_fuzz.c: hostile messages to the vault: the first octet chooses a row, the rest is the
 * payload, which is decoded as the bus does it and given to what the handler asks before it touches a key, an
 * HSM or the database.
 */
#include "approval.h"
#include "envelope/envelope.h"
#include "key_states.h"
#include "purpose_fuzz.h"
#include "secrets.h"
#include "vault.h"

static void sign(const ProtobufCMessage *payload)
{
	const Chancery__SignRequest *ask = (const Chancery__SignRequest *)payload;

	for (size_t i = 0; i < ask->n_items && i < VAULT_ITEMS_CAP; i++) {
		const Chancery__SignItem *item = ask->items[i];
		const struct vault_purpose *purpose = vault_purpose_find(item->purpose);

		if (purpose)
			fuzz_purpose(purpose->check, ch_view(item->to_be_signed.data, item->to_be_signed.len),
				     ch_view(item->content.data, item->content.len));
	}
}

static void generate(const ProtobufCMessage *payload)
{
	static const char *const services[] = { "issuer", "audit", "operator" };
	const Chancery__GenerateKeyRequest *ask = (const Chancery__GenerateKeyRequest *)payload;
	struct ch_error err = CH_NONE;

	for (size_t i = 0; i < CH_COUNT(services); i++)
		if (!vault_generate_allowed(ask, services[i], &err) && !err.message[0])
			abort();
}

static void propose(const ProtobufCMessage *payload)
{
	const Chancery__ProposeActionRequest *ask = (const Chancery__ProposeActionRequest *)payload;
	struct ch_action action = { .kind = ask->kind,
				    .id = "5f0c0c1a77b84a2c9d3c8e0b7d1f2a34",
				    .tenant = "default",
				    .created_us = FUZZ_NOW,
				    .expires_us = FUZZ_NOW + CH_DAY };
	CH_AUTO(ch_action) again = CH_NONE;
	CH_AUTO(ch_bytes) document = CH_NONE;
	struct ch_error err;

	if (ask->n_fields > CH_ACTION_FIELDS_CAP)
		return;
	for (size_t i = 0; i < ask->n_fields; i++)
		action.fields[action.field_count++] =
			(struct ch_action_field){ ask->fields[i]->name, ask->fields[i]->value };
	/* What is written for officers reads as the same. */
	if (ch_action_format(&action, &document, &err) &&
	    !ch_action_read(ch_view_of(&document), &again, &err))
		abort();
}

static void approve(const ProtobufCMessage *payload)
{
	static struct vault_operators nobody;
	const Chancery__ApproveActionRequest *ask = (const Chancery__ApproveActionRequest *)payload;
	const struct vault_quorum quorum = { .version = 1, .required = 1 };
	const struct vault_officer *officer;
	const char *reason;
	struct ch_error err;

	nobody.ca = nobody.ca ? nobody.ca : X509_STORE_new();
	if (ask->approval &&
	    vault_approval_verify(ch_view_text("document"),
				  ch_view(ask->approval->certificate.data, ask->approval->certificate.len),
				  ch_view(ask->approval->signature.data, ask->approval->signature.len),
				  "default", FUZZ_NOW, &quorum, &nobody, &officer, &reason, &err))
		abort(); /* there are no officers */
}

static void change_quorum(const ProtobufCMessage *payload)
{
	const Chancery__ChangeQuorumRequest *ask = (const Chancery__ChangeQuorumRequest *)payload;
	struct ch_action_field fields[3];
	struct vault_quorum quorum;
	struct ch_error err;

	if (!ask->quorum || !vault_quorum_read(ask->quorum, &quorum, &err))
		return;
	if (quorum.required < 1 || quorum.required > quorum.count)
		abort();
	vault_quorum_fields(&quorum, fields);
	for (size_t i = 0; i < CH_COUNT(fields); i++)
		free(fields[i].value);
}

static void change_policy(const ProtobufCMessage *payload)
{
	const Chancery__ChangeKeyPolicyRequest *ask = (const Chancery__ChangeKeyPolicyRequest *)payload;
	const struct vault_key key = { .algorithm = ch_algorithm_find("ecdsa-p256"), .purposes = 0xe };
	struct ch_error err = CH_NONE;

	if (ask->policy && !vault_policy_valid(ask->policy, &key, &err) && !err.message[0])
		abort();
}

static void open_secrets(const ProtobufCMessage *payload)
{
	static const uint8_t key[SECRET_KEY_SIZE] = { 1 };
	const Chancery__OpenRequest *ask = (const Chancery__OpenRequest *)payload;

	for (size_t i = 0; i < ask->n_items && i < VAULT_ITEMS_CAP; i++) {
		const struct secret_context context = { "default", "gateway", ask->items[i]->context };
		struct ch_secret plaintext = CH_NONE;
		struct ch_error err;

		if (secret_box_open(ch_view(key, sizeof(key)), &context,
				    ch_view(ask->items[i]->sealed.data, ask->items[i]->sealed.len),
				    &plaintext, &err))
			abort(); /* nobody sealed it */
	}
}

static void nothing_more(const ProtobufCMessage *payload)
{
	(void)payload;
}

static const struct {
	const ProtobufCMessageDescriptor *descriptor;
	void (*look)(const ProtobufCMessage *payload);
} rows[] = {
	{ &chancery__sign_request__descriptor, sign },
	{ &chancery__generate_key_request__descriptor, generate },
	{ &chancery__propose_action_request__descriptor, propose },
	{ &chancery__approve_action_request__descriptor, approve },
	{ &chancery__change_quorum_request__descriptor, change_quorum },
	{ &chancery__change_key_policy_request__descriptor, change_policy },
	{ &chancery__open_request__descriptor, open_secrets },
	{ &chancery__seal_request__descriptor, nothing_more },
	{ &chancery__change_key_state_request__descriptor, nothing_more },
	{ &chancery__replace_hsm_request__descriptor, nothing_more },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_proto) payload = NULL;
	struct ch_error err;

	if (size < 1)
		return 0;
	payload = protobuf_c_message_unpack(rows[data[0] % CH_COUNT(rows)].descriptor, NULL, size - 1,
					    data + 1);
	if (payload && ch_proto_check_text(payload, &err))
		rows[data[0] % CH_COUNT(rows)].look(payload);
	return 0;
}
