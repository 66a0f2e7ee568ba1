/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_csr_fuzz.c: hostile CertificationRequestInfos. */
#include "purpose_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_purpose(purpose_csr, ch_view(data, size), (struct ch_view)CH_NONE);
	return 0;
}
