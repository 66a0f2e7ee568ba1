/* SPDX-License-Identifier: Apache-2.0 */
/* rest_crls.c: /v1/crls/{name}: a CRL on demand, and the newest one. Called by rest_dispatch. */
#include "gateway.h"

#include "json.h"

static const struct exchange generate_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_CRL,
						   CHANCERY__PAYLOAD_TYPE__PAYLOAD_CRL_REPLY,
						   &chancery__crl_reply__descriptor, 25 * CH_SECOND };
static const struct exchange get_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_CRL,
					      CHANCERY__PAYLOAD_TYPE__PAYLOAD_CRL_REPLY,
					      &chancery__crl_reply__descriptor, 5 * CH_SECOND };

static bool answer_crl(struct call *call, int status, const Chancery__Crl *crl, struct ch_error *err)
{
	cJSON *tree;

	if (!crl)
		return ch_fail(err, CH_INTERNAL, "the crl daemon answered without a CRL");
	if (answer_wants(call, MEDIA_CRL)) {
		ch_http_respond(call->response, status, MEDIA_CRL,
				ch_bytes_copy(ch_view(crl->der.data, crl->der.len)));
		return true;
	}
	tree = cJSON_CreateObject();
	add_text(tree, "ca", crl->ca);
	add_number(tree, "crl_number", crl->crl_number);
	add_time(tree, "this_update", crl->this_update_us);
	add_time(tree, "next_update", crl->next_update_us);
	add_number(tree, "entries", crl->entries);
	add_number(tree, "size", crl->der.len);
	add_text(tree, "made_by", crl->made_by);
	answer_json(call, status, tree);
	return true;
}

bool rest_crl_generate(struct call *call, struct ch_error *err)
{
	static const char *const known[] = { NULL };
	Chancery__GenerateCrlRequest request = CHANCERY__GENERATE_CRL_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;
	CH_AUTO(cJSON) body = NULL;
	const char *name;

	if (!path_name(call, &name, err) || !body_object(call, known, true, &body, err))
		return false;
	request.requester = &call->requester;
	request.ca = (char *)(uintptr_t)name;
	return call_peer(call, call->gateway->crl, &generate_exchange, &request.base, &message, err) &&
	       answer_crl(call, 201, ((const Chancery__CrlReply *)message)->crl, err);
}

bool rest_crl_get(struct call *call, struct ch_error *err)
{
	Chancery__GetCrlRequest request = CHANCERY__GET_CRL_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;
	const char *name;

	if (!path_name(call, &name, err))
		return false;
	request.ca = (char *)(uintptr_t)name;
	return call_peer(call, call->gateway->crl, &get_exchange, &request.base, &message, err) &&
	       answer_crl(call, 200, ((const Chancery__CrlReply *)message)->crl, err);
}
