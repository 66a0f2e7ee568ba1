/* SPDX-License-Identifier: Apache-2.0 */
/* sp_frames.c: see sp_frames.h. */
#include "sp_frames.h"

#include <string.h>

static bool read_all(SSL *ssl, uint8_t *octets, size_t size)
{
	for (size_t have = 0; have < size;) {
		int got = SSL_read(ssl, octets + have, (int)(size - have));

		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

static bool write_all(SSL *ssl, const uint8_t *octets, size_t size)
{
	return SSL_write(ssl, octets, (int)size) == (int)size;
}

bool sp_greet(SSL *ssl, enum sp_end self)
{
	const uint8_t ours[8] = { 0, 'S', 'P', 0, 0, (uint8_t)self, 0, 0 };
	uint8_t theirs[8];

	return write_all(ssl, ours, sizeof(ours)) && read_all(ssl, theirs, sizeof(theirs)) &&
	       memcmp(theirs, ours, 4) == 0;
}

bool sp_read(SSL *ssl, uint8_t id[4], uint8_t *body, size_t *size)
{
	uint8_t header[8];
	size_t said = 0;

	if (!read_all(ssl, header, sizeof(header)))
		return false;
	for (size_t i = 0; i < sizeof(header); i++)
		said = said << 8 | header[i];
	if (said < 4 || said - 4 > *size || !read_all(ssl, id, 4))
		return false;
	*size = said - 4;
	return read_all(ssl, body, *size);
}

bool sp_write(SSL *ssl, const uint8_t id[4], struct ch_view body, size_t said)
{
	uint8_t frame[8 + 4 + 256];

	if (body.size > 256)
		return false;
	for (size_t i = 0; i < 8; i++)
		frame[i] = (uint8_t)((uint64_t)said >> (56 - 8 * i));
	memcpy(frame + 8, id, 4);
	memcpy(frame + 12, body.data, body.size);
	return write_all(ssl, frame, 12 + body.size);
}
