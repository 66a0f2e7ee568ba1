/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender.c: the thread that sends what is spooled until it is acknowledged, mends what it cannot read and
 * tells of it, and finds out when a full disk has room again. Started by client.c.
 */
#include "auditclient/internal.h"
#include "unpack/unpack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEND_TIMEOUT  (3 * CH_SECOND)
#define FIRST_PAUSE   (50 * CH_MILLISECOND)
#define LONGEST_PAUSE (2 * CH_SECOND)

static bool deliver(struct ch_audit_client *client, const Chancery__AppendEventsRequest *request,
		    Chancery__AppendEventsReply **reply, struct ch_error *err)
{
	struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPEND_EVENTS,
				    .request = &request->base,
				    .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPEND_EVENTS_REPLY,
				    .reply_descriptor = &chancery__append_events_reply__descriptor,
				    .timeout_us = SEND_TIMEOUT };
	CH_AUTO(ch_proto) message = NULL;

	if (client->options.deliver)
		return client->options.deliver(client->options.deliver_state, request, reply, err);
	if (!ch_bus_call(client->options.bus, &call, &message, err))
		return false;
	*reply = (Chancery__AppendEventsReply *)CH_STEAL(message);
	return true;
}

/* Encoded again, it is what it was: the log keeps the octets that the sender has. */
static bool is_canonical(const Chancery__SignedEvent *decoded, struct ch_view event)
{
	CH_AUTO(ch_bytes) again = { NULL, chancery__signed_event__get_packed_size(decoded) };

	again.data = ch_alloc(again.size);
	chancery__signed_event__pack(decoded, again.data);
	return ch_view_equal(ch_view_of(&again), event);
}

/* What is no signed event goes as it is, for the collector's quarantine: nobody else would ever take it. */
static Chancery__SignedEvent *decode(struct ch_view event)
{
	Chancery__SignedEvent *decoded = NULL;
	struct ch_bytes octets;

	if (event.size <= CH_EVENT_CAP)
		decoded = (Chancery__SignedEvent *)ch_unpack(&chancery__signed_event__descriptor, event);
	if (decoded && is_canonical(decoded, event))
		return decoded;
	chancery__signed_event__free_unpacked(decoded, NULL);
	ch_log_error("ALERT: %zu octets that wait for the audit service are no signed event%s", event.size,
		     event.size > CH_EVENT_CAP ? ": only its beginning is sent" : "");
	octets = ch_bytes_copy(ch_view(event.data, event.size < CH_EVENT_CAP ? event.size : CH_EVENT_CAP));
	decoded = CH_PROTO_NEW(Chancery__SignedEvent, chancery__signed_event__init);
	decoded->event = (ProtobufCBinaryData){ octets.size, octets.data };
	return decoded;
}

/* A collector of an older version gives no answers: it has stored all. *err: the first that is not done. */
static bool read_answers(struct ch_audit_client *client, const Chancery__AppendEventsReply *reply,
			 size_t count, bool *done, struct ch_error *err)
{
	size_t stored = 0, quarantined = 0, waiting = 0;

	if (reply && reply->n_answers && reply->n_answers != count)
		return ch_fail(err, CH_UNAVAILABLE, "audit service gave %zu answers for %zu events",
			       reply->n_answers, count);
	for (size_t i = 0; i < count; i++) {
		const Chancery__EventAnswer *answer = reply && reply->n_answers ? reply->answers[i] : NULL;
		Chancery__EventFate fate = answer ? answer->fate : CHANCERY__EVENT_FATE__EVENT_STORED;

		done[i] = fate == CHANCERY__EVENT_FATE__EVENT_STORED ||
			  fate == CHANCERY__EVENT_FATE__EVENT_QUARANTINED;
		stored += fate == CHANCERY__EVENT_FATE__EVENT_STORED;
		if (done[i] && answer && fate == CHANCERY__EVENT_FATE__EVENT_QUARANTINED && !quarantined++)
			ch_log_error("ALERT: the audit service does not take an event for genuine, and keeps "
				     "it in quarantine: %s",
				     answer->reason);
		if (!done[i] && !waiting++)
			ch_fail(err, CH_UNAVAILABLE, "audit service takes an event later: %.400s",
				answer->reason);
	}
	if (client->sent)
		ch_metric_add(client->sent, stored);
	if (client->quarantined)
		ch_metric_add(client->quarantined, quarantined);
	return true;
}

