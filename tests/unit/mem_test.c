/* SPDX-License-Identifier: Apache-2.0 */
/* mem_test.c: bytes, buffers, secrets and files. */
#include "mem/new_file.h"

#include <dirent.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int freed;

static void free_counted(int *number)
{
	freed += *number;
	free(number);
}

CH_DEFINE_AUTO_POINTER(counted, int, free_counted)

static void a_scope_frees_what_was_not_stolen(void **state)
{
	int *kept;

	freed = 0;
	{
		CH_AUTO(counted) one = ch_alloc(sizeof(int));
		CH_AUTO(counted) two = ch_alloc(sizeof(int));

		*one = 1;
		*two = 2;
		kept = CH_STEAL(two);
		assert_null(two);
	}
	assert_int_equal(freed, 1);
	free(kept);
}

static void hexadecimal_goes_both_ways(void **state)
{
	static const uint8_t octets[] = { 0x00, 0x9f, 0xff };
	CH_AUTO(ch_string) text = ch_hex(ch_view(octets, sizeof(octets)));
	CH_AUTO(ch_bytes) back = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_string_equal(text, "009fff");
	assert_true(ch_unhex("009fFF", &back, &err));
	assert_true(ch_view_equal(ch_view_of(&back), ch_view(octets, sizeof(octets))));
	assert_false(ch_unhex("0", &back, &err));
	assert_false(ch_unhex("0g", &back, &err));
	assert_int_equal(err.code, CH_INVALID);
}

static void views_compare_by_length_and_content(void **state)
{
	assert_true(ch_view_equal(ch_view_text("ab"), ch_view_text("ab")));
	assert_false(ch_view_equal(ch_view_text("ab"), ch_view_text("ac")));
	assert_false(ch_view_equal(ch_view_text("ab"), ch_view_text("abc")));
	assert_true(ch_view_equal(ch_view(NULL, 0), ch_view_text("")));
	assert_true(ch_view_equal_secret(ch_view_text("ab"), ch_view_text("ab")));
	assert_false(ch_view_equal_secret(ch_view_text("ab"), ch_view_text("ax")));
}

static void views_are_looked_at_for_a_prefix_and_for_characters(void **state)
{
	assert_true(ch_view_starts_with(ch_view_text("ab"), "ab"));
	assert_true(ch_view_starts_with(ch_view_text("abc"), ""));
	assert_true(ch_view_starts_with(ch_view(NULL, 0), ""));
	assert_false(ch_view_starts_with(ch_view_text("a"), "ab"));
	assert_false(ch_view_starts_with(ch_view_text("ac"), "ab"));
	assert_true(ch_view_has_only(ch_view_text("abba"), "ab"));
	assert_true(ch_view_has_only(ch_view(NULL, 0), "ab"));
	assert_false(ch_view_has_only(ch_view_text("abc"), "ab"));
	assert_false(ch_view_has_only(ch_view("ab", 3), "ab")); /* a zero is no character */
}

static void a_buffer_grows_and_hands_over(void **state)
{
	struct ch_buffer buffer = CH_NONE;
	char *text;

	for (int i = 0; i < 1000; i++)
		ch_buffer_printf(&buffer, "%d,", i % 10);
	assert_int_equal(buffer.used, 2000);
	text = ch_buffer_steal_text(&buffer);
	assert_int_equal(strlen(text), 2000);
	assert_null(buffer.data);
	free(text);
}

