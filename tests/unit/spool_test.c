/* SPDX-License-Identifier: Apache-2.0 */
/* spool_test.c: what is damaged in a spool is lost, and nothing else: no record beside it, no number twice,
 * no silence about it; and what was acknowledged is on the disk. */
#include "audit_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* --- system calls that the spool makes: watched, and made to fail ---
 *
 * The program's own definitions stand before the C library's.
 */

static struct {
	atomic_int data_syncs, directory_syncs, truncations;
	atomic_llong synced_size; /* of the file that was synced last, at that moment */
	atomic_bool fail_data_sync, fail_directory_sync, no_room;
	struct fixture *_Atomic room_for_one_of; /* whose disk has no room for a second segment */
} calls;

int fdatasync(int fd)
{
	struct stat info;

	if (atomic_load(&calls.fail_data_sync)) {
		errno = EIO;
		return -1;
	}
	atomic_fetch_add(&calls.data_syncs, 1);
	if (fstat(fd, &info) == 0)
		atomic_store(&calls.synced_size, info.st_size);
	return 0; /* nothing is cut off from power here, and a real one costs milliseconds */
}

int fsync(int fd)
{
	struct stat info;

	if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
		if (atomic_load(&calls.fail_directory_sync)) {
			errno = EIO;
			return -1;
		}
		atomic_fetch_add(&calls.directory_syncs, 1);
	}
	return 0;
}

