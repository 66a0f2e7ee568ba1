/* SPDX-License-Identifier: Apache-2.0 */
/* shares_test.c: any M of N custodians make the root secret again, fewer or others do not, and a typing error
 * is named. */
#include "shares.h"

#include "err/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void split(uint8_t root[DOMAIN_ROOT_SIZE], uint8_t threshold, uint8_t count, struct share *shares)
{
	struct ch_error err = CH_NONE;

	ch_random(root, DOMAIN_ROOT_SIZE);
	if (!shares_split(ch_view(root, DOMAIN_ROOT_SIZE), threshold, count, shares, &err))
		fail_msg("%s", err.message);
}

static void assert_makes(const struct share *shares, size_t count, const uint8_t root[DOMAIN_ROOT_SIZE])
{
	CH_AUTO(ch_secret) made = CH_NONE;
	struct ch_error err = CH_NONE;

	if (!shares_combine(shares, count, &made, &err))
		fail_msg("%s", err.message);
	assert_memory_equal(made.data, root, DOMAIN_ROOT_SIZE);
}

static void assert_makes_nothing(const struct share *shares, size_t count, const char *why)
{
	struct ch_secret made = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(shares_combine(shares, count, &made, &err));
	assert_null(made.data);
	if (!strstr(err.message, why))
		fail_msg("'%s' does not say '%s'", err.message, why);
}

static void any_two_of_three_make_the_secret(void **state)
{
	uint8_t root[DOMAIN_ROOT_SIZE];
	struct share shares[3];

	(void)state;
	split(root, 2, 3, shares);
	assert_makes((struct share[]){ shares[0], shares[1] }, 2, root);
	assert_makes((struct share[]){ shares[2], shares[0] }, 2, root);
	assert_makes((struct share[]){ shares[1], shares[2] }, 2, root);
	assert_makes(shares, 3, root);
}

static void every_threshold_works(void **state)
{
	(void)state;
	for (uint8_t count = 2; count <= SHARES_MAX; count += 7)
		for (uint8_t threshold = 2; threshold <= count; threshold++) {
			uint8_t root[DOMAIN_ROOT_SIZE];
			struct share shares[SHARES_MAX];

			split(root, threshold, count, shares);
			assert_makes(shares + (count - threshold), threshold, root);
		}
}

static void too_few_or_others_make_nothing(void **state)
{
	uint8_t root[DOMAIN_ROOT_SIZE], other_root[DOMAIN_ROOT_SIZE];
	struct share shares[3], others[3], forged;

	(void)state;
	split(root, 2, 3, shares);
	split(other_root, 2, 3, others);
	assert_makes_nothing(shares, 1, "1 shares, 2 of the set's 3 are needed");
	assert_makes_nothing((struct share[]){ shares[0], others[1] }, 2,
			     "share 2 is of another set than share 1");
	assert_makes_nothing((struct share[]){ shares[0], shares[0] }, 2, "share 1 is given twice");
	forged = shares[1];
	forged.value[7] ^= 1;
	assert_makes_nothing((struct share[]){ shares[0], forged }, 2,
			     "another secret than the one that was split");
}

static void splits_that_keep_nothing_apart_are_refused(void **state)
{
	static const uint8_t cases[][2] = { { 1, 2 }, { 3, 2 }, { 0, 0 }, { 2, SHARES_MAX + 1 } };
	uint8_t root[DOMAIN_ROOT_SIZE] = { 1 };
	struct share shares[SHARES_MAX];
	struct ch_error err;

	(void)state;
	for (size_t i = 0; i < CH_COUNT(cases); i++)
		assert_false(
			shares_split(ch_view(root, sizeof(root)), cases[i][0], cases[i][1], shares, &err));
}

static void a_share_reads_as_it_was_written(void **state)
{
	uint8_t root[DOMAIN_ROOT_SIZE];
	struct share shares[3], again;
	char text[SHARE_TEXT_CAP];
	struct ch_error err = CH_NONE;

	(void)state;
	split(root, 2, 3, shares);
	share_format(&shares[1], text);
	assert_true(share_read(ch_view_text(text), &again, &err));
	assert_memory_equal(&again, &shares[1], sizeof(again));
}

static void a_typing_error_is_named(void **state)
{
	static const struct {
		const char *line, *why;
		char to;
	} cases[] = {
		{ "value: ", "checksum does not match", '0' },
		{ "set: ", "checksum does not match", '0' },
		{ "value: ", "another character than", 'g' },
		{ "number: ", "checksum does not match", '3' },
		{ "number: ", "'number' is 0", '0' },
		{ "count: ", "checksum does not match", '4' },
		{ "checksum: ", "checksum does not match", '0' },
		{ "threshold: ", "another character", 'x' },
	};
	uint8_t root[DOMAIN_ROOT_SIZE];
	struct share shares[3], again;

	(void)state;
	split(root, 2, 3, shares);
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		char text[SHARE_TEXT_CAP], *at;
		struct ch_error err = CH_NONE;

		share_format(&shares[1], text);
		at = strstr(text, cases[i].line) + strlen(cases[i].line);
		if (*at == cases[i].to)
			at++; /* the digit is that already: another one */
		if (*at == cases[i].to || *at == '\n')
			continue;
		*at = cases[i].to;
		assert_false(share_read(ch_view_text(text), &again, &err));
		if (!strstr(err.message, cases[i].why))
			fail_msg("'%s' does not say '%s'", err.message, cases[i].why);
	}
}

static void what_is_no_share_is_refused(void **state)
{
	uint8_t root[DOMAIN_ROOT_SIZE];
	struct share shares[3], again;
	char text[SHARE_TEXT_CAP], longer[SHARE_TEXT_CAP + 8];
	struct ch_error err = CH_NONE;

	(void)state;
	split(root, 2, 3, shares);
	share_format(&shares[0], text);
	for (size_t size = 0; size < strlen(text); size++)
		assert_false(share_read(ch_view(text, size), &again, &err));
	snprintf(longer, sizeof(longer), "%s\n", text);
	assert_false(share_read(ch_view_text(longer), &again, &err));
	assert_non_null(strstr(err.message, "1 octets follow it"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_two_of_three_make_the_secret),
		cmocka_unit_test(every_threshold_works),
		cmocka_unit_test(too_few_or_others_make_nothing),
		cmocka_unit_test(splits_that_keep_nothing_apart_are_refused),
		cmocka_unit_test(a_share_reads_as_it_was_written),
		cmocka_unit_test(a_typing_error_is_named),
		cmocka_unit_test(what_is_no_share_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
