/* SPDX-License-Identifier: Apache-2.0 */
/* rest_cas.c: /v1/cas: making a CA (what officers are to approve goes out; approved, it is activated) and
 * looking at CAs. Called by rest_dispatch. */
#include "gateway.h"

#include "json.h"
#include "text.h"

/* Preparing makes a key on one HSM and copies it to the other: RSA 4096 takes seconds. Under the 30 s after
 * which HAProxy gives a silent connection up. */
static const struct exchange prepare_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_PREPARE_CA,
						  CHANCERY__PAYLOAD_TYPE__PAYLOAD_PREPARE_CA_REPLY,
						  &chancery__prepare_ca_reply__descriptor, 25 * CH_SECOND };
static const struct exchange activate_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPROVE_CA,
						   CHANCERY__PAYLOAD_TYPE__PAYLOAD_CA_REPLY,
						   &chancery__ca_reply__descriptor, 25 * CH_SECOND };
static const struct exchange get_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_CA,
					      CHANCERY__PAYLOAD_TYPE__PAYLOAD_CA_REPLY,
					      &chancery__ca_reply__descriptor, 5 * CH_SECOND };
static const struct exchange list_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CAS,
					       CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CAS_REPLY,
					       &chancery__list_cas_reply__descriptor, 5 * CH_SECOND };

static const struct exchange change_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_CA_STATE,
						 CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_CA_STATE_REPLY,
						 &chancery__change_ca_state_reply__descriptor,
						 20 * CH_SECOND };

static cJSON *ca_json(const Chancery__Ca *ca)
{
	cJSON *tree = cJSON_CreateObject();

	add_text(tree, "name", ca->name);
	add_optional_text(tree, "parent", ca->parent);
	add_text(tree, "state", ca->state);
	add_optional_text(tree, "why", ca->why);
	add_text(tree, "own_state", ca->own_state);
	cJSON_AddBoolToObject(tree, "timestamp_default", ca->timestamp_default);
	add_text(tree, "subject", ca->subject);
	add_text(tree, "key_id", ca->key_id);
	add_text(tree, "key_algorithm", ca->key_algorithm);
	add_time(tree, "not_before", ca->not_before_us);
	add_time(tree, "not_after", ca->not_after_us);
	add_number(tree, "certificates_issued", ca->certificates_issued);
	add_optional_text(tree, "ocsp_url", ca->ocsp_url);
	add_optional_text(tree, "crl_url", ca->crl_url);
	add_optional_text(tree, "ca_issuers_url", ca->ca_issuers_url);
	add_pem(tree, "certificate", ca->certificate_der);
	add_pem(tree, "chain", ca->chain_der);
	return tree;
}

static bool answer_ca(struct call *call, const Chancery__Ca *ca, struct ch_error *err)
{
	CH_AUTO(ch_buffer) pem = CH_NONE;

	if (!ca)
		return ch_fail(err, CH_INTERNAL, "the issuer answered without a CA");
	if (!answer_wants(call, MEDIA_PEM)) {
		answer_json(call, 200, ca_json(ca));
		return true;
	}
	if (!ca->certificate_der.len)
		return ch_fail(err, CH_CONFLICT, "CA '%s' is %s: it has no certificate yet", ca->name,
			       ca->state);
	if (!pem_of(ch_view(ca->certificate_der.data, ca->certificate_der.len), &pem, err) ||
	    !pem_of(ch_view(ca->chain_der.data, ca->chain_der.len), &pem, err))
		return false;
	ch_http_respond(call->response, 200, MEDIA_PEM, ch_buffer_steal(&pem));
	return true;
}

