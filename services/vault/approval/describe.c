/* SPDX-License-Identifier: Apache-2.0 */
/*
 * describe.c: what officers are told of an action beside what it asks for, from the vault's own sealed rows:
 * of "key: f6529ff8…" that it is the root's, in which state; of a policy or a quorum what it replaces. Part
 * of the document that they sign. handlers.c calls it when an action is proposed.
 */
#include "approval.h"

#include "policy.h"
#include "vault.h"

#include "key_states.h"

#include <stdlib.h>
#include <string.h>

static char *purposes_of(const struct vault_key *key)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	for (int i = 1; i < 32; i++) {
		const struct vault_purpose *purpose =
			key->purposes & 1u << i ? vault_purpose_find((Chancery__Purpose)i) : NULL;

		if (purpose)
			ch_buffer_printf(&out, "%s%s", out.used ? "," : "", purpose->name);
	}
	return ch_buffer_steal_text(&out);
}

static char *list(char *const *items, size_t count)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	for (size_t i = 0; i < count; i++)
		ch_buffer_printf(&out, "%s%s", i ? "," : "", items[i]);
	return count ? ch_buffer_steal_text(&out) : ch_strdup("-");
}

/* The policy that a new one replaces. */
static char *policy_of(const struct vault_key *key)
{
	Chancery__KeyPolicy *policy = vault_policy_message(key);
	CH_AUTO(ch_string) callers = list(policy->callers, policy->n_callers);
	CH_AUTO(ch_string)
	algorithms = list(policy->signature_algorithms, policy->n_signature_algorithms);
	CH_AUTO(ch_string) extensions = list(policy->extra_extensions, policy->n_extra_extensions);
	char *text = ch_format("callers %s; signature-algorithms %s; max-validity-seconds %lld; quota %u at "
			       "once, %u an hour; approvals %u; audit %s; verify-signatures %s; "
			       "extra-extensions %s",
			       callers, algorithms, (long long)policy->max_validity_seconds,
			       policy->quota_burst, policy->quota_per_hour, policy->approvals_required,
			       policy->audit_mode[0] ? policy->audit_mode : "-",
			       policy->signatures_unverified ? "no" : "yes", extensions);

	chancery__key_policy__free_unpacked(policy, NULL);
	return text;
}

static void describe_key(struct ch_action *action, const struct vault_key *key)
{
	CH_AUTO(ch_string) purposes = purposes_of(key);
	CH_AUTO(ch_string) subject =
		key->subject_der.size ? ch_name_text(ch_view_of(&key->subject_der)) : ch_strdup("-");
	char until[CH_TIME_TEXT_SIZE];

	ch_action_add_fact(action, "key-label", key->label);
	ch_action_add_fact(action, "key-subject", subject);
	ch_action_add_fact(action, "key-algorithm", key->algorithm ? key->algorithm->name : "-");
	ch_action_add_fact(action, "key-purposes", purposes);
	ch_action_add_fact(action, "key-state", key->state);
	if (key->ca_not_after_us)
		ch_action_add_fact(action, "key-certificate-until",
				   ch_time_text(key->ca_not_after_us, until));
}

static bool describe_by_key(struct vault *vault, struct ch_action *action, const char *key_id,
			    struct ch_error *err)
{
	CH_AUTO(vault_key) key = CH_NONE;
	struct ch_error why = CH_NONE;

	if (!store_find_key(vault->db, key_id, &key, &why) || !vault_key_verify_read(vault, &key, &why)) {
		if (why.code != CH_NOT_FOUND) {
			*err = why;
			return false;
		}
		ch_action_add_fact(action, "key", "no such key");
		return true;
	}
	if (strcmp(key.tenant, action->tenant) != 0) {
		ch_action_add_fact(action, "key", "no such key");
		return true;
	}
	describe_key(action, &key);
	if (action->kind == CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_POLICY) {
		CH_AUTO(ch_string) policy = policy_of(&key);

		ch_action_add_fact(action, "replaces", policy);
	}
	return true;
}

/* --- what a new key replaces: another one of that label --- */

struct namesakes {
	const char *label;
	struct ch_buffer text;
};

static void add_namesake(void *context, const struct vault_key *key)
{
	struct namesakes *names = context;

	if (strcmp(key->label, names->label) == 0 && strcmp(key->state, "destroyed") != 0 &&
	    names->text.used < 400)
		ch_buffer_printf(&names->text, "%skey %s (%s)", names->text.used ? ", " : "", key->key_id,
				 key->state);
}

static bool describe_new_key(struct vault *vault, struct ch_action *action, struct ch_error *err)
{
	struct namesakes names = { .label = ch_action_value(action, "label") };
	CH_AUTO(ch_string) text = NULL;
	bool listed = store_list_keys(vault->db, action->tenant, add_namesake, &names, err);

	text = ch_buffer_steal_text(&names.text);
	if (listed)
		ch_action_add_fact(action, "keys-of-this-label", text);
	return listed;
}

/* --- the quorum that a new one replaces --- */

static bool describe_quorum(struct vault *vault, struct ch_action *action, struct ch_error *err)
{
	CH_AUTO(ch_buffer) out = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	struct vault_quorum quorum;

	if (!vault_quorum_load(vault, action->tenant, &quorum, err))
		return false;
	ch_buffer_printf(&out, "version %llu: %u of", (unsigned long long)quorum.version, quorum.required);
	for (size_t i = 0; i < quorum.count; i++) {
		CH_AUTO(ch_string) key = ch_hex(ch_view(quorum.officers[i].public_key_sha256, 8));

		ch_buffer_printf(&out, " %s=%s…", quorum.officers[i].name, key);
	}
	text = ch_buffer_steal_text(&out);
	ch_action_add_fact(action, "replaces", text);
	return true;
}

bool vault_action_describe(struct vault *vault, struct ch_action *action, struct ch_error *err)
{
	const char *key_id = ch_action_value(action, "key");

	if (key_id)
		return describe_by_key(vault, action, key_id, err);
	if (action->kind == CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY)
		return describe_new_key(vault, action, err);
	if (action->kind == CHANCERY__ACTION_KIND__ACTION_CHANGE_QUORUM)
		return describe_quorum(vault, action, err);
	return true;
}
