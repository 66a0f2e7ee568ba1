/* SPDX-License-Identifier: Apache-2.0 */
/* crl_http_test.c: validators (services/crl/validators.c) and the board (publish.c). */
#include "crl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define T0 (INT64_C(784111777) * CH_SECOND) /* RFC 9110's example: Sun, 06 Nov 1994 08:49:37 GMT */

static const struct crl_document document = { .etag = "\"7-abcdef\"", .modified_us = T0 };

static void the_same_entity_tag_is_not_modified(void **state)
{
	const char *same[] = { "\"7-abcdef\"", "W/\"7-abcdef\"", "\"x\", \"7-abcdef\"", "*",
			       "\"a,b\" ,W/\"7-abcdef\"" };
	const char *other[] = { "\"6-abcdef\"",     "",          "7-abcdef", "\"x\",\"7-abcde\"",
				"\"\\\"7-abcdef\"", "\"unclosed" };

	for (size_t i = 0; i < CH_COUNT(same); i++)
		assert_true(crl_not_modified(&document, same[i], NULL));
	for (size_t i = 0; i < CH_COUNT(other); i++)
		assert_false(crl_not_modified(&document, other[i], NULL));
}

static void a_date_not_before_the_last_change_is_not_modified(void **state)
{
	assert_true(crl_not_modified(&document, NULL, "Sun, 06 Nov 1994 08:49:37 GMT"));
	assert_true(crl_not_modified(&document, NULL, "Sunday, 06-Nov-94 08:49:38 GMT"));
	assert_true(crl_not_modified(&document, NULL, "Sun Nov  6 08:49:37 1994"));
	assert_false(crl_not_modified(&document, NULL, "Sun, 06 Nov 1994 08:49:36 GMT"));
	assert_false(crl_not_modified(&document, NULL, "yesterday"));
	assert_false(crl_not_modified(&document, NULL, NULL));
}

/* RFC 9110 §13.2.2 */
static void an_entity_tag_outweighs_a_date(void **state)
{
	assert_false(crl_not_modified(&document, "\"6-abcdef\"", "Sun, 06 Nov 1994 08:49:37 GMT"));
}

/* --- the board --- */

static struct crl_ca ca_named(char *name)
{
	return (struct crl_ca){ .ca_id = name[0],
				.name = name,
				.certificate_der = { (uint8_t *)name, strlen(name) },
				.not_after_us = INT64_MAX,
				.interval_us = CH_HOUR,
				.validity_us = CH_DAY };
}

static struct crl_record crl_numbered(uint64_t number, char *content)
{
	return (struct crl_record){ .number = number,
				    .this_update_us = T0,
				    .next_update_us = T0 + CH_DAY,
				    .der = { (uint8_t *)content, strlen(content) } };
}

static void assert_served(struct crl_board *board, const char *name, const char *content)
{
	bool known;
	struct crl_document *served = crl_board_get(board, name, CRL_DOCUMENT_CRL, &known);

	assert_true(known);
	assert_non_null(served);
	assert_true(ch_view_equal(ch_view_of(&served->der), ch_view_text(content)));
	crl_document_release(served);
}

static void the_board_never_goes_back_to_an_older_number(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct crl_board *board = crl_board_new(metrics);
	struct crl_ca ca = ca_named((char[]){ "a" });
	struct crl_record seven = crl_numbered(7, (char[]){ "seven" }),
			  six = crl_numbered(6, (char[]){ "six" });

	crl_board_put(board, &ca, &seven);
	crl_board_put(board, &ca, &six);
	assert_served(board, "a", "seven");
	assert_true(crl_board_is_current(board, &ca, 7));
	assert_false(crl_board_is_current(board, &ca, 8));
	crl_board_free(board);
	ch_metrics_free(metrics);
}

static void what_is_being_sent_outlives_its_successor(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct crl_board *board = crl_board_new(metrics);
	struct crl_ca ca = ca_named((char[]){ "a" });
	struct crl_record one = crl_numbered(1, (char[]){ "one" }), two = crl_numbered(2, (char[]){ "two" });
	struct crl_document *sending;
	bool known;

	crl_board_put(board, &ca, &one);
	sending = crl_board_get(board, "a", CRL_DOCUMENT_CRL, &known);
	crl_board_put(board, &ca, &two);
	assert_true(ch_view_equal(ch_view_of(&sending->der), ch_view_text("one")));
	crl_document_release(sending);
	assert_served(board, "a", "two");
	crl_board_free(board);
	ch_metrics_free(metrics);
}

