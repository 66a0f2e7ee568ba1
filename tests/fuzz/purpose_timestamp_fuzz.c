/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_timestamp_fuzz.c: hostile signed attributes and TSTInfo: 2 octets say how many are attributes. */
#include "purpose_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t split;

	if (size < 2)
		return 0;
	split = (size_t)data[0] << 8 | data[1];
	if (split > size - 2)
		return 0;
	fuzz_purpose(purpose_timestamp, ch_view(data + 2, split),
		     ch_view(data + 2 + split, size - 2 - split));
	return 0;
}
