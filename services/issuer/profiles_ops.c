/* SPDX-License-Identifier: Apache-2.0 */
/* profiles_ops.c: applies and lists certificate profiles. Applying a changed document makes a new version;
 * certificates keep the version that they were issued under. */
#include "issuer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Chancery__Profile *profile_message(const struct profile_row *row)
{
	Chancery__Profile *message = CH_PROTO_NEW(Chancery__Profile, chancery__profile__init);

	message->name = ch_strdup(row->name);
	message->version = (uint32_t)row->version;
	message->kind = ch_strdup(row->kind);
	message->document = ch_strdup(row->document);
	message->applied_at_us = row->applied_at_us;
	return message;
}

static bool seal_applied(struct issuer *issuer, const struct ch_bus_request *request, const char *tenant,
			 const struct profile_row *row, struct ch_bytes *sealed, struct ch_error *err)
{
	const Chancery__ApplyProfileRequest *payload =
		(const Chancery__ApplyProfileRequest *)request->payload;
	CH_AUTO(ch_string) digest_text = NULL;
	uint8_t digest[64];
	char version[16];
	size_t size;

	if (!ch_digest("sha256", ch_view_text(row->document), digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	snprintf(version, sizeof(version), "%d", row->version);
	return event_seal(
		issuer,
		&(struct event){ .type = "profile.applied",
				 .outcome = "success",
				 .tenant = tenant,
				 .actor = payload->requester->client,
				 .subject = row->name,
				 .message_id = request->message_id,
				 .trace_id = request->body->trace_id,
				 .details = { { "version", version }, { "document_sha256", digest_text } } },
		sealed, err);
}

/* *changed false: the newest version has this very document. */
static bool apply(struct issuer *issuer, const struct ch_bus_request *request, const char *tenant,
		  const char *name, const char *kind, struct profile_row *row, bool *changed,
		  struct ch_error *err)
{
	const Chancery__ApplyProfileRequest *payload =
		(const Chancery__ApplyProfileRequest *)request->payload;
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	int32_t version = 0;

	if (!ch_db_begin(issuer->db, tenant, &transaction, err))
		return false;
	if (store_load_profile(transaction, tenant, name, 0, row, err))
		version = row->version;
	else if (err->code != CH_NOT_FOUND)
		return false;
	*changed = version == 0 || strcmp(row->document, payload->document) != 0;
	if (!*changed)
		return true;
	profile_row_free(row);
	row->name = ch_strdup(name);
	row->kind = ch_strdup(kind);
	row->version = version + 1;
	row->document = ch_strdup(payload->document);
	row->applied_at_us = ch_clock_now_us(issuer->clock);
	return seal_applied(issuer, request, tenant, row, &sealed, err) &&
	       store_apply_profile(transaction, tenant, row, payload->requester->client, ch_view_of(&sealed),
				   err) &&
	       ch_db_commit(&transaction, err);
}

bool issuer_apply_profile(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err)
{
	struct issuer *issuer = state;
	const Chancery__ApplyProfileRequest *payload =
		(const Chancery__ApplyProfileRequest *)request->payload;
	CH_AUTO(ch_profile) profile = CH_NONE;
	CH_AUTO(profile_row) row = CH_NONE;
	Chancery__ProfileReply *message;
	const char *tenant;
	bool changed = false;

	if (!request_tenant(request, &tenant, err) || !require_role(payload->requester, "officer", err) ||
	    !ch_profile_read(ch_view_text(payload->document), &profile, err))
		return false;
	if (*payload->name && strcmp(payload->name, profile.name) != 0)
		return ch_fail(err, CH_INVALID, "the document's profile is named '%s', not '%.80s'",
			       profile.name, payload->name);
	if (!apply(issuer, request, tenant, profile.name, profile.kind_name, &row, &changed, err))
		return false;
	if (changed)
		upkeep_want(issuer);
	message = CH_PROTO_NEW(Chancery__ProfileReply, chancery__profile_reply__init);
	message->profile = profile_message(&row);
	message->changed = changed;
	*reply = &message->base;
	return true;
}

bool issuer_list_profiles(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			  struct ch_error *err)
{
	struct issuer *issuer = state;
	CH_AUTO(ch_transaction) transaction = NULL;
	Chancery__ListProfilesReply *message;
	struct profile_row *rows = NULL;
	const char *tenant;
	size_t found = 0;

	if (!request_tenant(request, &tenant, err) || !ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_list_profiles(transaction, tenant, &rows, &found, err))
		return false;
	message = CH_PROTO_NEW(Chancery__ListProfilesReply, chancery__list_profiles_reply__init);
	message->profiles = ch_alloc_pointers(found);
	for (size_t i = 0; i < found; i++) {
		message->profiles[message->n_profiles++] = profile_message(&rows[i]);
		profile_row_free(&rows[i]);
	}
	free(rows);
	*reply = &message->base;
	return true;
}
