/* SPDX-License-Identifier: Apache-2.0 */
/* name_fuzz.c: any text as a name: what is parsed shows as text that parses to the same DER. Any bytes as a
 * Name. */
#include "x509/x509.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_string) text = ch_strndup((const char *)data, size);
	CH_AUTO(ch_string) shown = ch_name_text(ch_view(data, size));
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(ch_bytes) again = CH_NONE;
	struct ch_error err;
	if (!ch_name_parse(text, &der, &err))
		return 0;
	CH_AUTO(ch_string) back = ch_name_text(ch_view_of(&der));
	if (!ch_name_parse(back, &again, &err) || !ch_view_equal(ch_view_of(&der), ch_view_of(&again)))
		abort();
	return 0;
}
