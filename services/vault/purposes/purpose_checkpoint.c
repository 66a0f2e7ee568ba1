/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_checkpoint.c: the audit log's checkpoint: "<origin>\n<log size>\n<base64 of the last hash>\n". Row
 * of purposes.c. That the size never shrinks is settled in the database (store.c).
 */
#include "purposes.h"

#include <openssl/evp.h>
#include <string.h>

#define CHECKPOINT_CAP 1024
#define DIGITS_CAP     19
#define HASH_TEXT_SIZE 44 /* base64 of 32 octets */

/* The next line without its newline. */
static bool take_line(struct ch_view *in, struct ch_view *line, struct ch_error *err)
{
	const uint8_t *end = in->size ? memchr(in->data, '\n', in->size) : NULL;

	if (!end)
		return ch_fail(err, CH_INVALID, "checkpoint is not three lines, each ended by a newline");
	*line = ch_view(in->data, (size_t)(end - in->data));
	in->data = end + 1;
	in->size -= line->size + 1;
	return true;
}

static bool read_size(struct ch_view line, uint8_t octets[8], struct ch_error *err)
{
	uint64_t size = 0;

	if (line.size == 0 || line.size > DIGITS_CAP || (line.data[0] == '0' && line.size > 1))
		return ch_fail(err, CH_INVALID,
			       "checkpoint: log size is not a decimal number without leading zeros");
	for (size_t i = 0; i < line.size; i++) {
		if (line.data[i] < '0' || line.data[i] > '9')
			return ch_fail(err, CH_INVALID,
				       "checkpoint: log size has a character that is no digit");
		size = size * 10 + (uint64_t)(line.data[i] - '0');
	}
	for (int i = 0; i < 8; i++)
		octets[i] = (uint8_t)(size >> (56 - 8 * i));
	return true;
}

static bool check_hash(struct ch_view line, struct ch_error *err)
{
	uint8_t hash[HASH_TEXT_SIZE];

	if (line.size != HASH_TEXT_SIZE || line.data[HASH_TEXT_SIZE - 1] != '=' ||
	    EVP_DecodeBlock(hash, line.data, HASH_TEXT_SIZE) != 33)
		return ch_fail(err, CH_INVALID, "checkpoint: the third line is not base64 of 32 octets");
	return true;
}

bool purpose_checkpoint(struct vault_check *check, struct ch_error *err)
{
	struct ch_view in = check->to_be_signed, origin, size, hash;

	if (in.size > CHECKPOINT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "checkpoint of %zu octets, at most %d allowed", in.size,
			       CHECKPOINT_CAP);
	if (!take_line(&in, &origin, err) || !take_line(&in, &size, err) || !take_line(&in, &hash, err))
		return false;
	if (in.size)
		return ch_fail(err, CH_INVALID, "checkpoint: octets follow its third line");
	if (!origin.size || !ch_view_equal(origin, ch_view_text(check->key->checkpoint_origin)))
		return vault_refuse(check, "origin", err, "checkpoint of origin '%.*s', key '%s' is for '%s'",
				    (int)(origin.size < 100 ? origin.size : 100), (const char *)origin.data,
				    check->key->key_id,
				    check->key->checkpoint_origin ? check->key->checkpoint_origin : "");
	if (!read_size(size, check->number_room, err) || !check_hash(hash, err))
		return false;
	check->number = ch_view(check->number_room, sizeof(check->number_room));
	check->subject = ch_strndup((const char *)size.data, size.size);
	return true;
}
