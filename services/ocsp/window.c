/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window.c: from when to when an answer about a certificate is valid. Each certificate has a grid of its own
 * in time, half of the validity apart, so that all responders say the same thisUpdate and nextUpdate without
 * asking each other, and not all certificates change at once (docs/decisions/0032-ocsps-grid.md). Pure.
 * Called by respond.c.
 */
#include "ocsp.h"

/* From a point of the grid on responders make the answer of that point; all of them give it out only this
 * much later, when those that are asked for it have it. */
#define LEAD_PART 8
#define LEAD_MAX  (30 * CH_SECOND)

static int64_t step_of(int64_t validity_us)
{
	return validity_us / 2 / CH_SECOND * CH_SECOND;
}

static int64_t lead_of(int64_t validity_us)
{
	int64_t lead = step_of(validity_us) / LEAD_PART / CH_SECOND * CH_SECOND;

	return lead < LEAD_MAX ? lead : LEAD_MAX;
}

/* Where in its step a certificate's grid lies: the last octets of a serial are a keyed tag, as good as
 * random. */
static int64_t phase_of(struct ch_view serial, int64_t step_us)
{
	uint32_t tail = 0;

	for (size_t i = serial.size < 4 ? 0 : serial.size - 4; i < serial.size; i++)
		tail = tail << 8 | serial.data[i];
	return (int64_t)((uint64_t)(step_us / CH_SECOND) * tail >> 32) * CH_SECOND;
}

struct ocsp_window ocsp_window_of(struct ch_view serial, int64_t validity_us, int64_t at_us)
{
	int64_t step_us = step_of(validity_us);
	int64_t since_us = (at_us - phase_of(serial, step_us)) % step_us;
	int64_t point_us = at_us - (since_us < 0 ? since_us + step_us : since_us);

	return (struct ocsp_window){ .this_update_us = point_us,
				     .next_update_us = point_us + validity_us / CH_SECOND * CH_SECOND,
				     .from_us = point_us + lead_of(validity_us),
				     .renew_at_us = point_us + step_us,
				     .stale_at_us = point_us + step_us + lead_of(validity_us) };
}

struct ocsp_window ocsp_window_in_force(struct ch_view serial, int64_t validity_us, int64_t now_us)
{
	return ocsp_window_of(serial, validity_us, now_us - lead_of(validity_us));
}

void ocsp_window_since(struct ocsp_window *window, int64_t changed_at_us, int64_t now_us)
{
	int64_t changed_us = changed_at_us / CH_SECOND * CH_SECOND;

	if (changed_us > window->this_update_us && changed_us <= now_us &&
	    changed_us < window->next_update_us)
		window->this_update_us = changed_us;
}
