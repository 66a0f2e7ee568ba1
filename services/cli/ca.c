/* SPDX-License-Identifier: Apache-2.0 */
/* ca.c: `chancery ca`: makes a CA (prepare, check, approve) and shows those that are there. */
#include "approval.h"
#include "client.h"
#include "output.h"

#include "x509/x509.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define DOCUMENT_CAP (256 * 1024)

static const struct cli_column details[] = {
	{ "name", "name" },
	{ "state", "state" },
	{ "parent", "parent" },
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

static char *base64(struct ch_view view)
{
	char *text = ch_alloc(4 * ((view.size + 2) / 3) + 1);

	EVP_EncodeBlock((unsigned char *)text, view.data, (int)view.size);
	return text;
}

static bool unbase64(const char *text, struct ch_bytes *out, struct ch_error *err)
{
	size_t size = strlen(text);
	int decoded;

	if (size == 0 || size % 4 != 0 || size > 4 * DOCUMENT_CAP)
		return ch_fail(err, CH_INVALID, "tbs_certificate is not base64");
	out->data = ch_alloc(size / 4 * 3);
	decoded = EVP_DecodeBlock(out->data, (const unsigned char *)text, (int)size);
	if (decoded < 0)
		return ch_fail(err, CH_INVALID, "tbs_certificate is not base64");
	out->size = (size_t)decoded - (text[size - 1] == '=') - (text[size - 2] == '=');
	return true;
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

/* {"approvals":[{"certificate":base64 DER,"signature":base64}]} with the credentials that the command itself
 * uses. */
static bool make_approval(struct cli *cli, struct ch_view to_be_signed, cJSON **body, struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_string) certificate_text = NULL;
	CH_AUTO(ch_string) signature_text = NULL;
	const char *certificate_file, *key_file;
	cJSON *approval;

	if (!cli_require(cli, "cert", &certificate_file, err) || !cli_require(cli, "key", &key_file, err) ||
	    !ch_certificate_read_pem_file(certificate_file, &certificate, err) ||
	    !ch_certificate_der(certificate, &der, err) ||
	    !approval_sign(key_file, to_be_signed, &signature, err))
		return false;
	certificate_text = base64(ch_view_of(&der));
	signature_text = base64(ch_view_of(&signature));
	*body = cJSON_CreateObject();
	approval = cJSON_CreateObject();
	cJSON_AddItemToArray(cJSON_AddArrayToObject(*body, "approvals"), approval);
	cJSON_AddStringToObject(approval, "certificate", certificate_text);
	cJSON_AddStringToObject(approval, "signature", signature_text);
	return true;
}

static bool approve(struct cli *cli, const struct document *document, const cJSON *prepared, cJSON **ca,
		    struct ch_error *err)
{
	CH_AUTO(ch_bytes) to_be_signed = CH_NONE;
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(X509) parent = NULL;
	CH_AUTO(cJSON) body = NULL;
	CH_AUTO(ch_string) path = ca_path(document->name, "/approval");

	if (!unbase64(text_of(prepared, "tbs_certificate"), &to_be_signed, err) ||
	    !approval_open(ch_view_of(&to_be_signed), &certificate, err))
		return false;
	approval_show(certificate);
	if (!get_parent(cli, document->parent, &parent, err) ||
	    !approval_check(certificate, document, parent, err))
		return false;
	if (cli_flag(cli, "check")) {
		fprintf(stderr, "It is what the document asks for. Not approved: --check was given.\n");
		*ca = cJSON_Duplicate(prepared, true);
		return true;
	}
	return make_approval(cli, ch_view_of(&to_be_signed), &body, err) &&
	       cli_post(cli, path, body, ca, err);
}

bool cli_ca_create(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_bytes) text = CH_NONE;
	CH_AUTO(document) document = CH_NONE;
	CH_AUTO(cJSON) prepared = NULL;
	CH_AUTO(cJSON) ca = NULL;
	struct cli_request request = { .method = "POST",
				       .path = "/v1/cas",
				       .content_type = "application/yaml" };

	/* 1. The issuer makes the key and answers with the TBSCertificate. */
	if (!ch_read_file(cli->arguments[0], DOCUMENT_CAP, &text, err) ||
	    !document_read(ch_view_of(&text), cli->arguments[0], &document, err))
		return false;
	request.body = ch_view_of(&text);
	if (!cli_send_json(cli, &request, &prepared, err))
		return false;

	/* 2. The officer's own check of those bytes, and his signature over them. */
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(prepared, "already_active"))) {
		fprintf(stderr, "CA '%s' is active already.\n", document.name);
		if (!get_ca(cli, document.name, &ca, err))
			return false;
	} else if (!approve(cli, &document, prepared, &ca, err)) {
		return ch_fail_in(err, "CA '%s'", document.name);
	}
	cli_print_object(cli, ca, details, CH_COUNT(details));
	return true;
}

bool cli_ca_list(struct cli *cli, struct ch_error *err)
{
	static const struct cli_column columns[] = {
		{ "NAME", "name" },           { "STATE", "state" },
		{ "PARENT", "parent" },       { "KEY", "key_algorithm" },
		{ "NOT AFTER", "not_after" }, { "CERTIFICATES", "certificates_issued" },
		{ "SUBJECT", "subject" },
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
	if (!cli_flag(cli, "json"))
		printf("\n%s", text_of(ca, "certificate"));
	return true;
}
