/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ceremony.h: a key ceremony: one reviewed document says which CAs are made; officers approve each key and
 * each certificate at one place; no daemon is needed but the vault.
 *
 *   file.c → plan.c        the document, read and rehearsed with stand-in keys      (check.c prints that)
 *   run.c: folder.c        what an interrupted ceremony goes on from
 *          approve.c       an action proposed, read, signed by the officers who are there
 *          make.c          key, TBSCertificate, certificate of one CA
 *          publish.c       the files that the document names
 *          transcript.c    what was done, with every approval; signature.c: signed by the officers (CMS)
 */
#ifndef CHANCERY_CLI_CEREMONY_H
#define CHANCERY_CLI_CEREMONY_H

#include "officer_key.h"
#include "vault_connection.h"

#include "issuance/ca_making.h"

#include <stdio.h>

/* --- the document (file.c) --- */

struct ceremony_existing { /* a CA of the same vault that signs here and was made before */
	char *name;
	char *certificate; /* file, PEM */
	struct ch_ca_urls urls;
};
struct ceremony_revoked {
	char *serial; /* hex */
	char *date;
	char *reason;
};
struct ceremony_crl {
	char *ca;
	int64_t number;
	int64_t validity_us;
	struct ch_conf_list revoked; /* struct ceremony_revoked */
};
struct ceremony_publication {
	char *file;
	char *ca;
	char *form; /* "der", "pem", "chain", "crl" */
};
struct ceremony_file {
	char *name;
	char *tenant;
	struct ch_conf_list existing; /* struct ceremony_existing */
	struct ch_conf_list cas;      /* struct ch_ca_document, in the order in which they are made */
	struct ch_conf_list crls;     /* struct ceremony_crl */
	struct ch_conf_list publish;  /* struct ceremony_publication */
};
extern const struct ch_conf_schema ceremony_schema;

/* The file, its octets and their SHA-256. CH_INVALID names the key, the CA or the file name at fault. */
struct ceremony_document {
	struct ceremony_file file;
	struct ch_bytes octets;
	char *path;
	char sha256[65];
};
CH_MUST_USE bool ceremony_read(const char *path, struct ceremony_document *document, struct ch_error *err);
/* path: what relative files in it start from, and what errors call it. */
CH_MUST_USE bool ceremony_parse(struct ch_view octets, const char *path, struct ceremony_document *document,
				struct ch_error *err);
void ceremony_document_free(struct ceremony_document *document);
CH_DEFINE_AUTO_VALUE(ceremony_document, struct ceremony_document, ceremony_document_free)

/* --- the CAs and CRLs (plan.c, crl.c) --- */

struct ceremony_plan {
	struct ch_ca *cas; /* first those that exist, then those that are made */
	size_t existing, count;
	struct ceremony_made_crl {
		const struct ceremony_crl *asked; /* borrowed from the document */
		struct ch_bytes tbs, der;
	} * crls;
	size_t crl_count;
};
/* The CAs by name, with the certificates of those that exist; nothing planned or made yet. Copies what it
 * needs. */
CH_MUST_USE bool ceremony_plan(const struct ceremony_document *document, struct ceremony_plan *plan,
			       struct ch_error *err);
void ceremony_plan_free(struct ceremony_plan *plan);
CH_DEFINE_AUTO_VALUE(ceremony_plan, struct ceremony_plan, ceremony_plan_free)

const struct ch_ca *ceremony_find(const struct ceremony_plan *plan, const char *name); /* NULL: none */
const struct ch_ca *ceremony_parent(const struct ceremony_plan *plan,
				    const struct ch_ca *ca); /* NULL: a root */
/* Plans and writes every certificate as if now, with keys made for this alone and thrown away. */
CH_MUST_USE bool ceremony_rehearse(const struct ceremony_document *document, struct ceremony_plan *plan,
				   struct ch_error *err);

/* --- the folder of a run (folder.c) --- */

struct ceremony_folder;
/*
 * Makes the directory, or opens that of an interrupted run, and locks it.
 * Errors  CH_CONFLICT it is another document's, or another process works in it
 */
CH_MUST_USE bool ceremony_folder_open(const char *path, const struct ceremony_document *document,
				      struct ceremony_folder **folder, struct ch_error *err);
void ceremony_folder_close(struct ceremony_folder *folder); /* NULL is fine */
CH_DEFINE_AUTO_POINTER(ceremony_folder, struct ceremony_folder, ceremony_folder_close)
char *ceremony_path(const struct ceremony_folder *folder, const char *name); /* the caller frees it */
/* *found false: it is not there yet. */
CH_MUST_USE bool ceremony_load(const struct ceremony_folder *folder, const char *name,
			       struct ch_bytes *content, bool *found, struct ch_error *err);
