/* SPDX-License-Identifier: Apache-2.0 */
/* ca.c: `chancery ca`: makes a CA (prepare, check, approve, activate) and shows those that are there. */
#include "actions.h"
#include "approval.h"
#include "base64.h"
#include "client.h"
#include "content.h"
#include "output.h"

#include "clock/clock.h"
#include "x509/x509.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DOCUMENT_CAP (256 * 1024)

static const struct cli_column details[] = {
	{ "name", "name" },
	{ "state", "state" },
	{ "why", "why" },
	{ "parent", "parent" },
	{ "default TSA", "timestamp_default" },
	{ "subject", "subject" },
	{ "key", "key_algorithm" },
	{ "key id", "key_id" },
	{ "not before", "not_before" },
	{ "not after", "not_after" },
	{ "certificates", "certificates_issued" },
	{ "OCSP", "ocsp_url" },
	{ "CRL", "crl_url" },
	{ "CA certificate", "ca_issuers_url" },
};

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text ? text : "";
}

static char *ca_path(const char *name, const char *rest)
{
	CH_AUTO(ch_string) encoded = cli_url_encode(name);

	return ch_format("/v1/cas/%s%s", encoded, rest);
}

static bool get_ca(struct cli *cli, const char *name, cJSON **ca, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ca_path(name, "");

	return cli_get(cli, path, ca, err);
}

/* The parent's certificate as the suite shows it; NULL for a root. */
static bool get_parent(struct cli *cli, const char *name, X509 **parent, struct ch_error *err)
{
	CH_AUTO(cJSON) ca = NULL;
	CH_AUTO(ch_bytes) der = CH_NONE;

	if (!name)
		return true;
	return get_ca(cli, name, &ca, err) &&
	       ch_pem_read(ch_view_text(text_of(ca, "certificate")), "CERTIFICATE", &der, err) &&
	       ch_certificate_read(ch_view_of(&der), parent, err);
}

/* --- ca create --- */

struct creation {
	struct cli *cli;
	struct document document;
	struct ch_bytes text;
	cJSON *prepared; /* what the issuer answered last */
	cJSON *action;   /* as it was last seen */
};

static void creation_free(struct creation *creation)
{
	document_free(&creation->document);
	ch_bytes_free(&creation->text);
	cJSON_Delete(creation->prepared);
	cJSON_Delete(creation->action);
}
CH_DEFINE_AUTO_VALUE(creation, struct creation, creation_free)

/* The issuer goes on as far as approvals let it. */
static bool prepare(struct creation *creation, struct ch_error *err)
{
	struct cli_request request = { .method = "POST",
				       .path = "/v1/cas",
				       .content_type = "application/yaml",
				       .body = ch_view_of(&creation->text) };
	const cJSON *action;

	cJSON_Delete(creation->prepared);
	cJSON_Delete(creation->action);
	creation->prepared = creation->action = NULL;
	if (!cli_send_json(creation->cli, &request, &creation->prepared, err))
		return false;
	action = cJSON_GetObjectItemCaseSensitive(creation->prepared, "action");
	creation->action = action ? cJSON_Duplicate(action, true) : NULL;
	return true;
}

/* The key that is proposed is the one of the document. */
static bool check_key(const struct creation *creation, struct ch_error *err)
{
	CH_AUTO(ch_bytes) name = CH_NONE;
	CH_AUTO(ch_string) subject = NULL;

	if (!creation->document.subject || !creation->document.key)
		return ch_fail(err, CH_INVALID, "the document has no subject or no key");
	if (!ch_name_parse(creation->document.subject, &name, err))
		return false;
	subject = ch_name_text(ch_view_of(&name));
	const struct ch_action_field fields[] = {
		{ (char *)(uintptr_t) "label", creation->document.name },
		{ (char *)(uintptr_t) "algorithm", creation->document.key },
		{ (char *)(uintptr_t) "purposes",
		  (char *)(uintptr_t) "end-entity-certificate,ca-certificate,crl" },
		{ (char *)(uintptr_t) "subject", subject },
	};

	return action_check(creation->action,
			    &(struct action_expected){ CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY, fields,
						       CH_COUNT(fields) },
			    err);
}

/* What is proposed to be signed are the very bytes that were checked. */
static bool check_certificate_action(const struct creation *creation, X509 *certificate,
				     struct ch_view to_be_signed, struct ch_error *err)
{
	CH_AUTO(ch_bytes) name = CH_NONE;
	CH_AUTO(ch_string) subject = NULL;
	CH_AUTO(ch_string) digest_text = NULL;
	char not_after[CH_TIME_TEXT_SIZE];
	struct tm end;
	uint8_t digest[64];
	size_t size;

	if (!ch_name_parse(creation->document.subject, &name, err) ||
	    !ch_digest("sha256", to_be_signed, digest, &size, err))
		return false;
	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
		return ch_fail(err, CH_DENIED, "the TBSCertificate's notAfter does not decode");
	subject = ch_name_text(ch_view_of(&name));
	digest_text = ch_hex(ch_view(digest, size));
	const struct ch_action_field fields[] = {
		{ (char *)(uintptr_t) "key",
		  (char *)(uintptr_t)text_of(creation->prepared, "signing_key_id") },
		{ (char *)(uintptr_t) "tbs-sha256", digest_text },
		{ (char *)(uintptr_t) "subject", subject },
		{ (char *)(uintptr_t) "not-after",
		  (char *)(uintptr_t)ch_time_text((int64_t)timegm(&end) * CH_SECOND, not_after) },
	};

