/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transcript.c: the record of a ceremony: its document, the quorum that was in force, each approval with the
 * octets and the signature, what was made, and the digests of the files. Text; written once, when all is
 * made.
 */
#include "ceremony.h"

#include "../vault_action.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* Lines of another document, so that none of them is taken for one of the transcript's own. */
static void add_quoted(struct ch_buffer *text, struct ch_view document)
{
	const char *at = (const char *)document.data, *end = at + document.size;

	while (at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((line_end ? line_end : end) - at);

		ch_buffer_printf(text, "| %.*s\n", (int)size, at);
		at += size + 1;
	}
}

static bool add_digest(struct ch_buffer *text, struct ch_view octets, struct ch_error *err)
{
	CH_AUTO(ch_string) hex = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", octets, digest, &size, err))
		return false;
	hex = ch_hex(ch_view(digest, size));
	ch_buffer_printf(text, "%s", hex);
	return true;
}

/* --- who could approve --- */

static bool add_quorum(struct ceremony_run *run, struct ch_buffer *text, struct ch_error *err)
{
	const Chancery__GetQuorumRequest request = CHANCERY__GET_QUORUM_REQUEST__INIT;
	const struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_QUORUM,
					  .request = &request.base,
					  .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_QUORUM_REPLY,
					  .reply_descriptor = &chancery__quorum_reply__descriptor };
	CH_AUTO(ch_proto) reply = NULL;
	const Chancery__Quorum *quorum;

	if (!vault_connection_call(run->connection, &call, &reply, err))
		return false;
	quorum = ((const Chancery__QuorumReply *)reply)->quorum;
	if (!quorum)
		return ch_fail(err, CH_INTERNAL, "the vault answered without a quorum");
	ch_buffer_printf(text, "\nQuorum (version %llu): %u of these officers\n",
			 (unsigned long long)quorum->version, quorum->required);
	for (size_t i = 0; i < quorum->n_officers; i++) {
		const ProtobufCBinaryData *digest = &quorum->officers[i]->public_key_sha256;
		CH_AUTO(ch_string) hex = ch_hex(ch_view(digest->data, digest->len));

		ch_buffer_printf(text, "%s, SHA-256 of the public key %s\n", quorum->officers[i]->name, hex);
	}
	return true;
}

/* --- who did approve --- */

static void add_base64(struct ch_buffer *text, struct ch_view octets)
{
	CH_AUTO(ch_string) encoded = ch_alloc(octets.size / 3 * 4 + 5);

	EVP_EncodeBlock((unsigned char *)encoded, octets.data, (int)octets.size);
	ch_buffer_printf(text, "%s", encoded);
}

/* An approval that was made elsewhere (`chancery approve`) is only named: the vault has its signature. */
static bool add_approval(struct ceremony_run *run, const char *step, const char *officer,
			 struct ch_buffer *text, struct ch_error *err)
{
	CH_AUTO(ch_string) signature_file = ch_format("%s.%s.sig", step, officer);
	CH_AUTO(ch_string) certificate_file = ch_format("%s.%s.cer", step, officer);
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_bytes) certificate = CH_NONE;
	bool found, found_certificate;

	if (!ceremony_load(run->folder, signature_file, &signature, &found, err) ||
	    !ceremony_load(run->folder, certificate_file, &certificate, &found_certificate, err))
		return false;
	ch_buffer_printf(text, "approved by %s", officer);
	if (found && found_certificate) {
		ch_buffer_printf(text, ", SHA-256 of the certificate ");
		if (!add_digest(text, ch_view_of(&certificate), err))
			return false;
		ch_buffer_printf(text, ", signature ");
		add_base64(text, ch_view_of(&signature));
	}
	ch_buffer_printf(text, "\n");
	return true;
}

static bool add_action(struct ceremony_run *run, const char *step, struct ch_buffer *text,
		       struct ch_error *err)
{
	CH_AUTO(ch_string) file = ch_format("%s.action", step);
	CH_AUTO(ch_action) action = CH_NONE;
	CH_AUTO(ch_bytes) document = CH_NONE;
	CH_AUTO(ch_proto) reply = NULL;
	const Chancery__Action *answered;
	bool found;

	if (!ceremony_load(run->folder, file, &document, &found, err))
		return false;
	if (!found)
		return ch_fail(err, CH_CONFLICT, "'%s' is missing", file);
	if (!ch_action_read(ch_view_of(&document), &action, err) ||
	    !vault_action_get(run->connection, action.id, &reply, err))
		return ch_fail_in(err, "'%s'", file);
	add_quoted(text, ch_view_of(&document));
	answered = vault_action_of(reply);
	for (size_t i = 0; i < answered->n_approved_by; i++)
		if (!add_approval(run, step, answered->approved_by[i], text, err))
			return false;
	return true;
}

