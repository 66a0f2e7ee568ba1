/* SPDX-License-Identifier: Apache-2.0 */
/* key.c: `chancery key`: public keys that are never certified again. */
#include "client.h"
#include "content.h"
#include "output.h"

#include <openssl/evp.h>
#include <string.h>

#define FILE_CAP (64 * 1024)

static const struct cli_column details[] = {
	{ "public key SHA-256", "public_key_sha256" },
	{ "known before", "known" },
	{ "certificates revoked", "certificates_revoked" },
	{ "CAs stopped", "cas_stopped" },
};

/* PEM as it is, DER as base64. A private key does not leave this machine. */
static bool read_text(const char *file, char **text, struct ch_error *err)
{
	CH_AUTO(ch_bytes) content = CH_NONE;
	struct content_kind kind;

	if (!ch_read_file(file, FILE_CAP, &content, err))
		return false;
	content_kind_of(ch_view_of(&content), &kind);
	if (kind.class == CONTENT_PRIVATE_KEY || kind.class == CONTENT_OTHER)
		return ch_fail(
			err, CH_INVALID,
			"'%s' holds %s, which is not sent: take the key's certificate or public key, or a "
			"certification request that it signed",
			file, kind.text);
	*text = ch_strndup((const char *)content.data, content.size);
	if (strstr(*text, "-----BEGIN"))
		return true;
	free(*text);
	*text = ch_alloc(4 * ((content.size + 2) / 3) + 1);
	EVP_EncodeBlock((unsigned char *)*text, content.data, (int)content.size);
	return true;
}

static bool send(struct cli *cli, const char *path, const char *member, struct ch_error *err)
{
	CH_AUTO(cJSON) body = cJSON_CreateObject();
	CH_AUTO(cJSON) answer = NULL;
	CH_AUTO(ch_string) text = NULL;

	if (!read_text(cli->arguments[0], &text, err))
		return false;
	cJSON_AddStringToObject(body, member, text);
	if (cli_value(cli, "comment"))
		cJSON_AddStringToObject(body, "comment", cli_value(cli, "comment"));
	if (!cli_post(cli, path, body, &answer, err))
		return ch_fail_in(err, "%s", cli->arguments[0]);
	cli_print_object(cli, answer, details, CH_COUNT(details));
	return true;
}

bool cli_key_block(struct cli *cli, struct ch_error *err)
{
	return send(cli, "/v1/keys/blocked", "key", err);
}

bool cli_key_report(struct cli *cli, struct ch_error *err)
{
	return send(cli, "/v1/keys/compromised", "proof", err);
}
