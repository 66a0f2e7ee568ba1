/* SPDX-License-Identifier: Apache-2.0 */
/* content.c: octets that an event keeps, compressed (RFC 1950), and the way back. Called by event.c, and by
 * who shows the log. */
#include "auditclient/internal.h"

#include <stdlib.h>
#include <zlib.h>

/* Level 1: octets of some hundreds gain little from more, and each certificate waits for it. */
#define LEVEL 1

bool ch_audit_content_pack(struct ch_view octets, struct ch_bytes *packed, struct ch_error *err)
{
	uLongf size;
	CH_AUTO(ch_bytes) room = CH_NONE;

	if (octets.size > CH_AUDIT_CONTENT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "%zu octets are to be kept in an audit event, at most %d",
			       octets.size, CH_AUDIT_CONTENT_CAP);
	size = compressBound((uLong)octets.size);
	room = (struct ch_bytes){ ch_alloc(size), size };
	if (compress2(room.data, &size, octets.data, (uLong)octets.size, LEVEL) != Z_OK)
		return ch_fail(err, CH_INTERNAL, "zlib could not compress %zu octets", octets.size);
	room.size = size;
	*packed = CH_STEAL(room);
	return true;
}

bool ch_audit_content_unpack(struct ch_view packed, struct ch_bytes *octets, struct ch_error *err)
{
	CH_AUTO(ch_bytes) room = { ch_alloc(CH_AUDIT_CONTENT_CAP), CH_AUDIT_CONTENT_CAP };
	uLongf size = CH_AUDIT_CONTENT_CAP;
	uLong used = (uLong)packed.size;
	int result = uncompress2(room.data, &size, packed.data, &used);

	if (result == Z_BUF_ERROR && size == CH_AUDIT_CONTENT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "an event's content is over %d octets",
			       CH_AUDIT_CONTENT_CAP);
	if (result != Z_OK || used != packed.size)
		return ch_fail(err, CH_INVALID, "an event's content of %zu octets is no zlib stream",
			       packed.size);
	*octets = ch_bytes_copy(ch_view(room.data, size));
	return true;
}
