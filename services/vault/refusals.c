/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refusals.c: what the audit log and the log hear of refusals: the first of a kind in a minute at once, the
 * rest summed up, so that whoever asks for what is refused, as fast as it can, fills no disk. Every one is
 * counted in the metrics before (events.c).
 */
#include "vault.h"

#include "log/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define AT_ONCE   10   /* events of a kind in a minute that are told one by one */
#define KINDS_CAP 1024 /* kinds in a minute: who makes names up gets one for all of them */

/* Refusals of one kind since the last summary. */
struct kind {
	char name[256]; /* what it is found by */
	char tenant[64], caller[64], subject[64];
	const char *purpose, *reason;
	char code[24];
	char message[480]; /* of the last one */
	uint64_t seen, untold;
	UT_hash_handle hh;
};

struct vault_refusals {
	struct vault *vault;
	pthread_mutex_t lock;
	struct kind *kinds; /* guarded by lock */
};

struct vault_refusals *vault_refusals_new(struct vault *vault)
{
	struct vault_refusals *refusals = ch_alloc(sizeof(*refusals));

	refusals->vault = vault;
	pthread_mutex_init(&refusals->lock, NULL);
	return refusals;
}

/* --- one refusal --- */

/* The kind that it belongs to, made where it is new. With the lock held. */
static struct kind *find_kind(struct vault_refusals *refusals, const struct vault_refusal *refusal)
{
	bool full = HASH_COUNT(refusals->kinds) >= KINDS_CAP;
	struct kind *kind;
	char name[256];

	snprintf(name, sizeof(name), "%s/%s/%s/%.64s/%s", refusal->purpose, refusal->reason,
		 refusal->request->sender->instance, refusal->subject, refusal->request->body->tenant);
	HASH_FIND_STR(refusals->kinds, name, kind);
	if (!kind && full) {
		snprintf(name, sizeof(name), "others");
		HASH_FIND_STR(refusals->kinds, name, kind);
	}
	if (kind)
		return kind;
	kind = ch_alloc(sizeof(*kind));
	memcpy(kind->name, name, sizeof(name));
	snprintf(kind->tenant, sizeof(kind->tenant), "%s", full ? "" : refusal->request->body->tenant);
	snprintf(kind->caller, sizeof(kind->caller), "%s",
		 full ? "others" : refusal->request->sender->instance);
	snprintf(kind->subject, sizeof(kind->subject), "%s", full ? "others" : refusal->subject);
	kind->purpose = full ? "others" : refusal->purpose;
	kind->reason = full ? "others" : refusal->reason;
	HASH_ADD_STR(refusals->kinds, name, kind);
	return kind;
}

static bool is_told_at_once(struct vault_refusals *refusals, const struct vault_refusal *refusal)
{
	struct kind *kind;
	bool at_once;

	pthread_mutex_lock(&refusals->lock);
	kind = find_kind(refusals, refusal);
	at_once = kind->seen++ < AT_ONCE;
	if (!at_once) {
		kind->untold++;
		snprintf(kind->code, sizeof(kind->code), "%s", ch_code_name(refusal->why->code));
		snprintf(kind->message, sizeof(kind->message), "%s", refusal->why->message);
	}
	pthread_mutex_unlock(&refusals->lock);
	return at_once;
}

void vault_refusals_note(struct vault_refusals *refusals, const struct vault_refusal *refusal)
{
	const struct ch_bus_request *request = refusal->request;
	const struct ch_audit_detail details[] = {
		{ "purpose", refusal->purpose },
		{ "reason", refusal->reason },
		{ "code", ch_code_name(refusal->why->code) },
		{ "message", refusal->why->message },
	};
	const struct ch_audit_event event = { .type = "vault.refused",
					      .outcome = "refused",
					      .tenant = request->body->tenant,
					      .actor = request->sender->instance,
					      .subject = refusal->subject,
					      .message_id = request->message_id,
					      .trace_id = request->body->trace_id,
					      .details = details,
					      .detail_count = CH_COUNT(details) };
	struct ch_error err;

	if (!is_told_at_once(refusals, refusal))
		return;
	ch_log(CH_LOG_WARN, &request->scope, "refused for %s: purpose '%s', '%s': %s",
	       request->sender->instance, refusal->purpose, refusal->subject, refusal->why->message);
	if (!ch_audit_record(refusals->vault->audit, &event, &err))
		ch_log(CH_LOG_ERROR, &request->scope, "the refusal could not be recorded: %s", err.message);
}

/* --- the summary --- */

static void tell_untold(struct vault *vault, const struct kind *kind)
{
	char count[32];
	const struct ch_audit_detail details[] = {
		{ "purpose", kind->purpose }, { "reason", kind->reason }, { "code", kind->code },
		{ "message", kind->message }, { "count", count },
	};
	const struct ch_audit_event event = { .type = "vault.refused",
					      .outcome = "refused",
					      .tenant = kind->tenant,
					      .actor = kind->caller,
					      .subject = kind->subject,
					      .details = details,
					      .detail_count = CH_COUNT(details) };
	struct ch_error err;

	snprintf(count, sizeof(count), "%llu", (unsigned long long)kind->untold);
	ch_log_warn("refused %s more for %s: purpose '%s', '%s', the last: %s", count, kind->caller,
		    kind->purpose, kind->subject, kind->message);
	if (!ch_audit_record(vault->audit, &event, &err))
		ch_log_error("%s refusals could not be recorded: %s", count, err.message);
}

void vault_refusals_flush(struct vault_refusals *refusals)
{
	struct kind *kinds;

	pthread_mutex_lock(&refusals->lock);
	kinds = refusals->kinds;
	refusals->kinds = NULL;
	pthread_mutex_unlock(&refusals->lock);
	while (kinds) {
		struct kind *kind = kinds;

		if (kind->untold)
			tell_untold(refusals->vault, kind);
		HASH_DEL(kinds, kind);
		free(kind);
	}
}

void vault_refusals_free(struct vault_refusals *refusals)
{
	if (!refusals)
		return;
	vault_refusals_flush(refusals);
	pthread_mutex_destroy(&refusals->lock);
	free(refusals);
}
