/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers.c: actions and quorums on the bus: proposed by daemons and operators, approved by officers,
 * listed; a quorum changed by the old one. Rows of the dispatch table (peers.c).
 */
#include "action_store.h"
#include "approval.h"

#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALID_DEFAULT CH_DAY
#define VALID_MIN     CH_MINUTE
#define VALID_CAP     (7 * CH_DAY)
#define PERSON_CAP    128
#define CONTENT_CAP   (1024 * 1024)
#define REUSE_LEFT    (10 * CH_MINUTE) /* an equal action with less time left is not answered again */

static bool answer_action(struct vault *vault, const char *tenant, const char *id, ProtobufCMessage **reply,
			  struct ch_error *err)
{
	Chancery__ActionReply *answer;
	Chancery__Action *message;

	if (!vault_action_message(vault, tenant, id, true, &message, err))
		return false;
	answer = CH_PROTO_NEW(Chancery__ActionReply, chancery__action_reply__init);
	answer->action = message;
	*reply = &answer->base;
	return true;
}

static bool tenant_of(const struct ch_bus_request *request, const char **tenant, struct ch_error *err)
{
	*tenant = request->body->tenant;
	return (*tenant)[0] || ch_fail(err, CH_INVALID, "the message names no tenant");
}

/* --- proposing --- */

/* What an open action is found again by: kind and fields, in an unambiguous form. */
static bool fields_digest(const struct ch_action *action, uint8_t digest[64], struct ch_error *err)
{
	CH_AUTO(ch_buffer) content = CH_NONE;
	size_t size;

	ch_buffer_printf(&content, "%d\n", (int)action->kind);
	for (size_t i = 0; i < action->field_count; i++)
		ch_buffer_printf(&content, "%s: %s\n", action->fields[i].name, action->fields[i].value);
	return ch_digest("sha256", ch_buffer_view(&content), digest, &size, err);
}

static void new_id(char id[CH_ACTION_ID_SIZE])
{
	CH_AUTO(ch_string) text = NULL;
	uint8_t random[16];

	ch_random(random, sizeof(random));
	text = ch_hex(ch_view(random, sizeof(random)));
	memcpy(id, text, CH_ACTION_ID_SIZE);
}

static bool take_ask(struct vault *vault, const Chancery__ProposeActionRequest *ask, const char *tenant,
		     struct ch_action *action, struct ch_error *err)
{
	int64_t valid_us = ask->valid_seconds ? ask->valid_seconds * CH_SECOND : VALID_DEFAULT;
	int64_t now = ch_clock_now_us(vault->clock);

	if (ask->valid_seconds < 0 || ask->valid_seconds > VALID_CAP / CH_SECOND || valid_us < VALID_MIN)
		return ch_fail(err, CH_INVALID, "valid_seconds is %lld, %d to %d allowed",
			       (long long)ask->valid_seconds, (int)(VALID_MIN / CH_SECOND),
			       (int)(VALID_CAP / CH_SECOND));
	if (ask->n_fields > CH_ACTION_FIELDS_CAP)
		return ch_fail(err, CH_INVALID, "%zu fields, at most %d allowed", ask->n_fields,
			       CH_ACTION_FIELDS_CAP);
	if (strlen(ask->proposed_by) > PERSON_CAP || strlen(ask->proposed_from) > PERSON_CAP)
		return ch_fail(err, CH_INVALID, "proposed_by or proposed_from is over %d octets", PERSON_CAP);
	action->kind = ask->kind;
	new_id(action->id);
	snprintf(action->tenant, sizeof(action->tenant), "%s", tenant);
	action->created_us = now - now % CH_SECOND;
	action->expires_us = action->created_us + valid_us;
	for (size_t i = 0; i < ask->n_fields; i++)
		action->fields[action->field_count++] =
			(struct ch_action_field){ ch_strdup(ask->fields[i]->name),
						  ch_strdup(ask->fields[i]->value) };
	return true;
}

