/* SPDX-License-Identifier: Apache-2.0 */
/* action_view.c: shows an action from the octets that are signed, and asks. actions.c, vault_approve.c, ca.c
 * and ceremony/approve.c call it. */
#include "action_view.h"

#include "action/action.h"
#include "approval.h"
#include "output.h"

#include "clock/clock.h"
#include "text/text.h"
#include "x509/x509.h"

#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#define LABEL_WIDTH 28

/* --- what approving does --- */

struct effect {
	Chancery__ActionKind kind;
	const char *text;
	bool (*decode)(FILE *out, struct ch_view content, struct ch_error *err); /* what is to be signed */
};

CH_DEFINE_AUTO_POINTER(view_bio, BIO, BIO_free_all)
CH_DEFINE_AUTO_POINTER(view_crl, X509_CRL, X509_CRL_free)
CH_DEFINE_AUTO_POINTER(view_request, X509_REQ, X509_REQ_free)

static void print_bio(FILE *out, BIO *bio)
{
	char *data = NULL;
	long size = BIO_get_mem_data(bio, &data);
	CH_AUTO(ch_string) text = ch_strndup(data ? data : "", size > 0 ? (size_t)size : 0);

	cli_print_lines(out, text);
}

/* With an empty signature, as OpenSSL's readers want one. */
static struct ch_bytes assemble(struct ch_view content)
{
	static const uint8_t nothing[1] = { 0 };

	return ch_signed_assemble(content, ch_algorithm_find("ecdsa-p256"),
				  ch_view(nothing, sizeof(nothing)));
}

static bool decode_certificate(FILE *out, struct ch_view content, struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;

	if (!approval_open(content, &certificate, err))
		return false;
	approval_print(out, certificate);
	return true;
}

static bool decode_crl(FILE *out, struct ch_view content, struct ch_error *err)
{
	CH_AUTO(ch_bytes) der = assemble(content);
	const uint8_t *at = der.data;
	CH_AUTO(view_bio) bio = BIO_new(BIO_s_mem());
	CH_AUTO(view_crl) crl = d2i_X509_CRL(NULL, &at, (long)der.size);

	if (!bio || !crl || X509_CRL_print_ex(bio, crl, XN_FLAG_RFC2253) != 1)
		return ch_fail_openssl(err, CH_INVALID, "the CRL to be signed");
	print_bio(out, bio);
	return true;
}

static bool decode_request(FILE *out, struct ch_view content, struct ch_error *err)
{
	CH_AUTO(ch_bytes) der = assemble(content);
	const uint8_t *at = der.data;
	CH_AUTO(view_bio) bio = BIO_new(BIO_s_mem());
	CH_AUTO(view_request) request = d2i_X509_REQ(NULL, &at, (long)der.size);

	if (!bio || !request ||
	    X509_REQ_print_ex(bio, request, XN_FLAG_RFC2253, X509_FLAG_NO_HEADER | X509_FLAG_NO_SIGDUMP) != 1)
		return ch_fail_openssl(err, CH_INVALID, "the certification request to be signed");
	print_bio(out, bio);
	return true;
}

static const struct effect effects[] = {
	{ CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY,
	  "A key is made in the HSMs that may sign for this name.", NULL },
	{ CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE,
	  "This CA certificate is signed: what its key signs is believed by all who believe the signing CA.",
	  decode_certificate },
	{ CHANCERY__ACTION_KIND__ACTION_CA_CSR,
	  "This certification request is signed: another CA may then certify the key.", decode_request },
	{ CHANCERY__ACTION_KIND__ACTION_SERVICE_IDENTITY,
	  "This identity is signed: who has its key is that service to all others.", decode_certificate },
	{ CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY,
	  "The private key is given out, wrapped for HSMs that the same custodians set up.", NULL },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_STATE, "The key goes from one state to the other.", NULL },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_CA_STATE,
	  "The CA issues again (active), or never again (retired, revoked: its certificate stands in the CRL "
	  "above it).",
	  NULL },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_POLICY,
	  "The key gets this policy in place of the one that it has (about-replaces).", NULL },
	{ CHANCERY__ACTION_KIND__ACTION_REPLACE_HSM, "All keys are brought to this HSM.", NULL },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_QUORUM,
	  "These officers approve from now on, in place of those of now (about-replaces).", NULL },
	{ CHANCERY__ACTION_KIND__ACTION_CRL, "This CRL is signed: what it lists is revoked, the rest is not.",
	  decode_crl },
};

