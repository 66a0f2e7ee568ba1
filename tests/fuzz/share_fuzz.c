/* SPDX-License-Identifier: Apache-2.0 */
/* share_fuzz.c: hostile custodian shares: what reads is written again as the same octets. */
#include "shares.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char again[SHARE_TEXT_CAP];
	struct ch_error err;
	struct share share;

	if (!share_read(ch_view(data, size), &share, &err))
		return 0;
	share_format(&share, again);
	if (strlen(again) != size || memcmp(again, data, size) != 0)
		abort();
	return 0;
}
