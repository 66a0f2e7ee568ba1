/* SPDX-License-Identifier: Apache-2.0 */
/* auditclient_test.c: no event that was acknowledged is lost, none has its number twice, and none is missing.
 */
#include "auditclient/auditclient.h"
#include "auditclient/internal.h"
#include "system_ca.h"

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

#define MOST 20000

/* Stands where the audit service does: keeps what it was given, by sequence number. */
struct collector {
	pthread_mutex_t lock;
	bool down;
	int requests, duplicates, bad;
	uint64_t highest;
	bool seen[MOST];
	char last_actor[64], last_detail[600];
};

struct fixture {
	struct system_ca ca;
	struct ch_identity_config files;
	struct ch_identity *identity;
	char *state;
	struct collector collector;
	struct ch_audit_client *client;
	int64_t cap;
};

static bool collect(void *context, const Chancery__AppendEventsRequest *request, struct ch_error *err)
{
	struct fixture *f = context;
	struct collector *c = &f->collector;
	bool down;

	pthread_mutex_lock(&c->lock);
	down = c->down;
	for (size_t i = 0; !down && i < request->n_events; i++) {
		const Chancery__SignedEvent *signed_event = request->events[i];
		Chancery__Event *event =
			chancery__event__unpack(NULL, signed_event->event.len, signed_event->event.data);
		struct ch_peer peer;

		c->bad += !ch_identity_verify(
			f->identity, CH_EVENT_DOMAIN,
			ch_view(signed_event->certificate.data, signed_event->certificate.len),
			ch_view(signed_event->event.data, signed_event->event.len),
			ch_view(signed_event->signature.data, signed_event->signature.len), event->time_us,
			&peer, NULL);
		if (event->sequence < MOST) {
			c->duplicates += c->seen[event->sequence];
			c->seen[event->sequence] = true;
		}
		c->highest = event->sequence > c->highest ? event->sequence : c->highest;
		snprintf(c->last_actor, sizeof(c->last_actor), "%.60s", event->actor);
		snprintf(c->last_detail, sizeof(c->last_detail), "%s",
			 event->n_details ? event->details[event->n_details - 1]->value : "");
		chancery__event__free_unpacked(event, NULL);
	}
	c->requests += !down;
	pthread_mutex_unlock(&c->lock);
	return !down || ch_fail(err, CH_UNAVAILABLE, "collector is down");
}

static void open_client(struct fixture *f)
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

static void close_client(struct fixture *f, int64_t drain_us)
{
	ch_audit_close(f->client, drain_us);
	f->client = NULL;
}

static int set_up(void **state)
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

static int tear_down(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) remove = ch_format("rm -rf '%s'", f->state);

	close_client(f, 0);
	assert_int_equal(system(remove), 0);
	ch_identity_free(f->identity);
	system_ca_forget(&f->files);
	system_ca_remove(&f->ca);
	free(f->state);
	free(f);
	return 0;
}

static bool record(struct fixture *f, struct ch_error *err)
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

static void assert_recorded(struct fixture *f, int count)
{
	struct ch_error err = CH_NONE;

	for (int i = 0; i < count; i++)
		if (!record(f, &err))
			fail_msg("%s", err.message);
}

static void assert_collected(struct fixture *f, uint64_t up_to)
{
	assert_int_equal(f->collector.bad, 0);
	assert_int_equal(f->collector.highest, up_to);
	for (uint64_t i = 1; i <= up_to; i++)
		assert_true(f->collector.seen[i]);
}

static int count_segments(const struct fixture *f)
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
static char *last_segment(const struct fixture *f)
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

static void events_arrive_signed_and_numbered_from_one(void **state)
{
	struct fixture *f = *state;

	open_client(f);
	assert_recorded(f, 100);
	close_client(f, CH_SECOND);
	assert_collected(f, 100);
	assert_int_equal(f->collector.duplicates, 0);
}

static void numbers_go_on_after_restarts_and_nothing_is_sent_twice(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++) {
		open_client(f);
		assert_recorded(f, 10);
		close_client(f, CH_SECOND);
	}
	assert_collected(f, 50);
	assert_int_equal(f->collector.duplicates, 0);
	assert_int_equal(count_segments(f), 1);
}

static void what_could_not_be_sent_is_sent_by_the_next_run(void **state)
{
	struct fixture *f = *state;

	f->collector.down = true;
	open_client(f);
	assert_recorded(f, 30);
	close_client(f, 100 * CH_MILLISECOND);
	assert_int_equal(f->collector.highest, 0);
	f->collector.down = false;
	open_client(f);
	assert_recorded(f, 1);
	close_client(f, CH_SECOND);
	assert_collected(f, 31);
}

static void a_torn_last_record_is_cut_off_and_its_number_used_again(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;
	struct stat info;

	for (int cut = 1; cut < 400; cut += 57) {
		uint64_t before = f->collector.highest;

		f->collector.down = true;
		open_client(f);
		assert_recorded(f, 3);
		close_client(f, 0);
		free(path);
		path = last_segment(f);
		assert_int_equal(stat(path, &info), 0);
		assert_int_equal(truncate(path, info.st_size - cut), 0);
		f->collector.down = false;
		open_client(f);
		assert_recorded(f, 1);
		close_client(f, CH_SECOND);
		assert_collected(f, before + 3);
	}
}