bool ch_audit_deliver(struct ch_audit_client *client, const struct ch_view *events, size_t count, bool *done,
		      struct ch_error *err)
{
	Chancery__AppendEventsRequest request = CHANCERY__APPEND_EVENTS_REQUEST__INIT;
	Chancery__SignedEvent *decoded[EVENTS_PER_REQUEST];
	Chancery__AppendEventsReply *reply = NULL;
	bool sent;

	request.reads_answers = true;
	request.events = decoded;
	request.n_events = count;
	for (size_t i = 0; i < count; i++)
		decoded[i] = decode(events[i]);
	sent = deliver(client, &request, &reply, err) && read_answers(client, reply, count, done, err);
	for (size_t i = 0; i < count; i++)
		chancery__signed_event__free_unpacked(decoded[i], NULL);
	ch_proto_free(reply ? &reply->base : NULL);
	return sent;
}

/* Sends the next records of a segment; *sent_size receives how many octets of it need not be sent again: up
 * to the first that is to be. Of a failure: 0 where there is no record to read. */
static bool send_some(struct ch_audit_client *client, const struct ch_segment *segment, int64_t offset,
		      int64_t *sent_size, struct ch_error *err)
{
	CH_AUTO(ch_bytes) frames = CH_NONE;
	struct ch_view rest, events[EVENTS_PER_REQUEST];
	bool done[EVENTS_PER_REQUEST];
	size_t count = 0, passed = 0;

	if (!ch_spool_read(&client->spool, segment->first, offset, segment->size, SEND_SIZE, &frames, err))
		return false;
	rest = ch_view_of(&frames);
	while (count < EVENTS_PER_REQUEST && ch_spool_next_record(&rest, &events[count]))
		count++;
	if (!count)
		return ch_fail(err, CH_INTERNAL, "audit spool: no record at octet %lld of segment %" PRIu64,
			       (long long)offset, segment->first);
	*sent_size = (int64_t)(frames.size - rest.size);
	if (!ch_audit_deliver(client, events, count, done, err))
		return false;
	while (passed < count && done[passed])
		passed++;
	if (passed && passed < count)
		*sent_size = events[passed].data - SPOOL_FRAME - frames.data;
	return passed > 0;
}

/* --- damage ------------------------------------------------------------------------------------------------
 */

/* Events that say which numbers will never be seen, and where what was found is kept. Called with the lock,
 * which it lets go. */
static void tell_damage(struct ch_audit_client *client)
{
	struct ch_spool_damage damage = client->spool.damages[client->spool.damage_count - 1];
	char from[24], to[24], octets[24];
	const struct ch_audit_detail details[] = {
		{ "missing_from", from }, { "missing_to", to }, { "octets", octets }, { "kept", damage.kept }
	};
	const char *self = ch_identity_self(client->options.identity)->instance;
	const struct ch_audit_event event = { .type = "audit.spool-damaged",
					      .outcome = "failure",
					      .actor = self,
					      .subject = damage.segment,
					      .details = details,
					      .detail_count = CH_COUNT(details) };
	struct ch_error err = CH_NONE;

	client->spool.damage_count--;
	pthread_mutex_unlock(&client->lock);
	snprintf(from, sizeof(from), "%" PRIu64, damage.missing_from);
	snprintf(to, sizeof(to), "%" PRIu64, damage.missing_to);
	snprintf(octets, sizeof(octets), "%lld", (long long)damage.octets);
	ch_log_error(
		"ALERT: audit spool: %s octets of '%s' are damaged (kept as '%s'); events %s to %s are lost "
		"or were never used",
		octets, damage.segment, damage.kept, from, to);
	if (client->damaged)
		ch_metric_add(client->damaged, 1);
	if (!ch_audit_record(client, &event, &err))
		ch_log_error("%s", err.message);
	pthread_mutex_lock(&client->lock);
}

/* What the sender cannot read is mended, in a segment that nobody writes to any more; what of it was
 * delivered is sent again, and known there. With the lock. */
static bool mend_oldest(struct ch_audit_client *client, struct ch_error *err)
{
	size_t before = client->spool.damage_count;
	uint64_t next = 0;
	bool torn;

	while (client->writing)
		pthread_cond_wait(&client->changed, &client->lock);
	if (client->spool.count == 1 && !ch_spool_rotate(&client->spool, err))
		return false;
	if (!ch_spool_mend(&client->spool, 0, &next, &torn, err))
		return false;
	client->send_offset = 0;
	ch_audit_note_state(client);
	return client->spool.damage_count > before ||
	       ch_fail(err, CH_INTERNAL, "audit spool cannot be read, and is not damaged");
}

