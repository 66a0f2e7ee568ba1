/* SPDX-License-Identifier: Apache-2.0 */
/* profile_fuzz.c: any bytes as a certificate profile document: read or refused, never a crash or a leak. */
#include "issuance/issuance.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_profile) profile = CH_NONE;
	struct ch_error err = CH_NONE;

	if (ch_profile_read(ch_view(data, size), &profile, &err)) {
		/* What was accepted holds what the rest of the issuer relies on. */
		if (!profile.name || profile.keys.count == 0 || profile.key_usage == 0 ||
		    profile.validity.default_us > profile.validity.maximum_us)
			abort();
	} else if (err.code == CH_OK || err.message[0] == '\0') {
		abort();
	}
	return 0;
}
