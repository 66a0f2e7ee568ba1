/* SPDX-License-Identifier: Apache-2.0 */
/* base64.c: octets in members of JSON. Called by ca.c, actions.c and audit.c. */
#include "base64.h"

#include <openssl/evp.h>
#include <string.h>

bool cli_unbase64(const char *text, const char *member, struct ch_bytes *octets, struct ch_error *err)
{
	CH_AUTO(ch_bytes) room = CH_NONE;
	size_t size = strlen(text);
	int decoded;

	if (size == 0)
		return true;
	if (size % 4 != 0 || size > CLI_BASE64_CAP)
		return ch_fail(err, CH_INVALID, "%s is not base64", member);
	room.data = ch_alloc(size / 4 * 3);
	decoded = EVP_DecodeBlock(room.data, (const unsigned char *)text, (int)size);
	if (decoded < 0)
		return ch_fail(err, CH_INVALID, "%s is not base64", member);
	room.size = (size_t)decoded - (text[size - 1] == '=') - (text[size - 2] == '=');
	*octets = CH_STEAL(room);
	return true;
}