/* --- what was made --- */

static bool add_ca(struct ceremony_run *run, const struct ch_ca *ca, struct ch_buffer *text,
		   struct ch_error *err)
{
	CH_AUTO(ch_string) key_step = ch_format("%s.key", ca->document.name);
	CH_AUTO(ch_string) certificate_step = ch_format("%s.certificate", ca->document.name);

	ch_buffer_printf(text, "\nKey of %s\n", ca->document.name);
	if (!add_action(run, key_step, text, err))
		return false;
	ch_buffer_printf(text, "key id %s\n", ca->key_id);
	ch_pem_add(text, "PUBLIC KEY", ch_view_of(&ca->public_key_info));
	ch_buffer_printf(text, "\nCertificate of %s\n", ca->document.name);
	if (!add_action(run, certificate_step, text, err))
		return false;
	ch_buffer_printf(text, "SHA-256 of the certificate ");
	if (!add_digest(text, ch_view_of(&ca->certificate_der), err))
		return false;
	ch_buffer_printf(text, "\n");
	ch_pem_add(text, "CERTIFICATE", ch_view_of(&ca->certificate_der));
	return true;
}

static bool add_crl(struct ceremony_run *run, const struct ceremony_made_crl *crl, struct ch_buffer *text,
		    struct ch_error *err)
{
	CH_AUTO(ch_string) step = ch_format("%s.crl", crl->asked->ca);

	ch_buffer_printf(text, "\nCRL of %s\n", crl->asked->ca);
	if (!add_action(run, step, text, err))
		return false;
	ch_buffer_printf(text, "SHA-256 of the CRL ");
	if (!add_digest(text, ch_view_of(&crl->der), err))
		return false;
	ch_buffer_printf(text, "\n");
	ch_pem_add(text, "X509 CRL", ch_view_of(&crl->der));
	return true;
}

static bool add_files(struct ceremony_run *run, struct ch_buffer *text, struct ch_error *err)
{
	const struct ceremony_publication *items = run->document->file.publish.items;

	ch_buffer_printf(text, "\nPublished files, by SHA-256\n");
	for (size_t i = 0; i < run->document->file.publish.count; i++) {
		CH_AUTO(ch_bytes) content = CH_NONE;

		ceremony_publication_content(&run->plan, &items[i], &content);
		if (!add_digest(text, ch_view_of(&content), err))
			return false;
		ch_buffer_printf(text, "  published/%s\n", items[i].file);
	}
	return true;
}

static bool add_journal(struct ceremony_run *run, struct ch_buffer *text, struct ch_error *err)
{
	CH_AUTO(ch_bytes) journal = CH_NONE;
	bool found;

	if (!ceremony_load(run->folder, CEREMONY_JOURNAL, &journal, &found, err))
		return false;
	ch_buffer_printf(text, "\nJournal\n");
	add_quoted(text, ch_view_of(&journal));
	return true;
}

static bool compose(struct ceremony_run *run, struct ch_buffer *text, struct ch_error *err)
{
	const struct ceremony_document *document = run->document;
	char now[CH_TIME_TEXT_SIZE];

	ch_buffer_printf(text, "Chancery key ceremony transcript v1\n");
	ch_buffer_printf(text, "ceremony: %s\ntenant: %s\ncompleted: %s\nprogram: chancery %s\n",
			 document->file.name, document->file.tenant,
			 ch_time_text(ch_clock_now_us(ch_clock_system()), now), CHANCERY_VERSION);
	ch_buffer_printf(text, "\nDocument, SHA-256 %s\n", document->sha256);
	add_quoted(text, ch_view_of(&document->octets));
	if (!add_quorum(run, text, err))
		return false;
	for (size_t i = run->plan.existing; i < run->plan.count; i++)
		if (!add_ca(run, &run->plan.cas[i], text, err))
			return false;
	for (size_t i = 0; i < run->plan.crl_count; i++)
		if (!add_crl(run, &run->plan.crls[i], text, err))
			return false;
	return add_files(run, text, err) && add_journal(run, text, err);
}

bool ceremony_transcript(struct ceremony_run *run, struct ch_error *err)
{
	CH_AUTO(ch_buffer) text = CH_NONE;
	CH_AUTO(ch_bytes) kept = CH_NONE;
	bool found;

	if (!ceremony_load(run->folder, CEREMONY_TRANSCRIPT, &kept, &found, err) || found)
		return found;
	return ceremony_note(run->folder, err, "ceremony '%s' is complete", run->document->file.name) &&
	       compose(run, &text, err) &&
	       ceremony_save(run->folder, CEREMONY_TRANSCRIPT, ch_buffer_view(&text), err);
}
