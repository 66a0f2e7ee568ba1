/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway.h: the gateway: REST over HTTPS on one side, one bus message per request on the other. It parses
 * what the outside sends and holds no signing right and no table.
 */
#ifndef GATEWAY_H
#define GATEWAY_H

#include "action/action.h"
#include "auditclient/auditclient.h"
#include "bus/bus.h"
#include "daemon/daemon.h"
#include "http/http.h"
#include "x509/operator.h"

#include "crl.pb-c.h"
#include "issuer.pb-c.h"

#include <cjson/cJSON.h>
#include <pthread.h>

struct gateway_config {
	struct ch_daemon_config common;
	struct ch_http_config http;
	char *operators_ca;
};
extern const struct ch_conf_schema gateway_schema;
/* Whom it calls (peers.c). */
extern const struct ch_bus_peer gateway_peers[];
extern const size_t gateway_peer_count;

/* How often refusals are audited in full: the rest is counted and told with the next. `lock` guards it. */
struct refusal_budget {
	pthread_mutex_t lock;
	int64_t second;
	unsigned spent;
	uint64_t suppressed;
};

struct ch_identities; /* libcommon/identities */

/* Proofs that a key is compromised cost a signature's verification each and are asked for by anybody with a
 * certificate: so many a minute from those whose names share a place here. `lock` guards it. */
#define PROOF_BUDGETS 64
struct proof_budget {
	pthread_mutex_t lock;
	struct {
		int64_t minute;
		unsigned spent;
	} clients[PROOF_BUDGETS];
};

struct gateway {
	const struct gateway_config *config;
	struct ch_metrics *metrics;
	struct ch_identity *identity;
	struct ch_bus_peers *peers; /* owns the clients below */
	struct ch_bus_client *issuer;
	struct ch_bus_client *crl;
	struct ch_bus_client *vault; /* for officers' actions alone: the gateway may ask for no signature */
	struct ch_bus_client *audit_bus;
	struct ch_audit_client *audit;
	struct ch_identities *identities;
	struct ch_http_server *http;
	struct ch_health *health;
	struct ch_http_route *routes; /* made from rest_routes */
	struct refusal_budget refusals;
	struct proof_budget proofs;
};

/* gateway.c: in this order; gateway_close takes whatever was opened, in reverse. */
CH_MUST_USE bool gateway_open(struct gateway *gateway, const struct gateway_config *config,
			      struct ch_daemon *daemon, struct ch_error *err);
CH_MUST_USE bool gateway_watch(struct gateway *gateway, struct ch_daemon *daemon, struct ch_error *err);
CH_MUST_USE bool gateway_listen(struct gateway *gateway, struct ch_error *err);
void gateway_close(struct gateway *gateway);

/* One request on its way through a handler. */
struct call {
	struct gateway *gateway;
	struct ch_http_request *request;
	struct ch_http_response *response;
	struct ch_operator client;
	Chancery__Requester requester; /* what the bus is told about the client; points into client */
	char *roles[3];
	bool whole_suite; /* what it asks for is of no one tenant: an auditor asks */
};

/* --- routes (routes.c) ------------------------------------------------------------------------------------
 */

/* Answers through `call->response`, or fails: then the error becomes the problem document. */
typedef bool (*rest_handler)(struct call *call, struct ch_error *err);

struct rest_route {
	const char *method;
	const char *path;
	size_t body_cap;
	unsigned roles;                /* who may, enum ch_role or-ed: an officer also what a requester may */
	const char *queries;           /* names of the query's members that it knows, with a space between */
	const char *const *body_types; /* media types of a body, the default first; NULL: takes none */
	const char *const *answers;    /* two media types that it offers, the default first */
	rest_handler handler;
};
extern const struct rest_route rest_routes[];
extern const size_t rest_route_count;

/* The route's slow handler: authenticates, checks what the row says, runs the row's handler. */
void rest_dispatch(void *state, struct ch_http_request *request, struct ch_http_response *response);

/* --- who asks (authenticate.c)
 * ------------------------------------------------------------------------------ */

CH_MUST_USE bool authenticate(struct call *call, struct ch_error *err);
CH_MUST_USE bool authorize(const struct call *call, unsigned roles, struct ch_error *err);
/* Counts and logs a refusal, and audits one of identity or role (client.refused). */
void refusal_tell(struct call *call, const struct ch_error *why);

/* --- the bus (call.c)
 * ------------------------------------------------------------------------------------------ */

/* One message to a peer and its answer. `payload` names the pair of types. */
struct exchange {
	Chancery__PayloadType request_type;
	Chancery__PayloadType reply_type;
	const ProtobufCMessageDescriptor *reply_descriptor;
	int64_t timeout_us;
};
CH_MUST_USE bool call_peer(const struct call *call, struct ch_bus_client *peer,
			   const struct exchange *exchange, const ProtobufCMessage *request,
			   ProtobufCMessage **reply, struct ch_error *err);

