/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge.c: one event as it came: genuine, false for good, or not to be judged yet. An event that is false
 * stops none of those around it. append.c calls it for each.
 */
#include "audit.h"
#include "text/text.h"
#include "x509/x509.h"

#include <string.h>

void arrival_clear(struct arrival *arrival)
{
	chancery__event__free_unpacked(arrival->event, NULL);
	ch_bytes_free(&arrival->encoded);
}

static struct ch_bytes encode(const Chancery__SignedEvent *signed_event)
{
	struct ch_bytes encoded = { NULL, chancery__signed_event__get_packed_size(signed_event) };

	encoded.data = ch_alloc(encoded.size);
	chancery__signed_event__pack(signed_event, encoded.data);
	return encoded;
}

/* What the sender itself found in its outbox or spool and could not read. */
static bool is_readable(const Chancery__SignedEvent *signed_event, struct arrival *arrival)
{
	if (signed_event->certificate.len || signed_event->signature.len)
		return true;
	ch_bytes_free(&arrival->encoded);
	arrival->encoded = ch_bytes_copy(ch_view(signed_event->event.data, signed_event->event.len));
	return ch_fail(&arrival->why, CH_INVALID, "octets that are no signed audit event");
}

static bool is_genuine(struct audit *audit, const struct ch_peer *sender,
		       const Chancery__SignedEvent *signed_event, struct arrival *arrival)
{
	if (!is_readable(signed_event, arrival))
		return false;
	if (arrival->encoded.size > CH_EVENT_CAP)
		return ch_fail(&arrival->why, CH_TOO_LARGE, "audit event of %zu octets, at most %d",
			       arrival->encoded.size, CH_EVENT_CAP);
	if (!signers_event_open(audit->signers, signed_event, &arrival->event, &arrival->why))
		return false;
	return strcmp(arrival->event->service, sender->service) == 0 ||
	       ch_fail(&arrival->why, CH_DENIED, "audit event of service '%s' brought by '%s'",
		       arrival->event->service, sender->service);
}

static bool may_wait(struct audit *audit, const Chancery__SignedEvent *signed_event)
{
	uint8_t digest[64];
	size_t size;

	return ch_digest("sha256", ch_view(signed_event->certificate.data, signed_event->certificate.len),
			 digest, &size, NULL) &&
	       waiting_may(audit->waiting, digest, ch_clock_now_us(audit->clock));
}

bool judge(struct audit *audit, const struct ch_peer *sender, const Chancery__SignedEvent *signed_event,
	   struct arrival *arrival, struct ch_error *err)
{
	arrival->encoded = encode(signed_event);
	arrival->fate = CHANCERY__EVENT_FATE__EVENT_STORED;
	if (is_genuine(audit, sender, signed_event, arrival))
		return true;
	chancery__event__free_unpacked(arrival->event, NULL);
	arrival->event = NULL;
	ch_text_clean(arrival->why.message);    /* it names what the event says, cut anywhere */
	if (arrival->why.code == CH_INTERNAL) { /* our own fault is no verdict on the event */
		*err = arrival->why;
		return false;
	}
	arrival->fate = arrival->why.retryable && may_wait(audit, signed_event)
				? CHANCERY__EVENT_FATE__EVENT_LATER
				: CHANCERY__EVENT_FATE__EVENT_QUARANTINED;
	return true;
}
