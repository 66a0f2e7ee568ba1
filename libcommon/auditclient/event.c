/* SPDX-License-Identifier: Apache-2.0 */
/* event.c: an event as its sender tells it becomes an encoded and signed one. */
#include "auditclient/internal.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_CAP    1024 /* octets of one member */
#define DETAILS_CAP 32

/* A copy without control characters and cut to TEXT_CAP; what is not ASCII is kept only where all of it is
 * UTF-8. */
static char *clean(const char *text)
{
	char *copy = ch_strndup(text ? text : "", text ? strnlen(text, TEXT_CAP) : 0);
	Chancery__Detail probe = CHANCERY__DETAIL__INIT;
	bool utf8;

	probe.value = copy;
	utf8 = ch_proto_check_text(&probe.base, NULL);
	for (char *at = copy; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f || (!utf8 && (unsigned char)*at >= 0x80))
			*at = '?';
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

static struct ch_bytes encode(const struct ch_identity *identity, const struct ch_clock *clock,
			      const struct ch_audit_event *from, uint64_t sequence)
{
	const struct ch_peer *self = ch_identity_self(identity);
	Chancery__Event *event = CH_PROTO_NEW(Chancery__Event, chancery__event__init);
	struct ch_bytes encoded;

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
	encoded.size = chancery__event__get_packed_size(event);
	encoded.data = ch_alloc(encoded.size);
	chancery__event__pack(event, encoded.data);
	chancery__event__free_unpacked(event, NULL);
	return encoded;
}

bool ch_audit_sign_event(const struct ch_identity *identity, const struct ch_clock *clock,
			 const struct ch_audit_event *event, uint64_t sequence, struct ch_bytes *signed_event,
			 struct ch_error *err)
{
	CH_AUTO(ch_bytes) encoded = encode(identity, clock, event, sequence);
	CH_AUTO(ch_bytes) signature = CH_NONE;
	struct ch_view certificate = ch_identity_certificate_der(identity);
	Chancery__SignedEvent made = CHANCERY__SIGNED_EVENT__INIT;

	if (!event->type || !*event->type)
		return ch_fail(err, CH_INTERNAL, "audit event without a type");
	if (!ch_identity_sign(identity, CH_EVENT_DOMAIN, ch_view_of(&encoded), &signature, err))
		return ch_fail_in(err, "audit event %s", event->type);
	made.event = (ProtobufCBinaryData){ encoded.size, encoded.data };
	made.certificate = (ProtobufCBinaryData){ certificate.size, (uint8_t *)(uintptr_t)certificate.data };
	made.signature = (ProtobufCBinaryData){ signature.size, signature.data };
	signed_event->size = chancery__signed_event__get_packed_size(&made);
	if (signed_event->size > EVENT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "audit event %s of %zu octets, at most %d", event->type,
			       signed_event->size, EVENT_CAP);
	signed_event->data = ch_alloc(signed_event->size);
	chancery__signed_event__pack(&made, signed_event->data);
	return true;
}