	return action_check(creation->action,
			    &(struct action_expected){ CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE, fields,
						       CH_COUNT(fields) },
			    err);
}

static bool check_certificate(const struct creation *creation, struct ch_error *err)
{
	CH_AUTO(ch_bytes) to_be_signed = CH_NONE;
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(X509) parent = NULL;

	if (!cli_unbase64(text_of(creation->prepared, "tbs_certificate"), "tbs_certificate", &to_be_signed,
			  err) ||
	    !approval_open(ch_view_of(&to_be_signed), &certificate, err))
		return false;
	return get_parent(creation->cli, creation->document.parent, &parent, err) &&
	       approval_check(certificate, &creation->document, parent, err) &&
	       check_certificate_action(creation, certificate, ch_view_of(&to_be_signed), err);
}

static bool has_certificate(const struct creation *creation)
{
	return *text_of(creation->prepared, "tbs_certificate") != '\0';
}

/* The officer's own check of what is proposed, and his signature over it; other officers' where they are
 * needed. */
static bool approve(struct creation *creation, struct ch_error *err)
{
	cJSON *after = NULL;

	if (!creation->action)
		return ch_fail(err, CH_INTERNAL, "the suite answered without the action to approve");
	if (!(has_certificate(creation) ? check_certificate(creation, err) : check_key(creation, err)))
		return false;
	if (!action_show(creation->action, err))
		return false;
	if (cli_flag(creation->cli, "check")) {
		fprintf(stderr, "It is what the document asks for. Not approved: --check was given.\n");
		return true;
	}
	if (action_is(creation->action, "open")) {
		if (!action_approve(creation->cli, creation->action, &after, err))
			return false;
		cJSON_Delete(creation->action);
		creation->action = after;
	}
	return action_await(creation->cli, &creation->action, err);
}

static bool activate(struct creation *creation, cJSON **ca, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ca_path(creation->document.name, "/activation");
	CH_AUTO(cJSON) body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "action", text_of(creation->action, "id"));
	return cli_post(creation->cli, path, body, ca, err);
}

/* Key approved, key made, certificate approved, CA activated: each repetition goes on from where the last
 * came. */
static bool create(struct creation *creation, cJSON **ca, struct ch_error *err)
{
	/* 1. A key for it, when officers approve; after that the issuer knows the TBSCertificate. */
	if (!prepare(creation, err))
		return false;
	if (!has_certificate(creation) &&
	    (!approve(creation, err) || (!cli_flag(creation->cli, "check") && !prepare(creation, err))))
		return false;
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(creation->prepared, "already_active"))) {
		fprintf(stderr, "CA '%s' is active already.\n", creation->document.name);
		return get_ca(creation->cli, creation->document.name, ca, err);
	}
	if (!has_certificate(creation)) {
		*ca = cJSON_Duplicate(creation->prepared, true);
		return cli_flag(creation->cli, "check") ||
		       ch_fail(err, CH_CONFLICT, "its key is not made though it was approved");
	}

	/* 2. Its certificate. */
	if (!approve(creation, err))
		return false;
	if (!cli_flag(creation->cli, "check"))
		return activate(creation, ca, err);
	*ca = cJSON_Duplicate(creation->prepared, true);
	return true;
}

bool cli_ca_create(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(creation) creation = { .cli = cli };
	CH_AUTO(cJSON) ca = NULL;

	if (!ch_read_file(cli->arguments[0], DOCUMENT_CAP, &creation.text, err) ||
	    !content_is_no_private_key(cli->arguments[0], ch_view_of(&creation.text), "a CA document", err) ||
	    !document_read(ch_view_of(&creation.text), cli->arguments[0], &creation.document, err))
		return false;
	if (!create(&creation, &ca, err))
		return ch_fail_in(err, "CA '%s'", creation.document.name);
	cli_print_object(cli, ca, details, CH_COUNT(details));
	return true;
}

bool cli_ca_list(struct cli *cli, struct ch_error *err)
{
	static const struct cli_column columns[] = {
		{ "NAME", "name" },
		{ "STATE", "state" },
		{ "DEFAULT TSA", "timestamp_default" },
		{ "PARENT", "parent" },
		{ "KEY", "key_algorithm" },
		{ "NOT AFTER", "not_after" },
		{ "CERTIFICATES", "certificates_issued" },
		{ "SUBJECT", "subject" },
		{ "WHY", "why" },
	};
	CH_AUTO(cJSON) answer = NULL;

	if (!cli_get(cli, "/v1/cas", &answer, err))
		return false;
	cli_print_table(cli, cJSON_GetObjectItemCaseSensitive(answer, "cas"), columns, CH_COUNT(columns));
	return true;
}

bool cli_ca_show(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) ca = NULL;

	if (!get_ca(cli, cli->arguments[0], &ca, err))
		return false;
	cli_print_object(cli, ca, details, CH_COUNT(details));
	if (!cli_flag(cli, "json")) {
		putchar('\n');
		cli_print_lines(stdout, text_of(ca, "certificate"));
	}
	return true;
}
