/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c: recording with group commit: callers at the same time join one batch; the first of them writes
 * and syncs for all. sender.c sends what is spooled.
 */
#include "auditclient/internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NUMBERS_KEPT_BACK 1024 /* reserved on disk for what is owed */
#define DEFAULT_SPOOL_CAP (INT64_C(256) * 1024 * 1024)

/* --- waiting -----------------------------------------------------------------------------------------------
 */

static bool may_record(const struct ch_audit_client *client, bool owed, struct ch_error *err)
{
	int64_t waiting = client->spool.bytes - client->send_offset;

	if (client->broken)
		return ch_fail(err, CH_UNAVAILABLE, "audit spool has failed; the daemon must be restarted");
	if (waiting >= client->options.spool_cap + (owed ? SPOOL_KEPT_BACK : 0))
		return ch_fail(err, CH_UNAVAILABLE,
			       "audit spool is full: %lld octets wait for the audit service",
			       (long long)waiting);
	return true;
}

void ch_audit_wait(struct ch_audit_client *client, int64_t deadline_us)
{
	struct timespec deadline = { deadline_us / CH_SECOND, deadline_us % CH_SECOND * 1000 };

	pthread_cond_timedwait(&client->changed, &client->lock, &deadline);
}

/* After anything that may_record and `failing` look at has changed. With the lock. */
void ch_audit_note_state(struct ch_audit_client *client)
{
	atomic_store(&client->unable, client->failing || !may_record(client, false, NULL));
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

/* False: the disk has no room for another segment. */
static bool rotate_when_full(struct ch_audit_client *client, struct ch_error *err)
{
	if (client->spool.segments[client->spool.count - 1].size < SPOOL_SEGMENT_SIZE ||
	    ch_spool_rotate(&client->spool, err))
		return true;
	err->code = CH_UNAVAILABLE; /* nothing is lost: the next caller tries again */
	return false;
}

/* Writes the open batch for everyone in it. Called and returns with the lock, which it lets go while it
 * writes. */
static void write_batch(struct ch_audit_client *client, struct batch *batch)
{
	struct ch_error err = CH_NONE;
	uint64_t until;
	bool room, stored;
	int64_t size;
	int fd;

	client->writing = batch->count;
	client->open = NULL;
	room = rotate_when_full(client, &err);
	fd = client->spool.active_fd;
	size = client->spool.segments[client->spool.count - 1].size;
	/* What is owed goes into the room behind a full segment where there is no other. */
	stored = room || (batch->owed && size < SPOOL_SEGMENT_SIZE + SPOOL_KEPT_BACK);
	until = client->spool.next + batch->count + (batch->owed ? 0 : NUMBERS_KEPT_BACK);
	pthread_mutex_unlock(&client->lock);
	if (stored)
		stored = ch_spool_reserve(&client->spool, until, &err) &&
			 ch_spool_write(fd, size, ch_buffer_view(&batch->frames), &err);
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
	client->failing = !stored || !room;
	ch_audit_note_state(client);
	pthread_cond_broadcast(&client->changed);
}

/* Signs under the lock, because the signature covers the sequence number. */
static struct batch *join_batch(struct ch_audit_client *client, const struct ch_audit_event *event, bool owed,
				struct ch_error *err)
{
	CH_AUTO(ch_bytes) record = CH_NONE;
	uint64_t sequence = client->spool.next + client->writing + (client->open ? client->open->count : 0);

	if (!may_record(client, owed, err) ||
	    !ch_audit_sign_event(client->options.identity, client->options.clock, event, sequence, &record,
				 err))
		return NULL;
	if (!client->open)
		client->open = ch_alloc(sizeof(*client->open));
	ch_spool_frame(&client->open->frames, ch_view_of(&record));
	client->open->count++;
	client->open->owed |= owed;
	client->open->users++;
	return client->open;
}

static bool record(struct ch_audit_client *client, const struct ch_audit_event *event, bool owed,
		   struct ch_error *err)
{
	struct batch *batch;
	bool stored = false;

	pthread_mutex_lock(&client->lock);
	batch = join_batch(client, event, owed, err);
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

bool ch_audit_record(struct ch_audit_client *client, const struct ch_audit_event *event, struct ch_error *err)
{
	return record(client, event, false, err);
}

bool ch_audit_record_owed(struct ch_audit_client *client, const struct ch_audit_event *event,
			  struct ch_error *err)
{
	return record(client, event, true, err);
}

bool ch_audit_able(struct ch_audit_client *client, struct ch_error *err)
{
	bool able;

	if (!atomic_load(&client->unable))
		return true;
	pthread_mutex_lock(&client->lock);
	able = may_record(client, false, err) &&
	       (!client->failing || ch_fail(err, CH_UNAVAILABLE, "audit spool cannot be written"));
	pthread_mutex_unlock(&client->lock);
	return able;
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
	client->damaged = ch_metrics_counter(metrics, "chancery_audit_spool_damaged_total",
					     "Damaged places found in the audit spool.", "");
	client->quarantined =
		ch_metrics_counter(metrics, "chancery_audit_events_quarantined_total",
				   "Audit events that the audit service keeps in quarantine.", "");
	client->sent = ch_metrics_counter(metrics, "chancery_audit_events_sent_total",
					  "Audit events that the audit service acknowledged.", "");
	ch_audit_note_state(client);
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
	result = pthread_create(&made->sender, NULL, ch_audit_send_spooled, made);
	if (result != 0) {
		free_client(made);
		return ch_fail_errno(err, CH_INTERNAL, result, "audit sender thread");
	}
	*client = made;
	return true;
}

bool ch_audit_all_sent(const struct ch_audit_client *client)
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
	while (!ch_audit_all_sent(client) && ch_monotonic_us() < deadline)
		ch_audit_wait(client, deadline);
	client->closing = true;
	client->running = false;
	pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
	pthread_join(client->sender, NULL);
	if (!ch_audit_all_sent(client))
		ch_log_info("audit spool keeps %lld octets for the next start",
			    (long long)(client->spool.bytes - client->send_offset));
	else if (client->spool.segments[0].size && ch_spool_rotate(&client->spool, &err))
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
		   bool *done, struct ch_error *err)
{
	memset(done, 0, count * sizeof(*done));
	for (size_t sent = 0; sent < count;) {
		size_t part = 0, size = 0;

		while (part < EVENTS_PER_REQUEST && sent + part < count && size < SEND_SIZE)
			size += signed_events[sent + part++].size; /* what is over the cap is cut */
		if (!ch_audit_deliver(client, signed_events + sent, part, done + sent, err))
			return false;
		sent += part;
	}
	return true;
}
