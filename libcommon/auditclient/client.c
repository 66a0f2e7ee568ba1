/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c: recording with group commit, and the thread that sends what is spooled until it is acknowledged.
 * Callers at the same time join one batch; the first of them writes and syncs for all.
 */
#include "auditclient/internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_SPOOL_CAP  (INT64_C(256) * 1024 * 1024)
#define SEGMENT_SIZE       (1024 * 1024)
#define EVENTS_PER_REQUEST 256
#define SEND_SIZE          (512 * 1024)
#define SEND_TIMEOUT       (3 * CH_SECOND)
#define FIRST_PAUSE        (50 * CH_MILLISECOND)
#define LONGEST_PAUSE      (2 * CH_SECOND)
#define FULL_PER_SECOND    10 /* bus.refused events with their sender */

/* Records that will be synced together. */
struct batch {
	int users; /* callers that look at it */
	bool done, stored;
	struct ch_error err;
	struct ch_buffer frames;
	uint64_t count;
};

struct ch_audit_client {
	struct ch_audit_options options;
	pthread_t sender;
	bool running;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct ch_spool spool;
	struct batch *open; /* being filled; NULL: none */
	uint64_t writing;   /* events in the batch that somebody writes without the lock; 0: nobody does */
	bool broken;        /* a sync failed */
	bool closing;
	int64_t send_offset; /* in the oldest segment: acknowledged up to here */
	int64_t refusal_second, summary_second;
	unsigned refusals, refusals_unsent; /* in that second; those that only the summary counts */
	struct ch_metric *bytes, *recorded, *refused, *sent;
};

/* --- waiting -----------------------------------------------------------------------------------------------
 */

static void wait_until(struct ch_audit_client *client, int64_t deadline_us)
{
	struct timespec deadline = { deadline_us / CH_SECOND, deadline_us % CH_SECOND * 1000 };

	pthread_cond_timedwait(&client->changed, &client->lock, &deadline);
}

static void show_bytes(struct ch_audit_client *client)
{
	if (client->bytes)
		ch_metric_set(client->bytes, client->spool.bytes - client->send_offset);
}

/* --- recording ---------------------------------------------------------------------------------------------
 */

static void leave_batch(struct batch *batch)
{
	if (--batch->users)
		return;
	ch_buffer_free(&batch->frames);
	free(batch);
}

static void end_batch(struct ch_audit_client *client, struct batch *batch, bool stored,
		      const struct ch_error *err)
{
	batch->done = true;
	batch->stored = stored;
	if (!stored)
		batch->err = *err;
	if (client->open == batch)
		client->open = NULL;
}

/* Writes the open batch for everyone in it. Called and returns with the lock, which it lets go while it
 * writes. */
static void write_batch(struct ch_audit_client *client, struct batch *batch)
{
	struct ch_error err = CH_NONE;
	bool stored = true;
	int64_t size;
	int fd;

	client->writing = batch->count;
	client->open = NULL;
	if (client->spool.segments[client->spool.count - 1].size >= SEGMENT_SIZE) {
		stored = ch_spool_rotate(&client->spool, &err);
		err.code = CH_UNAVAILABLE; /* nothing is lost: the next caller tries again */
	}
	fd = client->spool.active_fd;
	size = client->spool.segments[client->spool.count - 1].size;
	pthread_mutex_unlock(&client->lock);
	if (stored)
		stored = ch_spool_write(fd, size, ch_buffer_view(&batch->frames), &err);
	pthread_mutex_lock(&client->lock);
	if (stored) {
		ch_spool_account(&client->spool, batch->count, (int64_t)batch->frames.used);
	} else {
		client->broken = client->broken || err.code == CH_INTERNAL;
		ch_log_error("%s", err.message);
		/* Events in the batch after this one carry sequence numbers that follow it. */
		if (client->open)
			end_batch(client, client->open, false, &err);
	}
	end_batch(client, batch, stored, &err);
	client->writing = 0;
	show_bytes(client);
	pthread_cond_broadcast(&client->changed);
}

static bool may_record(const struct ch_audit_client *client, struct ch_error *err)
{
	if (client->broken)
		return ch_fail(err, CH_UNAVAILABLE, "audit spool has failed; the daemon must be restarted");
	if (client->spool.bytes - client->send_offset >= client->options.spool_cap)
		return ch_fail(err, CH_UNAVAILABLE,
			       "audit spool is full: %lld octets wait for the audit service",
			       (long long)(client->spool.bytes - client->send_offset));
	return true;
}

/* Signs under the lock, because the signature covers the sequence number. */
static struct batch *join_batch(struct ch_audit_client *client, const struct ch_audit_event *event,
				struct ch_error *err)
{
	CH_AUTO(ch_bytes) record = CH_NONE;
	uint64_t sequence = ch_spool_next_sequence(&client->spool) + client->writing +
			    (client->open ? client->open->count : 0);