/* Room for what comes: a segment more, or what is left of this one; or that of this one, once all in it was
 * delivered. With the lock. */
static bool find_room(struct ch_audit_client *client, struct ch_error *err)
{
	struct ch_spool *spool = &client->spool;
	bool full = spool->segments[spool->count - 1].size >= SPOOL_SEGMENT_SIZE, found;

	if (full ? ch_spool_rotate(spool, err) : ch_spool_take_room(spool, err))
		return true;
	err->code = CH_UNAVAILABLE; /* nothing is lost */
	if (!ch_audit_all_sent(client) || !spool->segments[0].size)
		return false;
	found = ch_spool_begin_anew(spool, err);
	if (!spool->segments[0].size)
		client->send_offset = 0;
	return found;
}

/* A disk that was full has room again: nobody writes meanwhile who would find out. With the lock. */
static void try_again(struct ch_audit_client *client)
{
	struct ch_error err = CH_NONE;

	if (!client->failing || client->broken || client->writing)
		return;
	client->failing = !find_room(client, &err);
	if (!client->failing)
		ch_log_info("audit spool can be written again");
	client->broken = client->failing && err.code == CH_INTERNAL;
	if (client->broken)
		ch_log_error("%s", err.message);
	ch_audit_note_state(client);
}

static void record_refusal_summary(struct ch_audit_client *client)
{
	char text[32];
	const struct ch_audit_detail details[] = { { "count", text } };
	struct ch_audit_event event = { .type = "bus.refused",
					.outcome = "refused",
					.actor = "various",
					.subject = "summary",
					.details = details,
					.detail_count = CH_COUNT(details) };
	struct ch_error err = CH_NONE;

	if (!client->refusals_unsent || client->summary_second == ch_monotonic_us() / CH_SECOND)
		return;
	client->summary_second = ch_monotonic_us() / CH_SECOND;
	snprintf(text, sizeof(text), "%u", client->refusals_unsent);
	client->refusals_unsent = 0;
	pthread_mutex_unlock(&client->lock);
	if (!ch_audit_record(client, &event, &err))
		ch_log_error("%s", err.message);
	pthread_mutex_lock(&client->lock);
}

/* Waits after a failure, longer each time; being closed ends it. */
static void wait_for_retry(struct ch_audit_client *client, int64_t *pause, const struct ch_error *err)
{
	int64_t until = ch_monotonic_us() + *pause;

	if (*pause == FIRST_PAUSE || err->code != CH_UNAVAILABLE)
		ch_log_warn("audit events wait in the spool: %s", err->message);
	*pause = *pause * 2 < LONGEST_PAUSE ? *pause * 2 : LONGEST_PAUSE;
	while (!client->closing && ch_monotonic_us() < until)
		ch_audit_wait(client, until);
}

/* One step of the sender, with the lock held. False: there is nothing to send. */
static bool send_step(struct ch_audit_client *client, int64_t *pause)
{
	struct ch_segment oldest = client->spool.segments[0];
	int64_t offset = client->send_offset, size = 0;
	struct ch_error err = CH_NONE;
	bool sent;

	if (offset >= oldest.size && client->spool.count > 1) {
		ch_spool_drop_oldest(&client->spool);
		client->send_offset = 0;
		ch_audit_note_state(client);
		return true;
	}
	if (offset >= oldest.size)
		return false;
	pthread_mutex_unlock(&client->lock);
	sent = send_some(client, &oldest, offset, &size, &err);
	pthread_mutex_lock(&client->lock);
	if (!sent && (size > 0 || !mend_oldest(client, &err)))
		wait_for_retry(client, pause, &err);
	if (!sent)
		return true;
	if (*pause > FIRST_PAUSE)
		ch_log_info("audit events are being taken again");
	*pause = FIRST_PAUSE;
	client->send_offset += size;
	ch_audit_note_state(client);
	pthread_cond_broadcast(&client->changed);
	return true;
}

void *ch_audit_send_spooled(void *context)
{
	struct ch_audit_client *client = context;
	int64_t pause = FIRST_PAUSE;

	pthread_mutex_lock(&client->lock);
	while (client->running) {
		record_refusal_summary(client);
		if (client->spool.damage_count)
			tell_damage(client);
		try_again(client);
		if (!send_step(client, &pause)) {
			if (client->closing)
				break;
			ch_audit_wait(client, ch_monotonic_us() + CH_SECOND);
		}
	}
	pthread_mutex_unlock(&client->lock);
	return NULL;
}
