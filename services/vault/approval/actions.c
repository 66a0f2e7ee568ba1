/* SPDX-License-Identifier: Apache-2.0 */
/* actions.c: an approved action is used: once, by one message. Handlers and sign_allow.c call it. */
#include "action_store.h"
#include "approval.h"

#include "marks.h"
#include "policy.h"
#include "vault.h"

#include <string.h>

static bool check_id(const char *action_id, struct ch_error *err)
{
	size_t size = strlen(action_id);

	if (size == 0)
		return ch_fail(err, CH_DENIED, "this needs officers' approvals: no action is named");
	return (size == CH_ACTION_ID_SIZE - 1 && strspn(action_id, "0123456789abcdef") == size) ||
	       ch_fail(err, CH_NOT_FOUND, "action '%.40s': no such action", action_id);
}

/* The document that officers signed is about this very action: approvals of another, copied to its row, are
 * not this one's, and what is marked as used is what was checked. */
static bool check_document(struct ch_view encoded, const char *action_id, struct ch_action *document,
			   struct ch_error *err)
{
	CH_AUTO(ch_action) read = CH_NONE;

	if (!ch_action_read(encoded, &read, err))
		return ch_fail_in(err, "action '%.40s'", action_id);
	if (strcmp(read.id, action_id) != 0)
		return ch_fail(
			err, CH_DENIED,
			"action '%.40s' has the document of action '%.40s': its row was changed outside "
			"the vault",
			action_id, read.id);
	if (document)
		*document = CH_STEAL(read);
	return true;
}

bool vault_action_load(struct vault *vault, const char *tenant, const char *action_id,
		       struct vault_action *action, struct vault_quorum *quorum, struct ch_error *err)
{
	return check_id(action_id, err) &&
	       store_load_action(vault->db, tenant, action_id, NULL, action, err) &&
	       check_document(ch_view_of(&action->document), action_id, NULL, err) &&
	       vault_quorum_load(vault, tenant, quorum, err);
}

/* Which person's wish is carried out, before it is: the asker is often a daemon. */
static bool record_used(struct vault *vault, const struct ch_bus_request *request,
			const struct ch_action *document, struct ch_error *err)
{
	CH_AUTO(ch_string) through = ch_format("%s/%s", request->sender->service, request->sender->instance);
	const struct ch_audit_detail details[] = {
		{ "action", ch_action_kind_name(document->kind) },
		{ "proposed_by", document->proposed_by },
		{ "proposed_through", document->proposed_through },
		{ "proposed_from", document->proposed_from },
		{ "through", through },
	};
	const struct ch_audit_event event = { .type = "action.used",
					      .actor = vault_person(request, document->proposed_by),
					      .subject = document->id,
					      .details = details,
					      .detail_count = CH_COUNT(details) };

	return vault_record_for(vault, request, &event, err);
}

/* The row said that it is not used, and it was. */
static bool refuse_reuse(struct vault *vault, const struct ch_bus_request *request, const char *action_id,
			 struct ch_error *err)
{
	CH_AUTO(ch_string) content = ch_format("action/%s", action_id);

	ch_fail(err, CH_REPLAYED, "action '%.40s' was used before, and its row was changed outside the vault",
		action_id);
	if (vault_seal_first_sight(vault, ch_view_text(content)))
		vault_note_alert(vault, request->body->tenant, action_id, "action-reused", err->message);
	return false;
}

/* Used by this message, for all vaults: the mark says until when, and by which. */
static bool mark_used(struct vault *vault, const struct ch_bus_request *request,
		      const struct ch_action *document, struct ch_error *err)
{
	struct ch_view message_id = ch_view(request->body->message_id.data, request->body->message_id.len);
	uint8_t octets[8 + CH_ENVELOPE_ID_SIZE];
	struct hsm_mark mark, wanted;
	uint64_t expires_s = (uint64_t)(document->expires_us / CH_SECOND);

	if (message_id.size != CH_ENVELOPE_ID_SIZE)
		return ch_fail(err, CH_INVALID, "the message has no id");
	for (size_t i = 0; i < 8; i++)
		octets[i] = (uint8_t)(expires_s >> (56 - 8 * i));
	memcpy(octets + 8, message_id.data, CH_ENVELOPE_ID_SIZE);
	hsm_mark_set(&wanted, ch_view(octets, sizeof(octets)));
	if (!vault_mark_read(vault, VAULT_MARK_ACTION, document->id, &mark, err))
		return false;
	if (mark.size && hsm_mark_compare(&mark, &wanted) != 0)
		return refuse_reuse(vault, request, document->id, err);
	return mark.size || vault_mark_raise(vault, VAULT_MARK_ACTION, document->id, &wanted, err);
}

bool vault_action_mark_used(struct vault *vault, const struct ch_bus_request *request, const char *action_id,
			    struct ch_error *err)
{
	struct ch_view message_id = ch_view(request->body->message_id.data, request->body->message_id.len);
	CH_AUTO(vault_action) action = CH_NONE;
	CH_AUTO(ch_action) document = CH_NONE;
	struct ch_error known = CH_NONE;
	bool used;

	if (!store_load_action(vault->db, request->body->tenant, action_id, NULL, &action, err) ||
	    !check_document(ch_view_of(&action.document), action_id, &document, err))
		return false;
	used = store_use_action(vault->db, request->body->tenant, action_id, message_id,
				ch_clock_now_us(vault->clock), err);
	if (used && !vault_used_check(vault->used, action_id, message_id, &known))
		used = refuse_reuse(vault, request, action_id, err);
	used = used && mark_used(vault, request, &document, err);
	if (!used) {
		if (err->code == CH_REPLAYED)
			err->retryable = false; /* the same action again is used again */
		return false;
	}
	vault_used_remember(vault->used, action_id, message_id);
	return record_used(vault, request, &document, err);
}

static void note_refused(struct vault *vault, const struct ch_bus_request *request, const char *action_id,
			 const char *reason, const struct ch_error *why)
{
	struct vault_check check = { .reason = reason };
	const struct vault_event event = { .request = request, .key_id = action_id, .check = &check };

	vault_note_refused(vault, &event, why);
}

static const char *reason_of(const struct ch_error *why)
{
	switch (why->code) {
	case CH_REPLAYED:
		return "approval-used";
	case CH_NOT_FOUND:
		return "approval-missing";
	case CH_DENIED:
		return "approval-quorum";
	default:
		return "database";
	}
}

bool vault_action_use(struct vault *vault, const struct ch_bus_request *request, const char *action_id,
		      const struct vault_approval_ask *ask, char **names, struct ch_error *err)
{
	CH_AUTO(vault_action) action = CH_NONE;
	struct vault_quorum quorum;
	const char *reason = NULL;
	bool used;

	used = vault_action_load(vault, ask->tenant, action_id, &action, &quorum, err) &&
	       vault_approvals_check(ask, &action, &quorum, &vault->policy.operators, names, &reason, err) &&
	       vault_action_mark_used(vault, request, action_id, err);
	if (used)
		return true;
	note_refused(vault, request, action_id, reason ? reason : reason_of(err), err);
	return false;
}
