/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replace.c: a new or wiped HSM is brought to hold all keys while the others sign; and an HSM is shut out for
 * maintenance. Rows of the dispatch table (peers.c). Each key is copied from the wrapped form that its row
 * keeps, proven by a signature, and only then recorded.
 */
#include "vault.h"

#include "approval.h"
#include "log/log.h"
#include "marks.h"
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFT_FOR_REPLY (2 * CH_SECOND)
#define FAILED_CAP     100 /* named in one reply */

static bool find_hsm(const struct vault *vault, const char *name, size_t *index, struct ch_error *err)
{
	for (*index = 0; *index < hsm_pool_count(vault->hsms); ++*index)
		if (strcmp(hsm_pool_name(vault->hsms, *index), name) == 0)
			return true;
	return ch_fail(err, CH_NOT_FOUND, "HSM '%.64s' is not in this vault's configuration", name);
}

/* --- what is to be done --- */

struct filling {
	struct vault *vault;
	size_t hsm;
	char **ids; /* of all keys that are not destroyed */
	size_t total;
	char **present; /* key ids in the token */
	size_t present_count;
	Chancery__ReplaceHsmReply *answer;
};

static void add_id(void *context, const struct vault_key *key)
{
	struct filling *filling = context;

	filling->ids = ch_realloc(filling->ids, (filling->total + 1) * sizeof(char *));
	filling->ids[filling->total++] = ch_strdup(key->key_id);
}

static void free_texts(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

static void filling_free(struct filling *filling)
{
	free_texts(filling->ids, filling->total);
	free_texts(filling->present, filling->present_count);
	if (filling->answer)
		chancery__replace_hsm_reply__free_unpacked(filling->answer, NULL);
}
CH_DEFINE_AUTO_VALUE(filling, struct filling, filling_free)

static bool look(struct filling *filling, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmListKeys list = CHANCERY__HSM_LIST_KEYS__INIT;
	Chancery__HsmReply *reply;

	request.list_keys = &list;
	if (!vault_run_on(filling->vault, filling->hsm, &request, false, VAULT_COPY_LIMIT_US, &reply, err))
		return false;
	filling->present = reply->key_ids;
	filling->present_count = reply->n_key_ids;
	reply->key_ids = NULL;
	reply->n_key_ids = 0;
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return true;
}

static bool is_present(const struct filling *filling, const char *key_id)
{
	for (size_t i = 0; i < filling->present_count; i++)
		if (strcmp(filling->present[i], key_id) == 0)
			return true;
	return false;
}

/* --- one key --- */

static bool has_residency(const struct filling *filling, const struct vault_key *key)
{
	return vault_residency_bits(filling->vault, key) & 1u << filling->hsm;
}

static bool record_copy(void *context, struct vault_key *key, struct ch_error *err)
{
	struct filling *filling = context;

	(void)err;
	if (!has_residency(filling, key))
		vault_copy_recorded(filling->vault, key, filling->hsm);
	return true;
}

static bool copy_one(struct filling *filling, struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_bytes) wrapped = CH_NONE;

	if (!store_find_wrapped(filling->vault->db, key->key_id, &wrapped, err))
		return false;
	if (!wrapped.size)
		return ch_fail(err, CH_CONFLICT,
			       "it has no wrapped copy: the HSM that holds it never gave it out");
	return vault_copy_to(filling->vault, filling->hsm, key, ch_view_of(&wrapped), err);
}

/* present: it was there, and proves it. */
static bool bring(struct filling *filling, const char *key_id, bool *present, struct ch_error *err)
{
	struct vault *vault = filling->vault;
	CH_AUTO(vault_key) key = CH_NONE;
	bool recorded;

	if (!store_find_key(vault->db, key_id, &key, err) || !vault_key_verify_read(vault, &key, err))
		return false;
	*present = is_present(filling, key_id);
	recorded = has_residency(filling, &key);
	if (*present ? !vault_copy_prove(vault, filling->hsm, &key, err) : !copy_one(filling, &key, err))
		return false;
	hsm_pool_key_present(vault->hsms, filling->hsm, key_id);
	return recorded || vault_key_change(vault, key_id, record_copy, filling, NULL, err);
}

