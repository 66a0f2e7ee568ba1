/* SPDX-License-Identifier: Apache-2.0 */
/* change.c: what every order about one key needs: the key, officers' approval, an event. change_state.c,
 * change_policy.c and export.c call it. */
#include "change.h"

#include "approval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DETAILS_CAP 12

void key_order_free(struct key_order *order)
{
	vault_key_free(&order->key);
	free(order->approvers);
	order->approvers = NULL;
}

bool key_order_begin(struct key_order *order, struct ch_error *err)
{
	const char *tenant = order->request->body->tenant;

	if (!store_find_key(order->vault->db, order->key_id, &order->key, err) ||
	    !vault_key_verify_read(order->vault, &order->key, err))
		return key_order_refused(order, err->code == CH_DENIED ? "policy-seal" : NULL, err);
	if (strcmp(order->key.tenant, tenant) == 0)
		return true;
	ch_fail(err, CH_NOT_FOUND, "key '%.40s': no such key", order->key_id);
	return key_order_refused(order, "tenant", err);
}

bool key_order_approved(struct key_order *order, Chancery__ActionKind kind,
			const struct ch_action_field *fields, size_t count, struct ch_error *err)
{
	const struct vault_approval_ask ask = { .tenant = order->key.tenant,
						.kind = kind,
						.fields = fields,
						.field_count = count,
						.required = order->key.approvals_required,
						.now_us = ch_clock_now_us(order->vault->clock) };

	if (!order->action_id[0]) {
		ch_fail(err, CH_DENIED,
			"key '%s': this needs officers' approval: propose it as an action (%s)",
			order->key_id, ch_action_kind_name(kind));
		return key_order_refused(order, "approval", err);
	}
	return vault_action_use(order->vault, order->request, order->action_id, &ask, &order->approvers, err);
}

bool key_order_unchanged(const struct key_order *order, const struct vault_key *changing,
			 struct ch_error *err)
{
	return changing->policy_version == order->key.policy_version + 1 ||
	       ch_fail(err, CH_CONFLICT, "key '%s' was changed meanwhile: look at it again", order->key_id);
}

bool key_order_record(const struct key_order *order, const char *type, const struct ch_audit_detail *details,
		      size_t count, struct ch_error *err)
{
	const struct ch_peer *sender = order->request->sender;
	const char *actor = vault_person(order->request, order->person ? order->person : "");
	CH_AUTO(ch_string) through = ch_format("%s/%s", sender->service, sender->instance);
	struct ch_audit_detail all[DETAILS_CAP];
	struct ch_audit_event event = { .type = type,
					.outcome = "success",
					.tenant = order->request->body->tenant,
					.actor = actor,
					.subject = order->key_id,
					.message_id = order->request->message_id,
					.trace_id = order->request->body->trace_id,
					.details = all };

	for (size_t i = 0; i < count && i + 2 < DETAILS_CAP; i++)
		all[event.detail_count++] = details[i];
	if (actor != sender->instance)
		all[event.detail_count++] = (struct ch_audit_detail){ "through", through };
	if (order->approvers)
		all[event.detail_count++] = (struct ch_audit_detail){ "approved_by", order->approvers };
	return ch_audit_record(order->vault->audit, &event, err) ||
	       ch_fail_in(err, "the audit event could not be recorded");
}

bool key_order_refused(const struct key_order *order, const char *reason, const struct ch_error *why)
{
	const struct vault_check check = { .reason = reason };
	const struct vault_event event = { .request = order->request,
					   .key_id = order->key_id,
					   .check = &check };

	vault_note_refused(order->vault, &event, why);
	return false;
}

ProtobufCMessage *key_reply(const struct vault_key *key)
{
	Chancery__KeyReply *reply = CH_PROTO_NEW(Chancery__KeyReply, chancery__key_reply__init);

	reply->key = CH_PROTO_NEW(Chancery__Key, chancery__key__init);
	vault_key_message(key, reply->key);
	return &reply->base;
}
