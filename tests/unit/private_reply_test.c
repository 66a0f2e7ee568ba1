/* SPDX-License-Identifier: Apache-2.0 */
/* private_reply_test.c: what is in a reply opens for who asked, as the item that it is, and for nobody else.
 */
#include "private_reply/private_reply.h"

#include "err/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct ends {
	struct ch_reply_key asker, answerer;
	struct ch_secret asked, answered;
};

static struct ch_view public_key(const struct ch_reply_key *key)
{
	return ch_view(key->public_key, sizeof(key->public_key));
}

static void set_up(struct ends *ends)
{
	struct ch_error err;

	assert_true(ch_reply_key_new(&ends->asker, &err) && ch_reply_key_new(&ends->answerer, &err));
	assert_true(ch_reply_secret(&ends->asker, public_key(&ends->asker), public_key(&ends->answerer),
				    &ends->asked, &err));
	assert_true(ch_reply_secret(&ends->answerer, public_key(&ends->asker), public_key(&ends->answerer),
				    &ends->answered, &err));
}

static void tear_down(struct ends *ends)
{
	ch_reply_key_free(&ends->asker);
	ch_reply_key_free(&ends->answerer);
	ch_secret_free(&ends->asked);
	ch_secret_free(&ends->answered);
}

static void who_asked_opens_what_was_answered(void **state)
{
	static const char *const texts[] = { "", "x", "JBSWY3DPEHPK3PXP" };
	struct ends ends = CH_NONE;
	struct ch_error err;

	(void)state;
	set_up(&ends);
	assert_memory_equal(ends.asked.data, ends.answered.data, ends.asked.size);
	for (uint32_t i = 0; i < CH_COUNT(texts); i++) {
		CH_AUTO(ch_bytes) sealed = CH_NONE;
		CH_AUTO(ch_secret) opened = CH_NONE;

		assert_true(ch_reply_seal(&ends.answered, i, ch_view_text(texts[i]), &sealed, &err));
		assert_int_equal(sealed.size, strlen(texts[i]) + CH_REPLY_OVERHEAD);
		assert_true(ch_reply_open(&ends.asked, i, ch_view_of(&sealed), &opened, &err));
		assert_true(ch_view_equal(ch_view(opened.data, opened.size), ch_view_text(texts[i])));
	}
	tear_down(&ends);
}

static void nobody_else_opens_it_nor_as_another_item(void **state)
{
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	struct ends ends = CH_NONE, others = CH_NONE;
	struct ch_secret opened = CH_NONE;
	struct ch_error err;

	(void)state;
	set_up(&ends);
	set_up(&others);
	assert_true(ch_reply_seal(&ends.answered, 1, ch_view_text("secret"), &sealed, &err));
	assert_false(ch_reply_open(&others.asked, 1, ch_view_of(&sealed), &opened, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_false(ch_reply_open(&ends.asked, 2, ch_view_of(&sealed), &opened, &err));
	for (size_t i = 0; i < sealed.size; i++) {
		sealed.data[i] ^= 1;
		assert_false(ch_reply_open(&ends.asked, 1, ch_view_of(&sealed), &opened, &err));
		assert_false(ch_reply_open(&ends.asked, 1, ch_view(sealed.data, i), &opened, &err));
		sealed.data[i] ^= 1;
	}
	assert_null(opened.data);
	tear_down(&ends);
	tear_down(&others);
}

/* RFC 7748 §6.1: a result of all zeros is refused. */
static void a_public_key_that_is_none_is_refused(void **state)
{
	static const uint8_t zeros[CH_REPLY_KEY_SIZE];
	struct ends ends = CH_NONE;
	struct ch_secret secret = CH_NONE;
	struct ch_error err;

	(void)state;
	set_up(&ends);
	assert_false(ch_reply_secret(&ends.answerer, ch_view(zeros, sizeof(zeros)),
				     public_key(&ends.answerer), &secret, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_false(ch_reply_secret(&ends.answerer, ch_view(zeros, 31), public_key(&ends.answerer), &secret,
				     &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_null(secret.data);
	tear_down(&ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_asked_opens_what_was_answered),
		cmocka_unit_test(nobody_else_opens_it_nor_as_another_item),
		cmocka_unit_test(a_public_key_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