static void note_failed(struct filling *filling, const char *key_id, const struct ch_error *why)
{
	Chancery__ReplaceHsmReply *answer = filling->answer;

	ch_log_error("HSM '%s': key '%s' could not be brought to it: %s",
		     hsm_pool_name(filling->vault->hsms, filling->hsm), key_id, why->message);
	if (answer->n_failed == FAILED_CAP)
		return;
	answer->failed = ch_realloc(answer->failed, (answer->n_failed + 1) * sizeof(char *));
	answer->failed[answer->n_failed++] = ch_format("key %s: %s", key_id, why->message);
}

/* Until all are there or the caller waits no longer: asked again with the same message id, it goes on. */
static void bring_all(struct filling *filling, int64_t until_us)
{
	for (size_t i = 0; i < filling->total && ch_monotonic_us() < until_us; i++) {
		struct ch_error why = CH_NONE;
		bool present = false;

		if (!bring(filling, filling->ids[i], &present, &why))
			note_failed(filling, filling->ids[i], &why);
		else if (present)
			filling->answer->present++;
		else
			filling->answer->copied++;
	}
	filling->answer->total = (uint32_t)filling->total;
}

/* --- the handlers --- */

static bool use_approval(struct vault *vault, const struct ch_bus_request *request, const char *hsm,
			 const char *action_id, char **names, struct ch_error *err)
{
	const struct ch_action_field fields[] = { { (char *)(uintptr_t) "hsm", (char *)(uintptr_t)hsm } };
	const struct vault_approval_ask ask = { .tenant = request->body->tenant,
						.kind = CHANCERY__ACTION_KIND__ACTION_REPLACE_HSM,
						.fields = fields,
						.field_count = CH_COUNT(fields),
						.now_us = ch_clock_now_us(vault->clock) };

	return vault_action_use(vault, request, action_id, &ask, names, err);
}

static bool record(struct filling *filling, const struct ch_bus_request *request, const char *names,
		   struct ch_error *err)
{
	const Chancery__ReplaceHsmReply *answer = filling->answer;
	char copied[16], present[16], failed[16], total[16];
	const struct ch_audit_detail details[] = { { "copied", copied },
						   { "present", present },
						   { "failed", failed },
						   { "total", total },
						   { "approved_by", names } };

	snprintf(copied, sizeof(copied), "%u", answer->copied);
	snprintf(present, sizeof(present), "%u", answer->present);
	snprintf(failed, sizeof(failed), "%zu", answer->n_failed);
	snprintf(total, sizeof(total), "%u", answer->total);
	return vault_record(filling->vault, request, "hsm.replaced",
			    hsm_pool_name(filling->vault->hsms, filling->hsm), details, CH_COUNT(details),
			    err);
}

bool vault_handle_replace_hsm(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			      struct ch_error *err)
{
	const Chancery__ReplaceHsmRequest *ask = (const Chancery__ReplaceHsmRequest *)request->payload;
	CH_AUTO(filling) filling = { .vault = state };
	CH_AUTO(ch_string) names = NULL;
	struct vault *vault = state;

	/* 1. An HSM that is there and of the domain: its worker opens no other token's keys. */
	if (!find_hsm(vault, ask->hsm, &filling.hsm, err) || !look(&filling, err) ||
	    !use_approval(vault, request, ask->hsm, ask->action_id, &names, err))
		return false;

	/* 2. Key by key, while the others sign. */
	filling.answer = CH_PROTO_NEW(Chancery__ReplaceHsmReply, chancery__replace_hsm_reply__init);
	if (!store_list_all_keys(vault->db, add_id, &filling, err))
		return false;
	bring_all(&filling, vault_deadline_us(vault, request) - LEFT_FOR_REPLY);
	if (!vault_marks_sync(vault, err)) /* and what rows are held against */
		return false;

	/* 3. Recorded, then told. */
	if (!record(&filling, request, names, err))
		return false;
	*reply = &filling.answer->base;
	filling.answer = NULL;
	return true;
}

bool vault_handle_hsm_control(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			      struct ch_error *err)
{
	const Chancery__HsmControlRequest *ask = (const Chancery__HsmControlRequest *)request->payload;
	struct vault *vault = state;
	size_t index;

	if (!find_hsm(vault, ask->hsm, &index, err) ||
	    !vault_record(vault, request, ask->enabled ? "hsm.enabled" : "hsm.disabled", ask->hsm, NULL, 0,
			  err) ||
	    !hsm_pool_set_enabled(vault->hsms, index, ask->enabled, err))
		return false;
	return vault_handle_status(state, request, reply, err);
}
