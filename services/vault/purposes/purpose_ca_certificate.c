/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_ca_certificate.c: a CA certificate: only for a key of this vault, only over bytes that officers
 * signed. Row of purposes.c.
 */
#include "purposes.h"

#include <string.h>

static bool check_is_ca(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	if (!tbs->is_ca || !tbs->basic_constraints_critical)
		return vault_refuse(check, "not-a-ca", err,
				    "basicConstraints is not critical with cA TRUE (RFC 5280 §4.2.1.9)");
	if (!tbs->may_sign_certificates)
		return vault_refuse(check, "key-usage", err,
				    "keyUsage lacks keyCertSign (RFC 5280 §4.2.1.3)");
	return true;
}

/* A root signs itself: the certificate must be for the very key that signs. */
static bool check_root(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	const struct vault_key *key = check->key;

	if (!ch_view_equal(tbs->public_key_info, ch_view_of(&key->public_key_info)))
		return vault_refuse(check, "subject-key", err,
				    "issuer equals subject but the public key is not key '%s' itself",
				    key->key_id);
	memcpy(check->subject_key_id, key->key_id, sizeof(check->subject_key_id));
	return true;
}

static bool check_path_length(struct vault_check *check, const struct tbs_certificate *tbs,
			      struct ch_error *err)
{
	int32_t limit = check->key->ca_path_length;

	if (limit < 0)
		return true;
	if (limit == 0)
		return vault_refuse(check, "path-length", err,
				    "the issuing CA's pathLenConstraint is 0: no CA below it");
	if (tbs->path_length < 0 || tbs->path_length >= limit)
		return vault_refuse(check, "path-length", err,
				    "pathLenConstraint is %s%d, the issuing CA's of %d allows at most %d",
				    tbs->path_length < 0 ? "absent, " : "", tbs->path_length, limit,
				    limit - 1);
	return true;
}

/* A subordinate CA's key must be this vault's, made as a CA key under the name that the certificate gives it.
 */
static bool check_subordinate(struct vault_check *check, const struct tbs_certificate *tbs,
			      struct ch_error *err)
{
	const unsigned ca_purpose = 1u << CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE;
	const struct vault_key *subject;

	if (!tbs_certificate_check_within_ca(check, tbs, err) || !check_path_length(check, tbs, err))
		return false;
	subject = check->find_subject(check->find_state, tbs->public_key_info, err);
	if (!subject) {
		check->reason = "subject-key";
		return ch_fail_in(err, "subject public key");
	}
	if (strcmp(subject->tenant, check->key->tenant) != 0 || !(subject->purposes & ca_purpose))
		return vault_refuse(check, "subject-key", err, "key '%s' is not a CA key of tenant '%s'",
				    subject->key_id, check->key->tenant);
	if (!ch_view_equal(tbs->subject, ch_view_of(&subject->subject_der)))
		return vault_refuse(check, "subject", err,
				    "subject is not the name that key '%s' was made for", subject->key_id);
	memcpy(check->subject_key_id, subject->key_id, sizeof(check->subject_key_id));
	return true;
}

static bool check_approved(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	CH_AUTO(ch_string) subject = ch_name_text(tbs->subject);
	char not_after[CH_TIME_TEXT_SIZE];
	const struct ch_action_field more[] = {
		{ (char *)(uintptr_t) "subject", subject },
		{ (char *)(uintptr_t) "not-after",
		  (char *)(uintptr_t)ch_time_text(tbs->not_after_us, not_after) },
	};

	return vault_check_approvals(check, CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE, more,
				     CH_COUNT(more), err);
}

bool purpose_ca_certificate(struct vault_check *check, struct ch_error *err)
{
	struct tbs_certificate tbs;
	bool root;

	if (!tbs_certificate_read(check->to_be_signed, &tbs, err) ||
	    !tbs_certificate_check(check, &tbs, err) || !check_is_ca(check, &tbs, err) ||
	    !vault_check_extensions(check, &tbs.extensions, VAULT_IN_CA_CERTIFICATE, err))
		return false;
	root = ch_view_equal(tbs.issuer, tbs.subject);
	if (root ? !check_root(check, &tbs, err) : !check_subordinate(check, &tbs, err))
		return false;
	/* Officers sign one after the other, for up to a week: what counts is when they were asked. */
	if (!check_approved(check, &tbs, err) ||
	    !tbs_certificate_check_backdating(check, &tbs, check->proposed_us, err))
		return false;
	check->sets_ca_limits = true;
	check->ca_not_before_us = tbs.not_before_us;
	check->ca_not_after_us = tbs.not_after_us;
	check->ca_path_length = tbs.path_length;
	return true;
}
