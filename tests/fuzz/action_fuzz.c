/* SPDX-License-Identifier: Apache-2.0 */
/* action_fuzz.c: hostile documents of actions. What reads is written again as the same octets (ch_action_read
 * sees to it): here that its parts obey their caps. */
#include "action/action.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_bytes) again = CH_NONE;
	CH_AUTO(ch_action) action = CH_NONE;
	struct ch_error err;

	if (!ch_action_read(ch_view(data, size), &action, &err))
		return 0;
	if (!ch_action_format(&action, &again, &err) ||
	    !ch_view_equal(ch_view_of(&again), ch_view(data, size)))
		abort();
	for (size_t i = 0; i < action.field_count; i++)
		if (strlen(action.fields[i].value) > CH_ACTION_VALUE_CAP)
			abort();
	if (!ch_action_matches(&action, action.kind, action.fields, action.field_count, &err))
		abort();
	return 0;
}
