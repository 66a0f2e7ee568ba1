/* SPDX-License-Identifier: Apache-2.0 */
/* reason.c: the revocation reasons of RFC 5280 §5.3.1 by name and number. */
#include "x509/x509.h"

#include <string.h>

/* Indexed by CRLReason; 7 is not used. */
static const char *const reasons[] = {
	"unspecified",   "keyCompromise",        "cACompromise",    "affiliationChanged",
	"superseded",    "cessationOfOperation", "certificateHold", NULL,
	"removeFromCRL", "privilegeWithdrawn",   "aACompromise",
};

const char *ch_reason_name(int reason)
{
	return reason >= 0 && (size_t)reason < CH_COUNT(reasons) ? reasons[reason] : NULL;
}

int ch_reason_number(const char *name)
{
	for (size_t i = 0; name && i < CH_COUNT(reasons); i++)
		if (reasons[i] && !strcmp(reasons[i], name))
			return (int)i;
	return -1;
}
