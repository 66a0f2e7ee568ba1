/* SPDX-License-Identifier: Apache-2.0 */
/* rest_suite.c: /v1/whoami and /v1/status: who the client is to us, and which peers answer a Ping. Called by
 * rest_dispatch. */
#include "gateway.h"

#include "clock/clock.h"

#include <string.h>

static const struct exchange ping_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING,
					       CHANCERY__PAYLOAD_TYPE__PAYLOAD_PONG,
					       &chancery__pong__descriptor, CH_SECOND };

static const struct exchange cas_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CAS,
					      CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_CAS_REPLY,
					      &chancery__list_cas_reply__descriptor, CH_SECOND };

bool rest_whoami(struct call *call, struct ch_error *err)
{
	cJSON *tree = cJSON_CreateObject();
	cJSON *roles;

	(void)err;
	add_text(tree, "name", call->client.name);
	add_text(tree, "tenant", call->client.tenant);
	roles = cJSON_AddArrayToObject(tree, "roles");
	for (size_t i = 0; i < call->requester.n_roles; i++)
		cJSON_AddItemToArray(roles, cJSON_CreateString(call->roles[i]));
	add_text(tree, "address", call->requester.address);
	answer_json(call, 200, tree);
	return true;
}

/* One replica of each service is asked: the one that the bus chose. */
static cJSON *ping(const struct call *call, const char *service, struct ch_bus_client *peer, bool *all_up)
{
	Chancery__Ping request = CHANCERY__PING__INIT;
	CH_AUTO(ch_proto) message = NULL;
	cJSON *tree = cJSON_CreateObject();
	int64_t began = ch_monotonic_us();
	struct ch_error err;
	bool up = call_peer(call, peer, &ping_exchange, &request.base, &message, &err);

	cJSON_AddStringToObject(tree, "service", service);
	cJSON_AddBoolToObject(tree, "up", up);
	*all_up = *all_up && up;
	if (!up) {
		add_text(tree, "error", err.message);
		return tree;
	}
	add_text(tree, "instance", ((const Chancery__Pong *)message)->instance);
	add_text(tree, "version", ((const Chancery__Pong *)message)->version);
	cJSON_AddNumberToObject(tree, "milliseconds", (double)(ch_monotonic_us() - began) / 1000);
	return tree;
}

/* The tenant's CAs that issue nothing, and why; none where the issuer does not answer, which its ping tells.
 */
static cJSON *cas_that_do_not_issue(const struct call *call)
{
	Chancery__ListCasRequest request = CHANCERY__LIST_CAS_REQUEST__INIT;
	CH_AUTO(ch_proto) message = NULL;
	cJSON *list = cJSON_CreateArray();
	const Chancery__ListCasReply *reply;
	struct ch_error err;

	request.without_counts = true;
	if (!call_peer(call, call->gateway->issuer, &cas_exchange, &request.base, &message, &err))
		return list;
	reply = (const Chancery__ListCasReply *)message;
	for (size_t i = 0; i < reply->n_cas; i++) {
		const Chancery__Ca *ca = reply->cas[i];
		cJSON *item;

		if (strcmp(ca->state, "active") == 0 || strcmp(ca->state, "pending") == 0)
			continue;
		item = cJSON_CreateObject();
		add_text(item, "name", ca->name);
		add_text(item, "state", ca->state);
		add_text(item, "why", ca->why);
		cJSON_AddItemToArray(list, item);
	}
	return list;
}

bool rest_suite_status(struct call *call, struct ch_error *err)
{
	struct gateway *gateway = call->gateway;
	cJSON *tree = cJSON_CreateObject();
	cJSON *services = cJSON_CreateArray();
	bool all_up = true;

	(void)err;
	cJSON_AddItemToArray(services, ping(call, "issuer", gateway->issuer, &all_up));
	cJSON_AddItemToArray(services, ping(call, "crl", gateway->crl, &all_up));
	cJSON_AddItemToArray(services, ping(call, "vault", gateway->vault, &all_up));
	cJSON_AddItemToArray(services, ping(call, "audit", gateway->audit_bus, &all_up));
	cJSON_AddStringToObject(tree, "status", all_up ? "ok" : "degraded");
	cJSON_AddStringToObject(tree, "gateway", gateway->config->common.instance);
	cJSON_AddStringToObject(tree, "version", CHANCERY_VERSION);
	cJSON_AddItemToObject(tree, "services", services);
	cJSON_AddItemToObject(tree, "cas_not_issuing", cas_that_do_not_issue(call));
	answer_json(call, 200, tree);
	return true;
}