	if (!may_record(client, err) || !ch_audit_sign_event(client->options.identity, client->options.clock,
							     event, sequence, &record, err))
		return NULL;
	if (!client->open)
		client->open = ch_alloc(sizeof(*client->open));
	ch_spool_frame(&client->open->frames, ch_view_of(&record));
	client->open->count++;
	client->open->users++;
	return client->open;
}

bool ch_audit_record(struct ch_audit_client *client, const struct ch_audit_event *event, struct ch_error *err)
{
	struct batch *batch;
	bool stored = false;

	pthread_mutex_lock(&client->lock);
	batch = join_batch(client, event, err);
	while (batch && !batch->done) {
		if (!client->writing)
			write_batch(client, batch);
		else
			pthread_cond_wait(&client->changed, &client->lock);
	}
	if (batch) {
		stored = batch->stored;
		if (!stored) {
			ch_fail(err, CH_UNAVAILABLE, "%s", batch->err.message);
			ch_fail_in(err, "audit event %s", event->type);
		}
		leave_batch(batch);
	}
	pthread_mutex_unlock(&client->lock);
	if (stored ? client->recorded != NULL : client->refused != NULL)
		ch_metric_add(stored ? client->recorded : client->refused, 1);
	return stored;
}

void ch_audit_lifecycle(struct ch_audit_client *client, const char *type)
{
	static const struct ch_audit_detail details[] = { { "version", CHANCERY_VERSION } };
	struct ch_audit_event event = {
		.type = type, .outcome = "success", .details = details, .detail_count = CH_COUNT(details)
	};
	struct ch_error err = CH_NONE;

	if (!client)
		return;
	event.actor = event.subject = ch_identity_self(client->options.identity)->instance;
	if (!ch_audit_record(client, &event, &err))
		ch_log_error("%s", err.message);
}

/* --- sending -----------------------------------------------------------------------------------------------
 */

static bool deliver(struct ch_audit_client *client, const Chancery__AppendEventsRequest *request,
		    struct ch_error *err)
{
	struct ch_bus_call call = { .request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPEND_EVENTS,
				    .request = &request->base,
				    .reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPEND_EVENTS_REPLY,
				    .reply_descriptor = &chancery__append_events_reply__descriptor,
				    .timeout_us = SEND_TIMEOUT };
	CH_AUTO(ch_proto) reply = NULL;

	if (client->options.deliver)
		return client->options.deliver(client->options.deliver_state, request, err);
	return ch_bus_call(client->options.bus, &call, &reply, err);
}

/* Sends encoded SignedEvents, at most EVENTS_PER_REQUEST. */
static bool deliver_encoded(struct ch_audit_client *client, const struct ch_view *events, size_t count,
			    struct ch_error *err)
{
	Chancery__AppendEventsRequest request = CHANCERY__APPEND_EVENTS_REQUEST__INIT;
	Chancery__SignedEvent *decoded[EVENTS_PER_REQUEST];
	bool sent = true;

	request.events = decoded;
	for (size_t i = 0; sent && i < count; i++) {
		decoded[i] = chancery__signed_event__unpack(NULL, events[i].size, events[i].data);
		request.n_events += decoded[i] != NULL;
		sent = decoded[i] || ch_fail(err, CH_INVALID, "stored audit event %zu does not decode", i);
	}
	if (sent && count)
		sent = deliver(client, &request, err);
	if (sent && client->sent)
		ch_metric_add(client->sent, count);
	for (size_t i = 0; i < request.n_events; i++)
		chancery__signed_event__free_unpacked(decoded[i], NULL);
	return sent;
}

/* Sends the next records of a segment; *sent_size receives how many octets of it that was. */
static bool send_some(struct ch_audit_client *client, const struct ch_segment *segment, int64_t offset,
		      int64_t *sent_size, struct ch_error *err)
{
	CH_AUTO(ch_bytes) frames = CH_NONE;
	struct ch_view rest, events[EVENTS_PER_REQUEST];
	size_t count = 0;

	if (!ch_spool_read(&client->spool, segment->first, offset, segment->size, SEND_SIZE, &frames, err))
		return false;
	rest = ch_view_of(&frames);
	while (count < EVENTS_PER_REQUEST && ch_spool_next_record(&rest, &events[count]))
		count++;
	if (!count)
		return ch_fail(err, CH_INTERNAL, "audit spool: no record at octet %lld of segment %" PRIu64,
			       (long long)offset, segment->first);
	*sent_size = (int64_t)(frames.size - rest.size);
	return deliver_encoded(client, events, count, err);
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
		wait_until(client, until);
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
		show_bytes(client);
		return true;
	}
	if (offset >= oldest.size)
		return false;
	pthread_mutex_unlock(&client->lock);
	sent = send_some(client, &oldest, offset, &size, &err);
	pthread_mutex_lock(&client->lock);
	if (!sent) {
		wait_for_retry(client, pause, &err);
		return true;
	}
	if (*pause > FIRST_PAUSE)
		ch_log_info("audit events are being taken again");
	*pause = FIRST_PAUSE;
	client->send_offset += size;
	show_bytes(client);
	pthread_cond_broadcast(&client->changed);
	return true;
}

