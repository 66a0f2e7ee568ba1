/* SPDX-License-Identifier: Apache-2.0 */
/* auditclient_test.c: no event that was acknowledged is lost, none has its number twice, and none is missing.
 */
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

static void events_arrive_signed_and_numbered_from_one(void **state)
{
	struct fixture *f = *state;

	audit_open(f);
	assert_recorded(f, 100);
	audit_close(f, CH_SECOND);
	assert_collected(f, 100);
	assert_int_equal(f->collector.duplicates, 0);
}

static void numbers_go_on_after_restarts_and_nothing_is_sent_twice(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++) {
		audit_open(f);
		assert_recorded(f, 10);
		audit_close(f, CH_SECOND);
	}
	assert_collected(f, 50);
	assert_int_equal(f->collector.duplicates, 0);
	assert_int_equal(count_segments(f), 1);
}

static void what_could_not_be_sent_is_sent_by_the_next_run(void **state)
{
	struct fixture *f = *state;

	f->collector.down = true;
	audit_open(f);
	assert_recorded(f, 30);
	audit_close(f, 100 * CH_MILLISECOND);
	assert_int_equal(f->collector.highest, 0);
	f->collector.down = false;
	audit_open(f);
	assert_recorded(f, 1);
	audit_close(f, CH_SECOND);
	assert_collected(f, 31);
}

static void a_full_spool_refuses(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	int recorded = 0;

	f->cap = 20000;
	f->collector.down = true;
	audit_open(f);
	while (recorded < 1000 && audit_record(f, &err))
		recorded++;
	assert_in_range(recorded, 10, 100);
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "spool is full"));
	pthread_mutex_lock(&f->collector.lock);
	f->collector.down = false;
	pthread_mutex_unlock(&f->collector.lock);
	for (int i = 0; i < 5000 && !audit_record(f, &err); i++)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	audit_close(f, CH_SECOND);
	assert_collected(f, (uint64_t)recorded + 1);
}

static void segments_are_removed_when_they_are_acknowledged(void **state)
{
	struct fixture *f = *state;

	f->collector.down = true;
	audit_open(f);
	assert_recorded(f, 1);
	audit_close(f, 0);
	audit_open(f);
	for (int i = 0; i < 2000; i++)
		assert_recorded(f, 1);
	assert_true(count_segments(f) >= 2);
	pthread_mutex_lock(&f->collector.lock);
	f->collector.down = false;
	pthread_mutex_unlock(&f->collector.lock);
	audit_close(f, 10 * CH_SECOND);
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

	audit_open(f);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_create(&threads[i], NULL, record_many, f);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	audit_close(f, 5 * CH_SECOND);
	assert_collected(f, 16 * 200);
	assert_int_equal(f->collector.duplicates, 0);
}

static void a_spool_belongs_to_one_process(void **state)
{
	struct fixture *f = *state;
	struct ch_spool second;
	struct ch_error err = CH_NONE;

	audit_open(f);
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

	audit_open(f);
	assert_true(ch_audit_record(f->client, &event, &err));
	audit_close(f, CH_SECOND);
	assert_string_equal(f->collector.last_actor, "m?llory?");
}

