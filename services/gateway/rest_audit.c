/* SPDX-License-Identifier: Apache-2.0 */
/* rest_audit.c: /v1/audit/events: the log as the audit daemon numbered it. Called by rest_dispatch. */
#include "gateway.h"

#include <string.h>

static const struct exchange list_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_EVENTS,
					       CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_EVENTS_REPLY,
					       &chancery__list_events_reply__descriptor, 10 * CH_SECOND };

static cJSON *event_json(const Chancery__LoggedEvent *logged)
{
	const Chancery__Event *event = logged->event;
	cJSON *tree = cJSON_CreateObject();
	cJSON *details;

	add_number(tree, "log_sequence", logged->log_sequence);
	CH_AUTO(ch_string) hash = ch_hex(ch_view(logged->hash.data, logged->hash.len));
	cJSON_AddStringToObject(tree, "hash", hash);
	if (!event)
		return tree;
	CH_AUTO(ch_string) id = ch_hex(ch_view(event->event_id.data, event->event_id.len));
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
	    !read_flag(call, "newest_first", &request.newest_first, err))
		return false;
	request.limit = (uint32_t)limit;
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
