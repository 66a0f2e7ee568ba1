/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.c: a key's own policy: what it narrows of what its purposes allow, and which policies there can be.
 * Pure. sign_allow.c asks before any bytes are read; generate.c and handlers.c set policies.
 */
#include "key_states.h"

#include "clock/clock.h"

#include <stdlib.h>
#include <string.h>

#define BIT(name)          (1u << CHANCERY__PURPOSE__PURPOSE_##name)
#define SIGNS_CERTIFICATES (BIT(END_ENTITY_CERTIFICATE) | BIT(CA_CERTIFICATE) | BIT(SERVICE_IDENTITY))
#define LONGEST_S          (INT64_C(100) * 366 * 86400)
#define APPROVALS_CAP      16
#define EXTENSIONS_CAP     16

static bool is_among(char *const *texts, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(texts[i], text) == 0)
			return true;
	return false;
}

/* --- before any bytes are read --- */

static bool refuse(const char **reason, const char *why)
{
	*reason = why;
	return false;
}

bool vault_limits_check(const struct vault_key *key, const struct vault_purpose *purpose, const char *service,
			const char **reason, struct ch_error *err)
{
	const char *algorithm = key->algorithm->signature_name;

	if (!(key->purposes & vault_purpose_of_key(purpose))) {
		ch_fail(err, CH_DENIED, "key '%s' is not for purpose '%s'", key->key_id, purpose->name);
		return refuse(reason, "key-purpose");
	}
	if (!vault_state_signs(key->state, purpose->number)) {
		ch_fail(err, CH_CONFLICT, "key '%s' is %s and signs nothing for purpose '%s'", key->key_id,
			key->state, purpose->name);
		return refuse(reason, "key-state");
	}
	if (key->caller_count && !is_among(key->callers, key->caller_count, service)) {
		ch_fail(err, CH_DENIED, "key '%s' is not for service '%s'", key->key_id, service);
		return refuse(reason, "key-caller");
	}
	if (key->signature_algorithm_count &&
	    !is_among(key->signature_algorithms, key->signature_algorithm_count, algorithm)) {
		ch_fail(err, CH_DENIED, "key '%s' may not sign with %s", key->key_id, algorithm);
		return refuse(reason, "signature-algorithm");
	}
	return true;
}

bool vault_limits_each_audited(const struct vault_key *key, const struct vault_purpose *purpose)
{
	return key && key->audit_mode[0] ? strcmp(key->audit_mode, "each") == 0 : purpose->each_audited;
}

/* --- which policies there can be --- */

/* Whoever asks for one of the key's purposes; another caller would have nothing to ask for. */
static bool check_callers(const Chancery__KeyPolicy *policy, const struct vault_key *key,
			  struct ch_error *err)
{
	for (size_t i = 0; i < policy->n_callers; i++) {
		bool asks = false;

		for (size_t j = 0; vault_purpose_at(j); j++)
			if (key->purposes & 1u << vault_purpose_at(j)->number)
				asks = asks || vault_purpose_allows(vault_purpose_at(j), policy->callers[i]);
		if (!asks)
			return ch_fail(err, CH_INVALID,
				       "callers: service '%.32s' asks for none of the key's purposes",
				       policy->callers[i]);
		if (is_among(policy->callers, i, policy->callers[i]))
			return ch_fail(err, CH_INVALID, "callers: '%.32s' twice", policy->callers[i]);
	}
	return true;
}

static bool check_algorithms(const Chancery__KeyPolicy *policy, const struct vault_key *key,
			     struct ch_error *err)
{
	const char *own = key->algorithm->signature_name;

	for (size_t i = 0; i < policy->n_signature_algorithms; i++)
		if (i > 0 || strcmp(policy->signature_algorithms[i], own) != 0)
			return ch_fail(err, CH_INVALID,
				       "signature_algorithms: a key of %s signs with %s alone",
				       key->algorithm->name, own);
	return true;
}

static bool check_quota(const Chancery__KeyPolicy *policy, struct ch_error *err)
{
	if (!policy->quota_burst != !policy->quota_per_hour)
		return ch_fail(err, CH_INVALID,
			       "quota_burst is %u and quota_per_hour %u: a quota has both, none has neither",
			       policy->quota_burst, policy->quota_per_hour);
	if (policy->quota_burst > VAULT_QUOTA_CAP || policy->quota_per_hour > VAULT_QUOTA_CAP)
		return ch_fail(err, CH_INVALID, "quota over %d", VAULT_QUOTA_CAP);
	return true;
}

