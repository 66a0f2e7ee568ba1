/* SPDX-License-Identifier: Apache-2.0 */
/* event.c: an event as its sender tells it becomes an encoded and signed one. */
#include "auditclient/internal.h"

#include "text/text.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_CAP    1024 /* octets of one member */
#define DETAILS_CAP 32

static char *clean(const char *text)
{
	char *copy = ch_strndup(text ? text : "", TEXT_CAP);

	ch_text_clean(copy);
	return copy;
}

static void fill_details(Chancery__Event *event, const struct ch_audit_event *from)
{
	event->n_details = from->detail_count < DETAILS_CAP ? from->detail_count : DETAILS_CAP;
	event->details = ch_alloc_pointers(event->n_details);
	for (size_t i = 0; i < event->n_details; i++) {
		event->details[i] = CH_PROTO_NEW(Chancery__Detail, chancery__detail__init);
		event->details[i]->name = clean(from->details[i].name);
		event->details[i]->value = clean(from->details[i].value);
	}
}

static bool fill_content(Chancery__Event *event, struct ch_view content, struct ch_error *err)
{
	struct ch_bytes packed;

	if (!content.data)
		return true;
	if (!ch_audit_content_pack(content, &packed, err))
		return false;
	event->content = (ProtobufCBinaryData){ packed.size, packed.data };
	return true;
}

static bool encode(const struct ch_identity *identity, const struct ch_clock *clock,
		   const struct ch_audit_event *from, uint64_t sequence, struct ch_bytes *encoded,
		   struct ch_error *err)
{
	const struct ch_peer *self = ch_identity_self(identity);
	Chancery__Event *event = CH_PROTO_NEW(Chancery__Event, chancery__event__init);
	bool filled;

	event->event_id = (ProtobufCBinaryData){ 16, ch_alloc(16) };
	ch_random(event->event_id.data, 16);
	event->service = clean(self->service);
	event->instance = clean(self->instance);
	event->sequence = sequence;
	event->time_us = ch_clock_now_us(clock);
	event->tenant = clean(from->tenant);
	event->type = clean(from->type);
	event->outcome = clean(from->outcome);
	event->actor = clean(from->actor);
	event->subject = clean(from->subject);
	event->message_id = clean(from->message_id);
	event->trace_id = clean(from->trace_id);
	fill_details(event, from);
	filled = fill_content(event, from->content, err);
	if (filled) {
		encoded->size = chancery__event__get_packed_size(event);
		encoded->data = ch_alloc(encoded->size);
		chancery__event__pack(event, encoded->data);
	}
	chancery__event__free_unpacked(event, NULL);
	return filled;
}

bool ch_audit_sign_event(struct ch_identity *identity, const struct ch_clock *clock,
			 const struct ch_audit_event *event, uint64_t sequence, struct ch_bytes *signed_event,
			 struct ch_error *err)
{
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	CH_AUTO(ch_bytes) signature = CH_NONE, certificate = CH_NONE;
	Chancery__SignedEvent made = CHANCERY__SIGNED_EVENT__INIT;

	if (!event->type || !*event->type)
		return ch_fail(err, CH_INTERNAL, "audit event without a type");
	if (!encode(identity, clock, event, sequence, &encoded, err))
		return ch_fail_in(err, "audit event %s", event->type);
	if (!ch_identity_sign(identity, CH_EVENT_DOMAIN, ch_view_of(&encoded), &signature, &certificate, err))
		return ch_fail_in(err, "audit event %s", event->type);
	made.event = (ProtobufCBinaryData){ encoded.size, encoded.data };
	made.certificate = (ProtobufCBinaryData){ certificate.size, certificate.data };
	made.signature = (ProtobufCBinaryData){ signature.size, signature.data };
	signed_event->size = chancery__signed_event__get_packed_size(&made);
	if (signed_event->size > CH_EVENT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "audit event %s of %zu octets, at most %d", event->type,
			       signed_event->size, CH_EVENT_CAP);
	signed_event->data = ch_alloc(signed_event->size);
	chancery__signed_event__pack(&made, signed_event->data);
	return true;
}