static const struct effect *find_effect(Chancery__ActionKind kind)
{
	for (size_t i = 0; i < CH_COUNT(effects); i++)
		if (effects[i].kind == kind)
			return &effects[i];
	return NULL;
}

/* --- showing --- */

/* Unicode 15, White_Space and what else shows as nothing but room, but the space itself. */
static bool is_blank(uint32_t point)
{
	return point == 0xa0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x202f ||
	       point == 0x205f || point == 0x2800 || point == 0x3000;
}

/* A value that pads itself up to where a terminal folds it draws lines of its own below: each space after the
 * first, and each other blank, is shown as what it is. */
static char *without_padding(struct ch_view text)
{
	CH_AUTO(ch_buffer) out = CH_NONE;
	uint32_t point = 0, before = 0;

	for (size_t at = 0, length; at < text.size; at += length, before = point) {
		length = ch_text_take(ch_view(text.data + at, text.size - at), &point);
		if (!length)
			length = 1; /* escaped already: cannot be */
		if (is_blank(point) || (point == ' ' && (before == ' ' || is_blank(before))))
			ch_buffer_printf(&out, "<U+%04X>", (unsigned)point);
		else
			ch_buffer_add(&out, text.data + at, length);
	}
	return ch_buffer_steal_text(&out);
}

static void print_line(FILE *out, const char *name, const char *value)
{
	CH_AUTO(ch_string) escaped = ch_text_escape(ch_view_text(value ? value : "-"));
	CH_AUTO(ch_string) shown = without_padding(ch_view_text(escaped));

	fprintf(out, "  %-*s %s\n", LABEL_WIDTH, name, shown);
}

static void print_action(FILE *out, const struct ch_action *action, const struct effect *effect)
{
	char created[CH_TIME_TEXT_SIZE], expires[CH_TIME_TEXT_SIZE];

	fprintf(out, "\nTo be approved: %s\n", ch_action_kind_name(action->kind));
	if (effect)
		fprintf(out, "%s\n", effect->text);
	print_line(out, "action", action->id);
	print_line(out, "tenant", action->tenant);
	print_line(out, "proposed by", action->proposed_by);
	print_line(out, "through", action->proposed_through);
	print_line(out, "from", action->proposed_from);
	print_line(out, "at", ch_time_text(action->created_us, created));
	print_line(out, "expires", ch_time_text(action->expires_us, expires));
	for (size_t i = 0; i < action->field_count; i++)
		print_line(out, action->fields[i].name, action->fields[i].value);
	for (size_t i = 0; i < action->fact_count; i++)
		print_line(out, action->facts[i].name, action->facts[i].value);
}

/* Its digest is held against the document before an octet of it is read. */
static bool show_content(FILE *out, const struct ch_action *action, const struct effect *effect,
			 struct ch_view content, struct ch_error *err)
{
	const char *named = ch_action_value(action, "tbs-sha256");
	CH_AUTO(ch_string) text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!named)
		return true;
	if (!content.size)
		return ch_fail(
			err, CH_DENIED,
			"what is to be signed is not there, so it cannot be shown: it is not approved");
	if (!ch_digest("sha256", content, digest, &size, err))
		return false;
	text = ch_hex(ch_view(digest, size));
	if (strcmp(named, text) != 0)
		return ch_fail(err, CH_DENIED,
			       "what came as to be signed has the SHA-256 %s, the document names %s", text,
			       named);
	if (!effect || !effect->decode)
		return ch_fail(err, CH_UNSUPPORTED, "%s cannot be decoded here",
			       ch_action_kind_name(action->kind));
	return effect->decode(out, content, err);
}

bool action_view_show(FILE *out, struct ch_view document, struct ch_view content, struct ch_error *err)
{
	CH_AUTO(ch_action) action = CH_NONE;
	const struct effect *effect;

	if (!ch_action_read(document, &action, err))
		return ch_fail_in(err, "the document to approve");
	effect = find_effect(action.kind);
	print_action(out, &action, effect);
	return show_content(out, &action, effect, content, err);
}

/* --- asking --- */

bool action_view_confirm(struct cli *cli, const char *officer, struct ch_error *err)
{
	char answer[16] = "";

	if (cli_flag(cli, "yes"))
		return true;
	if (!isatty(STDIN_FILENO))
		return ch_fail(
			err, CH_DENIED,
			"there is no terminal to ask on: --yes approves what was shown without a question");
	fprintf(stderr, "\nApprove this as '%s'? y/N ", officer);
	fflush(stderr);
	if (fgets(answer, sizeof(answer), stdin) &&
	    (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
		return true;
	return ch_fail(err, CH_DENIED, "not approved");
}
