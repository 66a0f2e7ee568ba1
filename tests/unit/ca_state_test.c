/* SPDX-License-Identifier: Apache-2.0 */
/* ca_state_test.c: what a CA's state comes to, by its own, its key's, the time, and the CAs above it. */
#include "issuance/issuance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795255200) * CH_SECOND)

static char root_name[] = "root", middle_name[] = "middle", leaf_name[] = "leaf";
static char active[] = "active", suspended[] = "suspended", retired[] = "retired", revoked[] = "revoked",
	    pending[] = "pending", stopped[] = "stopped", compromised[] = "compromised",
	    destroyed[] = "destroyed", reason[] = "cACompromise";

/* Three in a row, all good; nothing in them is owned. */
struct chain {
	struct ch_ca cas[3];
	struct ch_ca_effect effect;
};
#define ROOT   0
#define MIDDLE 1
#define LEAF   2

static struct chain chain(void)
{
	struct chain c = { 0 };
	char *names[] = { root_name, middle_name, leaf_name };

	for (int i = 0; i < 3; i++)
		c.cas[i] = (struct ch_ca){ .id = 10 + i,
					   .parent_id = i ? 9 + i : 0,
					   .state = active,
					   .key_state = active,
					   .not_after_us = NOW + CH_DAY,
					   .document = { .name = names[i] } };
	return c;
}

static void assert_effect(struct chain *c, int which, const char *state, const char *why)
{
	ch_ca_effect_of(c->cas, 3, &c->cas[which], NOW, &c->effect);
	assert_string_equal(c->effect.state, state);
	assert_string_equal(c->effect.why, why);
}

static void a_ca_is_active_where_all_is(void **state)
{
	struct chain c = chain();
	struct ch_error err = CH_NONE;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_effect(&c, i, "active", "");
	assert_true(ch_ca_issues(c.cas, 3, &c.cas[LEAF], NOW, &err));
}

static void its_own_state_comes_first(void **state)
{
	const struct {
		char *own, *reason, *key;
		int64_t left_us;
		const char *state, *why;
	} cases[] = {
		{ pending, NULL, active, CH_DAY, "pending", "it has no certificate yet" },
		{ suspended, NULL, active, CH_DAY, "suspended", "it is stopped" },
		{ suspended, reason, stopped, CH_DAY, "suspended", "it is stopped: cACompromise" },
		{ retired, NULL, active, CH_DAY, "retired", "it is retired" },
		{ revoked, reason, compromised, CH_DAY, "revoked",
		  "its certificate is revoked (cACompromise)" },
		{ revoked, NULL, active, -CH_SECOND, "revoked", "its certificate is revoked (unspecified)" },
		{ active, NULL, active, -CH_SECOND, "expired",
		  "its certificate expired at 2026-11-21T09:59:59Z" },
		{ suspended, NULL, active, -CH_SECOND, "expired",
		  "its certificate expired at 2026-11-21T09:59:59Z" },
		/* RFC 5280 §4.1.2.5: notAfter is inclusive. */
		{ active, NULL, active, 0, "active", "" },
		{ active, NULL, stopped, CH_DAY, "suspended", "its key is stopped" },
		{ active, NULL, compromised, CH_DAY, "suspended", "its key is compromised" },
		{ active, NULL, destroyed, CH_DAY, "suspended", "its key is destroyed" },
		{ active, NULL, retired, CH_DAY, "retired", "its key is retired" },
		{ active, NULL, NULL, CH_DAY, "active", "" },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		struct chain c = chain();

		c.cas[LEAF].state = cases[i].own;
		c.cas[LEAF].state_reason = cases[i].reason;
		c.cas[LEAF].key_state = cases[i].key;
		c.cas[LEAF].not_after_us = NOW + cases[i].left_us;
		assert_effect(&c, LEAF, cases[i].state, cases[i].why);
		assert_effect(&c, MIDDLE, "active", "");
	}
}

