/* SPDX-License-Identifier: Apache-2.0 */
/* audit_content_fuzz.c: hostile contents of events: what is unpacked is no more than it may be, and comes
 * back. */
#include "auditclient/auditclient.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_bytes) octets = CH_NONE, packed = CH_NONE, again = CH_NONE;
	struct ch_error err;

	if (!ch_audit_content_unpack(ch_view(data, size), &octets, &err))
		return 0;
	if (octets.size > CH_AUDIT_CONTENT_CAP ||
	    !ch_audit_content_pack(ch_view_of(&octets), &packed, &err) ||
	    !ch_audit_content_unpack(ch_view_of(&packed), &again, &err) ||
	    !ch_view_equal(ch_view_of(&octets), ch_view_of(&again)))
		abort();
	return 0;
}
