/* SPDX-License-Identifier: Apache-2.0 */
/* rest_certificates.c: /v1/certificates: asking for certificates and looking at them. The CSR is unwrapped,
 * not read: the issuer does that. Called by rest_dispatch. */
#include "gateway.h"

#include "json.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CSR_TEXT_CAP       ((size_t)100 * 1024) /* 64 KiB of DER as PEM, with room */
#define CSR_CAP            ((size_t)64 * 1024)
#define NAME_CAP           ((size_t)63)
#define SANS_MAX           ((size_t)100)
#define SAN_CAP            ((size_t)1024)
#define IGNORED_HEADER_CAP ((size_t)2048) /* of Chancery-Ignored, about; the JSON answer has all */
#define SEARCH_CAP         ((size_t)256)
#define KEY_SIZE           ((size_t)129) /* the longest Idempotency-Key that text.c lets through, and its end */

static const struct exchange issue_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_ISSUE_CERTIFICATE,
						CHANCERY__PAYLOAD_TYPE__PAYLOAD_CERTIFICATE_REPLY,
						&chancery__certificate_reply__descriptor, 15 * CH_SECOND };
static const struct exchange get_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_CERTIFICATE,
					      CHANCERY__PAYLOAD_TYPE__PAYLOAD_CERTIFICATE_REPLY,
					      &chancery__certificate_reply__descriptor, 5 * CH_SECOND };
static const struct exchange list_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CERTIFICATES,
					       CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CERTIFICATES_REPLY,
					       &chancery__list_certificates_reply__descriptor,
					       10 * CH_SECOND };

/* --- answers
 * ------------------------------------------------------------------------------------------------- */

cJSON *certificate_json(const Chancery__Certificate *certificate)
{
	cJSON *tree = cJSON_CreateObject();
	cJSON *names;

	add_text(tree, "serial", certificate->serial);
	add_text(tree, "ca", certificate->ca);
	add_text(tree, "profile", certificate->profile);
	add_text(tree, "status", certificate->status);
	add_text(tree, "subject", certificate->subject);
	names = cJSON_AddArrayToObject(tree, "subject_alt_names");
	for (size_t i = 0; i < certificate->n_subject_alt_names; i++) {
		cJSON *name = cJSON_CreateObject();

		add_text(name, "type", certificate->subject_alt_names[i]->type);
		add_text(name, "value", certificate->subject_alt_names[i]->value);
		cJSON_AddItemToArray(names, name);
	}
	add_time(tree, "not_before", certificate->not_before_us);
	add_time(tree, "not_after", certificate->not_after_us);
	add_time(tree, "created_at", certificate->created_at_us);
	add_text(tree, "requested_by", certificate->requested_by);
	add_optional_text(tree, "revocation_reason", certificate->revocation_reason);
	add_time(tree, "revoked_at", certificate->revoked_at_us);
	add_pem(tree, "certificate", certificate->der);
	add_pem(tree, "chain", certificate->chain_der);
	return tree;
}

/* What was asked for and not given, where the answer is no JSON that has a member for it. */
static void add_ignored_header(struct call *call, const Chancery__CertificateReply *reply)
{
	CH_AUTO(ch_buffer) text = CH_NONE;
	CH_AUTO(ch_string) value = NULL;

	for (size_t i = 0; i < reply->n_ignored && text.used < IGNORED_HEADER_CAP; i++)
		ch_buffer_printf(&text, "%s%.300s", i ? ", " : "", reply->ignored[i]);
	value = ch_buffer_steal_text(&text);
	if (reply->n_ignored)
		ch_http_add_header(call->response, "Chancery-Ignored", value);
}

static cJSON *reply_json(const Chancery__CertificateReply *reply, bool made)
{
	cJSON *tree = certificate_json(reply->certificate);
	cJSON *ignored = made ? cJSON_AddArrayToObject(tree, "ignored") : NULL;

	for (size_t i = 0; ignored && i < reply->n_ignored; i++)
		cJSON_AddItemToArray(ignored, cJSON_CreateString(reply->ignored[i]));
	return tree;
}

static bool answer_certificate(struct call *call, int status, const Chancery__CertificateReply *reply,
			       struct ch_error *err)
{
	const Chancery__Certificate *certificate = reply->certificate;
	CH_AUTO(ch_buffer) pem = CH_NONE;

	if (!certificate)
		return ch_fail(err, CH_INTERNAL, "the issuer answered without a certificate");
	if (!answer_wants(call, MEDIA_PEM)) {
		answer_json(call, status, reply_json(reply, status == 201));
		return true;
	}
	add_ignored_header(call, reply);
	if (!certificate->der.len)
		return ch_fail(err, CH_CONFLICT, "certificate '%s' is %s: there is none to give",
			       certificate->serial, certificate->status);
	if (!pem_of(ch_view(certificate->der.data, certificate->der.len), &pem, err) ||
	    !pem_of(ch_view(certificate->chain_der.data, certificate->chain_der.len), &pem, err))
		return false;
	ch_http_respond(call->response, status, MEDIA_PEM, ch_buffer_steal(&pem));
	return true;
}

