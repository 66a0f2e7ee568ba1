/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.c: the text that is signed for the log at a size, as it is written, read and verified. */
#include "auditlog/auditlog.h"

#include "x509/x509.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *base64(struct ch_view view)
{
	char *text = ch_alloc(4 * (view.size / 3 + 1) + 1);

	EVP_EncodeBlock((unsigned char *)text, view.data, (int)view.size);
	return text;
}

/* Strict: whole groups of four, padding only at the end. */
static bool unbase64(const char *text, size_t size, struct ch_bytes *out, struct ch_error *err)
{
	CH_AUTO(ch_bytes) bytes = { ch_alloc(size / 4 * 3 + 3), 0 };
	size_t padding = size >= 4 ? (size_t)(text[size - 1] == '=') + (text[size - 2] == '=') : 0;
	int got = size && size % 4 == 0 ? EVP_DecodeBlock(bytes.data, (const unsigned char *)text, (int)size)
					: -1;

	if (got < 0 || memchr(text, '\n', size) || memchr(text, ' ', size))
		return ch_fail(err, CH_INVALID, "'%.*s' is not base64", size > 64 ? 64 : (int)size, text);
	bytes.size = (size_t)got - padding;
	*out = CH_STEAL(bytes);
	return true;
}

char *ch_audit_checkpoint_text(const struct ch_audit_checkpoint *checkpoint)
{
	CH_AUTO(ch_string) hash = base64(ch_view(checkpoint->hash, sizeof(checkpoint->hash)));

	return ch_format("%s\n%" PRIu64 "\n%s\n", checkpoint->origin, checkpoint->log_size, hash);
}

bool ch_audit_checkpoint_read(const char *text, struct ch_audit_checkpoint *checkpoint, struct ch_error *err)
{
	const char *second = strchr(text, '\n');
	const char *third = second ? strchr(second + 1, '\n') : NULL;
	const char *end = third ? strchr(third + 1, '\n') : NULL;
	CH_AUTO(ch_bytes) hash = CH_NONE;
	CH_AUTO(ch_string) again = NULL;
	CH_AUTO(ch_audit_checkpoint) read = CH_NONE;

	if (!end || end[1] || second == text)
		return ch_fail(err, CH_INVALID, "checkpoint does not have its three lines");
	if (!unbase64(third + 1, (size_t)(end - third - 1), &hash, err))
		return ch_fail_in(err, "checkpoint's hash");
	if (hash.size != sizeof(read.hash))
		return ch_fail(err, CH_INVALID, "checkpoint's hash has %zu octets, needs %zu", hash.size,
			       sizeof(read.hash));
	read.origin = ch_strndup(text, (size_t)(second - text));
	read.log_size = strtoull(second + 1, NULL, 10);
	memcpy(read.hash, hash.data, sizeof(read.hash));
	again = ch_audit_checkpoint_text(&read);
	if (strcmp(again, text) != 0)
		return ch_fail(err, CH_INVALID, "checkpoint is not in its one form");
	*checkpoint = CH_STEAL(read);
	return true;
}

void ch_audit_checkpoint_free(struct ch_audit_checkpoint *checkpoint)
{
	if (!checkpoint)
		return;
	free(checkpoint->origin);
	checkpoint->origin = NULL;
}

struct ch_bytes ch_audit_checkpoint_file(const char *text, const char *key_id, struct ch_view signature)
{
	CH_AUTO(ch_string) encoded = base64(signature);
	CH_AUTO(ch_buffer) file = CH_NONE;

	ch_buffer_printf(&file, "%s\n%s\n%s\n", text, key_id, encoded);
	return ch_buffer_steal(&file);
}

bool ch_audit_checkpoint_file_read(const char *path, char **text, struct ch_bytes *signature,
				   struct ch_error *err)
{
	CH_AUTO(ch_bytes) content = CH_NONE;
	CH_AUTO(ch_string) all = NULL;
	char *gap, *line, *end;

	if (!ch_read_file(path, CH_AUDIT_CHECKPOINT_CAP, &content, err))
		return false;
	all = ch_strndup(content.size ? (const char *)content.data : "", content.size);
	gap = strstr(all, "\n\n");
	line = gap ? strchr(gap + 2, '\n') : NULL;
	end = line ? strchr(line + 1, '\n') : NULL;
	if (!end || end[1])
		return ch_fail(err, CH_INVALID, "checkpoint file '%s' is not one", path);
	if (!unbase64(line + 1, (size_t)(end - line - 1), signature, err))
		return ch_fail_in(err, "checkpoint file '%s'", path);
	*text = ch_strndup(all, (size_t)(gap + 1 - all));
	return true;
}

bool ch_audit_checkpoint_verify(struct ch_view public_key_info, const char *text, struct ch_view signature,
				struct ch_error *err)
{
	const unsigned char *at = public_key_info.data;
	CH_AUTO(EVP_PKEY) key = d2i_PUBKEY(NULL, &at, (long)public_key_info.size);
	const struct ch_algorithm *algorithm = key ? ch_algorithm_of_key(key) : NULL;

	if (!algorithm)
		return ch_fail_openssl(err, CH_INVALID,
				       "checkpoint key is not a public key that Chancery knows");
	return ch_verify_signature(algorithm, public_key_info, ch_view_text(text), signature, err);
}
