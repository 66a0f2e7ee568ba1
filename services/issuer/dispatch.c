/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch.c: which messages the issuer takes, from whom, and who handles them. What is not here is refused
 * by the bus. */
#include "issuer.h"

#include <string.h>

#define KIB 1024

#define ROUTE(payload, message, cap, reply, function)                                                 \
	{                                                                                             \
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_##payload,                            \
		.request_descriptor = &chancery__##message##__descriptor, .senders = CH_FROM_GATEWAY, \
		.payload_cap = (cap), .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_##reply,          \
		.handler = (function),                                                                \
	}

const struct ch_bus_route issuer_routes[] = {
	/*    payload            message                     cap        reply                    handler */
	ROUTE(ISSUE_CERTIFICATE, issue_certificate_request, 256 * KIB, CERTIFICATE_REPLY, issuer_issue),
	ROUTE(CHANGE_STATUS, change_status_request, 4 * KIB, CERTIFICATE_REPLY, issuer_change_status),
	ROUTE(GET_CERTIFICATE, get_certificate_request, 4 * KIB, CERTIFICATE_REPLY, issuer_get_certificate),
	ROUTE(LIST_CERTIFICATES, list_certificates_request, 8 * KIB, LIST_CERTIFICATES_REPLY,
	      issuer_list_certificates),
	ROUTE(PREPARE_CA, prepare_ca_request, 260 * KIB, PREPARE_CA_REPLY, issuer_prepare_ca),
	ROUTE(APPROVE_CA, approve_ca_request, 256 * KIB, CA_REPLY, issuer_approve_ca),
	ROUTE(GET_CA, get_ca_request, 4 * KIB, CA_REPLY, issuer_get_ca),
	ROUTE(LIST_CAS, list_cas_request, 4 * KIB, LIST_CAS_REPLY, issuer_list_cas),
	ROUTE(APPLY_PROFILE, apply_profile_request, 260 * KIB, PROFILE_REPLY, issuer_apply_profile),
	ROUTE(LIST_PROFILES, list_profiles_request, 4 * KIB, LIST_PROFILES_REPLY, issuer_list_profiles),
};
const size_t issuer_route_count = CH_COUNT(issuer_routes);

bool has_role(const Chancery__Requester *requester, const char *role)
{
	for (size_t i = 0; requester && i < requester->n_roles; i++)
		if (strcmp(requester->roles[i], role) == 0)
			return true;
	return false;
}

bool require_role(const Chancery__Requester *requester, const char *role, struct ch_error *err)
{
	if (!requester || !requester->client[0] || strlen(requester->client) > 128)
		return ch_fail(err, CH_INVALID, "the request names no requester");
	if (!has_role(requester, role))
		return ch_fail(err, CH_DENIED, "client '%s' lacks the role %s", requester->client, role);
	return true;
}

bool request_tenant(const struct ch_bus_request *request, const char **tenant, struct ch_error *err)
{
	*tenant = request->body->tenant;
	return ch_check_name("tenant", *tenant, err);
}

int64_t time_left(const struct issuer *issuer, const struct ch_bus_request *request, int64_t limit_us)
{
	int64_t left = limit_us;

	if (request->body->deadline_us > 0) /* what remains after it is for our own commit and the reply */
		left = request->body->deadline_us - ch_clock_now_us(issuer->clock) - 100 * CH_MILLISECOND;
	if (left > limit_us)
		left = limit_us;
	return left > CH_MILLISECOND ? left : CH_MILLISECOND;
}
