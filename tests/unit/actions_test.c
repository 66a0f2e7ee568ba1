/* SPDX-License-Identifier: Apache-2.0 */
/* actions_test.c: what an officer's command refuses to sign: a gateway may lie about what an action is. */
#include "actions.h"

#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char id[] = "5f0c0c1a77b84a2c9d3c8e0b7d1f2a34";

/* The suite's answer: an action to export this key. */
static cJSON *answer_of(const char *told_id, const char *key)
{
	struct ch_action_field field = { (char *)(uintptr_t) "key", (char *)(uintptr_t)key };
	struct ch_action action = { .kind = CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY,
				    .tenant = "default",
				    .created_us = 1000 * CH_SECOND,
				    .expires_us = 2000 * CH_SECOND,
				    .fields = { field },
				    .field_count = 1 };
	CH_AUTO(ch_bytes) document = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	struct ch_error err = CH_NONE;
	cJSON *answer = cJSON_CreateObject();

	memcpy(action.id, id, sizeof(id));
	assert_true(ch_action_format(&action, &document, &err));
	text = ch_strndup((const char *)document.data, document.size);
	cJSON_AddStringToObject(answer, "id", told_id);
	cJSON_AddStringToObject(answer, "document", text);
	return answer;
}

static bool check(cJSON *answer, Chancery__ActionKind kind, const char *key, struct ch_error *err)
{
	const struct ch_action_field fields[] = { { (char *)(uintptr_t) "key", (char *)(uintptr_t)key } };
	bool fits = action_check(answer, &(struct action_expected){ kind, fields, CH_COUNT(fields) }, err);

	cJSON_Delete(answer);
	return fits;
}

static void the_action_that_was_asked_for_is_accepted(void **state)
{
	struct ch_error err = CH_NONE;
	cJSON *answer = answer_of(id, "this");

	assert_true(action_check(answer, NULL, &err));
	assert_true(check(answer, CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, "this", &err));
}

static void another_kind_or_another_value_is_refused(void **state)
{
	struct ch_error err = CH_NONE;

	assert_false(check(answer_of(id, "this"), CHANCERY__ACTION_KIND__ACTION_REPLACE_HSM, "this", &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_false(check(answer_of(id, "that"), CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, "this", &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, "that"));
}

static void a_document_under_another_id_is_refused(void **state)
{
	struct ch_error err = CH_NONE;

	assert_false(check(answer_of("00000000000000000000000000000000", "this"),
			   CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, "this", &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_non_null(strstr(err.message, id));
}

static void what_is_no_document_is_refused(void **state)
{
	struct ch_error err = CH_NONE;
	cJSON *answer = answer_of(id, "this");

	cJSON_ReplaceItemInObject(answer, "document", cJSON_CreateString("Export it, please."));
	assert_false(check(answer, CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, "this", &err));
	assert_false(check(cJSON_CreateObject(), CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, "this", &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_action_that_was_asked_for_is_accepted),
		cmocka_unit_test(another_kind_or_another_value_is_refused),
		cmocka_unit_test(a_document_under_another_id_is_refused),
		cmocka_unit_test(what_is_no_document_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
