/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_documents.h: a typical document of each purpose that the vault signs, with the key and the limits
 * that it is signed under, made by OpenSSL (the timestamp by the timestamp daemon's own functions).
 * purpose_checks.c measures on them.
 */
#ifndef PURPOSE_DOCUMENTS_H
#define PURPOSE_DOCUMENTS_H

#include "purposes.h"

#define DOCUMENTS_CAP 12

struct document {
	const char *name;
	bool (*check)(struct vault_check *check, struct ch_error *err);
	const char *refused; /* where the check ends that cannot go on without officers; NULL: accepted */
	struct ch_bytes to_be_signed, content, whole;
	bool (*decode)(struct ch_view whole); /* OpenSSL's, of the signed structure; NULL: it has none */
	const char *decoder;
};

struct documents {
	struct vault_key key, subordinate;
	struct vault_policy policy;
	int64_t now_us;
	EVP_PKEY *signer, *subordinate_key, *subject_key;
	X509 *issuer; /* the signer's own certificate */
	struct document items[DOCUMENTS_CAP];
	size_t count;
};

/* The caller frees it with documents_free. Ends the program where OpenSSL fails. */
struct documents *documents_make(void);
void documents_free(struct documents *documents);
/* What the vault would ask of this document; the caller frees what it found with vault_check_free. */
struct vault_check documents_question(struct documents *documents, const struct document *document);

#endif
