/* SPDX-License-Identifier: Apache-2.0 */
/* secret_box_test.c: a sealed secret opens for whoever sealed it, as what it was sealed, and for nobody else.
 */
#include "secrets.h"

#include "err/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key_octets[SECRET_KEY_SIZE] = "a data key of thirty-two octets";
static const struct ch_view key = { key_octets, sizeof(key_octets) };
static const struct secret_context ours = { "default", "gateway", "totp-seed/alice" };

static void seal_ours(struct ch_view plaintext, struct ch_bytes *sealed)
{
	struct ch_error err = CH_NONE;

	if (!secret_box_seal(key, 7, &ours, plaintext, sealed, &err))
		fail_msg("%s", err.message);
}

static void assert_closed(const struct secret_context *context, struct ch_view sealed)
{
	struct ch_secret plaintext = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(secret_box_open(key, context, sealed, &plaintext, &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_null(plaintext.data);
}

static void what_was_sealed_opens_in_its_context(void **state)
{
	static const char *const texts[] = { "", "x", "JBSWY3DPEHPK3PXP" };

	(void)state;
	for (size_t i = 0; i < CH_COUNT(texts); i++) {
		CH_AUTO(ch_bytes) sealed = CH_NONE;
		CH_AUTO(ch_secret) opened = CH_NONE;
		struct ch_error err = CH_NONE;
		uint32_t version = 0;

		seal_ours(ch_view_text(texts[i]), &sealed);
		assert_int_equal(sealed.size, strlen(texts[i]) + SECRET_OVERHEAD);
		assert_true(secret_box_version(ch_view_of(&sealed), &version, &err));
		assert_int_equal(version, 7);
		assert_true(secret_box_open(key, &ours, ch_view_of(&sealed), &opened, &err));
		assert_true(ch_view_equal(ch_view(opened.data, opened.size), ch_view_text(texts[i])));
	}
}

static void the_same_secret_twice_looks_different(void **state)
{
	CH_AUTO(ch_bytes) first = CH_NONE, second = CH_NONE;

	(void)state;
	seal_ours(ch_view_text("secret"), &first);
	seal_ours(ch_view_text("secret"), &second);
	assert_false(ch_view_equal(ch_view_of(&first), ch_view_of(&second)));
}

static void another_tenant_service_or_context_cannot_open_it(void **state)
{
	static const struct secret_context others[] = {
		{ "other", "gateway", "totp-seed/alice" },
		{ "default", "audit", "totp-seed/alice" },
		{ "default", "gateway", "totp-seed/bob" },
		{ "defaul", "tgateway", "totp-seed/alice" }, /* the same octets, cut elsewhere */
	};
	CH_AUTO(ch_bytes) sealed = CH_NONE;

	(void)state;
	seal_ours(ch_view_text("secret"), &sealed);
	for (size_t i = 0; i < CH_COUNT(others); i++)
		assert_closed(&others[i], ch_view_of(&sealed));
}

static void any_changed_bit_keeps_it_closed(void **state)
{
	CH_AUTO(ch_bytes) sealed = CH_NONE;

	(void)state;
	seal_ours(ch_view_text("secret"), &sealed);
	for (size_t i = 1; i < sealed.size;
	     i++) { /* the first octet is the form: refused before the key is used */
		sealed.data[i] ^= 1;
		if (i != 4) /* version 6 is a version too: it does not authenticate */
			assert_closed(&ours, ch_view_of(&sealed));
		sealed.data[i] ^= 1;
	}
	sealed.data[4] = 6;
	assert_closed(&ours, ch_view_of(&sealed));
}

static void what_is_no_sealed_secret_is_invalid(void **state)
{
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	struct ch_error err = CH_NONE;
	uint32_t version;

	(void)state;
	seal_ours(ch_view_text("secret"), &sealed);
	assert_false(secret_box_version(ch_view(sealed.data, SECRET_OVERHEAD - 1), &version, &err));
	assert_int_equal(err.code, CH_INVALID);
	sealed.data[0] = 2;
	assert_false(secret_box_version(ch_view_of(&sealed), &version, &err));
	assert_non_null(strstr(err.message, "form 2"));
	sealed.data[0] = 1;
	memset(sealed.data + 1, 0, 4);
	assert_false(secret_box_version(ch_view_of(&sealed), &version, &err));
	assert_non_null(strstr(err.message, "version 0"));
}

static void too_large_a_secret_and_an_empty_context_are_refused(void **state)
{
	struct secret_context nameless = { "default", "gateway", "" };
	CH_AUTO(ch_bytes) large = CH_NONE;
	struct ch_bytes sealed = CH_NONE;
	struct ch_error err = CH_NONE;

	(void)state;
	large.size = SECRET_SIZE_CAP + 1;
	large.data = ch_alloc(large.size);
	assert_false(secret_box_seal(key, 1, &ours, ch_view_of(&large), &sealed, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_false(secret_box_seal(key, 1, &nameless, ch_view_text("x"), &sealed, &err));
	assert_int_equal(err.code, CH_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_opens_in_its_context),
		cmocka_unit_test(the_same_secret_twice_looks_different),
		cmocka_unit_test(another_tenant_service_or_context_cannot_open_it),
		cmocka_unit_test(any_changed_bit_keeps_it_closed),
		cmocka_unit_test(what_is_no_sealed_secret_is_invalid),
		cmocka_unit_test(too_large_a_secret_and_an_empty_context_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
