/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_end_entity.c: a certificate that can sign no other. Row of purposes.c. */
#include "purposes.h"

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
	return tbs_certificate_check_within_ca(check, &tbs, err);
}
