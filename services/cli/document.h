/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document.h: what the command itself must know of a CA document or a certificate profile: its name, and of a
 * CA what the officer approves. The issuer is the one who reads them strictly; here unknown keys pass.
 */
#ifndef CHANCERY_CLI_DOCUMENT_H
#define CHANCERY_CLI_DOCUMENT_H

#include "err/err.h"
#include "mem/mem.h"

struct document { /* texts are owned; NULL: the key is absent */
	char *name;
	char *parent;
	char *subject;
	char *key;
	char *validity;
	char *path_length;
};

/* CH_INVALID: not YAML, or without a name. `source` names it in errors. */
CH_MUST_USE bool document_read(struct ch_view text, const char *source, struct document *document,
			       struct ch_error *err);
void document_free(struct document *document);
CH_DEFINE_AUTO_VALUE(document, struct document, document_free)

/* "5y", "90d", "24h" … in seconds; CH_INVALID. */
CH_MUST_USE bool document_seconds(const char *text, int64_t *seconds, struct ch_error *err);

#endif
