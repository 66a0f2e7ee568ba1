/* SPDX-License-Identifier: Apache-2.0 */
/* refusal.c: what a bus server refuses, as audit events; a flood is summed up (sender.c tells the sum). */
#include "auditclient/internal.h"

#include <stdio.h>

#define FULL_PER_SECOND 10 /* bus.refused events with their sender */

static bool may_tell_refusal(struct ch_audit_client *client)
{
	int64_t second = ch_monotonic_us() / CH_SECOND;
	bool may;

	pthread_mutex_lock(&client->lock);
	if (client->refusal_second != second) {
		client->refusal_second = second;
		client->refusals = 0;
	}
	may = client->refusals++ < FULL_PER_SECOND;
	client->refusals_unsent += !may;
	pthread_mutex_unlock(&client->lock);
	return may;
}

void ch_audit_bus_refusal(void *state, const struct ch_peer *sender, const struct ch_message *message_or_null,
			  const struct ch_error *why)
{
	/* What was refused is no tenant's: the tenant that it names is a detail. */
	struct ch_audit_client *client = state;
	const Chancery__Body *body = message_or_null ? message_or_null->body : NULL;
	CH_AUTO(ch_string) actor = ch_format("%s%s%s", sender->service[0] ? sender->service : "unknown",
					     sender->service[0] ? "/" : "", sender->instance);
	CH_AUTO(ch_string) message_id = ch_hex(
		body ? ch_view(body->message_id.data, body->message_id.len > 32 ? 32 : body->message_id.len)
		     : ch_view(NULL, 0));
	char type[16];
	const struct ch_audit_detail details[] = { { "reason", ch_code_name(why->code) },
						   { "message", why->message },
						   { "payload_type", type },
						   { "tenant", body ? body->tenant : "" } };
	struct ch_audit_event event = { .type = "bus.refused",
					.outcome = "refused",
					.actor = actor,
					.subject = ch_identity_self(client->options.identity)->service,
					.message_id = message_id,
					.trace_id = body ? body->trace_id : NULL,
					.details = details,
					.detail_count = CH_COUNT(details) };
	struct ch_error err = CH_NONE;

	snprintf(type, sizeof(type), "%d", body ? (int)body->payload_type : 0);
	if (may_tell_refusal(client) && !ch_audit_record(client, &event, &err))
		ch_log_error("%s", err.message);
}