static void a_flood_of_refusals_is_summed_up(void **state)
{
	struct fixture *f = *state;
	struct ch_peer mallory = { .service = "ocsp", .instance = "ocsp-1" };
	struct ch_error why = CH_NONE;

	ch_fail(&why, CH_DENIED, "may not");
	audit_open(f);
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
	audit_close(f, CH_SECOND);
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
	bool done = false;

	audit_open(f);
	assert_true(ch_audit_seal(f->client, &event, &sealed, &err));
	view = ch_view_of(&sealed);
	assert_true(ch_audit_send(f->client, &view, 1, &done, &err));
	assert_true(f->collector.seen[0] && done);
	f->collector.down = true;
	assert_false(ch_audit_send(f->client, &view, 1, &done, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
}

/* --- what the collector answers ----------------------------------------------------------------------------
 */

static void an_event_in_quarantine_does_not_hold_up_the_spool(void **state)
{
	struct fixture *f = *state;

	f->collector.quarantines = 3;
	audit_open(f);
	assert_recorded(f, 10);
	audit_close(f, 5 * CH_SECOND);
	assert_int_equal(f->collector.highest, 10);
	assert_int_equal(f->collector.quarantined, 1);
	assert_false(f->collector.seen[3]);
	assert_int_equal(count_segments(f), 1);
	f->collector.quarantines = 0;
	audit_open(f); /* nothing is sent again */
	audit_close(f, CH_SECOND);
	assert_int_equal(f->collector.duplicates, 0);
	assert_false(f->collector.seen[3]);
}

static void an_event_for_later_is_kept_and_sent_again(void **state)
{
	struct fixture *f = *state;

	f->collector.later = 3;
	audit_open(f);
	assert_recorded(f, 10);
	audit_close(f, 200 * CH_MILLISECOND);
	assert_true(f->collector.seen[2]);
	assert_false(f->collector.seen[3]);
	f->collector.later = 0;
	audit_open(f); /* it outlives a restart */
	audit_close(f, 5 * CH_SECOND);
	assert_collected(f, 10);
}

static void an_outbox_row_that_is_no_event_stops_none(void **state)
{
	struct fixture *f = *state;
	struct ch_audit_event event = { .type = "certificate.revoked", .outcome = "success" };
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	struct ch_bytes huge = { ch_alloc(2 * 1024 * 1024), 2 * 1024 * 1024 };
	struct ch_view views[4];
	struct ch_error err = CH_NONE;
	bool done[4] = { false };

	f->collector.answers = true;
	memset(huge.data, 0xff, huge.size);
	audit_open(f);
	assert_true(ch_audit_seal(f->client, &event, &sealed, &err));
	views[0] = ch_view_text("\xff");
	views[1] = ch_view_of(&sealed);
	views[2] = ch_view_of(&huge);
	views[3] = ch_view_of(&sealed);
	assert_true(ch_audit_send(f->client, views, 4, done, &err));
	assert_true(done[0] && done[1] && done[2] && done[3]);
	assert_true(f->collector.seen[0]);
	assert_int_equal(f->collector.unsigned_events, 2);
	assert_in_range(f->collector.largest, 1, 1024 * 1024); /* the collector's cap on a request */
	ch_bytes_free(&huge);
}

/* 256 rows of 60 KiB are fifteen times what a request may have. */
static void large_outbox_rows_go_in_several_requests(void **state)
{
	struct fixture *f = *state;
	struct ch_bytes large = { ch_alloc(60 * 1024), 60 * 1024 };
	struct ch_view views[EVENTS_PER_REQUEST];
	bool done[EVENTS_PER_REQUEST] = { false };
	struct ch_error err = CH_NONE;

	f->collector.answers = true;
	memset(large.data, 0xff, large.size);
	for (size_t i = 0; i < EVENTS_PER_REQUEST; i++)
		views[i] = ch_view_of(&large);
	audit_open(f);
	assert_true(ch_audit_send(f->client, views, EVENTS_PER_REQUEST, done, &err));
	for (size_t i = 0; i < EVENTS_PER_REQUEST; i++)
		assert_true(done[i]);
	assert_in_range(f->collector.largest, 1, 1024 * 1024);
	ch_bytes_free(&large);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, audit_set_up, audit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(events_arrive_signed_and_numbered_from_one),
		TEST(numbers_go_on_after_restarts_and_nothing_is_sent_twice),
		TEST(what_could_not_be_sent_is_sent_by_the_next_run),
		TEST(a_full_spool_refuses),
		TEST(segments_are_removed_when_they_are_acknowledged),
		TEST(many_recorders_share_syncs_and_leave_no_gap),
		TEST(a_spool_belongs_to_one_process),
		TEST(text_that_is_not_utf8_is_made_harmless),
		TEST(a_flood_of_refusals_is_summed_up),
		TEST(an_outbox_event_has_no_number_and_is_sent_at_once),
		TEST(an_event_in_quarantine_does_not_hold_up_the_spool),
		TEST(an_event_for_later_is_kept_and_sent_again),
		TEST(an_outbox_row_that_is_no_event_stops_none),
		TEST(large_outbox_rows_go_in_several_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
