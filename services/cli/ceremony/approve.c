/* SPDX-License-Identifier: Apache-2.0 */
/*
 * approve.c: officers at a ceremony: an action is proposed to the vault, its document held against what the
 * ceremony's document asks for, and signed by those who are there. Called by make.c.
 */
#include "ceremony.h"

#include "../action_view.h"
#include "../vault_action.h"
#include "vaultclient/vaultclient.h"

#include <stdio.h>
#include <string.h>

/* --- who is there --- */

void ceremony_officers_close(struct ceremony_officers *officers)
{
	for (size_t i = 0; i < officers->count; i++)
		officer_key_close(officers->keys[i]);
	officers->count = 0;
}

bool ceremony_officers_open(struct cli *cli, struct ceremony_officers *officers, struct ch_error *err)
{
	const char *certificate, *key;

	for (size_t i = 0;; i++) {
		certificate = cli_value_at(cli, "officer-cert", i);
		key = cli_value_at(cli, "officer-key", i);
		if (!certificate && !key)
			return true;
		if (!certificate || !key)
			return ch_fail(err, CH_INVALID, "--officer-cert and --officer-key come in pairs");
		if (i == CEREMONY_OFFICERS_CAP)
			return ch_fail(err, CH_INVALID, "more than %d officers", CEREMONY_OFFICERS_CAP);
		if (!officer_key_open(certificate, key, &officers->keys[i], err))
			return false;
		officers->count = i + 1;
	}
}

/* --- the action --- */

/* The file that an earlier run left: the document of what was proposed then. */
static bool find_earlier(const struct ceremony_run *run, const char *file, char id[CH_ACTION_ID_SIZE],
			 bool *found, struct ch_error *err)
{
	CH_AUTO(ch_action) action = CH_NONE;
	CH_AUTO(ch_bytes) document = CH_NONE;

	if (!ceremony_load(run->folder, file, &document, found, err) || !*found)
		return !*found;
	if (!ch_action_read(ch_view_of(&document), &action, err))
		return ch_fail_in(err, "'%s'", file);
	memcpy(id, action.id, CH_ACTION_ID_SIZE);
	return true;
}

/* An action that expired unused is proposed anew. */
static bool find_or_propose(struct ceremony_run *run, const char *file, const struct ch_action_ask *ask,
			    ProtobufCMessage **reply, struct ch_error *err)
{
	const Chancery__Action *action;
	char id[CH_ACTION_ID_SIZE];
	bool found;

	if (!find_earlier(run, file, id, &found, err) ||
	    (found && !vault_action_get(run->connection, id, reply, err)))
		return false;
	if (found && strcmp(vault_action_of(*reply)->state, "expired") != 0)
		return true;
	ch_proto_free(*reply);
	*reply = NULL;
	if (!vault_action_propose(run->connection, ask, reply, err))
		return false;
	action = vault_action_of(*reply);
	return ceremony_save(run->folder, file, ch_view(action->document.data, action->document.len), err) &&
	       ceremony_note(run->folder, err, "proposed %s, action %s", ch_action_kind_name(ask->kind),
			     action->action_id);
}

/* The vault writes the document; that it asks for what the ceremony asks for is not the vault's word alone.
 */
static bool check_document(const Chancery__Action *action, const struct ch_action_ask *ask,
			   struct ch_error *err)
{
	CH_AUTO(ch_action) read = CH_NONE;

	return vault_action_check(action, &read, err) &&
	       ch_action_matches(&read, ask->kind, ask->fields, ask->count, err);
}

/* --- signing it --- */

/* Certificate and signature stay in the folder, so that openssl verifies the approval for itself. */
static bool approve_as(struct ceremony_run *run, const char *step, struct officer_key *officer,
		       ProtobufCMessage **reply, struct ch_error *err)
{
	const Chancery__Action *action = vault_action_of(*reply);
	const char *name = officer_key_holder(officer)->name;
	struct ch_view certificate = officer_key_certificate(officer);
	CH_AUTO(ch_string) signature_file = ch_format("%s.%s.sig", step, name);
	CH_AUTO(ch_string) certificate_file = ch_format("%s.%s.cer", step, name);
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_proto) after = NULL;

	if (!action_view_confirm(run->cli, name, err) ||
	    !officer_key_sign(officer, ch_view(action->document.data, action->document.len), &signature,
			      err) ||
	    !ceremony_save(run->folder, signature_file, ch_view_of(&signature), err) ||
	    !ceremony_save(run->folder, certificate_file, certificate, err) ||
	    !vault_action_approve(run->connection, action, certificate, ch_view_of(&signature), &after,
				  err) ||
	    !ceremony_note(run->folder, err, "officer '%s' approved action %s", name, action->action_id))
		return ch_fail_in(err, "officer '%s'", name);
	ch_proto_free(*reply);
	*reply = CH_STEAL(after);
	return true;
}

static bool sign_all(struct ceremony_run *run, const char *step, ProtobufCMessage **reply,
		     struct ch_error *err)
{
	for (size_t i = 0; i < run->officers->count; i++) {
		struct officer_key *officer = run->officers->keys[i];

		if (strcmp(vault_action_of(*reply)->state, "open") != 0)
			return true;
		if (!vault_action_has(vault_action_of(*reply), officer_key_holder(officer)->name) &&
		    !approve_as(run, step, officer, reply, err))
			return false;
	}
	return true;
}

static bool check_enough(const Chancery__Action *action, struct ch_error *err)
{
	if (strcmp(action->state, "open") != 0)
		return true;
	return ch_fail(err, CH_UNAVAILABLE,
		       "%s waits for officers: %zu of %u approved it; run this again with --officer-cert and "
		       "--officer-key of others",
		       ch_action_kind_name(action->kind), action->n_approved_by, action->approvals_required);
}

bool ceremony_approve(struct ceremony_run *run, const char *step, const struct ch_action_ask *ask,
		      struct ceremony_approval *approval, struct ch_error *err)
{
	CH_AUTO(ch_string) file = ch_format("%s.action", step);
	CH_AUTO(ch_proto) reply = NULL;
	const Chancery__Action *action;

	if (!find_or_propose(run, file, ask, &reply, err) ||
	    !check_document(vault_action_of(reply), ask, err))
		return false;
	action = vault_action_of(reply);
	if (strcmp(action->state, "open") == 0 &&
	    !action_view_show(stderr, ch_view(action->document.data, action->document.len), ask->content,
			      err))
		return false;
	if (!sign_all(run, step, &reply, err) || !check_enough(vault_action_of(reply), err))
		return false;
	memcpy(approval->id, vault_action_of(reply)->action_id, CH_ACTION_ID_SIZE);
	ch_vault_action_message_id(approval->id, approval->message_id);
	return true;
}