bool rest_ca_list(struct call *call, struct ch_error *err)
{
	Chancery__ListCasRequest request = CHANCERY__LIST_CAS_REQUEST__INIT;
	const Chancery__ListCasReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	cJSON *tree;
	cJSON *list;

	if (!call_peer(call, call->gateway->issuer, &list_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ListCasReply *)message;
	tree = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(tree, "cas");
	for (size_t i = 0; i < reply->n_cas; i++)
		cJSON_AddItemToArray(list, ca_json(reply->cas[i]));
	answer_json(call, 200, tree);
	return true;
}

bool rest_ca_get(struct call *call, struct ch_error *err)
{
	Chancery__GetCaRequest request = CHANCERY__GET_CA_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;
	const char *name;

	if (!path_name(call, &name, err))
		return false;
	request.name = (char *)(uintptr_t)name;
	return call_peer(call, call->gateway->issuer, &get_exchange, &request.base, &message, err) &&
	       answer_ca(call, ((const Chancery__CaReply *)message)->ca, err);
}

/* 202 while officers have still to approve its key, 201 with the bytes to be signed after that. */
static void answer_prepared(struct call *call, const Chancery__PrepareCaReply *reply)
{
	CH_AUTO(ch_string)
	tbs = text_to_base64(ch_view(reply->tbs_certificate.data, reply->tbs_certificate.len));
	CH_AUTO(ch_string) location = ch_format("/v1/cas/%s", reply->name);
	bool has_key = reply->key_id[0];
	cJSON *tree = cJSON_CreateObject();

	add_text(tree, "name", reply->name);
	if (has_key) {
		add_text(tree, "key_id", reply->key_id);
		add_text(tree, "signing_key_id", reply->signing_key_id);
		cJSON_AddStringToObject(tree, "tbs_certificate", tbs);
		cJSON_AddBoolToObject(tree, "already_active", reply->already_active);
		ch_http_add_header(call->response, "Location", location);
	}
	if (reply->action)
		cJSON_AddItemToObject(tree, "action", action_json(reply->action));
	answer_json(call, has_key ? 201 : 202, tree);
}

bool rest_ca_prepare(struct call *call, struct ch_error *err)
{
	Chancery__PrepareCaRequest request = CHANCERY__PREPARE_CA_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;
	CH_AUTO(ch_string) document = NULL;

	if (!body_document(call, &document, err))
		return false;
	request.requester = &call->requester;
	request.document = document;
	if (!call_peer(call, call->gateway->issuer, &prepare_exchange, &request.base, &message, err))
		return false;
	answer_prepared(call, (const Chancery__PrepareCaReply *)message);
	return true;
}

bool rest_ca_activate(struct call *call, struct ch_error *err)
{
	static const char *const known[] = { "action", NULL };
	Chancery__ApproveCaRequest request = CHANCERY__APPROVE_CA_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;
	CH_AUTO(cJSON) body = NULL;
	const char *name, *action;

	if (!path_name(call, &name, err) || !body_object(call, known, false, &body, err) ||
	    !json_string(body, "action", JSON_REQUIRED, CH_ACTION_ID_SIZE - 1, &action, err))
		return false;
	request.requester = &call->requester;
	request.name = (char *)(uintptr_t)name;
	request.action_id = (char *)(uintptr_t)action;
	return call_peer(call, call->gateway->issuer, &activate_exchange, &request.base, &message, err) &&
	       answer_ca(call, ((const Chancery__CaReply *)message)->ca, err);
}

/* 200 with the CA as it is now, 202 with the action that officers have still to approve. */
bool rest_ca_change_state(struct call *call, struct ch_error *err)
{
	static const char *const known[] = { "state", "reason", "invalidity_date", NULL };
	Chancery__ChangeCaStateRequest request = CHANCERY__CHANGE_CA_STATE_REQUEST__INIT;
	const Chancery__ChangeCaStateReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	CH_AUTO(cJSON) body = NULL;
	const char *name, *state, *reason, *invalidity;
	cJSON *tree;

	if (!path_name(call, &name, err) || !body_object(call, known, false, &body, err) ||
	    !json_string(body, "state", JSON_REQUIRED, 16, &state, err) ||
	    !json_string(body, "reason", JSON_OPTIONAL, 200, &reason, err) ||
	    !json_string(body, "invalidity_date", JSON_OPTIONAL, 40, &invalidity, err) ||
	    (invalidity && !text_time(invalidity, &request.invalidity_date_us, err)))
		return false;
	request.requester = &call->requester;
	request.name = (char *)(uintptr_t)name;
	request.state = (char *)(uintptr_t)state;
	request.reason = (char *)(uintptr_t)(reason ? reason : "");
	if (!call_peer(call, call->gateway->issuer, &change_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ChangeCaStateReply *)message;
	if (!reply->action)
		return answer_ca(call, reply->ca, err);
	tree = cJSON_CreateObject();
	add_text(tree, "name", name);
	cJSON_AddItemToObject(tree, "action", action_json(reply->action));
	answer_json(call, 202, tree);
	return true;
}
