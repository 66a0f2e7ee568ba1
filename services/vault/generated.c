/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generated.c: key.generated is recorded after the key's row is there, so that no event tells of a key that
 * does not exist. The row says that the event is owed until it is durable: a vault that ends in between
 * leaves it to whoever asks for the same key again, or to the next look of any vault. generate.c and the
 * summary's thread (events.c) call it.
 */
#include "vault.h"

#include "log/log.h"

#define FORGOTTEN_US CH_MINUTE /* longer than any vault needs between the two */

static bool record(struct vault *vault, const struct ch_bus_request *request, const struct vault_key *key,
		   struct ch_error *err)
{
	CH_AUTO(ch_buffer) residency = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	struct ch_audit_event event = { .type = "key.generated",
					.outcome = "success",
					.tenant = key->tenant,
					.actor = request ? request->sender->instance
							 : vault->config->common.instance,
					.subject = key->key_id };

	for (size_t i = 0; i < key->residency_count; i++)
		ch_buffer_printf(&residency, "%s%s", i ? " " : "", key->residency[i]);
	text = ch_buffer_steal_text(&residency);
	const struct ch_audit_detail details[] = {
		{ "algorithm", key->algorithm->name },
		{ "label", key->label },
		{ "residency", text },
	};
	if (request) {
		event.message_id = request->message_id;
		event.trace_id = request->body->trace_id;
	}
	event.details = details;
	event.detail_count = CH_COUNT(details);
	return ch_audit_record(vault->audit, &event, err);
}

bool vault_tell_generated(struct vault *vault, const struct ch_bus_request *request,
			  const struct vault_key *key, struct ch_error *err)
{
	bool untold;

	if (!store_is_untold(vault->db, key->key_id, &untold, err))
		return false;
	return !untold || (record(vault, request, key, err) && store_set_told(vault->db, key->key_id, err));
}

static void tell_forgotten(void *context, const struct vault_key *key)
{
	struct vault *vault = context;
	struct ch_error err;

	if (vault_tell_generated(vault, NULL, key, &err))
		ch_log_warn("key '%s' was made by a vault that ended before it recorded so: recorded now",
			    key->key_id);
	else
		ch_log_warn("key.generated of key '%s' is still owed: %s", key->key_id, err.message);
}

void vault_tell_forgotten(struct vault *vault)
{
	int64_t before_us = ch_clock_now_us(vault->clock) - FORGOTTEN_US;
	struct ch_error err;

	if (!store_list_untold(vault->db, before_us, tell_forgotten, vault, &err))
		ch_log_warn("keys whose event is owed cannot be looked for: %s", err.message);
}