/* An operator's identity is the person; a daemon says for whom it asks, and from which address they came. */
static void take_proposer(const struct ch_bus_request *request, struct ch_action *action)
{
	const Chancery__ProposeActionRequest *ask = (const Chancery__ProposeActionRequest *)request->payload;
	bool person = strcmp(request->sender->service, "operator") == 0;

	action->proposed_by = ch_strdup(person ? request->sender->instance : ask->proposed_by);
	action->proposed_from = ch_strdup(person ? request->address : ask->proposed_from);
	action->proposed_through = ch_format("%s/%s", request->sender->service, request->sender->instance);
}

/* What officers are shown are the octets that the document names. */
static bool check_content(const Chancery__ProposeActionRequest *ask, const struct ch_action *action,
			  struct ch_error *err)
{
	const char *named = ch_action_value(action, "tbs-sha256");
	CH_AUTO(ch_string) text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ask->content.len)
		return true; /* an officer's tool then has nothing to show, and does not sign */
	if (ask->content.len > CONTENT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "content of %zu octets, at most %d allowed",
			       ask->content.len, CONTENT_CAP);
	if (!ch_digest("sha256", ch_view(ask->content.data, ask->content.len), digest, &size, err))
		return false;
	text = ch_hex(ch_view(digest, size));
	return (named && strcmp(named, text) == 0) ||
	       ch_fail(err, CH_INVALID, "the content's SHA-256 is %s, not the document's tbs-sha256", text);
}

static bool store_proposed(struct vault *vault, const struct ch_bus_request *request,
			   const struct ch_action *action, struct ch_view fields_sha256, struct ch_error *err)
{
	const Chancery__ProposeActionRequest *ask = (const Chancery__ProposeActionRequest *)request->payload;
	CH_AUTO(stored_action) stored = { .kind = (int32_t)action->kind,
					  .created_us = action->created_us,
					  .expires_us = action->expires_us };
	const struct ch_audit_detail details[] = {
		{ "action", ch_action_kind_name(action->kind) },
		{ "proposed_by", action->proposed_by },
		{ "proposed_from", action->proposed_from },
		{ "through", action->proposed_through },
	};
	const struct ch_audit_event event = { .type = "action.proposed",
					      .actor = vault_person(request, action->proposed_by),
					      .subject = action->id,
					      .details = details,
					      .detail_count = CH_COUNT(details) };

	memcpy(stored.id, action->id, sizeof(stored.id));
	memcpy(stored.tenant, action->tenant, sizeof(stored.tenant));
	stored.proposed_by =
		ch_strdup(action->proposed_by[0] ? action->proposed_by : request->sender->instance);
	if (ask->content.len)
		stored.content = ch_bytes_copy(ch_view(ask->content.data, ask->content.len));
	return ch_action_format(action, &stored.document, err) &&
	       vault_record_for(vault, request, &event, err) &&
	       store_insert_action(vault->db, &stored, fields_sha256, err);
}

bool vault_handle_propose_action(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				 struct ch_error *err)
{
	const Chancery__ProposeActionRequest *ask = (const Chancery__ProposeActionRequest *)request->payload;
	CH_AUTO(ch_action) action = CH_NONE;
	CH_AUTO(ch_bytes) document = CH_NONE;
	struct vault *vault = state;
	struct vault_quorum quorum;
	char id[CH_ACTION_ID_SIZE];
	uint8_t digest[64];
	const char *tenant;
	bool found;

	/* 1. A document that can be written, for officers who exist. */
	if (!tenant_of(request, &tenant, err) || !take_ask(vault, ask, tenant, &action, err))
		return false;
	take_proposer(request, &action);
	if (!ch_action_format(&action, &document, err) || !check_content(ask, &action, err) ||
	    !vault_quorum_load(vault, tenant, &quorum, err) || !fields_digest(&action, digest, err) ||
	    !vault_action_describe(vault, &action, err))
		return false;

	/* 2. The same that is open already, else a new one. */
	if (!store_find_open_action(vault->db, tenant, ch_view(digest, 32), action.created_us + REUSE_LEFT,
				    id, &found, err) ||
	    (found && ask->content.len &&
	     !store_add_action_content(vault->db, tenant, id, ch_view(ask->content.data, ask->content.len),
				       err)) ||
	    (!found && !store_proposed(vault, request, &action, ch_view(digest, 32), err)))
		return false;
	return answer_action(vault, tenant, found ? id : action.id, reply, err);
}

