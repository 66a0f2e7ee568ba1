/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_end_entity.c: a certificate that can sign no other. Row of purposes.c. */
#include "purposes.h"

#include <string.h>

/*
 * Who answers for status in this CA's name can make every revoked certificate good again: only keys of this
 * vault, made for that, so that a taken-over issuer gets no responder of its own (RFC 6960 §4.2.2.2). A
 * time-stamping authority may be anybody's: what it says binds itself alone.
 */
static bool check_responder(struct vault_check *check, const struct tbs_certificate *tbs,
			    struct ch_error *err)
{
	const unsigned ocsp = 1u << CHANCERY__PURPOSE__PURPOSE_OCSP;
	const struct vault_key *subject = check->find_subject(check->find_state, tbs->public_key_info, err);

	if (!subject && err && err->code != CH_NOT_FOUND)
		return false;
	if (!subject || strcmp(subject->tenant, check->key->tenant) != 0 || !(subject->purposes & ocsp))
		return vault_refuse(
			check, "extended-key-usage", err,
			"extendedKeyUsage has id-kp-OCSPSigning, but the public key is not an OCSP key of "
			"this vault and tenant '%s'",
			check->key->tenant);
	return true;
}

/* Anybody's but one of the suite's own that may not be certified any more. */
static bool check_authority(struct vault_check *check, const struct tbs_certificate *tbs,
			    struct ch_error *err)
{
	struct ch_error why = CH_NONE;

	if (check->find_subject(check->find_state, tbs->public_key_info, &why) || why.code == CH_NOT_FOUND)
		return true;
	check->reason = "subject-key";
	if (err)
		*err = why;
	return false;
}

/* In whatever form it is written. */
static bool check_not_own(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	struct ch_spki own;

	return ch_spki_read(ch_view_of(&check->key->public_key_info), &own, err) &&
	       (!ch_spki_equal(&own, &tbs->subject_key) ||
		vault_refuse(check, "subject-key", err, "the public key is the issuing CA's own"));
}

/* Without keyUsage a key may do everything (RFC 5280 §4.2.1.3), also sign CRLs in its subject's name. */
static bool check_usage(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	if (!tbs->has_key_usage)
		return vault_refuse(check, "key-usage", err,
				    "keyUsage is absent: the key might sign certificates and CRLs");
	if (tbs->may_sign_certificates || tbs->may_sign_crls)
		return vault_refuse(check, "key-usage", err, "keyUsage has %s, which is a CA's",
				    tbs->may_sign_certificates ? "keyCertSign" : "cRLSign");
	if (tbs->any_usage)
		return vault_refuse(check, "extended-key-usage", err,
				    "extendedKeyUsage has anyExtendedKeyUsage");
	return true;
}

/* id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1): nobody asks about such a certificate's status. */
static bool check_no_check(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	static const uint8_t no_check[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x05 };

	for (size_t i = 0; i < tbs->extensions.count && !tbs->may_sign_ocsp; i++)
		if (ch_view_equal(tbs->extensions.items[i].oid, ch_view(no_check, sizeof(no_check))))
			return vault_refuse(
				check, "extension", err,
				"id-pkix-ocsp-nocheck in a certificate without id-kp-OCSPSigning");
	return true;
}

/* The key of a CA that issues no more still tells status: its own responders need certificates. */
static bool check_state(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	if (tbs->may_sign_ocsp || !check->status_alone)
		return true;
	vault_refuse(check, "key-state", err, "key '%s' is %s and certifies OCSP responders alone",
		     check->key->key_id, check->key->state);
	err->code = CH_CONFLICT;
	return false;
}

bool purpose_end_entity(struct vault_check *check, struct ch_error *err)
{
	struct tbs_certificate tbs;

	if (!tbs_certificate_read(check->to_be_signed, &tbs, err) || !tbs_certificate_check(check, &tbs, err))
		return false;
	if (tbs.is_ca)
		return vault_refuse(
			check, "ca-true", err,
			"basicConstraints has cA TRUE: a CA certificate needs the purpose ca-certificate and "
			"officers' approval");
	if (tbs.path_length >= 0)
		return vault_refuse(check, "ca-true", err, "pathLenConstraint without cA");
	if (!check_usage(check, &tbs, err) || !check_no_check(check, &tbs, err) ||
	    !vault_check_extensions(check, &tbs.extensions, VAULT_IN_END_ENTITY, err) ||
	    !tbs_certificate_check_subject(check, &tbs, err) ||
	    !tbs_certificate_check_backdating(check, &tbs, check->now_us, err))
		return false;
	if (!check_not_own(check, &tbs, err) || !check_state(check, &tbs, err) ||
	    (tbs.may_sign_ocsp && !check_responder(check, &tbs, err)) ||
	    (tbs.may_stamp && !check_authority(check, &tbs, err)))
		return false;
	return tbs_certificate_check_within_ca(check, &tbs, err);
}
