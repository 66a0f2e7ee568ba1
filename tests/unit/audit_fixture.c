/* SPDX-License-Identifier: Apache-2.0 */
/* audit_fixture.c: see audit_fixture.h. */
#include "audit_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void keep_damage(struct collector *c, const Chancery__Event *event)
{
	CH_AUTO(ch_buffer) text = CH_NONE;

	for (size_t i = 0; i < event->n_details; i++)
		ch_buffer_printf(&text, "%s=%s ", event->details[i]->name, event->details[i]->value);
	snprintf(c->damage, sizeof(c->damage), "%.*s", (int)text.used, (const char *)text.data);
	c->damages++;
}

static void judge_event(struct collector *c, const Chancery__Event *event, Chancery__EventAnswer *answer)
{
	if (event->sequence && event->sequence == c->later) {
		answer->fate = CHANCERY__EVENT_FATE__EVENT_LATER;
		answer->reason = ch_strdup("its CA is not known yet");
	} else if (event->sequence && event->sequence == c->quarantines) {
		answer->fate = CHANCERY__EVENT_FATE__EVENT_QUARANTINED;
		answer->reason = ch_strdup("it is false");
		c->quarantined++;
	}
}

/* An outbox row that its sender could not read. */
static bool is_unsigned(struct collector *c, const Chancery__SignedEvent *event,
			Chancery__EventAnswer *answer)
{
	if (event->certificate.len)
		return false;
	answer->fate = CHANCERY__EVENT_FATE__EVENT_QUARANTINED;
	answer->reason = ch_strdup("no signed event");
	c->unsigned_events++;
	return true;
}

static Chancery__AppendEventsReply *new_answers(size_t count)
{
	Chancery__AppendEventsReply *reply =
		CH_PROTO_NEW(Chancery__AppendEventsReply, chancery__append_events_reply__init);

	reply->n_answers = count;
	reply->answers = ch_alloc_pointers(count);
	for (size_t i = 0; i < count; i++)
		reply->answers[i] = CH_PROTO_NEW(Chancery__EventAnswer, chancery__event_answer__init);
	return reply;
}

static bool collect(void *context, const Chancery__AppendEventsRequest *request,
		    Chancery__AppendEventsReply **reply, struct ch_error *err)
{
	struct fixture *f = context;
	struct collector *c = &f->collector;
	size_t request_size = chancery__append_events_request__get_packed_size(request);
	bool down;

	pthread_mutex_lock(&c->lock);
	down = c->down;
	if (!down && (c->quarantines || c->later || c->answers))
		*reply = new_answers(request->n_events);
	c->largest = request_size > c->largest ? request_size : c->largest;
	for (size_t i = 0; !down && i < request->n_events; i++) {
		const Chancery__SignedEvent *signed_event = request->events[i];
		Chancery__Event *event;
		struct ch_peer peer;

		if (*reply && is_unsigned(c, signed_event, (*reply)->answers[i]))
			continue;
		event = chancery__event__unpack(NULL, signed_event->event.len, signed_event->event.data);

		c->bad += !ch_identity_verify(
			f->identity, CH_EVENT_DOMAIN,
			ch_view(signed_event->certificate.data, signed_event->certificate.len),
			ch_view(signed_event->event.data, signed_event->event.len),
			ch_view(signed_event->signature.data, signed_event->signature.len), event->time_us,
			&peer, NULL);
		if (*reply)
			judge_event(c, event, (*reply)->answers[i]);
		if (*reply && (*reply)->answers[i]->fate != CHANCERY__EVENT_FATE__EVENT_STORED) {
			chancery__event__free_unpacked(event, NULL);
			continue;
		}
		if (event->sequence < MOST) {
			c->duplicates += c->seen[event->sequence];
			c->seen[event->sequence] = true;
		}
		c->highest = event->sequence > c->highest ? event->sequence : c->highest;
		snprintf(c->last_actor, sizeof(c->last_actor), "%.60s", event->actor);
		snprintf(c->last_detail, sizeof(c->last_detail), "%s",
			 event->n_details ? event->details[event->n_details - 1]->value : "");
		if (strcmp(event->type, "audit.spool-damaged") == 0)
			keep_damage(c, event);
		chancery__event__free_unpacked(event, NULL);
	}
	c->requests += !down;
	c->refused += down;
	pthread_mutex_unlock(&c->lock);
	return !down || ch_fail(err, CH_UNAVAILABLE, "collector is down");
}

void audit_open(struct fixture *f)
{
	struct ch_audit_options options = { .identity = f->identity,
					    .clock = ch_clock_system(),
					    .state_directory = f->state,
					    .deliver = collect,
					    .deliver_state = f,
					    .spool_cap = f->cap };
	struct ch_error err = CH_NONE;

	if (!ch_audit_open(&options, &f->client, &err))
		fail_msg("%s", err.message);
}

void audit_close(struct fixture *f, int64_t drain_us)
{
	ch_audit_close(f->client, drain_us);
	f->client = NULL;
}

int audit_set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	system_ca_make(&f->ca);
	system_ca_issue(&f->ca, "issuer", "issuer-1", -60, 3600, &f->files);
	assert_true(ch_identity_load(&f->files, NULL, NULL, &f->identity, NULL));
	f->state = ch_format("%s/state", f->ca.directory);
	assert_int_equal(mkdir(f->state, 0700), 0);
	pthread_mutex_init(&f->collector.lock, NULL);
	*state = f;
	return 0;
}

int audit_tear_down(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) remove = ch_format("rm -rf '%s'", f->state);

	audit_close(f, 0);
	assert_int_equal(system(remove), 0);
	ch_identity_free(f->identity);
	system_ca_forget(&f->files);
	system_ca_remove(&f->ca);
	free(f->state);
	free(f);
	return 0;
}

bool audit_record(struct fixture *f, struct ch_error *err)
{
	struct ch_audit_detail details[] = { { "profile", "tls-server" } };
	struct ch_audit_event event = { .type = "certificate.issued",
					.outcome = "success",
					.tenant = "default",
					.actor = "alice",
					.subject = "0123",
					.details = details,
					.detail_count = 1 };

	return ch_audit_record(f->client, &event, err);
}

void assert_recorded(struct fixture *f, int count)
{
	struct ch_error err = CH_NONE;

	for (int i = 0; i < count; i++)
		if (!audit_record(f, &err))
			fail_msg("%s", err.message);
}

void assert_collected(struct fixture *f, uint64_t up_to)
{
	assert_int_equal(f->collector.bad, 0);
	assert_int_equal(f->collector.highest, up_to);
	for (uint64_t i = 1; i <= up_to; i++)
		assert_true(f->collector.seen[i]);
}

int count_segments(const struct fixture *f)
{
	CH_AUTO(ch_string) path = ch_format("%s/spool", f->state);
	DIR *directory = opendir(path);
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(directory)))
		count += strstr(entry->d_name, ".events") != NULL;
	closedir(directory);
	return count;
}

/* The last segment's path. */
char *last_segment(const struct fixture *f)
{
	CH_AUTO(ch_string) path = ch_format("%s/spool", f->state);
	DIR *directory = opendir(path);
	struct dirent *entry;
	char last[64] = "";

	while ((entry = readdir(directory)))
		if (strstr(entry->d_name, ".events") && strcmp(entry->d_name, last) > 0)
			snprintf(last, sizeof(last), "%.60s", entry->d_name);
	closedir(directory);
	return ch_format("%s/%s", path, last);
}
