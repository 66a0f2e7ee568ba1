/* SPDX-License-Identifier: Apache-2.0 */
/* certificate.c: `chancery certificate`: issue, show, list, revoke, suspend, reinstate. */
#include "client.h"
#include "content.h"
#include "mem/new_file.h"
#include "output.h"
#include "text/text.h"

#include <stdio.h>
#include <string.h>

static const struct cli_column details[] = {
	{ "serial", "serial" },
	{ "status", "status" },
	{ "subject", "subject" },
	{ "names", "subject_alt_names" },
	{ "profile", "profile" },
	{ "CA", "ca" },
	{ "not before", "not_before" },
	{ "not after", "not_after" },
	{ "requested by", "requested_by" },
	{ "revoked", "revoked_at" },
	{ "reason", "revocation_reason" },
};

static void print_certificate(const struct cli *cli, const cJSON *certificate)
{
	const char *pem = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(certificate, "certificate"));

	cli_print_object(cli, certificate, details, CH_COUNT(details));
	if (pem && !cli_flag(cli, "json")) {
		putchar('\n');
		cli_print_lines(stdout, pem);
	}
}

/* "dns:www.example" -> {"type":"dns","value":"www.example"} */
static bool add_names(struct cli *cli, cJSON *body, struct ch_error *err)
{
	cJSON *names = NULL;
	const char *text;

	for (size_t i = 0; (text = cli_value_at(cli, "san", i)); i++) {
		const char *colon = strchr(text, ':');
		CH_AUTO(ch_string) type = colon ? ch_strndup(text, (size_t)(colon - text)) : NULL;
		cJSON *name = cJSON_CreateObject();

		if (!names)
			names = cJSON_AddArrayToObject(body, "subject_alt_names");
		cJSON_AddItemToArray(names, name);
		if (!colon)
			return ch_fail(err, CH_INVALID, "--san '%s' is not TYPE:VALUE", text);
		cJSON_AddStringToObject(name, "type", type);
		cJSON_AddStringToObject(name, "value", colon + 1);
	}
	return true;
}

static bool make_request(struct cli *cli, cJSON *body, struct ch_error *err)
{
	CH_AUTO(ch_string) csr = NULL;
	const char *csr_file, *profile;

	if (!cli_require(cli, "csr", &csr_file, err) || !cli_require(cli, "profile", &profile, err) ||
	    !content_read_request(csr_file, &csr, err))
		return false;
	cJSON_AddStringToObject(body, "profile", profile);
	cJSON_AddStringToObject(body, "csr", csr);
	if (cli_value(cli, "ca"))
		cJSON_AddStringToObject(body, "ca", cli_value(cli, "ca"));
	if (cli_value(cli, "validity"))
		cJSON_AddStringToObject(body, "validity", cli_value(cli, "validity"));
	return add_names(cli, body, err);
}

/* Before anything is issued: a certificate that cannot be written is not asked for. */
static bool open_out(struct cli *cli, struct ch_new_file *file, struct ch_error *err)
{
	const char *out = cli_value(cli, "out");

	return !out || ch_new_file_open(out, 0644, file, err) || ch_fail_in(err, "--out");
}

/* With --out the certificate and its chain go to a file, so that what is printed stays short. */
static bool write_out(struct cli *cli, struct ch_new_file *out, const cJSON *certificate,
		      struct ch_error *err)
{
	const char *pem = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(certificate, "certificate"));
	const char *chain = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(certificate, "chain"));
	CH_AUTO(ch_string) both = NULL;

	if (!out->path) {
		print_certificate(cli, certificate);
		return true;
	}
	both = ch_format("%s%s", pem ? pem : "", chain ? chain : "");
	if (!ch_new_file_finish(out, ch_view_text(both), err))
		return false;
	cli_print_object(cli, certificate, details, CH_COUNT(details));
	return true;
}

/* Beside the answer, which a script reads. */
static void tell_ignored(const cJSON *certificate)
{
	const cJSON *ignored = cJSON_GetObjectItemCaseSensitive(certificate, "ignored"), *item;

	cJSON_ArrayForEach(item, ignored)
	{
		const char *text = cJSON_GetStringValue(item);
		CH_AUTO(ch_string) shown = ch_text_escape(ch_view_text(text ? text : ""));

		fprintf(stderr, "chancery: the request asks for %s, which the certificate does not have\n",
			shown);
	}
}

