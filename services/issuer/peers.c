/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: who may ask the issuer for what, and whom it calls. What is not here is refused by the bus. */
#include "stopping.h"

#define KIB 1024

/* clang-format off */
const struct ch_bus_route issuer_routes[] = {
	/*           payload            message                    senders    octets     reply                    handler                   most repeated */
	CH_BUS_ROUTE(ISSUE_CERTIFICATE, issue_certificate_request, "gateway", 256 * KIB, CERTIFICATE_REPLY,       issuer_issue,             ISSUER_SANS_CAP),
	CH_BUS_ROUTE(CHANGE_STATUS,     change_status_request,     "gateway", 4 * KIB,   CERTIFICATE_REPLY,       issuer_change_status,     0),
	CH_BUS_ROUTE(GET_CERTIFICATE,   get_certificate_request,   "gateway", 4 * KIB,   CERTIFICATE_REPLY,       issuer_get_certificate,   0),
	CH_BUS_ROUTE(LIST_CERTIFICATES, list_certificates_request, "gateway", 8 * KIB,   LIST_CERTIFICATES_REPLY, issuer_list_certificates, 0),
	CH_BUS_ROUTE(PREPARE_CA,        prepare_ca_request,        "gateway", 260 * KIB, PREPARE_CA_REPLY,        issuer_prepare_ca,        0),
	CH_BUS_ROUTE(APPROVE_CA,        approve_ca_request,        "gateway", 256 * KIB, CA_REPLY,                issuer_approve_ca,        0),
	CH_BUS_ROUTE(CHANGE_CA_STATE,   change_ca_state_request,   "gateway", 4 * KIB,   CHANGE_CA_STATE_REPLY,   issuer_change_ca_state,   0),
	CH_BUS_ROUTE(BLOCK_KEY,         block_key_request,         "gateway", 140 * KIB, BLOCK_KEY_REPLY,         issuer_block_key,         0),
	CH_BUS_ROUTE(GET_CA,            get_ca_request,            "gateway", 4 * KIB,   CA_REPLY,                issuer_get_ca,            0),
	CH_BUS_ROUTE(LIST_CAS,          list_cas_request,          "gateway", 4 * KIB,   LIST_CAS_REPLY,          issuer_list_cas,          0),
	CH_BUS_ROUTE(APPLY_PROFILE,     apply_profile_request,     "gateway", 260 * KIB, PROFILE_REPLY,           issuer_apply_profile,     0),
	CH_BUS_ROUTE(LIST_PROFILES,     list_profiles_request,     "gateway", 4 * KIB,   LIST_PROFILES_REPLY,     issuer_list_profiles,     0),
};
/* clang-format on */
const size_t issuer_route_count = CH_COUNT(issuer_routes);

const struct ch_bus_peer issuer_peers[] = {
	/* service   while none is reached   which means   what it is asked */
	{ "vault", CH_READY_FAILED, "cannot issue", NULL },
	{ "audit", CH_READY_DEGRADED, "events wait in the outbox", NULL },
};
const size_t issuer_peer_count = CH_COUNT(issuer_peers);