static void a_changed_octet_in_the_last_record_is_noticed(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;
	CH_AUTO(ch_fd) fd = -1;
	struct stat info;

	f->collector.down = true;
	open_client(f);
	assert_recorded(f, 3);
	close_client(f, 0);
	path = last_segment(f);
	fd = open(path, O_WRONLY);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(pwrite(fd, "?", 1, info.st_size - 100), 1);
	f->collector.down = false;
	open_client(f);
	close_client(f, CH_SECOND);
	assert_collected(f, 2);
}

static void a_full_spool_refuses(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	int recorded = 0;

	f->cap = 20000;
	f->collector.down = true;
	open_client(f);
	while (recorded < 1000 && record(f, &err))
		recorded++;
	assert_in_range(recorded, 10, 100);
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "spool is full"));
	pthread_mutex_lock(&f->collector.lock);
	f->collector.down = false;
	pthread_mutex_unlock(&f->collector.lock);
	for (int i = 0; i < 5000 && !record(f, &err); i++)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	close_client(f, CH_SECOND);
	assert_collected(f, (uint64_t)recorded + 1);
}

static void segments_are_removed_when_they_are_acknowledged(void **state)
{
	struct fixture *f = *state;

	f->collector.down = true;
	open_client(f);
	assert_recorded(f, 1);
	close_client(f, 0);
	open_client(f);
	for (int i = 0; i < 2000; i++)
		assert_recorded(f, 1);
	assert_true(count_segments(f) >= 2);
	pthread_mutex_lock(&f->collector.lock);
	f->collector.down = false;
	pthread_mutex_unlock(&f->collector.lock);
	close_client(f, 10 * CH_SECOND);
	assert_collected(f, 2001);
	assert_int_equal(count_segments(f), 1);
}

static void *record_many(void *context)
{
	assert_recorded(context, 200);
	return NULL;
}

static void many_recorders_share_syncs_and_leave_no_gap(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[16];

	open_client(f);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_create(&threads[i], NULL, record_many, f);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	close_client(f, 5 * CH_SECOND);
	assert_collected(f, 16 * 200);
	assert_int_equal(f->collector.duplicates, 0);
}

static void a_spool_belongs_to_one_process(void **state)
{
	struct fixture *f = *state;
	struct ch_spool second;
	struct ch_error err = CH_NONE;

	open_client(f);
	assert_false(ch_spool_open(f->state, &second, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	ch_spool_close(&second);
}

static void text_that_is_not_utf8_is_made_harmless(void **state)
{
	struct fixture *f = *state;
	struct ch_audit_event event = { .type = "client.refused",
					.outcome = "refused",
					.actor = "m\xffllory\n" };
	struct ch_error err = CH_NONE;

	open_client(f);
	assert_true(ch_audit_record(f->client, &event, &err));
	close_client(f, CH_SECOND);
	assert_string_equal(f->collector.last_actor, "m?llory?");
}

static void a_flood_of_refusals_is_summed_up(void **state)
{
	struct fixture *f = *state;
	struct ch_peer mallory = { "ocsp", "ocsp-1" };
	struct ch_error why = CH_NONE;

	ch_fail(&why, CH_DENIED, "may not");
	open_client(f);
	for (int i = 0; i < 1000; i++)
		ch_audit_bus_refusal(f->client, &mallory, NULL, &why);
	for (int i = 0; i < 4000; i++) {
		bool summed;

		pthread_mutex_lock(&f->collector.lock);
		summed = strcmp(f->collector.last_actor, "various") == 0;
		pthread_mutex_unlock(&f->collector.lock);
		if (summed)
			break;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	close_client(f, CH_SECOND);
	assert_string_equal(f->collector.last_actor, "various");
	assert_in_range(f->collector.highest, 11, 40);
}

static void an_outbox_event_has_no_number_and_is_sent_at_once(void **state)
{
	struct fixture *f = *state;
	struct ch_audit_event event = { .type = "certificate.revoked",
					.outcome = "success",
					.actor = "alice" };
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	struct ch_view view;
	struct ch_error err = CH_NONE;

	open_client(f);
	assert_true(ch_audit_seal(f->client, &event, &sealed, &err));
	view = ch_view_of(&sealed);
	assert_true(ch_audit_send(f->client, &view, 1, &err));
	assert_true(f->collector.seen[0]);
	f->collector.down = true;
	assert_false(ch_audit_send(f->client, &view, 1, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(events_arrive_signed_and_numbered_from_one),
		TEST(numbers_go_on_after_restarts_and_nothing_is_sent_twice),
		TEST(what_could_not_be_sent_is_sent_by_the_next_run),
		TEST(a_torn_last_record_is_cut_off_and_its_number_used_again),
		TEST(a_changed_octet_in_the_last_record_is_noticed),
		TEST(a_full_spool_refuses),
		TEST(segments_are_removed_when_they_are_acknowledged),
		TEST(many_recorders_share_syncs_and_leave_no_gap),
		TEST(a_spool_belongs_to_one_process),
		TEST(text_that_is_not_utf8_is_made_harmless),
		TEST(a_flood_of_refusals_is_summed_up),
		TEST(an_outbox_event_has_no_number_and_is_sent_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