bool cli_certificate_issue(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) body = cJSON_CreateObject();
	CH_AUTO(cJSON) certificate = NULL;
	CH_AUTO(ch_string) text = NULL;
	CH_AUTO(ch_string) random_key = NULL;
	struct cli_request request = { .method = "POST",
				       .path = "/v1/certificates",
				       .content_type = "application/json" };
	CH_AUTO(ch_new_file) out = CH_NONE;
	uint8_t octets[16];

	if (!make_request(cli, body, err) || !open_out(cli, &out, err))
		return false;
	/* The same key on every attempt: a retry gives the same certificate. */
	ch_random(octets, sizeof(octets));
	random_key = ch_hex(ch_view(octets, sizeof(octets)));
	text = cJSON_PrintUnformatted(body);
	request.body = ch_view_text(text);
	request.idempotency_key = cli_value_or(cli, "idempotency-key", random_key);
	if (!cli_send_json(cli, &request, &certificate, err))
		return false;
	tell_ignored(certificate);
	return write_out(cli, &out, certificate, err);
}

static char *certificate_path(const char *serial, const char *rest)
{
	CH_AUTO(ch_string) encoded = cli_url_encode(serial);

	return ch_format("/v1/certificates/%s%s", encoded, rest);
}

bool cli_certificate_show(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_string) path = certificate_path(cli->arguments[0], "");
	CH_AUTO(cJSON) certificate = NULL;
	CH_AUTO(ch_new_file) out = CH_NONE;

	return open_out(cli, &out, err) && cli_get(cli, path, &certificate, err) &&
	       write_out(cli, &out, certificate, err);
}

static void add_query(struct ch_buffer *path, const char *name, const char *value)
{
	CH_AUTO(ch_string) encoded = value ? cli_url_encode(value) : NULL;

	if (encoded)
		ch_buffer_printf(path, "%s%s=%s", memchr(path->data, '?', path->used) ? "&" : "?", name,
				 encoded);
}

bool cli_certificate_list(struct cli *cli, struct ch_error *err)
{
	static const char *const filters[] = {
		"status", "subject", "san", "profile", "ca", "limit", "cursor"
	};
	static const struct cli_column columns[] = {
		{ "SERIAL", "serial" },       { "STATUS", "status" },   { "PROFILE", "profile" },
		{ "NOT AFTER", "not_after" }, { "SUBJECT", "subject" }, { "NAMES", "subject_alt_names" },
	};
	CH_AUTO(ch_buffer) buffer = CH_NONE;
	CH_AUTO(ch_string) path = NULL;
	CH_AUTO(cJSON) answer = NULL;
	const char *cursor;

	ch_buffer_printf(&buffer, "/v1/certificates");
	for (size_t i = 0; i < CH_COUNT(filters); i++)
		add_query(&buffer, filters[i], cli_value(cli, filters[i]));
	add_query(&buffer, "expires_before", cli_value(cli, "expires-before"));
	path = ch_buffer_steal_text(&buffer);
	if (!cli_get(cli, path, &answer, err))
		return false;
	if (cli_flag(cli, "json")) {
		cli_print_json(answer);
		return true;
	}
	cli_print_table(cli, cJSON_GetObjectItemCaseSensitive(answer, "certificates"), columns,
			CH_COUNT(columns));
	cursor = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "next_cursor"));
	if (cursor && cursor[0])
		printf("There are more: --cursor '%s'\n", cursor);
	return true;
}

static bool change_status(struct cli *cli, const char *action, const cJSON *body, struct ch_error *err)
{
	CH_AUTO(cJSON) changed = cJSON_CreateArray();

	for (size_t i = 0; i < cli->argument_count; i++) {
		CH_AUTO(ch_string) rest = ch_format("/%s", action);
		CH_AUTO(ch_string) path = certificate_path(cli->arguments[i], rest);
		cJSON *certificate = NULL;

		if (!cli_post(cli, path, body, &certificate, err))
			return ch_fail_in(err, "%s", cli->arguments[i]);
		cJSON_AddItemToArray(changed, certificate);
	}
	if (cli_flag(cli, "json"))
		cli_print_json(cli->argument_count == 1 ? cJSON_GetArrayItem(changed, 0) : changed);
	else
		for (int i = 0; i < cJSON_GetArraySize(changed); i++)
			cli_print_object(cli, cJSON_GetArrayItem(changed, i), details, CH_COUNT(details));
	return true;
}

bool cli_certificate_revoke(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(cJSON) body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "reason", cli_value_or(cli, "reason", "unspecified"));
	if (cli_value(cli, "invalidity-date"))
		cJSON_AddStringToObject(body, "invalidity_date", cli_value(cli, "invalidity-date"));
	if (cli_value(cli, "ca"))
		cJSON_AddStringToObject(body, "ca", cli_value(cli, "ca"));
	return change_status(cli, "revoke", body, err);
}

bool cli_certificate_suspend(struct cli *cli, struct ch_error *err)
{
	return change_status(cli, "suspend", NULL, err);
}

bool cli_certificate_reinstate(struct cli *cli, struct ch_error *err)
{
	return change_status(cli, "reinstate", NULL, err);
}
