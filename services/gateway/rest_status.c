/* SPDX-License-Identifier: Apache-2.0 */
/* rest_status.c: /v1/certificates/{serial}/revoke, suspend, reinstate. Called by rest_dispatch. */
#include "gateway.h"

#include "json.h"
#include "text.h"

#include <string.h>

static const struct exchange change_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_STATUS,
						 CHANCERY__PAYLOAD_TYPE__PAYLOAD_CERTIFICATE_REPLY,
						 &chancery__certificate_reply__descriptor, 10 * CH_SECOND };

/* `request` with what the body says. */
static bool change(struct call *call, Chancery__StatusAction action, Chancery__ChangeStatusRequest request,
		   struct ch_error *err)
{
	const Chancery__CertificateReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	char serial[41];

	if (!text_serial(ch_http_parameter(call->request, "serial"), serial, err))
		return false;
	request.requester = &call->requester;
	request.serial = serial;
	request.action = action;
	if (!call_peer(call, call->gateway->issuer, &change_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__CertificateReply *)message;
	if (!reply->certificate)
		return ch_fail(err, CH_INTERNAL, "the issuer answered without a certificate");
	answer_json(call, 200, certificate_json(reply->certificate));
	return true;
}

bool rest_certificate_revoke(struct call *call, struct ch_error *err)
{
	static const char *const known[] = { "reason", "invalidity_date", "ca", NULL };
	Chancery__ChangeStatusRequest request = CHANCERY__CHANGE_STATUS_REQUEST__INIT;
	CH_AUTO(cJSON) body = NULL;
	const char *reason, *invalidity, *ca;

	if (!body_object(call, known, true, &body, err) ||
	    !json_string(body, "reason", JSON_OPTIONAL, 32, &reason, err) ||
	    !json_string(body, "ca", JSON_OPTIONAL, 63, &ca, err) ||
	    !json_string(body, "invalidity_date", JSON_OPTIONAL, 40, &invalidity, err) ||
	    (invalidity && !text_time(invalidity, &request.invalidity_date_us, err)))
		return false;
	if (reason)
		request.reason = (char *)(uintptr_t)reason;
	if (ca)
		request.ca = (char *)(uintptr_t)ca;
	return change(call, CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE, request, err);
}

static bool change_plainly(struct call *call, Chancery__StatusAction action, struct ch_error *err)
{
	static const char *const known[] = { NULL };
	const Chancery__ChangeStatusRequest request = CHANCERY__CHANGE_STATUS_REQUEST__INIT;
	CH_AUTO(cJSON) body = NULL;

	return body_object(call, known, true, &body, err) && change(call, action, request, err);
}

bool rest_certificate_suspend(struct call *call, struct ch_error *err)
{
	return change_plainly(call, CHANCERY__STATUS_ACTION__STATUS_ACTION_SUSPEND, err);
}

bool rest_certificate_reinstate(struct call *call, struct ch_error *err)
{
	return change_plainly(call, CHANCERY__STATUS_ACTION__STATUS_ACTION_REINSTATE, err);
}
