/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.c: the lists of refused identities in the state directory, so that a restart forgets none and an older
 * one is known as such. An administrator may also put a list there by hand (SIGHUP reads it).
 */
#include "identities/internal.h"

#include "x509/x509.h"

#include <string.h>

#define KEPT_FILE "refused-identities"
#define KEPT_CAP  (CH_TRUST_CAS_CAP * 2 * CH_REFUSED_LIST_CAP)
#define LABEL     "X509 CRL"
#define LAST_LINE "-----END " LABEL "-----"

static char *kept_path(const struct ch_identities *identities)
{
	return ch_format("%s/" KEPT_FILE, identities->options.config->state_directory);
}

void ch_identities_read_kept(struct ch_identities *identities)
{
	struct ch_trust *trust = ch_identity_trust(identities->options.identity);
	CH_AUTO(ch_string) path = kept_path(identities);
	CH_AUTO(ch_bytes) content = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	struct ch_error err = CH_NONE;

	if (!ch_read_file(path, KEPT_CAP, &content, &err)) {
		if (err.code != CH_NOT_FOUND)
			ch_log_error("refused identities: %s", err.message);
		return;
	}
	text = ch_strndup((const char *)content.data, content.size);
	for (const char *at = text; strstr(at, LAST_LINE); at = strstr(at, LAST_LINE) + strlen(LAST_LINE)) {
		CH_AUTO(ch_bytes) crl = CH_NONE;

		if (ch_pem_read(ch_view_text(at), LABEL, &crl, &err))
			ch_refused_take(trust, ch_view_of(&crl));
		else
			ch_log_error("refused identities: '%s': %s", path, err.message);
	}
}

void ch_identities_keep(struct ch_identities *identities)
{
	struct ch_bytes lists[CH_TRUST_CAS_CAP];
	size_t count = ch_trust_refused_lists(ch_identity_trust(identities->options.identity),
					      CH_REFUSED_OF_ALL, lists);
	CH_AUTO(ch_string) path = kept_path(identities);
	CH_AUTO(ch_buffer) text = CH_NONE;
	struct ch_error err = CH_NONE;
	uint8_t digest[64];
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		ch_pem_add(&text, LABEL, ch_view_of(&lists[i]));
		ch_bytes_free(&lists[i]);
	}
	if (!text.used || !ch_digest("sha256", ch_buffer_view(&text), digest, &size, &err) ||
	    memcmp(digest, identities->kept_sha256, sizeof(identities->kept_sha256)) == 0)
		return;
	if (!ch_write_file(path, ch_buffer_view(&text), 0600, &err)) {
		ch_log_error("refused identities are not kept for the next start: %s", err.message);
		return;
	}
	memcpy(identities->kept_sha256, digest, sizeof(identities->kept_sha256));
}