/* Canonical dotted OIDs, so that one extension has one name in the document that officers sign. */
static bool check_extensions(const Chancery__KeyPolicy *policy, struct ch_error *err)
{
	if (policy->n_extra_extensions > EXTENSIONS_CAP)
		return ch_fail(err, CH_INVALID, "extra_extensions: %zu, at most %d",
			       policy->n_extra_extensions, EXTENSIONS_CAP);
	for (size_t i = 0; i < policy->n_extra_extensions; i++) {
		const char *dotted = policy->extra_extensions[i];
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		CH_AUTO(ch_string) again = NULL;
		CH_AUTO(ch_bytes) der = CH_NONE;
		struct ch_view in, oid;

		if (!ch_der_put_oid(&writer, dotted, err))
			return ch_fail_in(err, "extra_extensions");
		der = ch_der_done(&writer);
		in = ch_view_of(&der);
		if (!ch_der_read_oid(&in, "extra_extensions", &oid, err))
			return false;
		again = ch_der_oid_text(oid);
		if (!again || strcmp(again, dotted) != 0)
			return ch_fail(err, CH_INVALID, "extra_extensions: '%.64s' is written '%.64s'",
				       dotted, again ? again : "?");
		if (vault_extension_is_never_signed(oid))
			return ch_fail(err, CH_INVALID, "extra_extensions: %.64s is never signed", dotted);
		if (is_among(policy->extra_extensions, i, dotted))
			return ch_fail(err, CH_INVALID, "extra_extensions: %.64s twice", dotted);
	}
	return true;
}

bool vault_policy_valid(const Chancery__KeyPolicy *policy, const struct vault_key *key, struct ch_error *err)
{
	const char *mode = policy->audit_mode;

	if (!check_callers(policy, key, err) || !check_algorithms(policy, key, err) ||
	    !check_quota(policy, err) || !check_extensions(policy, err))
		return false;
	if (policy->max_validity_seconds < 0 || policy->max_validity_seconds > LONGEST_S)
		return ch_fail(err, CH_INVALID, "max_validity_seconds is %lld",
			       (long long)policy->max_validity_seconds);
	if (policy->approvals_required > APPROVALS_CAP)
		return ch_fail(err, CH_INVALID, "approvals_required is %u, at most %d",
			       policy->approvals_required, APPROVALS_CAP);
	if (mode[0] && strcmp(mode, "each") != 0 && strcmp(mode, "summary") != 0)
		return ch_fail(err, CH_INVALID, "audit_mode '%.16s' is neither each nor summary", mode);
	return true;
}

/* --- between message and key --- */

static void set_texts(char ***to, size_t *to_count, char *const *from, size_t count)
{
	for (size_t i = 0; i < *to_count; i++)
		free((*to)[i]);
	free(*to);
	*to = ch_alloc((count + 1) * sizeof(char *));
	*to_count = count;
	for (size_t i = 0; i < count; i++)
		(*to)[i] = ch_strdup(from[i]);
}

void vault_policy_set(struct vault_key *key, const Chancery__KeyPolicy *policy)
{
	int64_t validity_us = policy->max_validity_seconds * CH_SECOND;

	set_texts(&key->callers, &key->caller_count, policy->callers, policy->n_callers);
	set_texts(&key->signature_algorithms, &key->signature_algorithm_count, policy->signature_algorithms,
		  policy->n_signature_algorithms);
	if (key->purposes & SIGNS_CERTIFICATES)
		key->max_certificate_validity_us = validity_us;
	else
		key->max_validity_us = validity_us;
	key->quota_burst = policy->quota_burst;
	key->quota_per_hour = policy->quota_per_hour;
	key->approvals_required = policy->approvals_required;
	strncpy(key->audit_mode, policy->audit_mode, sizeof(key->audit_mode) - 1);
	set_texts(&key->extra_extensions, &key->extra_extension_count, policy->extra_extensions,
		  policy->n_extra_extensions);
	key->signatures_unverified = policy->signatures_unverified;
}

Chancery__KeyPolicy *vault_policy_message(const struct vault_key *key)
{
	Chancery__KeyPolicy *policy = ch_alloc(sizeof(*policy));
	bool certificates = key->purposes & SIGNS_CERTIFICATES;

	chancery__key_policy__init(policy);
	set_texts(&policy->callers, &policy->n_callers, key->callers, key->caller_count);
	set_texts(&policy->signature_algorithms, &policy->n_signature_algorithms, key->signature_algorithms,
		  key->signature_algorithm_count);
	policy->max_validity_seconds =
		(certificates ? key->max_certificate_validity_us : key->max_validity_us) / CH_SECOND;
	policy->quota_burst = key->quota_burst;
	policy->quota_per_hour = key->quota_per_hour;
	policy->approvals_required = key->approvals_required;
	policy->audit_mode = ch_strdup(key->audit_mode);
	set_texts(&policy->extra_extensions, &policy->n_extra_extensions, key->extra_extensions,
		  key->extra_extension_count);
	policy->signatures_unverified = key->signatures_unverified;
	return policy;
}
