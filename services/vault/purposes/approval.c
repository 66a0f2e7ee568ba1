/* SPDX-License-Identifier: Apache-2.0 */
/*
 * approval.c: what officers approved is the signature that is asked for now. Purposes that need officers ask
 * for it.
 */
#include "purposes.h"

#include <string.h>

#define MORE_CAP 4

/* The document is the one that officers signed: vault_approvals_check read it before. */
static bool take_proposal_time(struct vault_check *check, struct ch_error *err)
{
	CH_AUTO(ch_action) document = CH_NONE;

	if (!ch_action_read(ch_view_of(&check->action->document), &document, err))
		return false;
	check->proposed_us = document.created_us;
	return true;
}

bool vault_check_approvals(struct vault_check *check, Chancery__ActionKind kind,
			   const struct ch_action_field *more, size_t more_count, struct ch_error *err)
{
	struct ch_action_field fields[2 + MORE_CAP];
	CH_AUTO(ch_string) digest_text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!check->action)
		return vault_refuse(check, "approval-missing", err,
				    "this signature needs officers' approvals: no action is named");
	if (more_count > MORE_CAP || !ch_digest("sha256", check->to_be_signed, digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	fields[0] =
		(struct ch_action_field){ (char *)(uintptr_t) "key", (char *)(uintptr_t)check->key->key_id };
	fields[1] = (struct ch_action_field){ (char *)(uintptr_t) "tbs-sha256", digest_text };
	for (size_t i = 0; i < more_count; i++)
		fields[2 + i] = more[i];
	const struct vault_approval_ask ask = { .tenant = check->key->tenant,
						.kind = kind,
						.fields = fields,
						.field_count = 2 + more_count,
						.required = check->key->approvals_required,
						.now_us = check->now_us };

	check->uses_action =
		vault_approvals_check(&ask, check->action, check->quorum, &check->policy->operators,
				      &check->approvers, &check->reason, err);
	return check->uses_action && take_proposal_time(check, err);
}