/* --- issuing
 * ------------------------------------------------------------------------------------------------- */

/* What a request for a certificate says, from JSON or from a raw body with a query. */
struct issue_input {
	cJSON *tree; /* owns the texts of a JSON body */
	const char *profile;
	const char *ca;
	const char *validity;
	struct ch_bytes csr;
	Chancery__SubjectAltName sans[100];
	Chancery__SubjectAltName *san_pointers[100];
	size_t san_count;
	char *san_text; /* owns the names of a query */
};

static void issue_input_free(struct issue_input *input)
{
	cJSON_Delete(input->tree);
	ch_bytes_free(&input->csr);
	free(input->san_text);
}
CH_DEFINE_AUTO_VALUE(issue_input, struct issue_input, issue_input_free)

static bool add_san(struct issue_input *input, const char *type, const char *value, struct ch_error *err)
{
	Chancery__SubjectAltName *san = &input->sans[input->san_count];

	if (input->san_count == SANS_MAX)
		return ch_fail(err, CH_INVALID, "more than %zu subject_alt_names", SANS_MAX);
	chancery__subject_alt_name__init(san);
	san->type = (char *)(uintptr_t)type;
	san->value = (char *)(uintptr_t)value;
	input->san_pointers[input->san_count++] = san;
	return true;
}

static bool read_json_san(struct issue_input *input, const cJSON *item, struct ch_error *err)
{
	static const char *const known[] = { "type", "value", NULL };
	const char *type;
	const char *value;

	if (!cJSON_IsObject(item))
		return ch_fail(err, CH_INVALID, "it is not an object");
	return json_only(item, "a subject alternative name", known, err) &&
	       json_string(item, "type", JSON_REQUIRED, 16, &type, err) &&
	       json_string(item, "value", JSON_REQUIRED, SAN_CAP, &value, err) &&
	       add_san(input, type, value, err);
}

static bool read_json(const struct call *call, struct issue_input *input, struct ch_error *err)
{
	static const char *const known[] = { "profile", "ca", "csr", "validity", "subject_alt_names", NULL };
	const cJSON *sans;
	const cJSON *item;
	const char *csr;

	if (ch_http_query_name(call->request, 0))
		return ch_fail(err, CH_INVALID, "query members belong to a raw application/pkcs10 body");
	if (!body_object(call, known, false, &input->tree, err) ||
	    !json_string(input->tree, "profile", JSON_REQUIRED, NAME_CAP, &input->profile, err) ||
	    !json_string(input->tree, "ca", JSON_OPTIONAL, NAME_CAP, &input->ca, err) ||
	    !json_string(input->tree, "csr", JSON_REQUIRED, CSR_TEXT_CAP, &csr, err) ||
	    !json_string(input->tree, "validity", JSON_OPTIONAL, 16, &input->validity, err) ||
	    !json_array(input->tree, "subject_alt_names", JSON_OPTIONAL, SANS_MAX, &sans, err))
		return false;
	cJSON_ArrayForEach(item, sans) if (!read_json_san(input, item, err)) return ch_fail_in(
		err, "subject_alt_names[%zu]", input->san_count);
	return text_csr_unwrap(ch_view_text(csr), &input->csr, err) || ch_fail_in(err, "member 'csr'");
}

