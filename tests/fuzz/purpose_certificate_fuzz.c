/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_certificate_fuzz.c: hostile TBSCertificates, as an end-entity and as a CA certificate. */
#include "purpose_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_purpose(purpose_end_entity, ch_view(data, size), (struct ch_view)CH_NONE);
	fuzz_purpose(purpose_ca_certificate, ch_view(data, size), (struct ch_view)CH_NONE);
	return 0;
}
