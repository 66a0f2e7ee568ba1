/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope.c: a body becomes a signed envelope, and an envelope from outside becomes a checked message. The
 * order of the checks is that of their cost, and nothing is believed before the signature.
 */
#include "envelope/internal.h"
#include "envelope/peer_clocks.h"
#include "unpack/unpack.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_CAP 128 /* octets of a tenant or trace id */

static void free_envelope(Chancery__Envelope *envelope)
{
	chancery__envelope__free_unpacked(envelope, NULL);
}
CH_DEFINE_AUTO_POINTER(envelope_message, Chancery__Envelope, free_envelope)

static struct ch_view view_of(ProtobufCBinaryData data)
{
	return ch_view(data.data, data.len);
}

/* --- sealing ----------------------------------------------------------------------------------------------
 */

bool ch_envelope_seal(struct ch_identity *identity, const struct ch_clock *clock, Chancery__Body *body,
		      struct ch_bytes *envelope, uint8_t digest[32], struct ch_error *err)
{
	Chancery__Envelope sealed = CHANCERY__ENVELOPE__INIT;
	CH_AUTO(ch_bytes) encoded = CH_NONE, signature = CH_NONE, certificate = CH_NONE, out = CH_NONE;
	uint8_t nonce[CH_ENVELOPE_ID_SIZE];

	ch_random(nonce, sizeof(nonce));
	body->nonce = (ProtobufCBinaryData){ sizeof(nonce), nonce };
	body->sent_at_us = ch_clock_now_us(clock);
	encoded.size = chancery__body__get_packed_size(body);
	encoded.data = ch_alloc(encoded.size);
	chancery__body__pack(body, encoded.data);
	body->nonce = (ProtobufCBinaryData){ 0, NULL };

	if (!ch_identity_sign(identity, CH_ENVELOPE_DOMAIN, ch_view_of(&encoded), &signature, &certificate,
			      err) ||
	    (digest && !ch_envelope_digest(NULL, ch_view_of(&encoded), digest, err)))
		return false;
	sealed.body = (ProtobufCBinaryData){ encoded.size, encoded.data };
	sealed.certificate = (ProtobufCBinaryData){ certificate.size, certificate.data };
	sealed.signature = (ProtobufCBinaryData){ signature.size, signature.data };
	out.size = chancery__envelope__get_packed_size(&sealed);
	if (out.size > CH_ENVELOPE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "message of %zu octets, at most %d are sent", out.size,
			       CH_ENVELOPE_CAP);
	out.data = ch_alloc(out.size);
	chancery__envelope__pack(&sealed, out.data);
	*envelope = CH_STEAL(out);
	return true;
}

/* --- opening ----------------------------------------------------------------------------------------------
 */

void ch_message_free(struct ch_message *message)
{
	if (!message)
		return;
	if (message->body)
		chancery__body__free_unpacked(message->body, NULL);
	message->body = NULL;
}

static bool check_shape(const Chancery__Body *body, bool is_reply, struct ch_error *err)
{
	if (body->message_id.len != CH_ENVELOPE_ID_SIZE && !(is_reply && body->message_id.len == 0))
		return ch_fail(err, CH_INVALID, "message_id has %zu octets, needs %d", body->message_id.len,
			       CH_ENVELOPE_ID_SIZE);
	if (body->nonce.len != CH_ENVELOPE_ID_SIZE)
		return ch_fail(err, CH_INVALID, "nonce has %zu octets, needs %d", body->nonce.len,
			       CH_ENVELOPE_ID_SIZE);
	if (body->request_digest.len != (is_reply ? 32U : 0U))
		return ch_fail(err, CH_INVALID, "request_digest has %zu octets: a %s has %u",
			       body->request_digest.len, is_reply ? "reply" : "request", is_reply ? 32U : 0U);
	if (!is_reply && body->deadline_us <= 0)
		return ch_fail(err, CH_INVALID, "request has no deadline");
	if (strlen(body->tenant) > TEXT_CAP || strlen(body->trace_id) > TEXT_CAP)
		return ch_fail(err, CH_INVALID, "tenant or trace_id is over %d octets", TEXT_CAP);
	return ch_proto_check_text(&body->base, err);
}