/* --- approving --- */

static bool refuse_approval(struct vault *vault, const struct ch_bus_request *request, const char *id,
			    const char *reason, struct ch_error *err)
{
	struct vault_check check = { .reason = reason };
	const struct vault_event event = { .request = request, .key_id = id, .check = &check };

	err->code = err->code == CH_INVALID ? CH_DENIED : err->code;
	vault_note_refused(vault, &event, err);
	return false;
}

static bool store_approved(struct vault *vault, const struct ch_bus_request *request,
			   const struct stored_action *stored, const struct vault_officer *officer,
			   struct ch_error *err)
{
	const Chancery__ApproveActionRequest *ask = (const Chancery__ApproveActionRequest *)request->payload;
	CH_AUTO(ch_string) through = ch_format("%s/%s", request->sender->service, request->sender->instance);
	const struct ch_audit_detail details[] = {
		{ "action", ch_action_kind_name((Chancery__ActionKind)stored->kind) },
		{ "officer", officer->name },
		{ "through", through },
	};
	/* Who signed it did it, whoever brought the signature. */
	const struct ch_audit_event event = { .type = "action.approved",
					      .actor = officer->name,
					      .subject = stored->id,
					      .details = details,
					      .detail_count = CH_COUNT(details) };

	return store_insert_approval(vault->db, stored->tenant, stored->id, officer->name,
				     ch_view(ask->approval->certificate.data, ask->approval->certificate.len),
				     ch_view(ask->approval->signature.data, ask->approval->signature.len),
				     ch_clock_now_us(vault->clock), err) &&
	       vault_record_for(vault, request, &event, err);
}

bool vault_handle_approve_action(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				 struct ch_error *err)
{
	const Chancery__ApproveActionRequest *ask = (const Chancery__ApproveActionRequest *)request->payload;
	CH_AUTO(stored_action) stored = CH_NONE;
	CH_AUTO(vault_action) action = CH_NONE;
	const struct vault_officer *officer;
	const char *tenant, *reason = NULL;
	struct vault *vault = state;
	struct vault_quorum quorum;

	/* 1. An action that is still open. */
	if (!ask->approval)
		return ch_fail(err, CH_INVALID, "the message has no approval");
	if (!tenant_of(request, &tenant, err) ||
	    !store_load_action(vault->db, tenant, ask->action_id, &stored, &action, err) ||
	    !vault_quorum_load(vault, tenant, &quorum, err))
		return false;
	if (stored.used_us)
		return ch_fail(err, CH_CONFLICT, "action '%s' was used already", stored.id);
	if (stored.expires_us <= ch_clock_now_us(vault->clock))
		return ch_fail(err, CH_EXPIRED, "action '%s' has expired", stored.id);

	/* 2. An officer's signature over its document: checked now, so that the officer hears of it, and when
	 * it is used. */
	if (!vault_approval_verify(ch_view_of(&action.document),
				   ch_view(ask->approval->certificate.data, ask->approval->certificate.len),
				   ch_view(ask->approval->signature.data, ask->approval->signature.len),
				   tenant, ch_clock_now_us(vault->clock), &quorum, &vault->policy.operators,
				   &officer, &reason, err))
		return refuse_approval(vault, request, stored.id, reason, err);

	/* 3. Once for each officer. */
	if (!store_approved(vault, request, &stored, officer, err))
		return err->code == CH_CONFLICT
			       ? refuse_approval(vault, request, stored.id, "approval-twice", err)
			       : false;
	return answer_action(vault, tenant, stored.id, reply, err);
}

/* --- looking --- */

bool vault_handle_get_action(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			     struct ch_error *err)
{
	const Chancery__GetActionRequest *ask = (const Chancery__GetActionRequest *)request->payload;
	const char *tenant;

	return tenant_of(request, &tenant, err) && answer_action(state, tenant, ask->action_id, reply, err);
}