static void a_secret_is_wiped_and_may_not_be_readable_for_others(void **state)
{
	char path[] = "/tmp/mem_test.XXXXXX";
	static const mode_t too_open[] = { 0440, 0460, 0410, 0404, 0444 };
	int fd = mkstemp(path);
	CH_AUTO(ch_secret) secret = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_int_equal(write(fd, "1234\n", 5), 5);
	close(fd);
	assert_int_equal(chmod(path, 0400), 0);
	assert_true(ch_secret_read_file(path, 64, &secret, &err));
	assert_int_equal(secret.size, 4);
	assert_memory_equal(secret.data, "1234", 5);
	ch_secret_free(&secret);
	assert_null(secret.data);
	assert_false(ch_secret_read_file(path, 3, &secret, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	for (size_t i = 0; i < CH_COUNT(too_open); i++) {
		assert_int_equal(chmod(path, too_open[i]), 0);
		assert_false(ch_secret_read_file(path, 64, &secret, &err));
		assert_int_equal(err.code, CH_DENIED);
	}
	unlink(path);
	assert_false(ch_secret_read_file(path, 64, &secret, &err));
	assert_int_equal(err.code, CH_NOT_FOUND);
}

static void a_file_is_replaced_whole(void **state)
{
	char directory[] = "/tmp/mem_test.XXXXXX";
	CH_AUTO(ch_string) path = NULL;
	CH_AUTO(ch_bytes) content = CH_NONE;
	struct ch_error err = CH_NONE;
	struct stat info;

	assert_non_null(mkdtemp(directory));
	path = ch_format("%s/file", directory);
	assert_true(ch_write_file(path, ch_view_text("one"), 0640, &err));
	assert_true(ch_write_file(path, ch_view_text("second"), 0600, &err));
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	assert_true(ch_read_file(path, 6, &content, &err));
	assert_true(ch_view_equal(ch_view_of(&content), ch_view_text("second")));
	ch_bytes_free(&content);
	assert_false(ch_read_file(path, 5, &content, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	unlink(path);
	/* Only the file itself was left: no temporary one. */
	assert_int_equal(rmdir(directory), 0);
	assert_false(ch_write_file(path, ch_view_text("x"), 0600, &err));
	assert_int_equal(err.code, CH_NOT_FOUND);
}

static size_t files_in(const char *directory)
{
	DIR *open = opendir(directory);
	size_t count = 0;

	while (readdir(open))
		count++;
	closedir(open);
	return count - 2;
}

/* A rename would take away what others write to or read from. */
static void a_device_fifo_or_link_is_never_replaced(void **state)
{
	char directory[] = "/tmp/mem_test.XXXXXX";
	struct ch_error err;

	assert_non_null(mkdtemp(directory));
	CH_AUTO(ch_string) target = ch_format("%s/target", directory);
	CH_AUTO(ch_string) link = ch_format("%s/link", directory);
	CH_AUTO(ch_string) dangling = ch_format("%s/dangling", directory);
	CH_AUTO(ch_string) fifo = ch_format("%s/fifo", directory);
	CH_AUTO(ch_string) folder = ch_format("%s/folder", directory);
	const struct {
		const char *path, *says;
	} cases[] = { { link, "is a symbolic link, which is not replaced" },
		      { dangling, "is a symbolic link, which is not replaced" },
		      { fifo, "is a FIFO, which is not replaced" },
		      { folder, "is a folder, which is not replaced" },
		      { "/dev/null", "is a device, which is not replaced" } };

	assert_true(ch_write_file(target, ch_view_text("kept"), 0600, &err));
	assert_int_equal(symlink(target, link), 0);
	assert_int_equal(symlink("/nowhere/at/all", dangling), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(mkdir(folder, 0700), 0);
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		CH_AUTO(ch_new_file) file = CH_NONE;

		assert_false(ch_write_file(cases[i].path, ch_view_text("x"), 0600, &err));
		assert_int_equal(err.code, CH_INVALID);
		assert_non_null(strstr(err.message, cases[i].says));
		assert_false(ch_new_file_open(cases[i].path, 0600, &file, &err));
	}
	assert_int_equal(files_in(directory), 5);
	unlink(target);
	unlink(link);
	unlink(dangling);
	unlink(fifo);
	rmdir(folder);
	assert_int_equal(rmdir(directory), 0);
}

static void a_new_files_place_is_taken_before_its_content_is_made(void **state)
{
	char directory[] = "/tmp/mem_test.XXXXXX";
	struct ch_new_file file = CH_NONE;
	CH_AUTO(ch_bytes) read = CH_NONE;
	struct ch_error err;

	assert_non_null(mkdtemp(directory));
	CH_AUTO(ch_string) path = ch_format("%s/file", directory);
	CH_AUTO(ch_string) missing = ch_format("%s/none/file", directory);
	assert_false(ch_new_file_open(missing, 0600, &file, &err));
	assert_int_equal(err.code, CH_NOT_FOUND);
	ch_new_file_free(&file);
	/* one that is given up leaves nothing, and what was there before stays */
	assert_true(ch_write_file(path, ch_view_text("before"), 0600, &err));
	assert_true(ch_new_file_open(path, 0600, &file, &err));
	assert_int_equal(files_in(directory), 2);
	ch_new_file_free(&file);
	assert_int_equal(files_in(directory), 1);
	assert_true(ch_read_file(path, 100, &read, &err));
	assert_true(ch_view_equal(ch_view_of(&read), ch_view_text("before")));
	/* what took its place meanwhile is not replaced either */
	assert_true(ch_new_file_open(path, 0600, &file, &err));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(ch_new_file_finish(&file, ch_view_text("x"), &err));
	ch_new_file_free(&file);
	assert_int_equal(files_in(directory), 1);
	unlink(path);
	assert_int_equal(rmdir(directory), 0);
}

static void random_octets_differ(void **state)
{
	uint8_t a[32] = { 0 };
	uint8_t b[32] = { 0 };

	ch_random(a, sizeof(a));
	ch_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scope_frees_what_was_not_stolen),
		cmocka_unit_test(hexadecimal_goes_both_ways),
		cmocka_unit_test(views_compare_by_length_and_content),
		cmocka_unit_test(views_are_looked_at_for_a_prefix_and_for_characters),
		cmocka_unit_test(a_buffer_grows_and_hands_over),
		cmocka_unit_test(a_secret_is_wiped_and_may_not_be_readable_for_others),
		cmocka_unit_test(a_file_is_replaced_whole),
		cmocka_unit_test(a_device_fifo_or_link_is_never_replaced),
		cmocka_unit_test(a_new_files_place_is_taken_before_its_content_is_made),
		cmocka_unit_test(random_octets_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
