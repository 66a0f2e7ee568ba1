/* SPDX-License-Identifier: Apache-2.0 */
/* bus.c: what may be asked on the bus: make a CRL now, show the newest. peers.c says by whom; generate.c does
 * the work. */
#include "crl.h"

#include <string.h>

#define REPLY_MARGIN CH_SECOND          /* of the caller's deadline, for the way back */
#define DER_CAP      (24 * 1024 * 1024) /* of a reply; a larger CRL is fetched over HTTP */

static struct ch_view view_of(const ProtobufCBinaryData *data)
{
	return ch_view(data->data, data->len);
}

static ProtobufCMessage *reply_of(const char *name, const struct crl_record *record)
{
	Chancery__CrlReply *reply = CH_PROTO_NEW(Chancery__CrlReply, chancery__crl_reply__init);
	Chancery__Crl *crl = CH_PROTO_NEW(Chancery__Crl, chancery__crl__init);
	struct ch_bytes der = CH_NONE;

	if (record->der.size <= DER_CAP)
		der = ch_bytes_copy(ch_view_of(&record->der));
	crl->ca = ch_strdup(name);
	crl->crl_number = record->number;
	crl->this_update_us = record->this_update_us;
	crl->next_update_us = record->next_update_us;
	crl->entries = record->entries;
	crl->der.data = der.data;
	crl->der.len = der.size;
	crl->made_by = ch_strdup(record->made_by);
	reply->crl = crl;
	return &reply->base;
}

static bool has_role(const Chancery__Requester *requester, const char *role)
{
	for (size_t i = 0; requester && i < requester->n_roles; i++)
		if (strcmp(requester->roles[i], role) == 0)
			return true;
	return false;
}

/* As long as the caller waits; a large CRL is signed within that too. */
static int64_t time_left(const struct crl *crl, const struct ch_bus_request *request)
{
	int64_t left = request->body->deadline_us - ch_clock_now_us(crl->clock) - REPLY_MARGIN;

	return left > 0 ? left : 0;
}

/* Who is told of a CRL and then fetches it through the load balancer shall get it, whichever instance
 * answers: all have looked into the database once when this returns. */
static void let_others_follow(struct crl *crl)
{
	ch_daemon_sleep(crl->daemon, crl->config->follow_interval_us * 5 / 4);
}

bool crl_handle_generate(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	struct crl *crl = state;
	const Chancery__GenerateCrlRequest *wanted = (const Chancery__GenerateCrlRequest *)request->payload;
	struct crl_state found = CH_NONE;
	CH_AUTO(crl_record) record = CH_NONE;
	bool made;

	/* The gateway has checked this too; a gateway that forgets it makes no CRLs for requesters. */
	if (!has_role(wanted->requester, "officer"))
		return ch_fail(err, CH_DENIED, "making a CRL takes the role officer");
	if (!crl_store_find(crl->db, request->body->tenant, wanted->ca, &found, err))
		return false;
	struct crl_demand demand = { .actor = wanted->requester->client,
				     .request_id = view_of(&request->body->message_id).data,
				     .message_id = request->message_id,
				     .trace_id = request->body->trace_id,
				     .wait_us = time_left(crl, request) };
	made = crl_generate(crl, &found.ca, &demand, &record, err);
	if (made) {
		let_others_follow(crl);
		*reply = reply_of(found.ca.name, &record);
	} else {
		ch_log(CH_LOG_ERROR, &request->scope, "%s", err->message);
	}
	crl_ca_free(&found.ca);
	crl_record_free(&found.newest);
	return made;
}

bool crl_handle_get(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		    struct ch_error *err)
{
	struct crl *crl = state;
	const Chancery__GetCrlRequest *wanted = (const Chancery__GetCrlRequest *)request->payload;
	struct crl_state found = CH_NONE;
	CH_AUTO(crl_record) record = CH_NONE;
	bool ok = crl_store_find(crl->db, request->body->tenant, wanted->ca, &found, err);

	if (ok && !found.newest.number)
		ok = ch_fail(err, CH_NOT_FOUND, "CA '%s' has no CRL yet", wanted->ca);
	ok = ok && crl_store_read(crl->db, found.ca.ca_id, found.newest.number, &record, err);
	if (ok)
		*reply = reply_of(found.ca.name, &record);
	crl_ca_free(&found.ca);
	crl_record_free(&found.newest);
	return ok;
}

bool crl_bus_start(struct crl *crl, struct ch_identity *identity, struct ch_bus_server **server,
		   struct ch_error *err)
{
	struct ch_bus_server_options options = { .listen = &crl->config->common.bus,
						 .identity = identity,
						 .clock = crl->clock,
						 .routes = crl_routes,
						 .route_count = crl_route_count,
						 .state = crl,
						 .refusal = ch_audit_bus_refusal,
						 .refusal_state = crl->audit,
						 .metrics = crl->metrics };

	return ch_bus_server_start(&options, server, err);
}
