/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_identity_fuzz.c: hostile TBSCertificates where a daemon's identity is asked for. */
#include "purpose_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_purpose(purpose_service_identity, ch_view(data, size), (struct ch_view)CH_NONE);
	return 0;
}