static void *send_events(void *context)
{
	struct ch_audit_client *client = context;
	int64_t pause = FIRST_PAUSE;

	pthread_mutex_lock(&client->lock);
	while (client->running) {
		record_refusal_summary(client);
		if (!send_step(client, &pause)) {
			if (client->closing)
				break;
			wait_until(client, ch_monotonic_us() + CH_SECOND);
		}
	}
	pthread_mutex_unlock(&client->lock);
	return NULL;
}

/* --- open and close ----------------------------------------------------------------------------------------
 */

static void make_metrics(struct ch_audit_client *client, struct ch_metrics *metrics)
{
	if (!metrics)
		return;
	client->bytes =
		ch_metrics_gauge(metrics, "chancery_audit_spool_bytes",
				 "Octets of audit events that the audit service has not acknowledged.", "");
	client->recorded = ch_metrics_counter(metrics, "chancery_audit_events_total",
					      "Audit events recorded, by outcome.", "outcome=\"ok\"");
	client->refused = ch_metrics_counter(metrics, "chancery_audit_events_total",
					     "Audit events recorded, by outcome.", "outcome=\"refused\"");
	client->sent = ch_metrics_counter(metrics, "chancery_audit_events_sent_total",
					  "Audit events that the audit service acknowledged.", "");
	show_bytes(client);
}

static void free_client(struct ch_audit_client *client)
{
	ch_spool_close(&client->spool);
	pthread_cond_destroy(&client->changed);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

bool ch_audit_open(const struct ch_audit_options *options, struct ch_audit_client **client,
		   struct ch_error *err)
{
	struct ch_audit_client *made = ch_alloc(sizeof(*made));
	pthread_condattr_t attributes;
	int result;

	made->options = *options;
	if (made->options.spool_cap <= 0)
		made->options.spool_cap = DEFAULT_SPOOL_CAP;
	pthread_mutex_init(&made->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&made->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	if (!ch_spool_open(options->state_directory, &made->spool, err)) {
		free_client(made);
		return false;
	}
	make_metrics(made, options->metrics);
	made->running = true;
	result = pthread_create(&made->sender, NULL, send_events, made);
	if (result != 0) {
		free_client(made);
		return ch_fail_errno(err, CH_INTERNAL, result, "audit sender thread");
	}
	*client = made;
	return true;
}

static bool all_sent(const struct ch_audit_client *client)
{
	return client->spool.count == 1 && client->send_offset >= client->spool.segments[0].size;
}

void ch_audit_close(struct ch_audit_client *client, int64_t drain_us)
{
	int64_t deadline = ch_monotonic_us() + drain_us;
	struct ch_error err = CH_NONE;

	if (!client)
		return;
	pthread_mutex_lock(&client->lock);
	client->closing = drain_us <= 0;
	pthread_cond_broadcast(&client->changed);
	while (!all_sent(client) && ch_monotonic_us() < deadline)
		wait_until(client, deadline);
	client->closing = true;
	client->running = false;
	pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
	pthread_join(client->sender, NULL);
	if (!all_sent(client))
		ch_log_info("audit spool keeps %lld octets for the next start",
			    (long long)(client->spool.bytes - client->send_offset));
	else if (client->spool.segments[0].count && ch_spool_rotate(&client->spool, &err))
		ch_spool_drop_oldest(&client->spool); /* so that nothing is sent twice */
	free_client(client);
}

/* --- events of database transactions -----------------------------------------------------------------------
 */

bool ch_audit_seal(struct ch_audit_client *client, const struct ch_audit_event *event,
		   struct ch_bytes *signed_event, struct ch_error *err)
{
	return ch_audit_sign_event(client->options.identity, client->options.clock, event, 0, signed_event,
				   err);
}

bool ch_audit_send(struct ch_audit_client *client, const struct ch_view *signed_events, size_t count,
		   struct ch_error *err)
{
	for (size_t done = 0; done < count;) {
		size_t part = count - done < EVENTS_PER_REQUEST ? count - done : EVENTS_PER_REQUEST;

		if (!deliver_encoded(client, signed_events + done, part, err))
			return false;
		done += part;
	}
	return true;
}

/* --- refusals of the bus -----------------------------------------------------------------------------------
 */

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
