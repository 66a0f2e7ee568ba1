/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_crl_fuzz.c: hostile TBSCertLists. */
#include "purpose_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_purpose(purpose_crl, ch_view(data, size), (struct ch_view)CH_NONE);
	return 0;
}
