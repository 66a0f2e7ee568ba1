/* SPDX-License-Identifier: Apache-2.0 */
/* san_fuzz.c: any bytes as GeneralNames, and as the text of each type. What is taken encodes to what decodes
 * the same. */
#include "x509/x509.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct ch_sans *sans)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(ch_sans) again = CH_NONE;
	struct ch_error err;
	if (!ch_sans_encode(sans, &der, &err) || !ch_sans_decode(ch_view_of(&der), &again, &err) ||
	    again.count != sans->count)
		abort();
	for (size_t i = 0; i < sans->count; i++)
		if (sans->items[i].type != again.items[i].type ||
		    strcmp(sans->items[i].value, again.items[i].value) != 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_sans) decoded = CH_NONE;
	struct ch_error err;
	if (ch_sans_decode(ch_view(data, size), &decoded, &err))
		round_trip(&decoded);
	CH_AUTO(ch_string) text = ch_strndup((const char *)data, size);
	for (int type = CH_SAN_DNS; type <= CH_SAN_URI; type++) {
		CH_AUTO(ch_sans) sans = CH_NONE;
		if (ch_sans_add(&sans, ch_san_type_name((enum ch_san_type)type), text, &err))
			round_trip(&sans);
	}
	return 0;
}
