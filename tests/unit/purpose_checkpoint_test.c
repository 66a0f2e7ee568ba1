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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(a_checkpoint_is_signed_and_its_size_told),
		WITH_KEY(each_rule_of_a_checkpoint_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
