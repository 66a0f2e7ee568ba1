/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender_order_test.c: what each sender's own numbers say of a log (libcommon/auditlog/sender_order.c): none
 * is missing, none comes twice or out of order, and an alert excuses the jump that it tells of and no other.
 */
#include "auditlog/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEEPER "audit"

static int set_up(void **state)
{
	*state = sender_order_new(KEEPER);
	return 0;
}

static int tear_down(void **state)
{
	sender_order_free(*state);
	return 0;
}

static void see(void **state, uint64_t row, const char *instance, uint64_t number)
{
	Chancery__Event event = CHANCERY__EVENT__INIT;

	event.service = (char *)(uintptr_t) "issuer";
	event.instance = (char *)(uintptr_t)instance;
	event.type = (char *)(uintptr_t) "certificate.issued";
	event.sequence = number;
	sender_order_see(*state, row, &event);
}

/* An alert that such a service wrote: the next of `sender` should have been `expected`. */
static void see_alert(void **state, uint64_t row, const char *service, const char *sender,
		      const char *expected, const char *found)
{
	Chancery__Event event = CHANCERY__EVENT__INIT;
	Chancery__Detail details[] = { CHANCERY__DETAIL__INIT, CHANCERY__DETAIL__INIT };
	Chancery__Detail *list[] = { &details[0], &details[1] };

	details[0].name = (char *)(uintptr_t) "expected";
	details[0].value = (char *)(uintptr_t)expected;
	details[1].name = (char *)(uintptr_t) "found";
	details[1].value = (char *)(uintptr_t)found;
	event.service = (char *)(uintptr_t)service;
	event.instance = (char *)(uintptr_t) "audit-1";
	event.type = (char *)(uintptr_t) "audit.gap";
	event.subject = (char *)(uintptr_t)sender;
	event.details = list;
	event.n_details = CH_COUNT(list);
	sender_order_see(*state, row, &event);
}

static void note(void *context, uint64_t row, const char *kind, const char *text)
{
	ch_buffer_printf(context, "%d %s: %s\n", (int)row, kind, text);
}

static void assert_told(void **state, const char *expected)
{
	CH_AUTO(ch_buffer) told = CH_NONE;
	CH_AUTO(ch_string) text = NULL;

	sender_order_finish(*state, note, &told);
	text = ch_buffer_steal_text(&told);
	assert_string_equal(text ? text : "", expected);
}

static void numbers_in_order_are_nothing_to_tell(void **state)
{
	for (uint64_t i = 1; i <= 5; i++)
		see(state, i, "issuer-1", i);
	assert_told(state, "");
}

static void each_instance_counts_for_itself(void **state)
{
	see(state, 1, "issuer-1", 1);
	see(state, 2, "issuer-2", 1);
	see(state, 3, "issuer-1", 2);
	see(state, 4, "issuer-2", 2);
	assert_told(state, "");
}

/* Of database transactions: number 0. */
static void events_without_a_number_are_passed_over(void **state)
{
	see(state, 1, "issuer-1", 1);
	see(state, 2, "issuer-1", 0);
	see(state, 3, "issuer-1", 2);
	assert_told(state, "");
}

static void numbers_that_are_not_there_are_missing(void **state)
{
	see(state, 1, "issuer-1", 1);
	see(state, 2, "issuer-1", 5);
	see(state, 3, "issuer-1", 6);
	assert_told(state,
		    "2 missing: events 2 to 4 of issuer/issuer-1 are not in the log before this row\n");
}

static void the_first_is_number_one(void **state)
{
	see(state, 7, "issuer-1", 3);
	assert_told(state,
		    "7 missing: events 1 to 2 of issuer/issuer-1 are not in the log before this row\n");
}

static void a_number_that_comes_again_or_late_is_out_of_order(void **state)
{
	for (uint64_t i = 1; i <= 4; i++)
		see(state, i, "issuer-1", i);
	see(state, 5, "issuer-1", 4);
	see(state, 6, "issuer-1", 2);
	see(state, 7, "issuer-1", 3);
	assert_told(state, "5 reordered: event 4 of issuer/issuer-1 stands after its event 4\n"
			   "6 reordered: event 2 of issuer/issuer-1 stands after its event 4\n");
}

static void an_alert_excuses_the_jump_that_it_tells_of(void **state)
{
	see(state, 1, "issuer-1", 1);
	see(state, 2, "issuer-1", 5);
	see_alert(state, 3, KEEPER, "issuer/issuer-1", "2", "5");
	assert_told(state, "");
}

/* It is written after the jump, and counts wherever it stands. */
static void an_alert_may_stand_before_the_jump(void **state)
{
	see_alert(state, 1, KEEPER, "issuer/issuer-1", "2", "5");
	see(state, 2, "issuer-1", 1);
	see(state, 3, "issuer-1", 5);
	assert_told(state, "");
}

static void an_alert_excuses_no_other_jump(void **state)
{
	static const struct {
		const char *service, *sender, *expected, *found;
	} others[] = {
		{ KEEPER, "issuer/issuer-1", "3", "5" },   { KEEPER, "issuer/issuer-1", "2", "6" },
		{ KEEPER, "issuer/issuer-2", "2", "5" },   { KEEPER, "crl/issuer-1", "2", "5" },
		{ "issuer", "issuer/issuer-1", "2", "5" }, /* the sender's own word is none */
	};

	see(state, 1, "issuer-1", 1);
	see(state, 2, "issuer-1", 5);
	for (size_t i = 0; i < CH_COUNT(others); i++)
		see_alert(state, 3 + i, others[i].service, others[i].sender, others[i].expected,
			  others[i].found);
	assert_told(state,
		    "2 missing: events 2 to 4 of issuer/issuer-1 are not in the log before this row\n");
}

/* A row that cannot be read was of some number: one for each. */
static void unreadable_rows_stand_for_one_number_each(void **state)
{
	see(state, 1, "issuer-1", 1);
	sender_order_skip(*state, "issuer", "issuer-1");
	sender_order_skip(*state, "issuer", "issuer-1");
	see(state, 4, "issuer-1", 4);
	sender_order_skip(*state, "issuer", "issuer-1");
	see(state, 6, "issuer-1", 7);
	assert_told(state,
		    "6 missing: events 5 to 6 of issuer/issuer-1 are not in the log before this row\n");
}

static void unreadable_rows_of_another_excuse_nothing(void **state)
{
	see(state, 1, "issuer-1", 1);
	sender_order_skip(*state, "issuer", "issuer-2");
	see(state, 3, "issuer-1", 3);
	assert_told(state,
		    "3 missing: events 2 to 2 of issuer/issuer-1 are not in the log before this row\n");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(numbers_in_order_are_nothing_to_tell),
		TEST(each_instance_counts_for_itself),
		TEST(events_without_a_number_are_passed_over),
		TEST(numbers_that_are_not_there_are_missing),
		TEST(the_first_is_number_one),
		TEST(a_number_that_comes_again_or_late_is_out_of_order),
		TEST(an_alert_excuses_the_jump_that_it_tells_of),
		TEST(an_alert_may_stand_before_the_jump),
		TEST(an_alert_excuses_no_other_jump),
		TEST(unreadable_rows_stand_for_one_number_each),
		TEST(unreadable_rows_of_another_excuse_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