static bool check_window(const Chancery__Body *body, int64_t now, struct ch_error *err)
{
	int64_t age;
	bool overflow = __builtin_sub_overflow(now, body->sent_at_us, &age);

	if (!overflow && age <= CH_ENVELOPE_WINDOW && age >= -CH_ENVELOPE_WINDOW)
		return true;
	ch_fail(err, CH_EXPIRED,
		"message was sent at %lld ms from this instance's clock, %lld ms are allowed",
		overflow ? 0 : (long long)(-age / 1000), (long long)(CH_ENVELOPE_WINDOW / 1000));
	if (err)
		err->retryable = false; /* another nonce does not help */
	return false;
}

/* The sender wrote it by a clock that may be some seconds from this one: then it is moved, so that neither
 * this check nor a handler takes the difference for time that has passed. */
static bool check_deadline(Chancery__Body *body, int64_t offset_us, int64_t now, struct ch_error *err)
{
	if (llabs(offset_us) > CH_SECOND &&
	    __builtin_sub_overflow(body->deadline_us, offset_us, &body->deadline_us))
		body->deadline_us = 1;
	if (body->deadline_us > now)
		return true;
	ch_fail(err, CH_EXPIRED, "message's deadline passed %lld ms ago",
		(long long)((now - body->deadline_us) / 1000));
	if (err)
		err->retryable = false;
	return false;
}

static bool check_body(struct ch_identity *identity, const struct ch_clock *clock, struct ch_replay *replay,
		       const struct ch_message *message, struct ch_error *err)
{
	const char *self = ch_identity_self(identity)->service;
	Chancery__Body *body = message->body;
	int64_t now;

	if (!check_shape(body, !replay, err))
		return false;
	/* A reply to a sender that was not recognised names nobody; its request_digest binds it. */
	if (strcmp(body->to_service, self) != 0 && (replay || body->to_service[0]))
		return ch_fail(err, CH_DENIED, "message is addressed to service '%.32s', this is '%s'",
			       body->to_service, self);
	now = ch_clock_now_us(clock);
	if (!check_window(body, now, err))
		return false;
	if (!replay)
		return true;
	if (!ch_replay_check(replay, body->nonce.data, body->sent_at_us, err))
		return false;
	ch_peer_clocks_note(ch_identity_peer_clocks(identity), &message->sender, body->sent_at_us, now);
	return check_deadline(body,
			      ch_peer_clocks_offset(ch_identity_peer_clocks(identity), &message->sender, now),
			      now, err);
}

bool ch_envelope_open(struct ch_identity *identity, const struct ch_clock *clock, struct ch_replay *replay,
		      struct ch_view envelope, struct ch_message *message, struct ch_error *err)
{
	CH_AUTO(envelope_message) sealed = NULL;

	*message = (struct ch_message)CH_NONE;
	if (envelope.size > CH_ENVELOPE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "message of %zu octets, at most %d are taken",
			       envelope.size, CH_ENVELOPE_CAP);
	sealed = (Chancery__Envelope *)ch_unpack(&chancery__envelope__descriptor, envelope);
	if (!sealed)
		return ch_fail(err, CH_INVALID, "message of %zu octets is not an envelope", envelope.size);
	if (!ch_envelope_digest(NULL, view_of(sealed->body), message->digest, err) ||
	    !ch_identity_verify(identity, CH_ENVELOPE_DOMAIN, view_of(sealed->certificate),
				view_of(sealed->body), view_of(sealed->signature), ch_clock_now_us(clock),
				&message->sender, err))
		return false;
	message->body = (Chancery__Body *)ch_unpack(&chancery__body__descriptor, view_of(sealed->body));
	if (!message->body)
		return ch_fail(err, CH_INVALID, "body of %zu octets does not decode", sealed->body.len);
	return check_body(identity, clock, replay, message, err);
}
