/* SPDX-License-Identifier: Apache-2.0 */
/* text_fuzz.c: hostile text: what is escaped is visible throughout, and what was visible is left as it is. */
#include "text/text.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ch_view text = ch_view(data, size);
	CH_AUTO(ch_string) shown = ch_text_escape(text);
	CH_AUTO(ch_buffer) json = CH_NONE;
	struct ch_error err;

	if (!ch_text_check("text", ch_view_text(shown), &err))
		abort();
	if (ch_text_check("text", text, &err) != ch_view_equal(text, ch_view_text(shown)))
		abort();
	ch_text_add_json(&json, text, false);
	if (!ch_text_check("json", ch_buffer_view(&json), &err))
		abort();
	return 0;
}
