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
	if (tbs.may_sign_certificates || tbs.may_sign_crls)
		return vault_refuse(check, "key-usage", err, "keyUsage has %s, which is a CA's",
				    tbs.may_sign_certificates ? "keyCertSign" : "cRLSign");
	if (ch_view_equal(tbs.public_key_info, ch_view_of(&check->key->public_key_info)))
		return vault_refuse(check, "subject-key", err, "the public key is the issuing CA's own");
	if (tbs.may_sign_ocsp && !check_responder(check, &tbs, err))
		return false;
	return tbs_certificate_check_within_ca(check, &tbs, err);
}