int ftruncate(int fd, off_t size)
{
	atomic_fetch_add(&calls.truncations, 1);
	return (int)syscall(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	struct fixture *crowded = atomic_load(&calls.room_for_one_of);

	if (atomic_load(&calls.no_room) || (crowded && count_segments(crowded) > 1)) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

static int fresh_calls(void **state)
{
	memset(&calls, 0, sizeof(calls));
	return audit_set_up(state);
}

/* --- helpers --- */

static void set_down(struct fixture *f, bool down)
{
	pthread_mutex_lock(&f->collector.lock);
	f->collector.down = down;
	pthread_mutex_unlock(&f->collector.lock);
}

static bool is_seen(struct fixture *f, uint64_t number)
{
	bool seen;

	pthread_mutex_lock(&f->collector.lock);
	seen = f->collector.seen[number];
	pthread_mutex_unlock(&f->collector.lock);
	return seen;
}

static void wait_seen(struct fixture *f, uint64_t number)
{
	int64_t until = ch_monotonic_us() + 20 * CH_SECOND;

	while (!is_seen(f, number) && ch_monotonic_us() < until)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	assert_true(is_seen(f, number));
}

static int count_refused(struct fixture *f)
{
	int count;

	pthread_mutex_lock(&f->collector.lock);
	count = f->collector.refused;
	pthread_mutex_unlock(&f->collector.lock);
	return count;
}

/* The collector is back once nothing is under way that was read before: the first request that it still
 * refuses may be of that, the second is not. */
static void bring_back(struct fixture *f)
{
	int64_t until = ch_monotonic_us() + 20 * CH_SECOND;
	int before = count_refused(f);

	while (count_refused(f) < before + 2 && ch_monotonic_us() < until)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	assert_true(count_refused(f) >= before + 2);
	set_down(f, false);
}

/* A spool of `count` events that nobody has taken; the collector takes what comes next. */
static char *untaken(struct fixture *f, int count)
{
	set_down(f, true);
	audit_open(f);
	assert_recorded(f, count);
	audit_close(f, 0);
	set_down(f, false);
	return last_segment(f);
}

/* Where record `number` (from 1) of a segment begins, and how long it is with its frame. */
static off_t record_at(const char *path, int number, size_t *size)
{
	CH_AUTO(ch_bytes) content = CH_NONE;
	struct ch_view rest, record = CH_NONE;

	assert_true(ch_read_file(path, 1 << 24, &content, NULL));
	rest = ch_view_of(&content);
	for (int i = 0; i < number; i++)
		assert_true(ch_spool_next_record(&rest, &record));
	*size = record.size + SPOOL_FRAME;
	return (off_t)(record.data - content.data) - SPOOL_FRAME;
}

static void flip(const char *path, off_t at)
{
	CH_AUTO(ch_fd) fd = open(path, O_RDWR);
	uint8_t octet;

	assert_int_equal(pread(fd, &octet, 1, at), 1);
	octet ^= 0x20;
	assert_int_equal(pwrite(fd, &octet, 1, at), 1);
}

static void set_numbers(const struct fixture *f, const char *text)
{
	CH_AUTO(ch_string) path = ch_format("%s/audit-numbers", f->state);

	assert_true(ch_write_file(path, ch_view_text(text), 0600, NULL));
}

/* What a copy that was kept aside holds. */
static struct ch_bytes kept_copy(const struct fixture *f)
{
	CH_AUTO(ch_string) path = ch_format("%s/spool", f->state);
	CH_AUTO(ch_string) found = NULL;
	DIR *directory = opendir(path);
	struct ch_bytes content = CH_NONE;
	struct dirent *entry;

	while ((entry = readdir(directory)))
		if (!found && strstr(entry->d_name, ".events.damaged-20"))
			found = ch_format("%s/%s", path, entry->d_name);
	closedir(directory);
	assert_non_null(found);
	assert_true(ch_read_file(found, 1 << 24, &content, NULL));
	return content;
}

/* Opens, lets the collector take all, records one more event. */
static void go_on(struct fixture *f)
{
	audit_open(f);
	assert_recorded(f, 1);
	audit_close(f, 10 * CH_SECOND);
}

static void assert_only_missing(struct fixture *f, uint64_t missing, uint64_t up_to)
{
	CH_AUTO(ch_string) told = ch_format("missing_from=%llu missing_to=%llu ", (unsigned long long)missing,
					    (unsigned long long)missing);

	for (uint64_t i = 1; i <= up_to; i++)
		if (f->collector.seen[i] != (i != missing))
			fail_msg("event %llu: seen %d", (unsigned long long)i, f->collector.seen[i]);
	assert_int_equal(f->collector.highest, up_to);
	assert_int_equal(f->collector.bad, 0);
	assert_int_equal(f->collector.duplicates, 0);
	assert_int_equal(f->collector.damages, 1);
	assert_non_null(strstr(f->collector.damage, told));
}

/* --- damage found at start --- */

static void damage_record(struct fixture *f, int number, size_t octet)
{
	CH_AUTO(ch_string) path = untaken(f, 50);
	CH_AUTO(ch_bytes) damaged = CH_NONE, kept = CH_NONE;
	size_t size;
	off_t at = record_at(path, number, &size);

	flip(path, at + (off_t)(octet < size ? octet : size - 1));
	assert_true(ch_read_file(path, 1 << 24, &damaged, NULL));
	go_on(f);
	/* 50 events, the one about the damage, one more */
	assert_only_missing(f, (uint64_t)number, 52);
	kept = kept_copy(f);
	assert_int_equal(kept.size, damaged.size);
	assert_memory_equal(kept.data, damaged.data, damaged.size);
}

static void an_octet_changed_in_the_middle_loses_that_event_alone(void **state)
{
	damage_record(*state, 25, 300);
}

static void a_changed_length_loses_that_event_alone(void **state)
{
	damage_record(*state, 25, 2);
}

static void a_length_over_the_cap_loses_that_event_alone(void **state)
{
	damage_record(*state, 25, 0);
}

static void a_changed_checksum_loses_that_event_alone(void **state)
{
	damage_record(*state, 25, 5);
}

static void the_first_event_damaged_loses_it_alone(void **state)
{
	damage_record(*state, 1, 300);
}

static void the_last_event_damaged_loses_it_alone_and_its_number_is_not_used_again(void **state)
{
	damage_record(*state, 50, 300);
}

/* Whoever killed the daemon, the numbers of what was cut off may have been delivered. */
static void a_torn_end_after_a_kill_skips_all_numbers_that_may_have_been_used(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = untaken(f, 3);
	size_t size;
	off_t at = record_at(path, 3, &size);

	set_numbers(f, "4096 reserved\n");
	assert_int_equal(truncate(path, at + 100), 0);
	go_on(f);
	assert_true(is_seen(f, 1) && is_seen(f, 2) && is_seen(f, 4096) && is_seen(f, 4097));
	assert_int_equal(f->collector.highest, 4097);
	assert_non_null(strstr(f->collector.damage, "missing_from=3 missing_to=4095 octets=100 "));
}

static void a_torn_end_without_noted_numbers_skips_as_many_as_could_have_been_there(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = untaken(f, 3);
	size_t size;
	off_t at = record_at(path, 3, &size);

	set_numbers(f, "nonsense\n");
	assert_int_equal(truncate(path, at + 100), 0);
	go_on(f);
	assert_true(is_seen(f, 1) && is_seen(f, 2) && !is_seen(f, 3) && !is_seen(f, 4));
	assert_int_equal(f->collector.highest, 6);
}

static void an_end_full_of_zeros_loses_nothing(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = untaken(f, 10);
	struct stat info;

	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(truncate(path, info.st_size + 4096), 0);
	go_on(f);
	assert_collected(f, 12);
	assert_non_null(strstr(f->collector.damage, "missing_from=0 missing_to=0 octets=4096 "));
}

/* Cut off where a record ends, the segment itself looks well. */
static void an_end_cut_off_between_records_is_noticed_by_the_number_noted(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = untaken(f, 10);
	size_t size;

	assert_int_equal(truncate(path, record_at(path, 8, &size)), 0);
	go_on(f);
	assert_non_null(strstr(f->collector.damage, "missing_from=8 missing_to=10 octets=0 "));
	assert_true(is_seen(f, 7) && !is_seen(f, 8) && !is_seen(f, 10) && is_seen(f, 11) && is_seen(f, 12));
}

static void a_spool_that_is_gone_does_not_number_from_one_again(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = untaken(f, 10);

	assert_int_equal(unlink(path), 0);
	go_on(f);
	assert_non_null(strstr(f->collector.damage, "missing_from=1 missing_to=10 "));
	assert_int_equal(f->collector.highest, 12);
}

static void delivered_events_in_the_damaged_segment_are_not_lost_twice(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;
	size_t size;

	audit_open(f);
	assert_recorded(f, 20);
	wait_seen(f, 20);
	set_down(f, true);
	assert_recorded(f, 20);
	audit_close(f, 0);
	set_down(f, false);
	path = last_segment(f);
	flip(path, record_at(path, 10, &size) + 200);
	go_on(f);
	for (uint64_t i = 1; i <= 42; i++)
		assert_true(is_seen(f, i)); /* 10 was delivered before, and known to be damaged only here */
	assert_non_null(strstr(f->collector.damage, "missing_from=10 missing_to=10 "));
}

static void a_segment_that_cannot_be_read_is_named(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = untaken(f, 1);
	struct ch_audit_options options = { .identity = f->identity,
					    .clock = ch_clock_system(),
					    .state_directory = f->state };
	struct ch_error err = CH_NONE;

	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_false(ch_audit_open(&options, &f->client, &err));
	assert_non_null(strstr(err.message, path));
}

/* --- damage found while running --- */

static void an_octet_changed_under_a_running_daemon_loses_that_event_alone(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;
	size_t size;

	set_down(f, true);
	audit_open(f);
	assert_recorded(f, 50);
	path = last_segment(f);
	flip(path, record_at(path, 25, &size) + 300);
	bring_back(f);
	wait_seen(f, 51); /* the event about the damage */
	assert_recorded(f, 1);
	audit_close(f, 10 * CH_SECOND);
	for (uint64_t i = 1; i <= 52; i++)
		assert_int_equal(is_seen(f, i), i != 25);
	assert_int_equal(f->collector.damages, 1);
	assert_non_null(strstr(f->collector.damage, "missing_from=25 missing_to=25 "));
}

static void a_segment_cut_off_or_removed_under_a_running_daemon_does_not_stop_the_next(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;
	size_t size;

	set_down(f, true);
	audit_open(f);
	assert_recorded(f, 10);
	path = last_segment(f);
	assert_int_equal(truncate(path, record_at(path, 6, &size)), 0);
	bring_back(f);
	wait_seen(f, 11);
	assert_true(is_seen(f, 5) && !is_seen(f, 6));
	assert_non_null(strstr(f->collector.damage, "missing_from=6 missing_to=10 "));
	set_down(f, true);
	assert_recorded(f, 3); /* 12 to 14 */
	free(path);
	path = last_segment(f);
	assert_int_equal(unlink(path), 0);
	bring_back(f);
	wait_seen(f, 15);
	assert_recorded(f, 1);
	audit_close(f, 10 * CH_SECOND);
	assert_true(is_seen(f, 16));
	assert_int_equal(f->collector.damages, 2);
}

/* --- what is acknowledged is on the disk --- */

static void an_event_is_synced_whole_before_it_is_acknowledged(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;

	set_down(f, true);
	audit_open(f);
	path = last_segment(f);
	for (int i = 0; i < 10; i++) {
		int before = atomic_load(&calls.data_syncs);
		struct stat info;

		assert_recorded(f, 1);
		assert_int_equal(stat(path, &info), 0);
		assert_true(atomic_load(&calls.data_syncs) > before);
		assert_int_equal(atomic_load(&calls.synced_size), info.st_size);
	}
}

static void a_new_segments_name_is_synced_before_an_event_is_in_it(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	int before;

	set_down(f, true);
	audit_open(f);
	before = atomic_load(&calls.directory_syncs);
	assert_true(before > 0);
	while (count_segments(f) == 1)
		assert_recorded(f, 1);
	assert_true(atomic_load(&calls.directory_syncs) > before);
	/* Where that fails, the event is refused and the segment given up, and both are tried again. */
	while (f->client->spool.segments[1].size < SPOOL_SEGMENT_SIZE)
		assert_recorded(f, 1);
	atomic_store(&calls.fail_directory_sync, true);
	assert_false(audit_record(f, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_int_equal(count_segments(f), 2);
	atomic_store(&calls.fail_directory_sync, false);
	assert_recorded(f, 1);
	assert_int_equal(count_segments(f), 3);
}

static void after_a_failed_sync_nothing_is_acknowledged_until_a_restart(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	set_down(f, true);
	audit_open(f);
	assert_recorded(f, 3);
	atomic_store(&calls.fail_data_sync, true);
	assert_false(audit_record(f, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	atomic_store(&calls.fail_data_sync, false);
	assert_false(audit_record(f, &err));
	assert_non_null(strstr(err.message, "must be restarted"));
	assert_false(ch_audit_able(f->client, &err));
	audit_close(f, 0);
	set_down(f, false);
	go_on(f);
	assert_true(is_seen(f, 1) && is_seen(f, 3));
}

/* The kernel writes what fits and refuses the rest: here by the limit on file sizes. */
static void a_record_half_written_is_cut_off_and_the_next_one_is_whole(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;
	struct rlimit before, limit;
	struct ch_error err = CH_NONE;
	struct stat info, after;
	int truncations;

	set_down(f, true);
	audit_open(f);
	assert_recorded(f, 3);
	path = last_segment(f);
	assert_int_equal(stat(path, &info), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = (rlim_t)info.st_size + 100;
	truncations = atomic_load(&calls.truncations);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_false(audit_record(f, &err));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_true(atomic_load(&calls.truncations) > truncations);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, info.st_size);
	assert_recorded(f, 1);
	set_down(f, false);
	audit_close(f, 10 * CH_SECOND);
	assert_collected(f, 4);
	assert_int_equal(f->collector.damages, 0);
}

/* --- a full disk --- */

static void wait_able(struct fixture *f)
{
	int64_t until = ch_monotonic_us() + 20 * CH_SECOND;
	struct ch_error err = CH_NONE;

	while (!ch_audit_able(f->client, &err) && ch_monotonic_us() < until)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	assert_true(ch_audit_able(f->client, &err));
}

static void what_is_owed_is_recorded_where_the_disk_is_full_and_nothing_else_is_begun(void **state)
{
	struct fixture *f = *state;
	const struct ch_audit_event owed = { .type = "vault.summary",
					     .outcome = "success",
					     .actor = "tsa-1" };
	struct ch_error err = CH_NONE;

	set_down(f, true);
	audit_open(f);
	assert_true(ch_audit_able(f->client, &err));
	atomic_store(&calls.no_room, true);
	while (audit_record(f, &err))
		;
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "no room"));
	assert_false(ch_audit_able(f->client, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	for (int i = 0; i < 20; i++) {
		assert_true(ch_audit_record_owed(f->client, &owed, &err));
		assert_false(ch_audit_able(f->client, &err));
	}
	/* It finds out by itself when there is room. */
	atomic_store(&calls.no_room, false);
	wait_able(f);
	assert_recorded(f, 1);
	set_down(f, false);
	audit_close(f, 20 * CH_SECOND);
	assert_collected(f, f->collector.highest);
	assert_int_equal(f->collector.damages, 0);
}

/* The room of what was delivered is the only room there is. */
static void a_disk_with_room_for_one_segment_is_written_again_once_all_is_delivered(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;
	int recorded = 0;

	set_down(f, true);
	audit_open(f);
	atomic_store(&calls.room_for_one_of, f);
	for (int turn = 0; turn < 2; turn++) {
		set_down(f, true);
		while (audit_record(f, &err))
			recorded++;
		assert_non_null(strstr(err.message, "no room"));
		assert_false(ch_audit_able(f->client, &err));
		set_down(f, false);
		wait_able(f);
		assert_int_equal(count_segments(f), 1);
	}
	assert_recorded(f, 1);
	/* Killed and started again: no number is used twice, none is missed. */
	audit_close(f, 0);
	audit_open(f);
	assert_recorded(f, 1);
	audit_close(f, 20 * CH_SECOND);
	assert_collected(f, f->collector.highest);
	assert_int_equal(f->collector.highest, recorded + 2);
	assert_int_equal(f->collector.damages, 0);
}

/* As a process that is killed right there leaves them. */
static void a_segment_emptied_and_not_named_anew_numbers_nothing_twice(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) path = NULL;

	audit_open(f);
	assert_recorded(f, 5);
	wait_seen(f, 5);
	audit_close(f, 0);
	path = last_segment(f);
	assert_int_equal(truncate(path, 0), 0);
	set_numbers(f, "6 exact\n");
	audit_open(f);
	assert_recorded(f, 1);
	audit_close(f, 20 * CH_SECOND);
	assert_true(is_seen(f, f->collector.highest));
	assert_true(f->collector.highest > 5);
}

static void a_spool_at_its_cap_takes_what_is_owed(void **state)
{
	struct fixture *f = *state;
	const struct ch_audit_event owed = { .type = "vault.summary",
					     .outcome = "success",
					     .actor = "tsa-1" };
	struct ch_error err = CH_NONE;

	f->cap = 20000;
	set_down(f, true);
	audit_open(f);
	while (audit_record(f, &err))
		;
	assert_false(ch_audit_able(f->client, &err));
	assert_non_null(strstr(err.message, "spool is full"));
	assert_true(ch_audit_record_owed(f->client, &owed, &err));
	set_down(f, false);
	audit_close(f, 20 * CH_SECOND);
	assert_collected(f, f->collector.highest);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fresh_calls, audit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_octet_changed_in_the_middle_loses_that_event_alone),
		TEST(a_changed_length_loses_that_event_alone),
		TEST(a_length_over_the_cap_loses_that_event_alone),
		TEST(a_changed_checksum_loses_that_event_alone),
		TEST(the_first_event_damaged_loses_it_alone),
		TEST(the_last_event_damaged_loses_it_alone_and_its_number_is_not_used_again),
		TEST(a_torn_end_after_a_kill_skips_all_numbers_that_may_have_been_used),
		TEST(a_torn_end_without_noted_numbers_skips_as_many_as_could_have_been_there),
		TEST(an_end_full_of_zeros_loses_nothing),
		TEST(an_end_cut_off_between_records_is_noticed_by_the_number_noted),
		TEST(a_spool_that_is_gone_does_not_number_from_one_again),
		TEST(delivered_events_in_the_damaged_segment_are_not_lost_twice),
		TEST(a_segment_that_cannot_be_read_is_named),
		TEST(an_octet_changed_under_a_running_daemon_loses_that_event_alone),
		TEST(a_segment_cut_off_or_removed_under_a_running_daemon_does_not_stop_the_next),
		TEST(an_event_is_synced_whole_before_it_is_acknowledged),
		TEST(a_new_segments_name_is_synced_before_an_event_is_in_it),
		TEST(after_a_failed_sync_nothing_is_acknowledged_until_a_restart),
		TEST(a_record_half_written_is_cut_off_and_the_next_one_is_whole),
		TEST(what_is_owed_is_recorded_where_the_disk_is_full_and_nothing_else_is_begun),
		TEST(a_disk_with_room_for_one_segment_is_written_again_once_all_is_delivered),
		TEST(a_segment_emptied_and_not_named_anew_numbers_nothing_twice),
		TEST(a_spool_at_its_cap_takes_what_is_owed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