/* "dns:www.example.com,ip:192.0.2.1" */
static bool read_query_sans(struct issue_input *input, const char *text, struct ch_error *err)
{
	char *rest = NULL;

	input->san_text = ch_strdup(text);
	for (char *item = strtok_r(input->san_text, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
		char *colon = strchr(item, ':');

		if (!colon)
			return ch_fail(err, CH_INVALID,
				       "query member 'subject_alt_names': '%.64s' is not type:value", item);
		*colon = 0;
		if (!add_san(input, item, colon + 1, err))
			return false;
	}
	return true;
}

static bool read_raw(const struct call *call, struct issue_input *input, struct ch_error *err)
{
	const char *sans = ch_http_query(call->request, "subject_alt_names");

	input->profile = ch_http_query(call->request, "profile");
	input->ca = ch_http_query(call->request, "ca");
	input->validity = ch_http_query(call->request, "validity");
	if (!input->profile)
		return ch_fail(err, CH_INVALID, "query member 'profile' is missing");
	if (strlen(input->profile) > NAME_CAP || (input->ca && strlen(input->ca) > NAME_CAP))
		return ch_fail(err, CH_INVALID, "query member 'profile' or 'ca' is over %zu octets",
			       NAME_CAP);
	return (!sans || read_query_sans(input, sans, err)) &&
	       text_csr_unwrap(ch_http_body(call->request), &input->csr, err);
}

static bool read_issue(const struct call *call, struct issue_input *input, struct ch_error *err)
{
	const struct rest_route *route = &rest_routes[ch_http_route_index(call->request)];
	const char *type;

	if (!body_type(call, route, &type, err))
		return false;
	if (!(strcmp(type, MEDIA_PKCS10) == 0 ? read_raw(call, input, err) : read_json(call, input, err)))
		return false;
	return input->csr.size <= CSR_CAP ||
	       ch_fail(err, CH_TOO_LARGE, "the certification request is over %zu octets", CSR_CAP);
}

/* The client's key, or one of ours: then a repetition by the bus is still one certificate. */
static bool take_idempotency_key(const struct call *call, char key[KEY_SIZE], struct ch_error *err)
{
	const char *given = ch_http_header(call->request, "Idempotency-Key");
	uint8_t random[16];

	if (given) {
		if (!text_idempotency_key(given, err))
			return false;
		snprintf(key, KEY_SIZE, "%s", given);
		return true;
	}
	ch_random(random, sizeof(random));
	CH_AUTO(ch_string) hex = ch_hex(ch_view(random, sizeof(random)));
	snprintf(key, KEY_SIZE, "gateway:%s", hex);
	return true;
}

bool rest_certificate_issue(struct call *call, struct ch_error *err)
{
	Chancery__IssueCertificateRequest request = CHANCERY__ISSUE_CERTIFICATE_REQUEST__INIT;
	const Chancery__CertificateReply *reply;
	CH_AUTO(issue_input) input = CH_NONE;
	CH_AUTO(ch_proto) message = NULL;
	char key[KEY_SIZE];
	int64_t seconds = 0;

	/* 1. What is asked for. */
	if (!take_idempotency_key(call, key, err) || !read_issue(call, &input, err) ||
	    (input.validity && !text_duration(input.validity, &seconds, err)))
		return false;
	request.requester = &call->requester;
	request.idempotency_key = key;
	request.profile = (char *)(uintptr_t)input.profile;
	request.ca = (char *)(uintptr_t)(input.ca ? input.ca : "");
	request.csr = (ProtobufCBinaryData){ input.csr.size, input.csr.data };
	request.validity_seconds = seconds;
	request.n_subject_alt_names = input.san_count;
	request.subject_alt_names = input.san_pointers;

	/* 2. One message. */
	if (!call_peer(call, call->gateway->issuer, &issue_exchange, &request.base, &message, err))
		return false;

	/* 3. The answer. */
	reply = (const Chancery__CertificateReply *)message;
	if (reply->certificate) {
		CH_AUTO(ch_string)
		location = ch_format("/v1/certificates/%s", reply->certificate->serial);
		ch_http_add_header(call->response, "Location", location);
	}
	if (reply->repeated_request)
		ch_http_add_header(call->response, "Idempotent-Replayed", "true");
	return answer_certificate(call, 201, reply, err);
}

/* --- looking
 * --------------------------------------------------------------------------------------------------- */

bool rest_certificate_get(struct call *call, struct ch_error *err)
{
	Chancery__GetCertificateRequest request = CHANCERY__GET_CERTIFICATE_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;
	char serial[41];

	if (!text_serial(ch_http_parameter(call->request, "serial"), serial, err))
		return false;
	request.serial = serial;
	return call_peer(call, call->gateway->issuer, &get_exchange, &request.base, &message, err) &&
	       answer_certificate(call, 200, (const Chancery__CertificateReply *)message, err);
}

static bool check_status(const char *status, struct ch_error *err)
{
	static const char *const known[] = { "", "issued", "suspended", "revoked", "pending", "cancelled" };

	for (size_t i = 0; i < CH_COUNT(known); i++)
		if (strcmp(status, known[i]) == 0)
			return true;
	return ch_fail(
		err, CH_INVALID,
		"query member 'status': '%.32s' is not issued, suspended, revoked, pending or cancelled",
		status);
}

bool rest_certificate_list(struct call *call, struct ch_error *err)
{
	Chancery__ListCertificatesRequest request = CHANCERY__LIST_CERTIFICATES_REQUEST__INIT;
	const Chancery__ListCertificatesReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	uint64_t limit;
	cJSON *tree;
	cJSON *list;

	if (!query_text(call, "status", 16, &request.status, err) || !check_status(request.status, err) ||
	    !query_text(call, "subject", SEARCH_CAP, &request.subject, err) ||
	    !query_text(call, "san", SEARCH_CAP, &request.san, err) ||
	    !query_text(call, "profile", NAME_CAP, &request.profile, err) ||
	    !query_text(call, "ca", NAME_CAP, &request.ca, err) ||
	    !query_text(call, "cursor", SEARCH_CAP, &request.cursor, err) ||
	    !query_time(call, "expires_before", &request.expires_before_us, err) ||
	    !query_number(call, "limit", 1000, &limit, err))
		return false;
	request.limit = (uint32_t)limit;
	if (!call_peer(call, call->gateway->issuer, &list_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ListCertificatesReply *)message;
	tree = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(tree, "certificates");
	for (size_t i = 0; i < reply->n_certificates; i++)
		cJSON_AddItemToArray(list, certificate_json(reply->certificates[i]));
	add_optional_text(tree, "next_cursor", reply->next_cursor);
	answer_json(call, 200, tree);
	return true;
}