static void a_ca_without_a_crl_is_known_and_one_that_is_gone_is_not(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct crl_board *board = crl_board_new(metrics);
	struct crl_ca ca = ca_named((char[]){ "a" });
	struct crl_record none = CH_NONE;
	struct crl_states nobody = CH_NONE;
	bool known;

	crl_board_put(board, &ca, &none);
	assert_null(crl_board_get(board, "a", CRL_DOCUMENT_CRL, &known));
	assert_true(known);
	crl_board_keep(board, &nobody);
	assert_null(crl_board_get(board, "a", CRL_DOCUMENT_CRL, &known));
	assert_false(known);
	crl_board_free(board);
	ch_metrics_free(metrics);
}

static int64_t max_age_of(struct crl_board *board, enum crl_document_kind kind, int64_t now_us)
{
	bool known;
	struct crl_document *served = crl_board_get(board, "a", kind, &known);
	int64_t seconds = crl_max_age(served, now_us);

	crl_document_release(served);
	return seconds;
}

/* RFC 9111 §4.2: a copy is fresh until a newer one is expected, and never longer than it is valid. */
static void a_copy_is_fresh_until_the_next_list_and_never_past_next_update(void **state)
{
	const int64_t hour = CH_HOUR / CH_SECOND, day = CH_DAY / CH_SECOND;
	struct ch_metrics *metrics = ch_metrics_new();
	struct crl_board *board = crl_board_new(metrics);
	struct crl_ca ca = ca_named((char[]){ "a" });
	struct crl_record list = crl_numbered(1, (char[]){ "list" });

	crl_board_put(board, &ca, &list);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CRL, T0), hour);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CRL, T0 + 2 * CH_HOUR), 0); /* the next is late */
	/* The CA ends before another is due: this is its last one. */
	ca.not_after_us = T0 + CH_HOUR / 2;
	list.number = 2;
	assert_int_equal(crl_due_at(&ca, &list), INT64_MAX);
	crl_board_put(board, &ca, &list);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CRL, T0), day);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CRL, T0 + CH_DAY - CH_SECOND), 1);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CRL, T0 + 2 * CH_DAY), 0);
	/* And one that ends before the next is due. */
	ca.not_after_us = INT64_MAX;
	list.number = 3;
	list.next_update_us = T0 + CH_MINUTE;
	crl_board_put(board, &ca, &list);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CRL, T0), 60);
	crl_board_free(board);
	ch_metrics_free(metrics);
}

static void a_cas_certificate_is_fresh_for_an_hour_and_never_past_its_end(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct crl_board *board = crl_board_new(metrics);
	struct crl_ca ca = ca_named((char[]){ "a" });
	struct crl_record none = CH_NONE;

	ca.not_after_us = T0 + CH_DAY;
	crl_board_put(board, &ca, &none);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CERTIFICATE, T0), CH_HOUR / CH_SECOND);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CERTIFICATE, T0 + CH_DAY - CH_MINUTE), 60);
	assert_int_equal(max_age_of(board, CRL_DOCUMENT_CERTIFICATE, T0 + 2 * CH_DAY), 0);
	crl_board_free(board);
	ch_metrics_free(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_entity_tag_is_not_modified),
		cmocka_unit_test(a_date_not_before_the_last_change_is_not_modified),
		cmocka_unit_test(an_entity_tag_outweighs_a_date),
		cmocka_unit_test(the_board_never_goes_back_to_an_older_number),
		cmocka_unit_test(what_is_being_sent_outlives_its_successor),
		cmocka_unit_test(a_ca_without_a_crl_is_known_and_one_that_is_gone_is_not),
		cmocka_unit_test(a_copy_is_fresh_until_the_next_list_and_never_past_next_update),
		cmocka_unit_test(a_cas_certificate_is_fresh_for_an_hour_and_never_past_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