CH_MUST_USE bool ceremony_forget(const struct ceremony_folder *folder, const char *name,
				 struct ch_error *err);
CH_MUST_USE bool ceremony_save(const struct ceremony_folder *folder, const char *name, struct ch_view content,
			       struct ch_error *err);
/* A line of the journal, with the time, in the folder and on standard error. */
CH_MUST_USE bool ceremony_note(const struct ceremony_folder *folder, struct ch_error *err, const char *format,
			       ...) CH_PRINTF(3, 4);
#define CEREMONY_JOURNAL    "journal.txt"
#define CEREMONY_DOCUMENT   "ceremony.yaml"
#define CEREMONY_TRANSCRIPT "transcript.txt"
#define CEREMONY_SIGNATURES "transcript.p7s"

/* --- one run --- */

#define CEREMONY_OFFICERS_CAP 16
struct ceremony_officers {
	struct officer_key *keys[CEREMONY_OFFICERS_CAP];
	size_t count;
};
/* Those of --officer-cert and --officer-key, in pairs. */
CH_MUST_USE bool ceremony_officers_open(struct cli *cli, struct ceremony_officers *officers,
					struct ch_error *err);
void ceremony_officers_close(struct ceremony_officers *officers);
CH_DEFINE_AUTO_VALUE(ceremony_officers, struct ceremony_officers, ceremony_officers_close)

struct ceremony_run {
	struct cli *cli; /* its --yes */
	const struct ceremony_document *document;
	const struct ceremony_officers *officers;
	struct ceremony_plan plan;
	struct ceremony_folder *folder;
	struct vault_connection *connection;
};

/* What the officers must sign, and the message id under which the vault then does it. */
struct ceremony_approval {
	char id[CH_ACTION_ID_SIZE];
	uint8_t message_id[16];
};
/*
 * Proposes the action, or finds it from an earlier run ("<step>.action"), and has the officers who are there
 * sign its document after it was held against `fields`.
 * Errors  CH_UNAVAILABLE too few approved it so far; CH_DENIED the vault's document is of something else
 */
CH_MUST_USE bool ceremony_approve(struct ceremony_run *run, const char *step, const struct ch_action_ask *ask,
				  struct ceremony_approval *approval, struct ch_error *err);

/* The CA at this index of the plan: its key, its TBSCertificate, its certificate. (make.c) */
CH_MUST_USE bool ceremony_make(struct ceremony_run *run, size_t index, struct ch_error *err);
/* DER of an earlier run: over these octets (size 0: not asked), and the signature verifies. CH_CONFLICT. */
CH_MUST_USE bool ceremony_check_signed(struct ch_view der, struct ch_view to_be_signed,
				       const struct ch_ca *issuing, struct ch_error *err);
/* The CRL at this index of the plan; its CA is made, or exists. (crl.c) */
CH_MUST_USE bool ceremony_make_crl(struct ceremony_run *run, size_t index, struct ch_error *err);
/* Its TBSCertList as of this time, and the fields of the action over it. */
CH_MUST_USE bool ceremony_write_crl(const struct ceremony_plan *plan, struct ceremony_made_crl *crl,
				    int64_t this_update_us, struct ch_error *err);
#define CEREMONY_CRL_FIELDS 4
struct ceremony_crl_fields {
	struct ch_action_field fields[CEREMONY_CRL_FIELDS]; /* of the action crl */
	char digest[65], number[17], next_update[CH_TIME_TEXT_SIZE];
};
CH_MUST_USE bool ceremony_crl_fields(const struct ceremony_plan *plan, const struct ceremony_made_crl *crl,
				     struct ceremony_crl_fields *fields, struct ch_error *err);
/* As OpenSSL writes it. */
CH_MUST_USE bool ceremony_print_crl(FILE *out, const struct ceremony_plan *plan,
				    const struct ceremony_made_crl *crl, struct ch_error *err);
/* Files under the folder's published/. (publish.c) */
CH_MUST_USE bool ceremony_publish(struct ceremony_run *run, struct ch_error *err);
/* One published file's octets, without its file. */
void ceremony_publication_content(const struct ceremony_plan *plan,
				  const struct ceremony_publication *publication, struct ch_bytes *content);
/* What was done, as text. (transcript.c) */
CH_MUST_USE bool ceremony_transcript(struct ceremony_run *run, struct ch_error *err);
/* Adds an officer's signature to those of the transcript. *added false: it was there. (signature.c) */
CH_MUST_USE bool ceremony_sign(const struct ceremony_folder *folder, struct officer_key *officer, bool *added,
			       struct ch_error *err);

#endif