/* --- answering (answer.c)
 * ---------------------------------------------------------------------------------------- */

#define MEDIA_JSON   "application/json"
#define MEDIA_YAML   "application/yaml"
#define MEDIA_PKCS10 "application/pkcs10"
#define MEDIA_PEM    "application/pem-certificate-chain"
#define MEDIA_CRL    "application/pkix-crl"

/* Takes the tree. */
void answer_json(struct call *call, int status, cJSON *tree);
/* Which of the route's two media types Accept prefers. */
bool answer_wants(const struct call *call, const char *media_type);
void add_time(cJSON *object, const char *name, int64_t time_us); /* RFC 3339; nothing for 0 */
void add_number(cJSON *object, const char *name, uint64_t number);
/* Text that another service sent; what is not UTF-8 there is left out rather than breaking the document. */
void add_text(cJSON *object, const char *name, const char *text);
void add_optional_text(cJSON *object, const char *name, const char *text); /* nothing for "" */
/* "-----BEGIN CERTIFICATE-----" of each certificate in DER after DER. */
void add_pem(cJSON *object, const char *name, ProtobufCBinaryData der_after_der);
CH_MUST_USE bool pem_of(struct ch_view der_after_der, struct ch_buffer *pem, struct ch_error *err);

/* --- reading (body.c)
 * ------------------------------------------------------------------------------------------------ */

/* The media type of the request's body without parameters, one of the row's types; "" for no body at all. */
CH_MUST_USE bool body_type(const struct call *call, const struct rest_route *route, const char **type,
			   struct ch_error *err);
/* The body as a JSON object with only `known` members (ends with NULL). An empty body is {} where
 * `may_be_empty`. */
CH_MUST_USE bool body_object(const struct call *call, const char *const *known, bool may_be_empty,
			     cJSON **object, struct ch_error *err);
/* The body as a text document (YAML or JSON) for the issuer to read: UTF-8 without zero octets. The caller
 * frees it. */
CH_MUST_USE bool body_document(const struct call *call, char **document, struct ch_error *err);
/* A member of the query as text; "" where it is absent. CH_INVALID over `cap` octets. */
CH_MUST_USE bool query_text(const struct call *call, const char *name, size_t cap, char **text,
			    struct ch_error *err);
CH_MUST_USE bool query_number(const struct call *call, const char *name, uint64_t max, uint64_t *number,
			      struct ch_error *err);
CH_MUST_USE bool query_time(const struct call *call, const char *name, int64_t *time_us,
			    struct ch_error *err);
/* A name as in CA and profile names: [a-z0-9][a-z0-9-]{0,62}. CH_NOT_FOUND otherwise: nothing can be there.
 */
CH_MUST_USE bool path_name(const struct call *call, const char **name, struct ch_error *err);

/* --- resources
 * -------------------------------------------------------------------------------------------------------- */

bool rest_certificate_issue(struct call *call, struct ch_error *err); /* rest_certificates.c */
bool rest_certificate_get(struct call *call, struct ch_error *err);
bool rest_certificate_list(struct call *call, struct ch_error *err);
bool rest_certificate_revoke(struct call *call, struct ch_error *err); /* rest_status.c */
bool rest_certificate_suspend(struct call *call, struct ch_error *err);
bool rest_certificate_reinstate(struct call *call, struct ch_error *err);
cJSON *certificate_json(const Chancery__Certificate *certificate);
bool rest_ca_list(struct call *call, struct ch_error *err); /* rest_cas.c */
bool rest_ca_get(struct call *call, struct ch_error *err);
bool rest_ca_prepare(struct call *call, struct ch_error *err);
bool rest_ca_activate(struct call *call, struct ch_error *err);
bool rest_ca_change_state(struct call *call, struct ch_error *err);
bool rest_key_block(struct call *call, struct ch_error *err); /* rest_keys.c */
bool rest_key_report(struct call *call, struct ch_error *err);
bool rest_action_list(struct call *call, struct ch_error *err); /* rest_actions.c */
bool rest_action_get(struct call *call, struct ch_error *err);
bool rest_action_approve(struct call *call, struct ch_error *err);
cJSON *action_json(const Chancery__Action *action);
bool rest_profile_list(struct call *call, struct ch_error *err); /* rest_profiles.c */
bool rest_profile_apply(struct call *call, struct ch_error *err);
bool rest_crl_generate(struct call *call, struct ch_error *err); /* rest_crls.c */
bool rest_crl_get(struct call *call, struct ch_error *err);
bool rest_audit_list(struct call *call, struct ch_error *err); /* rest_audit.c */
bool rest_quarantine_list(struct call *call, struct ch_error *err);
bool rest_whoami(struct call *call, struct ch_error *err); /* rest_suite.c */
bool rest_suite_status(struct call *call, struct ch_error *err);

#endif
