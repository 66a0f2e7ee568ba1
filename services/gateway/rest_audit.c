/* SPDX-License-Identifier: Apache-2.0 */
/* rest_audit.c: /v1/audit/events: the log as the audit daemon numbered it, and /v1/audit/quarantine: what is
 * not genuine and therefore not in it. Called by rest_dispatch. */
#include "gateway.h"
#include "text.h"

#include <string.h>

static const struct exchange list_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_EVENTS,
					       CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_EVENTS_REPLY,
					       &chancery__list_events_reply__descriptor, 10 * CH_SECOND };
static const struct exchange quarantine_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_QUARANTINE,
						     CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_QUARANTINE_REPLY,
						     &chancery__list_quarantine_reply__descriptor,
						     10 * CH_SECOND };

/* What cannot be unpacked is left out: it is the sender's, and the rest of the event tells whose. */
static void add_content(cJSON *tree, const Chancery__Event *event)
{
	CH_AUTO(ch_bytes) octets = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	struct ch_error why;

	if (!event->content.len ||
	    !ch_audit_content_unpack(ch_view(event->content.data, event->content.len), &octets, &why))
		return;
	text = text_to_base64(ch_view_of(&octets));
	cJSON_AddStringToObject(tree, "content", text);
}

static void add_event(cJSON *tree, const Chancery__Event *event)
{
	CH_AUTO(ch_string) id = ch_hex(ch_view(event->event_id.data, event->event_id.len));
	cJSON *details;

	cJSON_AddStringToObject(tree, "event_id", id);
	add_text(tree, "service", event->service);
	add_text(tree, "instance", event->instance);
	add_number(tree, "sequence", event->sequence);
	add_time(tree, "time", event->time_us);
	add_text(tree, "type", event->type);
	add_text(tree, "outcome", event->outcome);
	add_optional_text(tree, "tenant", event->tenant);
	add_optional_text(tree, "actor", event->actor);
	add_optional_text(tree, "subject", event->subject);
	add_optional_text(tree, "message_id", event->message_id);
	add_optional_text(tree, "trace_id", event->trace_id);
	details = cJSON_AddObjectToObject(tree, "details");
	for (size_t i = 0; i < event->n_details; i++)
		add_text(details, event->details[i]->name, event->details[i]->value);
	add_content(tree, event);
}

static cJSON *event_json(const Chancery__LoggedEvent *logged)
{
	cJSON *tree = cJSON_CreateObject();
	CH_AUTO(ch_string) hash = ch_hex(ch_view(logged->hash.data, logged->hash.len));

	add_number(tree, "log_sequence", logged->log_sequence);
	cJSON_AddStringToObject(tree, "hash", hash);
	if (logged->event)
		add_event(tree, logged->event);
	return tree;
}

static bool read_flag(const struct call *call, const char *name, protobuf_c_boolean *flag,
		      struct ch_error *err)
{
	const char *value = ch_http_query(call->request, name);

	*flag = value && strcmp(value, "true") == 0;
	return !value || *flag || strcmp(value, "false") == 0 ||
	       ch_fail(err, CH_INVALID, "query member '%s': '%.16s' is not true or false", name, value);
}

bool rest_audit_list(struct call *call, struct ch_error *err)
{
	Chancery__ListEventsRequest request = CHANCERY__LIST_EVENTS_REQUEST__INIT;
	const Chancery__ListEventsReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	uint64_t limit;
	cJSON *tree;
	cJSON *list;

	if (!query_number(call, "after", INT64_MAX, &request.after_sequence, err) ||
	    !query_number(call, "limit", 1000, &limit, err) ||
	    !query_text(call, "type", 64, &request.type, err) ||
	    !query_text(call, "actor", 128, &request.actor, err) ||
	    !query_text(call, "subject", 256, &request.subject, err) ||
	    !query_time(call, "since", &request.since_us, err) ||
	    !read_flag(call, "newest_first", &request.newest_first, err) ||
	    !read_flag(call, "with_content", &request.with_content, err))
		return false;
	request.limit = (uint32_t)limit;
	/* Of all tenants, and what is of none: daemons' starts, alerts, refusals. */
	call->whole_suite = call->client.roles & CH_ROLE_AUDITOR;
	if (!call_peer(call, call->gateway->audit_bus, &list_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ListEventsReply *)message;
	tree = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(tree, "events");
	for (size_t i = 0; i < reply->n_events; i++)
		cJSON_AddItemToArray(list, event_json(reply->events[i]));
	if (reply->next_after_sequence)
		add_number(tree, "next_after", reply->next_after_sequence);
	answer_json(call, 200, tree);
	return true;
}

/* --- quarantine --- */

static cJSON *quarantined_json(const Chancery__QuarantinedEvent *event)
{
	cJSON *tree = cJSON_CreateObject();
	CH_AUTO(ch_string) octets = text_to_base64(ch_view(event->octets.data, event->octets.len));

	add_number(tree, "id", event->id);
	add_time(tree, "received", event->received_us);
	add_text(tree, "received_by", event->received_by);
	add_text(tree, "service", event->service);
	add_text(tree, "instance", event->instance);
	add_text(tree, "code", event->code);
	add_text(tree, "reason", event->reason);
	cJSON_AddStringToObject(tree, "octets", octets);
	if (event->claimed)
		add_event(cJSON_AddObjectToObject(tree, "claimed"), event->claimed);
	return tree;
}

bool rest_quarantine_list(struct call *call, struct ch_error *err)
{
	Chancery__ListQuarantineRequest request = CHANCERY__LIST_QUARANTINE_REQUEST__INIT;
	const Chancery__ListQuarantineReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	uint64_t limit;
	cJSON *tree;
	cJSON *list;

	if (!query_number(call, "after", INT64_MAX, &request.after_id, err) ||
	    !query_number(call, "limit", 100, &limit, err))
		return false;
	request.limit = (uint32_t)limit;
	call->whole_suite = true; /* the route is auditors' alone */
	if (!call_peer(call, call->gateway->audit_bus, &quarantine_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ListQuarantineReply *)message;
	tree = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(tree, "events");
	for (size_t i = 0; i < reply->n_events; i++)
		cJSON_AddItemToArray(list, quarantined_json(reply->events[i]));
	if (reply->next_after_id)
		add_number(tree, "next_after", reply->next_after_id);
	answer_json(call, 200, tree);
	return true;
}
