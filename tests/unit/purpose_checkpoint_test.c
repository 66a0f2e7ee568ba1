/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_checkpoint_test.c: which checkpoints of the audit log are signed, and which refused. */
#include "purpose_fixture.h"

#define HASH_TEXT "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void a_checkpoint_is_signed_and_its_size_told(void **state)
{
	static const uint8_t size[] = { 0, 0, 0, 0, 0, 0, 1, 2 };
	struct fixture *fixture = *state;

	assert_true(ask(fixture, purpose_checkpoint,
			ch_view_text("chancery.example/log\n258\n" HASH_TEXT "\n"), (struct ch_view)CH_NONE));
	assert_true(ch_view_equal(fixture->check.number, ch_view(size, sizeof(size))));
}

static void each_rule_of_a_checkpoint_is_held(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *text, *reason, *words;
	} cases[] = {
		{ "else.example\n258\n" HASH_TEXT "\n", "origin", "checkpoint of origin 'else.example'" },
		{ "chancery.example/log\n0258\n" HASH_TEXT "\n", "malformed", "leading zeros" },
		{ "chancery.example/log\n\n" HASH_TEXT "\n", "malformed", "decimal number" },
		{ "chancery.example/log\n25x\n" HASH_TEXT "\n", "malformed", "no digit" },
		{ "chancery.example/log\n99999999999999999999\n" HASH_TEXT "\n", "malformed",
		  "decimal number" },
		{ "chancery.example/log\n258\nAAAA\n", "malformed", "base64 of 32 octets" },
		{ "chancery.example/log\n258\n" HASH_TEXT, "malformed", "three lines" },
		{ "chancery.example/log\n258\n" HASH_TEXT "\nmore\n", "malformed", "follow its third line" },
		{ "", "malformed", "three lines" },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		if (ask(fixture, purpose_checkpoint, ch_view_text(cases[i].text), (struct ch_view)CH_NONE))
			fail_msg("case %zu (%s) was allowed", i, cases[i].words);
		assert_refused(fixture, cases[i].reason, cases[i].words);
	}
}

static void a_checkpoint_has_at_most_1024_octets(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_string) text = ch_format("%0*d\n258\n" HASH_TEXT "\n", 1024 - 50, 0);

	free(fixture->key.checkpoint_origin);
	fixture->key.checkpoint_origin = ch_format("%0*d", 1024 - 50, 0);
	assert_int_equal(strlen(text), 1024);
	assert_true(ask(fixture, purpose_checkpoint, ch_view_text(text), (struct ch_view)CH_NONE));
	free(fixture->key.checkpoint_origin);
	fixture->key.checkpoint_origin = ch_format("%0*d", 1025 - 50, 0);
	free(text);
	text = ch_format("%0*d\n258\n" HASH_TEXT "\n", 1025 - 50, 0);
	assert_false(ask(fixture, purpose_checkpoint, ch_view_text(text), (struct ch_view)CH_NONE));
	assert_refused(fixture, "malformed", "checkpoint of 1025 octets, at most 1024 allowed");
}

static void a_key_without_an_origin_signs_no_checkpoint(void **state)
{
	struct fixture *fixture = *state;

	free(fixture->key.checkpoint_origin);
	fixture->key.checkpoint_origin = NULL;
	assert_false(ask(fixture, purpose_checkpoint,
			 ch_view_text("chancery.example/log\n258\n" HASH_TEXT "\n"),
			 (struct ch_view)CH_NONE));
	assert_refused(fixture, "origin", "is for ''");
	assert_false(ask(fixture, purpose_checkpoint, ch_view_text("\n258\n" HASH_TEXT "\n"),
			 (struct ch_view)CH_NONE));
	assert_refused(fixture, "origin", "is for ''");
}

/* The log is empty, or as large as a number of 19 digits. */
static void the_smallest_and_the_largest_log_are_signed(void **state)
{
	static const uint8_t zero[8], largest[] = { 0x8a, 0xc7, 0x23, 0x04, 0x89, 0xe7, 0xff, 0xff };
	struct fixture *fixture = *state;

	assert_true(ask(fixture, purpose_checkpoint, ch_view_text("chancery.example/log\n0\n" HASH_TEXT "\n"),
			(struct ch_view)CH_NONE));
	assert_true(ch_view_equal(fixture->check.number, ch_view(zero, sizeof(zero))));
	assert_true(ask(fixture, purpose_checkpoint,
			ch_view_text("chancery.example/log\n9999999999999999999\n" HASH_TEXT "\n"),
			(struct ch_view)CH_NONE));
	assert_true(ch_view_equal(fixture->check.number, ch_view(largest, sizeof(largest))));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_checkpoint_is_signed_and_its_size_told),
		WITH_KEY(each_rule_of_a_checkpoint_is_held),
		WITH_KEY(a_checkpoint_has_at_most_1024_octets),
		WITH_KEY(a_key_without_an_origin_signs_no_checkpoint),
		WITH_KEY(the_smallest_and_the_largest_log_are_signed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