bool vault_handle_list_actions(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			       struct ch_error *err)
{
	const Chancery__ListActionsRequest *ask = (const Chancery__ListActionsRequest *)request->payload;
	Chancery__ListActionsReply *answer;
	const char *tenant;

	if (!tenant_of(request, &tenant, err))
		return false;
	answer = CH_PROTO_NEW(Chancery__ListActionsReply, chancery__list_actions_reply__init);
	if (!vault_action_messages(state, tenant, ask->state, answer, err)) {
		chancery__list_actions_reply__free_unpacked(answer, NULL);
		return false;
	}
	*reply = &answer->base;
	return true;
}

/* --- the quorum --- */

static bool answer_quorum(const struct vault_quorum *quorum, ProtobufCMessage **reply)
{
	Chancery__QuorumReply *answer = CH_PROTO_NEW(Chancery__QuorumReply, chancery__quorum_reply__init);
	Chancery__Quorum *message = CH_PROTO_NEW(Chancery__Quorum, chancery__quorum__init);

	message->version = quorum->version;
	message->required = quorum->required;
	message->officers = ch_alloc_pointers(quorum->count);
	for (size_t i = 0; i < quorum->count; i++) {
		Chancery__QuorumOfficer *officer =
			CH_PROTO_NEW(Chancery__QuorumOfficer, chancery__quorum_officer__init);
		struct ch_bytes digest = ch_bytes_copy(ch_view(quorum->officers[i].public_key_sha256, 32));

		officer->name = ch_strdup(quorum->officers[i].name);
		officer->public_key_sha256 = (ProtobufCBinaryData){ .len = digest.size, .data = digest.data };
		message->officers[message->n_officers++] = officer;
	}
	answer->quorum = message;
	*reply = &answer->base;
	return true;
}

bool vault_handle_get_quorum(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			     struct ch_error *err)
{
	struct vault_quorum quorum;
	const char *tenant;

	return tenant_of(request, &tenant, err) && vault_quorum_load(state, tenant, &quorum, err) &&
	       answer_quorum(&quorum, reply);
}

static bool use_for_change(struct vault *vault, const struct ch_bus_request *request, const char *tenant,
			   const struct vault_quorum *wanted, char **names, struct ch_error *err)
{
	const Chancery__ChangeQuorumRequest *ask = (const Chancery__ChangeQuorumRequest *)request->payload;
	struct ch_action_field fields[3];
	const struct vault_approval_ask approval = { .tenant = tenant,
						     .kind = CHANCERY__ACTION_KIND__ACTION_CHANGE_QUORUM,
						     .fields = fields,
						     .field_count = CH_COUNT(fields),
						     .now_us = ch_clock_now_us(vault->clock) };
	bool used;

	vault_quorum_fields(wanted, fields);
	used = vault_action_use(vault, request, ask->action_id, &approval, names, err);
	for (size_t i = 0; i < CH_COUNT(fields); i++)
		free(fields[i].value);
	return used;
}

bool vault_handle_change_quorum(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				struct ch_error *err)
{
	const Chancery__ChangeQuorumRequest *ask = (const Chancery__ChangeQuorumRequest *)request->payload;
	CH_AUTO(ch_string) names = NULL;
	struct vault_quorum old, wanted;
	struct vault *vault = state;
	const char *tenant;
	char version[24];

	/* 1. The next version of the one that is there. */
	if (!ask->quorum)
		return ch_fail(err, CH_INVALID, "the message has no quorum");
	if (!tenant_of(request, &tenant, err) || !vault_quorum_read(ask->quorum, &wanted, err) ||
	    !vault_quorum_load(vault, tenant, &old, err))
		return false;
	if (wanted.version != old.version + 1)
		return ch_fail(err, CH_CONFLICT, "quorum of version %llu cannot follow version %llu",
			       (unsigned long long)wanted.version, (unsigned long long)old.version);

	/* 2. With the approvals of the old one; recorded before it holds. */
	snprintf(version, sizeof(version), "%llu", (unsigned long long)wanted.version);
	if (!use_for_change(vault, request, tenant, &wanted, &names, err))
		return false;
	const struct ch_audit_detail details[] = { { "version", version }, { "approved_by", names } };

	return vault_record(vault, request, "quorum.changed", tenant, details, CH_COUNT(details), err) &&
	       vault_quorum_save(vault, tenant, &wanted, old.version, err) && answer_quorum(&wanted, reply);
}