static void what_is_above_it_counts_all_the_way_up(void **state)
{
	struct chain c = chain();
	struct ch_error err = CH_NONE;

	(void)state;
	c.cas[ROOT].state = revoked;
	c.cas[ROOT].state_reason = reason;
	assert_effect(&c, LEAF, "revoked", "CA 'root' above it: its certificate is revoked (cACompromise)");
	assert_effect(&c, MIDDLE, "revoked", "CA 'root' above it: its certificate is revoked (cACompromise)");
	c.cas[MIDDLE].state = suspended;
	assert_effect(&c, LEAF, "suspended", "CA 'middle' above it: it is stopped");
	assert_false(ch_ca_issues(c.cas, 3, &c.cas[LEAF], NOW, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_string_equal(err.message,
			    "CA 'leaf' is suspended and issues nothing: CA 'middle' above it: it is stopped");

	c = chain();
	c.cas[MIDDLE].state = retired;
	assert_effect(&c, LEAF, "retired", "CA 'middle' above it: it is retired");
	c = chain();
	c.cas[ROOT].not_after_us = NOW - CH_SECOND;
	assert_effect(&c, LEAF, "expired",
		      "CA 'root' above it: its certificate expired at 2026-11-21T09:59:59Z");
}

/* A root's key rests between its uses and may be gone after them; one that was compromised is worth nothing,
 * nor what it signed, whatever became of it; and who stops a root's key wants what is below it to stop. */
static void of_the_keys_above_a_stopped_or_once_compromised_one_counts(void **state)
{
	char *const resting[] = { suspended, retired, destroyed };
	struct chain c = chain();

	(void)state;
	for (size_t i = 0; i < CH_COUNT(resting); i++) {
		c.cas[ROOT].key_state = resting[i];
		c.cas[ROOT].key_was_compromised = false;
		assert_effect(&c, LEAF, "active", "");
		c.cas[ROOT].key_was_compromised = true;
		assert_effect(&c, LEAF, "suspended", "CA 'root' above it: its key is compromised");
		assert_effect(&c, ROOT, "suspended", "its key is compromised");
	}
	c = chain();
	c.cas[ROOT].key_state = suspended;
	assert_effect(&c, ROOT, "suspended", "its key is suspended");
	c.cas[ROOT].key_state = compromised;
	assert_effect(&c, LEAF, "suspended", "CA 'root' above it: its key is compromised");
	c.cas[ROOT].key_state = stopped;
	assert_effect(&c, LEAF, "suspended", "CA 'root' above it: its key is stopped");
}

static void its_certificate_counts_and_that_of_each_above(void **state)
{
	struct chain c = chain();

	(void)state;
	c.cas[MIDDLE].certificate_status = revoked;
	assert_effect(&c, MIDDLE, "revoked", "its certificate is revoked");
	assert_effect(&c, LEAF, "revoked", "CA 'middle' above it: its certificate is revoked");
	c.cas[MIDDLE].certificate_status = suspended;
	assert_effect(&c, LEAF, "suspended", "CA 'middle' above it: its certificate is suspended");
}

static void parents_that_are_not_there_or_go_in_a_circle_stop_it(void **state)
{
	struct chain c = chain();

	(void)state;
	c.cas[MIDDLE].parent_id = 99;
	assert_effect(&c, LEAF, "suspended", "CA number 99 above it is not there");
	c.cas[MIDDLE].parent_id = 12;
	ch_ca_effect_of(c.cas, 3, &c.cas[LEAF], NOW, &c.effect);
	assert_string_equal(c.effect.state, "suspended");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ca_is_active_where_all_is),
		cmocka_unit_test(its_own_state_comes_first),
		cmocka_unit_test(what_is_above_it_counts_all_the_way_up),
		cmocka_unit_test(of_the_keys_above_a_stopped_or_once_compromised_one_counts),
		cmocka_unit_test(its_certificate_counts_and_that_of_each_above),
		cmocka_unit_test(parents_that_are_not_there_or_go_in_a_circle_stop_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
